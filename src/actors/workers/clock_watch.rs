//! The clock watch: reads the database's clock again and again, so that every node goes by the same
//! time, whatever its machine's clock shows. It tells operators of a machine whose clock is wrong.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics::{counter, gauge};

use crate::actors::worker::{Done, Worker};
use crate::clock::{Reading, SharedClock};
use crate::db::{self, Database};

/// Between two readings. A machine that was asleep, and a database whose clock was set, are wrong for
/// so long at most; of a clock that merely drifts a reading an hour would do.
const PERIOD: Duration = Duration::from_secs(2);

/// How often the first reading, and any other, may be repeated for a narrower one.
const FIRST_TRIES: u32 = 10;
const TRIES: u32 = 3;

/// A reading that takes longer than this says too little.
const WIDTH_MAX: Duration = Duration::from_secs(1);

/// A look that takes longer is cut off.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// A machine's clock that is off by more is told of.
pub const MACHINE_OFFSET_MAX: TimeDelta = TimeDelta::seconds(2);

/// A correction from which on it is worth a line of the log.
const TOLD_FROM: TimeDelta = TimeDelta::milliseconds(100);

/// The worker; see the module.
pub struct ClockWatch {
    database: Database,
    clock: Arc<SharedClock>,
    failing: bool,
    off: bool,
}

/// The database's time, read over one connection.
///
/// # Errors
/// Those of the query.
pub async fn shared_clock(connection: &db::Connection) -> Result<SharedClock, db::Error> {
    let told = db::time::ask(connection, FIRST_TRIES).await?;
    Ok(SharedClock::new(&reading(told)))
}

/// The same, over a connection of the pool's.
///
/// # Errors
/// Those of the query; that no connection can be had.
pub async fn shared_clock_of(database: &Database) -> Result<SharedClock, db::Error> {
    let told = database
        .read(|connection| Box::pin(async move { db::time::ask(connection, FIRST_TRIES).await }));
    Ok(SharedClock::new(&reading(told.await?)))
}

/// What operators should know of this machine's clock.
#[must_use]
pub fn note(clock: &SharedClock) -> Option<&'static str> {
    let off = clock.machine_offset().abs() > MACHINE_OFFSET_MAX;
    off.then_some("this machine's clock differs from the database's, by which the service goes")
}

impl ClockWatch {
    /// A watch that keeps `clock` right.
    pub fn new(database: Database, clock: Arc<SharedClock>) -> Self {
        Self { database, clock, failing: false, off: false }
    }

    async fn look(&mut self) -> Result<(), db::Error> {
        let told = self
            .database
            .read(|connection| Box::pin(async move { db::time::ask(connection, TRIES).await }))
            .await?;
        if told.took() > WIDTH_MAX {
            counter!("clock_readings_failed_total").increment(1);
            return Ok(());
        }
        let reading = reading(told);
        let correction = self.clock.learn(&reading);
        gauge!("clock_uncertainty_seconds").set(reading.uncertainty().as_secs_f64());
        if !correction.is_zero() {
            counter!("clock_corrections_total").increment(1);
        }
        if correction.abs() >= TOLD_FROM {
            let seconds = correction.as_seconds_f64();
            tracing::warn!(seconds, "the time was corrected by the database's clock");
        }
        self.tell_machine();
        Ok(())
    }

    /// Says when the machine's clock goes wrong, and when it is right again.
    fn tell_machine(&mut self) {
        let offset = self.clock.machine_offset();
        let seconds = offset.as_seconds_f64();
        gauge!("clock_machine_offset_seconds").set(seconds);
        let off = offset.abs() > MACHINE_OFFSET_MAX;
        match (std::mem::replace(&mut self.off, off), off) {
            (false, true) => tracing::warn!(
                seconds,
                "this machine's clock differs from the database's, by which the service goes; \
                 its logs and certificates still go by the machine's"
            ),
            (true, false) => tracing::info!(seconds, "this machine's clock is right again"),
            _ => {}
        }
    }
}

impl Worker for ClockWatch {
    fn name(&self) -> &'static str {
        "clock_watch"
    }

    fn must_run(&self) -> Option<&'static str> {
        Some("without it this node loses the database's time")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    /// Never fails: without the database the time goes on by the machine's monotonic clock, which
    /// is as good for hours, and a growing rest would leave the first minutes afterwards unread.
    async fn run_once(&mut self) -> anyhow::Result<Done> {
        match self.look().await {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the database's clock is read again");
                }
            }
            Err(error) => {
                counter!("clock_readings_failed_total").increment(1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the database's clock cannot be read");
                }
            }
        }
        Ok(Done::default())
    }
}

fn reading(told: db::time::Told) -> Reading {
    Reading { asked: told.asked, answered: told.answered, time: told.time }
}
