//! A phone number on its way to being somebody's: a code was sent to it, and whoever tells the code
//! has the phone (rules A8, L7). A customer has at most one, so that a newer one voids the older.

use super::ids::TextMessageId;
use super::phone::PhoneNumber;
use super::session::SecretHash;
use chrono::{DateTime, Utc};

/// Wrong codes that one confirmation bears.
pub const TRIES_MAX: u8 = 5;

#[derive(Clone, PartialEq)]
pub struct PhoneConfirmation {
    /// The message that carries the code.
    pub text_id: TextMessageId,
    pub phone: PhoneNumber,
    /// Keyed, and bound to customer and number.
    pub code_hash: SecretHash,
    /// Wrong codes so far.
    pub tries: u8,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Holds a number and a secret: printed without them.
impl std::fmt::Debug for PhoneConfirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhoneConfirmation")
            .field("text_id", &self.text_id)
            .field("tries", &self.tries)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl PhoneConfirmation {
    /// Whether a code may still be tried at it.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.tries < TRIES_MAX && now < self.expires_at
    }
}

/// A code about to be sent. The clear code is never here: the worker derives it from `nonce` and a
/// key that the database does not hold.
#[derive(Clone, PartialEq, Eq)]
pub struct FreshCode {
    pub text_id: TextMessageId,
    pub nonce: [u8; 32],
    pub hash: SecretHash,
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for FreshCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FreshCode").field("text_id", &self.text_id).finish_non_exhaustive()
    }
}
