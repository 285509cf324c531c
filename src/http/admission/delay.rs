//! How late a thread comes to what is due: the time that a request waits for before anybody looks at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a thread is asked for.
const EVERY: Duration = Duration::from_millis(20);

/// More samples are not kept: nobody takes them.
const SAMPLES_MAX: usize = 64;

/// A loop that notes by how much it comes too late, on the thread (or the runtime) that it is spawned on.
pub struct Beat {
    epoch: Instant,
    /// Microseconds after the epoch.
    due: AtomicU64,
    late: Mutex<Vec<Duration>>,
}

impl Beat {
    pub fn new() -> Arc<Self> {
        let due = AtomicU64::new(u64::MAX);
        Arc::new(Self { epoch: Instant::now(), due, late: Mutex::default() })
    }

    /// Beats until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let due = Instant::now() + EVERY;
            let micros = u64::try_from((due - self.epoch).as_micros()).unwrap_or(u64::MAX);
            self.due.store(micros, Ordering::Relaxed);
            sleep_until(due).await;
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            if late.len() < SAMPLES_MAX {
                late.push(due.elapsed());
            }
        }
    }

    /// What was noted since the last look, and the beat that is overdue now.
    pub fn take(&self, now: Instant) -> Vec<Duration> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *late);
        drop(late);
        let due = self.due.load(Ordering::Relaxed);
        let at = Duration::from_micros(due).checked_sub(now - self.epoch);
        if due != u64::MAX && at.is_none() {
            taken.push(now - self.epoch - Duration::from_micros(due));
        }
        taken
    }
}

/// The middle one; nothing of none.
pub fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_some_samples() {
        let millis = |all: &[u64]| all.iter().copied().map(Duration::from_millis).collect();
        for (samples, expected) in [(&[][..], 0), (&[7][..], 7), (&[900, 1, 2][..], 2)] {
            assert_eq!(median(millis(samples)), Duration::from_millis(expected));
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "holding a thread up is what is tested")]
    async fn a_thread_that_is_held_up_is_seen_while_it_is_and_afterwards() {
        let beat = Beat::new();
        assert!(beat.take(Instant::now()).is_empty(), "not begun");
        tokio::spawn(beat.clone().run());
        tokio::time::sleep(EVERY * 3).await;
        beat.take(Instant::now());
        // As a handler that computes: this runtime has one thread.
        std::thread::sleep(Duration::from_millis(200));
        let overdue = beat.take(Instant::now());
        assert!(overdue.iter().max().unwrap() >= &Duration::from_millis(150), "{overdue:?}");
        tokio::time::sleep(EVERY).await;
        let noted = beat.take(Instant::now());
        assert!(noted.iter().max().unwrap() >= &Duration::from_millis(150), "{noted:?}");
    }
}
