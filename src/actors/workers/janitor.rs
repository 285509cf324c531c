//! The janitor: makes the outbox's partitions ahead of time, drops those that nobody needs, counts the
//! members of segments once an hour, and deletes rows that have had their day. Every step may fail and is tried again a minute later;
//! on several nodes at once it does no harm.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use metrics::{counter, gauge};
use uuid::Uuid;

use crate::actors::retention::Retention;
use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::retention::Perishable;
use crate::db::{self, Database};
use crate::faults;

const PERIOD: Duration = Duration::from_secs(60);

/// Rows of one statement: a few milliseconds of work.
const BATCH_ROWS: i64 = 500;

/// Audit entries of one statement, unless one checkpoint is of more.
const AUDIT_PLACES: i64 = 2_000;

/// Batches of one table in one run; more wait for the next one, which then follows at once.
const BATCHES_MAX: usize = 20;

/// Segments whose members are counted in one run; the others follow a minute later.
const SEGMENTS_COUNTED: i64 = 100;

/// What is kept for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long published messages can be replayed, in hours.
    pub outbox_hours: i32,
    /// For how many hours to come there are partitions.
    pub partitions_ahead_hours: i32,
    pub retention: Retention,
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub partitions_made: usize,
    pub partitions_dropped: usize,
    /// Hours of which rows lie in the default partition.
    pub hours_in_default: usize,
    pub rows_deleted: usize,
    /// Whether more rows wait to be deleted.
    pub more: bool,
}

/// The worker; see the module.
pub struct Janitor {
    database: Database,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// Where the walk through the sessions stands.
    session: Uuid,
}

impl Janitor {
    /// A janitor that begins its walk at the first session.
    pub fn new(database: Database, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self { database, clock, settings, session: Uuid::nil() }
    }

    /// One round through everything. Steps that fail do not keep the others from being done.
    ///
    /// # Errors
    /// The first failure, after all steps were tried.
    pub async fn clean(&mut self) -> Result<Report, db::Error> {
        let now = self.clock.now();
        let mut report = Report::default();
        let mut failure = None;
        let mut connection = self.database.get().await?;
        let mut note = |done: Result<(), db::Error>| {
            if let Err(error) = done {
                tracing::warn!(%error, "a step of the janitor failed");
                failure.get_or_insert(error);
            }
        };
        let ahead = self.settings.partitions_ahead_hours;
        note(make_partitions(&mut connection, ahead, &mut report).await);
        faults::at("janitor.partitions_made");
        note(drop_partitions(&mut connection, self.settings.outbox_hours, &mut report).await);
        faults::at("janitor.partitions_dropped");
        let outbox_before = now - TimeDelta::hours(self.settings.outbox_hours.into());
        note(clear_default(&connection, outbox_before, &mut report).await);
        note(count_segments(&connection, now).await);
        for what in Perishable::ALL {
            let before = now - self.settings.retention.of(what).kept;
            note(expire(&connection, what, before, &mut report).await);
        }
        if let Some(term) = self.settings.retention.of_audit_entries() {
            note(expire_audit(&connection, &*self.clock, now - term.kept, &mut report).await);
        }
        faults::at("janitor.expired");
        let ended_before = now - self.settings.retention.of_sessions().kept;
        note(self.sweep_sessions(&connection, ended_before, &mut report).await);
        failure.map_or(Ok(report), Err)
    }

    /// Walks on through the sessions for a bounded piece; begins anew after the last one.
    async fn sweep_sessions(
        &mut self,
        connection: &db::Connection,
        before: DateTime<Utc>,
        report: &mut Report,
    ) -> Result<(), db::Error> {
        for _ in 0..BATCHES_MAX {
            let page =
                db::retention::sweep_sessions(connection, self.session, before, BATCH_ROWS).await?;
            let deleted = usize::try_from(page.deleted).unwrap_or(0);
            deleted_rows("sessions", deleted, report);
            match page.last {
                Some(last) => self.session = last,
                None => {
                    self.session = Uuid::nil();
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Worker for Janitor {
    fn name(&self) -> &'static str {
        "janitor"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let report = self.clean().await?;
        let handled = report.partitions_made + report.partitions_dropped + report.rows_deleted;
        if handled > 0 {
            tracing::info!(?report, "cleaned up");
        }
        Ok(Done { handled, more: report.more })
    }
}

/// Counts the members of segments that were not counted at this full hour yet. One whose members cannot
/// be counted in time does not keep the others from it.
async fn count_segments(connection: &db::Connection, now: DateTime<Utc>) -> Result<(), db::Error> {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let mut failure = None;
    for segment in db::segment_counts::uncounted(connection, hour, SEGMENTS_COUNTED).await? {
        if let Err(error) = db::segment_counts::count(connection, segment, hour).await {
            failure.get_or_insert(db::Error::from(error));
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Makes the partitions of this hour and of `ahead` more, as far as they are missing. Also fit
/// for right after the migrations, so that not even the first hour falls to the default one.
///
/// # Errors
/// The first failure; the other hours are tried all the same.
pub async fn make_partitions(
    connection: &mut db::Connection,
    ahead: i32,
    report: &mut Report,
) -> Result<(), db::Error> {
    let hour = db::outbox::hour(connection).await?;
    let existing = db::outbox_partitions::list(connection).await?;
    // Their hours stay with the default partition: rows are not moved under the relay's feet.
    let strays = db::outbox_partitions::strays(connection).await?;
    report.hours_in_default = strays.len();
    gauge!("outbox_hours_in_default").set(strays.len() as f64);
    let mut failure = None;
    let mut there = existing.iter().filter(|bucket| **bucket > hour).count();
    let missing = (hour..=hour + ahead)
        .filter(|bucket| !existing.contains(bucket) && !strays.contains(bucket));
    for bucket in missing {
        match db::outbox_partitions::create(connection, bucket).await {
            Ok(()) => {
                report.partitions_made += 1;
                there += usize::from(bucket > hour);
            }
            Err(error) => {
                // Another node's janitor may have made it meanwhile.
                if !db::outbox_partitions::list(connection).await?.contains(&bucket) {
                    failure.get_or_insert(db::Error::from(error));
                }
            }
        }
    }
    gauge!("outbox_partitions_ahead").set(there as f64);
    gauge!("outbox_partitions_wanted").set(f64::from(ahead));
    failure.map_or(Ok(()), Err)
}

/// Drops the partitions that are older than the retention time and lie behind every cursor. Both
/// proofs are asked for: the buckets that the cursors have left for good, and the rows themselves.
async fn drop_partitions(
    connection: &mut db::Connection,
    retention_hours: i32,
    report: &mut Report,
) -> Result<(), db::Error> {
    let hour = db::outbox::hour(connection).await?;
    let cursors = db::outbox::cursors(connection).await?;
    let seen = db::segment_cursors::cursors(connection).await?;
    let all = cursors.iter().chain(&seen);
    let left = all.map(|cursor| cursor.bucket - 1).min().unwrap_or(0);
    // An hour ends one later than it begins.
    let old = hour - retention_hours - 1;
    let existing = db::outbox_partitions::list(connection).await?;
    for bucket in existing.into_iter().filter(|bucket| *bucket < left && *bucket < old) {
        if db::outbox::has_unpublished(connection, bucket).await? {
            tracing::error!(bucket, "an old outbox partition holds unpublished messages");
            continue;
        }
        if db::segment_cursors::has_unseen(connection, bucket).await? {
            tracing::error!(
                bucket,
                "an old outbox partition holds changes not judged for segments"
            );
            continue;
        }
        db::outbox_partitions::drop(connection, bucket).await?;
        report.partitions_dropped += 1;
    }
    Ok(())
}

async fn clear_default(
    connection: &db::Connection,
    before: DateTime<Utc>,
    report: &mut Report,
) -> Result<(), db::Error> {
    for _ in 0..BATCHES_MAX {
        let deleted = db::outbox_partitions::clear_default(connection, before, BATCH_ROWS).await?;
        deleted_rows("outbox_events_default", deleted, report);
        if deleted < BATCH_ROWS as usize {
            return Ok(());
        }
    }
    report.more = true;
    Ok(())
}

async fn expire(
    connection: &db::Connection,
    what: Perishable,
    before: DateTime<Utc>,
    report: &mut Report,
) -> Result<(), db::Error> {
    for _ in 0..BATCHES_MAX {
        let deleted = db::retention::expire(connection, what, before, BATCH_ROWS).await?;
        deleted_rows(what.table(), deleted, report);
        if deleted < BATCH_ROWS as usize {
            return Ok(());
        }
    }
    report.more = true;
    Ok(())
}

/// Whole checkpoints at a time, through a function that leaves the chain valid.
async fn expire_audit(
    connection: &db::Connection,
    clock: &dyn Clock,
    before: DateTime<Utc>,
    report: &mut Report,
) -> Result<(), db::Error> {
    for _ in 0..BATCHES_MAX {
        let id = clock.new_id();
        let deleted = db::audit_chain::expire(connection, before, id, AUDIT_PLACES).await?;
        deleted_rows("audit_entries", deleted, report);
        if deleted == 0 {
            return Ok(());
        }
    }
    report.more = true;
    Ok(())
}

fn deleted_rows(table: &'static str, count: usize, report: &mut Report) {
    report.rows_deleted += count;
    counter!("janitor_rows_deleted_total", "table" => table).increment(count as u64);
}
