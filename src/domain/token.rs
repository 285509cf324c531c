//! One-time tokens (rule A8): bound to a purpose, used once, void when a newer one is issued.

use super::session::SecretHash;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a token may be used for, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    VerifyEmail,
}

impl Purpose {
    pub const ALL: [Purpose; 1] = [Self::VerifyEmail];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneTimeToken {
    pub hash: SecretHash,
    pub purpose: Purpose,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub voided_at: Option<DateTime<Utc>>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshToken {
    pub nonce: [u8; 32],
    pub hash: SecretHash,
    pub expires_at: DateTime<Utc>,
}
