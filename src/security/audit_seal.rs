//! The signature under checkpoints of the audit trail: Ed25519, by a key that follows from the root
//! key. Who has the database alone cannot make one; who has the public half needs nothing else to check.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::keys::{KeyPurpose, RootSecret};

/// What is signed begins with this: a signature under a checkpoint can be taken for nothing else.
const LABEL: &[u8] = b"customer-service/audit-checkpoint/v1";

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Signs checkpoints. Shown by no `Debug`.
pub struct AuditKey(SigningKey);

/// Checks signatures under checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPublicKey(VerifyingKey);

/// The text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 32 bytes in base64, as `customer-service audit key` prints it")]
pub struct NoPublicKey;

impl AuditKey {
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self(SigningKey::from_bytes(root.derive(KeyPurpose::Audit).bytes()))
    }

    /// Signs the hash of a checkpoint.
    #[must_use]
    pub fn sign(&self, hash: &[u8; 32]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(&message(hash)).to_bytes()
    }

    /// Signs a certificate in the form of a JWS: what is signed begins with its header in base64, which
    /// no checkpoint's does.
    #[must_use]
    pub fn certify(&self, header_and_payload: &str) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(header_and_payload.as_bytes()).to_bytes()
    }

    #[must_use]
    pub fn public(&self) -> AuditPublicKey {
        AuditPublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(..)")
    }
}

impl AuditPublicKey {
    /// # Errors
    /// [`NoPublicKey`] for anything but 32 bytes of a point of the curve in base64.
    pub fn parse(text: &str) -> Result<Self, NoPublicKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| NoPublicKey)?;
        let bytes = bytes.as_slice().try_into().map_err(|_| NoPublicKey)?;
        VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| NoPublicKey)
    }

    /// Whether this key's other half signed the hash.
    #[must_use]
    pub fn has_signed(&self, hash: &[u8; 32], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(&message(hash), &signature).is_ok())
    }
}

/// Base64, by which checkpoints name the key that signed them.
impl fmt::Display for AuditPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.as_bytes()))
    }
}

fn message(hash: &[u8; 32]) -> Vec<u8> {
    [LABEL, hash].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_a_signature_is_of_one_hash_by_one_key() {
        let key = AuditKey::new(&RootSecret::new([1; 32]));
        let other = AuditKey::new(&RootSecret::new([2; 32]));
        let signature = key.sign(&[7; 32]);
        let public = AuditPublicKey::parse(&key.public().to_string()).unwrap();
        assert!(public.has_signed(&[7; 32], &signature));
        assert!(!public.has_signed(&[8; 32], &signature));
        assert!(!other.public().has_signed(&[7; 32], &signature));
        assert!(!public.has_signed(&[7; 32], &signature[1..]));
        for bit in 0..SIGNATURE_BYTES * 8 {
            let mut forged = signature;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!public.has_signed(&[7; 32], &forged), "bit {bit}");
        }
    }

    #[test]
    fn public_keys_are_read_strictly() {
        for text in ["", "AAAA", "not base64!", &STANDARD.encode([1; 33])] {
            assert_eq!(AuditPublicKey::parse(text), Err(NoPublicKey), "{text}");
        }
        assert_eq!(format!("{:?}", AuditKey::new(&RootSecret::new([65; 32]))), "AuditKey(..)");
    }
}
