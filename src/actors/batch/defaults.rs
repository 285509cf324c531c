//! The static segments that every new customer belongs to from its first instant (rule L9): read with what
//! else a batch needs, written in the transaction that makes the customer. One that is missing is an error
//! of whoever would be made without it, and nobody is.

use super::Failure;
use crate::db::transactions::QueryError;
use crate::db::{self, Database};
use crate::domain::Submission;
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::ids::SegmentId;
use crate::domain::message::MembershipCause;
use crate::domain::segment::membership::{Held, MembershipEvent};
use crate::domain::segment::record::SegmentCode;

/// A segment that is there to be put into.
pub type DefaultSegment = (SegmentId, SegmentCode);

/// Their codes, as they are configured.
#[derive(Debug, Clone, Default)]
pub struct Defaults(Vec<String>);

impl Defaults {
    pub fn new(mut codes: Vec<String>) -> Self {
        codes.sort();
        codes.dedup();
        Self(codes)
    }

    /// Those that are there; `None`: nobody is made.
    pub(super) async fn of_newcomers(
        &self,
        connection: &db::Connection,
        submissions: &[Submission],
    ) -> Result<Option<Vec<DefaultSegment>>, QueryError> {
        if self.0.is_empty() || !submissions.iter().any(|one| one.command.creates()) {
            return Ok(None);
        }
        db::segment_book::statics(connection, &self.0).await.map(Some)
    }

    /// All of them, for who certainly makes customers.
    pub(super) async fn all(&self, database: &Database) -> Result<Vec<DefaultSegment>, Failure> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let connection = database.get().await?;
        let found = db::segment_book::statics(&connection, &self.0).await?;
        self.complete(Some(found))
    }

    /// All of them; none where nobody is made.
    pub(super) fn complete(
        &self,
        found: Option<Vec<DefaultSegment>>,
    ) -> Result<Vec<DefaultSegment>, Failure> {
        let Some(found) = found else { return Ok(Vec::new()) };
        let missing = self.missing(&found);
        missing.map_or(Ok(found), |text| Err(Failure::NotDone(db::Error::Internal(text))))
    }

    /// What is wrong with the configuration, if one is missing.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn fault(&self, connection: &db::Connection) -> Result<Option<String>, QueryError> {
        Ok(self.missing(&db::segment_book::statics(connection, &self.0).await?))
    }

    fn missing(&self, found: &[DefaultSegment]) -> Option<String> {
        let is_there = |code: &str| found.iter().any(|(_, known)| known.as_str() == code);
        let code = self.0.iter().find(|code| !is_there(code))?;
        Some(format!(
            "segments.defaults names {code:?}, which is no static segment: make it first, or take it out"
        ))
    }
}

/// What follows from an event: whoever is new joins them all.
pub(super) fn follow(defaults: &[DefaultSegment], event: &Event, context: &Context) -> Vec<Event> {
    let Event::Created(_) = event else { return Vec::new() };
    // As whom staff puts in: what moves with a merge and comes back with a cancelled deletion.
    let held = Held { since: context.now, cause: MembershipCause::Manual };
    let joined = defaults.iter().map(|(segment, code)| {
        let (segment, code) = (*segment, code.clone());
        Event::Membership(MembershipEvent::Joined { segment, code, held })
    });
    joined.collect()
}
