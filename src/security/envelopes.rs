//! Envelopes: values of one customer, sealed so that others may carry, keep and pass on what only who
//! is given the customer's key can read. Plain AES-256-GCM with what is said about it in JSON, so that
//! it opens in any language.
//!
//! An envelope is bound to its place, an ASCII text that names the customer and the message or entry:
//! put into another one it does not open.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::sealing::SealError;

/// How envelopes are sealed, by its name in RFC 7518: AES-256 in GCM, 96 bits of nonce, 128 of tag.
pub const ALGORITHM: &str = "A256GCM";

/// Sealed values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The name of the key that opens it.
    pub kid: String,
    /// [`ALGORITHM`].
    pub alg: String,
    /// In base64url, as the ciphertext is: 12 bytes.
    pub nonce: String,
    /// With the tag at its end.
    pub ciphertext: String,
}

/// Where an envelope belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Message { customer: Uuid, id: Uuid },
    Entry { customer: Uuid, id: Uuid },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { customer, id } => write!(f, "message/{customer}/{id}"),
            Self::Entry { customer, id } => write!(f, "audit_entry/{customer}/{id}"),
        }
    }
}

/// What opens a customer's envelopes of one kind. Shown by no `Debug`.
#[derive(Clone)]
pub struct EnvelopeKey {
    pub(super) kid: String,
    pub(super) bytes: Zeroizing<[u8; 32]>,
}

impl EnvelopeKey {
    /// Its name, of which nothing of it can be read.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key as it is told to whoever may open envelopes: base64url of its 32 bytes.
    #[must_use]
    pub fn told(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.bytes))
    }

    /// Seals a value for its place. A nonce is random and used once.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the value is too large to seal: some 64 GB.
    pub fn seal(
        &self,
        place: Place,
        mut value: Vec<u8>,
        nonce: [u8; NONCE_LEN],
    ) -> Result<Envelope, SealError> {
        let aad = Aad::from(place.to_string());
        let once = Nonce::assume_unique_for_key(nonce);
        self.key().seal_in_place_append_tag(once, aad, &mut value).map_err(|_| SealError::Seal)?;
        Ok(Envelope {
            kid: self.kid.clone(),
            alg: ALGORITHM.to_owned(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            ciphertext: URL_SAFE_NO_PAD.encode(value),
        })
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    ///
    /// # Errors
    /// [`SealError::Open`] for everything that is not exactly that.
    pub fn open(&self, place: Place, sealed: &Envelope) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.kid != self.kid || sealed.alg != ALGORITHM {
            return Err(SealError::Open);
        }
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Open);
        let nonce = Nonce::try_assume_unique_for_key(&decoded(&sealed.nonce)?)
            .map_err(|_| SealError::Open)?;
        let mut value = Zeroizing::new(decoded(&sealed.ciphertext)?);
        let opened = self.key().open_in_place(nonce, Aad::from(place.to_string()), &mut value);
        let length = opened.map_err(|_| SealError::Open)?.len();
        value.truncate(length);
        Ok(value)
    }

    fn key(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &*self.bytes);
        LessSafeKey::new(key.expect("AES-256 wants just 32 bytes"))
    }
}

impl fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOMER: Uuid = Uuid::from_u128(7);

    fn key(byte: u8) -> EnvelopeKey {
        EnvelopeKey { kid: "k".to_owned(), bytes: Zeroizing::new([byte; 32]) }
    }

    fn place(id: u128) -> Place {
        Place::Message { customer: CUSTOMER, id: Uuid::from_u128(id) }
    }

    #[test]
    fn m6_an_envelope_opens_by_its_key_at_its_place_alone() {
        let sealed = key(1).seal(place(1), b"Zfirst".to_vec(), [9; 12]).unwrap();
        assert_eq!(key(1).open(place(1), &sealed).unwrap().as_slice(), b"Zfirst");
        assert!(key(2).open(place(1), &sealed).is_err());
        let elsewhere = [
            place(2),
            Place::Message { customer: Uuid::from_u128(8), id: Uuid::from_u128(1) },
            Place::Entry { customer: CUSTOMER, id: Uuid::from_u128(1) },
        ];
        for other in elsewhere {
            assert_eq!(key(1).open(other, &sealed).unwrap_err(), SealError::Open, "{other}");
        }
        let changed = [
            Envelope { kid: "other".to_owned(), ..sealed.clone() },
            Envelope { alg: "none".to_owned(), ..sealed.clone() },
            Envelope { nonce: URL_SAFE_NO_PAD.encode([8; 12]), ..sealed.clone() },
            Envelope { nonce: String::new(), ..sealed.clone() },
            Envelope { ciphertext: "!".to_owned(), ..sealed.clone() },
            Envelope { ciphertext: sealed.ciphertext[4..].to_owned(), ..sealed.clone() },
        ];
        for changed in changed {
            assert!(key(1).open(place(1), &changed).is_err(), "{changed:?}");
        }
    }

    /// What consumers in other languages build on, to the letter.
    #[test]
    fn m6_an_envelope_is_aes_256_gcm_with_the_place_as_associated_data() {
        let sealed = key(1).seal(place(1), b"{}".to_vec(), [9; 12]).unwrap();
        let text =
            "message/00000000-0000-0000-0000-000000000007/00000000-0000-0000-0000-000000000001";
        assert_eq!(place(1).to_string(), text);
        let plain = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap());
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed.ciphertext).unwrap();
        let nonce = Nonce::assume_unique_for_key([9; 12]);
        let opened = plain.open_in_place(nonce, Aad::from(text), &mut bytes).unwrap();
        assert_eq!(opened, b"{}");
        assert_eq!(sealed.nonce, "CQkJCQkJCQkJCQkJ");
        assert_eq!(URL_SAFE_NO_PAD.decode(&*key(1).told()).unwrap(), [1; 32]);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", key(65)), "EnvelopeKey { kid: \"k\", .. }");
    }
}
