//! Taking turns by key: at most so many at once for each key, the others wait in line. Keys that
//! nobody uses are forgotten.
//!
//! The sign-in gate queues attempts at one bucket here, so that a thousand of them ask the database
//! for tries a few at a time instead of all at once. It only paces: what is *allowed* is decided
//! by the durable claims, which count on all nodes. Whoever learns something that settles the
//! matter for all who wait leaves word of it; those who come later ask for themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// What a key must be.
pub trait Key: Hash + Eq + Copy {}
impl<K: Hash + Eq + Copy> Key for K {}

/// Turns for any number of keys, with words of type `W`.
pub struct Turns<K: Key, W: Copy>(Arc<Shared<K, W>>);

struct Shared<K: Key, W: Copy> {
    at_once: usize,
    lines: Mutex<HashMap<K, Line<W>>>,
}

struct Line<W> {
    semaphore: Arc<Semaphore>,
    /// How many hold a turn or wait for one.
    people: usize,
    /// How many ever came: the number of the next one.
    came: u64,
    /// The latest word, for those who came before it: with the number of the first who did not.
    word: Option<(u64, W)>,
}

/// The right to act; ends when dropped.
pub struct Turn<K: Key, W: Copy> {
    // Given back before the place is left: fields are dropped in order.
    _permit: OwnedSemaphorePermit,
    place: Place<K, W>,
}

impl<K: Key, W: Copy> Turns<K, W> {
    /// At most `at_once` (at least one) turns for each key.
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Shared { at_once: at_once.max(1), lines: Mutex::default() }))
    }

    /// Waits for a turn, first come first served; `None` when `deadline` passes first. Dropping the
    /// future leaves the line.
    pub async fn wait(&self, key: K, deadline: Instant) -> Option<Turn<K, W>> {
        let (place, semaphore) = Place::take(&self.0, key);
        let permit = timeout_at(deadline, semaphore.acquire_owned()).await.ok()?.ok()?;
        Some(Turn { _permit: permit, place })
    }
}

impl<K: Key, W: Copy> Turn<K, W> {
    /// Tells all who wait in this line at this moment.
    pub fn leave_word(&self, word: W) {
        if let Some(line) = self.place.shared.lines().get_mut(&self.place.key) {
            line.word = Some((line.came, word));
        }
    }

    /// The word that was left while this one waited.
    pub fn word(&self) -> Option<W> {
        let lines = self.place.shared.lines();
        let (before, word) = lines.get(&self.place.key)?.word?;
        (self.place.number < before).then_some(word)
    }
}

/// A place in the line of one key.
struct Place<K: Key, W: Copy> {
    shared: Arc<Shared<K, W>>,
    key: K,
    number: u64,
}

impl<K: Key, W: Copy> Place<K, W> {
    fn take(shared: &Arc<Shared<K, W>>, key: K) -> (Self, Arc<Semaphore>) {
        let at_once = shared.at_once;
        let mut lines = shared.lines();
        let line = lines.entry(key).or_insert_with(|| Line {
            semaphore: Arc::new(Semaphore::new(at_once)),
            people: 0,
            came: 0,
            word: None,
        });
        let number = line.came;
        line.people += 1;
        line.came += 1;
        (Self { shared: Arc::clone(shared), key, number }, Arc::clone(&line.semaphore))
    }
}

impl<K: Key, W: Copy> Drop for Place<K, W> {
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

impl<K: Key, W: Copy> Shared<K, W> {
    /// Nothing panics under this lock, and its content is valid after every statement.
    fn lines(&self) -> MutexGuard<'_, HashMap<K, Line<W>>> {
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
        let (turns, inside, most) =
            (Turns::<_, ()>::new(5), AtomicUsize::new(0), AtomicUsize::new(0));
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
        let turns = Turns::<_, ()>::new(1);
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

    #[tokio::test(start_paused = true)]
    async fn a_word_is_for_those_who_wait_and_not_for_those_who_come_later() {
        let turns = Turns::new(1);
        let first = turns.wait('a', soon()).await.unwrap();
        let mut second = Box::pin(turns.wait('a', soon()));
        assert!((&mut second).now_or_never().is_none());
        first.leave_word("locked");
        let mut third = Box::pin(turns.wait('a', soon()));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert_eq!(second.await.unwrap().word(), Some("locked"));
        assert_eq!(third.await.unwrap().word(), None);
        assert_eq!(turns.wait('a', soon()).await.unwrap().word(), None);
    }
}
