//! Table `sign_in_throttles`.

use super::Connection;
use super::schema::sign_in_throttles;
use super::sessions::secret_hash;
use super::statements::SaveThrottles;
use crate::domain::throttle::{Bucket, Throttle};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

/// Loads and locks buckets in their order. A bucket without a row is new; two nodes that create it
/// at once meet at its primary key, and the later one waits and sees the earlier one's state only
/// if the row is there: hence [`ensure`] comes first.
///
/// # Errors
/// Those of the query.
pub async fn lock_many(
    mut conn: &Connection,
    buckets: &[Vec<u8>],
) -> QueryResult<Vec<(Bucket, Throttle)>> {
    let rows: Vec<(Vec<u8>, Value)> = sign_in_throttles::table
        .filter(sign_in_throttles::bucket.eq_any(buckets))
        .order(sign_in_throttles::bucket)
        .for_update()
        .select((sign_in_throttles::bucket, sign_in_throttles::state))
        .load(&mut conn)
        .await?;
    rows.into_iter()
        .map(|(bucket, state)| {
            let throttle = serde_json::from_value(state)
                .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
            Ok((secret_hash(bucket)?, throttle))
        })
        .collect()
}

/// Makes sure that each bucket has a row to lock: `rows` holds empty ones, and those that exist
/// stay as they are.
///
/// # Errors
/// Those of the statement.
pub async fn ensure(mut conn: &Connection, rows: EnsureThrottles) -> QueryResult<usize> {
    rows.0.execute(&mut conn).await
}

/// The statement of [`ensure`].
pub struct EnsureThrottles(super::statements::EnsureThrottles);

impl EnsureThrottles {
    /// Empty rows for `buckets`.
    pub fn new(buckets: &[Vec<u8>], now: DateTime<Utc>) -> Self {
        let empty = serde_json::json!(Throttle::default());
        Self(super::statements::EnsureThrottles {
            bucket: buckets.to_vec(),
            state: vec![empty; buckets.len()],
            updated_at: vec![now; buckets.len()],
        })
    }
}

impl SaveThrottles {
    pub fn push(&mut self, bucket: &Bucket, throttle: &Throttle, now: DateTime<Utc>) {
        self.bucket.push(bucket.to_vec());
        self.state.push(serde_json::json!(throttle));
        self.locked_until.push(throttle.locked_until);
        self.updated_at.push(now);
    }
}
