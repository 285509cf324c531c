//! Admission: who may queue, and what a caller is told who may not, or whose work got lost.
//!
//! A mailbox's own capacity does not hold in actix, so each shard has a [`Gate`]: one permit per
//! message, taken before the message is sent and held until its caller is answered. However the
//! message dies, the permit dies with it, so the depth is exact and cannot leak.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Why a call brought no answer. Everything but [`Unknown`](Self::Unknown) and
/// [`TimedOut`](Self::TimedOut) proves that nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The queue is full. Nothing was done; safe to repeat after `retry_after` (whole seconds,
    /// at least one: the time that the present queue takes at the recent pace).
    #[error("the queue is full")]
    Overloaded {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// The actor failed and is being rebuilt. Nothing was done; safe to repeat in a moment.
    #[error("the actor restarts")]
    Restarting,
    /// The actor was given up. Nothing was done; safe to repeat, but at another node.
    #[error("the actor was given up")]
    Failed,
    /// The process is shutting down. Nothing was done; safe to repeat at another node.
    #[error("the actor takes no new work")]
    Draining,
    /// Accepted, but dropped or too late before its batch began. Nothing was done; safe to repeat.
    #[error("the work was not started")]
    NotStarted,
    /// The batch broke after it began: the work may be committed or not. Repeat only with the
    /// same idempotency key.
    #[error("the outcome is unknown")]
    Unknown,
    /// The deadline passed while the batch ran: it may still commit. Repeat only with the same
    /// idempotency key.
    #[error("no answer in time")]
    TimedOut,
}

impl CallError {
    /// Whether the work is proven not to be done, so that any caller may simply repeat it.
    #[must_use]
    pub fn is_safe_to_repeat(&self) -> bool {
        !matches!(self, Self::Unknown | Self::TimedOut)
    }
}

/// Why the gate let nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// The bound on everything that an actor has accepted and not yet answered: mailbox, queue and
/// the batch in flight together.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    limit: usize,
}

impl Gate {
    pub fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)), limit }
    }

    /// A permit to queue one message, at once or not at all.
    pub fn admit(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.permits.clone().try_acquire_owned().map_err(|refusal| match refusal {
            TryAcquireError::NoPermits => Refused::Full,
            TryAcquireError::Closed => Refused::Closed,
        })
    }

    /// Lets nobody in any more. Those inside keep their permits.
    pub fn close(&self) {
        self.permits.close();
    }

    /// How many are accepted and not yet answered.
    pub fn depth(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits())
    }

    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// `Retry-After` never asks for more than this: by then somebody has restarted something.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long a queue of `depth` takes at `per_second`, in whole seconds, at least one.
pub(crate) fn retry_after(depth: usize, per_second: f64) -> Duration {
    if per_second <= f64::EPSILON {
        return Duration::from_secs(1);
    }
    #[expect(clippy::cast_precision_loss, reason = "a queue depth is far below 2^52")]
    let seconds = (depth as f64 / per_second).ceil().clamp(1.0, RETRY_AFTER_MAX.as_secs_f64());
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_the_depth_over_the_pace_in_whole_seconds() {
        for (depth, per_second, seconds) in [
            (0, 100.0, 1),
            (1024, 0.0, 1),
            (1024, 10_000.0, 1),
            (1024, 1000.0, 2),
            (1024, 100.0, 11),
            (1024, 1.0, 60),
        ] {
            assert_eq!(
                retry_after(depth, per_second),
                Duration::from_secs(seconds),
                "depth {depth} at {per_second}/s"
            );
        }
    }

    #[test]
    fn the_gate_counts_what_is_inside_and_shuts() {
        let gate = Gate::new(2);
        let first = gate.admit().unwrap();
        let _second = gate.admit().unwrap();
        assert_eq!(gate.admit().unwrap_err(), Refused::Full);
        assert_eq!(gate.depth(), 2);
        drop(first);
        assert_eq!(gate.depth(), 1);
        gate.close();
        assert_eq!(gate.admit().unwrap_err(), Refused::Closed);
        assert_eq!(gate.depth(), 1);
    }
}
