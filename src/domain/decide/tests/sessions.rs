//! Sessions and refresh tokens (rule A7).

use super::*;
use crate::domain::session::{DEVICES_MAX, SESSIONS_MAX};

/// Signed in at 10 s with token 100, refreshed at 1,000 s to token 101.
fn rotated() -> State {
    given(signed_in()).by(Actor::Anonymous).when(refresh(1, 100, 101)).after
}

#[test]
fn a7_a_session_has_a_sliding_and_an_absolute_end() {
    let session = signed_in().sessions[&session_id(1)].clone();
    assert_eq!(session.created_at, at(10));
    assert_eq!(session.expires_at, at(10 + 30 * DAY));
    assert_eq!(session.absolute_expires_at, at(10 + 180 * DAY));
    assert_eq!((session.generation, session.previous_hash), (0, None));
}

#[test]
fn a7_each_use_rotates_the_token() {
    let then = given(signed_in()).by(Actor::Anonymous).when(refresh(1, 100, 101));
    let Outcome::Refreshed { session, status } = then.outcome() else { panic!("refreshed") };
    then.happens(&["SessionRefreshed"]).tells(&[]);
    assert_eq!(status, Status::Active);
    assert_eq!((session.refresh_hash, session.previous_hash), (hash(101), Some(hash(100))));
    assert_eq!((session.generation, session.rotated_at), (1, Some(at(1_000))));
    assert_eq!((session.last_seen_at, session.expires_at), (at(1_000), at(1_000 + 30 * DAY)));
}

#[test]
fn a7_sliding_never_passes_the_absolute_end() {
    let mut state = signed_in();
    for (n, day) in [29, 58, 87, 116, 145, 174].into_iter().enumerate() {
        let n = n as u8;
        state = given(state).at(day * DAY).when(refresh(1, 100 + n, 101 + n)).after;
    }
    assert_eq!(state.sessions[&session_id(1)].expires_at, at(10 + 180 * DAY));
    given(state).at(10 + 180 * DAY).when(refresh(1, 106, 107)).refused(Rejection::RefreshInvalid);
}

#[test]
fn a7_a_lost_answer_is_given_again_within_the_grace() {
    for seconds in [1_000, 1_009] {
        let then = given(rotated()).at(seconds).when(refresh(1, 100, 101)).changes_nothing();
        let Outcome::Refreshed { session, .. } = then.outcome() else { panic!("the same child") };
        assert_eq!((session.refresh_hash, session.generation), (hash(101), 1));
    }
}

#[test]
fn a7_a_token_that_comes_back_ends_the_session() {
    let twice = given(rotated()).at(1_005).when(refresh(1, 101, 102)).after;
    let rows = [
        ("the grace is over", rotated(), 1_010, 100, 101),
        ("its child was used", twice.clone(), 1_006, 100, 101),
        ("another child than the one it was given", rotated(), 1_001, 100, 103),
        ("never the current one or the one before", twice, 1_006, 99, 100),
    ];
    for (why, state, seconds, presented, child) in rows {
        let then = given(state).at(seconds).when(refresh(1, presented, child));
        let session_id = session_id(1);
        assert_eq!(then.outcome(), Outcome::RefreshReused { session_id }, "{why}");
        let then = then.happens(&["SessionRevoked"]).tells(&["customer.session_revoked"]);
        assert_eq!(then.messages()[0].1["reason"], "refresh_reused");
        given(then.after)
            .at(seconds + 1)
            .when(refresh(1, 101, 102))
            .refused(Rejection::RefreshInvalid);
    }
}

#[test]
fn a7_only_a_live_session_of_an_active_customer_is_refreshed() {
    let signed_out = given(signed_in()).when(Command::SignOut { session_id: session_id(1) }).after;
    let mut moved = signed_in();
    moved.customer.as_mut().unwrap().status = Status::Suspended;
    let rows = [
        ("expired to the second", signed_in(), 10 + 30 * DAY),
        ("signed out", signed_out, 1_001),
        ("no session", active(), 1_001),
        ("no customer", State::default(), 1_001),
        ("not active", moved, 1_001),
    ];
    for (why, state, seconds) in rows {
        let then = given(state).at(seconds).when(refresh(1, 100, 101));
        assert_eq!(then.decision, Err(Rejection::RefreshInvalid), "{why}");
    }
}

#[test]
fn a7_signing_out_ends_one_session_once() {
    let out = || Command::SignOut { session_id: session_id(1) };
    let then = given(signed_in()).when(out());
    assert_eq!(then.outcome(), Outcome::Revoked { sessions: vec![session_id(1)] });
    let then = then.happens(&["SessionRevoked"]).tells(&["customer.session_revoked"]);
    assert_eq!(then.messages()[0].1["reason"], "signed_out");
    let again = given(then.after).when(out()).changes_nothing();
    assert_eq!(again.outcome(), Outcome::Revoked { sessions: vec![] });
    given(active()).when(out()).changes_nothing();
}

#[test]
fn a7_revoking_one_and_revoking_the_others() {
    let three = (2..=3)
        .fold(signed_in(), |state, n| given(state).at(10 + n as i64).when(sign_in(n, n)).after);
    let revoke = |n| Command::RevokeSession { session_id: session_id(n) };
    let then = given(three.clone()).when(revoke(2)).happens(&["SessionRevoked"]);
    assert_eq!(then.messages()[0].1["reason"], "revoked_by_owner");
    given(then.after).when(revoke(2)).refused(Rejection::NotFound);
    given(three.clone()).when(revoke(9)).refused(Rejection::NotFound);
    let then = given(three).when(Command::RevokeOtherSessions { keep: session_id(2) });
    let sessions = vec![session_id(1), session_id(3)];
    assert_eq!(then.outcome(), Outcome::Revoked { sessions });
    assert!(then.after.sessions[&session_id(2)].is_live(at(1_000)));
}

#[test]
fn a7_the_session_seen_longest_ago_makes_room() {
    let max = SESSIONS_MAX as u128;
    let full = (2..=max)
        .fold(signed_in(), |state, n| given(state).at(10 + n as i64).when(sign_in(n, n)).after);
    // Session 1 is the oldest, but it has just been seen; so session 2 goes.
    let full = given(full).at(500).when(refresh(1, 100, 101)).after;
    let then = given(full).when(sign_in(900, 900));
    let Outcome::SignedIn(signed_in) = then.outcome() else { panic!("signed in") };
    assert_eq!(signed_in.evicted, [session_id(2)]);
    let revoked = then.messages();
    let revoked = revoked.iter().find(|(kind, _)| *kind == "customer.session_revoked").unwrap();
    assert_eq!(revoked.1["reason"], "too_many_sessions");
    let live = then.after.sessions.values().filter(|session| session.is_live(at(1_000)));
    assert_eq!(live.count(), SESSIONS_MAX);
}

#[test]
fn a4_the_device_used_longest_ago_makes_room() {
    let max = DEVICES_MAX as u128;
    let full = (2..=max + 1)
        .fold(signed_in(), |state, n| given(state).at(10 + n as i64).when(sign_in(n, n)).after);
    assert_eq!(full.devices.len(), DEVICES_MAX);
    assert!(!full.devices.contains_key(&device_id(1)));
    assert!(full.devices.contains_key(&device_id(2)));
}

#[test]
fn a4_a_known_device_is_not_remembered_twice() {
    let Command::SignIn(mut again) = sign_in(2, 2) else { unreachable!() };
    again.session.device = SessionDevice::Known(device_id(1));
    let then = given(signed_in()).when(Command::SignIn(again));
    let then = then.happens(&["AttemptSucceeded", "SignedIn"]);
    assert_eq!(then.after.devices[&device_id(1)].last_used_at, at(1_000));
    assert_eq!(then.after.sessions[&session_id(2)].device_id, Some(device_id(1)));
}

#[test]
fn a4_a_device_forgotten_meanwhile_is_not_the_sessions() {
    let Command::SignIn(mut again) = sign_in(2, 2) else { unreachable!() };
    again.session.device = SessionDevice::Known(device_id(9));
    let then = given(signed_in()).when(Command::SignIn(again));
    assert_eq!(then.after.sessions[&session_id(2)].device_id, None);
}
