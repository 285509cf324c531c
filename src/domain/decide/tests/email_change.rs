//! Another e-mail address (rules L5, L7, A8): asked for, confirmed, taken back.

use super::*;
use crate::domain::handle::{ADDRESS_HELD, Handle};
use crate::domain::identity::Identity;
use crate::domain::mail::MailBody;
use crate::domain::passkey::Passkey;
use crate::domain::proof::ProofRefusal;
use crate::domain::second_factor::Totp;
use crate::domain::session::RevocationReason;
use crate::domain::token::Purpose;
use serde_json::json;

const OLD: &str = "zmail@example.org";

fn request(to: &str, n: u8, seconds: i64) -> Command {
    Command::RequestEmailChange(Box::new(request_email(to, token(n, seconds))))
}

/// By the link with token `n`; the way back has `n + 1`.
fn confirm(n: u8, seconds: i64) -> Command {
    let expires_at = at(seconds) + ADDRESS_HELD;
    confirm_email(hash(n), FreshToken { expires_at, ..token(n + 1, seconds) })
}

/// By the link with token `n`; the one to a new password has `n + 1`.
fn undo(n: u8, seconds: i64) -> Command {
    undo_email(hash(n), token(n + 1, seconds))
}

/// As loaded: with the handle of the present address.
fn loaded(mut state: State) -> State {
    let address = customer(&state).email.clone();
    state.handles.entry(Handle::email(&address)).or_insert(None);
    state
}

/// Signed in at second 10, asked for `to` at 50 with token 60.
fn asked(to: &str) -> State {
    given(loaded(signed_in())).by(owner()).at(50).when(request(to, 60, 50)).after
}

/// Confirmed at second 100; the way back has token 61.
fn changed(to: &str) -> State {
    given(asked(to)).by(Actor::Anonymous).at(100).when(confirm(60, 100)).after
}

fn held(state: &State) -> Vec<(&str, Option<i64>)> {
    let seconds = |until: &Option<DateTime<Utc>>| until.map(|until| (until - at(0)).num_seconds());
    state.handles.iter().map(|(handle, until)| (handle.value.as_str(), seconds(until))).collect()
}

fn mails(then: &Then) -> Vec<(&'static str, String)> {
    let mail = |event: &Event| match event {
        Event::MailQueued(mail) => {
            Some((mail.body.kind(), mail.to.as_ref()?.canonical().to_owned()))
        }
        _ => None,
    };
    then.events().iter().filter_map(mail).collect()
}

#[test]
fn a8_a_change_is_asked_for_and_takes_no_effect_yet() {
    let then =
        given(loaded(signed_in())).by(owner()).at(50).when(request("new@example.org", 60, 50));
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(
        mails(&then),
        [
            ("change_email", "new@example.org".to_owned()),
            ("change_email_requested", OLD.to_owned())
        ]
    );
    let then = then.happens(&["TokenIssued", "MailQueued", "MailQueued"]).tells(&[]);
    assert_eq!(customer(&then.after).email.canonical(), OLD);
    let issued = &then.after.tokens[&hash(60)];
    assert_eq!(issued.purpose, Purpose::ChangeEmail);
    // another wish voids it
    let then = given(then.after).by(owner()).at(51).when(request("other@example.org", 70, 51));
    assert_eq!(then.after.tokens[&hash(60)].voided_at, Some(at(51)));
    let then = given(then.after).by(Actor::Anonymous).at(52);
    then.when(confirm(60, 52)).refused(Rejection::TokenInvalid);
}

/// What happens to the one who asks is the same whoever has the new address.
#[test]
fn a12_the_letter_alone_depends_on_who_has_the_address() {
    let ask = |letter| {
        let asked = request_email("new@example.org", token(60, 50));
        let command = Command::RequestEmailChange(Box::new(RequestEmailChange { letter, ..asked }));
        given(loaded(signed_in())).by(owner()).at(50).when(command)
    };
    let free = ask(Letter::Confirmation);
    for (letter, kind) in [(Letter::Taken, Some("change_email_taken")), (Letter::None, None)] {
        let then = ask(letter);
        assert_eq!(then.outcome(), free.outcome());
        assert_eq!(then.after, free.after, "{letter:?}");
        let to_new: Vec<_> = mails(&then).into_iter().filter(|(_, to)| to != OLD).collect();
        assert_eq!(to_new.first().map(|(kind, _)| *kind), kind);
    }
}

#[test]
fn a8_the_present_address_and_a_proof_that_is_none_change_nothing() {
    let same =
        given(loaded(signed_in())).by(owner()).at(50).when(request("ZMAIL@Example.ORG", 60, 50));
    assert_eq!(same.outcome(), Outcome::Done);
    same.changes_nothing();
    let old =
        given(loaded(signed_in())).by(owner()).at(900).when(request("new@example.org", 60, 900));
    assert_eq!(old.outcome(), Outcome::ProofRefused(ProofRefusal::TooOld));
    old.changes_nothing();
    for status in [Status::Suspended, Status::Inactive, Status::DeletionScheduled] {
        let then =
            given(with_status(status)).by(owner()).at(50).when(request("n@example.org", 60, 50));
        then.refused(Rejection::NotActive(status));
    }
}

#[test]
fn l7_confirming_makes_the_new_address_the_verified_one_and_keeps_the_old_for_its_owner() {
    let then = given(asked("new@example.org")).by(Actor::Anonymous).at(100).when(confirm(60, 100));
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(mails(&then), [("email_changed", OLD.to_owned())]);
    let then = then
        .happens(&[
            "TokenUsed",
            "CustomerUpdated",
            "EmailChanged",
            "EmailVerified",
            "TokenIssued",
            "MailQueued",
        ])
        .tells(&["customer.updated", "customer.email_changed", "customer.verified"]);
    assert_eq!(then.messages()[0].1["changed"], json!(["email"]));
    assert_eq!(then.messages()[1].1, json!({ "customer_id": customer_id(), "cause": "confirmed" }));
    let now = customer(&then.after);
    assert_eq!((now.email.canonical(), now.email_verified_at), ("new@example.org", Some(at(100))));
    let hours_72 = 100 + 72 * 3_600;
    assert_eq!(held(&then.after), [("new@example.org", None), (OLD, Some(hours_72))]);
    assert!(then.after.sessions.values().all(|session| session.is_live(at(101))), "they go on");
    // once
    let again = given(then.after).by(Actor::Anonymous).at(101);
    again.when(confirm(60, 101)).refused(Rejection::TokenInvalid);
}

#[test]
fn a8_a_link_that_is_no_good_changes_no_address() {
    let other_purpose = given(loaded(pending())).by(Actor::Anonymous).at(20).when(confirm(1, 20));
    other_purpose.refused(Rejection::TokenInvalid);
    let expired = given(asked("new@example.org")).by(Actor::Anonymous).at(50 + DAY);
    expired.when(confirm(60, 50 + DAY)).refused(Rejection::TokenInvalid);
    let not_a_way_back = given(asked("new@example.org")).by(Actor::Anonymous).at(60);
    not_a_way_back.when(undo(60, 60)).refused(Rejection::TokenInvalid);
    let way_back = given(changed("new@example.org")).by(Actor::Anonymous).at(110);
    way_back.when(confirm(61, 110)).refused(Rejection::TokenInvalid);
    let frozen = given(asked("new@example.org")).by(staff()).at(60);
    let frozen = frozen.when(super::deletions::request(1)).after;
    let then = given(frozen).by(Actor::Anonymous).at(70).when(confirm(60, 70));
    then.refused(Rejection::TokenInvalid);
    let late = 100 + 72 * 3_600;
    let then = given(changed("new@example.org")).by(Actor::Anonymous).at(late);
    then.when(undo(61, late)).refused(Rejection::TokenInvalid);
}

#[test]
fn a8_links_mailed_to_the_old_address_end_with_it() {
    let reset = Command::RequestPasswordReset { mail_id: mail_id(1), token: token(80, 60) };
    let state = given(asked("new@example.org")).by(Actor::Anonymous).at(60).when(reset).after;
    let then = given(state).by(Actor::Anonymous).at(100).when(confirm(60, 100));
    assert_eq!(then.after.tokens[&hash(80)].voided_at, Some(at(100)));
}

#[test]
fn a7_taking_back_restores_the_address_and_shuts_everybody_out() {
    let state = changed("thief@example.org");
    // what the thief has set going
    let state = given(state).by(owner()).at(110).when(request("second@example.org", 70, 110)).after;
    let reset = Command::RequestPasswordReset { mail_id: mail_id(1), token: token(80, 120) };
    let state = given(state).by(Actor::Anonymous).at(120).when(reset).after;
    let then = given(state).by(Actor::Anonymous).at(130).when(undo(61, 130));
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(mails(&then), [("email_change_undone", OLD.to_owned())]);
    let then = then
        .happens(&[
            "TokenUsed",
            "CustomerUpdated",
            "EmailChanged",
            "EmailVerified",
            "TokenVoided",
            "TokenVoided",
            "SessionRevoked",
            "DeviceForgotten",
            "PasswordVoided",
            "TokenIssued",
            "MailQueued",
        ])
        .tells(&[
            "customer.updated",
            "customer.email_changed",
            "customer.verified",
            "customer.session_revoked",
            "customer.password_changed",
        ]);
    assert_eq!(then.messages()[1].1["cause"], "undone");
    assert_eq!(then.messages()[4].1["cause"], "voided");
    assert_eq!(then.messages()[3].1["reason"], json!(RevocationReason::EmailChanged));
    assert_eq!(customer(&then.after).email.canonical(), OLD);
    assert_eq!(held(&then.after), [(OLD, None)], "the thief's address is free at once");
    assert!(then.after.sessions.values().all(|session| !session.is_live(at(131))));
    assert_eq!(then.after.password_hash, None, "it may be the thief's");
    let reset = &then.after.tokens[&hash(62)];
    assert_eq!(reset.purpose, Purpose::ResetPassword);
    assert_eq!(reset.email.as_ref().map(EmailAddress::canonical), Some(OLD));
    for (n, command) in [(61, undo(61, 140)), (70, confirm(70, 140))] {
        let then = given(then.after.clone()).by(Actor::Anonymous).at(140).when(command);
        assert_eq!(then.decision, Err(Rejection::TokenInvalid), "{n}");
    }
}

/// Ways in and second factors as of the given second: by it, confirmed at second 100 and taken back,
/// the change began a day before at the earliest.
fn planted(seconds: i64) -> State {
    let mut state = changed("thief@example.org");
    let passkey = Passkey {
        id: PasskeyId(Uuid::from_u128(6_001)),
        credential_id: vec![1; 16],
        user_handle: customer_id().0,
        credential: Value::Null,
        counter: 0,
        name: Label::parse("Zlabel").unwrap(),
        second_factor: true,
        backup_eligible: false,
        backed_up: false,
        created_at: at(seconds),
        last_used_at: None,
        version: 1,
    };
    state.passkeys.insert(passkey.id, passkey);
    state.totp = Some(Totp {
        secret: vec![1],
        created_at: at(seconds - 60),
        confirmed_at: Some(at(seconds)),
        last_step: Some(1),
    });
    state.backup_codes.insert(hash(201), at(seconds));
    let identity = Identity { account: account("google", "1"), linked_at: at(seconds) };
    state.handles.insert(identity.account.handle(), None);
    state.identities.insert("google".into(), identity);
    state
}

#[test]
fn a7_what_was_added_since_the_change_began_goes_with_it() {
    let began = 100 - DAY;
    for (added, goes) in [(began - 1, false), (began, true), (60, true), (110, true)] {
        let then = given(planted(added)).by(Actor::Anonymous).at(120).when(undo(61, 120));
        let after = &then.after;
        assert_eq!(after.passkeys.is_empty(), goes, "{added}");
        assert_eq!(after.totp.is_none(), goes, "{added}");
        assert_eq!(after.backup_codes.is_empty(), goes, "{added}");
        assert_eq!(after.identities.is_empty(), goes, "{added}");
        assert_eq!(after.handles.contains_key(&account("google", "1").handle()), !goes, "{added}");
        assert_eq!(after.password_hash, None);
        let told = then.messages().into_iter().map(|(kind, _)| kind);
        let told: Vec<_> = told.skip_while(|kind| *kind != "customer.password_changed").collect();
        let gone = [
            "customer.mfa_changed",
            "customer.mfa_changed",
            "customer.mfa_changed",
            "customer.identity_unlinked",
        ];
        assert_eq!(told[1..], gone[..if goes { 4 } else { 0 }], "{added}");
    }
    // an authenticator that nobody has confirmed yet, and new codes to an old one
    let mut state = planted(began - 1);
    state.backup_codes = [(hash(202), at(110))].into();
    let then = given(state.clone()).by(Actor::Anonymous).at(120).when(undo(61, 120));
    assert!(then.after.backup_codes.is_empty() && then.after.totp.is_some());
    state.totp =
        Some(Totp { secret: vec![2], created_at: at(110), confirmed_at: None, last_step: None });
    let then = given(state).by(Actor::Anonymous).at(120).when(undo(61, 120));
    assert_eq!(then.after.totp, None);
    // the codes go with the last factor that they stand in for
    let mut state = planted(began - 1);
    state.passkeys.clear();
    state.totp = state.totp.map(|totp| Totp { confirmed_at: Some(at(110)), ..totp });
    let then = given(state).by(Actor::Anonymous).at(120).when(undo(61, 120));
    assert!(then.after.backup_codes.is_empty());
}

/// Who changes the address twice does not get rid of the first way back.
#[test]
fn a8_the_first_way_back_outlives_further_changes() {
    let state = changed("second@example.org");
    let state = given(state).by(owner()).at(110).when(request("third@example.org", 70, 110)).after;
    let then = given(state).by(Actor::Anonymous).at(120).when(confirm(70, 120));
    assert_eq!(mails(&then), [("email_changed_again", "second@example.org".to_owned())]);
    assert!(!then.after.tokens.contains_key(&hash(71)));
    let then = given(then.after).by(Actor::Anonymous).at(130).when(undo(61, 130));
    assert_eq!(customer(&then.after).email.canonical(), OLD);
    let second = 120 + 72 * 3_600;
    assert_eq!(held(&then.after), [("second@example.org", Some(second)), (OLD, None)]);
    // its time over, the next change has a way back of its own
    let late = 100 + 72 * 3_600;
    let state = changed("second@example.org");
    let mut ask = request_email("third@example.org", token(70, late));
    ask.proof = Proof::RecentSession { session: session_id(1), max_age: TimeDelta::days(9) };
    let ask = Command::RequestEmailChange(Box::new(ask));
    let state = given(state).by(owner()).at(late).when(ask).after;
    let then = given(state).by(Actor::Anonymous).at(late + 1).when(confirm(70, late + 1));
    assert_eq!(mails(&then), [("email_changed", "second@example.org".to_owned())]);
    assert_eq!(then.after.tokens[&hash(61)].voided_at, Some(at(late + 1)));
}

#[test]
fn a8_the_way_back_leads_out_of_a_frozen_account_too() {
    let state = changed("thief@example.org");
    let frozen = given(state).by(staff()).at(110).when(super::deletions::request(1)).after;
    let then = given(frozen).by(Actor::Anonymous).at(120).when(undo(61, 120));
    assert_eq!(customer(&then.after).email.canonical(), OLD);
    assert_eq!(mails(&then), [], "a frozen account's password cannot be reset");
    assert_eq!(customer(&then.after).status, Status::DeletionScheduled);
    assert_eq!(then.after.password_hash, None, "void all the same");
}

#[test]
fn mails_about_a_change_have_a_link_where_they_need_one() {
    let nonce = [1; 32];
    for (body, linked) in [
        (MailBody::ChangeEmail { nonce }, true),
        (MailBody::EmailChanged { nonce }, true),
        (MailBody::EmailChangeUndone { nonce }, true),
        (MailBody::ChangeEmailTaken, false),
        (MailBody::ChangeEmailRequested, false),
        (MailBody::EmailChangedAgain, false),
    ] {
        assert_eq!(body.nonce().is_some(), linked, "{}", body.kind());
    }
}
