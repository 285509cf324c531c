//! What happened to one customer, from the tables of two owners: its audit entries, and those of
//! its messages that the outbox still has. Deleted customers have a timeline, too.

use super::audit::{self, Entry};
use super::outbox::{self, Told};
use super::{Connection, customers};
use crate::domain::CustomerId;
use chrono::{DateTime, Utc};
use diesel::QueryResult;
use tokio::try_join;
use uuid::Uuid;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    Entry(Entry),
    Message(Told),
}

/// Where a moment stands: later ones come first.
pub type Place = (DateTime<Utc>, Uuid);

impl Moment {
    pub fn place(&self) -> Place {
        match self {
            Self::Entry(entry) => (entry.occurred_at, entry.id),
            Self::Message(message) => (message.occurred_at, message.id),
        }
    }
}

/// The latest `limit` moments before a place, latest first. `None`: there never was such a
/// customer. Three statements, all sent before the first answer comes; each half reads its index
/// from the place on, as far as the page goes.
///
/// # Errors
/// Those of the queries.
pub async fn page(
    conn: &Connection,
    customer: CustomerId,
    before: Option<Place>,
    limit: i64,
) -> QueryResult<Option<Vec<Moment>>> {
    let (known, entries, messages) = try_join!(
        customers::is_known(conn, customer),
        audit::of_customer(conn, customer, before, limit),
        outbox::of_customer(conn, customer, before, limit),
    )?;
    // An entry outlives whom it is about.
    if !known && entries.is_empty() && before.is_none() {
        return Ok(None);
    }
    let entries = entries.into_iter().map(Moment::Entry);
    let mut moments: Vec<_> = entries.chain(messages.into_iter().map(Moment::Message)).collect();
    moments.sort_by_key(|moment| std::cmp::Reverse(moment.place()));
    moments.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(Some(moments))
}

/// Later than whatever can happen: the place before the first page.
pub(super) fn from_the_end(before: Option<Place>) -> Place {
    /// The last second of the year 9999.
    const END: i64 = 253_402_300_799;
    before.unwrap_or((DateTime::from_timestamp(END, 0).unwrap_or_default(), Uuid::max()))
}
