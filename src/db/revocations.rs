//! Which sessions were revoked of late: what every node must know within a second (rule A7).

use super::Connection;
use super::schema::sessions;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// All sessions that were revoked at `since` or later, with the moment.
///
/// # Errors
/// Those of the query.
pub async fn since(
    mut conn: &Connection,
    since: DateTime<Utc>,
) -> QueryResult<Vec<(Uuid, DateTime<Utc>)>> {
    sessions::table
        .filter(sessions::revoked_at.ge(since))
        .select((sessions::id, sessions::revoked_at.assume_not_null()))
        .load(&mut conn)
        .await
}
