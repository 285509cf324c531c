//! Ceremonies that a client begins here and finishes later: the second step of a sign-in, a
//! passkey's challenge, the way to an identity provider and back. Each is finished once, in time,
//! and only as what it was begun for.

use super::ids::CustomerId;
use super::session::SecretHash;
use chrono::{DateTime, Utc};

/// What a flow may be finished as, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// The first factor of a sign-in was right; the second is asked for.
    SecondFactor,
    /// The challenge of a sign-in by passkey; whose is not known yet.
    PasskeySignIn,
    /// The challenge of a new passkey.
    PasskeyRegistration,
    /// The way to an identity provider and back.
    Social,
    /// Not a ceremony: a proof made elsewhere that was presented and must not be again.
    Spent,
}

impl FlowKind {
    pub const ALL: [Self; 5] = [
        Self::SecondFactor,
        Self::PasskeySignIn,
        Self::PasskeyRegistration,
        Self::Social,
        Self::Spent,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecondFactor => "second_factor",
            Self::PasskeySignIn => "passkey_sign_in",
            Self::PasskeyRegistration => "passkey_registration",
            Self::Social => "social",
            Self::Spent => "spent",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One flow.
#[derive(Clone, PartialEq)]
pub struct Flow {
    /// Of the token that its holder finishes it with.
    pub hash: SecretHash,
    pub kind: FlowKind,
    /// Whose, where that is known from the beginning.
    pub customer_id: Option<CustomerId>,
    /// What the service needs to finish it, sealed; nothing is decided by it.
    pub payload: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// Wrong tries to finish it.
    pub failures: i32,
    /// When it was finished or given up.
    pub used_at: Option<DateTime<Utc>>,
}

/// Holds a secret: printed without it.
impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("kind", &self.kind)
            .field("customer_id", &self.customer_id)
            .field("expires_at", &self.expires_at)
            .field("failures", &self.failures)
            .field("used_at", &self.used_at)
            .finish_non_exhaustive()
    }
}

impl Flow {
    pub fn is_usable(&self, kind: FlowKind, now: DateTime<Utc>) -> bool {
        self.kind == kind && self.used_at.is_none() && now < self.expires_at
    }
}
