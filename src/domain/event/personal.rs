//! The personal values that each event brings, by the names of their fields. They go nowhere but
//! sealed (rule M6): into the event's message, for who may open it, and into its entry of the audit
//! trail. A field that an event names as changed has its value here, by the same name.

use super::{Created, ErasureEvent, Event, WishlistEvent};
use crate::domain::address::AddressFields;
use crate::domain::customer::Customer;
use crate::domain::identity::Account;
use crate::domain::phone::PhoneNumber;
use crate::domain::preferences::Preferences;
use crate::domain::profile::Profile;
use crate::domain::session::Client;
use crate::domain::text::never_printed;
use serde::Serialize;
use serde_json::{Map, Value};

/// Values of a person by the names of their fields; never empty.
#[derive(Clone, PartialEq)]
pub struct PersonalValues(Map<String, Value>);

never_printed!(PersonalValues);

impl PersonalValues {
    fn of<N: Into<String>>(values: impl IntoIterator<Item = (N, Value)>) -> Option<Self> {
        let values: Map<_, _> =
            values.into_iter().map(|(name, value)| (name.into(), value)).collect();
        (!values.is_empty()).then_some(Self(values))
    }

    /// Those of `changed`, by what each is called.
    fn of_changed(changed: &[String], value: impl Fn(&str) -> Option<Value>) -> Option<Self> {
        Self::of(changed.iter().filter_map(|name| Some((name.as_str(), value(name)?))))
    }

    /// By their names.
    pub fn by_name(&self) -> &Map<String, Value> {
        &self.0
    }

    /// What is sealed: an object in JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("a map of values is always JSON")
    }
}

impl Event {
    /// What this event brings of a person. `None` where that is nothing, or was told by an event before
    /// (what came along in a merge, the device of a session); and for notes, which staff takes away for
    /// good, for secrets, and for what customers bought.
    pub fn personal_values(&self) -> Option<PersonalValues> {
        match self {
            Self::Created(created) => of_created(created),
            Self::CustomerUpdated { customer, changed } => {
                PersonalValues::of_changed(changed, |name| of_customer(customer, name))
            }
            Self::ProfileUpdated { profile, changed, .. } => {
                PersonalValues::of_changed(changed, |name| {
                    of_profile(profile, name.strip_prefix("profile.")?)
                })
            }
            Self::PreferencesUpdated { preferences, changed } => {
                PersonalValues::of_changed(changed, |name| of_preferences(preferences, name))
            }
            Self::PhoneChanged { from, to } => {
                PersonalValues::of([("from", json(from)), ("to", json(to))])
            }
            Self::PhoneRequested(waiting) => of_phone(&waiting.phone),
            Self::PhoneVerified { phone, .. } | Self::PhoneTaken { phone } => of_phone(phone),
            Self::EmailChanged { from, to, .. } => {
                PersonalValues::of([("from", json(from.as_str())), ("to", json(to.as_str()))])
            }
            Self::TokenIssued(token) => {
                PersonalValues::of(token.email.iter().map(|email| ("email", json(email.as_str()))))
            }
            Self::MailQueued(mail) => {
                PersonalValues::of(mail.to.iter().map(|email| ("to", json(email.as_str()))))
            }
            Self::SignedIn { session } => of_client(&session.client),
            Self::AddressAdded { address } => {
                let told = of_address(&address.fields).into_iter();
                PersonalValues::of(told.filter(|(_, value)| !value.is_null()))
            }
            Self::AddressUpdated { address, changed } => {
                let fields = of_address(&address.fields);
                PersonalValues::of_changed(changed, |name| fields.get(name).cloned())
            }
            Self::IdentityLinked(identity) => of_account(&identity.account),
            Self::PasskeyAdded(passkey) | Self::PasskeyChanged { passkey, .. } => {
                PersonalValues::of([("name", json(&passkey.name))])
            }
            Self::Wishlist(event) => of_wishlist(event),
            Self::Erasure(ErasureEvent::MarketingSwitched { on, .. }) => {
                PersonalValues::of([("accepts_marketing", json(on))])
            }
            Self::GroupChanged { .. }
            | Self::PhoneCodeFailed
            | Self::PhoneRequestDropped
            | Self::TextQueued(_)
            // its values are those of `PreferencesUpdated`, just before
            | Self::PreferencesNoted { .. }
            | Self::StatusChanged { .. }
            | Self::CustomerDeleted { .. }
            | Self::Merged(_)
            | Self::EmailVerified { .. }
            | Self::TokenUsed { .. }
            | Self::TokenVoided { .. }
            | Self::AttemptClaimed { .. }
            | Self::AttemptFailed { .. }
            | Self::AttemptReleased { .. }
            | Self::AttemptSucceeded { .. }
            | Self::SignInLocked { .. }
            | Self::SecondFactorAsked { .. }
            | Self::TotpStarted(_)
            | Self::TotpEnabled { .. }
            | Self::TotpStepUsed { .. }
            | Self::TotpRemoved { .. }
            | Self::BackupCodesIssued { .. }
            | Self::BackupCodeUsed { .. }
            | Self::BackupCodesRemoved
            | Self::FactorsReset
            | Self::FlowOpened(_)
            | Self::FlowUsed { .. }
            | Self::FlowFailed
            | Self::SignInRefused { .. }
            | Self::PasswordRehashed { .. }
            | Self::PasswordChosen { .. }
            | Self::PasswordChanged { .. }
            | Self::PasswordVoided
            | Self::DeviceRemembered(_)
            | Self::DeviceForgotten { .. }
            | Self::SessionRefreshed { .. }
            | Self::SessionRevoked { .. }
            | Self::AddressDeleted { .. }
            | Self::DefaultAddressChanged { .. }
            | Self::IdentityUnlinked { .. }
            | Self::PasskeyRemoved { .. }
            | Self::PasskeyUsed { .. }
            | Self::PasskeySuspected { .. }
            | Self::Consent(_)
            | Self::PrivacyExport(_)
            | Self::Note(_)
            | Self::Order(_)
            | Self::Group(_)
            | Self::Attribute(_)
            | Self::Segment(_)
            | Self::Membership(_)
            | Self::Erasure(_)
            | Self::Unlocked { .. } => None,
        }
    }
}

fn of_account(account: &Account) -> Option<PersonalValues> {
    let email = account.email.iter().map(|email| ("email", json(email.as_str())));
    PersonalValues::of([("subject", json(&account.subject))].into_iter().chain(email))
}

fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("texts, numbers and instants are always JSON")
}

/// All that a customer is made with, but what is empty.
fn of_created(created: &Created) -> Option<PersonalValues> {
    const CUSTOMER: [&str; 6] =
        ["email", "phone", "first_name", "last_name", "tags", "accepts_marketing"];
    const PROFILE: [&str; 6] =
        ["date_of_birth", "gender", "avatar_url", "company", "tax_id", "bio"];
    const PREFERENCES: [&str; 7] = [
        "locale",
        "timezone",
        "currency",
        "channels.email",
        "channels.sms",
        "channels.push",
        "topics",
    ];
    let Created { customer, profile, preferences, .. } = created;
    let own = |name: &str| Some((name.to_owned(), of_customer(customer, name)?));
    let of_profile = |name: &str| Some((format!("profile.{name}"), of_profile(profile, name)?));
    let preference =
        |name: &str| Some((format!("preferences.{name}"), of_preferences(preferences, name)?));
    let custom = |part: &'static str, values: &Map<String, Value>| {
        let named = |(key, value): (&String, &Value)| (format!("{part}.{key}"), value.clone());
        values.iter().map(named).collect::<Vec<_>>()
    };
    let values = CUSTOMER.into_iter().filter_map(own);
    let values = values.chain(PROFILE.into_iter().filter_map(of_profile));
    let values = values.chain(custom("profile.custom", &profile.custom));
    let values = values.chain(PREFERENCES.into_iter().filter_map(preference));
    let values = values.chain(custom("preferences.custom", &preferences.custom));
    PersonalValues::of(values.filter(|(_, value)| !is_empty(value)))
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// A field of the customer itself; `None`: none is called so.
fn of_customer(customer: &Customer, name: &str) -> Option<Value> {
    Some(match name {
        "email" => json(customer.email.as_str()),
        "phone" => json(&customer.phone),
        "phone_verified" => json(customer.phone_verified_at.is_some()),
        "first_name" => json(&customer.first_name),
        "last_name" => json(&customer.last_name),
        "customer_type" => json(customer.customer_type),
        "group" => json(&customer.group),
        "tags" => json(&customer.tags),
        "accepts_marketing" => json(customer.accepts_marketing),
        "created_at" => json(customer.created_at),
        "last_sign_in_at" => json(customer.last_sign_in_at),
        _ => return None,
    })
}

fn of_profile(profile: &Profile, name: &str) -> Option<Value> {
    Some(match name {
        "date_of_birth" => json(profile.date_of_birth),
        "gender" => json(&profile.gender),
        "avatar_url" => json(&profile.avatar_url),
        "company" => json(&profile.company),
        "tax_id" => json(&profile.tax_id),
        "bio" => json(&profile.bio),
        _ => custom(&profile.custom, name)?,
    })
}

fn of_preferences(preferences: &Preferences, name: &str) -> Option<Value> {
    Some(match name {
        "locale" => json(&preferences.locale),
        "timezone" => json(&preferences.timezone),
        "currency" => json(&preferences.currency),
        "channels.email" => json(preferences.channels.email),
        "channels.sms" => json(preferences.channels.sms),
        "channels.push" => json(preferences.channels.push),
        "topics" => json(&preferences.topics),
        _ => custom(&preferences.custom, name)?,
    })
}

/// One that was taken away is null.
fn custom(values: &Map<String, Value>, name: &str) -> Option<Value> {
    let key = name.strip_prefix("custom.")?;
    Some(values.get(key).cloned().unwrap_or_default())
}

fn of_phone(phone: &PhoneNumber) -> Option<PersonalValues> {
    PersonalValues::of([("phone", json(phone))])
}

fn of_address(fields: &AddressFields) -> Map<String, Value> {
    match json(fields) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// As the list of sessions has them.
fn of_client(client: &Client) -> Option<PersonalValues> {
    let values = [
        ("device_name", json(&client.device_name)),
        ("user_agent", json(&client.user_agent)),
        ("client_address", json(client.address)),
    ];
    PersonalValues::of(values.into_iter().filter(|(_, value)| !value.is_null()))
}

/// A list's name and what is written to an item are their owner's words.
fn of_wishlist(event: &WishlistEvent) -> Option<PersonalValues> {
    let is = |changed: &[String], name: &str| changed.iter().any(|known| known == name);
    match event {
        WishlistEvent::Created(list) => PersonalValues::of([("name", json(&list.name))]),
        WishlistEvent::Updated { list, changed } if is(changed, "name") => {
            PersonalValues::of([("name", json(&list.name))])
        }
        WishlistEvent::ItemAdded(item) => {
            PersonalValues::of(item.note.iter().map(|note| ("note", json(note))))
        }
        WishlistEvent::ItemChanged { item, changed } if is(changed, "note") => {
            PersonalValues::of([("note", json(&item.note))])
        }
        WishlistEvent::Updated { .. }
        | WishlistEvent::ItemChanged { .. }
        | WishlistEvent::Deleted { .. }
        | WishlistEvent::ItemRemoved { .. } => None,
    }
}
