//! Table `staff_keys`.

use super::Connection;
use super::schema::staff_keys;
use super::sessions::secret_hash;
use crate::domain::session::SecretHash;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// An API key that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffKey {
    /// Public.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_hash: SecretHash,
    pub scopes: Vec<String>,
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
