//! How many facts may wait for a customer whom nobody knows. When there is no room for one more, the
//! one that has waited longest is given up: it had the most time, and of those that came a moment ago
//! most customers are yet to come. Whoever brings more than can be given up waits for the dead
//! letters, so a producer gone mad fills neither the table nor the disk.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use metrics::counter;

use super::desk::{Desk, Refusal};
use super::parked::envelope;
use super::trial::End;
use crate::brokers::rabbit::PublishFault;
use crate::db;

/// For this long a row that is being tried, or given up, is nobody else's; longer than either takes.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(120);

/// Rest of a fact that could not be given up.
pub(super) const AGAIN: TimeDelta = TimeDelta::seconds(5);

/// How many facts wait, as far as this node knows: what was counted last, and what it did since. With
/// several nodes there are a few more than the most that there may be, until the next count.
pub struct Room {
    waiting: AtomicI64,
    max: i64,
}

/// Why a fact could not be parked.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    #[error(transparent)]
    Database(#[from] db::Error),
    /// There was no room, and the dead letters take none either.
    #[error(transparent)]
    DeadLetters(#[from] PublishFault),
}

impl Room {
    pub fn of(max: u32) -> Self {
        Self { waiting: AtomicI64::new(0), max: max.into() }
    }

    pub fn max(&self) -> i64 {
        self.max
    }

    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= self.max
    }

    pub fn taken(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub fn left(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many were counted.
    pub fn counted(&self, waiting: i64) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

impl Desk {
    /// Gives up the fact that has waited longest.
    pub(super) async fn make_room(&self) -> Result<(), NoRoom> {
        let oldest = {
            let _turn = self.turn().await;
            let connection = self.database.get().await?;
            let until = self.clock.now() + LEASE;
            let oldest = db::order_intake::claim_oldest(&connection, until).await;
            oldest.map_err(db::Error::from)?
        };
        // All of them are being tried, or given up: these make room.
        let Some(row) = oldest else { return Ok(()) };
        if let Err(fault) = self.bury(envelope(&row), &crowded_out()).await {
            self.put_off(row.id, false, self.clock.now() + AGAIN).await?;
            return Err(fault.into());
        }
        counter!("order_facts_total", "outcome" => End::Buried.as_str()).increment(1);
        Ok(self.unpark(row.id).await?)
    }
}

fn crowded_out() -> Refusal {
    let detail = "customer_id: nobody of this id came, and too many facts wait".to_owned();
    Refusal { reason: "unknown_customer", detail }
}
