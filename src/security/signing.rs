//! Ed25519 keys that sign access tokens: how they are made, sealed for the database, named
//! (RFC 7638) and published (RFC 8037 JWK).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::sealing::{SealError, Sealer};

/// A private signing key. Wiped when dropped, shown by no `Debug`.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    public: PublicKey,
}

/// The public half, by which tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    key: VerifyingKey,
}

/// Why a key was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// See [`SealError`]; with a changed root key every sealed key fails like this.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What was sealed is no Ed25519 key, or another one than the row's `kid` says.
    #[error("the signing key is damaged")]
    Damaged,
}

impl SigningKey {
    /// A new key from 32 random bytes.
    #[must_use]
    pub fn generate(mut random: [u8; 32]) -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(&random);
        random.zeroize();
        Self::from_secret(secret)
    }

    /// Reads a key from the database.
    ///
    /// # Errors
    /// [`SigningKeyError`] when it does not open under this root secret and `kid`.
    pub fn open(kid: &str, sealed: &[u8], sealer: &Sealer) -> Result<Self, SigningKeyError> {
        let der = sealer.open(&place(kid), sealed)?;
        let pair = KeypairBytes::from_pkcs8_der(&der).map_err(|_| SigningKeyError::Damaged)?;
        let key = Self::from_secret(ed25519_dalek::SigningKey::from_bytes(&pair.secret_key));
        if key.kid() == kid { Ok(key) } else { Err(SigningKeyError::Damaged) }
    }

    /// The form for the database: PKCS#8 v1 (which every library reads; v2, with the public key
    /// inside, some refuse), sealed to this key's `kid`.
    ///
    /// # Errors
    /// [`SigningKeyError::Seal`] when the operating system gives no randomness.
    pub fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>, SigningKeyError> {
        let pair = KeypairBytes { secret_key: self.secret.to_bytes(), public_key: None };
        let der = pair.to_pkcs8_der().map_err(|_| SigningKeyError::Damaged)?;
        Ok(sealer.seal(&place(self.kid()), der.as_bytes())?)
    }

    /// The key's name: its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    fn from_secret(secret: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::from_verifying(secret.verifying_key());
        Self { secret, public }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Reads a public key of 32 bytes; `None` when they are no point of the curve, or a weak one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        (!key.is_weak()).then(|| Self::from_verifying(key))
    }

    /// The key's name: its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The key as a JWK, ready for a JWKS document.
    #[must_use]
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(self.as_bytes()),
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
        })
    }

    /// Strict verification: the one canonical encoding of a signature, no weak keys.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    fn from_verifying(key: VerifyingKey) -> Self {
        // RFC 7638: the required members only, in lexical order, without white space.
        let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self { kid: URL_SAFE_NO_PAD.encode(Sha256::digest(members)), key }
    }
}

/// When a key is used. Instants of the key's row, so that every node changes at the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// From here on it signs, until a key with a later instant does.
    pub signs_from: DateTime<Utc>,
    /// From here on nothing that it signed counts; `None` as long as no end is known.
    pub ends: Option<DateTime<Utc>>,
}

impl Period {
    fn is_over(self, now: DateTime<Utc>) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

/// The keys that count at present and in the near future: those that sign, each when its time
/// comes, and those that are only verified by until their last token has expired.
///
/// Every key in the set is verified by at once: a node whose clock is fast may sign with the next
/// one a moment before the others do.
#[derive(Debug)]
pub struct KeySet {
    /// Latest first, never empty.
    signing: Vec<(SigningKey, Period)>,
    verifying: Vec<(PublicKey, Period)>,
}

impl KeySet {
    /// A set of keys; `None` without one that may sign.
    #[must_use]
    pub fn new(
        mut signing: Vec<(SigningKey, Period)>,
        verifying: Vec<(PublicKey, Period)>,
    ) -> Option<Self> {
        signing.sort_by_key(|(_, period)| std::cmp::Reverse(period.signs_from));
        (!signing.is_empty()).then_some(Self { signing, verifying })
    }

    /// The key that signs now.
    #[must_use]
    pub fn current(&self, now: DateTime<Utc>) -> &SigningKey {
        let good = || self.signing.iter().filter(|(_, period)| !period.is_over(now));
        let due = good().find(|(_, period)| period.signs_from <= now);
        // A clock that was set back finds none whose time has come: then the earliest. And where
        // every key has ended, what is signed with the last one is accepted nowhere.
        let (key, _) = due.or_else(|| good().next_back()).unwrap_or(&self.signing[0]);
        key
    }

    /// The public key of a name, if what it signed counts now.
    #[must_use]
    pub fn find(&self, kid: &str, now: DateTime<Utc>) -> Option<&PublicKey> {
        self.published(now).find(|key| key.kid == kid)
    }

    /// The JWKS document, with the key that signs now first.
    #[must_use]
    pub fn jwks(&self, now: DateTime<Utc>) -> Value {
        let mut keys: Vec<_> = self.published(now).collect();
        let current = self.current(now).kid();
        keys.sort_by_key(|key| key.kid != current);
        json!({ "keys": keys.into_iter().map(PublicKey::jwk).collect::<Vec<_>>() })
    }

    fn published(&self, now: DateTime<Utc>) -> impl Iterator<Item = &PublicKey> {
        let signing = self.signing.iter().map(|(key, period)| (key.public(), period));
        let verifying = self.verifying.iter().map(|(key, period)| (key, period));
        signing.chain(verifying).filter(move |(_, period)| !period.is_over(now)).map(|(key, _)| key)
    }
}

/// What a sealed key is bound to.
fn place(kid: &str) -> String {
    format!("signing_keys/{kid}")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};

    use super::super::keys::RootSecret;
    use super::*;

    fn sealer(seed: u8) -> Sealer {
        Sealer::new(&RootSecret::new([seed; 32]))
    }

    /// RFC 8037 appendix A: the key, its thumbprint and a signature.
    #[test]
    fn matches_the_example_of_rfc_8037() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::generate(seed.try_into().unwrap());
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.public().jwk()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = key.sign(message);
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
        assert!(key.public().verifies(message, &signature));
    }

    #[test]
    fn a_sealed_key_opens_only_as_itself() {
        let (key, other) = (SigningKey::generate([1; 32]), SigningKey::generate([2; 32]));
        let sealed = key.seal(&sealer(1)).unwrap();
        let opened = SigningKey::open(key.kid(), &sealed, &sealer(1)).unwrap();
        assert_eq!(opened.public(), key.public());
        assert_eq!(opened.sign(b"m"), key.sign(b"m"));
        let refused = Some(SigningKeyError::Seal(SealError::Open));
        assert_eq!(SigningKey::open(key.kid(), &sealed, &sealer(2)).err(), refused);
        assert_eq!(SigningKey::open(other.kid(), &sealed, &sealer(1)).err(), refused);
    }

    #[test]
    fn a_sealed_key_is_48_bytes_of_pkcs8_v1_and_must_match_its_kid() {
        let key = SigningKey::generate([1; 32]);
        let der = sealer(1).open(&place(key.kid()), &key.seal(&sealer(1)).unwrap()).unwrap();
        assert_eq!(der.len(), 48);
        for (kid, content) in [("another", der.as_slice()), (key.kid(), b"no key"), ("", b"")] {
            let sealed = sealer(1).seal(&place(kid), content).unwrap();
            let opened = SigningKey::open(kid, &sealed, &sealer(1));
            assert_eq!(opened.err(), Some(SigningKeyError::Damaged), "{kid}");
        }
    }

    /// Another library reads the document and computes the same thumbprints.
    #[test]
    fn the_jwks_is_understood_by_others() {
        let (older, current, next) = (key(1), key(2), key(3));
        let names = [older.kid(), current.kid(), next.kid()].map(str::to_owned);
        let signing = vec![(current, from(10)), (next, from(20))];
        let set = KeySet::new(
            signing,
            vec![(older.public().clone(), Period { ends: Some(at(15)), ..from(0) })],
        )
        .unwrap();
        let listed = |now| {
            let document: JwkSet = serde_json::from_value(set.jwks(at(now))).unwrap();
            let kid = |jwk: &Jwk| {
                let kid = jwk.common.key_id.clone().unwrap();
                assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), kid);
                kid
            };
            document.keys.iter().map(kid).collect::<Vec<_>>()
        };
        let [older, current, next] = &names;
        assert_eq!(listed(14), [current.clone(), next.clone(), older.clone()]);
        assert_eq!(listed(15), [current.clone(), next.clone()]);
        assert_eq!(listed(20), [next.clone(), current.clone()]);
        assert!(!set.jwks(at(14)).to_string().contains("\"d\""));
        assert_eq!(set.find("nobody", at(14)), None);
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::generate([seed; 32])
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn from(seconds: i64) -> Period {
        Period { signs_from: at(seconds), ends: None }
    }

    #[test]
    fn each_key_signs_from_its_own_instant_on() {
        let names = [1, 2, 3].map(|seed| key(seed).kid().to_owned());
        let ending = |starts, ends| Period { ends: Some(at(ends)), ..from(starts) };
        // given in any order; the second is revoked at the instant at which the third takes over
        let set = KeySet::new(
            vec![(key(2), ending(10, 20)), (key(3), from(20)), (key(1), ending(0, 15))],
            vec![],
        )
        .unwrap();
        for (now, signs, found) in [
            // a clock before all of them: the earliest
            (-5, 0, [true, true, true]),
            (0, 0, [true, true, true]),
            (9, 0, [true, true, true]),
            (10, 1, [true, true, true]),
            (15, 1, [false, true, true]),
            (19, 1, [false, true, true]),
            (20, 2, [false, false, true]),
            (9_999, 2, [false, false, true]),
        ] {
            assert_eq!(set.current(at(now)).kid(), names[signs], "{now}");
            let known =
                [0, 1, 2].map(|at_index: usize| set.find(&names[at_index], at(now)).is_some());
            assert_eq!(known, found, "{now}");
        }
        assert!(KeySet::new(vec![], vec![(key(1).public().clone(), from(0))]).is_none());
    }

    /// Nobody accepts what is signed when every key has ended.
    #[test]
    fn a_set_without_a_good_key_signs_with_one_that_is_refused() {
        let set =
            KeySet::new(vec![(key(1), Period { ends: Some(at(5)), ..from(0) })], vec![]).unwrap();
        assert_eq!(set.find(set.current(at(6)).kid(), at(6)), None);
        assert_eq!(set.jwks(at(6)), json!({ "keys": [] }));
    }

    #[test]
    fn public_keys_are_read_unless_weak() {
        let key = SigningKey::generate([1; 32]);
        assert_eq!(PublicKey::from_bytes(key.public().as_bytes()).as_ref(), Some(key.public()));
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", SigningKey::generate([65; 32]));
        assert!(shown.starts_with("SigningKey { kid: ") && !shown.contains("65"), "{shown}");
    }
}
