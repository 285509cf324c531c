//! Table `signing_keys`. Whoever changes it holds one advisory lock, so that of several nodes and
//! operators one at a time sees which key is the last and puts another behind it.

use super::Connection;
use super::audit::{self, OwnEntry};
use super::schema::signing_keys;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, RunQueryDsl};

/// Key of the advisory lock under which keys are added.
const LOCK: i64 = 0x6375_7374_6b65_7931;

/// A key as stored; its private half is sealed.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg))]
// So that the statement is a fixed text and cached.
#[diesel(treat_none_as_default_value = false)]
pub struct StoredKey {
    pub kid: String,
    pub sealed_private_key: Vec<u8>,
    pub public_key: Vec<u8>,
    /// From here on it is published.
    pub created_at: DateTime<Utc>,
    /// When it takes over.
    pub signs_from: DateTime<Utc>,
    /// When the one after it takes over.
    pub retired_at: Option<DateTime<Utc>>,
    /// From here on nothing that it signed counts.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Printed without the key, though it is sealed.
impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey")
            .field("kid", &self.kid)
            .field("signs_from", &self.signs_from)
            .field("retired_at", &self.retired_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

/// What became of the wish to put a key behind the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// It takes over at its time.
    Done,
    /// The last key has not taken over yet, or only lately.
    TooEarly {
        /// The last key.
        kid: String,
        /// When it takes over, or took over.
        signs_from: DateTime<Utc>,
    },
}

/// All keys, the newest first.
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
        lock(conn).await?;
        if last(conn).await?.is_some() {
            return Ok(false);
        }
        insert(conn, key).await?;
        Ok(true)
    })
    .await
}

/// Puts `key` behind the last one, which retires when the new one takes over; writes `entry`.
/// Nothing happens while the last one signs only since after `not_after`, or not even yet.
///
/// # Errors
/// Those of the queries.
#[expect(
    clippy::disallowed_methods,
    reason = "once in months, by an operator or a worker that try again themselves"
)]
pub async fn rotate(
    conn: &mut Connection,
    key: &StoredKey,
    not_after: DateTime<Utc>,
    entry: &OwnEntry,
) -> QueryResult<Rotated> {
    conn.transaction(async |conn| {
        lock(conn).await?;
        if let Some((kid, signs_from)) = last(conn).await? {
            if signs_from > not_after {
                return Ok(Rotated::TooEarly { kid, signs_from });
            }
            diesel::update(signing_keys::table.find(&kid))
                .set(signing_keys::retired_at.eq(key.signs_from))
                .execute(conn)
                .await?;
        }
        insert(conn, key).await?;
        audit::append(conn, entry).await?;
        Ok(Rotated::Done)
    })
    .await
}

/// Revokes every key there is from the instant on at which `key` takes over; writes `entry`.
/// Answers with the names of the revoked.
///
/// # Errors
/// Those of the queries.
#[expect(clippy::disallowed_methods, reason = "by an operator, who sees whether it was done")]
pub async fn replace_all(
    conn: &mut Connection,
    key: &StoredKey,
    entry: &OwnEntry,
) -> QueryResult<Vec<String>> {
    conn.transaction(async |conn| {
        lock(conn).await?;
        let good = signing_keys::table.filter(signing_keys::revoked_at.is_null());
        let revoked = diesel::update(good)
            .set(signing_keys::revoked_at.eq(key.signs_from))
            .returning(signing_keys::kid)
            .get_results(conn)
            .await?;
        insert(conn, key).await?;
        audit::append(conn, entry).await?;
        Ok(revoked)
    })
    .await
}

/// What is read after the lock shows what the holder before has written.
async fn lock(conn: &mut Connection) -> QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(conn)
        .await
        .map(drop)
}

/// The key that no other one follows: it signs, or will.
async fn last(conn: &mut Connection) -> QueryResult<Option<(String, DateTime<Utc>)>> {
    signing_keys::table
        .filter(signing_keys::retired_at.is_null().and(signing_keys::revoked_at.is_null()))
        .select((signing_keys::kid, signing_keys::signs_from))
        .first(conn)
        .await
        .optional()
}

async fn insert(conn: &mut Connection, key: &StoredKey) -> QueryResult<()> {
    diesel::insert_into(signing_keys::table).values(key).execute(conn).await.map(drop)
}
