//! Taking turns by key: at most so many at once for each key, the others wait in line. Keys that
//! nobody uses are forgotten.
//!
//! The sign-in gate queues attempts at one bucket here, so that a thousand of them ask the database
//! for tries a few at a time instead of all at once. It only paces: what is *allowed* is decided
//! by the durable claims, which count on all nodes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Turns for any number of keys.
pub struct Turns<K: Hash + Eq + Copy>(Arc<Shared<K>>);

struct Shared<K: Hash + Eq + Copy> {
    at_once: usize,
    lines: Mutex<HashMap<K, Line>>,
}

struct Line {
    semaphore: Arc<Semaphore>,
    /// How many hold a turn or wait for one.
    people: usize,
}

/// The right to act; ends when dropped.
pub struct Turn<K: Hash + Eq + Copy> {
    // Given back before the place is left: fields are dropped in order.
    _permit: OwnedSemaphorePermit,
    _place: Place<K>,
}

impl<K: Hash + Eq + Copy> Turns<K> {
    /// At most `at_once` (at least one) turns for each key.
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Shared { at_once: at_once.max(1), lines: Mutex::default() }))
    }

    /// Waits for a turn, first come first served; `None` when `deadline` passes first. Dropping the
    /// future leaves the line.
    pub async fn wait(&self, key: K, deadline: Instant) -> Option<Turn<K>> {
        let (place, semaphore) = Place::take(&self.0, key);
        let permit = timeout_at(deadline, semaphore.acquire_owned()).await.ok()?.ok()?;
        Some(Turn { _permit: permit, _place: place })
    }
}

/// A place in the line of one key.
struct Place<K: Hash + Eq + Copy> {
    shared: Arc<Shared<K>>,
    key: K,
}

impl<K: Hash + Eq + Copy> Place<K> {
    fn take(shared: &Arc<Shared<K>>, key: K) -> (Self, Arc<Semaphore>) {
        let at_once = shared.at_once;
        let mut lines = shared.lines();
        let line = lines
            .entry(key)
            .or_insert_with(|| Line { semaphore: Arc::new(Semaphore::new(at_once)), people: 0 });
        line.people += 1;
        (Self { shared: Arc::clone(shared), key }, Arc::clone(&line.semaphore))
    }
}

impl<K: Hash + Eq + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut lines = self.shared.lines();
        if let Some(line) = lines.get_mut(&self.key) {
            line.people -= 1;
            if line.people == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

impl<K: Hash + Eq + Copy> Shared<K> {
    /// Nothing panics under this lock, and its content is valid after every statement.
    fn lines(&self) -> MutexGuard<'_, HashMap<K, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a3_at_most_so_many_at_once_and_all_in_the_end() {
        let (turns, inside, most) = (Turns::new(5), AtomicUsize::new(0), AtomicUsize::new(0));
        let one = async || {
            let turn = turns.wait(1, soon()).await;
            most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            inside.fetch_sub(1, Ordering::Relaxed);
            turn.is_some()
        };
        let done = join_all((0..100).map(|_| one())).await;
        assert!(done.into_iter().all(|turn| turn));
        assert_eq!(most.into_inner(), 5);
        assert!(turns.0.lines().is_empty(), "idle keys are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_goes_away_leaves_the_line() {
        let turns = Turns::new(1);
        let held = turns.wait(1, soon()).await;
        assert!(turns.wait(1, soon()).await.is_none());
        let mut gone = Box::pin(turns.wait(1, soon()));
        assert!((&mut gone).now_or_never().is_none());
        assert_eq!(turns.0.lines()[&1].people, 2);
        drop(gone);
        assert_eq!(turns.0.lines()[&1].people, 1);
        assert!(turns.wait(2, soon()).await.is_some(), "other keys do not wait");
        drop(held);
        assert!(turns.0.lines().is_empty());
        assert!(turns.wait(1, soon()).await.is_some());
    }
}
