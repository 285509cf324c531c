//! What the relay does while the broker takes nothing, or not everything. The end of an alarm is
//! told by the broker, so it is awaited. That a full queue has room again nobody tells: of the
//! messages that were refused a few are tried again and again, while all others go their way.
//!
//! A broker of a cluster may also refuse because of what it remembers of a queue: on a channel that was
//! opened while the queue had no leader, RabbitMQ 3.10 refuses for as long as the former leader is
//! away, although there is another. So refusals that last are met by another connection.
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

/// Refusals that last so long are met by another connection; the next ones by another after twice as
/// long, and so on up to the longest time.
const RENEW_FIRST: Duration = Duration::from_secs(5);
const RENEW_MAX: Duration = Duration::from_secs(60);

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

/// How long the broker has refused without taking anything that it had refused before.
pub struct Refusals {
    /// When they are met by another connection; `None` while there are none.
    due: Option<Instant>,
    rest: Duration,
}

impl Refusals {
    pub fn none() -> Self {
        Self { due: None, rest: RENEW_FIRST }
    }

    fn go_on(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.rest);
    }

    /// Whether it is time for another connection.
    pub fn are_old(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    fn met(&mut self, now: Instant) {
        self.rest = (self.rest * 2).min(RENEW_MAX);
        self.due = Some(now + self.rest);
    }
}

impl OutboxRelay {
    /// Meets refusals that last by another connection, once nothing is under way on this one: that
    /// would come twice. Whether messages may go.
    pub(super) async fn connect_anew(&mut self) -> Result<bool, Trouble> {
        if !self.flights.is_empty() {
            return Ok(false);
        }
        if self.window.refused_count() == 0 {
            self.refusals = Refusals::none();
            return Ok(true);
        }
        tracing::warn!(
            customers = self.window.refused_count(),
            "RabbitMQ goes on to refuse messages: connecting anew"
        );
        let rabbit = self.rabbit.clone();
        self.while_beating(async move { rabbit.renew().await }).await?;
        self.refusals.met(Instant::now());
        Ok(true)
    }

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
        self.refusals.go_on(Instant::now());
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
    fn refusals_that_last_are_met_ever_more_seldom() {
        let mut refusals = Refusals::none();
        let mut now = Instant::now();
        assert!(!refusals.are_old(now + RENEW_MAX), "there are none");
        for seconds in [5, 10, 20, 40, 60, 60] {
            refusals.go_on(now);
            refusals.go_on(now + Duration::from_secs(1));
            let due = now + Duration::from_secs(seconds);
            assert!(!refusals.are_old(due - Duration::from_millis(1)) && refusals.are_old(due));
            refusals.met(due);
            now = due;
        }
    }

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
