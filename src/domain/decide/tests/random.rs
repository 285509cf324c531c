//! What holds after any sequence of commands: the invariants of the state, that deciding is a
//! function of its arguments, and that messages and entries tell nothing personal (rule M6).

use super::*;
use crate::domain::event::{ErasureEvent, PersonalValues};
use crate::domain::handle::{Handle, HandleKind};
use crate::domain::message::{SEALED, TYPES};
use crate::domain::preferences::Topics;
use crate::domain::profile::date;
use crate::domain::session::{DEVICES_MAX, SESSIONS_MAX};
use crate::domain::token::Purpose;
use crate::security::envelopes::Place;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

/// One step: which command, two free choices, who asks, and how many seconds later.
pub(super) type Step = (u8, u8, u8, bool, u32);

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![6 => 0_u32..20, 3 => 20_u32..2_000, 1 => 2_000_u32..3_000_000];
    prop::collection::vec((0..56_u8, 0..6_u8, 0..6_u8, any::<bool>(), pause), 1..120)
}

/// The command of a step; the choices are small, so that steps meet each other.
fn command(n: u16, (which, a, b, _, _): Step, state: &State, seconds: i64) -> Command {
    let id = u128::from(a);
    // Ids and secrets that are made fresh for each command.
    let unique = 100 + u128::from(n);
    let secret = [(n >> 8) as u8 | 0x80, n as u8].repeat(16).try_into().unwrap();
    let kind = AddressKind::ALL[usize::from(b % 2)];
    let if_match = (b == 5).then_some(2);
    let session = state.sessions.values().nth(a.into());
    match which {
        0 => register(),
        1 => create_by_staff(),
        2 | 3 => {
            let token = state.tokens.keys().nth(a.into()).copied().unwrap_or(hash(a));
            Command::VerifyEmail { token_hash: token, session: Box::new(fresh_session(unique)) }
        }
        4 => Command::ResendVerification {
            mail_id: mail_id(unique),
            token: FreshToken { nonce: secret, hash: secret, expires_at: at(seconds + DAY) },
        },
        5 => Command::RemindOfAccount {
            mail_id: mail_id(unique),
            token: FreshToken { nonce: secret, hash: secret, expires_at: at(seconds + DAY) },
            password_hash: crate::domain::credential::PasswordHash::new("$argon2id$Zmarker"),
        },
        6 | 7 => claim(id),
        8 if b < 4 => fail(id),
        8 => release(id),
        9 => sign_in(id, unique),
        10 => {
            let Command::SignIn(mut sign_in) = sign_in(id, unique) else { unreachable!() };
            sign_in.rehash = (b == 1).then(|| PasswordHash::new(PASSWORD_HASH));
            if let Some(device) = state.devices.keys().nth(b.into()) {
                sign_in.session.device = SessionDevice::Known(*device);
            }
            Command::SignIn(sign_in)
        }
        11 | 12 => Command::Refresh {
            session_id: session.map_or(session_id(id), |session| session.id),
            presented: match (session, b) {
                (Some(session), 0..=3) => session.refresh_hash,
                (Some(session), 4) => session.previous_hash.unwrap_or_default(),
                _ => hash(b),
            },
            child: secret,
            policy: SESSIONS,
        },
        13 => Command::SignOut { session_id: session.map_or(session_id(id), |s| s.id) },
        14 => Command::RevokeSession { session_id: session.map_or(session_id(id), |s| s.id) },
        15 => Command::RevokeOtherSessions { keep: session.map_or(session_id(id), |s| s.id) },
        16 => Command::UpdateCustomer {
            change: Box::new(CustomerChange {
                first_name: Some(person(["Zfirst", "Zfirsta"][usize::from(a % 2)])),
                group: Some(group(["individual", "business"][usize::from(b % 2)])),
                phone: if a < 3 { Change::Set(phone()) } else { Change::Clear },
                tags: Some(Tags::parse(&["Ztag".into()]).unwrap()),
                marketing: [None, marketing(true), marketing(false)][usize::from(b % 3)].clone(),
                ..Default::default()
            }),
            if_match,
        },
        17 => Command::UpdateProfile {
            change: Box::new(ProfileChange {
                date_of_birth: Change::Set(date("1987-06-05").unwrap()),
                gender: if a < 3 { Change::Set("Zgender".into()) } else { Change::Clear },
                avatar_url: Change::Set("https://zavatar.example.org/".into()),
                company: Change::Set(line("Zcompany")),
                tax_id: Change::Set("Ztax".into()),
                bio: Change::Set("Zbio".into()),
                custom: custom(&[("size", if b < 3 { json!("Zvalue") } else { Value::Null })]),
            }),
            if_match,
        },
        18 => Command::UpdatePreferences {
            change: Box::new(PreferencesChange {
                sms: Some(a < 3),
                topics: Some(Topics::parse(&["Ztopic".into()]).unwrap()),
                custom: custom(&[("theme", if b < 3 { json!("Zvalue") } else { Value::Null })]),
                ..Default::default()
            }),
            if_match,
        },
        19 | 20 => Command::AddAddress {
            id: address_id(unique),
            fields: Box::new(address_fields("HK", Some("Z1P"))),
            defaults: AddressKind::ALL[..usize::from(b % 3)].to_vec(),
            limits: AddressLimits { individual: 4, business: 4 },
        },
        21..=24 => {
            let known = state.addresses.keys().nth(a.into());
            let id = known.copied().unwrap_or(address_id(unique));
            match which {
                21 => Command::ChangeAddress {
                    id,
                    change: Box::new(AddressChange {
                        city: Some(line(["Zcity", "Zcity2"][usize::from(a % 2)])),
                        default_shipping: [None, Some(true), Some(false)][usize::from(b % 3)],
                        default_billing: [None, Some(true)][usize::from(b % 2)],
                        ..Default::default()
                    }),
                    if_match,
                },
                22 => Command::SetDefaultAddress { id, kind, if_match },
                _ => Command::DeleteAddress { id, if_match },
            }
        }
        25 | 26 => move_status(Status::ALL[usize::from(a)]),
        27 => match b {
            0..=2 => super::phones::request(&phone(), a, seconds),
            3 => super::phones::remove(id),
            _ => super::phones::confirm(a),
        },
        33 | 34 => {
            link_identity(["google", "apple"][usize::from(a % 2)], ["1", "2"][usize::from(b % 2)])
        }
        35 => {
            let mut command = unlink_identity(["google", "apple"][usize::from(a % 2)], 1);
            if let (Command::UnlinkIdentity { proof, .. }, Some(session)) = (&mut command, session)
            {
                let max_age = TimeDelta::minutes(10);
                *proof = Proof::RecentSession { session: session.id, max_age };
            }
            command
        }
        // Rarely: little comes after it.
        28 if a == 0 => Command::DeleteCustomer { if_match },
        28 => super::phones::confirm(a),
        29 => Command::Unlock { buckets: vec![BUCKET, super::phones::PHONE_GUARD.bucket] },
        30 => Command::RequestPasswordReset {
            mail_id: mail_id(unique),
            token: FreshToken { nonce: secret, hash: secret, expires_at: at(seconds + DAY) },
        },
        31 | 32 => {
            let token = state.tokens.keys().nth(a.into()).copied().unwrap_or(hash(a));
            let Command::ResetPassword(mut reset) = reset_password(1) else { unreachable!() };
            reset.token_hash = token;
            Command::ResetPassword(reset)
        }
        36 | 37 => {
            let address = ["zmail2@example.org", "zmail3@example.org"][usize::from(b % 2)];
            let token = FreshToken { nonce: secret, hash: secret, expires_at: at(seconds + DAY) };
            let mut request = request_email(address, token);
            if let (Proof::RecentSession { session: shown, .. }, Some(session)) =
                (&mut request.proof, session)
            {
                *shown = session.id;
            }
            Command::RequestEmailChange(Box::new(request))
        }
        38 | 39 => {
            let token = state.tokens.keys().nth(a.into()).copied().unwrap_or(hash(a));
            let fresh = FreshToken { nonce: secret, hash: secret, expires_at: at(seconds + DAY) };
            if b % 2 == 0 { confirm_email(token, fresh) } else { undo_email(token, fresh) }
        }
        41..=45 => super::wishlists::random((which, a, b), unique, state),
        46 | 47 => super::consents::some(a, b),
        48 | 49 => super::notes::random((a, b), unique, state),
        51 | 52 => super::orders::some(a, b),
        53 | 54 => super::privacy_exports::random((a, b), unique, state),
        55 => super::deletions::random((a, b), unique, state),
        50 => super::strangers::merge_of(super::strangers::stranger_id(unique), b == 4),
        _ => {
            let Command::ChangePassword(mut change) = change_password(id, 1) else {
                unreachable!()
            };
            change.keep = session.map_or(session_id(id), |session| session.id);
            Command::ChangePassword(change)
        }
    }
}

/// What the tables demand of every commit, and what the rules promise.
pub(super) fn sound(state: &State, now: DateTime<Utc>) {
    for kind in AddressKind::ALL {
        let holders = state.addresses.values().filter(|address| address.is_default(kind)).count();
        assert_eq!(holders, usize::from(!state.addresses.is_empty()), "D1: {kind:?}");
    }
    for purpose in Purpose::ALL {
        let tokens = state.tokens.values().filter(|token| token.purpose == purpose);
        let open = tokens.filter(|token| token.used_at.is_none() && token.voided_at.is_none());
        assert!(open.count() <= 1, "A8: one open token of {purpose:?}");
    }
    assert!(state.tokens.values().all(|t| t.used_at.is_none() || t.voided_at.is_none()));
    let phones = state.handles.keys().filter(|handle| handle.kind == HandleKind::Phone);
    let verified = state.customer.as_ref().filter(|customer| customer.phone_verified_at.is_some());
    let own = verified.and_then(|customer| customer.phone.as_ref()).map(Handle::phone);
    // Of who is erased the statement that erases takes them, whatever was loaded.
    let erased = state.departed.as_ref().is_some_and(|gone| gone.status == Status::Erased);
    assert!(erased || phones.eq(own.iter()), "L5: found by the verified number and no other");
    let tries = state.phone_confirmation.as_ref().map_or(0, |waiting| waiting.tries);
    assert!(tries <= crate::domain::phone_confirmation::TRIES_MAX, "A8: five tries");
    let live = state.sessions.values().filter(|session| session.is_live(now)).count();
    assert!(live <= SESSIONS_MAX && state.devices.len() <= DEVICES_MAX, "A7, A4: limits");
    for session in state.sessions.values() {
        assert_eq!(session.previous_hash.is_none(), session.rotated_at.is_none());
        assert!(session.expires_at <= session.absolute_expires_at);
    }
    assert!(
        state.throttle(&BUCKET).failures.len() + state.throttle(&BUCKET).claims.len()
            <= LOCKS.max_failures
    );
    super::wishlists::sound(&state.wishlists);
    super::orders::sound(&state.orders);
    let parts = (state.profile.is_some(), state.preferences.is_some());
    // What was deleted softly leaves its parts behind.
    let whole = state.customer.is_some() || state.departed.is_some();
    assert_eq!(parts, (whole, whole), "L1: all or none");
    if let Some(customer) = &state.customer {
        let leaving = customer.status == Status::DeletionScheduled;
        let flag = state.consents.accepts_marketing() && !leaving;
        assert_eq!(customer.accepts_marketing, flag, "the flag is what the ledger says");
        let active = customer.status == Status::Active;
        assert!(live == 0 || active || leaving, "A7: sessions of the active only");
        assert_eq!(customer.status_before_deletion.is_some(), leaving, "L3");
        let phone = customer.phone.is_some() || customer.phone_verified_at.is_none();
        assert!(phone && customer.version >= 1);
        let pending = customer.status == Status::Pending;
        assert!(!pending || customer.email_verified_at.is_none(), "L7: verified, so not pending");
    }
}

/// Versions rise by one for each event that is a change, and only then.
fn versions_rise(before: &State, after: &State, events: &[Event]) {
    let count = |names: &[&str]| {
        let named = events.iter().filter(|event| names.contains(&name(event).as_str()));
        named.count() as i64
    };
    if let (Some(old), Some(new)) = (&before.customer, &after.customer) {
        let changes = [
            "CustomerUpdated",
            "ProfileUpdated",
            "PreferencesNoted",
            "StatusChanged",
            "EmailVerified",
            "PhoneVerified",
        ];
        let switched = |event: &&Event| {
            matches!(event, Event::Erasure(ErasureEvent::MarketingSwitched { .. }))
        };
        let switched = events.iter().filter(switched).count() as i64;
        assert_eq!(new.version, old.version + count(&changes) + switched);
        assert!(new.updated_at >= old.updated_at);
    }
    if let (Some(old), Some(new)) = (&before.profile, &after.profile) {
        assert_eq!(new.version, old.version + count(&["ProfileUpdated"]));
    }
    if let (Some(old), Some(new)) = (&before.preferences, &after.preferences) {
        assert_eq!(new.version, old.version + count(&["PreferencesUpdated"]));
    }
    for (id, old) in &before.addresses {
        if let Some(new) = after.addresses.get(id) {
            assert!(new.version >= old.version);
            assert_eq!(new.version > old.version, new != old, "a change is a version");
        }
    }
}

fn impersonal(text: &str, what: &str) {
    for marker in PERSONAL {
        assert!(!text.contains(marker), "M6: {what} tells {marker}: {text}");
    }
}

/// Whatever an event names as changed has its value, by the same name, and nothing else has.
fn named_values(event: &Event, values: Option<&PersonalValues>) {
    let changed: &[String] = match event {
        Event::CustomerUpdated { changed, .. }
        | Event::ProfileUpdated { changed, .. }
        | Event::PreferencesUpdated { changed, .. }
        | Event::AddressUpdated { changed, .. } => changed,
        _ => return,
    };
    let named: BTreeSet<&str> = changed.iter().map(String::as_str).collect();
    let values = values.map(PersonalValues::by_name).into_iter();
    let told: BTreeSet<&str> =
        values.flat_map(|values| values.keys().map(String::as_str)).collect();
    assert_eq!(told, named, "M6: {event:?}");
}

/// Every event is an entry, except the claims; and neither entries nor messages are personal.
pub(super) fn told(events: &[Event], kinds: &mut BTreeSet<&'static str>) {
    for event in events {
        let name = name(event);
        let values = event.personal_values();
        named_values(event, values.as_ref());
        let (customer, id) = (customer_id().0, Uuid::from_u128(7));
        match event.trace() {
            Some(mut trace) => {
                let seal = |values| super::personal::sealed(Place::Entry { customer, id }, values);
                trace.data[SEALED] = json!(values.as_ref().map(seal));
                impersonal(&trace.data.to_string(), trace.action);
            }
            // Of memberships those alone that say when to look again.
            None if name == "Membership" => {}
            None => assert!(name.starts_with("Attempt"), "{name} leaves no entry"),
        }
        if let Some(message) = event.message(customer_id()) {
            if !matches!(event, Event::Attribute(_) | Event::Segment(_)) {
                assert_eq!(message.data()["customer_id"], json!(customer_id()));
            }
            let seal = |values| super::personal::sealed(Place::Message { customer, id }, values);
            let sealed = values.as_ref().filter(|_| message.seals()).map(seal);
            super::messages::follows_its_schema(&message, sealed.as_ref());
            impersonal(&message.body(sealed.as_ref()).to_string(), message.kind());
            kinds.insert(message.kind());
        }
    }
}

/// Carries the steps out, checking after each. Returns the state and the message kinds told.
pub(super) fn play(steps: &[Step]) -> (State, BTreeSet<&'static str>) {
    let (mut state, mut seconds, mut kinds) = (pending(), 0, BTreeSet::new());
    for (n, step) in steps.iter().enumerate() {
        seconds += i64::from(step.4);
        let command = command(n as u16, *step, &state, seconds);
        impersonal(&format!("{command:?}"), "Debug");
        if let Some(from) = command.merges() {
            state.other = Some(Box::new(super::strangers::stranger(from, seconds)));
        }
        let actor = if step.3 { owner() } else { staff() };
        let actor = super::orders::teller(&command, actor);
        let then = given(state).by(actor.clone()).at(seconds).when(command.clone());
        let again = given(then.before.clone()).by(actor).at(seconds).when(command);
        assert_eq!(then.decision, again.decision, "deciding is a function");
        if let Ok(decided) = &then.decision {
            impersonal(&format!("{:?}", decided.events), "Debug");
            if decided.events.is_empty() {
                assert_eq!(then.before, then.after);
            }
            versions_rise(&then.before, &then.after, &decided.events);
            told(&decided.events, &mut kinds);
        }
        sound(&then.after, at(seconds));
        state = then.after;
        state.other = None;
    }
    impersonal(&format!("{state:?}"), "Debug");
    (state, kinds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_sequence_of_commands_keeps_the_rules(steps in steps()) {
        play(&steps);
    }

    #[test]
    fn replaying_a_sequence_gives_the_same_state(steps in steps()) {
        prop_assert_eq!(play(&steps), play(&steps));
    }
}

/// The markers are worth looking for: they are in the state, so a leak would show.
#[test]
fn m6_the_markers_are_in_the_state() {
    let everything: Vec<Step> =
        [2, 16, 17, 18, 19, 33, 41, 43].map(|which| (which, 0, 0, which != 16, 1)).into();
    let (state, _) = play(&everything);
    let text = json!([
        state.customer,
        state.profile,
        state.preferences,
        state.password_hash,
        state.addresses.values().collect::<Vec<_>>(),
        state.sessions.values().collect::<Vec<_>>(),
        state.identities.values().collect::<Vec<_>>(),
        state.wishlists.lists.values().collect::<Vec<_>>(),
        state.wishlists.items.values().collect::<Vec<_>>(),
    ])
    .to_string();
    for marker in PERSONAL {
        assert!(text.contains(marker), "{marker}");
    }
}

/// No kind is listed that nothing tells.
#[test]
fn m4_every_listed_message_is_told_by_some_command() {
    let mut kinds = BTreeSet::new();
    let mut state = State::default();
    let failures = (0..5).flat_map(|n| [claim(n), fail(n)]);
    let change = AddressChange { city: Some(line("Zcity2")), ..Default::default() };
    let record = CustomerChange {
        group: Some(group("business")),
        phone: Change::Clear,
        ..Default::default()
    };
    let preferences = PreferencesChange { sms: Some(true), ..Default::default() };
    let request =
        Command::RequestEmailChange(Box::new(request_email("n@example.org", token(80, 2))));
    let script =
        [register(), verify(1, 1), update_customer(record), update_preferences(preferences)]
            .into_iter()
            .chain([request, confirm_email(hash(80), token(81, 3))])
            .chain([add_address(1, &[]), add_address(2, &[]), change_address(1, change)])
            .chain([link_identity("google", "1"), unlink_identity("google", 1)])
            .chain(second_factor::set_up())
            .chain([super::consents::grant("analytics"), super::consents::withdraw("analytics")])
            .chain(wishlists::script())
            .chain(attributes::script())
            .chain(super::segments::script())
            .chain([super::orders::some(1, 1)])
            .chain(super::privacy_exports::script())
            .chain([delete_address(1), Command::SignOut { session_id: session_id(1) }])
            .chain(failures)
            .chain([claim(20), change_password(20, 2)])
            .chain([super::strangers::merge_of(super::strangers::stranger_id(1), false)])
            .chain([super::deletions::request_anyway(1), super::deletions::cancel()])
            .chain([Command::DeleteCustomer { if_match: None }])
            .chain(super::deletions::script());
    for (n, command) in script.enumerate() {
        let other = command.merges().map(|from| super::strangers::stranger(from, n as i64));
        state.other = other.map(Box::new);
        super::segments::lend(&mut state, &command);
        let then = given(state).by(super::orders::teller(&command, staff()));
        let then = then.at(n as i64).when(command);
        told(then.events(), &mut kinds);
        state = then.after;
    }
    assert_eq!(kinds, TYPES.iter().map(|known| known.kind).collect());
    assert_eq!(kinds.len(), TYPES.len(), "listed once each");
}
