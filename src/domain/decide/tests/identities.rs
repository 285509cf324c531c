//! Accounts at identity providers (rules A10, L1).

use super::*;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::outcome::SignInRefusal;
use crate::domain::proof::ProofRefusal;

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn sign_in_by(account: Account, verified: Option<&str>) -> Command {
    Command::SignInByIdentity(Box::new(SignInByIdentity {
        account,
        verified_email: verified.map(email),
        mail_id: mail_id(70),
        session: fresh_session(70),
        challenge: Some(challenge(70)),
    }))
}

fn linked() -> State {
    given(active()).when(link_identity("google", "1")).after
}

#[test]
fn a10_l1_a_new_customer_is_whole_and_active_and_told_in_one_decision() {
    let command = Command::RegisterByIdentity(Box::new(RegisterByIdentity {
        id: customer_id(),
        account: account("google", "1"),
        email: email("zmail@example.org"),
        first_name: person("Zfirst"),
        last_name: person("Zlast"),
        group: group("individual"),
        locale: Locale::parse("vi-VN").unwrap(),
        timezone: TimeZone::parse("UTC").unwrap(),
        currency: Currency::parse("VND").unwrap(),
        mail_id: mail_id(1),
        session: fresh_session(1),
    }));
    let then = given(State::default()).by(Actor::Anonymous).when(command.clone());
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("{:?}", then.outcome()) };
    assert_eq!(signed_in.customer.status, Status::Active);
    assert!(signed_in.customer.email_verified_at.is_some());
    let then = then
        .happens(&[
            "Created",
            "EmailVerified",
            "IdentityLinked",
            "MailQueued",
            "DeviceRemembered",
            "SignedIn",
        ])
        .tells(&[
            "customer.created",
            "customer.verified",
            "customer.identity_linked",
            "customer.signed_in",
        ]);
    assert_eq!(then.after.handles.len(), 2, "the address and the account");
    assert!(then.after.profile.is_some() && then.after.preferences.is_some());
    assert_eq!(then.after.password_hash, None);
    given(then.after).by(Actor::Anonymous).when(command).refused(Rejection::Conflict);
}

#[test]
fn a10_a_linked_account_signs_in_whatever_its_address_is_by_now() {
    for verified in [None, Some("zmail@example.org"), Some("other@example.org")] {
        let command = sign_in_by(account("google", "1"), verified);
        let then = given(linked()).by(Actor::Anonymous).when(command);
        then.happens(&["DeviceRemembered", "SignedIn"]).tells(&["customer.signed_in"]);
    }
}

#[test]
fn a10_an_account_is_linked_on_the_way_only_if_both_sides_verified_one_address() {
    let google = || account("google", "1");
    let both = Some("ZMAIL@example.org");
    let then = given(active()).by(Actor::Anonymous).when(sign_in_by(google(), both));
    then.happens(&["IdentityLinked", "MailQueued", "DeviceRemembered", "SignedIn"])
        .tells(&["customer.identity_linked", "customer.signed_in"]);
    for (state, verified) in [
        (active(), None),
        (active(), Some("other@example.org")),
        // nobody confirmed this registration: it may be a stranger's
        (pending(), both),
        // another account of the same provider is linked
        (given(active()).when(link_identity("google", "2")).after, both),
    ] {
        let then = given(state).by(Actor::Anonymous).when(sign_in_by(google(), verified));
        then.refused(Rejection::LinkRequired);
    }
}

#[test]
fn a6_a10_the_status_refuses_and_nothing_is_linked_by_the_way() {
    let frozen = given(active()).by(staff()).when(super::deletions::request(1)).after;
    let command = sign_in_by(account("google", "1"), Some("zmail@example.org"));
    let then = given(frozen).by(Actor::Anonymous).when(command);
    assert_eq!(then.outcome(), Outcome::SignInRefused(SignInRefusal::DeletionScheduled));
    then.happens(&["SignInRefused"]).tells(&[]);
    for state in [active(), linked()] {
        for (to, refusal) in [
            (Status::Suspended, SignInRefusal::Suspended),
            (Status::Inactive, SignInRefusal::Inactive),
        ] {
            let state = given(state.clone()).by(staff()).when(move_status(to)).after;
            let command = sign_in_by(account("google", "1"), Some("zmail@example.org"));
            let then = given(state).by(Actor::Anonymous).when(command);
            assert_eq!(then.outcome(), Outcome::SignInRefused(refusal));
            then.happens(&["SignInRefused"]).tells(&[]);
        }
    }
}

#[test]
fn a10_linking_again_changes_nothing_and_a_second_of_one_provider_is_refused() {
    let then = given(linked()).when(link_identity("google", "1"));
    assert!(matches!(then.outcome(), Outcome::Identity(_)));
    then.changes_nothing();
    given(linked()).when(link_identity("google", "2")).refused(Rejection::ProviderLinked);
    let then = given(linked()).when(link_identity("apple", "1"));
    then.happens(&["IdentityLinked", "MailQueued"]).tells(&["customer.identity_linked"]);
    let suspended = given(active()).by(staff()).when(move_status(Status::Suspended)).after;
    let then = given(suspended).when(link_identity("google", "1"));
    then.refused(Rejection::NotActive(Status::Suspended));
}

#[test]
fn a4_linking_begins_with_a_proof() {
    let flow = Flow {
        hash: hash(50),
        kind: FlowKind::Social,
        customer_id: Some(customer_id()),
        payload: vec![1],
        created_at: at(900),
        expires_at: at(1_500),
        failures: 0,
        used_at: None,
    };
    let begin = |proof| Command::BeginLinking { proof, flow: Box::new(flow.clone()) };
    let password = |hash| Proof::Password {
        guard: GUARD,
        claim: claim_id(1),
        verified_hash: PasswordHash::new(hash),
    };
    let recent = |minutes| Proof::RecentSession {
        session: session_id(1),
        max_age: TimeDelta::minutes(minutes),
    };
    for (proof, refusal) in [
        (password(PASSWORD_HASH), None),
        (password("another"), Some(ProofRefusal::Changed)),
        (recent(20), None),
        (recent(10), Some(ProofRefusal::TooOld)),
    ] {
        // signed in at second 10, asked at 1,000
        let then = given(signed_in()).when(begin(proof));
        let expected = refusal.map_or(Outcome::Done, Outcome::ProofRefused);
        assert_eq!(then.outcome(), expected);
        assert_eq!(then.after.flow.is_some(), refusal.is_none(), "{refusal:?}");
        then.tells(&[]);
    }
    let suspended = given(signed_in()).by(staff()).when(move_status(Status::Suspended)).after;
    let then = given(suspended).when(begin(password(PASSWORD_HASH)));
    then.refused(Rejection::NotActive(Status::Suspended));
}

#[test]
fn a10_the_last_way_in_stays() {
    let opened = |state: State| {
        let command = sign_in_by(account("google", "1"), None);
        given(state).by(Actor::Anonymous).when(command).after
    };
    let then = given(opened(linked())).when(unlink_identity("google", 70));
    let then = then.happens(&["IdentityUnlinked", "MailQueued"]);
    let then = then.tells(&["customer.identity_unlinked"]);
    assert!(then.after.identities.is_empty());
    assert!(!then.after.handles.contains_key(&account("google", "1").handle()), "free again");

    let only = opened(State { password_hash: None, ..linked() });
    given(only.clone()).when(unlink_identity("google", 70)).refused(Rejection::LastSignInMethod);
    let two = given(only).when(link_identity("apple", "9")).after;
    given(two).when(unlink_identity("google", 70)).happens(&["IdentityUnlinked", "MailQueued"]);
    given(opened(linked())).when(unlink_identity("apple", 70)).refused(Rejection::NotFound);
    let then = given(linked()).when(unlink_identity("google", 71));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::TooOld));
    then.changes_nothing();
}
