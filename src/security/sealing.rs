//! Secrets at rest are sealed with AES-256-GCM, bound to the place they belong to: a sealed value
//! copied into another row does not open. The first byte names the kind of key that opens it.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::keys::{KeyPurpose, RootSecret};

/// What kind of key a value is sealed by: the first byte of every sealed value, so that a later format
/// can live beside these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Format {
    /// The root key's.
    Root = 1,
    /// A customer's own.
    Customer = 2,
    /// One that wraps keys of customers.
    Wrapping = 3,
}

impl Format {
    /// Whether a sealed value says that it is of this kind.
    pub(super) fn is_of(self, sealed: &[u8]) -> bool {
        sealed.first() == Some(&(self as u8))
    }
}

/// Why a value was not sealed or opened. Deliberately without detail: what is wrong with a
/// ciphertext is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The operating system gave no randomness, or the value is too large to seal.
    #[error("the value could not be sealed")]
    Seal,
    /// Not sealed by us, under another root key, for another place, or damaged.
    #[error("the sealed value does not open")]
    Open,
}

/// Seals and opens secrets under one key.
///
/// A sealed value is `format (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. Nonces are random, which
/// is sound for up to 2³² values under one key: ample for keys and secrets of accounts.
#[derive(Debug)]
pub struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
    format: Format,
}

impl Sealer {
    /// A sealer under the root secret's sealing key.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self::under(root.derive(KeyPurpose::Sealing).bytes(), Format::Root)
    }

    /// A sealer under any key of 256 bits.
    pub(super) fn under(key: &[u8; 32], format: Format) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 wants just 32 bytes");
        Self { key: LessSafeKey::new(key), random: SystemRandom::new(), format }
    }

    /// Seals `plaintext` for the place named by `place` (say `signing_keys/<kid>`).
    ///
    /// # Errors
    /// [`SealError::Seal`] when the operating system gives no randomness.
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| SealError::Seal)?;
        let capacity = 1 + NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len();
        let mut sealed = Vec::with_capacity(capacity);
        sealed.push(self.format as u8);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let (_, body) = sealed.split_at_mut(1 + NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(place.as_bytes()), body)
            .map_err(|_| SealError::Seal)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    ///
    /// # Errors
    /// [`SealError::Open`] for everything that is not exactly that.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (_, rest) =
            sealed.split_first().filter(|_| self.format.is_of(sealed)).ok_or(SealError::Open)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Open)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Open)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut body)
            .map_err(|_| SealError::Open)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(seed: u8) -> Sealer {
        Sealer::new(&RootSecret::new([seed; 32]))
    }

    #[test]
    fn opens_what_it_sealed() {
        for plaintext in [&b""[..], b"x", &[9; 5000]] {
            let sealed = sealer(1).seal("place", plaintext).unwrap();
            assert_eq!(sealer(1).open("place", &sealed).unwrap().as_slice(), plaintext);
        }
    }

    #[test]
    fn opens_nothing_else() {
        let sealed = sealer(1).seal("place", b"secret").unwrap();
        assert_eq!(sealer(2).open("place", &sealed).unwrap_err(), SealError::Open);
        assert_eq!(sealer(1).open("other", &sealed).unwrap_err(), SealError::Open);
        for length in 0..sealed.len() {
            assert!(sealer(1).open("place", &sealed[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer(1).open("place", &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn equal_values_seal_differently_and_hide_the_plaintext() {
        let (a, b) =
            (sealer(1).seal("p", b"secret").unwrap(), sealer(1).seal("p", b"secret").unwrap());
        assert_ne!(a, b);
        assert!(!a.windows(6).any(|window| window == b"secret"));
    }
}
