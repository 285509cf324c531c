//! Phone numbers: asked for, confirmed, given up (rules A8, L5, L7).

use super::*;
use crate::domain::event::Event;
use crate::domain::handle::Handle;
use crate::domain::mail::MailBody;
use crate::domain::phone_confirmation::{FreshCode, TRIES_MAX};
use crate::domain::proof::ProofRefusal;

pub const PHONE_GUARD: Guard = Guard { bucket: [8; 32], factor: Factor::PhoneCode, policy: LOCKS };

/// The code whose hash is `n`, good for five minutes from `seconds`.
pub fn request(number: &PhoneNumber, n: u8, seconds: i64) -> Command {
    let code = FreshCode {
        text_id: TextMessageId(Uuid::from_u128(6_000 + u128::from(n))),
        nonce: [n; 32],
        hash: hash(n),
        expires_at: at(seconds + 300),
    };
    Command::RequestPhone { phone: number.clone(), code }
}

pub fn confirm(n: u8) -> Command {
    let proof = Proof::PhoneCode { guard: PHONE_GUARD, hash: hash(n) };
    Command::ConfirmPhone { proof, mail_id: mail_id(n.into()) }
}

pub fn remove(session: u128) -> Command {
    let max_age = TimeDelta::minutes(10);
    let proof = Proof::RecentSession { session: session_id(session), max_age };
    Command::RemovePhone { proof, mail_id: mail_id(77) }
}

fn other() -> PhoneNumber {
    PhoneNumber::parse("+84 912 345 679").unwrap()
}

/// Signed in; the number told at the registration waits for code 1 since 1000.
fn waiting() -> State {
    given(signed_in()).when(request(&phone(), 1, 1_000)).after
}

/// Signed in, with a verified number.
fn verified() -> State {
    given(waiting()).at(1_010).when(confirm(1)).after
}

fn mails(then: &Then) -> Vec<MailBody> {
    let queued = then.events().iter().filter_map(|event| match event {
        Event::MailQueued(mail) => Some(mail.body.clone()),
        _ => None,
    });
    queued.collect()
}

#[test]
fn a8_a_request_is_a_waiting_number_and_a_text_without_it() {
    let then = given(signed_in()).when(request(&other(), 1, 1_000));
    let Event::TextQueued(text) = &then.events()[1] else { panic!("{:?}", then.events()) };
    assert_eq!((text.locale.as_str(), text.expires_at), ("vi-VN", at(1_300)));
    let then = then.happens(&["PhoneRequested", "TextQueued"]).tells(&[]);
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(customer(&then.after).phone, Some(phone()), "the old number stays until then");
    assert_eq!(then.versions().0, then.versions().1);
    let waiting = then.after.phone_confirmation.expect("waits");
    assert_eq!((waiting.phone, waiting.tries, waiting.code_hash), (other(), 0, hash(1)));
}

#[test]
fn l7_the_code_verifies_a_number_that_was_known_and_sets_one_that_was_not() {
    let then = given(waiting()).at(1_010).when(confirm(1));
    let then = then.happens(&["AttemptSucceeded", "PhoneVerified"]).tells(&["customer.verified"]);
    assert_eq!(customer(&then.after).phone_verified_at, Some(at(1_010)));
    assert_eq!(then.versions().1 - then.versions().0, 1);
    assert!(then.after.handles.contains_key(&Handle::phone(&phone())));
    assert_eq!(then.after.phone_confirmation, None);
    assert!(mails(&then).is_empty(), "no credential but the new one has changed");

    let asked = given(verified()).at(2_000).when(request(&other(), 2, 2_000)).after;
    let then = given(asked).at(2_010).when(confirm(2));
    let then = then
        .happens(&[
            "AttemptSucceeded",
            "CustomerUpdated",
            "PhoneChanged",
            "MailQueued",
            "PhoneVerified",
        ])
        .tells(&["customer.updated", "customer.phone_changed", "customer.verified"]);
    assert_eq!(mails(&then), [MailBody::PhoneChanged]);
    let after = customer(&then.after);
    assert_eq!((after.phone.clone(), after.phone_verified_at), (Some(other()), Some(at(2_010))));
    let phones: Vec<_> = then.after.handles.keys().filter(|h| h.value.starts_with('+')).collect();
    assert_eq!(phones, [&Handle::phone(&other())], "the old number is nobody's");
    assert!(matches!(then.outcome(), Outcome::Customer(_)));
}

#[test]
fn a8_five_wrong_codes_and_not_one_more() {
    let mut state = waiting();
    for n in 0..TRIES_MAX {
        let then = given(state).at(1_010).when(confirm(50 + n));
        assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
        assert_eq!(then.after.phone_confirmation.as_ref().map(|w| w.tries), Some(n + 1));
        state = then.after;
    }
    let then = given(state.clone()).at(1_011).when(confirm(1));
    let until = at(1_010 + 900);
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Locked { until }));
    then.changes_nothing();
    // Also where the lock was lifted meanwhile.
    state.throttles.clear();
    given(state.clone()).at(1_011).when(confirm(1)).refused(Rejection::TokenInvalid);
    // A newer code has tries of its own.
    let newer = given(state).at(1_012).when(request(&phone(), 2, 1_012)).after;
    given(newer).at(1_013).when(confirm(2)).happens(&["AttemptSucceeded", "PhoneVerified"]);
}

#[test]
fn a8_the_fifth_wrong_code_locks_its_own_factor_and_tells() {
    let four =
        (0..4).fold(waiting(), |state, n| given(state).at(1_010).when(confirm(50 + n)).after);
    let then = given(four).at(1_010).when(confirm(60));
    let then = then.happens(&["AttemptFailed", "SignInLocked", "PhoneCodeFailed", "MailQueued"]);
    let then = then.tells(&["customer.sign_in_locked"]);
    assert!(then.after.throttle(&BUCKET).is_clear(), "the password's own counter is another");
}

#[test]
fn a8_a_code_is_good_once_for_five_minutes_and_until_a_newer_one() {
    given(verified()).at(1_020).when(confirm(1)).refused(Rejection::TokenInvalid);
    given(signed_in()).when(confirm(1)).refused(Rejection::TokenInvalid);
    given(waiting()).at(1_299).when(confirm(1)).happens(&["AttemptSucceeded", "PhoneVerified"]);
    given(waiting()).at(1_300).when(confirm(1)).refused(Rejection::TokenInvalid);
    let newer = given(waiting()).at(1_100).when(request(&other(), 2, 1_100)).after;
    let then = given(newer.clone()).at(1_110).when(confirm(1));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
    let then = given(then.after).at(1_110).when(confirm(2));
    assert_eq!(customer(&then.after).phone, Some(other()));
}

#[test]
fn a_number_that_is_verified_need_not_be_asked_for() {
    given(verified()).when(request(&phone(), 2, 2_000)).refused(Rejection::PhoneAlreadyVerified);
}

#[test]
fn l5_giving_a_number_up_needs_a_proof_and_leaves_nothing() {
    let old = given(verified()).at(10 + 600).when(remove(1));
    assert_eq!(old.outcome(), Outcome::ProofRefused(ProofRefusal::TooOld));
    old.changes_nothing();
    let asked = given(verified()).at(1_100).when(request(&other(), 2, 1_100)).after;
    let mut state = asked;
    if let Some(session) = state.sessions.get_mut(&session_id(1)) {
        session.created_at = at(1_000);
    }
    let then = given(state).at(1_200).when(remove(1));
    let then = then
        .happens(&["PhoneRequestDropped", "CustomerUpdated", "PhoneChanged", "MailQueued"])
        .tells(&["customer.updated", "customer.phone_changed"]);
    assert_eq!(mails(&then), [MailBody::PhoneRemoved]);
    let after = customer(&then.after);
    assert_eq!((after.phone.clone(), after.phone_verified_at), (None, None));
    assert!(!then.after.handles.contains_key(&Handle::phone(&phone())));
    given(then.after).at(1_210).when(remove(1)).changes_nothing();
}

#[test]
fn l5_staff_who_change_a_verified_number_end_its_way_in_and_the_owner_is_told() {
    for (change, body) in
        [(Change::Set(other()), MailBody::PhoneChanged), (Change::Clear, MailBody::PhoneRemoved)]
    {
        let change =
            CustomerChange { phone: change, mail_id: Some(mail_id(9)), ..Default::default() };
        let then = given(verified()).by(staff()).when(update_customer(change.clone()));
        let then = then.happens(&["CustomerUpdated", "PhoneChanged", "MailQueued"]);
        assert_eq!(mails(&then), [body]);
        assert_eq!(customer(&then.after).phone_verified_at, None);
        assert!(!then.after.handles.contains_key(&Handle::phone(&phone())));
        // A number that was never verified was no way in.
        let then = given(signed_in()).by(staff()).when(update_customer(change));
        then.happens(&["CustomerUpdated", "PhoneChanged"]);
    }
    let keep = CustomerChange { phone: Change::Set(phone()), ..Default::default() };
    given(verified()).by(staff()).when(update_customer(keep)).changes_nothing();
}

#[test]
fn l3_only_active_owners_ask_and_confirm() {
    for status in [Status::Pending, Status::Suspended, Status::Inactive, Status::DeletionScheduled]
    {
        let mut state = with_status(status);
        let refused = Rejection::NotActive(status);
        given(state.clone()).when(request(&phone(), 1, 1_000)).refused(refused.clone());
        state.phone_confirmation = waiting().phone_confirmation;
        given(state).when(confirm(1)).refused(refused);
    }
}
