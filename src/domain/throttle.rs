//! The lock on guessing (rule A3): an attempt is claimed before its password is verified, given back
//! on success, and a failure otherwise — also when its process died in between.
//!
//! One [`Throttle`] guards one bucket: an identifier, known or not, or a known device (rule A4).

use super::ids::ClaimId;
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key of a bucket: a keyed hash, so that the table tells nobody's address.
pub type Bucket = [u8; 32];

/// What a bucket counts failures of; each has counters of its own, so that guessing at one locks
/// no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum Factor {
    /// The password at sign-in.
    Password,
    /// The password, asked again of somebody who is signed in.
    Reauthentication,
    /// The code sent to a phone.
    PhoneCode,
    /// The codes of an authenticator, wherever they are asked for.
    Totp,
    /// Backup codes likewise.
    BackupCode,
    /// Signatures by passkeys.
    Passkey,
}

impl Factor {
    pub const ALL: &[Self] = &[
        Self::Password,
        Self::Reauthentication,
        Self::PhoneCode,
        Self::Totp,
        Self::BackupCode,
        Self::Passkey,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Reauthentication => "reauthentication",
            Self::PhoneCode => "phone_code",
            Self::Totp => "totp",
            Self::BackupCode => "backup_code",
            Self::Passkey => "passkey",
        }
    }
}

/// The counter that guards a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    pub bucket: Bucket,
    pub factor: Factor,
    pub policy: ThrottlePolicy,
}

/// What an attempt without a claim came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    Right,
    Wrong {
        newly_locked: Option<DateTime<Utc>>,
    },
    /// Not looked at; no try before this instant.
    Locked {
        until: DateTime<Utc>,
    },
}

/// When to lock and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// Failures within `window` that lock (5).
    pub max_failures: usize,
    /// How long a failure counts (15 min).
    pub window: TimeDelta,
    /// The first lock (15 min); each further one is twice as long.
    pub lock: TimeDelta,
    /// The longest lock (24 h).
    pub lock_max: TimeDelta,
    /// After this a claim that nobody settled counts as a failure (30 s).
    pub claim_timeout: TimeDelta,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// When the failures that still count happened, oldest first.
    pub failures: Vec<DateTime<Utc>>,
    /// Attempts being verified right now.
    pub claims: Vec<(ClaimId, DateTime<Utc>)>,
    pub locked_until: Option<DateTime<Utc>>,
    /// Locks since the last success; doubles the next one.
    pub locks: u32,
}

/// What a bucket answers to somebody who wants to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Verify, then settle the claim.
    Claimed,
    /// All tries are in use by attempts still being verified: ask again in a moment.
    Busy,
    /// No try before this instant.
    Locked { until: DateTime<Utc> },
}

impl Throttle {
    /// Claims a try, or says why there is none.
    pub fn claim(&mut self, id: ClaimId, now: DateTime<Utc>, policy: &ThrottlePolicy) -> Admission {
        self.tidy(now, policy);
        if let Some(until) = self.locked_until {
            return Admission::Locked { until };
        }
        if self.failures.len() + self.claims.len() >= policy.max_failures {
            return Admission::Busy;
        }
        self.claims.push((id, now));
        Admission::Claimed
    }

    /// The claimed try was wrong. Returns the end of the lock when this failure caused one.
    pub fn fail(
        &mut self,
        id: ClaimId,
        now: DateTime<Utc>,
        policy: &ThrottlePolicy,
    ) -> Option<DateTime<Utc>> {
        // A claim that timed out already counts as a failure; counting it again would lock early.
        if let Some(at) = self.claims.iter().position(|(claim, _)| *claim == id) {
            self.claims.remove(at);
            self.failures.push(now);
        }
        let before = self.locked_until;
        self.tidy(now, policy);
        self.locked_until.filter(|_| before.is_none())
    }

    /// The claimed try was right: the bucket forgets its failures, other attempts go on.
    pub fn succeed(&mut self, id: ClaimId) {
        self.claims.retain(|(claim, _)| *claim != id);
        self.failures.clear();
        self.locked_until = None;
        self.locks = 0;
    }

    /// The claimed try was never verified (no hashing thread was free, its caller had gone): it counts
    /// for nothing. Says whether there was such a claim; one that timed out is a failure and stays one.
    pub fn release(&mut self, id: ClaimId) -> bool {
        let before = self.claims.len();
        self.claims.retain(|(claim, _)| *claim != id);
        self.claims.len() < before
    }

    /// One attempt whose verification took no time, judged and counted at once. The caller knows
    /// whether it was right; under a lock nobody learns.
    pub fn attempt(&mut self, right: bool, now: DateTime<Utc>, policy: &ThrottlePolicy) -> Tried {
        self.tidy(now, policy);
        if let Some(until) = self.locked_until {
            return Tried::Locked { until };
        }
        if right {
            self.failures.clear();
            self.locks = 0;
            return Tried::Right;
        }
        self.failures.push(now);
        self.tidy(now, policy);
        Tried::Wrong { newly_locked: self.locked_until }
    }

    /// Without failures and locks. Tries being verified go on: should they be wrong, they count.
    pub fn unlocked(&self) -> Self {
        Self { claims: self.claims.clone(), ..Self::default() }
    }

    /// Until when there is no try, where that is so now.
    pub fn locked_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.locked_until.filter(|until| now < *until)
    }

    /// Whether nothing needs to be remembered.
    pub fn is_clear(&self) -> bool {
        *self == Self::default()
    }

    /// Lets the past pass: ended locks, old failures, and claims whose process died.
    fn tidy(&mut self, now: DateTime<Utc>, policy: &ThrottlePolicy) {
        if self.locked_until.is_some_and(|until| until <= now) {
            self.locked_until = None;
            self.failures.clear();
        }
        let (dead, alive): (Vec<_>, Vec<_>) =
            self.claims.drain(..).partition(|(_, since)| *since + policy.claim_timeout <= now);
        self.claims = alive;
        self.failures.extend(dead.into_iter().map(|(_, since)| since));
        self.failures.sort();
        self.failures.retain(|at| *at + policy.window > now);
        if self.locked_until.is_none() && self.failures.len() >= policy.max_failures {
            self.locked_until = Some(now + self.next_lock(policy));
            self.locks += 1;
            self.failures.clear();
        }
    }

    fn next_lock(&self, policy: &ThrottlePolicy) -> TimeDelta {
        let doubled = 1_i32.checked_shl(self.locks).filter(|factor| *factor > 0);
        doubled
            .and_then(|factor| policy.lock.checked_mul(factor))
            .map_or(policy.lock_max, |lock| lock.min(policy.lock_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const POLICY: ThrottlePolicy = ThrottlePolicy {
        max_failures: 5,
        window: TimeDelta::minutes(15),
        lock: TimeDelta::minutes(15),
        lock_max: TimeDelta::hours(24),
        claim_timeout: TimeDelta::seconds(30),
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn id(n: u128) -> ClaimId {
        ClaimId(Uuid::from_u128(n))
    }

    /// Claims and fails at once, which is what one wrong password does.
    fn wrong(throttle: &mut Throttle, n: u128, now: DateTime<Utc>) -> Admission {
        let admission = throttle.claim(id(n), now, &POLICY);
        if admission == Admission::Claimed {
            throttle.fail(id(n), now, &POLICY);
        }
        admission
    }

    #[test]
    fn a3_five_failures_lock_for_fifteen_minutes() {
        let mut throttle = Throttle::default();
        for n in 0..5 {
            assert_eq!(wrong(&mut throttle, n, at(0)), Admission::Claimed);
        }
        assert_eq!(wrong(&mut throttle, 5, at(1)), Admission::Locked { until: at(900) });
        assert_eq!(throttle.claim(id(6), at(899), &POLICY), Admission::Locked { until: at(900) });
        assert_eq!(throttle.claim(id(7), at(900), &POLICY), Admission::Claimed);
    }

    #[test]
    fn a3_locks_double_up_to_a_day() {
        let mut throttle = Throttle::default();
        let mut now = at(0);
        let mut minutes = Vec::new();
        for round in 0..10 {
            for n in 0..5 {
                wrong(&mut throttle, round * 10 + n, now);
            }
            let until = throttle.locked_until.unwrap();
            minutes.push((until - now).num_minutes());
            now = until;
        }
        assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 960, 1440, 1440, 1440]);
    }

    #[test]
    fn a3_old_failures_no_longer_count() {
        let mut throttle = Throttle::default();
        for n in 0..4 {
            wrong(&mut throttle, n, at(0));
        }
        assert_eq!(wrong(&mut throttle, 4, at(901)), Admission::Claimed);
        assert_eq!(throttle.locked_until, None);
    }

    #[test]
    fn a3_parallel_claims_are_failures_until_settled() {
        let mut throttle = Throttle::default();
        for n in 0..5 {
            assert_eq!(throttle.claim(id(n), at(0), &POLICY), Admission::Claimed);
        }
        assert_eq!(throttle.claim(id(5), at(0), &POLICY), Admission::Busy);
        throttle.succeed(id(0));
        assert_eq!(throttle.claim(id(5), at(0), &POLICY), Admission::Claimed);
    }

    #[test]
    fn a3_a_claim_whose_process_died_is_a_failure() {
        let mut throttle = Throttle::default();
        for n in 0..5 {
            throttle.claim(id(n), at(0), &POLICY);
        }
        assert_eq!(throttle.claim(id(5), at(30), &POLICY), Admission::Locked { until: at(930) });
        // A settlement that comes too late does not count twice.
        assert_eq!(throttle.fail(id(0), at(31), &POLICY), None);
    }

    #[test]
    fn a3_an_unverified_try_counts_for_nothing() {
        let mut throttle = Throttle::default();
        for n in 0..4 {
            wrong(&mut throttle, n, at(0));
        }
        for n in 4..20 {
            assert_eq!(throttle.claim(id(n), at(1), &POLICY), Admission::Claimed);
            assert!(throttle.release(id(n)));
            assert!(!throttle.release(id(n)), "a claim is given back once");
        }
        assert_eq!(throttle.failures.len(), 4, "the failures before it stay");
        assert_eq!(throttle.claim(id(20), at(1), &POLICY), Admission::Claimed);
        assert_eq!(throttle.fail(id(20), at(1), &POLICY), Some(at(901)));
    }

    #[test]
    fn a3_a_claim_that_timed_out_cannot_be_given_back() {
        let mut throttle = Throttle::default();
        throttle.claim(id(0), at(0), &POLICY);
        throttle.claim(id(1), at(30), &POLICY);
        assert!(!throttle.release(id(0)));
        assert_eq!(throttle.failures, [at(0)]);
    }

    #[test]
    fn a3_success_forgets() {
        let mut throttle = Throttle::default();
        for n in 0..4 {
            wrong(&mut throttle, n, at(0));
        }
        throttle.claim(id(9), at(1), &POLICY);
        throttle.succeed(id(9));
        assert!(throttle.is_clear());
    }

    proptest::proptest! {
        /// Whatever the interleaving of two hundred wrong tries, no more than five are verified
        /// before the first lock ends.
        #[test]
        fn a3_never_more_than_five_verifications(steps in proptest::collection::vec(0..3_u8, 1..200)) {
            let mut throttle = Throttle::default();
            let mut pending: Vec<ClaimId> = Vec::new();
            let mut verified = 0;
            for (n, step) in steps.into_iter().enumerate() {
                if step < 2 {
                    if throttle.claim(id(n as u128), at(0), &POLICY) == Admission::Claimed {
                        pending.push(id(n as u128));
                        verified += 1;
                    }
                } else if let Some(claim) = pending.pop() {
                    throttle.fail(claim, at(0), &POLICY);
                }
            }
            proptest::prop_assert!(verified <= 5);
        }
    }
}
