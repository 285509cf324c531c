//! One-time tokens (rule A8): bound to a purpose, used once, void when a newer one is issued.

use super::email::EmailAddress;
use super::session::SecretHash;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a token may be used for, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
    /// Confirms a new address, from a mail to it.
    ChangeEmail,
    /// Takes back a change of address, from a mail to the old one.
    UndoEmailChange,
}

impl Purpose {
    pub const ALL: [Purpose; 4] =
        [Self::VerifyEmail, Self::ResetPassword, Self::ChangeEmail, Self::UndoEmailChange];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::UndoEmailChange => "undo_email_change",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OneTimeToken {
    pub hash: SecretHash,
    pub purpose: Purpose,
    /// The password that came with the registration which sent this token: whoever confirms by it
    /// gets the password of that registration, not of somebody else's earlier one.
    pub password_hash: Option<String>,
    /// The address that it is about: the new one to confirm, the old one to bring back, the one
    /// that a link to a new password was sent to. Of no other purpose.
    pub email: Option<EmailAddress>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub voided_at: Option<DateTime<Utc>>,
}

/// Holds a secret: printed without it.
impl std::fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimeToken")
            .field("purpose", &self.purpose)
            .field("expires_at", &self.expires_at)
            .field("used_at", &self.used_at)
            .field("voided_at", &self.voided_at)
            .finish_non_exhaustive()
    }
}

impl OneTimeToken {
    pub fn is_usable(&self, purpose: Purpose, now: DateTime<Utc>) -> bool {
        self.purpose == purpose
            && self.used_at.is_none()
            && self.voided_at.is_none()
            && now < self.expires_at
    }
}

/// A token about to be issued. The clear token is never here: the mailer derives it from `nonce`
/// and a key that the database does not hold.
#[derive(Clone, PartialEq, Eq)]
pub struct FreshToken {
    pub nonce: [u8; 32],
    pub hash: SecretHash,
    pub expires_at: DateTime<Utc>,
}

/// Holds what its token is derived from: printed without it.
impl std::fmt::Debug for FreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FreshToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
