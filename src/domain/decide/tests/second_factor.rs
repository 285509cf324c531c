//! Second factors (rule A9) and the second step of a sign-in (rule A6).

use super::*;
use crate::domain::flow::FlowKind;
use crate::domain::mail::MailBody;
use crate::domain::outcome::SignInRefusal;
use crate::domain::proof::ProofRefusal;
use crate::domain::second_factor::{CHALLENGE_TRIES, ShownCode};
use crate::domain::session::SecondFactor;

const SECRET: &[u8] = b"sealed";
const TOTP: Guard = Guard { bucket: [8; 32], factor: Factor::Totp, policy: TEN };
const BACKUP: Guard = Guard { bucket: [9; 32], factor: Factor::BackupCode, policy: TEN };
const TEN: ThrottlePolicy = ThrottlePolicy { max_failures: 10, ..LOCKS };

fn shown(step: Option<i64>) -> ShownCode {
    ShownCode { secret: SECRET.to_vec(), step }
}

fn totp(step: Option<i64>) -> Proof {
    Proof::Totp { guard: TOTP, shown: shown(step) }
}

fn backup(code: u8) -> Proof {
    Proof::BackupCode { guard: BACKUP, hash: hash(code), mail_id: mail_id(6) }
}

/// The password, shown again.
fn password() -> Proof {
    let verified_hash = PasswordHash::new(PASSWORD_HASH);
    Proof::Password { guard: GUARD, claim: claim_id(1), verified_hash }
}

fn start(proof: Proof) -> Command {
    Command::StartTotp { proof, secret: SealedSecret(SECRET.to_vec()) }
}

fn confirm(shown: ShownCode) -> Command {
    Command::ConfirmTotp { shown, codes: vec![hash(201), hash(202)], mail_id: mail_id(1) }
}

fn remove(proof: Proof) -> Command {
    Command::RemoveTotp { proof, mail_id: mail_id(2) }
}

fn renew(proof: Proof) -> Command {
    Command::RenewBackupCodes { proof, codes: vec![hash(203)], mail_id: mail_id(3) }
}

fn reset() -> Command {
    Command::ResetFactors { mail_id: mail_id(4) }
}

fn answer(factor: SecondFactor, proof: Proof) -> Command {
    answer_after(Some(PASSWORD_HASH), factor, proof)
}

fn answer_after(password: Option<&str>, factor: SecondFactor, proof: Proof) -> Command {
    Command::AnswerChallenge(Box::new(AnswerChallenge {
        challenge: hash(CHALLENGE),
        first: FirstStep {
            method: SignInMethod::Password,
            password: password.map(PasswordHash::new),
        },
        shown: factor,
        proof,
        session: fresh_session(7),
        mail_id: mail_id(5),
    }))
}

/// An authenticator, handed out and confirmed.
pub fn set_up() -> [Command; 2] {
    [start(password()), confirm(shown(Some(100)))]
}

/// Step 100 confirmed an authenticator at second 500; backup codes 201 and 202.
fn guarded() -> State {
    let started = given(signed_in()).at(400).when(start(password())).after;
    given(started).at(500).when(confirm(shown(Some(100)))).after
}

/// The password was right at second 1,000.
fn challenged() -> State {
    let claimed = given(guarded()).by(Actor::Anonymous).at(999).when(claim(1)).after;
    given(claimed).by(Actor::Anonymous).when(sign_in(1, 5)).after
}

fn mails(then: &Then) -> Vec<MailBody> {
    let mails = then.events().iter().filter_map(|event| match event {
        Event::MailQueued(mail) => Some(mail.body.clone()),
        _ => None,
    });
    mails.collect()
}

#[test]
fn a9_an_authenticator_counts_from_its_first_valid_code() {
    let then = given(signed_in()).at(400).when(start(password()));
    let started = then.happens(&["AttemptSucceeded", "TotpStarted"]).tells(&[]).after;
    let then = given(started.clone()).at(500).when(confirm(shown(None)));
    let wrong = |then: Then| match then.decision {
        Err(Rejection::Invalid { pointer, fault }) => {
            assert_eq!((pointer, fault.code), ("#/code", "wrong_code"))
        }
        other => panic!("{other:?}"),
    };
    wrong(then);
    // A code of a secret that was replaced meanwhile.
    let other = ShownCode { secret: b"other".to_vec(), step: Some(100) };
    wrong(given(started.clone()).at(500).when(confirm(other)));
    let then = given(started.clone()).at(500).when(confirm(shown(Some(100))));
    assert_eq!(mails(&then), [MailBody::TotpEnabled]);
    let then = then
        .happens(&["TotpEnabled", "BackupCodesIssued", "MailQueued"])
        .tells(&["customer.mfa_changed", "customer.mfa_changed"]);
    assert_eq!(then.messages()[0].1["change"], "enabled");
    let enabled = then.after;
    assert!(enabled.sessions[&session_id(1)].revoked_at.is_none(), "sessions stay");
    given(enabled.clone())
        .at(600)
        .when(confirm(shown(Some(101))))
        .refused(Rejection::FactorEnabled);
    given(enabled).at(600).when(start(password())).refused(Rejection::FactorEnabled);
    let nothing = Rejection::FactorNotStarted;
    given(signed_in()).when(confirm(shown(Some(1)))).refused(nothing.clone());
    given(started.clone()).at(4_000).when(confirm(shown(Some(1)))).refused(nothing);
    // Asked for again, the secret is another one.
    let again = Command::StartTotp { proof: password(), secret: SealedSecret(b"newer".to_vec()) };
    let then = given(started).at(450).when(again).happens(&["AttemptSucceeded", "TotpStarted"]);
    assert_eq!(then.after.totp.unwrap().secret, b"newer");
}

/// A thief of a session would else have an authenticator that its owner has not.
#[test]
fn a4_the_first_authenticator_takes_a_proof_as_any_other() {
    let recent = |seconds| Proof::RecentSession {
        session: session_id(1),
        max_age: TimeDelta::seconds(seconds),
    };
    let other =
        Proof::Password { guard: GUARD, claim: claim_id(1), verified_hash: PasswordHash::new("x") };
    for (proof, refusal) in [
        (recent(390), Some(ProofRefusal::TooOld)),
        (recent(391), None),
        (other, Some(ProofRefusal::Changed)),
        (totp(Some(99)), Some(ProofRefusal::Wrong)),
        (backup(201), Some(ProofRefusal::Wrong)),
    ] {
        // signed in at second 10
        let then = given(signed_in()).at(400).when(start(proof));
        let expected = refusal.map_or(Outcome::Done, Outcome::ProofRefused);
        assert_eq!(then.outcome(), expected);
        assert_eq!(then.after.totp.is_some(), refusal.is_none(), "{refusal:?}");
    }
}

#[test]
fn a6_a_right_password_asks_for_the_second_factor_before_anything_else() {
    for status in [Status::Active, Status::Suspended] {
        let mut state = guarded();
        if let Some(customer) = &mut state.customer {
            customer.status = status;
        }
        let claimed = given(state).by(Actor::Anonymous).at(999).when(claim(1)).after;
        let then = given(claimed).by(Actor::Anonymous).when(sign_in(1, 5));
        let methods = vec![SecondFactor::Totp, SecondFactor::BackupCode];
        assert_eq!(then.outcome(), Outcome::SecondFactorRequired { passkeys: Vec::new(), methods });
        let then =
            then.happens(&["AttemptSucceeded", "SecondFactorAsked", "FlowOpened"]).tells(&[]);
        let flow = then.after.flow.unwrap();
        assert_eq!((flow.kind, flow.customer_id), (FlowKind::SecondFactor, Some(customer_id())));
        assert_eq!(flow.expires_at, at(1_300));
        assert!(!then.after.sessions.contains_key(&session_id(5)));
    }
}

#[test]
fn a6_no_challenge_no_session() {
    let claimed = given(guarded()).by(Actor::Anonymous).at(999).when(claim(1)).after;
    let Command::SignIn(mut without) = sign_in(1, 5) else { panic!("a sign-in") };
    without.challenge = None;
    let then = given(claimed).by(Actor::Anonymous).when(Command::SignIn(without));
    then.refused(Rejection::Conflict);
}

#[test]
fn a9_a_right_code_opens_a_session_and_uses_step_and_challenge_up() {
    let state = challenged();
    let then = given(state)
        .by(Actor::Anonymous)
        .at(1_010)
        .when(answer(SecondFactor::Totp, totp(Some(101))));
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("signed in") };
    assert_eq!(signed_in.session.second_factor, Some(SecondFactor::Totp));
    assert_eq!(signed_in.session.assurance(), 2);
    let then = then
        .happens(&[
            "AttemptSucceeded",
            "TotpStepUsed",
            "FlowUsed",
            "DeviceRemembered",
            "MailQueued",
            "SignedIn",
        ])
        .tells(&["customer.signed_in"]);
    assert_eq!(then.after.totp.as_ref().unwrap().last_step, Some(101));
    let again = answer(SecondFactor::Totp, totp(Some(102)));
    given(then.after.clone()).at(1_011).when(again).refused(Rejection::FlowInvalid);
    // The same step elsewhere: at a removal.
    let then = given(then.after).at(1_012).when(remove(totp(Some(101))));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
}

#[test]
fn a9_no_step_up_to_the_last_one_is_accepted() {
    for (step, right) in [(None, false), (Some(99), false), (Some(100), false), (Some(101), true)] {
        let command = answer(SecondFactor::Totp, totp(step));
        let then = given(challenged()).by(Actor::Anonymous).at(1_010).when(command);
        match right {
            true => assert!(matches!(then.outcome(), Outcome::SignedIn(_)), "{step:?}"),
            false => {
                assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong), "{step:?}");
                let then = then.happens(&["AttemptFailed", "FlowFailed"]);
                assert_eq!(then.after.throttle(&TOTP.bucket).failures.len(), 1);
            }
        }
    }
}

#[test]
fn a9_a_backup_code_works_once() {
    let command = || answer(SecondFactor::BackupCode, backup(201));
    let then = given(challenged()).by(Actor::Anonymous).at(1_010).when(command());
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("signed in") };
    assert_eq!(signed_in.session.second_factor, Some(SecondFactor::BackupCode));
    assert_eq!(mails(&then)[0], MailBody::BackupCodeUsed { left: 1 });
    let then = then.tells(&["customer.mfa_changed", "customer.signed_in"]);
    assert_eq!(then.messages()[0].1["change"], "used");
    let claimed = given(then.after).by(Actor::Anonymous).at(1_020).when(claim(2)).after;
    let challenged = given(claimed).by(Actor::Anonymous).at(1_021).when(sign_in(2, 6)).after;
    let then = given(challenged).by(Actor::Anonymous).at(1_022).when(command());
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
    assert_eq!(mails(&then), [], "nothing was used");
}

#[test]
fn a9_its_owner_is_told_of_each_use_of_a_backup_code() {
    let then = given(guarded()).at(1_010).when(remove(backup(202)));
    let told = [MailBody::BackupCodeUsed { left: 1 }, MailBody::TotpRemoved];
    assert_eq!(mails(&then), told);
    let then = given(guarded()).at(1_010).when(start(backup(201)));
    assert_eq!(then.decision, Err(Rejection::FactorEnabled), "nothing was used");
    let mut last = guarded();
    last.backup_codes.remove(&hash(202));
    let then = given(last).at(1_010).when(renew(backup(201)));
    let told = [MailBody::BackupCodeUsed { left: 0 }, MailBody::BackupCodesRenewed];
    assert_eq!(mails(&then), told);
}

#[test]
fn a9_a_challenge_is_given_up_with_its_fifth_wrong_answer() {
    let mut state = challenged();
    for n in 0..CHALLENGE_TRIES {
        let wrong = answer(SecondFactor::Totp, totp(None));
        let then = given(state).by(Actor::Anonymous).at(1_010).when(wrong);
        let last = n + 1 == CHALLENGE_TRIES;
        let names: &[&str] = match last {
            true => &["AttemptFailed", "FlowFailed", "FlowUsed"],
            false => &["AttemptFailed", "FlowFailed"],
        };
        state = then.happens(names).after;
    }
    let right = answer(SecondFactor::Totp, totp(Some(101)));
    given(state).by(Actor::Anonymous).at(1_011).when(right).refused(Rejection::FlowInvalid);
}

#[test]
fn a9_ten_wrong_codes_lock_the_factor_and_its_owner_is_told() {
    let mut state = challenged();
    for n in 0..10 {
        if let Some(flow) = &mut state.flow {
            (flow.failures, flow.used_at) = (0, None);
        }
        let wrong = answer(SecondFactor::Totp, totp(None));
        let then = given(state).by(Actor::Anonymous).at(1_010).when(wrong);
        let told: &[MailBody] = if n == 9 { &[MailBody::SecondFactorLocked] } else { &[] };
        assert_eq!(mails(&then), told, "{n}");
        let message = if n == 9 { &["customer.sign_in_locked"][..] } else { &[] };
        state = then.tells(message).after;
    }
    let right = answer(SecondFactor::Totp, totp(Some(101)));
    let then = given(state.clone()).by(Actor::Anonymous).at(1_011).when(right);
    assert!(matches!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Locked { .. })));
    then.changes_nothing();
    let other = answer(SecondFactor::BackupCode, backup(201));
    let then = given(state).by(Actor::Anonymous).at(1_011).when(other);
    assert!(matches!(then.outcome(), Outcome::SignedIn(_)), "another factor is another counter");
}

#[test]
fn a6_what_changed_since_the_first_step_voids_the_challenge() {
    let right = || answer(SecondFactor::Totp, totp(Some(101)));
    let refused = |state: State, seconds, command| {
        given(state).by(Actor::Anonymous).at(seconds).when(command).refused(Rejection::FlowInvalid);
    };
    refused(challenged(), 1_300, right());
    let mut changed = challenged();
    changed.password_hash = Some("$argon2id$Zother".into());
    refused(changed, 1_010, right());
    let factors_gone = given(challenged()).by(staff()).at(1_005).when(reset()).after;
    refused(factors_gone.clone(), 1_010, right());
    // Set up anew: that proves nothing about who began before.
    let started = given(factors_gone).at(1_006).when(start(password())).after;
    let renewed = given(started).at(1_007).when(confirm(shown(Some(101)))).after;
    refused(renewed.clone(), 1_010, answer(SecondFactor::Totp, totp(Some(102))));
    refused(renewed, 1_010, answer(SecondFactor::BackupCode, backup(201)));
    let mut foreign = challenged();
    if let Some(flow) = &mut foreign.flow {
        flow.customer_id = None;
    }
    refused(foreign, 1_010, right());
    refused(guarded(), 1_010, right());
    refused(challenged(), 1_010, answer(SecondFactor::Passkey, totp(Some(101))));
}

#[test]
fn a6_status_and_address_are_judged_after_the_second_factor() {
    for (status, refusal) in
        [(Status::Suspended, SignInRefusal::Suspended), (Status::Inactive, SignInRefusal::Inactive)]
    {
        let mut state = challenged();
        if let Some(customer) = &mut state.customer {
            customer.status = status;
        }
        let right = answer(SecondFactor::Totp, totp(Some(101)));
        let then = given(state).by(Actor::Anonymous).at(1_010).when(right);
        assert_eq!(then.outcome(), Outcome::SignInRefused(refusal));
        let names = ["AttemptSucceeded", "TotpStepUsed", "FlowUsed", "SignInRefused"];
        then.happens(&names).tells(&[]);
    }
}

#[test]
fn a9_the_authenticator_goes_with_a_proof_and_its_backup_codes_with_it() {
    let then = given(guarded()).at(1_010).when(remove(totp(None)));
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::Wrong));
    then.happens(&["AttemptFailed"]).tells(&[]);
    let then = given(guarded()).at(1_010).when(remove(totp(Some(101))));
    assert_eq!(mails(&then), [MailBody::TotpRemoved]);
    let names =
        ["AttemptSucceeded", "TotpStepUsed", "TotpRemoved", "BackupCodesRemoved", "MailQueued"];
    let then = then.happens(&names).tells(&["customer.mfa_changed", "customer.mfa_changed"]);
    assert!(then.after.totp.is_none() && then.after.backup_codes.is_empty());
    given(then.after).at(1_020).when(remove(totp(Some(102)))).refused(Rejection::FactorNotFound);
    // One that never counted is nothing to tell of.
    let started = given(signed_in()).at(400).when(start(password())).after;
    let claimed = given(started).at(409).when(claim(1)).after;
    let then = given(claimed).at(410).when(remove(password()));
    then.happens(&["AttemptSucceeded", "TotpRemoved"]).tells(&[]);
}

#[test]
fn a9_new_backup_codes_void_the_old_ones() {
    let then = given(guarded()).at(1_010).when(renew(totp(Some(101))));
    assert_eq!(mails(&then), [MailBody::BackupCodesRenewed]);
    assert_eq!(then.after.backup_codes.keys().collect::<Vec<_>>(), [&hash(203)]);
    then.tells(&["customer.mfa_changed"]);
    given(signed_in()).when(renew(totp(Some(101)))).refused(Rejection::NoSecondFactor);
    // Proof by the last backup code itself: it is used up, then replaced with the others.
    let then = given(guarded()).at(1_010).when(renew(backup(201)));
    assert_eq!(then.after.backup_codes.keys().collect::<Vec<_>>(), [&hash(203)]);
}

#[test]
fn a9_a_reset_takes_all_and_ends_every_session() {
    let then = given(guarded()).by(staff()).when(reset());
    assert_eq!(mails(&then), [MailBody::FactorsReset]);
    let names =
        ["TotpRemoved", "BackupCodesRemoved", "FactorsReset", "SessionRevoked", "MailQueued"];
    let then = then.happens(&names);
    assert!(then.after.totp.is_none() && then.after.backup_codes.is_empty());
    assert!(then.after.sessions.values().all(|session| session.revoked_at.is_some()));
    given(then.after).by(staff()).when(reset()).changes_nothing();
    given(State::default()).by(staff()).when(reset()).refused(Rejection::NotFound);
}

/// The link of the registration, kept by somebody who reads the mails, is no way round.
#[test]
fn a9_no_link_opens_a_session_past_a_second_factor() {
    let mut state = guarded();
    state.tokens = pending().tokens;
    given(state).by(Actor::Anonymous).when(verify(1, 9)).refused(Rejection::TokenInvalid);
}
