//! Table `mails`, as the mailer uses it; batches write it with
//! [`InsertMails`](super::statements::InsertMails).
//!
//! What became of a mail is written by [`deliveries`](super::deliveries).

use super::Connection;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    BigInt, Bool, Bytea, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A mail to send now.
#[derive(Clone, Queryable)]
pub struct DueMail {
    pub id: Uuid,
    pub kind: String,
    pub locale: String,
    /// What the token of its link is derived from.
    pub nonce: Option<Vec<u8>>,
    /// Backup codes left, in the mail that tells of one.
    pub codes_left: Option<i16>,
    /// The instant that it names.
    pub tells_of: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// Failed tries so far.
    pub tries: i32,
    /// Its own address, or the customer's as it is now; `None` when the customer is gone.
    pub to: Option<String>,
    /// Which mail of the welcome series it is.
    pub step: Option<String>,
    /// Whether the customer is active and its address verified. Looked up for a step of a series.
    pub welcome: bool,
    /// Whether it agreed to advertising by mail. Looked up likewise.
    pub accepts_marketing: bool,
}

/// Address and nonce stay out of logs.
impl std::fmt::Debug for DueMail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DueMail")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// Takes due mails and leases them. A fixed text, so that its plan is cached.
#[derive(QueryId)]
struct Claim {
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
}

impl QueryFragment<Pg> for Claim {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE mails AS m SET due_at = ");
        out.push_bind_param::<Timestamptz, _>(&self.until)?;
        out.push_sql(
            " FROM (SELECT id FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL \
             AND due_at <= ",
        );
        out.push_bind_param::<Timestamptz, _>(&self.now)?;
        out.push_sql(" ORDER BY due_at LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(
            " FOR UPDATE SKIP LOCKED) AS due WHERE m.id = due.id \
             RETURNING m.id, m.kind, m.locale, m.nonce, m.codes_left, m.tells_of, m.created_at, m.tries, \
             (SELECT coalesce(m.address, c.email) FROM customers AS c WHERE c.id = m.customer_id \
             AND c.deleted_at IS NULL AND c.status <> 'erased'), m.step, \
             m.step IS NOT NULL AND EXISTS (SELECT FROM customers AS c WHERE c.id = m.customer_id \
             AND c.deleted_at IS NULL AND c.status = 'active' AND c.email_verified_at IS NOT NULL), \
             m.step IS NOT NULL AND EXISTS (SELECT FROM consents AS k WHERE k.customer_id = m.customer_id \
             AND k.purpose = 'marketing' AND k.channel IN ('email', 'all') AND k.granted)",
        );
        Ok(())
    }
}

impl Query for Claim {
    type SqlType = (
        SqlUuid,
        Text,
        Text,
        Nullable<Bytea>,
        Nullable<SmallInt>,
        Nullable<Timestamptz>,
        Timestamptz,
        Integer,
        Nullable<Text>,
        Nullable<Text>,
        Bool,
        Bool,
    );
}

/// Takes at most `limit` mails that are due at `now`; until `until` nobody else gets them.
///
/// # Errors
/// Those of the query.
pub async fn claim(
    mut conn: &Connection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<DueMail>> {
    Claim { now, until, limit }.load(&mut conn).await
}
