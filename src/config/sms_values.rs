//! The types that only the settings of text messages have: ways out, statuses of HTTP, countries.

use super::choices::choice;
use super::values::{ListItem, Raw, Setting, Wrong, wrong};

choice! {
    /// The way a text message leaves the service.
    SmsTransport {
        /// One `.json` file a message, in `sms.folder`.
        Files = "files",
        /// Through the gateway at `sms.url`.
        Http = "http",
        /// It does not: messages are written off as sent. For load tests.
        None = "none",
    }
}

/// A status of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpStatus(pub u16);

impl ListItem for HttpStatus {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        let status = text.parse().ok().filter(|status| (200..600).contains(status));
        status.map(Self).ok_or_else(|| Wrong {
            wrong: format!("contains \"{text}\", which is no status of an answer"),
            fix: "write statuses from \"200\" to \"599\"".to_owned(),
        })
    }

    fn show_item(&self) -> String {
        self.0.to_string()
    }
}

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Country(String);

impl Country {
    /// `VN`.
    pub fn code(&self) -> &str {
        &self.0
    }
}

impl ListItem for Country {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        let known = text.len() == 2 && rust_iso3166::from_alpha2(text).is_some();
        if known {
            Ok(Self(text.to_owned()))
        } else {
            Err(Wrong {
                wrong: format!("contains \"{text}\", which is no country"),
                fix: "write codes of ISO 3166-1 with two capital letters, like VN".to_owned(),
            })
        }
    }

    fn show_item(&self) -> String {
        self.0.clone()
    }
}
