//! Table `text_messages`, as the texter reads it; batches write it with [`InsertTextMessages`], and
//! what became of a message is written by [`deliveries`](super::deliveries).

use super::Connection;
use super::statements::InsertTextMessages;
use crate::domain::text_message::TextMessage;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bytea, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A text message to send now.
#[derive(Clone, Queryable)]
pub struct DueText {
    pub id: Uuid,
    pub customer_id: Uuid,
    pub kind: String,
    pub locale: String,
    /// What its code is derived from.
    pub nonce: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// Failed tries so far.
    pub tries: i32,
    /// The number that waits for this very message; `None` when a newer one took its place, when
    /// the code was used, or when the customer is gone.
    pub to: Option<String>,
}

/// Number and nonce stay out of logs.
impl std::fmt::Debug for DueText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DueText")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// Takes due messages and leases them. A fixed text, so that its plan is cached.
#[derive(QueryId)]
struct Claim {
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
}

impl QueryFragment<Pg> for Claim {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE text_messages AS m SET due_at = ");
        out.push_bind_param::<Timestamptz, _>(&self.until)?;
        out.push_sql(
            " FROM (SELECT id FROM text_messages WHERE sent_at IS NULL AND given_up_at IS NULL \
             AND due_at <= ",
        );
        out.push_bind_param::<Timestamptz, _>(&self.now)?;
        out.push_sql(" ORDER BY due_at LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(
            " FOR UPDATE SKIP LOCKED) AS due WHERE m.id = due.id \
             RETURNING m.id, m.customer_id, m.kind, m.locale, m.nonce, m.created_at, \
             m.expires_at, m.tries, \
             (SELECT p.phone FROM phone_confirmations AS p JOIN customers AS c \
             ON c.id = p.customer_id WHERE p.customer_id = m.customer_id \
             AND p.text_message_id = m.id AND c.deleted_at IS NULL AND c.status <> 'erased')",
        );
        Ok(())
    }
}

impl Query for Claim {
    type SqlType = (
        SqlUuid,
        SqlUuid,
        Text,
        Text,
        Nullable<Bytea>,
        Timestamptz,
        Timestamptz,
        Integer,
        Nullable<Text>,
    );
}

/// Takes at most `limit` messages that are due at `now`; until `until` nobody else gets them.
///
/// # Errors
/// Those of the query.
pub async fn claim(
    mut conn: &Connection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<DueText>> {
    Claim { now, until, limit }.load(&mut conn).await
}

impl InsertTextMessages {
    pub fn push(&mut self, message: &TextMessage, created_at: DateTime<Utc>) {
        self.id.push(message.id.0);
        self.customer_id.push(message.customer_id.0);
        self.kind.push(message.body.kind().to_owned());
        self.locale.push(message.locale.as_str().to_owned());
        self.nonce.push(message.body.nonce().to_vec());
        self.created_at.push(created_at);
        self.expires_at.push(message.expires_at);
    }
}
