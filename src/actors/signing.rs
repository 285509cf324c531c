//! The life of a signing key, between its row and the set that this node signs and verifies with.
//!
//! A key is made *next*: published, so that everybody who caches the list of keys knows it in time.
//! At an instant that its row tells it becomes *current* on every node, and the one before it
//! *retiring*: verified by until the last token that it signed has expired. An emergency *revokes*
//! all keys instead, and the new one signs as soon as the nodes can know it.

use crate::clock::Clock;
use crate::db;
use crate::db::audit::{OwnActor, OwnEntry};
use crate::db::signing_keys::StoredKey;
use crate::faults;
use crate::security::sealing::Sealer;
use crate::security::signing::{KeySet, Period, PublicKey, SigningKey, SigningKeyError};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// Time for every node to learn of an emergency, so that they change at the same instant. Some
/// periods of the watch; within what a revoked session takes as well (rule A7).
pub const EMERGENCY_LEAD: TimeDelta = TimeDelta::seconds(1);

/// How long keys live.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From publication to the first signature: more than the list of keys may be cached for.
    pub lead: TimeDelta,
    /// From the last signature to the end: more than an access token lives.
    pub overlap: TimeDelta,
    /// Age at which the key that signs is followed by another one; `None`: never by itself.
    pub rotate_after: Option<TimeDelta>,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Published, does not sign yet.
    Next,
    /// Signs.
    Current,
    /// Its tokens are still good.
    Retiring,
    /// All its tokens have expired; the janitor deletes it.
    Ended,
    /// Its tokens are refused.
    Revoked,
}

impl Stage {
    /// The word for people and scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retiring => "retiring",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
        }
    }
}

/// Where the key of a row stands.
pub fn stage(row: &StoredKey, overlap: TimeDelta, now: DateTime<Utc>) -> Stage {
    let past = |instant: Option<DateTime<Utc>>| instant.is_some_and(|instant| instant <= now);
    if past(row.revoked_at) {
        Stage::Revoked
    } else if past(row.retired_at.map(|retired| retired + overlap)) {
        Stage::Ended
    } else if past(row.retired_at) {
        Stage::Retiring
    } else if row.signs_from <= now {
        Stage::Current
    } else {
        Stage::Next
    }
}

/// When the last token of a row's key stops to count, as far as that is known.
pub fn ends(row: &StoredKey, overlap: TimeDelta) -> Option<DateTime<Utc>> {
    let expired = row.retired_at.map(|retired| retired + overlap);
    row.revoked_at.into_iter().chain(expired).min()
}

/// A new key, sealed, that is published now and signs after `lead`.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn make(
    clock: &dyn Clock,
    sealer: &Sealer,
    lead: TimeDelta,
) -> Result<StoredKey, SigningKeyError> {
    let mut seed = [0; 32];
    clock.random(&mut seed);
    let key = SigningKey::generate(seed);
    let now = clock.now();
    Ok(StoredKey {
        kid: key.kid().to_owned(),
        sealed_private_key: key.seal(sealer)?,
        public_key: key.public().as_bytes().to_vec(),
        created_at: now,
        signs_from: now + lead,
        retired_at: None,
        revoked_at: None,
    })
}

/// The entry that tells of a new key.
pub fn entry(
    clock: &dyn Clock,
    actor: OwnActor,
    action: &'static str,
    key: &StoredKey,
) -> OwnEntry {
    let data: Value = json!({ "kid": key.kid, "signs_from": key.signs_from });
    OwnEntry { id: clock.new_id(), actor, action, data, occurred_at: key.created_at }
}

/// Why rows did not become a set of keys.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the signing key {kid} does not open with secrets.root_key: is it another one?")]
    Sealed {
        kid: String,
        #[source]
        error: SigningKeyError,
    },
    #[error("the public signing key {kid} is damaged")]
    Damaged { kid: String },
    #[error("there is no signing key")]
    None,
}

/// The set that stored keys make up. Of keys that sign no more, only the public half is read.
///
/// # Errors
/// [`Unusable`].
pub fn key_set(
    stored: &[StoredKey],
    sealer: &Sealer,
    overlap: TimeDelta,
    now: DateTime<Utc>,
) -> Result<KeySet, Unusable> {
    let (mut signing, mut verifying) = (Vec::new(), Vec::new());
    for row in stored {
        let period = Period { signs_from: row.signs_from, ends: ends(row, overlap) };
        match stage(row, overlap, now) {
            Stage::Next | Stage::Current => {
                let key = SigningKey::open(&row.kid, &row.sealed_private_key, sealer);
                let key = key.map_err(|error| Unusable::Sealed { kid: row.kid.clone(), error })?;
                signing.push((key, period));
            }
            Stage::Retiring => {
                let bytes: Option<&[u8; 32]> = row.public_key.as_slice().try_into().ok();
                let key = bytes.and_then(PublicKey::from_bytes);
                let key = key.ok_or_else(|| Unusable::Damaged { kid: row.kid.clone() })?;
                verifying.push((key, period));
            }
            Stage::Ended | Stage::Revoked => {}
        }
    }
    KeySet::new(signing, verifying).ok_or(Unusable::None)
}

/// The stored keys, or the first one made now. Of several nodes that start at once, one makes it.
///
/// # Errors
/// Those of the database, and [`Unusable`].
pub async fn first(
    database: &db::Database,
    clock: &dyn Clock,
    sealer: &Sealer,
    overlap: TimeDelta,
) -> anyhow::Result<KeySet> {
    let mut connection = database.get().await?;
    let mut stored = db::signing_keys::load_all(&connection).await?;
    if stored.iter().all(|row| row.retired_at.is_some() || row.revoked_at.is_some()) {
        let row = make(clock, sealer, TimeDelta::zero())?;
        db::signing_keys::insert_if_none(&mut connection, &row).await?;
        faults::at("signing.first_key");
        stored = db::signing_keys::load_all(&connection).await?;
    }
    Ok(key_set(&stored, sealer, overlap, clock.now())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::security::keys::RootSecret;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn overlap() -> TimeDelta {
        TimeDelta::seconds(720)
    }

    #[test]
    fn a_key_passes_through_its_stages() {
        let clock = ManualClock::at(at(0));
        let sealer = Sealer::new(&RootSecret::new([1; 32]));
        let mut row = make(&clock, &sealer, TimeDelta::seconds(300)).unwrap();
        let stages = |row: &StoredKey| {
            [299, 300, 999, 1_000, 1_719, 1_720].map(|now| stage(row, overlap(), at(now)))
        };
        use Stage::{Current, Ended, Next, Retiring, Revoked};
        assert_eq!(stages(&row), [Next, Current, Current, Current, Current, Current]);
        assert_eq!(ends(&row, overlap()), None);
        row.retired_at = Some(at(1_000));
        assert_eq!(stages(&row), [Next, Current, Current, Retiring, Retiring, Ended]);
        assert_eq!(ends(&row, overlap()), Some(at(1_720)));
        row.revoked_at = Some(at(999));
        assert_eq!(stages(&row), [Next, Current, Revoked, Revoked, Revoked, Revoked]);
        assert_eq!(ends(&row, overlap()), Some(at(999)));
    }

    #[test]
    fn rows_become_a_set_that_follows_their_instants() {
        let clock = ManualClock::at(at(0));
        let sealer = Sealer::new(&RootSecret::new([1; 32]));
        let mut old = make(&clock, &sealer, TimeDelta::zero()).unwrap();
        clock.set(at(100));
        let next = make(&clock, &sealer, TimeDelta::seconds(300)).unwrap();
        old.retired_at = Some(next.signs_from);
        let rows = [next.clone(), old.clone()];
        let set = key_set(&rows, &sealer, overlap(), at(100)).unwrap();
        assert_eq!(set.current(at(399)).kid(), old.kid);
        assert_eq!(set.current(at(400)).kid(), next.kid);
        assert!(set.find(&old.kid, at(1_119)).is_some() && set.find(&old.kid, at(1_120)).is_none());
        // the same, read after the change: only the public half of the old one
        let set = key_set(&rows, &sealer, overlap(), at(400)).unwrap();
        assert_eq!(set.current(at(400)).kid(), next.kid);
        assert!(set.find(&old.kid, at(1_119)).is_some() && set.find(&old.kid, at(1_120)).is_none());
        let other = Sealer::new(&RootSecret::new([2; 32]));
        assert!(matches!(
            key_set(&rows, &other, overlap(), at(100)),
            Err(Unusable::Sealed { kid, .. }) if kid == next.kid
        ));
        old.revoked_at = Some(at(100));
        assert!(matches!(key_set(&[old], &sealer, overlap(), at(100)), Err(Unusable::None)));
        let damaged =
            StoredKey { public_key: vec![0; 31], retired_at: Some(at(200)), ..next.clone() };
        assert!(matches!(
            key_set(&[damaged, next], &sealer, overlap(), at(250)),
            Err(Unusable::Damaged { .. })
        ));
    }
}
