//! Changing the record: the customer itself, its profile, its preferences (rule L2). A change that
//! changes nothing emits nothing and keeps the version.

use super::phone::notice;
use super::{Answer, Decision, attributes, check_version, consents, decided, writable};
use crate::domain::attribute::{Attributes, Part};
use crate::domain::command::{Context, CustomerChange, PreferencesChange, ProfileChange};
use crate::domain::event::Event;
use crate::domain::fault::Fault;
use crate::domain::mail::MailBody;
use crate::domain::outcome::Rejection;
use crate::domain::profile::{Profile, is_believable_birth};
use crate::domain::state::State;

/// Puts a new value in place and notes the field's name when it differs from the old one.
macro_rules! set {
    ($changed:ident, $name:expr, $place:expr, $value:expr) => {
        let value = $value;
        if $place != value {
            $place = value;
            $changed.push($name.to_owned());
        }
    };
}
/// The same for a field that a patch may leave out.
macro_rules! set_if_given {
    ($changed:ident, $name:expr, $place:expr, $given:expr) => {
        if let Some(value) = &$given {
            set!($changed, $name, $place, value.clone());
        }
    };
}

pub fn update_customer(
    state: &State,
    change: &CustomerChange,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    let current = writable(state, context)?;
    check_version(if_match, current.version)?;
    let mut customer = current.clone();
    let mut changed = Vec::new();
    set_if_given!(changed, "first_name", customer.first_name, change.first_name);
    set_if_given!(changed, "last_name", customer.last_name, change.last_name);
    let mut entries = Vec::new();
    if let Some(wish) = &change.marketing {
        entries = consents::marketing(state, wish, context);
        let accepts = consents::accepts_marketing_after(&state.consents, &entries);
        set!(changed, "accepts_marketing", customer.accepts_marketing, accepts);
    }
    set_if_given!(changed, "customer_type", customer.customer_type, change.customer_type);
    set_if_given!(changed, "group", customer.group, change.group);
    set_if_given!(changed, "tags", customer.tags, change.tags);
    set!(changed, "phone", customer.phone, change.phone.apply(&current.phone));
    let entries = entries.into_iter().map(consents::event);
    if changed.is_empty() {
        return decided(entries.collect(), Answer::Customer);
    }
    if customer.phone != current.phone {
        customer.phone_verified_at = None;
    }
    customer.version += 1;
    customer.updated_at = context.now;
    let mut events: Vec<_> = entries.collect();
    if customer.group != current.group {
        events
            .push(Event::GroupChanged { from: current.group.clone(), to: customer.group.clone() });
    }
    if customer.phone != current.phone {
        let (from, to) = (current.phone.clone(), customer.phone.clone());
        events.push(Event::PhoneChanged { from, to });
        // A number that nobody could sign in by is no credential.
        if let Some(id) = change.mail_id.filter(|_| current.phone_verified_at.is_some()) {
            let gone = customer.phone.is_none();
            let body = if gone { MailBody::PhoneRemoved } else { MailBody::PhoneChanged };
            events.extend(notice(state, id, body));
        }
    }
    events.insert(0, Event::CustomerUpdated { customer: Box::new(customer), changed });
    decided(events, Answer::Customer)
}

pub fn update_profile(
    state: &State,
    change: &ProfileChange,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    let current = state.profile.as_ref().ok_or(Rejection::NotFound)?;
    check_version(if_match, current.version)?;
    let (mut profile, changed) = changed_profile(current, change, &state.attributes, context)?;
    if changed.is_empty() {
        return decided(Vec::new(), Answer::Profile);
    }
    profile.version += 1;
    let event = Event::ProfileUpdated {
        profile: Box::new(profile),
        changed,
        version: customer.version + 1,
        at: context.now,
    };
    decided(vec![event], Answer::Profile)
}

/// A profile after a change, its version left alone, and the names of the fields that differ.
pub(super) fn changed_profile(
    current: &Profile,
    change: &ProfileChange,
    defined: &Attributes,
    context: &Context,
) -> Result<(Profile, Vec<String>), Rejection> {
    let mut profile = current.clone();
    let mut changed = Vec::new();
    let date_of_birth = change.date_of_birth.apply(&current.date_of_birth);
    if date_of_birth.is_some_and(|date| !is_believable_birth(date, context.now.date_naive())) {
        let fault = Fault::new("not_in_past", "must be a past date within 130 years");
        return Err(Rejection::Invalid { pointer: "#/date_of_birth", fault });
    }
    set!(changed, "profile.date_of_birth", profile.date_of_birth, date_of_birth);
    set!(changed, "profile.gender", profile.gender, change.gender.apply(&current.gender));
    set!(
        changed,
        "profile.avatar_url",
        profile.avatar_url,
        change.avatar_url.apply(&current.avatar_url)
    );
    set!(changed, "profile.company", profile.company, change.company.apply(&current.company));
    set!(changed, "profile.tax_id", profile.tax_id, change.tax_id.apply(&current.tax_id));
    set!(changed, "profile.bio", profile.bio, change.bio.apply(&current.bio));
    let custom =
        attributes::merge(defined, Part::Profile, &current.custom, &change.custom, context)?;
    changed.extend(changed_keys("profile.custom", &current.custom, &custom));
    profile.custom = custom;
    Ok((profile, changed))
}

pub fn update_preferences(
    state: &State,
    change: &PreferencesChange,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    let current = state.preferences.as_ref().ok_or(Rejection::NotFound)?;
    check_version(if_match, current.version)?;
    let mut preferences = current.clone();
    let mut changed = Vec::new();
    set_if_given!(changed, "locale", preferences.locale, change.locale);
    set_if_given!(changed, "timezone", preferences.timezone, change.timezone);
    set_if_given!(changed, "currency", preferences.currency, change.currency);
    set_if_given!(changed, "channels.email", preferences.channels.email, change.email);
    set_if_given!(changed, "channels.sms", preferences.channels.sms, change.sms);
    set_if_given!(changed, "channels.push", preferences.channels.push, change.push);
    set_if_given!(changed, "topics", preferences.topics, change.topics);
    let defined = &state.attributes;
    let custom =
        attributes::merge(defined, Part::Preferences, &current.custom, &change.custom, context)?;
    changed.extend(changed_keys("custom", &current.custom, &custom));
    preferences.custom = custom;
    if changed.is_empty() {
        return decided(Vec::new(), Answer::Preferences);
    }
    preferences.version += 1;
    let noted = changed.iter().map(|name| format!("preferences.{name}")).collect();
    let events = vec![
        Event::PreferencesUpdated { preferences: Box::new(preferences), changed },
        Event::PreferencesNoted { changed: noted, version: customer.version + 1, at: context.now },
    ];
    decided(events, Answer::Preferences)
}

/// Names of the keys whose values differ, as `prefix.key`.
fn changed_keys(
    prefix: &str,
    before: &serde_json::Map<String, serde_json::Value>,
    after: &serde_json::Map<String, serde_json::Value>,
) -> Vec<String> {
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{prefix}.{key}"))
        .collect()
}
