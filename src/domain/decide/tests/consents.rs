//! Consents: the ledger, what holds by it, and the flag that follows.

use super::*;
use crate::domain::consent::{Channel, Consents, Entry, Purpose, Reference, Source, Terms, Will};
use proptest::prelude::*;
use serde_json::json;

fn version(text: &str) -> TextVersion {
    TextVersion::parse(text).unwrap()
}

fn purpose(name: &str) -> Purpose {
    Purpose::parse(name).unwrap()
}

/// Marketing has three channels, everything else none; the text in use is version `text`.
fn terms(name: &str, text: &str) -> Terms {
    let channels = match name {
        "marketing" => vec![Channel::Email, Channel::Sms, Channel::Push],
        _ => vec![Channel::All],
    };
    Terms { offered: true, text_version: version(text), channels }
}

fn command(name: &str, channel: Channel, will: Will) -> ConsentCommand {
    ConsentCommand {
        purpose: purpose(name),
        terms: Some(terms(name, "1")),
        channel,
        will,
        reference: Some(Reference::parse("Zreference").unwrap()),
        if_match: None,
    }
}

fn yes(text: &str) -> Will {
    Will::Grant { text_version: version(text), locale: None }
}

pub(super) fn grant(name: &str) -> Command {
    Command::Consent(Box::new(command(name, Channel::All, yes("1"))))
}

pub(super) fn withdraw(name: &str) -> Command {
    Command::Consent(Box::new(command(name, Channel::All, Will::Withdraw)))
}

pub(super) fn withdraw_from(name: &str, channel: Channel) -> Command {
    Command::Consent(Box::new(command(name, channel, Will::Withdraw)))
}

/// One of many commands about few purposes, for random sequences.
pub(super) fn some(a: u8, b: u8) -> Command {
    let name = ["marketing", "marketing", "analytics"][usize::from(a % 3)];
    let text = ["1", "2"][usize::from(a / 3)];
    let channels = [Channel::All, Channel::Email, Channel::Sms];
    let will = if b < 3 { yes(text) } else { Will::Withdraw };
    let mut command = command(name, channels[usize::from(b % 3)], will);
    command.terms = Some(terms(name, text));
    Command::Consent(Box::new(command))
}

/// Of every channel and source, granted and withdrawn.
pub(super) fn entries_of_all_kinds() -> Vec<Event> {
    let all = Channel::ALL.into_iter().flat_map(|channel| Source::ALL.map(|s| (channel, s)));
    all.flat_map(|(channel, source)| {
        let read = Some(Locale::parse("vi-VN").unwrap());
        [(read, true), (None, true), (None, false)]
            .map(|(locale, granted)| (channel, source, locale, granted))
    })
    .map(|(channel, source, locale, granted)| {
        Event::Consent(Box::new(Entry {
            number: 1,
            purpose: purpose("web-push_2"),
            channel,
            granted,
            text_version: granted.then(|| version("2026-11.b")),
            locale,
            source,
            reference: Some(Reference::parse("Zreference").unwrap()),
            at: at(1),
        }))
    })
    .collect()
}

fn entries(then: &Then) -> Vec<&Entry> {
    let consents = then.events().iter().filter_map(|event| match event {
        Event::Consent(entry) => Some(&**entry),
        _ => None,
    });
    consents.collect()
}

#[test]
fn a_grant_is_an_entry_for_each_channel_and_turns_the_flag_once() {
    let then = given(active()).when(grant("marketing")).tells(&[
        "customer.updated",
        "consent.granted",
        "consent.granted",
        "consent.granted",
    ]);
    let numbers: Vec<_> = entries(&then).iter().map(|e| (e.number, e.channel)).collect();
    assert_eq!(numbers, [(1, Channel::Email), (2, Channel::Sms), (3, Channel::Push)]);
    let first = entries(&then)[0];
    assert_eq!((first.source, first.at), (Source::SelfService, at(1_000)));
    assert_eq!(first.locale.as_ref().unwrap().as_str(), "vi-VN");
    assert!(customer(&then.after).accepts_marketing);
    assert_eq!(then.versions(), (then.versions().0, then.versions().0 + 1));
    let (_, data) = &then.messages()[1];
    let expected = json!({
        "customer_id": customer_id(), "purpose": "marketing", "channel": "email",
        "text_version": "1", "locale": "vi-VN", "source": "self_service", "entry": 1,
    });
    assert_eq!(*data, expected);
    // What holds already changes nothing.
    given(then.after).when(grant("marketing")).changes_nothing();
}

#[test]
fn what_is_no_advertising_leaves_the_customer_as_it_is() {
    let then = given(active()).by(staff()).when(grant("analytics")).tells(&["consent.granted"]);
    assert_eq!(
        (entries(&then)[0].channel, entries(&then)[0].source),
        (Channel::All, Source::Staff)
    );
    let (before, after) = then.versions();
    assert_eq!(before, after);
    given(then.after).when(withdraw("analytics")).tells(&["consent.withdrawn"]);
}

#[test]
fn the_flag_falls_with_the_last_channel() {
    let granted = given(active()).when(grant("marketing")).after;
    let one = |channel| Command::Consent(Box::new(command("marketing", channel, Will::Withdraw)));
    let then = given(granted).at(1_001).when(one(Channel::Email)).tells(&["consent.withdrawn"]);
    assert!(customer(&then.after).accepts_marketing);
    let then = given(then.after).at(1_002).when(one(Channel::Push)).tells(&["consent.withdrawn"]);
    let then = given(then.after).at(1_003).when(one(Channel::Sms));
    let then = then.tells(&["customer.updated", "consent.withdrawn"]);
    assert!(!customer(&then.after).accepts_marketing);
    assert_eq!(then.after.consents.entries(), 6);
    given(then.after).when(withdraw("marketing")).changes_nothing();
}

#[test]
fn a_no_before_any_yes_is_kept_too() {
    let then = given(active()).when(withdraw("analytics")).tells(&["consent.withdrawn"]);
    given(then.after.clone()).when(withdraw("analytics")).changes_nothing();
    assert_eq!(entries(&then)[0].text_version, None);
}

#[test]
fn a_grant_is_of_the_text_in_use() {
    let outdated = Command::Consent(Box::new(command("analytics", Channel::All, yes("0"))));
    let current = version("1");
    given(active()).when(outdated).refused(Rejection::ConsentTextOutdated { current });
    // A new text: the old grant holds, and is followed by one of the new text.
    let granted = given(active()).when(grant("analytics")).after;
    let mut renewed = command("analytics", Channel::All, yes("2"));
    renewed.terms = Some(terms("analytics", "2"));
    let then = given(granted).when(Command::Consent(Box::new(renewed)));
    let entry = entries(&then)[0].clone();
    assert_eq!((entry.number, entry.text_version), (2, Some(version("2"))));
}

#[test]
fn what_is_not_asked_for_any_more_can_only_be_withdrawn() {
    let granted = given(active()).when(grant("analytics")).after;
    for terms in [None, Some(Terms { offered: false, ..terms("analytics", "1") })] {
        let mut again = command("analytics", Channel::All, yes("1"));
        again.terms.clone_from(&terms);
        let again = Command::Consent(Box::new(again));
        given(granted.clone()).when(again).refused(Rejection::ConsentNotOffered);
        let mut gone = command("analytics", Channel::All, Will::Withdraw);
        gone.terms = terms;
        let then = given(granted.clone()).when(Command::Consent(Box::new(gone)));
        then.tells(&["consent.withdrawn"]);
    }
    let mut unknown = command("analytics", Channel::All, Will::Withdraw);
    unknown.terms = None;
    let unknown = Command::Consent(Box::new(unknown));
    given(active()).when(unknown).refused(Rejection::NotFound);
}

#[test]
fn a_channel_is_one_of_the_purpose() {
    for (name, channel) in [("analytics", Channel::Email), ("analytics", Channel::Push)] {
        for will in [yes("1"), Will::Withdraw] {
            let wrong = Command::Consent(Box::new(command(name, channel, will)));
            let then = given(active()).when(wrong);
            let refused = then.decision.expect_err("is refused");
            assert!(matches!(refused, Rejection::Invalid { pointer: "#/channel", .. }));
        }
    }
}

#[test]
fn an_entry_never_goes_back_in_time() {
    let granted = given(active()).at(2_000).when(grant("analytics")).after;
    let then = given(granted).at(1_500).when(withdraw("analytics"));
    assert_eq!(entries(&then)[0].at, at(2_000));
}

#[test]
fn who_may_not_write_declares_nothing_and_a_version_is_that_of_the_purpose() {
    for status in [Status::Pending, Status::Suspended, Status::Inactive] {
        let then = given(with_status(status)).when(grant("analytics"));
        then.refused(Rejection::NotActive(status));
        given(with_status(status)).by(staff()).when(grant("analytics")).tells(&["consent.granted"]);
    }
    given(State::default()).by(staff()).when(grant("analytics")).refused(Rejection::NotFound);
    let state = given(active()).when(grant("marketing")).after;
    let on = |name: &str, if_match| {
        let mut command = command(name, Channel::All, Will::Withdraw);
        command.if_match = Some(if_match);
        Command::Consent(Box::new(command))
    };
    given(state.clone()).when(on("marketing", 2)).refused(Rejection::VersionMismatch);
    given(state.clone()).when(on("analytics", 3)).refused(Rejection::VersionMismatch);
    given(state.clone()).when(on("analytics", 0)).tells(&["consent.withdrawn"]);
    assert_eq!(entries(&given(state).when(on("marketing", 3))).len(), 3);
}

/// To withdraw is as open as the account exists (GDPR, article 7); to grant is a change like any other.
#[test]
fn p1_while_a_deletion_is_scheduled_consent_is_withdrawn_and_not_granted() {
    let frozen = || with_status(Status::DeletionScheduled);
    for actor in [owner(), staff()] {
        let refused = given(frozen()).by(actor.clone()).when(grant("analytics"));
        refused.refused(Rejection::NotActive(Status::DeletionScheduled));
        let then = given(frozen()).by(actor.clone()).when(withdraw("analytics"));
        let then = then.tells(&["consent.withdrawn"]);
        assert_eq!(then.versions().0, then.versions().1, "the customer is as it was");
        given(then.after).by(actor).when(withdraw("analytics")).changes_nothing();
    }
    for status in [Status::Pending, Status::Suspended, Status::Inactive] {
        let then = given(with_status(status)).when(withdraw("analytics"));
        then.refused(Rejection::NotActive(status));
    }
    let erased = given(with_status(Status::Erased)).by(staff()).when(withdraw("analytics"));
    erased.refused(Rejection::NotFound);
}

#[test]
fn a_customer_begins_with_the_consent_that_it_gave() {
    let Command::Register(mut asked) = register() else { unreachable!() };
    asked.marketing = Some(marketing_terms());
    let then = given(State::default()).by(Actor::Anonymous).at(0).when(Command::Register(asked));
    let then = then.tells(&["customer.created", "consent.granted"]);
    assert!(customer(&then.after).accepts_marketing);
    assert_eq!(customer(&then.after).version, 1);
    let entry = entries(&then)[0];
    assert_eq!((entry.number, entry.source), (1, Source::Registration));
    let then = given(State::default()).by(Actor::Anonymous).at(0).when(register());
    assert!(entries(&then).is_empty() && !customer(&then.after).accepts_marketing);
    let then = given(State::default()).by(staff()).at(0).when(create_by_staff());
    assert_eq!(entries(&then)[0].source, Source::Staff);
    assert!(matches!(then.outcome(), Outcome::Customer(c) if c.accepts_marketing));
}

#[test]
fn the_flag_is_a_consent_whichever_way_it_is_set() {
    let set = |accepts| {
        update_customer(CustomerChange { marketing: marketing(accepts), ..Default::default() })
    };
    let then = given(active()).when(set(true)).tells(&["customer.updated", "consent.granted"]);
    assert_eq!(entries(&then)[0].channel, Channel::Email);
    let shown = given(then.after.clone()).when(set(true)).changes_nothing();
    // By sms as well: the flag takes all back.
    let sms = Command::Consent(Box::new(command("marketing", Channel::Sms, yes("1"))));
    let both = given(shown.after).when(sms).after;
    let told = ["customer.updated", "consent.withdrawn", "consent.withdrawn"];
    let then = given(both).when(set(false)).tells(&told);
    assert!(!customer(&then.after).accepts_marketing);
    given(then.after).when(set(false)).changes_nothing();
    given(active()).when(set(false)).changes_nothing();
}

/// The ledger is numbered without a gap and never goes back; the newest entries are what holds; and
/// the flag is what they say: after any sequence of commands, whoever sent them.
fn agrees(steps: &[(u8, u8, u8, bool, i64)]) {
    let (mut state, mut ledger, mut now) = (active(), Vec::<Entry>::new(), 1_000);
    for (which, a, b, by_owner, pause) in steps {
        now += pause;
        let command = match which {
            0 => update_customer(CustomerChange {
                first_name: (*b == 0).then(|| person("Zother")),
                marketing: [marketing(true), marketing(false), None][usize::from(a % 3)].clone(),
                ..Default::default()
            }),
            1 => move_status([Status::Active, Status::Inactive][usize::from(a % 2)]),
            _ => some(*a, *b),
        };
        let actor = if *by_owner { owner() } else { staff() };
        let then = given(state).by(actor).at(now).when(command);
        if then.decision.is_ok() {
            ledger.extend(entries(&then).into_iter().cloned());
            let turned =
                customer(&then.before).accepts_marketing != customer(&then.after).accepts_marketing;
            let told = then.messages().into_iter().any(|(kind, data)| {
                kind == "customer.updated"
                    && data["changed"].as_array().unwrap().contains(&json!("accepts_marketing"))
            });
            assert_eq!(turned, told, "L2: the flag's turn is told");
        }
        state = then.after;
        let mut held = Consents::default();
        for (n, entry) in ledger.iter().enumerate() {
            assert_eq!(entry.number, n as i64 + 1);
            assert!(n == 0 || ledger[n - 1].at <= entry.at);
            held.record(entry);
        }
        assert_eq!(held, state.consents);
        assert_eq!(held.accepts_marketing(), customer(&state).accepts_marketing);
    }
}

proptest! {
    #[test]
    fn ledger_state_and_flag_agree_after_any_sequence(
        steps in prop::collection::vec((0..6_u8, 0..6_u8, 0..6_u8, any::<bool>(), -50..100_i64), 1..60)
    ) {
        agrees(&steps);
    }
}
