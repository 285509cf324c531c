//! The driver of every worker that sends what committed transactions decided to tell people
//! (rule A11): lease a few messages, hand each over, write down what came of it. At least once, and
//! recognisable: a message that is sent twice after a crash carries the same id.
//!
//! What is sent, how and at which pace is a [`Post`]'s.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;
use uuid::Uuid;

use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::deliveries::Queue;
use crate::db::{self, Database};
use crate::faults;

/// No new messages are taken up after this part of a run, so that it ends before its time limit.
const RUN_TIME_MAX: Duration = Duration::from_secs(20);

/// How often what waits is counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The outcome that somebody is told of.
const GIVEN_UP: &str = "given_up";

/// How messages of one kind are sent.
pub trait Post: Clone + Send + Sync + 'static {
    type Due: Due + Send + Sync;

    /// The worker's name.
    const NAME: &'static str;
    const QUEUE: Queue;
    const PACE: Pace;
    /// The counter of tries, by kind and outcome.
    const TOTAL: &'static str;
    /// The histogram of the time from a decision until the message was handed over.
    const DELAY: &'static str;

    /// Every kind of message that there is.
    fn kinds() -> impl Iterator<Item = &'static str>;

    /// Messages of one run.
    fn batch_max(&self) -> usize;

    /// Failed tries after which a message is given up.
    fn tries_max(&self) -> u32;

    /// Leases at most `limit` messages that are due.
    fn claim(
        &self,
        connection: &db::Connection,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Self::Due>, db::Error>> + Send;

    /// Hands one message over; holds no connection to the database.
    fn send(&self, due: &Self::Due) -> impl Future<Output = Result<(), Undelivered>> + Send;
}

/// A message that was leased.
pub trait Due {
    fn id(&self) -> Uuid;
    fn kind(&self) -> &str;
    fn created_at(&self) -> DateTime<Utc>;
    /// Failed tries so far.
    fn tries(&self) -> i32;
}

/// Times of one kind of message.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages that are handed over at the same time.
    pub sending_max: usize,
    /// For this long a message that is being sent is nobody else's; longer than sending may take.
    pub lease: TimeDelta,
    /// Rest after the first failed try; it doubles up to the second.
    pub retry_first: TimeDelta,
    pub retry_max: TimeDelta,
    /// Longest rest while who takes messages is away: so much later than its return do they leave.
    pub outage_rest_max: TimeDelta,
    /// The net under the nudges: retries become due, and other nodes' messages are sent if they die.
    pub period: Duration,
}

/// Why a message was not handed over. The texts tell nobody's address, number or secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// Who takes it is away: this costs no try.
    Unreachable(String),
    /// Refused for now.
    Transient(String),
    /// Refused for good.
    Permanent(String),
    /// Not handed over at all: there is no reason for it any more.
    Stopped(&'static str),
}

/// The worker; see the module.
#[derive(Clone)]
pub struct Dispatcher<P> {
    database: Database,
    clock: Arc<dyn Clock>,
    post: P,
    /// When the backlog is counted again.
    count_at: Instant,
}

impl<P: Post> Dispatcher<P> {
    pub(super) fn over(database: Database, clock: Arc<dyn Clock>, post: P) -> Self {
        // Many may be given up between two looks of Prometheus, which must see the counters rise.
        for kind in P::kinds() {
            counter!(P::TOTAL, "kind" => kind, "outcome" => GIVEN_UP).increment(0);
        }
        Self { database, clock, post, count_at: Instant::now() }
    }

    /// Sends one leased message and writes down what came of it.
    async fn deliver(&self, due: P::Due) -> Result<(), db::Error> {
        let sent = self.post.send(&due).await;
        faults::at_part(P::NAME, "sent");
        let (id, kind, now) = (due.id(), due.kind(), self.clock.now());
        let age = now - due.created_at();
        // Only now a connection: none is held while somebody else's server thinks.
        let connection = self.database.get().await?;
        let outcome = match sent {
            Ok(()) => {
                db::deliveries::mark_sent(&connection, P::QUEUE, id, now).await?;
                histogram!(P::DELAY).record(age.max(TimeDelta::zero()).as_seconds_f64());
                "sent"
            }
            Err(Undelivered::Unreachable(cause)) => {
                tracing::warn!(worker = P::NAME, %id, kind, cause, "a message waits");
                let due_at = now + P::PACE.outage_rest(age);
                db::deliveries::postpone(&connection, P::QUEUE, id, due_at, &cause).await?;
                "put_off"
            }
            Err(Undelivered::Stopped(reason)) => {
                tracing::info!(worker = P::NAME, %id, kind, reason, "a message is not sent");
                db::deliveries::stop(&connection, P::QUEUE, id, now, reason).await?;
                "stopped"
            }
            Err(Undelivered::Transient(cause)) if !self.is_last(&due) => {
                tracing::warn!(worker = P::NAME, %id, kind, cause, "a message was put off");
                let due_at = now + P::PACE.retry_rest(due.tries());
                db::deliveries::put_off(&connection, P::QUEUE, id, due_at, &cause).await?;
                "put_off"
            }
            Err(Undelivered::Transient(cause) | Undelivered::Permanent(cause)) => {
                tracing::error!(worker = P::NAME, %id, kind, cause, "a message was given up");
                db::deliveries::give_up(&connection, P::QUEUE, id, now, &cause).await?;
                GIVEN_UP
            }
        };
        faults::at_part(P::NAME, "marked");
        counter!(P::TOTAL, "kind" => kind.to_owned(), "outcome" => outcome).increment(1);
        Ok(())
    }

    fn is_last(&self, due: &P::Due) -> bool {
        u32::try_from(due.tries()).unwrap_or(0).saturating_add(1) >= self.post.tries_max()
    }

    /// Tells how much waits, now and then.
    async fn count_backlog(&mut self) -> Result<(), db::Error> {
        if Instant::now() < self.count_at {
            return Ok(());
        }
        self.count_at = Instant::now() + COUNT_EVERY;
        let now = self.clock.now();
        let connection = self.database.get().await?;
        let backlog = db::deliveries::backlog(&connection, P::QUEUE, now).await?;
        let age = backlog.oldest.map(|oldest| now - oldest).unwrap_or_default();
        let (queue, age) = (P::QUEUE.as_str(), age.max(TimeDelta::zero()));
        gauge!("deliveries_waiting", "queue" => queue).set(backlog.waiting as f64);
        gauge!("deliveries_oldest_seconds", "queue" => queue).set(age.as_seconds_f64());
        Ok(())
    }

    async fn claim(&self, limit: usize) -> Result<Vec<P::Due>, db::Error> {
        let now = self.clock.now();
        let connection = self.database.get().await?;
        self.post.claim(&connection, now, now + P::PACE.lease, limit as i64).await
    }
}

impl<P: Post> Worker for Dispatcher<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn period(&self) -> Duration {
        P::PACE.period
    }

    /// Takes up a few messages at a time, no more than can be sent within their lease.
    async fn run_once(&mut self) -> anyhow::Result<Done> {
        self.count_backlog().await?;
        let started = Instant::now();
        let (batch_max, sending_max) = (self.post.batch_max(), P::PACE.sending_max);
        let mut handled = 0;
        while handled < batch_max && started.elapsed() < RUN_TIME_MAX {
            let wanted = sending_max.min(batch_max - handled);
            let due = self.claim(wanted).await?;
            let claimed = due.len();
            if claimed > 0 {
                faults::at_part(P::NAME, "claimed");
            }
            let outcomes: Vec<_> = stream::iter(due)
                .map(|due| self.deliver(due))
                .buffer_unordered(sending_max)
                .collect()
                .await;
            handled += claimed;
            outcomes.into_iter().collect::<Result<(), _>>()?;
            if claimed < wanted {
                return Ok(Done { handled, more: false });
            }
        }
        Ok(Done { handled, more: true })
    }
}

impl Pace {
    fn retry_rest(&self, failed_before: i32) -> TimeDelta {
        let doublings = u32::try_from(failed_before).unwrap_or(0).min(16);
        let doubled = self.retry_first.checked_mul(1 << doublings);
        doubled.unwrap_or(self.retry_max).min(self.retry_max)
    }

    /// As long as the message has waited, so that the rests double without a count of them.
    fn outage_rest(&self, age: TimeDelta) -> TimeDelta {
        age.clamp(self.retry_first, self.outage_rest_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        sending_max: 4,
        lease: TimeDelta::seconds(120),
        retry_first: TimeDelta::seconds(30),
        retry_max: TimeDelta::minutes(60),
        outage_rest_max: TimeDelta::minutes(5),
        period: Duration::from_secs(5),
    };

    #[test]
    fn a11_the_rest_between_tries_doubles_up_to_a_limit() {
        let seconds: Vec<i64> = (0..9).map(|tries| PACE.retry_rest(tries).num_seconds()).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(PACE.retry_rest(i32::MAX), PACE.retry_max);
        assert_eq!(PACE.retry_rest(-1), PACE.retry_first);
    }

    #[test]
    fn a11_an_outage_rests_for_as_long_as_the_message_has_waited_within_bounds() {
        let seconds = [-9, 0, 30, 60, 120, 299, 301, i64::from(u32::MAX)];
        let rests = seconds.map(|age| PACE.outage_rest(TimeDelta::seconds(age)).num_seconds());
        assert_eq!(rests, [30, 30, 30, 60, 120, 299, 300, 300]);
    }
}
