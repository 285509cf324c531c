//! Opaque tokens: what we hand out, and the SHA-256 that is all the database ever keeps of it
//! (rules A7, A8). Every token carries 256 random bits, is of one fixed length, and decodes in
//! exactly one way.
//!
//! | token | text |
//! |---|---|
//! | one-time | base64url( HMAC(one-time key, purpose, nonce) ) |
//! | refresh | base64url( session 16 ‖ generation u32 ‖ secret 32 ‖ tag 16 ) |
//! | device | base64url( device 16 ‖ secret 32 ) |
//! | staff key | `csk_` id (16 of base32) `_` secret (64 hex digits) |

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::keys::{KeyPurpose, RootSecret, SubKey};

/// SHA-256 of a token: the form at rest.
pub type TokenHash = [u8; 32];

/// A token in clear text, on its way to its holder. Wiped when dropped, shown by no `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Token(String);

impl Token {
    /// A token of another shape than those made here.
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The clear text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A token just made: the clear text for its holder, the hash for the database.
#[derive(Clone, Debug)]
pub struct Issued {
    /// For the holder; not to be stored.
    pub token: Token,
    /// For the database.
    pub hash: TokenHash,
}

impl Issued {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self { token: Token(URL_SAFE_NO_PAD.encode(bytes)), hash: sha256(bytes) }
    }
}

/// Compares a stored hash with a presented one in constant time; a stored value of another length
/// never equals.
#[must_use]
pub fn same_hash(stored: &[u8], presented: &TokenHash) -> bool {
    stored.ct_eq(presented).into()
}

/// Tokens that are mailed and used once: verification, reset, change.
///
/// The token is a keyed function of a random nonce. So a mail row can carry the nonce, and the
/// mailer makes the link from it, while nothing at rest is enough to use it: neither the nonce
/// (without the key) nor the token's hash.
#[derive(Debug)]
pub struct OneTimeTokens {
    key: SubKey,
}

impl OneTimeTokens {
    /// One-time tokens under the root secret.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self { key: root.derive(KeyPurpose::OneTime) }
    }

    /// The token of a purpose (say `verify_email`) and a random nonce; always the same for both.
    #[must_use]
    pub fn issue(&self, purpose: &str, nonce: [u8; 32]) -> Issued {
        let secret = Zeroizing::new(self.key.mac("one_time", &[purpose.as_bytes(), &nonce]));
        Issued::from_bytes(secret.as_slice())
    }

    /// The hash to look a presented token up by; `None` when it cannot be one of ours.
    #[must_use]
    pub fn token_hash(text: &str) -> Option<TokenHash> {
        decode::<32>(text).map(|secret| sha256(secret.as_slice()))
    }
}

/// The token of a flow, from 256 random bits. Presented again, it is read by
/// [`OneTimeTokens::token_hash`].
#[must_use]
pub fn flow_token(random: [u8; 32]) -> Issued {
    Issued::from_bytes(Zeroizing::new(random).as_slice())
}

const SECRET: usize = 32;
const TAG: usize = 16;
const REFRESH: usize = 16 + 4 + SECRET + TAG;

/// Refresh tokens (rule A7).
///
/// A child is computed from its parent, so that the holder whose reply was lost presents the
/// parent again and receives the very same child. The tag makes every token we ever issued
/// recognisable without a history: a genuine but outdated one is reuse, a forged one is noise.
#[derive(Debug)]
pub struct RefreshTokens {
    key: SubKey,
}

/// A refresh token whose tag was right: we did issue it, whether or not it is still current.
#[derive(ZeroizeOnDrop)]
pub struct Presented {
    /// The session it belongs to.
    #[zeroize(skip)]
    pub session_id: Uuid,
    /// How many tokens of this session came before it.
    pub generation: u32,
    /// What the database keeps of it.
    pub hash: TokenHash,
    secret: [u8; SECRET],
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("session_id", &self.session_id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl RefreshTokens {
    /// Refresh tokens under the root secret.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self { key: root.derive(KeyPurpose::Refresh) }
    }

    /// The first token (generation 0) of a session.
    #[must_use]
    pub fn first(&self, session_id: Uuid, random: [u8; 32]) -> Issued {
        self.issue(session_id, 0, &Zeroizing::new(random))
    }

    /// Reads a token that we issued; `None` for everything else.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Presented> {
        let bytes = decode::<REFRESH>(text)?;
        let (session_id, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (secret, tag) = rest.split_first_chunk::<SECRET>()?;
        let session_id = Uuid::from_bytes(*session_id);
        let generation = u32::from_be_bytes(*generation);
        let genuine: bool = self.tag(session_id, generation, secret).ct_eq(tag).into();
        genuine.then(|| Presented {
            session_id,
            generation,
            hash: sha256(bytes.as_slice()),
            secret: *secret,
        })
    }

    /// The one successor of a token.
    #[must_use]
    pub fn child(&self, parent: &Presented) -> Issued {
        let generation = parent.generation.to_be_bytes();
        let fields: [&[u8]; 3] = [parent.session_id.as_bytes(), &generation, &parent.secret];
        let secret = Zeroizing::new(self.key.mac("child", &fields));
        // The last generation is 136 years of a rotation a second away.
        self.issue(parent.session_id, parent.generation.saturating_add(1), &secret)
    }

    fn issue(&self, session_id: Uuid, generation: u32, secret: &[u8; SECRET]) -> Issued {
        let mut bytes = Zeroizing::new(Vec::with_capacity(REFRESH));
        bytes.extend_from_slice(session_id.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(secret);
        bytes.extend_from_slice(&self.tag(session_id, generation, secret));
        Issued::from_bytes(&bytes)
    }

    fn tag(&self, session_id: Uuid, generation: u32, secret: &[u8; SECRET]) -> [u8; TAG] {
        let fields: [&[u8]; 3] = [session_id.as_bytes(), &generation.to_be_bytes(), secret];
        let full = self.key.mac("tag", &fields);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&full[..TAG]);
        tag
    }
}

/// A device token as presented (rule A4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedDevice {
    /// The device it names.
    pub device_id: Uuid,
    /// To be compared with the stored one by [`same_hash`].
    pub hash: TokenHash,
}

/// The token of a known device.
#[must_use]
pub fn device_token(device_id: Uuid, random: [u8; 32]) -> Issued {
    let mut bytes = Zeroizing::new([0; 48]);
    bytes[..16].copy_from_slice(device_id.as_bytes());
    bytes[16..].copy_from_slice(&random);
    Issued::from_bytes(bytes.as_slice())
}

/// Reads a device token; `None` when it cannot be one.
#[must_use]
pub fn parse_device_token(text: &str) -> Option<PresentedDevice> {
    let bytes = decode::<48>(text)?;
    let device_id = Uuid::from_bytes(*bytes.first_chunk()?);
    Some(PresentedDevice { device_id, hash: sha256(bytes.as_slice()) })
}

const STAFF_PREFIX: &str = "csk_";
const STAFF_ID: usize = 16;
/// Crockford's base32, lower case: no letter that is mistaken for a digit.
pub(super) const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A staff API key just made.
#[derive(Clone, Debug)]
pub struct IssuedStaffKey {
    /// Names the key in lists, logs and for revoking; not secret.
    pub id: String,
    /// The key itself, shown once.
    pub key: Token,
    /// For the database.
    pub hash: TokenHash,
}

/// A staff API key as presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedStaffKey {
    /// The key it names.
    pub id: String,
    /// To be compared with the stored one by [`same_hash`].
    pub hash: TokenHash,
}

/// A staff API key, `csk_<id>_<secret>`, from an 80-bit random id and a 256-bit secret.
#[must_use]
pub fn staff_key(random_id: [u8; 10], secret: [u8; 32]) -> IssuedStaffKey {
    let secret = Zeroizing::new(secret);
    let id = base32(random_id);
    let mut key = String::with_capacity(STAFF_PREFIX.len() + STAFF_ID + 1 + 2 * SECRET);
    key.push_str(STAFF_PREFIX);
    key.push_str(&id);
    key.push('_');
    for byte in secret.iter() {
        key.push(char::from(HEX[usize::from(byte >> 4)]));
        key.push(char::from(HEX[usize::from(byte & 15)]));
    }
    IssuedStaffKey { id, key: Token(key), hash: sha256(secret.as_slice()) }
}

/// Reads a staff API key; `None` when it cannot be one.
#[must_use]
pub fn parse_staff_key(text: &str) -> Option<PresentedStaffKey> {
    let (id, secret) = text.strip_prefix(STAFF_PREFIX)?.split_once('_')?;
    if id.len() != STAFF_ID || !id.bytes().all(|byte| BASE32.contains(&byte)) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; SECRET]);
    if secret.len() != 2 * SECRET {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(secret.as_bytes().chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(PresentedStaffKey { id: id.to_owned(), hash: sha256(bytes.as_slice()) })
}

/// Names of throttle buckets. A limiter and its rows hold no address or identifier, and nobody
/// without the key can compute which bucket belongs to whom.
#[derive(Debug)]
pub struct ThrottleKeys {
    key: SubKey,
}

impl ThrottleKeys {
    /// Bucket names under the root secret.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self { key: root.derive(KeyPurpose::Throttle) }
    }

    /// The bucket of a kind (say `sign_in`) and a canonical identifier.
    #[must_use]
    pub fn bucket(&self, kind: &str, identifier: &str) -> [u8; 32] {
        self.key.mac(kind, &[identifier.as_bytes()])
    }
}

fn sha256(bytes: &[u8]) -> TokenHash {
    Sha256::digest(bytes).into()
}

/// Base64url without padding, of exactly `N` bytes, in the one canonical spelling.
fn decode<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    // Refuses an overlong text before any work.
    if text.len() != base64::encoded_len(N, false)? {
        return None;
    }
    // The decoder wants room for whole groups, so a spare group behind the N bytes.
    let mut buffer = Zeroizing::new(vec![0; N + 3]);
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok()?;
    Some(Zeroizing::new(buffer.get(..length)?.try_into().ok()?))
}

/// 80 bits as 16 digits of base32.
fn base32(bytes: [u8; 10]) -> String {
    let number = bytes.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    (0..STAFF_ID)
        .rev()
        .map(|digit| char::from(BASE32[(number >> (5 * digit) & 31) as usize]))
        .collect()
}

/// The value of a lower-case hex digit.
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
