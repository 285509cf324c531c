//! Customers that come from another system in a file: the names that a file may use, and what a
//! row asks for once every value of it was parsed by the same parsers as the API's.

pub mod fields;
pub mod row;

use super::address::{AddressFields, AddressKind, AddressLimits};
use super::command::ProfileChange;
use super::consent::MarketingTerms;
use super::credential::PasswordHash;
use super::customer::{CustomerType, GroupCode, Tags};
use super::email::EmailAddress;
use super::fault::Fault;
use super::ids::{AddressId, CustomerId, ImportId};
use super::phone::PhoneNumber;
use super::place::{Currency, Locale, TimeZone};
use super::status::Status;
use super::text::PersonName;
use chrono::{DateTime, Utc};

/// A customer as a row asks for it.
#[derive(Debug, Clone)]
pub struct ImportCustomer {
    /// A fresh id.
    pub id: CustomerId,
    pub email: EmailAddress,
    /// Whether the other system saw its owner confirm it.
    pub email_verified: bool,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub phone: Option<PhoneNumber>,
    pub customer_type: CustomerType,
    pub group: GroupCode,
    pub status: Status,
    pub tags: Tags,
    /// `Some`: advertising is accepted, by these terms.
    pub marketing: Option<MarketingTerms>,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
    /// What differs from an empty profile.
    pub profile: ProfileChange,
    pub addresses: Vec<ImportAddress>,
    /// How many may be kept.
    pub address_limits: AddressLimits,
    /// Of another system, or of this one.
    pub password_hash: Option<PasswordHash>,
    /// When it became a customer there.
    pub created_at: Option<DateTime<Utc>>,
}

/// One address of a row.
#[derive(Debug, Clone)]
pub struct ImportAddress {
    /// A fresh id.
    pub id: AddressId,
    pub fields: AddressFields,
    /// The kinds it is to be the default of; the first address becomes both anyway.
    pub defaults: Vec<AddressKind>,
}

/// What is wrong with a row: in which field, or with the row as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Our name of the field.
    pub field: Option<String>,
    pub fault: Fault,
}

impl RowFault {
    /// Of the row as a whole.
    pub fn of_row(code: &'static str, detail: impl Into<String>) -> Self {
        Self { field: None, fault: Fault::new(code, detail) }
    }

    pub fn of_field(field: impl Into<String>, fault: Fault) -> Self {
        Self { field: Some(field.into()), fault }
    }
}

/// The id under which everything that comes of a row is recorded, so that whoever reads the audit
/// trail finds the line, and whoever meets the address again the earlier one.
pub fn row_request_id(import: ImportId, line: u64) -> String {
    format!("{}{line}", row_request_ids(import))
}

/// What the ids of all rows of an import begin with.
pub fn row_request_ids(import: ImportId) -> String {
    format!("import:{import}:")
}

/// The line of a row, by the id under which it is recorded.
pub fn line_of(request_id: &str, import: ImportId) -> Option<u64> {
    request_id.strip_prefix(&row_request_ids(import))?.parse().ok()
}
