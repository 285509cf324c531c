//! The address book (rules D1, D2): at most one default per kind, always handed over, never lost.

use super::{Answer, Decision, check_version, decided, writable};
use crate::domain::address::{Address, AddressFields, AddressKind, AddressLimits};
use crate::domain::command::{AddressChange, Change, Context, checked_postal_code};
use crate::domain::event::Event;
use crate::domain::fault::Fault;
use crate::domain::ids::AddressId;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::phone::PhoneNumber;
use crate::domain::region;
use crate::domain::state::State;

/// Adds an address; the first one becomes both defaults.
pub fn add(
    state: &State,
    id: AddressId,
    fields: &AddressFields,
    defaults: &[AddressKind],
    limits: AddressLimits,
    context: &Context,
) -> Decision {
    let limit = limits.of(writable(state, context)?.customer_type);
    if state.addresses.len() >= limit {
        return Err(Rejection::AddressLimitReached { limit });
    }
    let postal_code = checked_postal_code(fields.postal_code.clone(), &fields.country)
        .map_err(at("#/postal_code"))?;
    let address = Address {
        id,
        fields: AddressFields { postal_code, ..fields.clone() },
        default_shipping: false,
        default_billing: false,
        created_at: context.now,
        updated_at: context.now,
        last_used_at: context.now,
        version: 1,
    };
    let mut events = vec![Event::AddressAdded { address: Box::new(address) }];
    for kind in AddressKind::ALL {
        let holder = holder(state, kind);
        if holder.is_none() || defaults.contains(&kind) {
            events.push(hand_over(kind, holder, id, context));
        }
    }
    decided(events, Answer::Address(id))
}

/// Changes an address by merge patch, its defaults included.
pub fn change(
    state: &State,
    id: AddressId,
    change: &AddressChange,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    writable(state, context)?;
    let current = state.addresses.get(&id).ok_or(Rejection::NotFound)?;
    check_version(if_match, current.version)?;
    let mut events = Vec::new();
    let (fields, changed) = patched(&current.fields, change)?;
    if !changed.is_empty() {
        let address = Address {
            fields,
            version: current.version + 1,
            updated_at: context.now,
            last_used_at: context.now,
            ..current.clone()
        };
        events.push(Event::AddressUpdated { address: Box::new(address), changed });
    }
    let wishes = [
        (AddressKind::Shipping, change.default_shipping, "#/default_shipping"),
        (AddressKind::Billing, change.default_billing, "#/default_billing"),
    ];
    for (kind, wish, pointer) in wishes {
        match wish {
            Some(true) if !current.is_default(kind) => {
                events.push(hand_over(kind, holder(state, kind), id, context));
            }
            Some(false) if current.is_default(kind) => {
                let detail =
                    "a default is handed over, not given up: make another address the default";
                return Err(Rejection::Invalid {
                    pointer,
                    fault: Fault::new("default_required", detail),
                });
            }
            _ => {}
        }
    }
    decided(events, Answer::Address(id))
}

/// Deletes an address; its defaults go to the most recently used other one.
pub fn delete(state: &State, id: AddressId, if_match: Option<i64>, context: &Context) -> Decision {
    writable(state, context)?;
    let current = state.addresses.get(&id).ok_or(Rejection::NotFound)?;
    check_version(if_match, current.version)?;
    let others = state.addresses.values().filter(|address| address.id != id);
    let heir = others
        .max_by_key(|address| (address.last_used_at, address.id))
        .ok_or(Rejection::LastAddress)?
        .id;
    let mut events = vec![Event::AddressDeleted { id }];
    for kind in AddressKind::ALL {
        if current.is_default(kind) {
            events.push(hand_over(kind, Some(id), heir, context));
        }
    }
    decided(events, Answer::Now(Outcome::Done))
}

/// Makes an address the default of a kind; one that is already changes nothing.
pub fn set_default(
    state: &State,
    id: AddressId,
    kind: AddressKind,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    writable(state, context)?;
    let current = state.addresses.get(&id).ok_or(Rejection::NotFound)?;
    check_version(if_match, current.version)?;
    let events = if current.is_default(kind) {
        Vec::new()
    } else {
        vec![hand_over(kind, holder(state, kind), id, context)]
    };
    decided(events, Answer::Address(id))
}

fn holder(state: &State, kind: AddressKind) -> Option<AddressId> {
    state.addresses.values().find(|address| address.is_default(kind)).map(|address| address.id)
}

fn hand_over(
    kind: AddressKind,
    from: Option<AddressId>,
    to: AddressId,
    context: &Context,
) -> Event {
    Event::DefaultAddressChanged { kind, from, to, at: context.now }
}

fn at(pointer: &'static str) -> impl Fn(Fault) -> Rejection {
    move |fault| Rejection::Invalid { pointer, fault }
}

/// The fields after the patch and the names of those that differ.
fn patched(
    current: &AddressFields,
    change: &AddressChange,
) -> Result<(AddressFields, Vec<String>), Rejection> {
    let country = change.country.clone().unwrap_or_else(|| current.country.clone());
    // What was good when it was written does not stand in the way of another change.
    let stays = country == current.country;
    let postal_code = if stays && change.postal_code == Change::Keep {
        current.postal_code.clone()
    } else {
        let raw = change.postal_code.apply(&current.postal_code);
        checked_postal_code(raw, &country).map_err(at("#/postal_code"))?
    };
    let (region, region_code) = if stays && change.region == Change::Keep {
        (current.region.clone(), current.region_code.clone())
    } else {
        match change.region.apply(&current.region) {
            None => (None, None),
            Some(written) => {
                let (kept, code) = region::resolve(written, &country).map_err(at("#/region"))?;
                (Some(kept), code)
            }
        }
    };
    let phone = match &change.phone {
        Change::Keep => current.phone.clone(),
        Change::Clear => None,
        Change::Set(raw) => Some(PhoneNumber::parse_in(raw, &country).map_err(at("#/phone"))?),
    };
    let fields = AddressFields {
        label: change.label.apply(&current.label),
        recipient: change.recipient.clone().unwrap_or_else(|| current.recipient.clone()),
        company: change.company.apply(&current.company),
        line1: change.line1.clone().unwrap_or_else(|| current.line1.clone()),
        line2: change.line2.apply(&current.line2),
        city: change.city.clone().unwrap_or_else(|| current.city.clone()),
        region,
        region_code,
        postal_code,
        country,
        phone,
    };
    let differs = [
        ("label", fields.label != current.label),
        ("recipient", fields.recipient != current.recipient),
        ("company", fields.company != current.company),
        ("line1", fields.line1 != current.line1),
        ("line2", fields.line2 != current.line2),
        ("city", fields.city != current.city),
        ("region", fields.region != current.region),
        ("region_code", fields.region_code != current.region_code),
        ("postal_code", fields.postal_code != current.postal_code),
        ("country", fields.country != current.country),
        ("phone", fields.phone != current.phone),
    ];
    let changed =
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    Ok((fields, changed.collect()))
}
