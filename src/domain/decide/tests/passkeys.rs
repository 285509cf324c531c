//! Passkeys: made, changed, removed, and signed in with.

use super::*;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::handle::Handle;
use crate::domain::mail::MailBody;
use crate::domain::outcome::SignInRefusal;
use crate::domain::passkey::{AddPasskey, Asserted, Passkey, PasskeyChange, SignInByPasskey};
use crate::domain::proof::ProofRefusal;

const PASSKEY_GUARD: Guard = Guard { bucket: [8; 32], factor: Factor::Passkey, policy: LOCKS };

fn passkey_id(n: u128) -> PasskeyId {
    PasskeyId(Uuid::from_u128(6_000 + n))
}

fn passkey(n: u8, counter: u32) -> Passkey {
    Passkey {
        id: passkey_id(n.into()),
        credential_id: vec![n; 16],
        user_handle: customer_id().0,
        credential: Value::Null,
        counter,
        name: Label::parse("Zlabel").unwrap(),
        second_factor: false,
        backup_eligible: false,
        backed_up: false,
        created_at: at(0),
        last_used_at: None,
        version: 1,
    }
}

/// An active customer with these passkeys and, unless told otherwise, a password.
fn with_passkeys(passkeys: &[Passkey]) -> State {
    let mut state = active();
    state.passkeys = passkeys.iter().map(|passkey| (passkey.id, passkey.clone())).collect();
    state
}

fn flow(kind: FlowKind) -> Flow {
    let customer_id = (kind == FlowKind::PasskeyRegistration).then(customer_id);
    Flow {
        hash: hash(50),
        kind,
        customer_id,
        payload: vec![1],
        created_at: at(900),
        expires_at: at(1_200),
        failures: 0,
        used_at: None,
    }
}

fn lent(mut state: State, kind: FlowKind) -> State {
    state.flow = Some(flow(kind));
    state
}

/// A proof that holds, and one that does not.
fn proof(right: bool) -> Proof {
    let verified_hash = PasswordHash::new(if right { PASSWORD_HASH } else { "another" });
    Proof::Password { guard: GUARD, claim: claim_id(1), verified_hash }
}

fn asserted(n: u128, counter: u32) -> Option<Asserted> {
    Some(Asserted { passkey: passkey_id(n), counter, backed_up: false })
}

fn sign_in(shown: Option<Asserted>) -> Command {
    Command::SignInByPasskey(Box::new(SignInByPasskey {
        flow: hash(50),
        proof: Proof::Passkey { guard: PASSKEY_GUARD, shown, mail_id: mail_id(9) },
        session: fresh_session(5),
    }))
}

/// A state in which a sign-in was begun.
fn begun(counter: u32) -> State {
    lent(with_passkeys(&[passkey(1, counter)]), FlowKind::PasskeySignIn)
}

fn add(new: Passkey) -> Command {
    let add = AddPasskey { flow: hash(50), passkey: new, mail_id: mail_id(9), limit: 2 };
    Command::AddPasskey(Box::new(add))
}

fn change(second_factor: Option<bool>, proof: Option<Proof>) -> Command {
    Command::ChangePasskey(Box::new(PasskeyChange {
        id: passkey_id(1),
        name: Some(Label::parse("Zlabel two").unwrap()),
        second_factor,
        proof,
        mail_id: mail_id(9),
        if_match: None,
    }))
}

fn remove(proof: Proof) -> Command {
    Command::RemovePasskey { id: passkey_id(1), proof, mail_id: mail_id(9), if_match: None }
}

#[track_caller]
fn mailed(then: &Then) -> Option<MailBody> {
    then.events().iter().find_map(|event| match event {
        Event::MailQueued(mail) => Some(mail.body.clone()),
        _ => None,
    })
}

#[test]
fn a_registration_begins_with_a_proof_and_within_the_limit() {
    let begin = |right| Command::BeginPasskey {
        proof: proof(right),
        flow: Box::new(flow(FlowKind::PasskeyRegistration)),
        limit: 2,
    };
    let then = given(active()).when(begin(true));
    assert_eq!(then.outcome(), Outcome::Done);
    then.happens(&["AttemptSucceeded", "FlowOpened"]).tells(&[]);
    let then = given(active()).when(begin(false));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Changed));
    assert!(then.after.flow.is_none());
    let full = with_passkeys(&[passkey(1, 0), passkey(2, 0)]);
    given(full).when(begin(true)).refused(Rejection::PasskeyLimitReached { limit: 2 });
    given(with_status(Status::Suspended))
        .when(begin(true))
        .refused(Rejection::NotActive(Status::Suspended));
}

#[test]
fn a_passkey_is_kept_once_and_its_owner_is_told() {
    let kind = FlowKind::PasskeyRegistration;
    let then = given(lent(with_passkeys(&[passkey(2, 0)]), kind)).when(add(passkey(1, 4)));
    assert_eq!(then.outcome(), Outcome::Passkey(Box::new(passkey(1, 4))));
    assert_eq!(mailed(&then), Some(MailBody::PasskeyAdded));
    let then =
        then.happens(&["FlowUsed", "PasskeyAdded", "MailQueued"]).tells(&["customer.mfa_changed"]);
    let data = &then.messages()[0].1;
    assert_eq!((&data["factor"], &data["change"]), (&"passkey".into(), &"added".into()));
    assert_eq!(then.after.flow.unwrap().used_at, Some(at(1_000)));

    let known = lent(with_passkeys(&[passkey(1, 0)]), kind);
    given(known)
        .when(add(Passkey { id: passkey_id(3), ..passkey(1, 0) }))
        .refused(Rejection::PasskeyKnown);
    let full = lent(with_passkeys(&[passkey(2, 0), passkey(3, 0)]), kind);
    given(full).when(add(passkey(1, 0))).refused(Rejection::PasskeyLimitReached { limit: 2 });
}

#[test]
fn a_challenge_is_good_once_in_time_for_its_owner_and_as_what_it_was_made_for() {
    let kind = FlowKind::PasskeyRegistration;
    let mut used = flow(kind);
    used.used_at = Some(at(950));
    let mut foreign = flow(kind);
    foreign.customer_id = Some(CustomerId(Uuid::from_u128(2)));
    let rows = [None, Some(used), Some(foreign), Some(flow(FlowKind::PasskeySignIn))];
    for flow in rows {
        let state = State { flow, ..active() };
        given(state).when(add(passkey(1, 0))).refused(Rejection::FlowInvalid);
    }
    let late = given(lent(active(), kind)).at(1_200).when(add(passkey(1, 0)));
    late.refused(Rejection::FlowInvalid);

    let mut used = begun(0);
    used.flow.as_mut().unwrap().used_at = Some(at(999));
    for state in [used, lent(begun(0), kind), State { flow: None, ..begun(0) }] {
        let then = given(state).by(Actor::Anonymous).when(sign_in(asserted(1, 1)));
        then.refused(Rejection::FlowInvalid);
    }
    let late = given(begun(0)).by(Actor::Anonymous).at(1_200).when(sign_in(asserted(1, 1)));
    late.refused(Rejection::FlowInvalid);
    let gone = lent(State::default(), FlowKind::PasskeySignIn);
    given(gone).by(Actor::Anonymous).when(sign_in(asserted(1, 1))).refused(Rejection::FlowInvalid);
}

#[test]
fn a6_a_true_signature_signs_in_with_two_factors() {
    let then = given(begun(3)).by(Actor::Anonymous).when(sign_in(asserted(1, 4)));
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("signed in") };
    assert_eq!(signed_in.session.assurance(), 2);
    let then = then
        .happens(&["FlowUsed", "AttemptSucceeded", "PasskeyUsed", "DeviceRemembered", "SignedIn"])
        .tells(&["customer.signed_in"]);
    assert_eq!(then.messages()[0].1["method"], "passkey");
    let used = &then.after.passkeys[&passkey_id(1)];
    assert_eq!((used.counter, used.last_used_at, used.version), (4, Some(at(1_000)), 1));
    assert_eq!(then.after.flow.unwrap().used_at, Some(at(1_000)));
}

/// Whoever knows a passkey's name could else lock its owner out.
#[test]
fn a4_untrue_signatures_use_the_challenge_up_and_lock_nobody() {
    let mut state = begun(3);
    for n in 0..20 {
        // found untrue, or of a passkey that was removed meanwhile
        for shown in [None, asserted(2, 9)] {
            let now = 1_000 + n;
            let then = given(state).by(Actor::Anonymous).at(now).when(sign_in(shown));
            assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
            let then = then.happens(&["FlowUsed", "AttemptFailed"]).tells(&[]);
            assert!(then.after.throttle(&PASSKEY_GUARD.bucket).is_clear());
            assert_eq!(then.after.flow.as_ref().unwrap().used_at, Some(at(now)));
            assert_eq!(then.after.passkeys[&passkey_id(1)], passkey(1, 3));
            state = lent(then.after, FlowKind::PasskeySignIn);
        }
    }
    let then = given(state).by(Actor::Anonymous).at(1_030).when(sign_in(asserted(1, 4)));
    assert!(matches!(then.outcome(), Outcome::SignedIn(_)));
}

#[test]
fn a4_five_true_signatures_out_of_turn_lock_passkeys_and_nothing_else() {
    let mut state = begun(3);
    for n in 0..5 {
        let stale = sign_in(asserted(1, 2));
        let then = given(state).by(Actor::Anonymous).at(1_000 + n).when(stale);
        if n == 4 {
            assert_eq!(then.messages()[0].0, "customer.sign_in_locked");
            assert_eq!(then.messages()[0].1["factor"], "passkey");
        }
        state = lent(then.after, FlowKind::PasskeySignIn);
    }
    assert!(state.throttle(&BUCKET).is_clear(), "the password's counter is another");
    let until = at(1_004 + 900);
    for shown in [asserted(1, 4), None] {
        let then = given(state.clone()).by(Actor::Anonymous).at(1_010).when(sign_in(shown));
        assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Locked { until }));
        then.happens(&["FlowUsed"]);
    }
}

#[test]
fn a_counter_that_did_not_rise_is_refused_and_told() {
    // stored, shown, whether it may follow
    let rows =
        [(0, 0, true), (0, 1, true), (7, 8, true), (7, 7, false), (7, 6, false), (7, 0, false)];
    for (stored, shown, follows) in rows {
        let then = given(begun(stored)).by(Actor::Anonymous).when(sign_in(asserted(1, shown)));
        assert_eq!(matches!(then.outcome(), Outcome::SignedIn(_)), follows, "{stored} {shown}");
        if follows {
            continue;
        }
        assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
        assert_eq!(mailed(&then), Some(MailBody::PasskeySuspected));
        let then = then
            .happens(&["FlowUsed", "AttemptFailed", "PasskeySuspected", "MailQueued"])
            .tells(&["customer.mfa_changed"]);
        assert_eq!(then.messages()[0].1["change"], "suspected");
        // the copy that is behind stays refused, the one that is ahead is not turned away
        let state = lent(then.after, FlowKind::PasskeySignIn);
        let then = given(state).by(Actor::Anonymous).when(sign_in(asserted(1, stored + 1)));
        assert!(matches!(then.outcome(), Outcome::SignedIn(_)));
    }
}

#[test]
fn a6_status_and_address_are_judged_after_the_signature() {
    let rows = [
        (Status::Suspended, SignInRefusal::Suspended),
        (Status::Inactive, SignInRefusal::Inactive),
        (Status::Pending, SignInRefusal::EmailUnverified),
    ];
    for (status, refusal) in rows {
        let mut state = lent(with_status(status), FlowKind::PasskeySignIn);
        state.passkeys.insert(passkey_id(1), passkey(1, 3));
        let then = given(state.clone()).by(Actor::Anonymous).when(sign_in(asserted(1, 4)));
        assert_eq!(then.outcome(), Outcome::SignInRefused(refusal));
        then.happens(&["FlowUsed", "AttemptSucceeded", "PasskeyUsed", "SignInRefused"]);
        let then = given(state).by(Actor::Anonymous).when(sign_in(None));
        assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong), "{status:?}");
    }
}

#[test]
fn a_name_is_changed_as_it_is_and_what_is_asked_for_takes_a_proof() {
    let state = || with_passkeys(&[passkey(1, 0)]);
    let then = given(state()).when(change(None, None));
    let Outcome::Passkey(changed) = then.outcome() else { panic!("a passkey") };
    assert_eq!((changed.name.as_str(), changed.version), ("Zlabel two", 2));
    then.happens(&["PasskeyChanged"]).tells(&[]);

    let then = given(state()).when(change(Some(true), None));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::TooOld));
    then.changes_nothing();
    let then = given(state()).when(change(Some(true), Some(proof(false))));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Changed));
    then.happens(&["AttemptReleased"]);

    let then = given(state()).when(change(Some(true), Some(proof(true))));
    assert_eq!(mailed(&then), Some(MailBody::PasskeyRequired));
    let then = then
        .happens(&["AttemptSucceeded", "PasskeyChanged", "MailQueued"])
        .tells(&["customer.mfa_changed"]);
    assert_eq!(then.messages()[0].1["change"], "enabled");
    assert!(then.after.passkeys[&passkey_id(1)].second_factor);
    // once more changes nothing but what the proof does
    let then = given(then.after).when(change(Some(true), Some(proof(true))));
    let then = then.happens(&["AttemptSucceeded"]);
    let then = given(then.after).when(change(Some(false), Some(proof(true))));
    assert_eq!(mailed(&then), Some(MailBody::PasskeyNotRequired));

    given(active()).when(change(None, None)).refused(Rejection::NotFound);
}

#[test]
fn a_passkey_is_removed_with_a_proof_unless_it_is_the_last_way_in() {
    let then = given(with_passkeys(&[passkey(1, 0)])).when(remove(proof(true)));
    assert_eq!(then.outcome(), Outcome::Done);
    assert_eq!(mailed(&then), Some(MailBody::PasskeyRemoved));
    let then = then
        .happens(&["AttemptSucceeded", "PasskeyRemoved", "MailQueued"])
        .tells(&["customer.mfa_changed"]);
    assert!(then.after.passkeys.is_empty());

    let then = given(with_passkeys(&[passkey(1, 0)])).when(remove(proof(false)));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Changed));
    assert_eq!(then.after.passkeys.len(), 1);
    given(active()).when(remove(proof(true))).refused(Rejection::NotFound);

    // without a password: another passkey or a linked account is a way in, a past one is not
    let recent =
        || Proof::RecentSession { session: session_id(1), max_age: TimeDelta::minutes(10) };
    let alone = || State { password_hash: None, ..with_passkeys(&[passkey(1, 0)]) };
    given(alone()).when(remove(recent())).refused(Rejection::LastSignInMethod);
    let social = Handle::social("google", "zsubject");
    let mut past = alone();
    past.handles.insert(social.clone(), Some(at(2_000)));
    given(past).when(remove(recent())).refused(Rejection::LastSignInMethod);
    let mut linked = alone();
    linked.handles.insert(social, None);
    let mut two = alone();
    two.passkeys.insert(passkey_id(2), passkey(2, 0));
    for state in [linked, two] {
        // a session that is not there proves nothing
        let then = given(state).when(remove(recent()));
        assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::TooOld));
    }
}

#[test]
fn no_message_or_entry_tells_the_name_of_a_passkey() {
    let then = given(lent(active(), FlowKind::PasskeyRegistration)).when(add(passkey(1, 0)));
    let renamed = given(with_passkeys(&[passkey(1, 0)])).when(change(None, None));
    for event in then.events().iter().chain(renamed.events()) {
        let told = format!("{:?} {:?} {event:?}", event.message(customer_id()), event.trace());
        assert!(!told.contains("Zlabel"), "{told}");
    }
}
