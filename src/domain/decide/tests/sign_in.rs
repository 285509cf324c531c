//! Attempts and sign-ins (rules A3, A6).

use super::*;
use crate::domain::mail::MailBody;
use crate::domain::outcome::SignInRefusal;
use crate::domain::throttle::Admission;

/// `wrong` failed attempts a second apart, from `seconds` on.
fn after_failures(state: State, wrong: u128, seconds: i64) -> State {
    (0..wrong).fold(state, |state, n| {
        let seconds = seconds + n as i64;
        let claimed = given(state).by(Actor::Anonymous).at(seconds).when(claim(n)).after;
        given(claimed).by(Actor::Anonymous).at(seconds).when(fail(n)).after
    })
}

/// Nobody known, or the owner of the address: A3 wants both to behave alike.
fn both() -> [(bool, State); 2] {
    [(true, active()), (false, State::default())]
}

#[test]
fn a3_an_attempt_is_claimed_before_it_is_verified() {
    for (_, state) in both() {
        let then = given(state).by(Actor::Anonymous).when(claim(1));
        assert_eq!(then.outcome(), Outcome::Admission(Admission::Claimed));
        let then = then.happens(&["AttemptClaimed"]).tells(&[]);
        assert_eq!(then.after.throttle(&BUCKET).claims, [(claim_id(1), at(1_000))]);
    }
}

#[test]
fn a3_the_fifth_failure_locks_and_tells_of_known_customers_only() {
    for (known, state) in both() {
        let four = after_failures(state, 4, 0);
        let fifth = given(four).by(Actor::Anonymous).at(5).when(claim(5)).after;
        let then = given(fifth).by(Actor::Anonymous).at(5).when(fail(5));
        let until = at(5 + 900);
        assert_eq!(then.outcome(), Outcome::AttemptFailed { locked_until: Some(until) });
        let then = if known {
            then.happens(&["AttemptFailed", "SignInLocked", "MailQueued"])
                .tells(&["customer.sign_in_locked"])
        } else {
            then.happens(&["AttemptFailed"]).tells(&[])
        };
        let then = given(then.after).by(Actor::Anonymous).at(6).when(claim(6));
        assert_eq!(then.outcome(), Outcome::Admission(Admission::Locked { until }));
        then.changes_nothing();
    }
}

#[test]
fn a3_a_failure_below_the_limit_locks_nothing() {
    let then = given(after_failures(active(), 4, 0)).by(Actor::Anonymous).at(9).when(fail(99));
    assert_eq!(then.outcome(), Outcome::AttemptFailed { locked_until: None });
    assert_eq!(
        then.after.throttle(&BUCKET).failures.len(),
        4,
        "an unknown claim counts for nothing"
    );
}

#[test]
fn a3_a_lock_by_attempts_that_died_is_told_like_any_other() {
    for (known, state) in both() {
        let five = (0..5)
            .fold(state, |state, n| given(state).by(Actor::Anonymous).at(0).when(claim(n)).after);
        let busy = given(five.clone()).by(Actor::Anonymous).at(1).when(claim(6));
        assert_eq!(busy.outcome(), Outcome::Admission(Admission::Busy));
        busy.changes_nothing();
        let then = given(five).by(Actor::Anonymous).at(31).when(claim(7));
        let until = at(31 + 900);
        assert_eq!(then.outcome(), Outcome::Admission(Admission::Locked { until }));
        if known {
            let then = then.happens(&["AttemptClaimed", "SignInLocked", "MailQueued"]);
            assert_eq!(then.messages()[0].0, "customer.sign_in_locked");
        } else {
            then.happens(&["AttemptClaimed"]).tells(&[]);
        }
    }
}

#[test]
fn a6_a_right_password_signs_in_and_forgets_the_failures() {
    let four = after_failures(active(), 4, 900);
    let claimed = given(four).by(Actor::Anonymous).at(999).when(claim(9)).after;
    let then = given(claimed).by(Actor::Anonymous).when(sign_in(9, 5));
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("signed in") };
    assert_eq!(signed_in.session.id, session_id(5));
    assert_eq!(signed_in.customer.last_sign_in_at, Some(at(1_000)));
    let then = then
        .happens(&["AttemptSucceeded", "DeviceRemembered", "SignedIn"])
        .tells(&["customer.signed_in"]);
    assert_eq!(then.messages()[0].1["method"], "password");
    assert!(then.after.throttle(&BUCKET).is_clear());
    let (before, after) = then.versions();
    assert_eq!(before, after, "signing in is no change of the record");
}

#[test]
fn a3_parallel_right_passwords_all_pass() {
    let five = (0..5)
        .fold(active(), |state, n| given(state).by(Actor::Anonymous).at(999).when(claim(n)).after);
    let all = (0..5).fold(five, |state, n| {
        let then = given(state).by(Actor::Anonymous).when(sign_in(n, n));
        assert!(matches!(then.outcome(), Outcome::SignedIn(_)));
        then.after
    });
    assert!(all.throttle(&BUCKET).is_clear());
    assert_eq!(all.sessions.len(), 5);
}

#[test]
fn a6_status_is_asked_before_the_address_and_the_claim_is_given_back() {
    let unverified = |status| {
        let mut state = with_status(status);
        if let Some(customer) = &mut state.customer {
            customer.email_verified_at = None;
        }
        state
    };
    let rows = [
        (with_status(Status::Suspended), SignInRefusal::Suspended),
        (unverified(Status::Suspended), SignInRefusal::Suspended),
        (with_status(Status::Inactive), SignInRefusal::Inactive),
        (unverified(Status::Inactive), SignInRefusal::Inactive),
        (unverified(Status::DeletionScheduled), SignInRefusal::EmailUnverified),
        (with_status(Status::Pending), SignInRefusal::EmailUnverified),
        (unverified(Status::Active), SignInRefusal::EmailUnverified),
    ];
    for (state, refusal) in rows {
        let claimed = given(state).by(Actor::Anonymous).at(999).when(claim(1)).after;
        let then = given(claimed).by(Actor::Anonymous).when(sign_in(1, 5));
        assert_eq!(then.outcome(), Outcome::SignInRefused(refusal));
        let then = then.happens(&["AttemptSucceeded", "SignInRefused"]).tells(&[]);
        assert!(then.after.throttle(&BUCKET).is_clear());
        assert!(!then.after.sessions.contains_key(&session_id(5)));
    }
}

#[test]
fn a6_a_password_that_changed_meanwhile_does_not_sign_in() {
    for changed in [Some("another".to_owned()), None] {
        let mut state = given(active()).by(Actor::Anonymous).at(999).when(claim(1)).after;
        state.password_hash = changed;
        let then = given(state).by(Actor::Anonymous).when(sign_in(1, 5));
        let refusal = SignInRefusal::PasswordChanged;
        assert_eq!(then.outcome(), Outcome::SignInRefused(refusal));
        let then = then.happens(&["AttemptReleased", "SignInRefused"]);
        assert!(then.after.throttle(&BUCKET).claims.is_empty());
    }
}

#[test]
fn a6_a_customer_that_is_gone_does_not_sign_in() {
    given(State::default()).by(Actor::Anonymous).when(sign_in(1, 5)).refused(Rejection::NotFound);
}

#[test]
fn a1_a_hash_of_another_cost_is_replaced_on_success_only() {
    let rehash = || {
        let Command::SignIn(mut sign_in) = sign_in(1, 5) else { unreachable!() };
        sign_in.rehash = Some(PasswordHash::new("$argon2id$Znew"));
        Command::SignIn(sign_in)
    };
    let then = given(active()).by(Actor::Anonymous).when(rehash());
    let then =
        then.happens(&["AttemptSucceeded", "PasswordRehashed", "DeviceRemembered", "SignedIn"]);
    assert_eq!(then.after.password_hash.as_deref(), Some("$argon2id$Znew"));
    let then = given(with_status(Status::Suspended)).by(Actor::Anonymous).when(rehash());
    assert_eq!(then.after.password_hash.as_deref(), Some(PASSWORD_HASH));
}

#[test]
fn a3_an_attempt_that_nobody_verified_is_given_back_and_counts_for_nothing() {
    for (_, state) in both() {
        let four = after_failures(state, 4, 0);
        let claimed = given(four).by(Actor::Anonymous).at(5).when(claim(5)).after;
        let then = given(claimed).by(Actor::Anonymous).at(6).when(release(5));
        assert_eq!(then.outcome(), Outcome::Done);
        let then = then.happens(&["AttemptReleased"]).tells(&[]);
        assert_eq!(then.after.throttle(&BUCKET).failures.len(), 4);
        assert!(then.after.throttle(&BUCKET).claims.is_empty());
        given(then.after).by(Actor::Anonymous).at(7).when(release(5)).changes_nothing();
    }
}

/// Which mails a decision queues.
fn mails(then: &Then) -> Vec<MailBody> {
    let queued = then.events().iter().filter_map(|event| match event {
        Event::MailQueued(mail) => Some(mail.body.clone()),
        _ => None,
    });
    queued.collect()
}

#[test]
fn a4_the_owner_hears_of_a_device_that_was_not_here_before_but_not_of_the_first() {
    let first = given(active()).by(Actor::Anonymous).when(sign_in(1, 5));
    assert!(mails(&first).is_empty());
    let second = given(first.after).by(Actor::Anonymous).when(sign_in(2, 6));
    assert_eq!(mails(&second), [MailBody::NewDevice]);
    let Command::SignIn(mut again) = sign_in(3, 7) else { unreachable!() };
    again.session.device = SessionDevice::Known(device_id(6));
    let known = given(second.after).by(Actor::Anonymous).when(Command::SignIn(again));
    assert!(mails(&known).is_empty());
}

#[test]
fn a3_a_lock_is_not_told_to_an_address_that_nobody_confirmed() {
    let four = after_failures(pending(), 4, 0);
    let fifth = given(four).by(Actor::Anonymous).at(5).when(claim(5)).after;
    let then = given(fifth).by(Actor::Anonymous).at(5).when(fail(5));
    then.happens(&["AttemptFailed", "SignInLocked"]);
}
