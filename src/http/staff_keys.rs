//! `StaffKeys`: who an API key is and what it may do, remembered for a few seconds so that a busy
//! integration costs no query a request, and a revoked key dies quickly all the same.

use crate::db::staff_keys::StaffKey;
use crate::db::{self, Database};
use crate::security::tokens::{PresentedStaffKey, same_hash};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How long a key is believed without asking again: a revoked one is refused after this.
const BELIEVED: TimeDelta = TimeDelta::seconds(5);

/// The keys seen lately. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct StaffKeys {
    database: Database,
    known: Arc<Known>,
}

impl StaffKeys {
    /// Knows nothing yet.
    pub fn new(database: Database) -> StaffKeys {
        StaffKeys { database, known: Arc::default() }
    }

    /// The key that is presented; `None` when there is none of its id, it is revoked, or its
    /// secret is another.
    ///
    /// # Errors
    /// Those of the read.
    pub async fn authenticate(
        &self,
        presented: &PresentedStaffKey,
        now: DateTime<Utc>,
    ) -> Result<Option<Arc<StaffKey>>, db::Error> {
        if let Some(key) = self.known.find(&presented.id, now) {
            return Ok(Some(key).filter(|key| same_hash(&key.secret_hash, &presented.hash)));
        }
        let id = presented.id.clone();
        let found = self
            .database
            .read(move |connection| {
                let id = id.clone();
                Box::pin(async move { db::staff_keys::find(connection, &id).await })
            })
            .await?;
        let genuine = found.filter(|key| same_hash(&key.secret_hash, &presented.hash));
        // only keys whose secret was right are remembered, so a stranger cannot fill the memory
        Ok(genuine.map(|key| self.known.remember(key, now)))
    }
}

/// A key and the instant at which it was read.
type Read = (Arc<StaffKey>, DateTime<Utc>);

/// Keys by their ids.
#[derive(Default)]
struct Known(Mutex<HashMap<String, Read>>);

impl Known {
    fn find(&self, id: &str, now: DateTime<Utc>) -> Option<Arc<StaffKey>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).filter(|(_, read_at)| is_fresh(*read_at, now)).map(|(key, _)| key.clone())
    }

    fn remember(&self, key: StaffKey, now: DateTime<Utc>) -> Arc<StaffKey> {
        let key = Arc::new(key);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, read_at)| is_fresh(*read_at, now));
        known.insert(key.id.clone(), (key.clone(), now));
        key
    }
}

/// A clock that was set back makes nothing fresh for longer.
fn is_fresh(read_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let age = now - read_at;
    TimeDelta::zero() <= age && age < BELIEVED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn key(id: &str) -> StaffKey {
        StaffKey { id: id.to_owned(), secret_hash: [1; 32], scopes: vec!["ops:read".to_owned()] }
    }

    #[test]
    fn a_key_is_believed_for_less_than_five_seconds() {
        let known = Known::default();
        known.remember(key("a"), at(0));
        for (now, believed) in [(-1, false), (0, true), (4_999, true), (5_000, false)] {
            assert_eq!(known.find("a", at(now)).is_some(), believed, "{now}");
        }
        assert!(known.find("b", at(0)).is_none());
    }

    #[test]
    fn what_is_stale_is_forgotten() {
        let known = Known::default();
        known.remember(key("a"), at(0));
        known.remember(key("b"), at(4_000));
        known.remember(key("c"), at(6_000));
        let names = known.0.lock().unwrap();
        assert!(!names.contains_key("a") && names.contains_key("b") && names.contains_key("c"));
    }
}
