//! What somebody showed to prove who it is: looked at outside, where hashing and keys are, and
//! judged together with its counter in the transaction that acts on it (rule A4).

use super::command::Needs;
use super::credential::PasswordHash;
use super::ids::{ClaimId, MailId, SessionId};
use super::passkey::Asserted;
use super::second_factor::ShownCode;
use super::session::SecretHash;
use super::throttle::{Bucket, Guard};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// One proof. Made by the gate alone (`actors::gate`); a test of the repository sees to that.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A password that was verified against this hash, under a claim: hashing takes its time, and
    /// the try was claimed before it.
    Password { guard: Guard, claim: ClaimId, verified_hash: PasswordHash },
    /// A code sent to a phone, as its keyed hash for the number that waits for one.
    PhoneCode { guard: Guard, hash: SecretHash },
    /// A code of the customer's authenticator.
    Totp { guard: Guard, shown: ShownCode },
    /// A backup code, by its hash. The mail tells its owner that it was used.
    BackupCode { guard: Guard, hash: SecretHash, mail_id: MailId },
    /// A passkey's signature. `None`: it was found to be untrue. The mail is for an owner whose
    /// passkey may have been copied.
    Passkey { guard: Guard, shown: Option<Asserted>, mail_id: MailId },
    /// The session itself, for who signed in just now.
    RecentSession { session: SessionId, max_age: TimeDelta },
}

impl Proof {
    /// The bucket whose row is locked and counted in.
    pub fn bucket(&self) -> Option<Bucket> {
        match self {
            Self::Password { guard, .. }
            | Self::PhoneCode { guard, .. }
            | Self::Totp { guard, .. }
            | Self::BackupCode { guard, .. }
            | Self::Passkey { guard, .. } => Some(guard.bucket),
            Self::RecentSession { .. } => None,
        }
    }

    /// The hash that a password was verified against.
    pub fn verified_hash(&self) -> Option<&PasswordHash> {
        match self {
            Self::Password { verified_hash, .. } => Some(verified_hash),
            _ => None,
        }
    }

    /// What of the customer judging it reads.
    pub fn needs(&self) -> Needs {
        let none = Needs::default();
        match self {
            Self::Password { .. } => Needs { password: true, ..none },
            Self::PhoneCode { .. } => Needs { phone_confirmation: true, ..none },
            Self::Totp { .. } => Needs { factors: true, ..none },
            Self::BackupCode { .. } => Needs { factors: true, preferences: true, ..none },
            Self::Passkey { .. } => Needs { passkeys: true, preferences: true, ..none },
            Self::RecentSession { .. } => Needs { sessions: true, ..none },
        }
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofRefusal {
    /// It is wrong, and was counted.
    Wrong,
    /// Not looked at: there is no try before this instant.
    Locked { until: DateTime<Utc> },
    /// The credential changed between its verification and now: to be looked at anew.
    Changed,
    /// The session began too long ago to stand for its owner; another proof is needed.
    TooOld,
}
