//! Rule M6: which personal values each event brings, that no message or entry holds one in the clear,
//! and that whoever has the customer's key reads them.

use super::messages::{follows_its_schema, samples};
use super::*;
use crate::domain::event::PersonalValues;
use crate::domain::message::{SEALED, Sealed, TYPES};
use crate::security::customer_keys::{DataKey, WrappingKeys};
use crate::security::envelopes::{Envelope, EnvelopeKey, Place};
use crate::security::keys::RootSecret;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static KEY: LazyLock<DataKey> = LazyLock::new(|| {
    let wrapping = WrappingKeys::new(&RootSecret::new([1; 32]), &[]);
    wrapping.make(customer_id().0, [2; 32]).unwrap().0
});

/// Values as a message or an entry carries them, and that they open to the same.
pub(super) fn sealed(place: Place, values: &PersonalValues) -> Sealed {
    let key: &EnvelopeKey = match place {
        Place::Message { .. } => KEY.messages(),
        Place::Entry { .. } => KEY.entries(),
    };
    let envelope = key.seal(place, values.to_json(), [3; 12]).unwrap();
    let opened: Value = serde_json::from_slice(&key.open(place, &envelope).unwrap()).unwrap();
    assert_eq!(opened, Value::Object(values.by_name().clone()));
    let Envelope { kid, alg, nonce, ciphertext } = envelope;
    Sealed { kid, alg, nonce, ciphertext }
}

/// The names of what each event brings. An event that is not listed brings nothing.
const BROUGHT: &[(&str, &[&str])] = &[
    (
        "Created",
        &[
            "accepts_marketing",
            "email",
            "first_name",
            "last_name",
            "phone",
            "preferences.channels.email",
            "preferences.channels.push",
            "preferences.channels.sms",
            "preferences.currency",
            "preferences.locale",
            "preferences.timezone",
        ],
    ),
    ("CustomerUpdated", &["email", "first_name"]),
    ("ProfileUpdated", &["profile.custom.pet_2", "profile.date_of_birth"]),
    ("PreferencesUpdated", &["channels.sms", "custom.theme", "locale"]),
    ("PhoneChanged", &["from", "to"]),
    ("PhoneRequested", &["phone"]),
    ("PhoneVerified", &["phone"]),
    ("PhoneTaken", &["phone"]),
    ("EmailChanged", &["from", "to"]),
    ("SignedIn", &["client_address", "device_name", "user_agent"]),
    (
        "AddressAdded",
        &[
            "city",
            "company",
            "country",
            "label",
            "line1",
            "line2",
            "phone",
            "postal_code",
            "recipient",
            "region",
            "region_code",
        ],
    ),
    ("AddressUpdated", &["line1", "postal_code"]),
    ("IdentityLinked", &["subject"]),
    ("PasskeyAdded", &["name"]),
    ("PasskeyChanged", &["name"]),
];

/// Those of whom it depends on what happened.
const SOMETIMES: &[&str] = &["Wishlist", "MailQueued", "TokenIssued", "Erasure"];

/// Has values and a message without room for them: what an owner calls a passkey is nobody's business.
const KEPT_TO_THE_TRAIL: &[&str] = &["PasskeyAdded", "PasskeyChanged"];

#[test]
fn m6_each_event_brings_what_the_table_says() {
    let table: BTreeMap<_, _> = BROUGHT.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for event in samples() {
        let name = name(&event);
        if SOMETIMES.contains(&name.as_str()) {
            continue;
        }
        let values = event.personal_values();
        let mut names: Vec<_> =
            values.iter().flat_map(|values| values.by_name().keys().map(String::as_str)).collect();
        names.sort_unstable();
        let expected = table.get(name.as_str()).copied().unwrap_or_default();
        let optional = ["Created", "AddressAdded"].contains(&name.as_str());
        let fits = match optional {
            true => names.iter().all(|known| expected.contains(known)) && !names.is_empty(),
            false => names == expected,
        };
        assert!(fits, "{name} brings {names:?}, not {expected:?}");
        if values.is_some() {
            seen.insert(name);
        }
    }
    assert_eq!(seen, table.keys().map(|name| (*name).to_owned()).collect());
}

/// What a wishlist brings are its owner's words.
#[test]
fn m6_wishlists_bring_the_words_of_their_owner() {
    let mut seen = BTreeSet::new();
    for event in super::wishlists::events() {
        let Event::Wishlist(about) = &event else { unreachable!() };
        let values = event.personal_values();
        let told = event.message(customer_id()).unwrap();
        let names = values.iter().flat_map(|values| values.by_name().keys().cloned());
        let names: Vec<_> = names.collect();
        let word = if told.kind().contains("item") { "note" } else { "name" };
        assert!(names.is_empty() || names == [word], "{about:?} brings {names:?}");
        if !names.is_empty() {
            seen.insert(told.kind());
            assert!(told.seals(), "{}", told.kind());
        }
    }
    assert!(seen.contains("wishlist.created"), "{seen:?}");
}

/// No message has values that it has no room for, and none has room for what never comes.
#[test]
fn m6_messages_have_room_for_the_values_of_their_events() {
    let mut filled = BTreeSet::new();
    for event in samples() {
        let Some(values) = event.personal_values() else { continue };
        let Some(message) = event.message(customer_id()) else { continue };
        let name = name(&event);
        assert_eq!(message.seals(), !KEPT_TO_THE_TRAIL.contains(&name.as_str()), "{name}");
        if message.seals() {
            filled.insert(message.kind());
            let place = Place::Message { customer: customer_id().0, id: Uuid::from_u128(1) };
            let sealed = sealed(place, &values);
            follows_its_schema(&message, Some(&sealed));
            assert_eq!(message.body(Some(&sealed))[SEALED], json!(sealed));
        }
    }
    // What only some words of wishlists fill.
    let words = ["wishlist.updated", "wishlist.item_added", "wishlist.item_changed"];
    for known in TYPES.iter().filter(|known| known.seals.is_some()) {
        assert!(filled.contains(known.kind) || words.contains(&known.kind), "{}", known.kind);
        let example = (known.example)();
        assert!(example[SEALED].is_object(), "{}: {example}", known.kind);
    }
    for known in TYPES.iter().filter(|known| known.seals.is_none()) {
        assert!((known.example)().get(SEALED).is_none(), "{}", known.kind);
    }
}

/// Values are printed by nothing, so that none ends in a log.
#[test]
fn m6_personal_values_are_never_printed() {
    for event in samples() {
        if let Some(values) = event.personal_values() {
            assert_eq!(format!("{values:?}"), "PersonalValues(..)");
        }
    }
}
