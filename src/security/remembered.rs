//! What was found out at some cost and may be asked for again: a bounded memory that many threads use.
//!
//! Each shard has two generations: what is used moves into the young one; when that is full the old one
//! is forgotten whole and the young grows old. So what is in use stays, what is not goes, nothing is
//! ever scanned, and the size never exceeds the limit.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shards, so that threads seldom wait for one another.
const SHARDS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    shards: [Mutex<Generations<K, V>>; SHARDS],
    hasher: RandomState,
    generation_max: usize,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy, V: Clone> Remembered<K, V> {
    /// At most `max` values; below 32 none.
    pub(super) fn new(max: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, hasher: RandomState::new(), generation_max: max / SHARDS / 2 }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key);
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let value = shard.old.remove(key)?;
        shard.insert(*key, value.clone(), self.generation_max);
        Some(value)
    }

    /// Takes the place of what was known by this key.
    pub(super) fn insert(&self, key: K, value: V) {
        let mut shard = self.shard(&key);
        shard.old.remove(&key);
        shard.insert(key, value, self.generation_max);
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Generations<K, V>> {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let size = |shard: &Mutex<Generations<K, V>>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(size).sum()
    }
}

impl<K: Hash + Eq, V> Generations<K, V> {
    fn insert(&mut self, key: K, value: V, max: usize) {
        if max == 0 {
            return;
        }
        if self.young.len() >= max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}
