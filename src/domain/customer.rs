//! The customer itself: what identifies it, what it is called, where it stands.

use super::email::EmailAddress;
use super::fault::Fault;
use super::ids::CustomerId;
use super::phone::PhoneNumber;
use super::status::Status;
use super::text::{Label, PersonName, line, never_printed};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the customer buys as a person or as a company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerType {
    Individual,
    Business,
}

impl CustomerType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Business => "business",
        }
    }

    /// # Errors
    /// `unknown_value`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "individual" => Ok(Self::Individual),
            "business" => Ok(Self::Business),
            _ => Err(Fault::new("unknown_value", "must be individual or business")),
        }
    }
}

/// The code of a row of `customer_groups` (rule L6).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[a-z0-9_-]{1,64}$"))]
pub struct GroupCode(String);

impl GroupCode {
    /// # Errors
    /// `invalid_group` unless 1–64 of `a-z 0-9 _ -`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let ok = (1..=64).contains(&raw.len())
            && raw
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if ok {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Fault::new("invalid_group", "must be 1 to 64 of a-z, 0-9, _ and -"))
        }
    }

    pub fn from_stored(code: String) -> Self {
        Self(code)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tags of a customer: sorted, without doubles, at most [`Tags::MAX`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(Vec<String>);

never_printed!(Tags);

impl Tags {
    pub const MAX: usize = 50;

    /// # Errors
    /// `too_many`, or those of [`line`] for a tag.
    pub fn parse(raw: &[String]) -> Result<Self, Fault> {
        if raw.len() > Self::MAX {
            return Err(Fault::new("too_many", format!("must have at most {} tags", Self::MAX)));
        }
        let mut tags =
            raw.iter().map(|tag| line(tag, Label::MAX)).collect::<Result<Vec<_>, _>>()?;
        tags.sort();
        tags.dedup();
        Ok(Self(tags))
    }

    pub fn from_stored(tags: Vec<String>) -> Self {
        Self(tags)
    }

    /// These and one more, which may be one too many.
    #[must_use]
    pub fn with(&self, tag: &Label) -> Self {
        let mut tags = self.clone();
        if let Err(place) = tags.0.binary_search_by(|known| known.as_str().cmp(tag.as_str())) {
            tags.0.insert(place, tag.as_str().to_owned());
        }
        tags
    }

    /// These and those, which may be too many.
    #[must_use]
    pub fn and(&self, those: &Self) -> Self {
        let mut tags = [self.as_slice(), those.as_slice()].concat();
        tags.sort();
        tags.dedup();
        Self(tags)
    }

    /// These but one.
    #[must_use]
    pub fn without(&self, tag: &Label) -> Self {
        Self(self.0.iter().filter(|known| *known != tag.as_str()).cloned().collect())
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// One tag more or less, whatever the others are.
#[derive(Debug, Clone)]
pub enum TagCommand {
    Add {
        tag: Label,
    },
    Remove {
        tag: Label,
        /// A version of the customer.
        if_match: Option<i64>,
    },
}

/// The row that everything of a customer hangs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    pub id: CustomerId,
    pub email: EmailAddress,
    pub email_verified_at: Option<DateTime<Utc>>,
    pub phone: Option<PhoneNumber>,
    pub phone_verified_at: Option<DateTime<Utc>>,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub customer_type: CustomerType,
    pub group: GroupCode,
    pub status: Status,
    /// What cancelling a scheduled deletion restores.
    pub status_before_deletion: Option<Status>,
    pub tags: Tags,
    pub accepts_marketing: bool,
    pub last_sign_in_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises by one with each change of the customer, its profile or its preferences; the ETag.
    pub version: i64,
    /// Messages written for this customer so far: the next one is numbered `sequence + 1`.
    pub sequence: i64,
}
