//! Table `sign_in_throttles`.

use super::Connection;
use super::sessions::secret_hash;
use super::statements::{LockThrottles, SaveThrottles};
use crate::domain::throttle::{Bucket, Throttle};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

/// Loads and locks buckets in the order of their keys. A bucket that has no row gets an empty one,
/// so that two nodes that meet at a new bucket wait for each other like at an old one.
///
/// # Errors
/// Those of the statement.
pub async fn lock_many(
    mut conn: &Connection,
    buckets: &[Vec<u8>],
    now: DateTime<Utc>,
) -> QueryResult<Vec<(Bucket, Throttle)>> {
    if buckets.is_empty() {
        return Ok(Vec::new());
    }
    let lock = LockThrottles {
        bucket: buckets.to_vec(),
        state: vec![serde_json::json!(Throttle::default()); buckets.len()],
        updated_at: vec![now; buckets.len()],
    };
    let rows: Vec<(Vec<u8>, Value)> = lock.load(&mut conn).await?;
    rows.into_iter()
        .map(|(bucket, state)| {
            let throttle = serde_json::from_value(state)
                .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
            Ok((secret_hash(bucket)?, throttle))
        })
        .collect()
}

impl SaveThrottles {
    pub fn push(&mut self, bucket: &Bucket, throttle: &Throttle, now: DateTime<Utc>) {
        self.bucket.push(bucket.to_vec());
        self.state.push(serde_json::json!(throttle));
        self.locked_until.push(throttle.locked_until);
        self.updated_at.push(now);
    }
}
