//! Whose access tokens were taken back of late: what every node must know within a second (rule A7).

use super::Connection;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Something whose access tokens are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Revocation {
    /// A session, or a customer that was erased: with it went the rows of its sessions.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

/// All that was revoked at `since` or later.
///
/// # Errors
/// Those of the query.
pub async fn since(mut conn: &Connection, since: DateTime<Utc>) -> QueryResult<Vec<Revocation>> {
    diesel::sql_query(
        "SELECT id, revoked_at AS at FROM sessions WHERE revoked_at >= $1 \
         UNION ALL SELECT customer_id, erased_at FROM erasure_ledger.erased_customers WHERE erased_at >= $1",
    )
    .bind::<Timestamptz, _>(since)
    .load(&mut conn)
    .await
}
