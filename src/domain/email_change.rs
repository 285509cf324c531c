//! The commands by which an e-mail address becomes another one.

use super::command::Needs;
use super::email::EmailAddress;
use super::ids::MailId;
use super::proof::Proof;
use super::session::SecretHash;
use super::token::FreshToken;
use chrono::TimeDelta;

/// Another address for who is signed in; it takes effect when it is confirmed.
#[derive(Debug, Clone)]
pub struct RequestEmailChange {
    pub proof: Proof,
    pub email: EmailAddress,
    /// What the new address is written. Looked up before: who has an address is another
    /// customer's affair, and what is decided about this one must not depend on it.
    pub letter: Letter,
    pub letter_id: MailId,
    /// Of the notice to the present address.
    pub notice_id: MailId,
    pub token: FreshToken,
}

/// What a wished-for address is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// The link that confirms it.
    Confirmation,
    /// It is another customer's, who is told.
    Taken,
    /// Nothing: it was written to often enough, or another customer gave it up lately.
    None,
}

/// The link from the mail to the new address.
#[derive(Debug, Clone)]
pub struct ConfirmEmailChange {
    pub token_hash: SecretHash,
    /// Of the mail to the old address.
    pub mail_id: MailId,
    /// The way back.
    pub undo: FreshToken,
}

/// The link from the mail to the old address.
#[derive(Debug, Clone)]
pub struct UndoEmailChange {
    pub token_hash: SecretHash,
    pub mail_id: MailId,
    /// The link to a new password.
    pub reset: FreshToken,
    /// How long before its confirmation the change may have begun: the life of the link that
    /// confirmed it.
    pub reach: TimeDelta,
}

impl RequestEmailChange {
    /// What deciding reads.
    pub fn needs(&self) -> Needs {
        Needs { tokens: true, preferences: true, ..Needs::default() }.and(self.proof.needs())
    }
}

impl ConfirmEmailChange {
    /// What deciding reads.
    pub fn needs() -> Needs {
        Needs { tokens: true, preferences: true, handles: true, ..Needs::default() }
    }
}

impl UndoEmailChange {
    /// What deciding reads.
    pub fn needs() -> Needs {
        Needs {
            password: true,
            sessions: true,
            devices: true,
            factors: true,
            passkeys: true,
            identities: true,
            ..ConfirmEmailChange::needs()
        }
    }
}
