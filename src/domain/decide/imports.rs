//! Coming to be a customer by an import (rule L1): everything that the row says, in one decision.
//! No mail follows: whoever is imported confirmed its address elsewhere, or is asked by the shop.

use super::record::changed_profile;
use super::registration::fresh;
use super::{Answer, Decision, addresses, attributes, consents, decided};
use crate::domain::command::{Context, ImportCustomer};
use crate::domain::consent;
use crate::domain::customer::Customer;
use crate::domain::event::{Created, Event, Source};
use crate::domain::evolve::evolve;
use crate::domain::outcome::Outcome;
use crate::domain::preferences::Preferences;
use crate::domain::profile::Profile;
use crate::domain::state::State;

/// A row of an import. That the address is free is the database's to say, in the same transaction.
pub fn import(state: &State, import: &ImportCustomer, context: &Context) -> Decision {
    let id = fresh(state, import.id)?;
    let created_at = import.created_at.unwrap_or(context.now);
    let customer = Customer {
        id,
        email: import.email.clone(),
        email_verified_at: import.email_verified.then_some(created_at),
        phone: import.phone.clone(),
        phone_verified_at: None,
        first_name: import.first_name.clone(),
        last_name: import.last_name.clone(),
        customer_type: import.customer_type,
        group: import.group.clone(),
        status: import.status,
        status_before_deletion: None,
        tags: import.tags.clone(),
        // what the ledger says, which the entries below begin
        accepts_marketing: false,
        last_sign_in_at: None,
        created_at,
        updated_at: context.now,
        version: 1,
        sequence: 0,
    };
    let preferences = Preferences {
        locale: import.locale.clone(),
        timezone: import.timezone.clone(),
        currency: import.currency.clone(),
        channels: Default::default(),
        topics: Default::default(),
        custom: Default::default(),
        version: 1,
    };
    let empty = Profile { version: 1, ..Default::default() };
    // By the one function that changes profiles, so that whatever it comes to refuse is refused here.
    let defined = &state.attributes;
    let mut change = import.profile.clone();
    attributes::adapt(defined, &mut change.custom);
    let (profile, _) = changed_profile(&empty, &change, defined, context)?;
    let mut events = vec![Event::Created(Box::new(Created {
        customer,
        profile,
        preferences,
        password_hash: import.password_hash.as_ref().map(|hash| hash.as_str().to_owned()),
        source: Source::Import,
    }))];
    let (terms, by) = (import.marketing.as_ref(), consent::Source::Import);
    events.extend(consents::at_creation(terms, &import.locale, by, context));
    events.extend(book(&events, import, context)?);
    decided(events, Answer::Now(Outcome::Done))
}

/// The addresses, one after the other as if each had been added by itself (rule D1).
fn book(
    events: &[Event],
    import: &ImportCustomer,
    context: &Context,
) -> Result<Vec<Event>, crate::domain::outcome::Rejection> {
    let mut added = Vec::new();
    if import.addresses.is_empty() {
        return Ok(added);
    }
    let mut state = State::default();
    events.iter().for_each(|event| evolve(&mut state, event));
    for address in &import.addresses {
        let limits = import.address_limits;
        let (id, defaults) = (address.id, &address.defaults);
        let decided = addresses::add(&state, id, &address.fields, defaults, limits, context)?;
        decided.events.iter().for_each(|event| evolve(&mut state, event));
        added.extend(decided.events);
    }
    Ok(added)
}
