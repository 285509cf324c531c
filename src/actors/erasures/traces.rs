//! Where a customer's tries to sign in are counted: rows that bear no id, found by keyed hashes of what
//! one tries to sign in by.

use crate::db;
use crate::db::erasing::Trace;
use crate::domain::CustomerId;
use crate::domain::throttle::{Bucket, Factor};
use crate::security::tokens::ThrottleKeys;

/// The buckets of a customer and of everybody who became one with it.
///
/// # Errors
/// Those of the database.
pub async fn buckets(
    connection: &db::Connection,
    keys: &ThrottleKeys,
    customers: &[CustomerId],
) -> Result<Vec<Bucket>, db::Error> {
    let traces = db::erasing::traces(connection, customers).await?;
    let mut buckets = Vec::new();
    for Trace { kind, value } in traces {
        if kind == "customer" {
            let factors = Factor::ALL.iter();
            buckets.extend(factors.map(|factor| keys.bucket(factor.as_str(), &value)));
        } else {
            buckets.push(keys.bucket(&kind, &value));
        }
    }
    Ok(buckets)
}
