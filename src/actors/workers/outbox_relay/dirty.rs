//! Where committed batches announce what they appended, so that the relay reads those shards at
//! once and no others. A hint: what is announced nowhere is found by the next poll.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::actors::worker::Nudge;

/// The shards with new messages; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    shards: Arc<AtomicU64>,
    nudge: Arc<OnceLock<Nudge>>,
}

impl Dirty {
    /// Nothing announced, nobody to wake.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on announcements wake the relay by `nudge`. The first call counts.
    pub fn wake(&self, nudge: Nudge) {
        // A second relay in one process would find the same shards by its own polls.
        drop(self.nudge.set(nudge));
    }

    /// Announces shards, after the commit. Never blocks.
    pub fn mark(&self, shards: impl IntoIterator<Item = u16>) {
        let bits = shards.into_iter().fold(0, |set, shard| set | 1 << (shard & 63));
        if bits == 0 {
            return;
        }
        self.shards.fetch_or(bits, Ordering::Release);
        if let Some(nudge) = self.nudge.get() {
            nudge.nudge();
        }
    }

    /// Takes the announced shards as a bit set: bit n is shard n.
    pub(in crate::actors::workers) fn take(&self) -> u64 {
        self.shards.swap(0, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn marks_add_up_until_they_are_taken() {
        let dirty = Dirty::new();
        dirty.mark([1]);
        dirty.clone().mark([63, 1]);
        assert_eq!(dirty.take(), 1 << 63 | 1 << 1);
        assert_eq!(dirty.take(), 0);
    }

    #[test]
    fn a_mark_wakes_and_an_empty_one_does_not() {
        let (dirty, nudge) = (Dirty::new(), Nudge::new());
        dirty.mark([3]);
        dirty.wake(nudge.clone());
        dirty.mark([]);
        assert!(nudge.nudged().now_or_never().is_none());
        dirty.mark([4]);
        assert!(nudge.nudged().now_or_never().is_some());
    }
}
