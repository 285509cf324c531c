//! Who waits for a read: nothing is begun for somebody who has gone, and what runs is cancelled.

use crate::deadline;
use metrics::counter;
use std::future::pending;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// The one who waits, as the task sees it that works for it.
pub(super) struct Caller {
    line: oneshot::Sender<()>,
    until: Option<Instant>,
}

/// Held by the one who waits; dropping it is going away.
#[must_use]
pub(super) struct Waits {
    _line: oneshot::Receiver<()>,
}

impl Caller {
    /// Of whoever calls this, with its deadline.
    pub fn new() -> (Self, Waits) {
        let (line, held) = oneshot::channel();
        (Self { line, until: deadline::current() }, Waits { _line: held })
    }

    /// Returns when nobody waits any more: the caller has gone, or its time is over.
    pub async fn gone(&mut self) {
        let late = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.line.closed() => {}
            () = late => {}
        }
    }

    /// `limit`, or what is left of the caller's time.
    pub fn at_most(&self, limit: Duration) -> Duration {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(limit, |left| left.min(limit))
    }
}

/// Counts a read that came to nothing for want of somebody who waits.
pub(super) fn note_abandoned(stage: &'static str) {
    counter!("database_reads_abandoned_total", "stage" => stage).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_gone_when_it_leaves_and_when_its_time_is_over() {
        let (mut caller, waits) = Caller::new();
        assert!(caller.gone().now_or_never().is_none());
        assert_eq!(caller.at_most(Duration::from_secs(2)), Duration::from_secs(2));
        drop(waits);
        assert!(caller.gone().now_or_never().is_some());

        let until = Instant::now() + Duration::from_secs(1);
        let (mut caller, _waits) = deadline::within(until, async { Caller::new() }).await;
        assert_eq!(caller.at_most(Duration::from_secs(2)), Duration::from_secs(1));
        caller.gone().await;
        assert_eq!(Instant::now(), until);
        assert_eq!(caller.at_most(Duration::from_secs(2)), Duration::ZERO);
    }
}
