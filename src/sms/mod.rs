//! Text messages to customers: written in the customer's language, short enough for one segment,
//! and sent, by a worker and never by a request, through a [`Gateway`].
//!
//! Sending is at least once and recognisable: the same [`TextMessage`] sent twice is one file, or
//! one idempotency key. Faults never tell the recipient's number, nor what the message said.

mod files;
mod http;
mod text;

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use uuid::Uuid;

pub use http::HttpSettings;
pub use text::{CodeText, segments};

/// One text message to send.
#[derive(Clone)]
pub struct TextMessage {
    /// Identifies the message over all attempts.
    pub id: Uuid,
    /// The recipient's number in E.164.
    pub to: String,
    pub text: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

/// Number and text (it holds a code) stay out of logs.
impl fmt::Debug for TextMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextMessage").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a text message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Who should take it is away or takes nothing from us: this message has not been judged, so
    /// it has spent no try.
    #[error("the text message was not sent yet: {0}")]
    Unreachable(String),
    /// Refused for now, worth another try in a moment.
    #[error("the text message was not sent yet: {0}")]
    Transient(String),
    /// This message can never be sent as it is.
    #[error("the text message cannot be sent: {0}")]
    Permanent(String),
}

/// Whoever carries text messages to phones.
pub trait Gateway: Send + Sync {
    /// Hands one message over; handing the same message over again is harmless.
    ///
    /// # Errors
    /// [`TextFault::Unreachable`] and [`TextFault::Transient`] to try again, where only the latter
    /// counts as a try; [`TextFault::Permanent`] to give up.
    fn send<'a>(&'a self, message: &'a TextMessage) -> BoxFuture<'a, Result<(), TextFault>>;
}

/// How text messages leave, as configured.
#[derive(Clone, Debug)]
pub enum Settings {
    /// One `.json` file per message, for development.
    Files { folder: PathBuf },
    /// A gateway that takes messages over HTTP.
    Http(Box<HttpSettings>),
    /// Messages are dropped: for load tests.
    None,
}

/// The settings do not fit.
#[derive(Debug, thiserror::Error)]
pub enum SetupFault {
    #[error("sms.authorization with sms.secret in it is no value of a header")]
    Authorization,
    #[error("sms.id_header is no name of a header")]
    IdHeader,
    #[error("the HTTP client for text messages cannot be made: {0}")]
    Client(String),
}

/// The gateway of these settings; nothing is connected yet.
///
/// # Errors
/// A [`SetupFault`].
pub fn gateway(settings: Settings) -> Result<Box<dyn Gateway>, SetupFault> {
    Ok(match settings {
        Settings::Files { folder } => Box::new(files::Files::new(folder)),
        Settings::Http(settings) => Box::new(http::HttpGateway::new(*settings)?),
        Settings::None => Box::new(Nowhere),
    })
}

/// Drops everything.
struct Nowhere;

impl Gateway for Nowhere {
    fn send<'a>(&'a self, _message: &'a TextMessage) -> BoxFuture<'a, Result<(), TextFault>> {
        Box::pin(async { Ok(()) })
    }
}
