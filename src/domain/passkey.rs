//! Passkeys: what is kept of one, and when its counter tells that there may be two of it.

use super::command::FreshSession;
use super::ids::{CustomerId, MailId, PasskeyId};
use super::proof::Proof;
use super::session::SecretHash;
use super::text::Label;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// One passkey.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Passkey {
    pub id: PasskeyId,
    /// The authenticator's name for it; unique among all customers.
    pub credential_id: Vec<u8>,
    /// The name under which the authenticator keeps its owner.
    pub user_handle: Uuid,
    /// The public key and what else verifying needs; nothing is decided by it.
    pub credential: Value,
    /// Signatures that the authenticator counted so far; 0 where it does not count.
    pub counter: u32,
    pub name: Label,
    /// Asked for after a password. Any passkey may answer once a second factor is asked for; this
    /// one is why it is.
    pub second_factor: bool,
    /// May leave its device, by synchronisation or backup.
    pub backup_eligible: bool,
    pub backed_up: bool,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub version: i64,
}

/// Its name is its owner's: printed without it.
impl std::fmt::Debug for Passkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passkey")
            .field("id", &self.id)
            .field("counter", &self.counter)
            .field("second_factor", &self.second_factor)
            .field("backed_up", &self.backed_up)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A signature that was verified outside by the public key of this passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    pub passkey: PasskeyId,
    pub counter: u32,
    pub backed_up: bool,
}

impl Passkey {
    /// The name of a passkey whose owner gave it none.
    pub const UNNAMED: &str = "Passkey";

    /// Whether a signature with this count can be the next one (WebAuthn Level 3, 6.1.1). Where one
    /// of the two counts, the count must rise; else two copies of the key may be in use.
    pub fn may_follow(&self, counter: u32) -> bool {
        counter > self.counter || (counter == 0 && self.counter == 0)
    }

    /// The name under which authenticators keep a customer. Opaque: nobody's name or address.
    pub fn handle_of(customer: CustomerId) -> Uuid {
        customer.0
    }
}

// --- what is asked for ------------------------------------------------------------------------

/// A passkey that its authenticator has proven to hold.
#[derive(Debug, Clone)]
pub struct AddPasskey {
    /// Of the challenge that it answered.
    pub flow: SecretHash,
    pub passkey: Passkey,
    pub mail_id: MailId,
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub struct PasskeyChange {
    pub id: PasskeyId,
    pub name: Option<Label>,
    /// Whether it is asked for after a password; only with a proof.
    pub second_factor: Option<bool>,
    pub proof: Option<Proof>,
    pub mail_id: MailId,
    pub if_match: Option<i64>,
}

/// A sign-in by nothing but a passkey; what it proves is still to be judged.
#[derive(Debug, Clone)]
pub struct SignInByPasskey {
    /// Of the challenge that it answers.
    pub flow: SecretHash,
    pub proof: Proof,
    pub session: FreshSession,
}
