//! What the relay does while the broker takes nothing, or not everything. The end of an alarm is
//! told by the broker, so it is awaited. That a full queue has room again nobody tells: of the
//! messages that were refused a few are tried again and again, while all others go their way.
//!
//! A message that one queue refuses is in the others that are bound for it, and comes there again
//! with each try: hence a few, not all.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::time::{Instant, timeout};

use super::letter::Letter;
use super::{OutboxRelay, RUN_TIME_MAX, Trouble};
use crate::brokers::rabbit::State;

/// Refused messages that are tried again at a time.
const PROBES: usize = 8;

/// Time between two such tries.
const PROBE_PERIOD: Duration = Duration::from_millis(500);

/// When how many refused messages may be tried again.
pub struct Probes {
    due: Instant,
    left: usize,
}

impl Probes {
    pub fn new() -> Self {
        Self { due: Instant::now() + PROBE_PERIOD, left: 0 }
    }

    /// Whether one may go now; it is counted then.
    fn may_go(&mut self, now: Instant) -> bool {
        if now >= self.due {
            *self = Self { due: now + PROBE_PERIOD, left: PROBES };
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl OutboxRelay {
    /// While an alarm of the broker's lasts nothing is tried. Whether it is over, after the time of
    /// one run at most.
    pub(super) async fn sit_out_alarm(&mut self) -> Result<bool, Trouble> {
        if !matches!(self.rabbit.state(), State::Blocked(_)) {
            return Ok(true);
        }
        let rabbit = self.rabbit.clone();
        let over = async move { timeout(RUN_TIME_MAX, rabbit.alarm_over()).await.is_ok() };
        self.while_beating(over).await
    }

    /// What to publish next: first what was never refused.
    pub(super) fn next_letter(&mut self) -> Option<Arc<Letter>> {
        let fresh = self.window.take();
        if fresh.is_some() || self.window.refused_count() == 0 {
            return fresh;
        }
        self.probes.may_go(Instant::now()).then(|| self.window.take_refused()).flatten()
    }

    /// The broker does not take a message for now.
    pub(super) fn refused(&mut self, letter: &Letter) {
        counter!("outbox_refused_total").increment(1);
        if self.window.refused_count() == 0 {
            self.probes = Probes::new();
            tracing::warn!(
                message.kind = letter.row.kind,
                "RabbitMQ refuses messages, as a full queue does: their customers wait"
            );
        }
        self.window.refused(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_go_each_period() {
        let mut probes = Probes::new();
        let mut at = |now| (0..20).filter(|_| probes.may_go(now)).count();
        let began = Instant::now();
        assert_eq!(at(began), 0, "not at once");
        assert_eq!(at(began + PROBE_PERIOD * 2), PROBES);
        assert_eq!(at(began + PROBE_PERIOD * 2), 0);
        assert_eq!(at(began + PROBE_PERIOD * 5), PROBES);
    }
}
