//! Sessions (rule A7): one signed-in device, its rotating refresh token, and the devices that are
//! known from an earlier sign-in (rule A4).

use super::ids::{DeviceId, SessionId};
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// SHA-256 of a secret; the only form in which one is stored.
pub type SecretHash = [u8; 32];

/// Most live sessions of one customer; the one seen longest ago makes room.
pub const SESSIONS_MAX: usize = 50;

/// Most known devices of one customer; the one used longest ago makes room.
pub const DEVICES_MAX: usize = 50;

/// How long refresh tokens live and how long a lost answer may be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// Life of a refresh token from its issue (30 days).
    pub sliding: TimeDelta,
    /// Life of a session from its sign-in (180 days).
    pub absolute: TimeDelta,
    /// How long a rotated token still yields the same child (10 s).
    pub reuse_grace: TimeDelta,
}

/// Who holds the device, as far as it says.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    pub address: Option<IpAddr>,
}

/// Personal: never printed.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(..)")
    }
}

/// How the owner of a session proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum SignInMethod {
    Password,
    EmailVerification,
    /// A passkey that verified its user: two factors in one.
    Passkey,
    /// An identity provider's word.
    Social,
}

impl SignInMethod {
    pub const ALL: [Self; 4] =
        [Self::Password, Self::EmailVerification, Self::Passkey, Self::Social];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::EmailVerification => "email_verification",
            Self::Passkey => "passkey",
            Self::Social => "social",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

/// What was shown after the first factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum SecondFactor {
    Totp,
    BackupCode,
    Passkey,
}

impl SecondFactor {
    pub const ALL: [Self; 3] = [Self::Totp, Self::BackupCode, Self::Passkey];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::BackupCode => "backup_code",
            Self::Passkey => "passkey",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.as_str() == text)
    }
}

/// All that was shown to open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedInBy {
    pub method: SignInMethod,
    pub second_factor: Option<SecondFactor>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub method: SignInMethod,
    #[serde(default)]
    pub second_factor: Option<SecondFactor>,
    pub client: Client,
    pub device_id: Option<DeviceId>,
    /// Hash of the refresh token that is good now.
    pub refresh_hash: SecretHash,
    /// Number of the token that is good now; the first is 0.
    pub generation: i32,
    /// Hash of the token before it, good for the grace period after `rotated_at`.
    pub previous_hash: Option<SecretHash>,
    pub rotated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub absolute_expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Holds hashes of its tokens: printed without them.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("second_factor", &self.second_factor)
            .field("generation", &self.generation)
            .field("created_at", &self.created_at)
            .field("expires_at", &self.expires_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// How many kinds of factor were shown to open it: 1 or 2. A passkey that verified its user is
    /// something held and something known or grown.
    pub fn assurance(&self) -> u8 {
        match (self.method, self.second_factor) {
            (SignInMethod::Passkey, _) | (_, Some(_)) => 2,
            _ => 1,
        }
    }

    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && now < self.absolute_expires_at
    }
}

/// Why a session ended, told in `customer.session_revoked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum RevocationReason {
    SignedOut,
    RevokedByOwner,
    RevokedByStaff,
    RefreshReused,
    StatusChanged,
    TooManySessions,
    PasswordChanged,
    EmailChanged,
    FactorsReset,
    CustomerDeleted,
}

impl RevocationReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::RevokedByOwner => "revoked_by_owner",
            Self::RevokedByStaff => "revoked_by_staff",
            Self::RefreshReused => "refresh_reused",
            Self::StatusChanged => "status_changed",
            Self::TooManySessions => "too_many_sessions",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
            Self::FactorsReset => "factors_reset",
            Self::CustomerDeleted => "customer_deleted",
        }
    }
}

/// A device that has signed in before and keeps a secret of its own.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub id: DeviceId,
    pub secret_hash: SecretHash,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
}

/// Printed without the hash of its secret.
impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("last_used_at", &self.last_used_at)
            .finish_non_exhaustive()
    }
}
