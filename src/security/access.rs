//! Access tokens: short-lived JWTs (RFC 9068) that any node verifies without asking anybody.
//!
//! One algorithm, one type, one issuer, one audience, and every claim required: a token that is
//! not exactly what [`AccessTokens::issue`] writes is refused. Written out here rather than left
//! to a general library because that strictness *is* the feature, and because time is a parameter.

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::remembered::Remembered;
use super::signing::KeySet;

const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "at+jwt";
/// What `scope` says of a session whose owner is about to be deleted.
pub const LEAVING: &str = "deletion";
/// What `aal` may say.
const LEVELS: RangeInclusive<u8> = 1..=2;
/// Ours have about 600 bytes; more is refused before any work.
const MAX_LENGTH: usize = 4096;
/// The longest life that can be configured, in seconds. Nothing that we issue says more.
const MAX_LIFETIME: i64 = 3600;
/// Clocks of one installation agree within this; more would only lengthen every token's life.
const MAX_LEEWAY: Duration = Duration::from_secs(5);

/// How access tokens are made and judged.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// From `iat` to `exp`; whole seconds.
    pub lifetime: Duration,
    /// Tolerated difference between the clocks of nodes, at most five seconds.
    pub leeway: Duration,
    /// Most verified tokens remembered, so that a busy client costs a hash and not a signature
    /// check. About 500 bytes each.
    pub cache_max: usize,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `sub`.
    pub customer_id: Uuid,
    /// `sid`.
    pub session_id: Uuid,
    /// `aal`: how many kinds of factor were shown, 1 or 2.
    pub aal: u8,
    /// `amr`: which (RFC 8176 names).
    pub amr: Vec<String>,
    /// `auth_time`: when they were shown. Whole seconds.
    pub auth_time: DateTime<Utc>,
    /// `jti`, when the token is to be told from others of its session.
    pub token_id: Option<Uuid>,
    /// `scope`: whether it is good for nothing but looking at a scheduled deletion and cancelling it.
    pub leaving: bool,
}

/// A token just made.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedAccess {
    /// The JWT.
    pub token: String,
    /// `exp`.
    pub expires_at: DateTime<Utc>,
}

/// A token that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub access: Access,
    /// `iat`.
    pub issued_at: DateTime<Utc>,
    /// `exp`.
    pub expires_at: DateTime<Utc>,
}

/// Why a token was refused. For logs and metrics; a client learns only that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Not three parts of base64url with the expected JSON and claims.
    #[error("the access token is malformed")]
    Malformed,
    /// Another `alg` or `typ` than ours.
    #[error("the access token is of another kind")]
    WrongKind,
    /// Signed by a key that is not (or no longer, or not yet) in the set.
    #[error("the access token's key is unknown")]
    UnknownKey,
    /// The signature is not its key's.
    #[error("the access token's signature is wrong")]
    BadSignature,
    /// Another `iss` or `aud` than ours.
    #[error("the access token is meant for another service")]
    WrongParty,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the access token is not valid yet")]
    NotYetValid,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Every claim must be there and of its type; unknown ones are ignored, as RFC 7519 asks, so that
/// a newer node may add one while an older still runs.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    jti: Option<Uuid>,
    aal: u8,
    amr: Vec<String>,
    auth_time: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    scope: Option<String>,
}

/// An optional claim may be absent, but not `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Issues and verifies access tokens.
#[derive(Debug)]
pub struct AccessTokens {
    settings: AccessSettings,
    leeway: i64,
    keys: RwLock<Arc<KeySet>>,
    /// Verified tokens by their SHA-256. Only genuine tokens enter, so a stranger cannot fill it.
    cache: Remembered<[u8; 32], Entry>,
}

impl AccessTokens {
    /// Access tokens under a set of keys.
    #[must_use]
    pub fn new(settings: AccessSettings, keys: KeySet) -> Self {
        let leeway = seconds(settings.leeway.min(MAX_LEEWAY));
        let cache = Remembered::new(settings.cache_max);
        Self { settings, leeway, keys: RwLock::new(Arc::new(keys)), cache }
    }

    /// Replaces the keys from now on; tokens of keys that are not in the set are refused.
    pub fn replace_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// The keys in use.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a token that is valid from `now` for the configured lifetime.
    #[must_use]
    pub fn issue(&self, access: &Access, now: DateTime<Utc>) -> IssuedAccess {
        let keys = self.keys();
        let key = keys.current(now);
        let issued = now.timestamp();
        let expires = issued.saturating_add(seconds(self.settings.lifetime));
        let header =
            Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: key.kid().to_owned() };
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: access.customer_id,
            sid: access.session_id,
            iat: issued,
            nbf: issued,
            exp: expires,
            jti: access.token_id,
            aal: access.aal,
            amr: access.amr.clone(),
            auth_time: access.auth_time.timestamp(),
            scope: access.leaving.then(|| LEAVING.to_owned()),
        };
        let mut token = format!("{}.{}", encode(&header), encode(&claims));
        let signature = key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        IssuedAccess {
            token,
            expires_at: DateTime::from_timestamp(expires, 0).unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }

    /// Judges a token. That its session is still alive is another question, answered by
    /// [`RevokedSessions`](super::revoked::RevokedSessions).
    ///
    /// # Errors
    /// [`AccessError`], whichever reason is met first.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<Verified>, AccessError> {
        if token.len() > MAX_LENGTH {
            return Err(AccessError::Malformed);
        }
        let keys = self.keys();
        let digest: [u8; 32] = Sha256::digest(token).into();
        let entry = match self.cache.get(&digest) {
            // Its key may have ended since.
            Some(entry) if keys.find(&entry.kid, now).is_some() => entry,
            Some(_) => return Err(AccessError::UnknownKey),
            None => {
                let entry = self.read(token, &keys, now)?;
                entry.check_time(now, self.leeway)?;
                self.cache.insert(digest, entry.clone());
                entry
            }
        };
        entry.check_time(now, self.leeway)?;
        Ok(entry.verified)
    }

    /// Everything about a token but its own times.
    fn read(&self, token: &str, keys: &KeySet, now: DateTime<Utc>) -> Result<Entry, AccessError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AccessError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AccessError::Malformed)?;
        let header: Header = decode(header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(AccessError::WrongKind);
        }
        let key = keys.find(&header.kid, now).ok_or(AccessError::UnknownKey)?;
        let signature = decode_bytes(signature)?;
        let signature = signature.as_slice().try_into().map_err(|_| AccessError::BadSignature)?;
        if !key.verifies(signed.as_bytes(), signature) {
            return Err(AccessError::BadSignature);
        }
        let claims: Claims = decode(claims)?;
        if claims.iss != self.settings.issuer || claims.aud != self.settings.audience {
            return Err(AccessError::WrongParty);
        }
        Entry::new(header.kid, claims)
    }
}

impl std::fmt::Debug for IssuedAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedAccess").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A token whose signature and parties were found right; its time is judged at each use.
#[derive(Clone, Debug)]
struct Entry {
    verified: Arc<Verified>,
    kid: Arc<str>,
    not_before: i64,
    expires: i64,
}

impl Entry {
    fn new(kid: String, claims: Claims) -> Result<Self, AccessError> {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).ok_or(AccessError::Malformed);
        let (issued, not_before) = (time(claims.iat)?, time(claims.nbf)?);
        let (expires, shown) = (time(claims.exp)?, time(claims.auth_time)?);
        let too_long = |span: TimeDelta| span > TimeDelta::seconds(MAX_LIFETIME);
        let spans = [expires - issued, shown - issued, issued - not_before];
        let known = LEVELS.contains(&claims.aal) && shown > DateTime::UNIX_EPOCH;
        if !known || spans.into_iter().any(too_long) {
            return Err(AccessError::Malformed);
        }
        // A narrower right than we know of is none.
        let leaving = match claims.scope.as_deref() {
            None => false,
            Some(LEAVING) => true,
            Some(_) => return Err(AccessError::Malformed),
        };
        let verified = Verified {
            access: Access {
                customer_id: claims.sub,
                session_id: claims.sid,
                aal: claims.aal,
                amr: claims.amr,
                auth_time: shown,
                token_id: claims.jti,
                leaving,
            },
            issued_at: issued,
            expires_at: expires,
        };
        let not_before = not_before.max(issued).timestamp();
        Ok(Self { verified: Arc::new(verified), kid: kid.into(), not_before, expires: claims.exp })
    }

    fn check_time(&self, now: DateTime<Utc>, leeway: i64) -> Result<(), AccessError> {
        let now = now.timestamp();
        if now >= self.expires.saturating_add(leeway) {
            return Err(AccessError::Expired);
        }
        if now.saturating_add(leeway) < self.not_before {
            return Err(AccessError::NotYetValid);
        }
        Ok(())
    }
}

fn encode<T: Serialize>(part: &T) -> String {
    let json = serde_json::to_vec(part).expect("strings, numbers and ids always serialise");
    URL_SAFE_NO_PAD.encode(json)
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, AccessError> {
    let json = decode_bytes(part)?;
    // serde would also read a list of the members' values.
    if !json.starts_with(b"{") {
        return Err(AccessError::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| AccessError::Malformed)
}

fn decode_bytes(part: &str) -> Result<Vec<u8>, AccessError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AccessError::Malformed)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
