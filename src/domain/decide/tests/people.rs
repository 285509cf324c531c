//! Coming to be a customer (rules L1, L5, L7, A8).

use super::*;
use crate::domain::mail::MailBody;
use crate::domain::outcome::SignInRefusal;
use serde_json::json;

#[test]
fn l1_registration_creates_all_parts_at_once() {
    let then = given(State::default()).by(Actor::Anonymous).at(0).when(register());
    assert_eq!(then.outcome(), Outcome::Done, "the answer must not tell whether it is new");
    let then = then.happens(&["Created", "TokenIssued", "MailQueued"]).tells(&["customer.created"]);
    assert_eq!(
        then.messages()[0].1,
        json!({ "customer_id": customer_id(), "customer_type": "individual",
                "group": "individual", "source": "registration" })
    );
    let customer = customer(&then.after);
    assert_eq!(customer.status, Status::Pending);
    assert_eq!((customer.version, customer.email_verified_at), (1, None));
    assert_eq!(then.after.profile.as_ref().unwrap().version, 1);
    let preferences = then.after.preferences.as_ref().unwrap();
    assert_eq!((preferences.version, preferences.locale.as_str()), (1, "vi-VN"));
    assert_eq!(then.after.password_hash.as_deref(), Some(PASSWORD_HASH));
    assert_eq!(then.after.tokens[&hash(1)].expires_at, at(DAY));
}

#[test]
fn l1_creation_by_staff_creates_all_parts_at_once() {
    let then = given(State::default()).by(staff()).at(0).when(create_by_staff());
    let Outcome::Customer(answered) = then.outcome() else { panic!("staff see the customer") };
    let then =
        then.happens(&["Created", "Consent"]).tells(&["customer.created", "consent.granted"]);
    assert_eq!(then.messages()[0].1["source"], "staff");
    assert_eq!(then.messages()[0].1["group"], "business");
    assert_eq!(answered.status, Status::Active);
    assert_eq!(answered.email_verified_at, None, "only its owner can say that it is theirs");
    assert_eq!(then.after.password_hash, None);
    assert_eq!(then.after.profile.as_ref().unwrap().version, 1);
    assert_eq!(then.after.preferences.as_ref().unwrap().currency.as_str(), "EUR");
}

#[test]
fn l1_an_id_that_is_taken_creates_nothing() {
    for command in [register(), create_by_staff()] {
        given(active()).by(staff()).when(command).refused(Rejection::Conflict);
    }
}

#[test]
fn l7_verifying_consumes_the_token_and_activates() {
    let then = given(pending()).by(Actor::Anonymous).at(10).when(verify(1, 1));
    let then = then
        .happens(&["TokenUsed", "EmailVerified", "StatusChanged", "DeviceRemembered", "SignedIn"])
        .tells(&["customer.verified", "customer.status_changed", "customer.signed_in"]);
    assert_eq!(then.messages()[0].1["channel"], "email");
    assert_eq!(
        then.messages()[1].1,
        json!({ "customer_id": customer_id(), "from": "pending", "to": "active",
                "reason": "email_verified" })
    );
    assert_eq!(then.messages()[2].1["method"], "email_verification");
    assert_eq!(then.after.tokens[&hash(1)].used_at, Some(at(10)));
    assert_eq!(customer(&then.after).email_verified_at, Some(at(10)));
    assert_eq!(then.versions(), (1, 3), "verified and moved: two changes");
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("signed in at once") };
    assert_eq!(signed_in.session.id, session_id(1));
    assert_eq!(signed_in.customer.status, Status::Active);
}

#[test]
fn l7_a_token_that_is_no_good_changes_nothing() {
    let voided = given(pending()).at(5).by(staff()).when(resend(2, 5)).after;
    let mut of_nobody = pending();
    of_nobody.tokens.clear();
    let rows = [
        ("used", signed_in(), 20, 1),
        ("void", voided, 20, 1),
        ("expired to the second", pending(), DAY, 1),
        ("unknown", pending(), 20, 9),
        ("another customer's, so it is not in this state", of_nobody, 20, 1),
        ("a customer's that is gone", State::default(), 20, 1),
    ];
    for (why, state, seconds, token) in rows {
        let then = given(state).by(Actor::Anonymous).at(seconds).when(verify(token, 2));
        assert_eq!(then.decision, Err(Rejection::TokenInvalid), "{why}");
    }
    given(pending()).by(Actor::Anonymous).at(DAY - 1).when(verify(1, 1)).tells(&[
        "customer.verified",
        "customer.status_changed",
        "customer.signed_in",
    ]);
}

#[test]
fn l7_verifying_an_account_that_may_not_sign_in_verifies_only() {
    for (status, refusal) in
        [(Status::Suspended, SignInRefusal::Suspended), (Status::Inactive, SignInRefusal::Inactive)]
    {
        let created = given(State::default()).by(staff()).at(0).when(create_by_staff()).after;
        let mailed = given(created).by(Actor::Anonymous).at(1).when(resend(1, 1)).after;
        let moved = given(mailed).by(staff()).at(2).when(move_status(status)).after;
        let then = given(moved).by(Actor::Anonymous).at(3).when(verify(1, 1));
        assert_eq!(then.outcome(), Outcome::SignInRefused(refusal));
        let then = then
            .happens(&["TokenUsed", "EmailVerified", "SignInRefused"])
            .tells(&["customer.verified"]);
        assert_eq!(customer(&then.after).status, status);
    }
}

#[test]
fn p1_a_link_waits_while_the_account_is_to_be_deleted() {
    let frozen = given(pending()).by(staff()).at(5).when(super::deletions::request(1));
    let then = given(frozen.after).by(Actor::Anonymous).at(10).when(verify(1, 1));
    assert_eq!(then.outcome(), Outcome::SignInRefused(SignInRefusal::DeletionScheduled));
    let then = then.happens(&["SignInRefused"]).tells(&[]);
    assert_eq!(then.before, then.after);
    // Cancelled, the account is pending again and the link still leads into it.
    let restored = given(then.after).by(staff()).at(20).when(super::deletions::cancel()).after;
    let then = given(restored).by(Actor::Anonymous).at(30).when(verify(1, 1));
    assert_eq!(customer(&then.after).status, Status::Active);
}

#[test]
fn a8_a_newer_token_voids_the_older_ones() {
    let then = given(pending()).by(Actor::Anonymous).at(60).when(resend(2, 60));
    let then = then.happens(&["TokenIssued", "MailQueued"]).tells(&[]);
    assert_eq!(then.after.tokens[&hash(1)].voided_at, Some(at(60)));
    assert_eq!(then.after.tokens[&hash(2)].voided_at, None);
}

/// What the table `one_time_tokens` demands of every commit: of the tokens of one purpose, at most
/// one is neither used nor void, expired ones included.
#[test]
fn a8_a_newer_token_voids_the_expired_ones_too() {
    let later = 2 * DAY;
    let then = given(pending()).by(Actor::Anonymous).at(later).when(resend(2, later));
    assert_eq!(then.after.tokens[&hash(1)].voided_at, Some(at(later)));
    let then = given(then.after).by(Actor::Anonymous).at(later + 1).when(verify(2, 1));
    assert_eq!(customer(&then.after).status, Status::Active);
}

#[test]
fn l7_resending_is_for_addresses_that_still_wait() {
    given(active()).by(Actor::Anonymous).when(resend(2, 1_000)).changes_nothing();
    given(State::default())
        .by(Actor::Anonymous)
        .when(resend(2, 1_000))
        .refused(Rejection::NotFound);
    let created = given(State::default()).by(staff()).at(0).when(create_by_staff()).after;
    let then = given(created).by(Actor::Anonymous).when(resend(2, 1_000));
    let then = then.happens(&["TokenIssued", "MailQueued"]);
    let Event::MailQueued(mail) = &then.events()[1] else { panic!("a mail") };
    assert_eq!(
        (mail.body.clone(), mail.locale.as_str()),
        (MailBody::VerifyEmail { nonce: [2; 32] }, "de")
    );
}

#[test]
fn l5_the_owner_of_a_registered_address_is_told() {
    let remind = || Command::RemindOfAccount {
        mail_id: mail_id(9),
        token: token(9, 1_000),
        password_hash: crate::domain::credential::PasswordHash::new("$argon2id$Zsecond"),
    };
    let then = given(pending()).by(Actor::Anonymous).when(remind());
    let then = then.happens(&["TokenIssued", "MailQueued"]).tells(&[]);
    let Event::MailQueued(mail) = &then.events()[1] else { panic!("a mail") };
    assert_eq!(mail.body, MailBody::AlreadyRegisteredPending { nonce: [9; 32] });
    assert_eq!(then.after.tokens[&hash(1)].voided_at, Some(at(1_000)));
    for status in [Status::Active, Status::Inactive, Status::Suspended, Status::DeletionScheduled] {
        let then = given(with_status(status)).by(Actor::Anonymous).when(remind());
        let then = then.happens(&["MailQueued"]).tells(&[]);
        let Event::MailQueued(mail) = &then.events()[0] else { panic!("a mail") };
        assert_eq!(mail.body, MailBody::AlreadyRegistered, "{status:?}");
        assert_eq!(then.outcome(), Outcome::Done);
    }
}

#[test]
fn a_link_brings_the_password_of_the_registration_that_sent_it() {
    // A stranger registered the address first; then its owner does, and confirms by their own link.
    let stranger = given(State::default()).by(Actor::Anonymous).when(register()).after;
    let owner = Command::RemindOfAccount {
        mail_id: mail_id(9),
        token: token(9, 1_000),
        password_hash: crate::domain::credential::PasswordHash::new("$argon2id$Zowner"),
    };
    let reminded = given(stranger.clone()).by(Actor::Anonymous).at(1_000).when(owner).after;
    assert_ne!(reminded.password_hash.as_deref(), Some("$argon2id$Zowner"));
    let confirmed = given(reminded.clone()).by(Actor::Anonymous).at(1_001).when(verify(9, 1)).after;
    assert_eq!(confirmed.password_hash.as_deref(), Some("$argon2id$Zowner"));
    // A link that was sent again hands it on.
    let resend = Command::ResendVerification { mail_id: mail_id(10), token: token(10, 1_002) };
    let resent = given(reminded).by(Actor::Anonymous).at(1_002).when(resend).after;
    let confirmed = given(resent).by(Actor::Anonymous).at(1_003).when(verify(10, 1)).after;
    assert_eq!(confirmed.password_hash.as_deref(), Some("$argon2id$Zowner"));
    // The first link alone keeps the password that the account was made with.
    let before = stranger.password_hash.clone();
    let confirmed = given(stranger).by(Actor::Anonymous).at(1_000).when(verify(1, 1)).after;
    assert_eq!(confirmed.password_hash, before);
}
