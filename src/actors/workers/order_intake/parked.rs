//! Facts of customers that were not known, tried again: with growing rests, until the customer is
//! there or the fact is given up. A row is taken by moving its time, so that a node that dies with
//! it gives it back.
//!
//! A try that came to no end leaves its mark on the row; such rows are taken one at a time, and
//! given up when it happens too often, like the messages of the queue. One that merely failed is
//! tried again with growing rests and given up in the same time as one without a customer, unless
//! it is the database that failed: what cannot be charged is not.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{FutureExt, StreamExt, stream};
use metrics::{counter, gauge};
use tokio::time::Instant;

use super::TRIES_MAX;
use super::desk::{Desk, Envelope, Refusal, Verdict, retry_rest};
use super::room::{AGAIN, LEASE, NoRoom};
use super::trial::{End, poison};
use crate::actors::worker::{Done, Worker};
use crate::db;
use crate::db::order_intake::{ParkReason, Parked};
use crate::faults;

/// Between two looks at what is due: the shortest rest of a fact.
const PERIOD: Duration = Duration::from_secs(1);

/// Between two counts of what is parked.
const COUNT_PERIOD: Duration = Duration::from_secs(10);

/// Rows of one run, and of them at the same time.
const BATCH_ROWS: i64 = 64;
const TOGETHER_MAX: usize = 8;

/// Facts given up are counted up to here: beyond it their exact number helps nobody.
const GIVEN_UP_MAX: i64 = 10_000;

/// The longest rest of a fact that is given up and cannot be buried.
const BURIAL_REST_MAX: TimeDelta = TimeDelta::minutes(10);

/// The worker; see the module.
#[derive(Clone)]
pub struct ParkedOrders {
    desk: Arc<Desk>,
    count_at: Instant,
}

impl ParkedOrders {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk, count_at: Instant::now() }
    }

    /// Tries what is due: first together what never gave cause for suspicion, then one other.
    async fn try_due(&self) -> Result<Done, db::Error> {
        let due = self.claim(false, BATCH_ROWS).await?;
        let taken = due.len();
        let done: Vec<_> = stream::iter(due)
            .map(|row| self.try_row(row))
            .buffer_unordered(TOGETHER_MAX)
            .collect()
            .await;
        done.into_iter().collect::<Result<(), _>>()?;
        let mut suspects = self.claim(true, 1).await?;
        let mut handled = taken + suspects.len();
        if let Some(row) = suspects.pop() {
            match row.unended > TRIES_MAX {
                true => self.give_up(&row).await?,
                false => self.try_row(row).await?,
            }
        } else {
            handled = taken;
        }
        Ok(Done { handled, more: handled > 0 })
    }

    async fn claim(&self, suspects: bool, limit: i64) -> Result<Vec<Parked>, db::Error> {
        let _turn = self.desk.turn().await;
        let connection = self.desk.database.get().await?;
        let now = self.desk.clock.now();
        Ok(db::order_intake::claim(&connection, suspects, now, now + LEASE, limit).await?)
    }

    async fn try_row(&self, row: Parked) -> Result<(), db::Error> {
        let trial = AssertUnwindSafe(self.try_once(&row)).catch_unwind();
        trial.await.unwrap_or_else(|_| {
            // The mark stays on the row, and its time comes.
            tracing::error!(parked.id = %row.id, "trying a parked fact panicked");
            counter!("order_facts_retries_total", "cause" => "panic").increment(1);
            Ok(())
        })
    }

    async fn try_once(&self, row: &Parked) -> Result<(), db::Error> {
        let fact = match self.desk.read(&row.routing_key, &row.body) {
            Ok(fact) => fact,
            Err(refusal) => return self.bury(row, &refusal).await,
        };
        fail::fail_point!(&format!("order_intake.parked.{}", fact.order_id.as_str()), |_| {
            std::process::abort()
        });
        faults::at("parked_orders.claimed");
        let verdict = self.desk.record(&fact, row.message_id.as_deref(), None).await;
        faults::at("parked_orders.recorded");
        match verdict {
            Verdict::Recorded { news: true } => self.ended(row, End::Recorded).await,
            Verdict::Recorded { news: false } => self.ended(row, End::Known).await,
            Verdict::CustomerGone => self.ended(row, End::CustomerGone).await,
            Verdict::Refused(refusal) => self.bury(row, &refusal).await,
            Verdict::UnknownCustomer => {
                match self.desk.next_try(row.first_seen_at, row.tries + 1) {
                    Some(due) => self.desk.put_off(row.id, true, due).await,
                    None => self.bury(row, &unknown_customer()).await,
                }
            }
            Verdict::NotNow(cause) => {
                counter!("order_facts_retries_total", "cause" => cause).increment(1);
                if row.reason == ParkReason::Poison.as_str() {
                    // Staff asked for one more try, and this was it: the mark gives it up again.
                    return Ok(());
                }
                self.missed(row).await
            }
        }
    }

    /// A try failed and killed nobody. That is written down like the tries of the queue: where it
    /// cannot be, the database is at fault and not the fact.
    async fn missed(&self, row: &Parked) -> Result<(), db::Error> {
        let (misses, _) = self.desk.begin_try(&row.digest).await?;
        let out_of_time = self.desk.next_try(row.first_seen_at, row.tries).is_none();
        if out_of_time && misses >= TRIES_MAX {
            return self.give_up(row).await;
        }
        self.put_off(row, retry_rest(misses).max(AGAIN)).await
    }

    /// Its mark stays until that is done: should it not be now, it is when the row is taken next.
    async fn give_up(&self, row: &Parked) -> Result<(), db::Error> {
        if let Err(fault) = self.desk.bury(envelope(row), &poison()).await {
            tracing::warn!(%fault, parked.id = %row.id, "a poisoned fact is no dead letter yet");
            return Ok(());
        }
        self.desk.condemn(envelope(row)).await?;
        self.desk.end_try(&row.digest).await;
        Ok(())
    }

    /// Hands a fact over to the dead letters; the row goes when it is there.
    async fn bury(&self, row: &Parked, refusal: &Refusal) -> Result<(), db::Error> {
        match self.desk.bury(envelope(row), refusal).await {
            Ok(()) => self.ended(row, End::Buried).await,
            Err(fault) => {
                tracing::warn!(%fault, parked.id = %row.id, "a fact that is given up waits");
                // The longer it has waited, the longer it may.
                let rest = (self.desk.clock.now() - row.first_seen_at) / 8;
                self.put_off(row, rest.clamp(AGAIN, BURIAL_REST_MAX)).await
            }
        }
    }

    async fn ended(&self, row: &Parked, end: End) -> Result<(), db::Error> {
        counter!("order_facts_total", "outcome" => end.as_str()).increment(1);
        self.desk.unpark(row.id).await?;
        faults::at("parked_orders.unparked");
        Ok(())
    }

    /// A fact that could not be tried, or not be given up, rests.
    async fn put_off(&self, row: &Parked, rest: TimeDelta) -> Result<(), db::Error> {
        self.desk.put_off(row.id, false, self.desk.clock.now() + rest).await
    }

    /// Counts what is parked, now and then, and gives up what other nodes brought beyond the most.
    async fn count(&mut self) -> Result<(), db::Error> {
        if Instant::now() < self.count_at {
            return Ok(());
        }
        self.count_at = Instant::now() + COUNT_PERIOD;
        self.counted(ParkReason::Poison, GIVEN_UP_MAX).await?;
        let room = &self.desk.room;
        let limit = room.max() + BATCH_ROWS;
        let waiting = self.counted(ParkReason::UnknownCustomer, limit).await?;
        room.counted(waiting);
        if waiting == limit {
            // There may be more than these.
            self.count_at = Instant::now();
        }
        for _ in room.max()..waiting {
            match self.desk.make_room().await {
                Ok(()) => {}
                Err(NoRoom::Database(error)) => return Err(error),
                Err(NoRoom::DeadLetters(fault)) => {
                    tracing::warn!(%fault, "too many facts wait, and none can be given up");
                    break;
                }
            }
        }
        Ok(())
    }

    async fn counted(&self, reason: ParkReason, limit: i64) -> Result<i64, db::Error> {
        let connection = self.desk.database.get().await?;
        let (count, oldest) = db::order_intake::parked(&connection, reason, limit).await?;
        let age = oldest.map(|oldest| self.desk.clock.now() - oldest).unwrap_or_default();
        let age = age.max(TimeDelta::zero()).as_seconds_f64();
        gauge!("order_facts_parked", "reason" => reason.as_str()).set(count as f64);
        gauge!("order_facts_parked_oldest_seconds", "reason" => reason.as_str()).set(age);
        Ok(count)
    }
}

impl Worker for ParkedOrders {
    fn name(&self) -> &'static str {
        "parked_orders"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let done = self.try_due().await?;
        self.count().await?;
        Ok(done)
    }
}

fn unknown_customer() -> Refusal {
    let detail = "customer_id: nobody of this id came in time".to_owned();
    Refusal { reason: "unknown_customer", detail }
}

pub(super) fn envelope(row: &Parked) -> Envelope<'_> {
    Envelope {
        routing_key: &row.routing_key,
        message_id: row.message_id.as_deref(),
        body: &row.body,
        first_seen: row.first_seen_at,
        tries: u32::try_from(row.tries).unwrap_or(0),
    }
}
