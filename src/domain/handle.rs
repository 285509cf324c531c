//! Handles: what a customer is found by and nobody else may have (rule L5). They have a table of
//! their own, keyed by the handle, so that uniqueness survives a distribution by customer.

use super::email::EmailAddress;
use super::phone::PhoneNumber;
use chrono::TimeDelta;

/// How long an address that was given up stays its owner's: as long as the change can be undone.
pub const ADDRESS_HELD: TimeDelta = TimeDelta::hours(72);

/// What kind of handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HandleKind {
    Email,
    /// A verified number.
    Phone,
    /// The account at an identity provider, by the provider's configured name.
    Social(String),
}

impl HandleKind {
    /// The name under which handles of this kind are stored.
    pub fn name(&self) -> String {
        match self {
            Self::Email => "email".to_owned(),
            Self::Phone => "phone".to_owned(),
            Self::Social(provider) => format!("social:{provider}"),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "email" => Some(Self::Email),
            "phone" => Some(Self::Phone),
            other => {
                other.strip_prefix("social:").map(|provider| Self::Social(provider.to_owned()))
            }
        }
    }
}

/// One handle in the form to compare by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle {
    pub kind: HandleKind,
    pub value: String,
}

/// Personal: printed without its value.
impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Handle {
    pub fn email(address: &EmailAddress) -> Self {
        Self { kind: HandleKind::Email, value: address.canonical().to_owned() }
    }

    pub fn phone(number: &PhoneNumber) -> Self {
        Self { kind: HandleKind::Phone, value: number.as_str().to_owned() }
    }

    pub fn social(provider: &str, subject: &str) -> Self {
        Self { kind: HandleKind::Social(provider.to_owned()), value: subject.to_owned() }
    }
}
