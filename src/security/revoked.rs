//! Which sessions are revoked and which customers are erased, known in memory, so that a token that is
//! still valid on paper stops working within a second on every node (rule A7).

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How old the last snapshot may be before "not revoked" is no longer known.
const MAX_AGE: TimeDelta = TimeDelta::seconds(1);

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Not revoked, as of at most a second ago.
    Live,
    /// Revoked. Known for certain, however old the snapshot.
    Revoked,
    /// No fresh snapshot (the database cannot be read): the caller's policy decides.
    Unknown,
}

/// The deny set of one node: snapshots read from the database, and what this node itself revoked.
///
/// `as_of` and `now` are instants of this node's own clock.
#[derive(Debug, Default)]
pub struct RevokedSessions {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Revoked by this node, kept apart: a snapshot whose reading began earlier lacks them.
    marked: HashMap<Uuid, DateTime<Utc>>,
    snapshot: HashMap<Uuid, DateTime<Utc>>,
    as_of: Option<DateTime<Utc>>,
}

impl RevokedSessions {
    /// Nothing known: every session is [`Liveness::Unknown`] until the first snapshot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Denies a session at once. `until` is when its last access token has expired, after which
    /// nobody needs to remember.
    pub fn mark(&self, session_id: Uuid, until: DateTime<Utc>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let remembered = known.marked.entry(session_id).or_insert(until);
        *remembered = until.max(*remembered);
    }

    /// Takes a snapshot of all that is revoked, sessions and erased customers by their ids, which no two
    /// things share; `as_of` is the instant *before* it was read. One that is older than the last is
    /// ignored.
    pub fn replace_all(
        &self,
        snapshot: impl IntoIterator<Item = (Uuid, DateTime<Utc>)>,
        as_of: DateTime<Utc>,
    ) {
        let snapshot = snapshot.into_iter().collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_of.is_some_and(|last| as_of < last) {
            return;
        }
        known.snapshot = snapshot;
        known.as_of = Some(as_of);
        known.marked.retain(|_, until| *until > as_of);
    }

    /// What is known now of a session, which ends also with its customer.
    #[must_use]
    pub fn check(&self, session_id: Uuid, customer_id: Uuid, now: DateTime<Utc>) -> Liveness {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let denied = |id| known.marked.contains_key(id) || known.snapshot.contains_key(id);
        if denied(&session_id) || denied(&customer_id) {
            return Liveness::Revoked;
        }
        match known.as_of {
            Some(as_of) if now - as_of <= MAX_AGE => Liveness::Live,
            _ => Liveness::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Uuid = Uuid::from_u128(77);

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn a7_knowledge_lasts_one_second() {
        let revoked = RevokedSessions::new();
        assert_eq!(revoked.check(id(1), OWNER, at(0)), Liveness::Unknown);
        revoked.replace_all([(id(2), at(60_000))], at(0));
        for (now, expected) in [
            (-5, Liveness::Live),
            (0, Liveness::Live),
            (1000, Liveness::Live),
            (1001, Liveness::Unknown),
        ] {
            assert_eq!(revoked.check(id(1), OWNER, at(now)), expected, "{now}");
            assert_eq!(revoked.check(id(2), OWNER, at(now)), Liveness::Revoked, "{now}");
        }
    }

    #[test]
    fn a7_p2_with_an_erased_customer_every_session_ends() {
        let revoked = RevokedSessions::new();
        revoked.replace_all([(OWNER, at(60_000))], at(0));
        assert_eq!(revoked.check(id(1), OWNER, at(0)), Liveness::Revoked);
        assert_eq!(revoked.check(id(1), id(78), at(0)), Liveness::Live);
    }

    #[test]
    fn a7_a_mark_counts_at_once_and_outlives_older_snapshots() {
        let revoked = RevokedSessions::new();
        revoked.mark(id(1), at(10_000));
        assert_eq!(revoked.check(id(1), OWNER, at(0)), Liveness::Revoked);
        revoked.replace_all([], at(9_999));
        assert_eq!(revoked.check(id(1), OWNER, at(9_999)), Liveness::Revoked);
        revoked.mark(id(1), at(5_000));
        revoked.replace_all([], at(9_999));
        assert_eq!(revoked.check(id(1), OWNER, at(9_999)), Liveness::Revoked);
        revoked.replace_all([], at(10_000));
        assert_eq!(revoked.check(id(1), OWNER, at(10_000)), Liveness::Live);
    }

    #[test]
    fn an_older_snapshot_does_not_replace_a_newer() {
        let revoked = RevokedSessions::new();
        revoked.replace_all([(id(1), at(60_000))], at(100));
        revoked.replace_all([], at(50));
        assert_eq!(revoked.check(id(1), OWNER, at(100)), Liveness::Revoked);
        revoked.replace_all([], at(100));
        assert_eq!(revoked.check(id(1), OWNER, at(100)), Liveness::Live);
    }
}
