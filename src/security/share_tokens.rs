//! Tokens of public links that their owner may read again: a keyed function of a random nonce. So a
//! row holds the nonce and the token's SHA-256, and whoever reads the row alone cannot follow the
//! link.

use super::keys::{KeyPurpose, RootSecret, SubKey};
use super::tokens::{Issued, OneTimeTokens, TokenHash};

/// The tokens of shared wishlists.
#[derive(Debug)]
pub struct ShareTokens {
    key: SubKey,
}

impl ShareTokens {
    /// Share tokens under the root secret.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self { key: root.derive(KeyPurpose::Share) }
    }

    /// The token of a random nonce, 256 bits; always the same for it.
    #[must_use]
    pub fn issue(&self, nonce: &[u8; 32]) -> Issued {
        Issued::from_bytes(&self.key.mac("wishlist", &[nonce]))
    }

    /// The hash to look a presented token up by; `None` when it cannot be one of ours.
    #[must_use]
    pub fn token_hash(text: &str) -> Option<TokenHash> {
        OneTimeTokens::token_hash(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_from_nonce_and_key_and_is_found_by_its_hash() {
        let tokens = ShareTokens::new(&RootSecret::new([1; 32]));
        let issued = tokens.issue(&[7; 32]);
        assert_eq!(issued.token.as_str().len(), 43);
        assert_eq!(tokens.issue(&[7; 32]).token, issued.token);
        assert_eq!(ShareTokens::token_hash(issued.token.as_str()), Some(issued.hash));
        assert_ne!(tokens.issue(&[8; 32]).token, issued.token);
        let other = ShareTokens::new(&RootSecret::new([2; 32]));
        assert_ne!(other.issue(&[7; 32]).token, issued.token);
    }

    #[test]
    fn neither_the_nonce_nor_the_hash_is_the_token() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let issued = ShareTokens::new(&RootSecret::new([1; 32])).issue(&[7; 32]);
        for known in [[7; 32], issued.hash] {
            let guess = URL_SAFE_NO_PAD.encode(known);
            assert_ne!(ShareTokens::token_hash(&guess), Some(issued.hash));
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in ["", "x", &"A".repeat(42), &"A".repeat(44), "%00", &"é".repeat(21)] {
            assert_eq!(ShareTokens::token_hash(text), None, "{text}");
        }
    }
}
