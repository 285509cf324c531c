//! The record of the customer that goes on: an empty field takes the other's value, of two values
//! that differ its own stays, and each such field is named.

use super::Both;
use crate::domain::customer::{Customer, Tags};
use crate::domain::event::Event;
use crate::domain::mail::MailBody;
use crate::domain::merge::{MergeMails, MergeReport};
use crate::domain::outcome::Rejection;
use crate::domain::preferences::{Preferences, Topics};
use crate::domain::profile::Profile;
use serde_json::{Map, Value};

/// Names of fields: of those that took the other's value, and of those that did not.
#[derive(Default)]
struct Names {
    taken: Vec<String>,
    kept: Vec<String>,
}

impl Names {
    /// An optional field.
    fn fill<T: Clone + PartialEq>(&mut self, name: &str, ours: &mut Option<T>, theirs: &Option<T>) {
        match (&*ours, theirs) {
            (None, Some(value)) => {
                *ours = Some(value.clone());
                self.taken.push(name.to_owned());
            }
            (Some(ours), Some(theirs)) => self.keep(name, ours, theirs),
            (_, None) => {}
        }
    }

    /// A field that is never empty.
    fn keep<T: PartialEq>(&mut self, name: &str, ours: &T, theirs: &T) {
        if ours != theirs {
            self.kept.push(name.to_owned());
        }
    }

    /// Custom attributes, key by key. All come along, also above the limit, which is for those that
    /// are added.
    fn fill_keys(
        &mut self,
        part: &str,
        ours: &mut Map<String, Value>,
        theirs: &Map<String, Value>,
    ) {
        for (key, value) in theirs {
            let name = format!("{part}.{key}");
            match ours.get(key) {
                Some(present) => self.keep(&name, present, value),
                None => {
                    ours.insert(key.clone(), value.clone());
                    self.taken.push(name);
                }
            }
        }
    }

    fn told(self, report: &mut MergeReport, part: &str) {
        let named = |name: String| format!("{part}{name}");
        report.changed.extend(self.taken.into_iter().map(named));
        report.kept.extend(self.kept.into_iter().map(named));
    }
}

pub(super) struct Record<'a> {
    pub(super) both: &'a Both<'a>,
    pub(super) into: &'a Customer,
    pub(super) from: &'a Customer,
    pub(super) mails: &'a MergeMails,
}

impl Record<'_> {
    /// Customer, profile and preferences, in this order; each that changes raises the version.
    pub(super) fn events(
        &self,
        accepts_marketing: bool,
        report: &mut MergeReport,
    ) -> Result<Vec<Event>, Rejection> {
        let mut names = Names::default();
        let mut customer = self.customer(&mut names, report)?;
        if customer.accepts_marketing != accepts_marketing {
            customer.accepts_marketing = accepts_marketing;
            names.taken.push("accepts_marketing".to_owned());
        }
        let mut version = self.into.version;
        let mut events = Vec::new();
        if !names.taken.is_empty() {
            version += 1;
            customer.version = version;
            customer.updated_at = self.both.context.now;
            let changed = names.taken.clone();
            events.push(Event::CustomerUpdated { customer: Box::new(customer.clone()), changed });
            events.extend(self.phone(&customer));
        }
        names.told(report, "");
        events.extend(self.profile(&mut version, report)?);
        events.extend(self.preferences(&mut version, report)?);
        report.version = version;
        Ok(events)
    }

    fn customer(&self, names: &mut Names, report: &mut MergeReport) -> Result<Customer, Rejection> {
        let (into, from) = (self.into, self.from);
        let mut customer = into.clone();
        names.keep("email", &into.email.canonical(), &from.email.canonical());
        names.keep("first_name", &into.first_name, &from.first_name);
        names.keep("last_name", &into.last_name, &from.last_name);
        names.fill("phone", &mut customer.phone, &from.phone);
        if into.phone.is_none() {
            customer.phone_verified_at = from.phone_verified_at;
        } else if into.phone == from.phone && into.phone_verified_at.is_none() {
            names.fill("phone_verified", &mut customer.phone_verified_at, &from.phone_verified_at);
        }
        names.keep("customer_type", &into.customer_type, &from.customer_type);
        names.keep("group", &into.group, &from.group);
        customer.tags = into.tags.and(&from.tags);
        let tags = customer.tags.as_slice().len();
        if tags > Tags::MAX {
            return Err(Rejection::TagLimitReached);
        }
        report.moved.tags = tags - into.tags.as_slice().len();
        if report.moved.tags > 0 {
            names.taken.push("tags".to_owned());
        }
        // Who was here first was here since then.
        if from.created_at < into.created_at {
            customer.created_at = from.created_at;
            names.taken.push("created_at".to_owned());
        }
        if from.last_sign_in_at > into.last_sign_in_at {
            customer.last_sign_in_at = from.last_sign_in_at;
            names.taken.push("last_sign_in_at".to_owned());
        }
        Ok(customer)
    }

    /// A verified number is found and signed in by, of which the owner is told.
    fn phone(&self, customer: &Customer) -> Vec<Event> {
        let mut events = Vec::new();
        if customer.phone != self.into.phone {
            let (from, to) = (self.into.phone.clone(), customer.phone.clone());
            events.push(Event::PhoneChanged { from, to });
        }
        if customer.phone_verified_at != self.into.phone_verified_at
            && let Some(phone) = &customer.phone
        {
            events.push(Event::PhoneTaken { phone: phone.clone() });
            events.push(self.both.mail(self.mails.phone, MailBody::PhoneChanged));
        }
        events
    }

    fn profile(
        &self,
        version: &mut i64,
        report: &mut MergeReport,
    ) -> Result<Option<Event>, Rejection> {
        let ours = self.both.into.profile.as_ref().ok_or(Rejection::Conflict)?;
        let theirs = self.both.from.profile.as_ref().ok_or(Rejection::Conflict)?;
        let (mut profile, mut names) = (ours.clone(), Names::default());
        names.fill("date_of_birth", &mut profile.date_of_birth, &theirs.date_of_birth);
        names.fill("gender", &mut profile.gender, &theirs.gender);
        names.fill("avatar_url", &mut profile.avatar_url, &theirs.avatar_url);
        names.fill("company", &mut profile.company, &theirs.company);
        names.fill("tax_id", &mut profile.tax_id, &theirs.tax_id);
        names.fill("bio", &mut profile.bio, &theirs.bio);
        names.fill_keys("custom", &mut profile.custom, &theirs.custom);
        let changed: Vec<_> = names.taken.iter().map(|name| format!("profile.{name}")).collect();
        names.told(report, "profile.");
        if changed.is_empty() {
            return Ok(None);
        }
        *version += 1;
        let profile = Box::new(Profile { version: ours.version + 1, ..profile });
        let at = self.both.context.now;
        Ok(Some(Event::ProfileUpdated { profile, changed, version: *version, at }))
    }

    /// What is never empty (language, zone, currency, channels) is that of who goes on.
    fn preferences(
        &self,
        version: &mut i64,
        report: &mut MergeReport,
    ) -> Result<Vec<Event>, Rejection> {
        let ours = self.both.into.preferences.as_ref().ok_or(Rejection::Conflict)?;
        let theirs = self.both.from.preferences.as_ref().ok_or(Rejection::Conflict)?;
        let (mut preferences, mut names) = (ours.clone(), Names::default());
        names.keep("locale", &ours.locale, &theirs.locale);
        names.keep("timezone", &ours.timezone, &theirs.timezone);
        names.keep("currency", &ours.currency, &theirs.currency);
        names.keep("channels.email", &ours.channels.email, &theirs.channels.email);
        names.keep("channels.sms", &ours.channels.sms, &theirs.channels.sms);
        names.keep("channels.push", &ours.channels.push, &theirs.channels.push);
        let some = |topics: &Topics| Some(topics.clone()).filter(|all| !all.as_slice().is_empty());
        let mut topics = some(&ours.topics);
        names.fill("topics", &mut topics, &some(&theirs.topics));
        preferences.topics = topics.unwrap_or_default();
        names.fill_keys("custom", &mut preferences.custom, &theirs.custom);
        let changed = names.taken.clone();
        let noted: Vec<_> = changed.iter().map(|name| format!("preferences.{name}")).collect();
        names.told(report, "preferences.");
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        *version += 1;
        let preferences = Box::new(Preferences { version: ours.version + 1, ..preferences });
        let (version, at) = (*version, self.both.context.now);
        Ok(vec![
            Event::PreferencesUpdated { preferences, changed },
            Event::PreferencesNoted { changed: noted, version, at },
        ])
    }
}
