//! One root secret, and a sub-key per purpose derived from it (HKDF-SHA256, RFC 5869), so that an
//! operator guards a single value and no two uses ever share a key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::{hkdf, hmac};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Separates this service's keys from any other use of the same root secret.
const SALT: &[u8] = b"customer-service/v1";

/// What a sub-key is for. The label is part of the derivation: changing one voids everything that
/// was made with that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Refresh tokens: the child chain and the tag that proves we issued one.
    Refresh,
    /// Verification, reset and change tokens.
    OneTime,
    /// Names of throttle buckets, so that no identifier stands in the clear in a limiter.
    Throttle,
    /// Sealing of secrets at rest.
    Sealing,
    /// Page cursors that clients hold but may not forge.
    Pagination,
    /// Codes in text messages, and what is kept of them.
    PhoneCode,
    /// The pepper of backup codes.
    BackupCode,
    /// Links to shared wishlists.
    Share,
    /// Wrapping of customers' own keys, where no keys for that are configured.
    Wrapping,
    /// The signature under checkpoints of the audit trail.
    Audit,
}

impl KeyPurpose {
    fn label(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::OneTime => "one_time",
            Self::Throttle => "throttle",
            Self::Sealing => "sealing",
            Self::Pagination => "pagination",
            Self::PhoneCode => "phone_code",
            Self::BackupCode => "backup_code",
            Self::Share => "share",
            Self::Wrapping => "wrapping",
            Self::Audit => "audit",
        }
    }
}

/// The configured root secret: 256 bits from which every other key of the service follows.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RootSecret([u8; 32]);

/// The configured root secret cannot be used. Says nothing of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the root key must be 32 bytes in base64")]
pub struct RootSecretError;

impl RootSecret {
    /// A root secret from its 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads base64 of exactly 32 bytes; standard and URL alphabets, with or without padding.
    /// White space around it (a file's last newline) is ignored.
    ///
    /// # Errors
    /// [`RootSecretError`] for anything else.
    pub fn from_base64(text: &str) -> Result<Self, RootSecretError> {
        let text = text.trim();
        let bytes = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|alphabet| alphabet.decode(text).ok())
            .map(Zeroizing::new)
            .ok_or(RootSecretError)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| RootSecretError)
    }

    /// The sub-key for one purpose; the same root and purpose always give the same key.
    #[must_use]
    pub fn derive(&self, purpose: KeyPurpose) -> SubKey {
        let mut bytes = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
            .extract(&self.0)
            .expand(&[purpose.label().as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|key_material| key_material.fill(&mut bytes))
            .expect("HKDF-SHA256 always yields 32 bytes");
        SubKey(bytes)
    }
}

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootSecret(..)")
    }
}

/// A 256-bit key of one [`KeyPurpose`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SubKey([u8; 32]);

impl SubKey {
    /// HMAC-SHA256 over a label and fields. Each part is preceded by its length, so no two
    /// different lists of parts can give the same input.
    #[must_use]
    pub fn mac(&self, label: &str, fields: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        for part in std::iter::once(label.as_bytes()).chain(fields.iter().copied()) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref().try_into().expect("an HMAC-SHA256 tag has 32 bytes")
    }

    /// The key itself, for the one sibling that needs it as a cipher key.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use ::hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;

    const ALL: [KeyPurpose; 10] = [
        KeyPurpose::Refresh,
        KeyPurpose::OneTime,
        KeyPurpose::Throttle,
        KeyPurpose::Sealing,
        KeyPurpose::Pagination,
        KeyPurpose::PhoneCode,
        KeyPurpose::BackupCode,
        KeyPurpose::Share,
        KeyPurpose::Wrapping,
        KeyPurpose::Audit,
    ];

    fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// RFC 5869 written out with another library: extract, then the first block of expand.
    #[test]
    fn sub_keys_are_hkdf_of_root_and_label() {
        let root = RootSecret::new([7; 32]);
        for purpose in ALL {
            let extracted = hmac_sha256(SALT, &[&[7; 32]]);
            let expected = hmac_sha256(&extracted, &[purpose.label().as_bytes(), &[1]]);
            assert_eq!(root.derive(purpose).bytes(), &expected, "{purpose:?}");
        }
    }

    #[test]
    fn every_purpose_and_root_has_its_own_key() {
        let mut seen = std::collections::HashSet::new();
        for root in [RootSecret::new([0; 32]), RootSecret::new([1; 32])] {
            for purpose in ALL {
                assert!(seen.insert(*root.derive(purpose).bytes()), "{purpose:?}");
            }
        }
    }

    #[test]
    fn mac_keeps_field_borders() {
        let key = RootSecret::new([1; 32]).derive(KeyPurpose::Throttle);
        let inputs: [(&str, &[&[u8]]); 5] =
            [("ab", &[b"c"]), ("a", &[b"bc"]), ("abc", &[]), ("abc", &[b""]), ("ab", &[b"", b"c"])];
        let tags: std::collections::HashSet<_> =
            inputs.iter().map(|(label, fields)| key.mac(label, fields)).collect();
        assert_eq!(tags.len(), inputs.len());
    }

    #[test]
    fn root_key_is_read_in_any_base64_but_only_at_32_bytes() {
        let bytes = [0xfb; 32];
        for alphabet in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let text = format!("{}\n", alphabet.encode(bytes));
            assert_eq!(RootSecret::from_base64(&text).unwrap().0, bytes);
        }
        for text in ["", "abc", "not base64!", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33])]
        {
            assert_eq!(RootSecret::from_base64(text).unwrap_err(), RootSecretError, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let root = RootSecret::new([65; 32]);
        let shown = format!("{root:?} {:?}", root.derive(KeyPurpose::Refresh));
        assert_eq!(shown, "RootSecret(..) SubKey(..)");
    }
}
