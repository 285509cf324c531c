//! Mails to customers: rendered from embedded templates in the customer's language and sent, by a
//! worker and never by a request, through one of four transports.
//!
//! Sending is at least once and recognisable: the same [`Mail`] sent twice is one file, or one
//! `Message-ID`, or one message id. Faults never tell the recipient's address.

mod kind;
mod render;
mod transport;

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use kind::MailKind;
pub use render::{Language, RenderedMail, render};
pub use transport::{COMMAND, Settings, SetupFault, Transport};

/// Values for a template, by name. See [`MailKind`] for what each kind needs.
pub type Values = Map<String, Value>;

/// One mail to send.
#[derive(Clone)]
pub struct Mail {
    /// Identifies the mail over all attempts.
    pub id: Uuid,
    /// The recipient's bare address.
    pub to: String,
    pub kind: MailKind,
    /// BCP 47, for example `vi-VN`.
    pub locale: String,
    pub values: Values,
    /// When it was asked for; the `Date` of every attempt.
    pub created_at: DateTime<Utc>,
}

/// Address and values (they hold single-use links) stay out of logs.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why a mail was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailFault {
    /// Who should take it is away or takes no mail at all: this mail has not been judged, so it
    /// has spent no try.
    #[error("the mail was not sent yet: {0}")]
    Unreachable(String),
    /// Refused for now, worth another try later.
    #[error("the mail was not sent yet: {0}")]
    Transient(String),
    /// This mail can never be sent as it is.
    #[error("the mail cannot be sent: {0}")]
    Permanent(String),
}
