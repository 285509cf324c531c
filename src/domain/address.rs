//! One address of a customer's book, and the two kinds of default (rule D1).

use super::customer::CustomerType;
use super::fault::Fault;
use super::ids::AddressId;
use super::phone::PhoneNumber;
use super::place::Country;
use super::region::RegionCode;
use super::text::{Label, Line, never_printed};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a default address is the default for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    Shipping,
    Billing,
}

impl AddressKind {
    pub const ALL: [AddressKind; 2] = [Self::Shipping, Self::Billing];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shipping => "shipping",
            Self::Billing => "billing",
        }
    }

    /// # Errors
    /// `unknown_value`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == raw)
            .ok_or_else(|| Fault::new("unknown_value", "must be shipping or billing"))
    }
}

/// What is written on the parcel.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AddressFields {
    pub label: Option<Label>,
    pub recipient: Line,
    pub company: Option<Line>,
    pub line1: Line,
    pub line2: Option<Line>,
    pub city: Line,
    /// As its owner wrote it.
    pub region: Option<Line>,
    /// What that is by ISO 3166-2, where it is known.
    pub region_code: Option<RegionCode>,
    pub postal_code: Option<String>,
    pub country: Country,
    pub phone: Option<PhoneNumber>,
}

never_printed!(AddressFields);

/// How many addresses a book may have, by whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressLimits {
    pub individual: usize,
    pub business: usize,
}

impl AddressLimits {
    pub fn of(self, kind: CustomerType) -> usize {
        match kind {
            CustomerType::Individual => self.individual,
            CustomerType::Business => self.business,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub id: AddressId,
    pub fields: AddressFields,
    pub default_shipping: bool,
    pub default_billing: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// When it last was created, changed or made a default: who inherits a deleted default.
    pub last_used_at: DateTime<Utc>,
    /// Rises by one with each change, the defaults included.
    pub version: i64,
}

impl Address {
    pub fn is_default(&self, kind: AddressKind) -> bool {
        match kind {
            AddressKind::Shipping => self.default_shipping,
            AddressKind::Billing => self.default_billing,
        }
    }

    pub(super) fn set_default(&mut self, kind: AddressKind, to: bool) {
        match kind {
            AddressKind::Shipping => self.default_shipping = to,
            AddressKind::Billing => self.default_billing = to,
        }
    }
}
