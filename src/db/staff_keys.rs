//! Table `staff_keys`. Of a secret only the hash is here.

use super::Connection;
use super::audit::{self, OwnEntry};
use super::schema::staff_keys;
use super::sessions::secret_hash;
use crate::domain::session::SecretHash;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

/// An API key that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffKey {
    /// Public.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_hash: SecretHash,
    pub scopes: Vec<String>,
}

/// A key to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStaffKey {
    pub id: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret part.
    pub secret_hash: SecretHash,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
}

/// A key as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = staff_keys, check_for_backend(diesel::pg::Pg))]
pub struct ListedStaffKey {
    pub id: String,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    /// Since when it no longer counts.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Adds a key, and the entry that tells of it.
///
/// # Errors
/// Those of the queries; an id that exists already is a unique violation.
#[expect(clippy::disallowed_methods, reason = "by an operator, who sees whether it was done")]
pub async fn insert(conn: &mut Connection, key: &NewStaffKey, entry: &OwnEntry) -> QueryResult<()> {
    conn.transaction(async |conn| {
        diesel::insert_into(staff_keys::table)
            .values((
                staff_keys::id.eq(&key.id),
                staff_keys::name.eq(&key.name),
                staff_keys::secret_hash.eq(key.secret_hash.as_slice()),
                staff_keys::scopes.eq(&key.scopes),
                staff_keys::created_at.eq(key.created_at),
            ))
            .execute(conn)
            .await?;
        audit::append(conn, entry).await
    })
    .await
}

/// A key by its id, unless it is revoked.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, id: &str) -> QueryResult<Option<StaffKey>> {
    let row: Option<(String, Vec<u8>, Vec<String>)> = staff_keys::table
        .filter(staff_keys::id.eq(id))
        .filter(staff_keys::revoked_at.is_null())
        .select((staff_keys::id, staff_keys::secret_hash, staff_keys::scopes))
        .first(&mut conn)
        .await
        .optional()?;
    row.map(|(id, hash, scopes)| Ok(StaffKey { id, secret_hash: secret_hash(hash)?, scopes }))
        .transpose()
}

/// All keys, oldest first.
///
/// # Errors
/// Those of the query.
pub async fn list(mut conn: &Connection) -> QueryResult<Vec<ListedStaffKey>> {
    staff_keys::table
        .order((staff_keys::created_at, staff_keys::id))
        .select(ListedStaffKey::as_select())
        .load(&mut conn)
        .await
}

/// Withdraws a key from the instant of `entry` on, which tells of it. False, and no entry, when
/// there is none of this id that still counts.
///
/// # Errors
/// Those of the queries.
#[expect(clippy::disallowed_methods, reason = "by an operator, who sees whether it was done")]
pub async fn revoke(conn: &mut Connection, id: &str, entry: &OwnEntry) -> QueryResult<bool> {
    conn.transaction(async |conn| {
        let live =
            staff_keys::table.filter(staff_keys::id.eq(id).and(staff_keys::revoked_at.is_null()));
        let revoked = diesel::update(live)
            .set(staff_keys::revoked_at.eq(entry.occurred_at))
            .execute(conn)
            .await?;
        if revoked == 1 {
            audit::append(conn, entry).await?;
        }
        Ok(revoked == 1)
    })
    .await
}
