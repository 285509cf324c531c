//! A text message as a decision: what to say to whom. Like a mail it is a row of the transaction,
//! and a worker writes and sends it. It names no number: that of the open confirmation which names
//! the message is read when it is sent, so a voided message has nowhere to go.

use super::ids::{CustomerId, TextMessageId};
use super::place::Locale;
use chrono::{DateTime, Utc};

/// Which message, with what only that message needs.
#[derive(Clone, PartialEq, Eq)]
pub enum TextBody {
    /// The code that confirms a phone number.
    PhoneCode { nonce: [u8; 32] },
}

/// Printed by its name alone: a code is derived from the rest.
impl std::fmt::Debug for TextBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl TextBody {
    /// The name under which a message is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PhoneCode { .. } => "phone_code",
        }
    }

    /// What the code in it is derived from.
    pub fn nonce(&self) -> [u8; 32] {
        match self {
            Self::PhoneCode { nonce } => *nonce,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextMessage {
    pub id: TextMessageId,
    pub customer_id: CustomerId,
    pub body: TextBody,
    pub locale: Locale,
    /// From then on it is not worth sending.
    pub expires_at: DateTime<Utc>,
}
