//! Two customers become one (rule L10): who may, what moves, what gives way, what ends, and that
//! whatever the two had, nothing is lost that the report does not name.

use super::random::{play, sound, steps, told as tells_nothing_personal};
use super::strangers::{merge_of, relabelled, stranger, stranger_id};
use super::*;
use crate::domain::consent::{Consent, Purpose};
use crate::domain::handle::{Handle, HandleKind};
use crate::domain::identity::Identity;
use crate::domain::mail::MailBody;
use crate::domain::merge::{MergeReport, Strictness, allows};
use crate::domain::preferences::Topics;
use crate::domain::wishlist::WishlistItem;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

/// A merge of which something moves, and one of which nothing does.
pub(super) fn told() -> Vec<Event> {
    let of = |from| {
        let then = given(State { other: Some(Box::new(from)), ..active() });
        let then = then.by(staff()).when(merge_of(stranger_id(1), false));
        then.events().last().cloned().unwrap()
    };
    vec![of(stranger(stranger_id(1), 0)), of(relabelled(active(), stranger_id(1)))]
}

fn phoneless(mut state: State) -> State {
    if let Some(customer) = &mut state.customer {
        customer.phone = None;
    }
    state
}

fn merging(into: State, from: State) -> Then {
    let id = customer(&from).id;
    let both = State { other: Some(Box::new(from)), ..into };
    given(both).by(staff()).when(merge_of(id, false))
}

#[track_caller]
fn report(then: &Then) -> MergeReport {
    match then.outcome() {
        Outcome::Merged(report) => *report,
        other => panic!("no report: {other:?}"),
    }
}

fn other(then: &Then) -> &State {
    then.after.other.as_deref().unwrap()
}

// --- one of everything --------------------------------------------------------------------------

#[test]
fn l10_everything_moves_and_is_told_on_both_sides() {
    let from = stranger(stranger_id(1), 0);
    let then = merging(phoneless(signed_in()), from.clone()).tells(&[
        "customer.updated",
        "customer.phone_changed",
        "customer.verified",
        "customer.updated",
        "preferences.updated",
        "customer.updated",
        "address.created",
        "address.created",
        "address.default_changed",
        "address.default_changed",
        "wishlist.created",
        "wishlist.item_added",
        "customer.identity_linked",
        "statistics.updated",
        "customer.merged",
    ]);
    let report = report(&then);
    assert_eq!(
        (report.moved.addresses.len(), report.moved.wishlists.len(), report.moved.wishlist_items),
        (2, 1, 1)
    );
    assert_eq!((report.moved.notes, report.moved.tags, report.moved.orders), (1, 2, 3));
    assert_eq!(report.moved.identities, ["google"]);
    assert_eq!(report.defaults, AddressKind::ALL);
    assert_eq!(
        report.changed,
        [
            "phone",
            "tags",
            "created_at",
            "last_sign_in_at",
            "profile.date_of_birth",
            "profile.company",
            "profile.custom.pet",
            "profile.custom.size",
            "preferences.topics",
        ]
    );
    assert_eq!(report.kept, ["email"]);
    assert!(report.ended.password && report.ended.backup_codes == 1);
    assert_eq!(report.merged_at, Some(at(1_000)));
    let after = customer(&then.after);
    assert_eq!((after.version, after.created_at), (report.version, at(-500)));
    assert_eq!(after.email, customer(&then.before).email);
    let told = &then.messages().pop().unwrap().1;
    assert_eq!(
        *told,
        json!({ "customer_id": customer_id(), "from": stranger_id(1), "addresses": 2,
                "wishlists": 1, "wishlist_items": 1, "orders": 3, "identities": ["google"], "tags": 2,
                "changed": report.changed, "version": report.version })
    );
    let gone = other(&then);
    assert!(gone.customer.is_none() && gone.departed.is_some() && gone.handles.is_empty());
    let last = then.decision.as_ref().unwrap().of_other.last().unwrap().clone();
    let last = last.message(stranger_id(1)).unwrap();
    assert_eq!(
        (last.kind(), last.data()),
        (
            "customer.deleted",
            json!({ "customer_id": stranger_id(1), "merged_into": customer_id() })
        )
    );
    nothing_is_lost(&then.before, &from, &then);
}

#[test]
fn l10_the_owners_are_told_of_new_ways_in_and_of_the_end_of_the_old_ones() {
    let then = merging(phoneless(active()), stranger(stranger_id(1), 0));
    let mails: Vec<_> = then
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::MailQueued(mail) => Some((mail.body.clone(), mail.to.clone(), mail.customer_id)),
            _ => None,
        })
        .collect();
    let theirs = Some(email("zmail50001@example.org"));
    assert_eq!(
        mails,
        [
            (MailBody::PhoneChanged, None, customer_id()),
            (MailBody::IdentityLinked, None, customer_id()),
            (MailBody::Merged, theirs, customer_id()),
        ]
    );
    // A mailbox that nobody ever proved to read is told nothing.
    let then = merging(active(), relabelled(pending(), stranger_id(1)));
    assert!(!then.events().iter().any(|event| matches!(event, Event::MailQueued(_))));
}

#[test]
fn a_merge_lets_nobody_in_by_what_was_the_others() {
    let mut from = stranger(stranger_id(1), 0);
    from.password_hash = Some("$argon2id$Zother".into());
    from.sessions = signed_in().sessions;
    from.devices = signed_in().devices;
    from.tokens = given(active()).by(Actor::Anonymous).when(resend(7, 1_000)).after.tokens;
    // Also where the one that goes on has no password: then it has none afterwards.
    let mut into = active();
    into.password_hash = None;
    let then = merging(into, from);
    assert_eq!(then.after.password_hash, None);
    assert!(then.after.sessions.is_empty() && then.after.devices.is_empty());
    assert!(then.after.passkeys.is_empty() && then.after.backup_codes.is_empty());
    assert!(then.after.totp.is_none());
    assert_eq!(then.after.tokens, then.before.tokens);
    let gone = other(&then);
    assert!(gone.password_hash.is_none() && gone.devices.is_empty() && gone.passkeys.is_empty());
    assert!(gone.sessions.values().all(|session| !session.is_live(at(1_000))));
    assert!(gone.tokens.values().all(|token| token.used_at.is_some() || token.voided_at.is_some()));
    // Nor is the one that goes on found by the other's address.
    let emails = then.after.handles.keys().filter(|handle| handle.kind == HandleKind::Email);
    assert_eq!(emails.count(), 1);
}

// --- what gives way -----------------------------------------------------------------------------

#[test]
fn d1_defaults_of_the_one_that_goes_on_win() {
    let then = merging(with_addresses(3), stranger(stranger_id(1), 0));
    assert!(report(&then).defaults.is_empty());
    let first = &then.after.addresses[&address_id(1)];
    assert!(first.default_shipping && first.default_billing);
    assert_eq!(then.after.addresses.len(), 5);
}

#[test]
fn l10_of_two_values_the_own_one_stays_and_is_named() {
    let mut into = phoneless(active());
    into.profile.as_mut().unwrap().company = Some(line("Zcompany2"));
    into.profile.as_mut().unwrap().custom = custom(&[("size", json!("Zvalue2"))]);
    into.preferences.as_mut().unwrap().topics = Topics::parse(&["Ztopic2".into()]).unwrap();
    into.customer.as_mut().unwrap().first_name = person("Zfirst2");
    into.customer.as_mut().unwrap().group = group("business");
    let mine = Identity { account: account("google", "1"), linked_at: at(1) };
    into.handles.insert(mine.account.handle(), None);
    into.identities.insert("google".into(), mine.clone());
    let then = merging(into, stranger(stranger_id(1), 0));
    let report = report(&then);
    assert_eq!(
        report.kept,
        [
            "email",
            "first_name",
            "group",
            "profile.company",
            "profile.custom.size",
            "preferences.topics"
        ]
    );
    assert_eq!(report.ended.identities, ["google"]);
    assert!(report.moved.identities.is_empty());
    assert_eq!(then.after.identities["google"], mine);
    assert_eq!(then.after.profile.unwrap().custom["pet"], "Zvalue");
}

#[test]
fn l5_a_verified_number_comes_along_and_no_other_takes_its_place() {
    // (into, from): number and whether it is verified → the one afterwards, what is named
    let other = PhoneNumber::parse("+84 912 050 001").unwrap();
    let cases = [
        (None, Some((&other, true)), Some((&other, true)), Some("phone"), None),
        (None, Some((&other, false)), Some((&other, false)), Some("phone"), None),
        (
            Some((&other, false)),
            Some((&other, true)),
            Some((&other, true)),
            Some("phone_verified"),
            None,
        ),
        (Some((&other, true)), Some((&other, false)), Some((&other, true)), None, None),
        (Some((&other, false)), None, Some((&other, false)), None, None),
    ];
    let mine = phone();
    let more = [
        (Some((&mine, false)), Some((&other, true)), Some((&mine, false)), None, Some("phone")),
        (Some((&mine, true)), Some((&other, true)), Some((&mine, true)), None, Some("phone")),
    ];
    for (into, from, after, changed, kept) in cases.into_iter().chain(more) {
        let with = |mut state: State, phone: Option<(&PhoneNumber, bool)>| {
            let customer = state.customer.as_mut().unwrap();
            customer.phone = phone.map(|(number, _)| number.clone());
            customer.phone_verified_at = phone.filter(|(_, verified)| *verified).map(|_| at(7));
            let handle = phone.filter(|(_, verified)| *verified).map(|(n, _)| Handle::phone(n));
            state.handles.retain(|handle, _| handle.kind != HandleKind::Phone);
            state.handles.extend(handle.map(|handle| (handle, None)));
            state
        };
        let from = with(relabelled(active(), stranger_id(1)), from);
        let then = merging(with(active(), into), from);
        let customer = customer(&then.after);
        let number = customer.phone.as_ref().map(|n| (n, customer.phone_verified_at.is_some()));
        assert_eq!(number, after);
        sound(&then.after, at(1_000));
        let named = |names: &[String]| names.iter().any(|name| name.starts_with("phone"));
        let report = report(&then);
        assert_eq!(named(&report.changed), changed.is_some());
        assert_eq!(named(&report.kept), kept.is_some());
    }
}

#[test]
fn tags_are_united_up_to_their_number_and_refused_beyond() {
    let many = |prefix: &str, n: usize| {
        let tags: Vec<_> = (0..n).map(|n| format!("{prefix}{n}")).collect();
        Tags::parse(&tags).unwrap()
    };
    let with = |mut state: State, tags| {
        state.customer.as_mut().unwrap().tags = tags;
        state
    };
    let from = |tags| with(relabelled(active(), stranger_id(1)), tags);
    let then = merging(with(active(), many("a", 25)), from(many("b", 25)));
    assert_eq!(customer(&then.after).tags.as_slice().len(), 50);
    let same = merging(with(active(), many("a", 50)), from(many("a", 50)));
    assert_eq!(report(&same).moved.tags, 0);
    let over = merging(with(active(), many("a", 26)), from(many("b", 25)));
    over.refused(Rejection::TagLimitReached);
}

#[test]
fn l10_one_truth_about_consents_the_stricter() {
    let words = [None, Some(false), Some(true)];
    for into in words {
        for from in words {
            let with = |mut state: State, word: Option<bool>| {
                if let Some(granted) = word {
                    state = given(state)
                        .by(staff())
                        .when(match granted {
                            true => super::consents::grant("marketing"),
                            false => super::consents::withdraw("marketing"),
                        })
                        .after;
                }
                state
            };
            let before = with(active(), into);
            let then = merging(before.clone(), relabelled(with(active(), from), stranger_id(1)));
            let both = into == Some(true) && from == Some(true);
            let marketing = Purpose::marketing();
            let granted: Vec<_> =
                then.after.consents.of(&marketing).map(|(_, consent)| consent.granted).collect();
            assert_eq!(granted.iter().all(|granted| *granted) && !granted.is_empty(), both);
            assert_eq!(customer(&then.after).accepts_marketing, both, "{into:?} and {from:?}");
            let flag = report(&then).changed.contains(&"accepts_marketing".to_owned());
            assert_eq!(flag, into == Some(true) && !both, "L2: the flag's turn is told");
            let entries: Vec<_> = then
                .events()
                .iter()
                .filter_map(|event| match event {
                    Event::Consent(entry) => Some(entry.clone()),
                    _ => None,
                })
                .collect();
            for (n, entry) in entries.iter().enumerate() {
                assert_eq!(entry.number, before.consents.entries() + 1 + n as i64);
                let reference = format!("customer:{}", stranger_id(1));
                assert_eq!(entry.reference.as_ref().unwrap().as_str(), reference);
                assert_eq!(entry.source.as_str(), "merge");
            }
            let told = report(&then).consents;
            let outcome = Strictness::of(into, from);
            assert!(told.iter().all(|told| Some(told.outcome) == outcome));
            assert_eq!(told.is_empty(), outcome.is_none());
            sound(&then.after, at(1_000));
        }
    }
}

// --- who may ------------------------------------------------------------------------------------

#[test]
fn l10_every_pair_of_statuses() {
    for from in Status::ALL {
        for into in Status::ALL {
            let then = merging(with_status(into), relabelled(with_status(from), stranger_id(1)));
            match (from, into) {
                (_, Status::Erased) => then.refused(Rejection::NoSuchCustomer { field: "into" }),
                (Status::Erased, _) => then.refused(Rejection::NoSuchCustomer { field: "from" }),
                _ if allows(from, into) => {
                    assert_eq!(customer(&then.after).status, into, "nobody's status moves");
                    assert!(other(&then).customer.is_none());
                }
                _ => then.refused(Rejection::MergeNotAllowed { from, into }),
            }
        }
    }
}

#[test]
fn l10_merging_is_for_staff_and_takes_two_who_live() {
    let both = || State { other: Some(Box::new(stranger(stranger_id(1), 0))), ..active() };
    let merge = || merge_of(stranger_id(1), false);
    for actor in [owner(), Actor::Anonymous] {
        given(both()).by(actor).when(merge()).refused(Rejection::NotFound);
    }
    let nobody = State { customer: None, ..both() };
    given(nobody).by(staff()).when(merge()).refused(Rejection::NoSuchCustomer { field: "into" });
    for other in [None, Some(Box::new(State::default()))] {
        let alone = State { other, ..active() };
        given(alone).by(staff()).when(merge()).refused(Rejection::NoSuchCustomer { field: "from" });
    }
    let itself = State { other: Some(Box::new(active())), ..active() };
    let refused = given(itself).by(staff()).when(merge_of(customer_id(), false));
    let refused = refused.decision.expect_err("is refused");
    assert!(matches!(refused, Rejection::Invalid { pointer: "#/from", .. }));
}

#[test]
fn if_match_names_a_version_of_the_one_that_goes_on() {
    let both = State { other: Some(Box::new(stranger(stranger_id(1), 0))), ..active() };
    let version = customer(&both).version;
    let on = |version| {
        let Command::Merge(merge) = merge_of(stranger_id(1), false) else { unreachable!() };
        Command::Merge(MergeCommand { if_match: Some(version), ..merge })
    };
    given(both.clone()).by(staff()).when(on(version + 1)).refused(Rejection::VersionMismatch);
    assert!(!given(both).by(staff()).when(on(version)).events().is_empty());
}

#[test]
fn l10_asked_again_it_answers_as_then_and_nothing_happens() {
    let then = merging(active(), stranger(stranger_id(1), 0));
    let done = report(&then);
    // As it is loaded later: one departed, with what came of it.
    let gone = State { merged: Some(done.clone()), ..State::default() };
    let later = State { other: Some(Box::new(gone)), ..then.after };
    for dry_run in [false, true] {
        let command = merge_of(stranger_id(1), dry_run);
        let again = given(later.clone()).by(staff()).at(9_000).when(command).changes_nothing();
        assert_eq!(report(&again), done);
    }
    // Merged into somebody else, it is not there.
    let elsewhere = MergeReport { into: stranger_id(2), ..done };
    let gone = State { merged: Some(elsewhere), ..State::default() };
    let state = State { other: Some(Box::new(gone)), ..active() };
    let command = merge_of(stranger_id(1), false);
    given(state).by(staff()).when(command).refused(Rejection::NoSuchCustomer { field: "from" });
}

// --- whatever the two have ----------------------------------------------------------------------

/// All that `from` had is `into`'s, or the report names it.
fn nothing_is_lost(into: &State, from: &State, then: &Then) {
    let (after, report, gone) = (&then.after, report(then), other(then));
    let theirs = from.addresses.len() + into.addresses.len();
    assert_eq!(after.addresses.len(), theirs, "addresses");
    for (id, address) in &from.addresses {
        assert_eq!(after.addresses[id].fields, address.fields);
        assert!(after.addresses[id].version > address.version);
        assert!(report.moved.addresses.contains(id));
    }
    let lists = into.wishlists.lists.len() + from.wishlists.lists.len();
    assert_eq!(after.wishlists.lists.len(), lists, "wishlists");
    for (id, list) in &from.wishlists.lists {
        let moved = &after.wishlists.lists[id];
        assert_eq!((&moved.name, &moved.share), (&list.name, &list.share), "links go on working");
        assert_eq!(moved.item_count, list.item_count);
    }
    for (place, item) in &from.wishlists.items {
        let moved = &after.wishlists.items[place];
        assert_eq!(WishlistItem { version: item.version, ..moved.clone() }, *item);
    }
    let notes = into.notes.named.len() + from.notes.named.len();
    assert_eq!((after.notes.named.len(), report.moved.notes), (notes, from.notes.named.len()));
    let tags =
        |state: &State| customer(state).tags.as_slice().iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(tags(after), &tags(into) | &tags(from));
    for (provider, identity) in &from.identities {
        let moved = report.moved.identities.contains(provider);
        assert_eq!(moved, after.identities[provider] == *identity);
        assert_ne!(moved, report.ended.identities.contains(provider));
        assert_eq!(moved, after.handles.contains_key(&identity.account.handle()));
    }
    fields_are_taken_or_named(into, from, after, &report);
    let granted = |state: &State, consent: (&Purpose, _)| {
        state.consents.get(consent.0, consent.1).is_some_and(|consent: &Consent| consent.granted)
    };
    for (purpose, channel, consent) in after.consents.all() {
        let both = granted(into, (purpose, channel)) && granted(from, (purpose, channel));
        assert_eq!(consent.granted, both);
    }
    // What lets somebody in is what it was, and the other lets nobody in.
    assert_eq!(after.password_hash, into.password_hash);
    assert_eq!((&after.sessions, &after.devices), (&into.sessions, &into.devices));
    assert_eq!((&after.passkeys, &after.totp), (&into.passkeys, &into.totp));
    assert_eq!((&after.backup_codes, &after.tokens), (&into.backup_codes, &into.tokens));
    assert!(gone.customer.is_none() && gone.handles.is_empty() && gone.identities.is_empty());
    assert!(gone.addresses.is_empty() && gone.wishlists.lists.is_empty());
    assert!(gone.wishlists.items.is_empty() && gone.notes.named.is_empty());
}

fn fields_are_taken_or_named(into: &State, from: &State, after: &State, report: &MergeReport) {
    let [into, from, after] = [into, from, after].map(|state| {
        let mut profile = json!(state.profile);
        let custom = profile["custom"].take();
        let topics = json!(state.preferences.as_ref().unwrap().topics);
        let themes = json!(state.preferences.as_ref().unwrap().custom);
        let phone = json!(customer(state).phone);
        let parts = [("profile.", profile), ("profile.custom.", custom)];
        let more = [
            ("preferences.custom.", themes),
            ("preferences.", json!({ "topics": topics })),
            ("", json!({ "phone": phone })),
        ];
        parts
            .into_iter()
            .chain(more)
            .flat_map(|(part, fields)| {
                let fields = fields.as_object().unwrap().clone().into_iter();
                fields.map(move |(name, value)| (format!("{part}{name}"), value))
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    });
    for (name, theirs) in from {
        let empty = |value: Option<&Value>| value.is_none_or(|v| v.is_null() || *v == json!([]));
        if ["profile.custom", "profile.version"].contains(&name.as_str()) || empty(Some(&theirs)) {
            continue;
        }
        let (before, now) = (into.get(&name), &after[&name]);
        let named = |names: &[String]| names.contains(&name);
        assert_eq!(*now == theirs, empty(before) || before == Some(&theirs), "{name}");
        assert_eq!(named(&report.changed), empty(before), "{name}");
        assert_eq!(named(&report.kept), *now != theirs, "{name}");
    }
}

/// Whatever somebody did, alive and active at the end.
fn somebody(steps: &[super::random::Step]) -> Option<State> {
    let (mut state, _) = play(steps);
    let customer = state.customer.as_mut()?;
    customer.status = Status::Active;
    customer.status_before_deletion = None;
    Some(state)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn l10_whatever_the_two_have_nothing_is_lost(ours in steps(), theirs in steps()) {
        if let (Some(into), Some(from)) = (somebody(&ours), somebody(&theirs)) {
            let from = relabelled(from, stranger_id(7));
            let now = 400_000_000;
            let both = State { other: Some(Box::new(from.clone())), ..into.clone() };
            let preview = given(both.clone()).by(staff()).at(now);
            let preview = preview.when(merge_of(stranger_id(7), true)).changes_nothing();
            let then = given(both).by(staff()).at(now).when(merge_of(stranger_id(7), false));
            prop_assert_eq!(report(&preview), MergeReport { merged_at: None, ..report(&then) });
            nothing_is_lost(&into, &from, &then);
            sound(&then.after, at(now));
            tells_nothing_personal(then.events(), &mut BTreeSet::new());
            prop_assert_eq!(report(&then).version, customer(&then.after).version);
        }
    }
}
