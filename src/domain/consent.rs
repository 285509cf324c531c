//! Consents: what a customer agreed to, purpose by purpose and channel by channel.
//!
//! The truth is a ledger. Each grant and each withdrawal is an [`Entry`], numbered per customer
//! without a gap, and never changed. [`Consents`] holds the newest entry of each purpose and
//! channel, and all else follows from it: whether a customer accepts marketing is
//! [`Consents::accepts_marketing`], and nothing else decides it.

use super::command::{Actor, Needs};
use super::fault::Fault;
use super::place::Locale;
use super::text::never_printed;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a consent is given for, by the name it has in the configuration.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[a-z][a-z0-9_-]{0,31}$"))]
pub struct Purpose(String);

impl Purpose {
    /// Most bytes of a name.
    pub const MAX: usize = 32;

    /// Advertising: the one purpose that is always there, because `accepts_marketing` tells it.
    pub const MARKETING: &str = "marketing";

    /// # Errors
    /// `invalid_purpose` unless 1 to 32 of `a-z 0-9 _ -`, beginning with a letter.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let sound = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let begins = raw.starts_with(|first: char| first.is_ascii_lowercase());
        if begins && raw.len() <= Self::MAX && raw.bytes().all(sound) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Fault::new("invalid_purpose", "must be 1 to 32 of a-z, 0-9, _ and -"))
        }
    }

    pub fn marketing() -> Self {
        Self(Self::MARKETING.to_owned())
    }

    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By which way a consent may be made use of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// In a request: every channel of the purpose. In an entry: a purpose that knows no channels.
    All,
    Email,
    Sms,
    Push,
}

impl Channel {
    pub const ALL: [Self; 4] = [Self::All, Self::Email, Self::Sms, Self::Push];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Push => "push",
        }
    }

    /// The channel of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == name)
    }
}

/// Which wording a customer agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[A-Za-z0-9._-]{1,32}$"))]
pub struct TextVersion(String);

impl TextVersion {
    /// Most bytes of it.
    pub const MAX: usize = 32;

    /// # Errors
    /// `invalid_version` unless 1 to 32 of `A-Z a-z 0-9 . _ -`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=Self::MAX).contains(&raw.len()) && raw.bytes().all(sound) {
            Ok(Self(raw.to_owned()))
        } else {
            let detail = "must be 1 to 32 of letters, digits, dot, _ and -";
            Err(Fault::new("invalid_version", detail))
        }
    }

    pub fn from_stored(version: String) -> Self {
        Self(version)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the proof of an entry is kept, in a few signs: the number of a form, a recording. It tells
/// no story, and goes into no message.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference(String);

never_printed!(Reference);

impl Reference {
    /// Most bytes of it.
    pub const MAX: usize = 100;

    /// # Errors
    /// `invalid_reference` unless 1 to 100 of `A-Z a-z 0-9 . _ : / -`: no room for sentences, and
    /// none for addresses.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if (1..=Self::MAX).contains(&raw.len()) && raw.bytes().all(sound) {
            Ok(Self(raw.to_owned()))
        } else {
            let detail = "must be 1 to 100 of letters, digits, dot, _, :, / and -";
            Err(Fault::new("invalid_reference", detail))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By which door an entry came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum Source {
    /// The customer, signed in.
    SelfService,
    /// Staff, or a service with a key of its own.
    Staff,
    /// The customer, on becoming one.
    Registration,
    /// Brought along from another system.
    Import,
    /// Two customers became one.
    Merge,
}

impl Source {
    pub const ALL: [Self; 5] =
        [Self::SelfService, Self::Staff, Self::Registration, Self::Import, Self::Merge];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SelfService => "self_service",
            Self::Staff => "staff",
            Self::Registration => "registration",
            Self::Import => "import",
            Self::Merge => "merge",
        }
    }

    /// The source of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }

    /// Where what this actor says comes from.
    pub fn of(actor: &Actor) -> Self {
        match actor {
            Actor::Customer(_) => Self::SelfService,
            Actor::Staff(_) | Actor::Operator | Actor::Service => Self::Staff,
            Actor::Anonymous => Self::Registration,
        }
    }
}

/// What the shop asks consent for a purpose by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Whether it is asked for at present. What is not may still be withdrawn.
    pub offered: bool,
    /// The wording in use: a grant must name it.
    pub text_version: TextVersion,
    /// Never empty: [`Channel::All`] alone for a purpose that knows no channels.
    pub channels: Vec<Channel>,
}

/// What `accepts_marketing = true` grants: these channels, by this wording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketingTerms {
    pub text_version: TextVersion,
    pub channels: Vec<Channel>,
}

/// A wish of `accepts_marketing`, with what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketingWish {
    pub accepts: bool,
    pub terms: MarketingTerms,
}

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Will {
    Grant {
        text_version: TextVersion,
        /// In which language the wording was read; `None`: the customer's own.
        locale: Option<Locale>,
    },
    Withdraw,
}

/// A grant or a withdrawal that is asked for.
#[derive(Debug, Clone)]
pub struct ConsentCommand {
    pub purpose: Purpose,
    /// `None`: no purpose is configured by this name, perhaps no more.
    pub terms: Option<Terms>,
    /// [`Channel::All`]: every one.
    pub channel: Channel,
    pub will: Will,
    pub reference: Option<Reference>,
    /// Of [`Consents::version`].
    pub if_match: Option<i64>,
}

impl ConsentCommand {
    /// What deciding reads: the newest entries, and the language that the customer reads.
    pub fn needs() -> Needs {
        Needs { consents: true, preferences: true, ..Needs::default() }
    }
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, per customer, without a gap.
    pub number: i64,
    pub purpose: Purpose,
    pub channel: Channel,
    /// `false`: withdrawn, or refused before it was ever given.
    pub granted: bool,
    /// Of a grant.
    pub text_version: Option<TextVersion>,
    /// Of a grant.
    pub locale: Option<Locale>,
    pub source: Source,
    pub reference: Option<Reference>,
    /// Never before that of the entry before it.
    pub at: DateTime<Utc>,
}

/// What holds for a purpose and a channel: the newest entry's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    pub granted: bool,
    pub text_version: Option<TextVersion>,
    pub locale: Option<Locale>,
    pub source: Source,
    /// The number of the entry.
    pub number: i64,
    pub at: DateTime<Utc>,
}

/// What holds for one customer, or held at some instant. Where there is nothing, nothing was ever
/// said, which is no consent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consents(BTreeMap<Purpose, BTreeMap<Channel, Consent>>);

impl Consents {
    /// Puts back what was stored.
    pub fn put(&mut self, purpose: Purpose, channel: Channel, consent: Consent) {
        self.0.entry(purpose).or_default().insert(channel, consent);
    }

    /// What holds once this entry is written.
    pub fn record(&mut self, entry: &Entry) {
        let consent = Consent {
            granted: entry.granted,
            text_version: entry.text_version.clone(),
            locale: entry.locale.clone(),
            source: entry.source,
            number: entry.number,
            at: entry.at,
        };
        self.put(entry.purpose.clone(), entry.channel, consent);
    }

    /// Of one purpose and channel.
    pub fn get(&self, purpose: &Purpose, channel: Channel) -> Option<&Consent> {
        self.0.get(purpose)?.get(&channel)
    }

    /// Of one purpose, channel by channel.
    pub fn of(&self, purpose: &Purpose) -> impl Iterator<Item = (Channel, &Consent)> {
        self.0.get(purpose).into_iter().flatten().map(|(channel, consent)| (*channel, consent))
    }

    /// Of everything that something was said about.
    pub fn all(&self) -> impl Iterator<Item = (&Purpose, Channel, &Consent)> {
        self.0.iter().flat_map(|(purpose, of)| {
            of.iter().map(move |(channel, consent)| (purpose, *channel, consent))
        })
    }

    /// Whether advertising may be sent: by at least one channel.
    pub fn accepts_marketing(&self) -> bool {
        self.of(&Purpose::marketing()).any(|(_, consent)| consent.granted)
    }

    /// How many entries the ledger has: the next one's number is one more.
    pub fn entries(&self) -> i64 {
        self.all().map(|(_, _, consent)| consent.number).max().unwrap_or(0)
    }

    /// When the newest entry was written.
    pub fn latest(&self) -> Option<DateTime<Utc>> {
        self.all().map(|(_, _, consent)| consent.at).max()
    }

    /// Rises with each entry of a purpose; 0 where there is none. The purpose's ETag.
    pub fn version(&self, purpose: &Purpose) -> i64 {
        self.of(purpose).map(|(_, consent)| consent.number).max().unwrap_or(0)
    }
}

/// What an answer tells of one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurposeConsents {
    pub purpose: Purpose,
    pub channels: Vec<(Channel, Consent)>,
}

impl PurposeConsents {
    pub fn of(consents: &Consents, purpose: &Purpose) -> Self {
        let channels = consents.of(purpose).map(|(channel, consent)| (channel, consent.clone()));
        Self { purpose: purpose.clone(), channels: channels.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_and_references_are_plain() {
        for sound in ["marketing", "a", "web-push_2"] {
            assert_eq!(Purpose::parse(sound).unwrap().as_str(), sound);
        }
        for refused in ["", "Marketing", "2x", "-x", "a b", "é", &"x".repeat(33)] {
            assert_eq!(Purpose::parse(refused).unwrap_err().code, "invalid_purpose", "{refused}");
        }
        assert_eq!(TextVersion::parse("2026-11.b_2").unwrap().as_str(), "2026-11.b_2");
        for refused in ["", "a b", "1/2", &"1".repeat(33)] {
            assert_eq!(TextVersion::parse(refused).unwrap_err().code, "invalid_version");
        }
        assert_eq!(Reference::parse("form:2026/117").unwrap().as_str(), "form:2026/117");
        for refused in ["", "he said so", "anh@example.org", "+84912", &"x".repeat(101)] {
            assert_eq!(Reference::parse(refused).unwrap_err().code, "invalid_reference");
        }
        assert!(!format!("{:?}", Reference::parse("Zform").unwrap()).contains("Zform"));
    }

    #[test]
    fn words_are_read_back() {
        for channel in Channel::ALL {
            assert_eq!(Channel::parse(channel.as_str()), Some(channel));
        }
        for source in Source::ALL {
            assert_eq!(Source::parse(source.as_str()), Some(source));
        }
        assert_eq!((Channel::parse("fax"), Source::parse("rumour")), (None, None));
    }
}
