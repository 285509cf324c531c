//! From the cells of a row to the customer that it asks for, or to all that is wrong with it.

use super::fields::{AddressField, Field, Plain};
use super::{ImportAddress, ImportCustomer, RowFault};
use crate::domain::address::{AddressFields, AddressKind, AddressLimits};
use crate::domain::attribute;
use crate::domain::command::{Change, ProfileChange};
use crate::domain::consent::{MarketingTerms, TextVersion};
use crate::domain::credential::PasswordHash;
use crate::domain::customer::{CustomerType, GroupCode, Tags};
use crate::domain::email::EmailAddress;
use crate::domain::fault::Fault;
use crate::domain::ids::{AddressId, CustomerId};
use crate::domain::phone::PhoneNumber;
use crate::domain::place::{Country, Currency, Locale, TimeZone};
use crate::domain::profile;
use crate::domain::status::Status;
use crate::domain::text::{Label, Line, PersonName};
use crate::domain::{postal_code, region};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What one column of a row holds.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// Of CSV.
    Text(&'a str),
    /// Of NDJSON.
    Value(&'a Value),
}

/// What holds for all rows of an import.
#[derive(Clone)]
pub struct Rules {
    pub group_individual: GroupCode,
    pub group_business: GroupCode,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
    /// What `accepts_marketing` grants; of a wording that nobody wrote down, unless the row does.
    pub marketing: MarketingTerms,
    pub address_limits: AddressLimits,
    /// What hashes without parameters of their own were made with: all of a hash of Firebase but
    /// its salt and its value, as `$firebase-scrypt$ln=14,r=8,sep=…,key=…`.
    pub hash_parameters: Option<String>,
    /// Whether passwords can be verified by such a hash.
    pub readable: fn(&str) -> bool,
    pub now: DateTime<Utc>,
}

/// Most characters of a password hash: what its column holds.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 20..=500;

/// What an answer tells of an address beside, and nobody can set.
const TOLD_ONLY: &[&str] = &["id", "region_code", "created_at", "updated_at", "version"];

impl<'a> Cell<'a> {
    /// Nothing was said: an empty cell, or `null`.
    fn is_absent(self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Value(value) => value.is_null(),
        }
    }

    fn text(self) -> Result<&'a str, Fault> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Value(Value::String(text)) => Ok(text),
            Self::Value(_) => Err(Fault::new("wrong_type", "must be a text")),
        }
    }

    fn boolean(self) -> Result<bool, Fault> {
        let fault = || Fault::new("wrong_type", "must be true or false");
        match self {
            Self::Value(Value::Bool(value)) => Ok(*value),
            Self::Value(_) => Err(fault()),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "1" => Ok(true),
                "false" | "f" | "no" | "n" | "0" => Ok(false),
                _ => Err(fault()),
            },
        }
    }

    /// Texts of a list, or between commas.
    fn words(self) -> Result<Vec<String>, Fault> {
        let owned = |text: &str| text.trim().to_owned();
        match self {
            // a word may hold a comma: then the list is written as JSON
            Self::Text(text) if text.trim_start().starts_with('[') => {
                Cell::Value(&self.structure()?).words()
            }
            Self::Text(text) => {
                Ok(text.split(',').map(owned).filter(|word| !word.is_empty()).collect())
            }
            Self::Value(Value::Array(values)) => {
                values.iter().map(|value| Self::Value(value).text().map(owned)).collect()
            }
            Self::Value(_) => Err(Fault::new("wrong_type", "must be a list of texts")),
        }
    }

    /// A value of a custom attribute. In CSV everything is text: what reads as a boolean or is
    /// written as JSON writes that very number is taken for one, so `007` stays a text.
    fn scalar(self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Text(text) => match text.trim() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                plain => match serde_json::from_str::<serde_json::Number>(plain) {
                    Ok(number) if number.to_string() == plain => Value::Number(number),
                    _ => Value::String(text.to_owned()),
                },
            },
        }
    }

    /// A structure, which CSV holds as the text of its JSON.
    fn structure(self) -> Result<Value, Fault> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Text(text) => serde_json::from_str(text)
                .map_err(|_| Fault::new("wrong_type", "must be JSON in CSV")),
        }
    }
}

/// Reads a row. `ids` makes fresh ids for what hangs on the customer.
///
/// # Errors
/// All that is wrong with it, field by field.
pub fn read<'a>(
    cells: impl IntoIterator<Item = (&'a Field, Cell<'a>)>,
    rules: &Rules,
    id: CustomerId,
    ids: &mut dyn FnMut() -> Uuid,
) -> Result<ImportCustomer, Vec<RowFault>> {
    let mut read = Read::default();
    for (field, cell) in cells {
        if !cell.is_absent() {
            read.cell(field, cell);
        }
    }
    read.finish(rules, id, ids)
}

/// What was read of a row so far.
#[derive(Default)]
struct Read {
    email: Option<EmailAddress>,
    email_verified: Option<bool>,
    first_name: Option<PersonName>,
    last_name: Option<PersonName>,
    phone: Option<PhoneNumber>,
    customer_type: Option<CustomerType>,
    group: Option<GroupCode>,
    status: Option<Status>,
    tags: Option<Tags>,
    accepts_marketing: Option<bool>,
    text_version: Option<TextVersion>,
    locale: Option<Locale>,
    timezone: Option<TimeZone>,
    currency: Option<Currency>,
    profile: ProfileChange,
    addresses: BTreeMap<usize, AddressRead>,
    password_hash: Option<String>,
    password_salt: Option<String>,
    created_at: Option<DateTime<Utc>>,
    faults: Vec<RowFault>,
}

/// An address so far; what depends on its country waits for that.
#[derive(Default)]
struct AddressRead {
    label: Option<Label>,
    recipient: Option<Line>,
    company: Option<Line>,
    line1: Option<Line>,
    line2: Option<Line>,
    city: Option<Line>,
    region: Option<Line>,
    postal_code: Option<String>,
    country: Option<Country>,
    phone: Option<String>,
    default_shipping: Option<bool>,
    default_billing: Option<bool>,
}

impl Read {
    fn accept<T>(&mut self, field: &Field, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.faults.push(RowFault::of_field(field.name(), fault))).ok()
    }

    fn parsed<T>(
        &mut self,
        field: &Field,
        cell: Cell<'_>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        self.accept(field, cell.text().and_then(parse))
    }

    fn change<T>(
        &mut self,
        field: &Field,
        cell: Cell<'_>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Change<T> {
        self.parsed(field, cell, parse).map_or(Change::Keep, Change::Set)
    }

    fn cell(&mut self, field: &Field, cell: Cell<'_>) {
        match field {
            Field::Plain(plain) => self.plain(field, *plain, cell),
            Field::Custom(key) => self.custom(field, key, &cell.scalar()),
            Field::Address(number, part) => self.address(field, *number, *part, cell),
            Field::Ignored => {}
        }
    }

    fn plain(&mut self, field: &Field, plain: Plain, cell: Cell<'_>) {
        match plain {
            Plain::Email => self.email = self.parsed(field, cell, EmailAddress::parse),
            Plain::EmailVerified => self.email_verified = self.accept(field, cell.boolean()),
            Plain::FirstName => self.first_name = self.parsed(field, cell, PersonName::parse),
            Plain::LastName => self.last_name = self.parsed(field, cell, PersonName::parse),
            Plain::Phone => self.phone = self.parsed(field, cell, PhoneNumber::parse),
            Plain::CustomerType => {
                self.customer_type = self.parsed(field, cell, CustomerType::parse);
            }
            Plain::Group => self.group = self.parsed(field, cell, GroupCode::parse),
            Plain::Status => self.status = self.parsed(field, cell, status),
            Plain::Tags => {
                let tags = cell.words().and_then(|words| Tags::parse(&words));
                self.tags = self.accept(field, tags);
            }
            Plain::AcceptsMarketing => self.accepts_marketing = self.accept(field, cell.boolean()),
            Plain::MarketingTextVersion => {
                self.text_version = self.parsed(field, cell, TextVersion::parse);
            }
            Plain::Locale => self.locale = self.parsed(field, cell, Locale::parse),
            Plain::Timezone => self.timezone = self.parsed(field, cell, TimeZone::parse),
            Plain::Currency => self.currency = self.parsed(field, cell, Currency::parse),
            Plain::DateOfBirth => {
                self.profile.date_of_birth = self.change(field, cell, profile::date);
            }
            Plain::Gender => self.profile.gender = self.change(field, cell, profile::gender),
            Plain::AvatarUrl => {
                self.profile.avatar_url = self.change(field, cell, profile::avatar_url);
            }
            Plain::Company => self.profile.company = self.change(field, cell, Line::parse),
            Plain::TaxId => self.profile.tax_id = self.change(field, cell, profile::tax_id),
            Plain::Bio => self.profile.bio = self.change(field, cell, profile::bio),
            Plain::CustomAll => self.custom_all(field, cell),
            Plain::Addresses => self.address_list(field, cell),
            Plain::PasswordHash => self.password_hash = self.parsed(field, cell, trimmed),
            Plain::PasswordSalt => self.password_salt = self.parsed(field, cell, trimmed),
            Plain::CreatedAt => self.created_at = self.parsed(field, cell, instant),
        }
    }

    fn custom(&mut self, field: &Field, key: &str, value: &Value) {
        if let Some(value) = self.accept(field, attribute::plausible(key, value)) {
            self.profile.custom.insert(key.to_owned(), value);
        }
    }

    fn custom_all(&mut self, field: &Field, cell: Cell<'_>) {
        match cell.structure() {
            Ok(Value::Object(entries)) => {
                for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
                    let named = Field::custom(key).unwrap_or_else(|| field.clone());
                    self.custom(&named, key, value);
                }
            }
            Ok(_) => {
                self.accept::<()>(field, Err(Fault::new("wrong_type", "must be an object")));
            }
            Err(fault) => {
                self.accept::<()>(field, Err(fault));
            }
        }
    }

    fn address_list(&mut self, field: &Field, cell: Cell<'_>) {
        let list = cell.structure().and_then(|value| match value {
            Value::Array(list) => Ok(list),
            _ => Err(Fault::new("wrong_type", "must be a list")),
        });
        let Some(list) = self.accept(field, list) else { return };
        for (number, address) in list.iter().enumerate() {
            let Value::Object(parts) = address else {
                let fault = Fault::new("wrong_type", "must be a list of objects");
                self.accept::<()>(field, Err(fault));
                return;
            };
            for (name, value) in parts.iter().filter(|(_, value)| !value.is_null()) {
                let known = AddressField::ALL.iter().find(|part| part.name() == name);
                match known {
                    Some(part) => {
                        let field = Field::Address(number, *part);
                        self.address(&field, number, *part, Cell::Value(value));
                    }
                    // what an export tells beside
                    None if TOLD_ONLY.contains(&name.as_str()) => {}
                    None => {
                        let fault = Fault::new("unknown_field", "holds a name that no address has");
                        self.accept::<()>(field, Err(fault));
                    }
                }
            }
        }
    }

    fn address(&mut self, field: &Field, number: usize, part: AddressField, cell: Cell<'_>) {
        let mut address = self.addresses.remove(&number).unwrap_or_default();
        match part {
            AddressField::Label => address.label = self.parsed(field, cell, Label::parse),
            AddressField::Recipient => address.recipient = self.parsed(field, cell, Line::parse),
            AddressField::Company => address.company = self.parsed(field, cell, Line::parse),
            AddressField::Line1 => address.line1 = self.parsed(field, cell, Line::parse),
            AddressField::Line2 => address.line2 = self.parsed(field, cell, Line::parse),
            AddressField::City => address.city = self.parsed(field, cell, Line::parse),
            AddressField::Region => address.region = self.parsed(field, cell, Line::parse),
            AddressField::PostalCode => address.postal_code = self.parsed(field, cell, trimmed),
            AddressField::Country => address.country = self.parsed(field, cell, Country::parse),
            AddressField::Phone => address.phone = self.parsed(field, cell, trimmed),
            AddressField::DefaultShipping => {
                address.default_shipping = self.accept(field, cell.boolean());
            }
            AddressField::DefaultBilling => {
                address.default_billing = self.accept(field, cell.boolean());
            }
        }
        self.addresses.insert(number, address);
    }

    fn finish(
        mut self,
        rules: &Rules,
        id: CustomerId,
        ids: &mut dyn FnMut() -> Uuid,
    ) -> Result<ImportCustomer, Vec<RowFault>> {
        self.judge(rules);
        let addresses = self.take_addresses(ids);
        let password_hash = self.take_password(rules);
        let email = self.required(Plain::Email, |read| read.email.take());
        let first_name = self.required(Plain::FirstName, |read| read.first_name.take());
        let last_name = self.required(Plain::LastName, |read| read.last_name.take());
        let (Some(email), Some(first_name), Some(last_name), true) =
            (email, first_name, last_name, self.faults.is_empty())
        else {
            return Err(self.faults);
        };
        let customer_type = self.customer_type.unwrap_or(CustomerType::Individual);
        let default_group = match customer_type {
            CustomerType::Individual => &rules.group_individual,
            CustomerType::Business => &rules.group_business,
        };
        let mut marketing = rules.marketing.clone();
        if let Some(version) = self.text_version {
            marketing.text_version = version;
        }
        Ok(ImportCustomer {
            id,
            email,
            email_verified: self.email_verified.unwrap_or(false),
            first_name,
            last_name,
            phone: self.phone,
            customer_type,
            group: self.group.unwrap_or_else(|| default_group.clone()),
            status: self.status.unwrap_or(Status::Active),
            tags: self.tags.unwrap_or_default(),
            marketing: self.accepts_marketing.unwrap_or(false).then_some(marketing),
            locale: self.locale.unwrap_or_else(|| rules.locale.clone()),
            timezone: self.timezone.unwrap_or_else(|| rules.timezone.clone()),
            currency: self.currency.unwrap_or_else(|| rules.currency.clone()),
            profile: self.profile,
            addresses,
            address_limits: rules.address_limits,
            password_hash,
            created_at: self.created_at,
        })
    }

    /// A value that must be there. One that was there and wrong is told so already.
    fn required<T>(
        &mut self,
        plain: Plain,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let value = take(self);
        let told = |fault: &RowFault| fault.field.as_deref() == Some(plain.name());
        if value.is_none() && !self.faults.iter().any(told) {
            let fault = Fault::new("required", "must be given");
            self.faults.push(RowFault::of_field(plain.name(), fault));
        }
        value
    }

    /// What depends on the day.
    fn judge(&mut self, rules: &Rules) {
        if let Change::Set(date) = &self.profile.date_of_birth
            && !profile::is_believable_birth(*date, rules.now.date_naive())
        {
            let fault = Fault::new("not_in_past", "must be a past date within 130 years");
            self.faults.push(RowFault::of_field(Plain::DateOfBirth.name(), fault));
        }
        if self.created_at.is_some_and(|at| at > rules.now) {
            let fault = Fault::new("not_in_past", "must not lie in the future");
            self.faults.push(RowFault::of_field(Plain::CreatedAt.name(), fault));
        }
    }

    /// The addresses, whole. An address that names no recipient is the customer's own.
    fn take_addresses(&mut self, ids: &mut dyn FnMut() -> Uuid) -> Vec<ImportAddress> {
        let name = match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) => format!("{} {}", first.as_str(), last.as_str()),
            _ => String::new(),
        };
        let mut whole = Vec::new();
        for (number, mut read) in std::mem::take(&mut self.addresses) {
            let field = |part| Field::Address(number, part).name();
            let recipient = read.recipient.take().or_else(|| Line::parse(&name).ok());
            let mut missing = Vec::new();
            for (part, absent) in [
                (AddressField::Recipient, recipient.is_none()),
                (AddressField::Line1, read.line1.is_none()),
                (AddressField::City, read.city.is_none()),
                (AddressField::Country, read.country.is_none()),
            ] {
                let told = self.faults.iter().any(|it| it.field.as_deref() == Some(&field(part)));
                if absent && !told {
                    missing.push(RowFault::of_field(
                        field(part),
                        Fault::new("required", "must be given with an address"),
                    ));
                }
            }
            self.faults.extend(missing);
            let (Some(recipient), Some(line1), Some(city), Some(country)) =
                (recipient, read.line1, read.city, read.country)
            else {
                continue;
            };
            let at = |part| Field::Address(number, part);
            let code = read.postal_code.map(|raw| postal_code::parse(&raw, &country)).transpose();
            let region = read.region.map(|raw| region::resolve(raw, &country)).transpose();
            let phone = read.phone.map(|raw| PhoneNumber::parse_in(&raw, &country)).transpose();
            let code = self.accept(&at(AddressField::PostalCode), code);
            let region = self.accept(&at(AddressField::Region), region);
            let phone = self.accept(&at(AddressField::Phone), phone);
            let (Some(postal_code), Some(region), Some(phone)) = (code, region, phone) else {
                continue;
            };
            let (region, region_code) = region.map_or((None, None), |(kept, it)| (Some(kept), it));
            let wishes = [
                (AddressKind::Shipping, read.default_shipping),
                (AddressKind::Billing, read.default_billing),
            ];
            let defaults = wishes.into_iter().filter(|(_, wish)| *wish == Some(true));
            whole.push(ImportAddress {
                id: AddressId(ids()),
                defaults: defaults.map(|(kind, _)| kind).collect(),
                fields: AddressFields {
                    label: read.label,
                    recipient,
                    company: read.company,
                    line1,
                    line2: read.line2,
                    city,
                    region,
                    region_code,
                    postal_code,
                    country,
                    phone,
                },
            });
        }
        whole
    }

    /// The hash with its parameters, if there is one that passwords can be verified by.
    fn take_password(&mut self, rules: &Rules) -> Option<PasswordHash> {
        let hash = self.password_hash.take()?;
        let whole = match (&self.password_salt, &rules.hash_parameters) {
            (Some(salt), Some(parameters)) if !hash.contains('$') => {
                format!("{parameters}${}${}", plain_base64(salt), plain_base64(&hash))
            }
            _ => hash,
        };
        if HASH_BYTES.contains(&whole.len()) && (rules.readable)(&whole) {
            return Some(PasswordHash::new(whole));
        }
        let fault = Fault::new("unknown_hash", "is no hash that passwords can be verified by");
        self.faults.push(RowFault::of_field(Plain::PasswordHash.name(), fault));
        None
    }
}

/// Firebase exports the alphabet for URLs; hashes here are of the standard one.
fn plain_base64(text: &str) -> String {
    text.replace('-', "+").replace('_', "/")
}

fn trimmed(raw: &str) -> Result<String, Fault> {
    Ok(raw.trim().to_owned())
}

/// Where a customer may stand when it comes: what staff may move it to, or not yet confirmed.
fn status(raw: &str) -> Result<Status, Fault> {
    match raw.trim().to_ascii_lowercase().as_str() {
        "pending" => Ok(Status::Pending),
        "active" => Ok(Status::Active),
        "inactive" => Ok(Status::Inactive),
        "suspended" => Ok(Status::Suspended),
        _ => {
            let words = "must be pending, active, inactive or suspended";
            Err(Fault::new("unknown_value", words))
        }
    }
}

/// An instant of RFC 3339, or as databases print it, then in UTC unless it says otherwise; or a day.
fn instant(raw: &str) -> Result<DateTime<Utc>, Fault> {
    let text = raw.trim();
    let utc = |at: NaiveDateTime| at.and_utc();
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z"))
        .map(|at| at.with_timezone(&Utc))
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(utc))
        .or_else(|_| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| utc(day.and_time(NaiveTime::MIN)))
        })
        .ok()
        // before the first shop, and beyond what the database keeps
        .filter(|at| at.timestamp() >= 0)
        .ok_or_else(|| {
            let words = "must be an instant such as 2024-05-31T12:00:00Z or 2024-05-31 12:00:00";
            Fault::new("invalid_instant", words)
        })
}

#[cfg(test)]
mod tests;
