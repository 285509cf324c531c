//! Table `signing_keys`.

use super::Connection;
use super::schema::signing_keys;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, RunQueryDsl};

/// Key of the advisory lock under which the first key is made.
const LOCK: i64 = 0x6375_7374_6b65_7931;

/// A key as stored; its private half is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg))]
// So that the statement is a fixed text and cached.
#[diesel(treat_none_as_default_value = false)]
pub struct StoredKey {
    pub kid: String,
    pub sealed_private_key: Vec<u8>,
    pub public_key: Vec<u8>,
    pub created_at: DateTime<Utc>,
    /// Since when it only verifies.
    pub retired_at: Option<DateTime<Utc>>,
}

/// All keys, newest first: the first that is not retired signs.
///
/// # Errors
/// Those of the query.
pub async fn load_all(mut conn: &Connection) -> QueryResult<Vec<StoredKey>> {
    signing_keys::table
        .order((signing_keys::created_at.desc(), signing_keys::kid))
        .select(StoredKey::as_select())
        .load(&mut conn)
        .await
}

/// Adds `key` unless there is one that signs. Of several nodes that start at once, one adds its
/// key; all then find that one with [`load_all`]. Answers whether it was added.
///
/// # Errors
/// Those of the queries.
#[expect(
    clippy::disallowed_methods,
    reason = "at the start only, where nothing is retried and the lock is all that it waits for"
)]
pub async fn insert_if_none(conn: &mut Connection, key: &StoredKey) -> QueryResult<bool> {
    conn.transaction(async |conn| {
        diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
            .bind::<BigInt, _>(LOCK)
            .execute(conn)
            .await?;
        // After the lock: its snapshot shows what the node before has added.
        let signing = signing_keys::table.filter(signing_keys::retired_at.is_null());
        let exists: bool = diesel::select(diesel::dsl::exists(signing)).get_result(conn).await?;
        if exists {
            return Ok(false);
        }
        diesel::insert_into(signing_keys::table).values(key).execute(conn).await?;
        Ok(true)
    })
    .await
}
