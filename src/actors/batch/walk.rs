//! A page of the walk that a segment's new revision makes over all customers, with the walk's own progress
//! in the same transaction. So a kill at any instant leaves either all of a page or nothing of it, and
//! whoever goes on begins behind what is there. Who is judged by facts goes the way of a batch; whom a
//! condition over rows decides about, the shorter one of [`by_rows`].
//!
//! The progress row is locked last, after the customers and what is in force: as everybody does who takes
//! more than one of these locks.

pub mod by_rows;

use super::{Batches, Failure, fold, save};
use crate::actors::customers::SubmitError;
use crate::db;
use crate::db::segment_builds::{Build, Step};
use crate::db::transactions::{commit, rollback};
use crate::domain::Submission;
use crate::domain::ids::SegmentId;
use crate::domain::message::Message;
use crate::domain::outcome::Rejection;
use crate::faults;
use by_rows::ByRows;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What a page does.
pub struct Page {
    /// Where the walk is before it.
    pub from: Build,
    pub work: Work,
    /// The last customer that is done by it; `None` moves nothing.
    pub to: Option<Uuid>,
    /// Customers that were looked at for it.
    pub looked_at: i64,
    /// Whether nobody comes after it.
    pub last: bool,
}

/// How those are judged whose memberships may have to change.
pub enum Work {
    /// Each by its facts, as after a change.
    Judged(Vec<Submission>),
    /// All by one condition.
    ByRows(ByRows),
}

impl Work {
    /// Whether anybody may join or leave.
    pub fn changes(&self) -> bool {
        match self {
            Self::Judged(submissions) => !submissions.is_empty(),
            Self::ByRows(rows) => !rows.customers.is_empty(),
        }
    }
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walked {
    /// It is committed.
    Done,
    /// The walk is not where the page begins: nothing was done.
    Elsewhere,
    /// Others rules are in force than those that the page was judged by: nothing was done.
    Outdated,
}

impl Batches {
    /// Carries out a page.
    ///
    /// # Errors
    /// The database's. What was committed is: ask the walk where it is.
    pub async fn walk(&self, page: &Page) -> Result<Walked, SubmitError> {
        self.try_walk(page).await.map_err(Failure::into_error)
    }

    async fn try_walk(&self, page: &Page) -> Result<Walked, Failure> {
        let mut connection = self.begin().await?;
        let written = match self.walk_within(&mut connection, page).await {
            Ok(Ok(written)) => written,
            Ok(Err(undone)) => {
                rollback(&mut connection).await;
                return Ok(undone);
            }
            Err(failure) => {
                rollback(&mut connection).await;
                return Err(failure);
            }
        };
        faults::at("segments.page_written");
        commit(&mut connection).await.map_err(|error| match db::Error::from(error) {
            error @ (db::Error::Constraint(_) | db::Error::Transient(_)) => Failure::from(error),
            error => Failure::Unknown(error),
        })?;
        faults::at("segments.page_done");
        self.wake(&written);
        Ok(Walked::Done)
    }

    async fn walk_within(
        &self,
        connection: &mut db::PooledConnection,
        page: &Page,
    ) -> Result<Result<save::Written, Walked>, Failure> {
        match &page.work {
            Work::Judged(submissions) => self.judged(connection, page, submissions).await,
            Work::ByRows(rows) => self.by_rows(connection, page, rows).await,
        }
    }

    async fn judged(
        &self,
        connection: &mut db::PooledConnection,
        page: &Page,
        submissions: &[Submission],
    ) -> Result<Result<save::Written, Walked>, Failure> {
        let now = self.clock.now();
        let since = now - self.keep_keys;
        let loaded = self.load(connection, submissions, since).await?;
        let (welcome, seals) = (&self.welcome, &self.seals);
        let folded = fold::fold(loaded, submissions, welcome, seals, &*self.clock);
        let outdated = Err(SubmitError::Rejected(Rejection::Conflict));
        if folded.answers.contains(&outdated) {
            return Ok(Err(Walked::Outdated));
        }
        let step = page.step(changes(&folded, page.from.segment()), now);
        if !db::segment_builds::advance(connection, &page.from, &step).await? {
            return Ok(Err(Walked::Elsewhere));
        }
        Ok(Ok(save::save(connection, &folded, since).await?))
    }

    async fn by_rows(
        &self,
        connection: &mut db::PooledConnection,
        page: &Page,
        rows: &ByRows,
    ) -> Result<Result<save::Written, Walked>, Failure> {
        let found = match rows.find(connection, &*self.clock).await? {
            Ok(found) => found,
            Err(undone) => return Ok(Err(undone)),
        };
        let step = page.step(found.changes(), self.clock.now());
        if !db::segment_builds::advance(connection, &page.from, &step).await? {
            return Ok(Err(Walked::Elsewhere));
        }
        found.save(connection).await?;
        Ok(Ok(save::Written::of_messages(found.shards)))
    }
}

impl Page {
    fn step(&self, (joined, parted): (i64, i64), at: DateTime<Utc>) -> Step {
        Step { to: self.to, looked_at: self.looked_at, joined, parted, at, last: self.last }
    }
}

/// How many joined and left the segment; of those that ask about it nothing is told here.
fn changes(folded: &fold::Folded<'_>, segment: SegmentId) -> (i64, i64) {
    let (mut joined, mut parted) = (0, 0);
    for outgoing in &folded.messages {
        match &outgoing.message {
            Message::SegmentAssigned(data) if data.segment_id == segment => joined += 1,
            Message::SegmentRemoved(data) if data.segment_id == segment => parted += 1,
            _ => {}
        }
    }
    (joined, parted)
}
