//! A page of the walk that a segment's new revision makes over all customers: the same load, fold and
//! statements as a batch, with the walk's own progress in the same transaction. So a kill at any instant
//! leaves either all of a page or nothing of it, and whoever goes on begins behind what is there.
//!
//! The progress row is locked last, after the customers and what is in force: as everybody does who takes
//! more than one of these locks.

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
use uuid::Uuid;

/// What a page does.
pub struct Page {
    /// Where the walk is before it.
    pub from: Build,
    /// About those whose memberships may have to change.
    pub submissions: Vec<Submission>,
    /// The last customer that is done by it; `None` moves nothing.
    pub to: Option<Uuid>,
    /// Customers that were looked at for it.
    pub looked_at: i64,
    /// Whether nobody comes after it.
    pub last: bool,
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
        let now = self.clock.now();
        let since = now - self.keep_keys;
        let loaded = self.load(connection, &page.submissions, since).await?;
        let (welcome, seals) = (&self.welcome, &self.seals);
        let folded = fold::fold(loaded, &page.submissions, welcome, seals, &*self.clock);
        let outdated = Err(SubmitError::Rejected(Rejection::Conflict));
        if folded.answers.contains(&outdated) {
            return Ok(Err(Walked::Outdated));
        }
        let (joined, parted) = changes(&folded, page.from.segment());
        let (to, looked_at, last) = (page.to, page.looked_at, page.last);
        let step = Step { to, looked_at, joined, parted, at: now, last };
        if !db::segment_builds::advance(connection, &page.from, &step).await? {
            return Ok(Err(Walked::Elsewhere));
        }
        Ok(Ok(save::save(connection, &folded, since).await?))
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
