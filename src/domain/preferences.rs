//! How a customer wants to be spoken to: language, zone, currency, channels, topics.

use super::fault::Fault;
use super::place::{Currency, Locale, TimeZone};
use super::text::{Label, line, never_printed};
use serde::{Deserialize, Serialize};

/// By which ways a customer may be contacted for what is not strictly necessary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    pub email: bool,
    pub sms: bool,
    pub push: bool,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Preferences {
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
    pub channels: Channels,
    pub topics: Topics,
    /// Custom attributes by key, each as its definition says.
    pub custom: serde_json::Map<String, serde_json::Value>,
    /// Rises by one with each change.
    pub version: i64,
}

/// Personal: never printed.
impl std::fmt::Debug for Preferences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preferences").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Topics a customer follows: sorted, without doubles, at most [`Topics::MAX`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topics(Vec<String>);

never_printed!(Topics);

impl Topics {
    pub const MAX: usize = 50;

    /// # Errors
    /// `too_many`, or those of [`line`] for a topic.
    pub fn parse(raw: &[String]) -> Result<Self, Fault> {
        if raw.len() > Self::MAX {
            return Err(Fault::new("too_many", format!("must have at most {} topics", Self::MAX)));
        }
        let mut topics =
            raw.iter().map(|topic| line(topic, Label::MAX)).collect::<Result<Vec<_>, _>>()?;
        topics.sort();
        topics.dedup();
        Ok(Self(topics))
    }

    pub fn from_stored(topics: Vec<String>) -> Self {
        Self(topics)
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}
