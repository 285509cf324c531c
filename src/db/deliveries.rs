//! What became of a mail or a text message: both tables have the same columns for it.
//!
//! One that is being sent is leased by moving its due time, not by holding a transaction: a worker
//! that dies gives it back by the passing of time. One message at a time, so a cached text would
//! save little.

use super::Connection;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Whose rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Mails,
    TextMessages,
}

impl Queue {
    fn table(self) -> &'static str {
        match self {
            Self::Mails => "mails",
            Self::TextMessages => "text_messages",
        }
    }

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        self.table()
    }

    /// What nobody needs once the message has come to its end: an address of its own, and what a
    /// code is derived from.
    fn forget(self) -> &'static str {
        match self {
            Self::Mails => ", address = NULL",
            Self::TextMessages => ", nonce = NULL",
        }
    }
}

/// Rows are counted up to here: beyond it their exact number helps nobody.
const COUNTED_MAX: i64 = 10_000;

/// No rest between two tries is longer.
const REST_MAX: TimeDelta = TimeDelta::hours(1);

/// How many messages wait to be handed over, and when the first of them was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Backlog {
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

/// Of the messages that are due, or were tried and put off. Those that are not to be sent before
/// later are none, nor is one that is being sent for the first time.
///
/// # Errors
/// Those of the query.
pub async fn backlog(
    mut conn: &Connection,
    queue: Queue,
    now: DateTime<Utc>,
) -> QueryResult<Backlog> {
    let text = format!(
        "SELECT count(*) AS waiting, min(created_at) AS oldest FROM (SELECT created_at FROM {} \
         WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= $2 \
         AND (due_at <= $1 OR last_error IS NOT NULL) ORDER BY due_at LIMIT {COUNTED_MAX}) AS waiting",
        queue.table()
    );
    diesel::sql_query(text)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(now + REST_MAX)
        .get_result(&mut conn)
        .await
}

/// Notes that the message was handed over.
///
/// # Errors
/// Those of the query.
pub async fn mark_sent(
    mut conn: &Connection,
    queue: Queue,
    id: Uuid,
    at: DateTime<Utc>,
) -> QueryResult<()> {
    let (table, forget) = (queue.table(), queue.forget());
    let text =
        format!("UPDATE {table} SET sent_at = $2{forget} WHERE id = $1 AND given_up_at IS NULL");
    let update = diesel::sql_query(text).bind::<SqlUuid, _>(id).bind::<Timestamptz, _>(at);
    update.execute(&mut conn).await.map(|_| ())
}

/// Notes a failed try, and when the next one is due.
///
/// # Errors
/// Those of the query.
pub async fn put_off(
    mut conn: &Connection,
    queue: Queue,
    id: Uuid,
    due_at: DateTime<Utc>,
    error: &str,
) -> QueryResult<()> {
    let text = format!(
        "UPDATE {} SET due_at = $2, tries = tries + 1, last_error = $3 \
         WHERE id = $1 AND sent_at IS NULL",
        queue.table()
    );
    change(&mut conn, text, id, due_at, error).await
}

/// Moves a message that could not be tried: who takes it was away, which costs no try.
///
/// # Errors
/// Those of the query.
pub async fn postpone(
    mut conn: &Connection,
    queue: Queue,
    id: Uuid,
    due_at: DateTime<Utc>,
    error: &str,
) -> QueryResult<()> {
    let text = format!(
        "UPDATE {} SET due_at = $2, last_error = $3 WHERE id = $1 AND sent_at IS NULL",
        queue.table()
    );
    change(&mut conn, text, id, due_at, error).await
}

/// Notes that the message will not be tried again.
///
/// # Errors
/// Those of the query.
pub async fn give_up(
    mut conn: &Connection,
    queue: Queue,
    id: Uuid,
    at: DateTime<Utc>,
    error: &str,
) -> QueryResult<()> {
    let text = format!(
        "UPDATE {} SET given_up_at = $2, tries = tries + 1, last_error = $3{} \
         WHERE id = $1 AND sent_at IS NULL",
        queue.table(),
        queue.forget()
    );
    change(&mut conn, text, id, at, error).await
}

/// Notes that the message will not be sent, though nothing failed: there is no reason for it any
/// more.
///
/// # Errors
/// Those of the query.
pub async fn stop(
    mut conn: &Connection,
    queue: Queue,
    id: Uuid,
    at: DateTime<Utc>,
    reason: &str,
) -> QueryResult<()> {
    let text = format!(
        "UPDATE {} SET given_up_at = $2, last_error = $3{} WHERE id = $1 AND sent_at IS NULL",
        queue.table(),
        queue.forget()
    );
    change(&mut conn, text, id, at, reason).await
}

async fn change(
    conn: &mut &Connection,
    text: String,
    id: Uuid,
    at: DateTime<Utc>,
    error: &str,
) -> QueryResult<()> {
    diesel::sql_query(text)
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(at)
        .bind::<Text, _>(error)
        .execute(conn)
        .await
        .map(|_| ())
}
