//! What is known of one customer: all that a condition may ask about, as plain values, without the
//! rows they came from. Whoever evaluates reads them once and asks many conditions.

use super::attributes::Field;
use super::number::{Number, decimals};
use super::when::Now;
use crate::domain::analytics::model::Tier;
use crate::domain::analytics::rfm::{Bought, CutPoints};
use crate::domain::consent::Channel;
use crate::domain::order::OrderStatus;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// See the module. Instants are finer than a microsecond nowhere.
#[derive(Clone, PartialEq)]
pub struct Facts {
    pub added_at: DateTime<Utc>,
    pub status: String,
    pub customer_type: String,
    pub group: String,
    pub tags: Vec<String>,
    /// In lower case and ASCII, as the compared form of the address has it.
    pub email_domain: String,
    pub email_verified_at: Option<DateTime<Utc>>,
    pub phone_verified_at: Option<DateTime<Utc>>,
    pub accepts_marketing: bool,
    pub last_sign_in_at: Option<DateTime<Utc>>,
    /// Whether a second factor counts.
    pub mfa_enabled: bool,
    pub birth_date: Option<NaiveDate>,
    /// A language tag.
    pub locale: String,
    pub time_zone: String,
    pub currency: String,
    /// Channels by which it may be contacted.
    pub contact: BTreeSet<Channel>,
    pub topics: Vec<String>,
    /// Custom attributes of both parts, in their kept form.
    pub custom: BTreeMap<String, Value>,
    /// The newest word on each purpose and channel.
    pub consents: BTreeMap<(String, Channel), bool>,
    pub addresses: Vec<AddressFact>,
    /// On all wishlists together.
    pub wishlist_items: i64,
    /// What its orders come to, by currency.
    pub statistics: BTreeMap<String, OrderSums>,
    /// All of them, cancelled ones included. Empty where no condition asks for them.
    pub orders: Vec<OrderFact>,
    /// Instants of sign-ins. Empty where no condition asks for them.
    pub sign_ins: Vec<DateTime<Utc>>,
    /// What its RFM score is judged by.
    pub rfm: Option<RfmFact>,
    pub spend_tier: Option<Tier>,
    /// Names of the segments that it is a member of.
    pub segments: BTreeSet<String>,
}

/// Personal: said by none of its values.
impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Facts(..)")
    }
}

/// Of an address.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressFact {
    pub city: String,
    pub region: Option<String>,
    /// ISO 3166-2.
    pub region_code: Option<String>,
    pub postal_code: Option<String>,
    pub country: String,
}

/// What the orders in one currency come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSums {
    /// Not cancelled.
    pub orders: i64,
    /// Paid and kept, in minor units.
    pub spent: i64,
    /// Of the first and the last one.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFact {
    pub placed_at: DateTime<Utc>,
    pub status: OrderStatus,
    pub currency: String,
    /// Paid and kept, in minor units.
    pub amount: i64,
    /// Skus with how many of each.
    pub items: Vec<(String, i64)>,
}

/// What an RFM group is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RfmFact {
    pub bought: Bought,
    pub cuts: CutPoints,
    /// Whose days are counted.
    pub zone: Tz,
}

impl Facts {
    /// Of a customer of whom nothing but this is known.
    pub fn bare(added_at: DateTime<Utc>) -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            added_at,
            status: text("pending"),
            customer_type: text("individual"),
            group: text("retail"),
            tags: Vec::new(),
            email_domain: text("example.com"),
            email_verified_at: None,
            phone_verified_at: None,
            accepts_marketing: false,
            last_sign_in_at: None,
            mfa_enabled: false,
            birth_date: None,
            locale: text("en"),
            time_zone: text("UTC"),
            currency: text("USD"),
            contact: BTreeSet::new(),
            topics: Vec::new(),
            custom: BTreeMap::new(),
            consents: BTreeMap::new(),
            addresses: Vec::new(),
            wishlist_items: 0,
            statistics: BTreeMap::new(),
            orders: Vec::new(),
            sign_ins: Vec::new(),
            rfm: None,
            spend_tier: None,
            segments: BTreeSet::new(),
        }
    }

    pub(super) fn moment(&self, field: &Field) -> Option<DateTime<Utc>> {
        let spans = || self.statistics.values().filter_map(|sums| sums.span);
        match field {
            Field::AddedAt => Some(self.added_at),
            Field::FirstOrderAt => spans().map(|(first, _)| first).min(),
            Field::LastOrderAt => spans().map(|(_, last)| last).max(),
            Field::LastSignInAt => self.last_sign_in_at,
            Field::EmailVerifiedAt => self.email_verified_at,
            Field::PhoneVerifiedAt => self.phone_verified_at,
            Field::Custom { key, .. } => {
                let instant: DateTime<Utc> = self.custom.get(key)?.as_str()?.parse().ok()?;
                // A leap second is the first instant after it, as in PostgreSQL.
                DateTime::from_timestamp_micros(instant.timestamp_micros())
            }
            _ => None,
        }
    }

    pub(super) fn day(&self, field: &Field) -> Option<NaiveDate> {
        match field {
            Field::BirthDate => self.birth_date,
            Field::Custom { key, .. } => self.custom.get(key)?.as_str()?.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn number(&self, field: &Field) -> Option<Number> {
        let count = |number: usize| Number::whole(i64::try_from(number).unwrap_or(i64::MAX));
        match field {
            Field::NumberOfOrders => {
                Some(Number::whole(self.statistics.values().map(|sums| sums.orders).sum()))
            }
            Field::NumberOfAddresses => Some(count(self.addresses.len())),
            Field::WishlistItems => Some(Number::whole(self.wishlist_items)),
            Field::Spent(currency) => {
                let spent = self.statistics.get(currency).map_or(0, |sums| sums.spent);
                Some(Number::of_units(spent, decimals(currency)))
            }
            Field::Average(currency) => {
                let OrderSums { orders, spent, .. } = *self.statistics.get(currency)?;
                let average = (orders > 0).then(|| (2 * spent + orders) / (2 * orders))?;
                Some(Number::of_units(average, decimals(currency)))
            }
            Field::Custom { key, .. } => match self.custom.get(key)? {
                Value::Number(number) => Number::of_json(number),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn text(&self, field: &Field, now: &Now) -> Option<Cow<'_, str>> {
        Some(match field {
            Field::Status => self.status.as_str().into(),
            Field::CustomerType => self.customer_type.as_str().into(),
            Field::Group => self.group.as_str().into(),
            Field::EmailDomain => self.email_domain.as_str().into(),
            Field::Language => self.locale.split('-').next().unwrap_or("").into(),
            Field::Locale => self.locale.as_str().into(),
            Field::Currency => self.currency.as_str().into(),
            Field::TimeZone => self.time_zone.as_str().into(),
            Field::Subscription(channel) => {
                match self.consents.get(&("marketing".to_owned(), *channel)) {
                    Some(true) => "subscribed".into(),
                    Some(false) => "unsubscribed".into(),
                    None => "not_subscribed".into(),
                }
            }
            Field::RfmGroup => {
                let RfmFact { bought, cuts, zone } = self.rfm.as_ref()?;
                cuts.score(bought, now.instant, *zone).group().as_str().into()
            }
            Field::SpendTier => self.spend_tier?.as_str().into(),
            Field::Custom { key, .. } => self.custom.get(key)?.as_str()?.into(),
            _ => return None,
        })
    }

    pub(super) fn flag(&self, field: &Field) -> Option<bool> {
        Some(match field {
            Field::EmailVerified => self.email_verified_at.is_some(),
            Field::PhoneVerified => self.phone_verified_at.is_some(),
            Field::MfaEnabled => self.mfa_enabled,
            Field::AcceptsMarketing => self.accepts_marketing,
            Field::Contact(channel) => self.contact.contains(channel),
            Field::Consent { purpose, channel } => {
                self.consents.iter().any(|((of, by), granted)| {
                    *granted && of == purpose && channel.is_none_or(|channel| channel == *by)
                })
            }
            Field::Custom { key, .. } => self.custom.get(key)?.as_bool()?,
            _ => return None,
        })
    }

    /// The members of a list.
    pub(super) fn list(&self, field: &Field) -> Vec<&str> {
        match field {
            Field::Tags => self.tags.iter().map(String::as_str).collect(),
            Field::Topics => self.topics.iter().map(String::as_str).collect(),
            Field::Cities => self.addresses.iter().map(|one| one.city.as_str()).collect(),
            Field::Countries => self.addresses.iter().map(|one| one.country.as_str()).collect(),
            Field::Regions => {
                let written = self.addresses.iter().filter_map(|one| one.region.as_deref());
                let codes = self.addresses.iter().filter_map(|one| one.region_code.as_deref());
                written.chain(codes).collect()
            }
            Field::PostalCodes => {
                self.addresses.iter().filter_map(|one| one.postal_code.as_deref()).collect()
            }
            Field::Custom { key, .. } => {
                let members = self.custom.get(key).and_then(Value::as_array);
                members.into_iter().flatten().filter_map(Value::as_str).collect()
            }
            _ => Vec::new(),
        }
    }
}
