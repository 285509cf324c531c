//! Table `idempotency_keys`.

use super::Connection;
use super::schema::idempotency_keys;
use super::sessions::secret_hash;
use super::statements::InsertIdempotencyKeys;
use crate::domain::CustomerId;
use crate::domain::command::IdempotencyKey;
use crate::domain::outcome::Outcome;
use crate::domain::session::SecretHash;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

/// What a caller was told before.
#[derive(Debug, Clone)]
pub struct Remembered {
    pub owner: String,
    pub key: String,
    pub request_hash: SecretHash,
    pub outcome: Outcome,
}

/// The remembered requests among `keys`, of at most the age that `since` says.
///
/// # Errors
/// Those of the query.
pub async fn find_many(
    mut conn: &Connection,
    keys: &[&IdempotencyKey],
    since: DateTime<Utc>,
) -> QueryResult<Vec<Remembered>> {
    let owners: Vec<&str> = keys.iter().map(|key| key.owner.as_str()).collect();
    let names: Vec<&str> = keys.iter().map(|key| key.key.as_str()).collect();
    // The cross product of owners and keys is a superset; the caller looks up exact pairs.
    let rows: Vec<(String, String, Vec<u8>, Value)> = idempotency_keys::table
        .filter(idempotency_keys::owner.eq_any(owners))
        .filter(idempotency_keys::key.eq_any(names))
        .filter(idempotency_keys::created_at.gt(since))
        .select((
            idempotency_keys::owner,
            idempotency_keys::key,
            idempotency_keys::request_hash,
            idempotency_keys::outcome,
        ))
        .load(&mut conn)
        .await?;
    rows.into_iter()
        .map(|(owner, key, request_hash, outcome)| {
            let outcome = serde_json::from_value(outcome)
                .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
            Ok(Remembered { owner, key, request_hash: secret_hash(request_hash)?, outcome })
        })
        .collect()
}

impl InsertIdempotencyKeys {
    pub fn push(
        &mut self,
        key: &IdempotencyKey,
        customer: Option<CustomerId>,
        outcome: &Outcome,
        now: DateTime<Utc>,
    ) {
        self.rows.owner.push(key.owner.clone());
        self.rows.key.push(key.key.clone());
        self.rows.request_hash.push(key.request_hash.to_vec());
        self.rows.customer_id.push(customer.map(|id| id.0));
        self.rows.outcome.push(serde_json::json!(outcome));
        self.rows.created_at.push(now);
    }
}
