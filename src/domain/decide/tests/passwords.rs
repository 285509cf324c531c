//! Another password (rules A1, A8, L7): who may have one, and what ends with the old one.

use super::*;
use crate::domain::proof::ProofRefusal;
use crate::domain::session::RevocationReason;
use crate::domain::token::Purpose;

/// A link with token `n`, asked for at `seconds`, good for a day.
fn asked(state: State, n: u8, seconds: i64) -> State {
    let command =
        Command::RequestPasswordReset { mail_id: mail_id(n.into()), token: token(n, seconds) };
    given(state).by(Actor::Anonymous).at(seconds).when(command).after
}

/// Signed in as sessions 1 and 2, on two devices.
fn twice_signed_in() -> State {
    let claimed = given(signed_in()).by(Actor::Anonymous).at(20).when(claim(1)).after;
    given(claimed).by(Actor::Anonymous).at(20).when(sign_in(1, 2)).after
}

fn claimed(state: State) -> State {
    given(state).by(Actor::Anonymous).at(900).when(claim(9)).after
}

#[test]
fn a8_who_forgot_a_password_is_mailed_a_link_and_the_older_one_is_void() {
    let command =
        |n: u8| Command::RequestPasswordReset { mail_id: mail_id(60), token: token(n, 50) };
    let then = given(signed_in()).by(Actor::Anonymous).at(50).when(command(60));
    let then = then.happens(&["TokenIssued", "MailQueued"]).tells(&[]);
    let issued = &then.after.tokens[&hash(60)];
    assert_eq!(issued.purpose, Purpose::ResetPassword);
    assert_eq!(issued.email.as_ref().map(|email| email.canonical()), Some("zmail@example.org"));
    let then = given(then.after).by(Actor::Anonymous).at(51).when(command(61));
    assert_eq!(then.after.tokens[&hash(60)].voided_at, Some(at(51)));
    // The link that verifies an address is another matter.
    let then = given(pending()).by(Actor::Anonymous).at(50).when(command(60));
    assert_eq!(then.after.tokens[&hash(1)].voided_at, None);
    for status in [Status::DeletionScheduled, Status::Erased] {
        let then = given(with_status(status)).by(Actor::Anonymous).at(50).when(command(60));
        assert_eq!(then.outcome(), Outcome::Done);
        then.changes_nothing();
    }
    let nobody = given(State::default()).by(Actor::Anonymous).when(command(60));
    nobody.refused(Rejection::NotFound);
}

#[test]
fn a8_a_link_resets_once_and_ends_all_that_the_old_password_opened() {
    let locked = (0..5).fold(asked(twice_signed_in(), 60, 50), |state, n| {
        let claimed = given(state).by(Actor::Anonymous).at(60).when(claim(n)).after;
        given(claimed).by(Actor::Anonymous).at(60).when(fail(n)).after
    });
    assert!(locked.throttle(&BUCKET).locked_until.is_some());
    let then = given(locked).by(Actor::Anonymous).at(70).when(reset_password(60));
    let then = then
        .happens(&[
            "TokenUsed",
            "PasswordChanged",
            "SessionRevoked",
            "SessionRevoked",
            "DeviceForgotten",
            "DeviceForgotten",
            "Unlocked",
            "MailQueued",
        ])
        .tells(&[
            "customer.password_changed",
            "customer.session_revoked",
            "customer.session_revoked",
        ]);
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(then.messages()[0].1["cause"], "reset");
    assert_eq!(then.messages()[1].1["reason"], RevocationReason::PasswordChanged.as_str());
    assert_eq!(then.after.password_hash.as_deref(), Some("$argon2id$Zreset"));
    assert!(then.after.sessions.values().all(|session| session.revoked_at == Some(at(70))));
    assert!(then.after.devices.is_empty());
    assert_eq!(then.after.throttle(&BUCKET), Default::default());
    assert_eq!(then.versions(), (3, 3), "a password is no field of the record");
    given(then.after).at(71).when(reset_password(60)).refused(Rejection::TokenInvalid);
}

#[test]
fn a8_a_link_that_is_no_good_resets_nothing() {
    let open = || asked(signed_in(), 60, 50);
    let mut moved = open();
    moved.customer.as_mut().unwrap().email = EmailAddress::parse("other@example.org").unwrap();
    let frozen = given(open()).by(staff()).at(55).when(super::deletions::request(1));
    let rows = [
        ("of another purpose", pending(), 60, 1),
        ("void", asked(open(), 61, 55), 60, 60),
        ("expired to the second", open(), 50 + DAY, 60),
        ("unknown", open(), 60, 99),
        ("sent to a mailbox that is the customer's no more", moved, 60, 60),
        ("of an account that is to be deleted", frozen.after, 60, 60),
        ("of nobody", State::default(), 60, 60),
    ];
    for (why, state, seconds, n) in rows {
        let then = given(state).by(Actor::Anonymous).at(seconds).when(reset_password(n));
        assert_eq!(then.decision, Err(Rejection::TokenInvalid), "{why}");
    }
    let last = given(open()).by(Actor::Anonymous).at(50 + DAY - 1).when(reset_password(60));
    assert_eq!(last.outcome(), Outcome::Done);
}

#[test]
fn l7_a_reset_verifies_the_address_and_activates_who_waits_for_it() {
    let then = given(asked(pending(), 60, 50)).by(Actor::Anonymous).at(60).when(reset_password(60));
    let then = then
        .happens(&[
            "TokenUsed",
            "EmailVerified",
            "StatusChanged",
            "PasswordChanged",
            "TokenVoided",
            "MailQueued",
        ])
        .tells(&["customer.verified", "customer.status_changed", "customer.password_changed"]);
    assert_eq!(customer(&then.after).status, Status::Active);
    assert!(then.after.sessions.is_empty(), "it does not sign in");
    // The registration's own link would have brought another password with it.
    given(then.after).at(61).when(verify(1, 1)).refused(Rejection::TokenInvalid);
}

#[test]
fn l3_a_reset_lifts_no_status_that_the_shop_set() {
    for status in [Status::Suspended, Status::Inactive] {
        let then = given(asked(with_status(status), 60, 50)).at(60).when(reset_password(60));
        let then = then.happens(&["TokenUsed", "PasswordChanged", "MailQueued"]);
        assert_eq!(customer(&then.after).status, status);
    }
}

#[test]
fn a1_who_never_had_a_password_gets_one_by_a_link() {
    let created = given(State::default()).by(staff()).at(0).when(create_by_staff()).after;
    let then = given(asked(created, 60, 50)).by(Actor::Anonymous).at(60).when(reset_password(60));
    let then = then.happens(&["TokenUsed", "EmailVerified", "PasswordChanged", "MailQueued"]);
    assert_eq!(then.after.password_hash.as_deref(), Some("$argon2id$Zreset"));
}

#[test]
fn a7_a_change_keeps_the_session_that_asks_and_its_device_alone() {
    let state = claimed(asked(twice_signed_in(), 60, 50));
    let then = given(state).when(change_password(9, 1));
    let then = then
        .happens(&[
            "AttemptSucceeded",
            "PasswordChanged",
            "TokenVoided",
            "SessionRevoked",
            "DeviceForgotten",
            "MailQueued",
        ])
        .tells(&["customer.password_changed", "customer.session_revoked"]);
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(then.messages()[0].1["cause"], "change");
    assert_eq!(then.after.sessions[&session_id(1)].revoked_at, None);
    assert_eq!(then.after.sessions[&session_id(2)].revoked_at, Some(at(1_000)));
    assert_eq!(then.after.devices.keys().collect::<Vec<_>>(), [&device_id(1)]);
    assert_eq!(then.after.tokens[&hash(60)].voided_at, Some(at(1_000)));
}

#[test]
fn a3_a_change_whose_password_changed_meanwhile_is_no_change() {
    let mut state = claimed(twice_signed_in());
    state.password_hash = Some("$argon2id$Zother".into());
    let then = given(state).when(change_password(9, 1));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Changed));
    let then = then.happens(&["AttemptReleased"]).tells(&[]);
    assert_eq!(then.after.password_hash.as_deref(), Some("$argon2id$Zother"));
}

#[test]
fn l3_only_an_active_owner_changes_a_password() {
    for status in [Status::Suspended, Status::Inactive, Status::DeletionScheduled] {
        let then = given(claimed(with_status(status))).when(change_password(9, 1));
        then.refused(Rejection::NotActive(status));
    }
}
