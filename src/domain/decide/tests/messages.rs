//! The contract of messages (rules M4, M6): whatever an event tells follows the schema of its type.

use super::*;
use crate::domain::event::{Created, EmailChangeCause, PasswordCause, Source};
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::group::{Group, GroupEvent};
use crate::domain::identity::Identity;
use crate::domain::mail::{Mail, MailBody};
use crate::domain::message::{Message, Sealed, TYPES};
use crate::domain::outcome::SignInRefusal;
use crate::domain::passkey::Passkey;
use crate::domain::phone_confirmation::PhoneConfirmation;
use crate::domain::second_factor::Totp;
use crate::domain::session::{RevocationReason, SecondFactor, Session};
use crate::domain::text_message::{TextBody, TextMessage};
use crate::domain::throttle::Throttle;
use crate::domain::token::Purpose;
use jsonschema::Validator;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static VALIDATORS: LazyLock<BTreeMap<&str, Validator>> =
    LazyLock::new(|| TYPES.iter().map(|known| (known.kind, validator(&(known.exact)()))).collect());

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).unwrap()
}

/// Panics unless the data of a message is what its type's schema says.
pub(super) fn follows_its_schema(message: &Message, sealed: Option<&Sealed>) {
    let (kind, data) = (message.kind(), message.body(sealed));
    let validator = VALIDATORS.get(kind).unwrap_or_else(|| panic!("{kind} has no schema"));
    if let Err(error) = validator.validate(&data) {
        panic!("{kind}: {error} in {data}");
    }
}

/// Events of every variant. One without samples does not compile, for the patterns are matched
/// exhaustively, nor does the list help itself with samples of another variant.
macro_rules! samples {
    ($($pattern:pat => $made:expr,)+) => {
        pub(super) fn samples() -> Vec<Event> {
            #[deny(unreachable_patterns)]
            fn _every_variant(event: &Event) {
                match event {
                    $($pattern => {})+
                }
            }
            let mut samples = Vec::new();
            $({
                let made: Vec<Event> = Vec::from_iter($made);
                assert!(!made.is_empty(), "no sample of {}", stringify!($pattern));
                for event in &made {
                    assert!(matches!(event, $pattern), "{event:?} is no {}", stringify!($pattern));
                }
                samples.extend(made);
            })+
            samples
        }
    };
}

samples! {
    Event::Created(_) => created(),
    Event::CustomerUpdated { .. } => [Event::CustomerUpdated {
        customer: Box::new(someone()),
        changed: names(&["first_name", "email"]),
    }],
    Event::GroupChanged { .. } =>
        [Event::GroupChanged { from: group("individual"), to: group("vip-2_eu") }],
    Event::PhoneChanged { .. } =>
        [Event::PhoneChanged { from: None, to: Some(phone()) }],
    Event::PhoneRequested(_) => [Event::PhoneRequested(Box::new(waiting_number()))],
    Event::PhoneCodeFailed => [Event::PhoneCodeFailed],
    Event::PhoneRequestDropped => [Event::PhoneRequestDropped],
    Event::PhoneVerified { .. } => [Event::PhoneVerified { phone: phone(), at: at(1) }],
    Event::PhoneTaken { .. } => [Event::PhoneTaken { phone: phone() }],
    Event::TextQueued(_) => [Event::TextQueued(Box::new(text()))],
    Event::EmailChanged { .. } =>
        [EmailChangeCause::Confirmed, EmailChangeCause::Undone].map(email_changed),
    Event::ProfileUpdated { .. } => [Event::ProfileUpdated {
        profile: Box::default(),
        changed: names(&["profile.date_of_birth", "profile.custom.pet_2"]),
        version: 2,
        at: at(1),
    }],
    Event::PreferencesUpdated { .. } => [Event::PreferencesUpdated {
        preferences: Box::new(active().preferences.unwrap()),
        changed: names(&["locale", "channels.sms", "custom.theme"]),
    }],
    Event::PreferencesNoted { .. } => [Event::PreferencesNoted {
        changed: names(&["preferences.channels.sms"]),
        version: 3,
        at: at(1),
    }],
    Event::StatusChanged { .. } => Status::ALL.map(|status| Event::StatusChanged {
        from: status,
        to: status,
        reason: reason(),
        at: at(1),
    }),
    Event::Wishlist(_) => super::wishlists::events(),
    Event::Note(_) => super::notes::events(),
    Event::PrivacyExport(_) => super::privacy_exports::events(),
    Event::Order(_) => super::orders::events(),
    Event::Group(_) => [
        Event::Group(GroupEvent::Created(a_group())),
        Event::Group(GroupEvent::Renamed(a_group())),
        Event::Group(GroupEvent::Deleted { code: group("vip") }),
    ],
    Event::Attribute(_) => super::attributes::events(),
    Event::Segment(_) => super::segments::events(),
    Event::Membership(_) => super::segments::memberships(),
    Event::Erasure(_) => super::deletions::events(),
    Event::CustomerDeleted { .. } => [None, Some(customer_id())]
        .map(|merged_into| Event::CustomerDeleted { at: at(1), merged_into }),
    Event::Merged(_) => super::merges::told(),
    Event::EmailVerified { .. } => [Event::EmailVerified { at: at(1) }],
    Event::TokenIssued(_) =>
        [Event::TokenIssued(Box::new(pending().tokens[&hash(1)].clone()))],
    Event::TokenUsed { .. } => [Event::TokenUsed { hash: hash(1), at: at(1) }],
    Event::TokenVoided { .. } => Purpose::ALL.map(|purpose| Event::TokenVoided {
        hash: hash(1),
        purpose,
        at: at(1),
    }),
    Event::MailQueued(_) => [Event::MailQueued(Box::new(Mail {
        id: mail_id(1),
        customer_id: customer_id(),
        to: None,
        body: MailBody::NewDevice,
        locale: Locale::parse("vi").unwrap(),
    }))],
    Event::AttemptClaimed { .. } =>
        [Event::AttemptClaimed { bucket: BUCKET, throttle: Throttle::default() }],
    Event::AttemptFailed { .. } => Factor::ALL.iter().map(|factor| Event::AttemptFailed {
        bucket: BUCKET,
        factor: *factor,
        throttle: Throttle::default(),
    }),
    Event::AttemptReleased { .. } =>
        [Event::AttemptReleased { bucket: BUCKET, throttle: Throttle::default() }],
    Event::AttemptSucceeded { .. } =>
        [Event::AttemptSucceeded { bucket: BUCKET, throttle: Throttle::default() }],
    Event::SignInLocked { .. } => Factor::ALL.iter().map(|factor| Event::SignInLocked {
        factor: *factor,
        until: at(1) + TimeDelta::microseconds(7),
    }),
    Event::SecondFactorAsked { .. } =>
        [Event::SecondFactorAsked { methods: SecondFactor::ALL.to_vec() }],
    Event::TotpStarted(_) => [Event::TotpStarted(Box::new(authenticator()))],
    Event::TotpEnabled { .. } => [Event::TotpEnabled { step: 1, at: at(1) }],
    Event::TotpStepUsed { .. } => [Event::TotpStepUsed { step: 1 }],
    Event::TotpRemoved { .. } => [true, false].map(|enabled| Event::TotpRemoved { enabled }),
    Event::BackupCodesIssued { .. } =>
        [Event::BackupCodesIssued { hashes: vec![hash(1)], at: at(1) }],
    Event::BackupCodeUsed { .. } => [Event::BackupCodeUsed { hash: hash(1), left: 9 }],
    Event::BackupCodesRemoved => [Event::BackupCodesRemoved],
    Event::FactorsReset => [Event::FactorsReset],
    Event::FlowOpened(_) => FlowKind::ALL.map(|kind| Event::FlowOpened(Box::new(begun(kind)))),
    Event::FlowUsed { .. } => [Event::FlowUsed { at: at(1) }],
    Event::FlowFailed => [Event::FlowFailed],
    Event::SignInRefused { .. } =>
        [Event::SignInRefused { refusal: SignInRefusal::EmailUnverified }],
    Event::PasswordRehashed { .. } =>
        [Event::PasswordRehashed { hash: PasswordHash::new(PASSWORD_HASH) }],
    Event::PasswordChosen { .. } =>
        [Event::PasswordChosen { hash: PasswordHash::new(PASSWORD_HASH) }],
    Event::PasswordChanged { .. } => [PasswordCause::Reset, PasswordCause::Change]
        .map(|cause| Event::PasswordChanged { hash: PasswordHash::new(PASSWORD_HASH), cause }),
    Event::PasswordVoided => [Event::PasswordVoided],
    Event::DeviceRemembered(_) => signed_in().devices.into_values().map(remembered),
    Event::DeviceForgotten { .. } => [Event::DeviceForgotten { id: device_id(1) }],
    Event::SignedIn { .. } => sessions().map(|session| Event::SignedIn { session }),
    Event::SessionRefreshed { .. } => sessions().map(|session| Event::SessionRefreshed { session }),
    Event::SessionRevoked { .. } => revoked(),
    Event::AddressAdded { .. } => addresses().map(|address| Event::AddressAdded { address }),
    Event::AddressUpdated { .. } => addresses().map(|address| Event::AddressUpdated {
        address,
        changed: names(&["line1", "postal_code"]),
    }),
    Event::AddressDeleted { .. } => [Event::AddressDeleted { id: address_id(1) }],
    Event::DefaultAddressChanged { .. } => handed_over(),
    Event::IdentityLinked(_) => [Event::IdentityLinked(Box::new(Identity {
        account: Account { provider: "key-cloak_2".into(), subject: "zsubject".into(), email: None },
        linked_at: at(1),
    }))],
    Event::IdentityUnlinked { .. } => [Event::IdentityUnlinked { provider: "google".into() }],
    Event::PasskeyAdded(_) => [Event::PasskeyAdded(Box::new(passkey()))],
    Event::PasskeyChanged { .. } => [None, Some(true), Some(false)].map(|switched| {
        Event::PasskeyChanged { passkey: Box::new(passkey()), switched }
    }),
    Event::PasskeyRemoved { .. } => [Event::PasskeyRemoved { id: passkey().id }],
    Event::PasskeyUsed { .. } => [Event::PasskeyUsed {
        id: passkey().id,
        counter: 1,
        backed_up: false,
        at: at(1),
    }],
    Event::PasskeySuspected { .. } => [Event::PasskeySuspected { id: passkey().id }],
    Event::Consent(_) => super::consents::entries_of_all_kinds(),
    Event::Unlocked { .. } => [Event::Unlocked { buckets: vec![BUCKET] }],
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn someone() -> Customer {
    active().customer.unwrap()
}

fn created() -> Vec<Event> {
    let sources = [Source::Registration, Source::Staff, Source::Identity, Source::Import];
    let types = [CustomerType::Individual, CustomerType::Business];
    let each = sources.into_iter().flat_map(|source| types.map(|kind| (source, kind)));
    each.map(|(source, customer_type)| {
        let customer = Customer { customer_type, ..someone() };
        let preferences = active().preferences.unwrap();
        let (profile, password_hash) = (Default::default(), None);
        let created = Created { customer, profile, preferences, password_hash, source };
        Event::Created(Box::new(created))
    })
    .collect()
}

fn email_changed(cause: EmailChangeCause) -> Event {
    let address = someone().email;
    Event::EmailChanged { from: address.clone(), to: address, cause, held_until: None }
}

fn a_group() -> Group {
    let (code, name) = (group("vip"), Label::parse("Very important").unwrap());
    Group { code, name, created_at: at(1), updated_at: at(2), version: 2 }
}

fn waiting_number() -> PhoneConfirmation {
    PhoneConfirmation {
        text_id: TextMessageId(Uuid::from_u128(1)),
        phone: phone(),
        code_hash: hash(1),
        tries: 0,
        created_at: at(0),
        expires_at: at(300),
    }
}

fn text() -> TextMessage {
    TextMessage {
        id: TextMessageId(Uuid::from_u128(1)),
        customer_id: customer_id(),
        body: TextBody::PhoneCode { nonce: [1; 32] },
        locale: Locale::parse("vi").unwrap(),
        expires_at: at(300),
    }
}

fn authenticator() -> Totp {
    Totp { secret: vec![1], created_at: at(0), confirmed_at: None, last_step: None }
}

fn begun(kind: FlowKind) -> Flow {
    Flow {
        hash: hash(1),
        kind,
        customer_id: None,
        payload: vec![1],
        created_at: at(0),
        expires_at: at(300),
        failures: 0,
        used_at: None,
    }
}

fn remembered(device: Device) -> Event {
    Event::DeviceRemembered(Box::new(device))
}

/// Opened in every way.
fn sessions() -> impl Iterator<Item = Box<Session>> {
    let session = signed_in().sessions.into_values().next().unwrap();
    let factors = SecondFactor::ALL.into_iter().map(Some).chain([None]);
    factors.flat_map(move |second_factor| {
        let session = session.clone();
        SignInMethod::ALL
            .map(|method| Box::new(Session { method, second_factor, ..session.clone() }))
    })
}

fn revoked() -> Vec<Event> {
    use RevocationReason::*;
    let reasons = [
        SignedOut,
        RevokedByOwner,
        RevokedByStaff,
        RefreshReused,
        StatusChanged,
        TooManySessions,
        PasswordChanged,
        EmailChanged,
        FactorsReset,
        CustomerDeleted,
    ];
    reasons.map(|reason| Event::SessionRevoked { id: session_id(1), reason, at: at(1) }).into()
}

fn addresses() -> impl Iterator<Item = Box<crate::domain::address::Address>> {
    with_addresses(2).addresses.into_values().map(Box::new)
}

fn handed_over() -> Vec<Event> {
    let each = AddressKind::ALL
        .into_iter()
        .flat_map(|kind| [None, Some(address_id(1))].map(|from| (kind, from)));
    each.map(|(kind, from)| Event::DefaultAddressChanged {
        kind,
        from,
        to: address_id(2),
        at: at(1),
    })
    .collect()
}

fn passkey() -> Passkey {
    Passkey {
        id: PasskeyId(Uuid::from_u128(1)),
        credential_id: vec![1; 16],
        user_handle: customer_id().0,
        credential: Value::Null,
        counter: 0,
        name: Label::parse("Zlabel").unwrap(),
        second_factor: false,
        backup_eligible: false,
        backed_up: false,
        created_at: at(0),
        last_used_at: None,
        version: 1,
    }
}

#[test]
fn m4_whatever_an_event_tells_follows_its_schema() {
    let messages: Vec<_> =
        samples().iter().filter_map(|event| event.message(customer_id())).collect();
    messages.iter().for_each(|message| follows_its_schema(message, None));
    // And the samples are all that the schemas allow: a cause, factor or change that no sample has
    // would go unseen.
    for known in TYPES {
        let of_kind = messages.iter().filter(|message| message.kind() == known.kind);
        let data: Vec<Value> = of_kind.map(Message::data).collect();
        let schema = (known.exact)();
        for branch in schema["oneOf"].as_array().unwrap_or(&vec![schema.clone()]) {
            let validator = validator(branch);
            let data: Vec<_> = data.iter().filter(|data| validator.is_valid(data)).collect();
            for (name, property) in branch["properties"].as_object().unwrap() {
                for value in enumerated(property) {
                    let made = data.iter().any(|data| data[name] == value);
                    assert!(made, "{}: no sample has {name} = {value}", known.kind);
                }
            }
        }
    }
}

/// The single values that a schema names.
fn enumerated(schema: &Value) -> Vec<Value> {
    let list = |key: &str| schema[key].as_array().cloned().unwrap_or_default();
    let mut values = list("enum");
    values.extend(schema.get("const").cloned());
    let null = schema["type"] == "null" || list("type").contains(&Value::from("null"));
    values.extend(null.then_some(Value::Null));
    let branches = list("oneOf").into_iter().chain(list("anyOf"));
    values.extend(branches.flat_map(|branch| enumerated(&branch)));
    values
}

/// The exact ones, by which tests see a field that nobody announced.
#[test]
fn m4_exact_schemas_are_closed_whole_and_explained() {
    for known in TYPES {
        let schema = (known.exact)();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(!schema.to_string().contains("$ref"), "{}: {schema:#}", known.kind);
        for branch in schema["oneOf"].as_array().unwrap_or(&vec![schema.clone()]) {
            let properties = branch["properties"].as_object().unwrap();
            assert_eq!(branch["additionalProperties"], false, "{}: {schema:#}", known.kind);
            let sealed = usize::from(known.seals.is_some());
            assert_eq!(
                branch["required"].as_array().unwrap().len() + sealed,
                properties.len(),
                "{}: every field but what is sealed is always there: {schema:#}",
                known.kind
            );
            for (name, property) in properties.iter().filter(|(name, _)| *name != "factor") {
                assert!(property["description"].is_string(), "{}: {name}", known.kind);
            }
        }
        assert!(known.when.ends_with('.') && !known.when.starts_with(' '), "{}", known.when);
    }
}
