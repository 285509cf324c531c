//! Argon2id, the one kind of hash that is made here: making one, judging a password against one,
//! and doing the same work for an account that does not exist. Hashes that other systems made are
//! judged too, and found to need a new one. Pure computation, run by [`super::hashing`].

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::legacy_hashes::LegacyHash;
use super::passwords::Password;

/// A stored hash may cost at most this much memory (KiB) and this many passes. Above it a row is
/// damaged or planted, and computing it would take the service down.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 64;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB (Argon2's m).
    pub memory_kib: u32,
    /// Passes over the memory (t).
    pub passes: u32,
    /// Lanes (p).
    pub lanes: u32,
}

/// The configured cost is outside what Argon2 or this service allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Argon2 cannot run with {} KiB, {} passes, {} lanes", .0.memory_kib, .0.passes, .0.lanes)]
pub struct CostError(pub Cost);

/// A password hash in PHC string form, as the database keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash read from the database. Nothing is checked until it is verified against.
    #[must_use]
    pub fn stored(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The PHC string, to be stored.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// What a password is verified against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The account's own hash.
    Stored(PasswordHash),
    /// There is no such account, or it has no password: the same work, never a match (rule A12).
    Dummy,
}

/// The outcome of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The password is the account's.
    pub matches: bool,
    /// It matches, but the hash is of another kind or cheaper than configured: hash it anew.
    pub needs_rehash: bool,
}

/// Why a computation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgonError {
    /// The stored hash is damaged, of an unknown kind, or costs too much.
    Unreadable,
    /// No memory or no randomness.
    Failed,
}

/// Argon2id at one configured cost.
pub(super) struct Engine {
    argon2: Argon2<'static>,
    cost: Cost,
    dummy: phc::PasswordHash,
    verifications: AtomicU64,
}

impl Engine {
    /// # Errors
    /// [`CostError`] when Argon2 does not allow the cost, or it is above this service's ceiling.
    pub(super) fn new(cost: Cost) -> Result<Self, CostError> {
        if !affordable(cost) {
            return Err(CostError(cost));
        }
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)
            .map_err(|_| CostError(cost))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self { argon2, cost, dummy: dummy_hash(cost), verifications: AtomicU64::new(0) })
    }

    /// Hashes with a fresh random salt.
    pub(super) fn hash(&self, password: &Password) -> Result<PasswordHash, ArgonError> {
        let hash: phc::PasswordHash =
            self.argon2.hash_password(password.as_bytes()).map_err(|_| ArgonError::Failed)?;
        Ok(PasswordHash(hash.to_string()))
    }

    /// Verifies; every path costs one hash, also that of an unreadable reference.
    pub(super) fn verify(
        &self,
        password: &Password,
        reference: &Reference,
    ) -> Result<Verdict, ArgonError> {
        self.verifications.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("password_verifications_total").increment(1);
        match reference {
            Reference::Dummy => {
                self.verify_dummy(password);
                Ok(Verdict { matches: false, needs_rehash: false })
            }
            Reference::Stored(hash) => match readable(hash) {
                Some((hash, cost)) => self.verify_stored(password, &hash, cost),
                None => self.verify_foreign(password, hash),
            },
        }
    }

    /// A hash of another kind. Where the password is wrong, the work that an unknown account costs
    /// is done as well: no account can be told by answering sooner than none (rule A12). It may
    /// answer later by what its own kind costs, until its next sign-in replaces the hash.
    fn verify_foreign(
        &self,
        password: &Password,
        hash: &PasswordHash,
    ) -> Result<Verdict, ArgonError> {
        let legacy = LegacyHash::parse(hash.as_str());
        let matches = legacy
            .as_ref()
            .is_some_and(|legacy| password.spellings().any(|spelling| legacy.matches(spelling)));
        if !matches {
            self.verify_dummy(password);
        }
        match legacy {
            Some(_) => Ok(Verdict { matches, needs_rehash: matches }),
            None => Err(ArgonError::Unreadable),
        }
    }

    /// How many verifications were computed since the start, dummy ones included.
    pub(super) fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }

    fn verify_stored(
        &self,
        password: &Password,
        hash: &phc::PasswordHash,
        cost: Cost,
    ) -> Result<Verdict, ArgonError> {
        let outdated = is_outdated(hash, cost, self.cost);
        // A hash that is not as ours are may come from a system that did not normalise.
        let spellings = password.spellings().take(if outdated { usize::MAX } else { 1 });
        for spelling in spellings {
            match self.argon2.verify_password(spelling, hash) {
                Ok(()) => return Ok(Verdict { matches: true, needs_rehash: outdated }),
                Err(password_hash::Error::PasswordInvalid) => {}
                Err(password_hash::Error::OutOfMemory) => return Err(ArgonError::Failed),
                Err(_) => return Err(ArgonError::Unreadable),
            }
        }
        Ok(Verdict { matches: false, needs_rehash: false })
    }

    fn verify_dummy(&self, password: &Password) {
        // The result is of no interest, the work is: keep the optimiser from noticing.
        let _ = black_box(self.argon2.verify_password(password.as_bytes(), &self.dummy));
    }
}

/// A hash of the configured cost that no known password has: salt and output are random.
fn dummy_hash(cost: Cost) -> phc::PasswordHash {
    let mut bytes = [0; 48];
    // Without randomness the dummy is merely predictable, and its verdict is never a match anyway.
    let _ = SystemRandom::new().fill(&mut bytes);
    let (salt, output) = bytes.split_at(16);
    let text = format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        cost.memory_kib,
        cost.passes,
        cost.lanes,
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    );
    phc::PasswordHash::new(&text).expect("a PHC string put together from valid parts")
}

/// A complete Argon2 hash of an affordable cost, or nothing.
fn readable(hash: &PasswordHash) -> Option<(phc::PasswordHash, Cost)> {
    let hash = phc::PasswordHash::new(hash.as_str()).ok()?;
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    hash.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let cost =
        Cost { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
    (hash.salt.is_some() && hash.hash.is_some() && affordable(cost)).then_some((hash, cost))
}

/// Whether passwords can be verified by a hash: one of Argon2, or of another system.
#[must_use]
pub fn is_readable(hash: &str) -> bool {
    readable(&PasswordHash::stored(hash.to_owned())).is_some() || LegacyHash::parse(hash).is_some()
}

fn affordable(cost: Cost) -> bool {
    cost.memory_kib <= MAX_MEMORY_KIB && cost.passes <= MAX_PASSES
}

/// Whether a hash should be made anew: another variant or version than Argon2id v19, less memory,
/// or less work in all (memory × passes) than configured. A costlier one is left alone.
fn is_outdated(hash: &phc::PasswordHash, cost: Cost, configured: Cost) -> bool {
    let work = |cost: Cost| u64::from(cost.memory_kib) * u64::from(cost.passes);
    hash.algorithm.as_str() != "argon2id"
        || hash.version != Some(Version::V0x13 as u32)
        || cost.memory_kib < configured.memory_kib
        || work(cost) < work(configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Cost = Cost { memory_kib: 16, passes: 2, lanes: 1 };

    fn engine(cost: Cost) -> Engine {
        Engine::new(cost).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::presented(text)
    }

    fn stored(phc: impl Into<String>) -> Reference {
        Reference::Stored(PasswordHash::stored(phc.into()))
    }

    #[test]
    fn a1_a_hash_states_its_cost_and_verifies() {
        let hash = engine(TINY).hash(&password("correct horse")).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{}", hash.as_str());
        assert_ne!(engine(TINY).hash(&password("correct horse")).unwrap(), hash);
        let verify = |text| engine(TINY).verify(&password(text), &Reference::Stored(hash.clone()));
        assert_eq!(verify("correct horse"), Ok(Verdict { matches: true, needs_rehash: false }));
        assert_eq!(verify("Correct horse"), Ok(Verdict { matches: false, needs_rehash: false }));
        assert_eq!(verify("correct horse "), Ok(Verdict { matches: false, needs_rehash: false }));
    }

    #[test]
    fn a1_a_cheaper_or_older_hash_asks_for_a_new_one() {
        let made = |algorithm, version, m, t, p| {
            let params = Params::new(m, t, p, None).unwrap();
            let argon2 = Argon2::new(algorithm, version, params);
            let hash: phc::PasswordHash = argon2.hash_password(b"correct horse").unwrap();
            hash.to_string()
        };
        use {Algorithm::*, Version::*};
        let cases = [
            (made(Argon2id, V0x13, 16, 2, 1), false),
            (made(Argon2id, V0x13, 16, 3, 1), false),
            (made(Argon2id, V0x13, 64, 1, 1), false),
            (made(Argon2id, V0x13, 16, 1, 1), true),
            (made(Argon2id, V0x13, 8, 8, 1), true),
            (made(Argon2i, V0x13, 16, 2, 1), true),
            (made(Argon2d, V0x13, 16, 2, 1), true),
            (made(Argon2id, V0x10, 16, 2, 1), true),
        ];
        for (hash, needs_rehash) in cases {
            let verdict = engine(TINY).verify(&password("correct horse"), &stored(&hash));
            assert_eq!(verdict, Ok(Verdict { matches: true, needs_rehash }), "{hash}");
            let verdict = engine(TINY).verify(&password("wrong"), &stored(&hash));
            assert_eq!(verdict, Ok(Verdict { matches: false, needs_rehash: false }), "{hash}");
        }
    }

    #[test]
    fn a12_the_dummy_never_matches_and_has_the_configured_cost() {
        let engine = engine(TINY);
        let verdict = engine.verify(&password("anything"), &Reference::Dummy);
        assert_eq!(verdict, Ok(Verdict { matches: false, needs_rehash: false }));
        let own = engine.hash(&password("x")).unwrap();
        let border = own.as_str().match_indices('$').nth(3).unwrap().0;
        assert!(engine.dummy.to_string().starts_with(&own.as_str()[..border]));
        assert_eq!(engine.dummy.to_string().len(), own.as_str().len());
        assert_eq!(engine.verifications(), 1);
    }

    #[test]
    fn a1_hashes_of_other_systems_verify_and_ask_for_a_new_one() {
        // made by Python's bcrypt 5.0 and argon2-cffi 25
        let cases = [
            ("$2b$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi", true),
            (
                "$argon2d$v=19$m=16,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$MeaCENpK2twu5BE+JPEOGkbk/1kskErevJkBlwSKnIY",
                true,
            ),
            (
                "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$J+f6h87iyt5Yqomwp/BnHATAqwzs8oKCoT4XVCSKp4Y",
                true,
            ),
            (
                "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$JJWPUdrSqsMp0JojGalecGE8DsLfx8buM76ydPIIFr8",
                false,
            ),
        ];
        let engine = engine(TINY);
        for (hash, needs_rehash) in cases {
            let verify = |text| engine.verify(&password(text), &stored(hash));
            let right = Verdict { matches: true, needs_rehash };
            assert_eq!(verify("Mật khẩu 🐧 dài"), Ok(right), "{hash}");
            let wrong = Verdict { matches: false, needs_rehash: false };
            assert_eq!(verify("Mật khẩu dài"), Ok(wrong), "{hash}");
        }
        assert_eq!(engine.verifications(), 2 * cases.len() as u64);
    }

    #[test]
    fn a1_what_another_system_hashed_as_typed_verifies_as_typed() {
        // "²", "…" and "ﬁ" are other characters after NFKC
        let hash = "$2b$04$g34LD.Pqnux2Zjqj7aiNGOjpOa9XsY3fTd81Z7RueyJJrnEf30Bi6";
        let verify = |text| engine(TINY).verify(&password(text), &stored(hash)).unwrap().matches;
        assert!(verify("Grün²…ﬁn"));
        assert!(!verify("Grün2...fin"));
    }

    #[test]
    fn a_damaged_or_planted_hash_is_unreadable_but_costs_a_verification() {
        let good = engine(TINY).hash(&password("x")).unwrap().into_string();
        let engine = engine(TINY);
        let damaged = [
            String::new(),
            "plain".into(),
            "$2b$12$abcdefghijklmnopqrstuuu".into(),
            good[..good.rfind('$').unwrap()].into(),
            good.replace("argon2id", "argon2x"),
            good.replace("v=19", "v=18"),
            good.replace("m=16", "m=4294967295"),
            good.replace("t=2", "t=4000000000"),
            good.replace("m=16", "m=1"),
        ];
        for (index, hash) in damaged.iter().enumerate() {
            let verdict = engine.verify(&password("x"), &stored(hash));
            assert_eq!(verdict, Err(ArgonError::Unreadable), "{hash}");
            assert_eq!(engine.verifications(), index as u64 + 1);
        }
    }

    #[test]
    fn an_impossible_cost_is_refused_at_the_start() {
        for (memory_kib, passes, lanes) in [
            (0, 2, 1),
            (7, 2, 1),
            (16, 0, 1),
            (16, 2, 0),
            (16, 2, 9),
            (u32::MAX, 2, 1),
            (16, 65, 1),
        ] {
            let cost = Cost { memory_kib, passes, lanes };
            assert_eq!(Engine::new(cost).err(), Some(CostError(cost)));
        }
    }
}
