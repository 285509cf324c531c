//! No `Debug` prints a secret, a hash of one, or what one is derived from: whatever holds it may end
//! in a log.

use super::*;
use crate::domain::mail::MailBody;
use crate::domain::second_factor::Totp;
use crate::domain::text_message::TextBody;

/// Every secret of these tests is one byte repeated; three of them in a row are no chance.
fn silent(shown: &str, what: &str) {
    assert!(!shown.contains("$argon2id$"), "{what} prints a password hash: {shown}");
    for byte in [1, 2, 7, 60, 61, 77, 78, 80, 100, 101, 201] {
        let run = format!("{byte}, {byte}, {byte}");
        assert!(!shown.contains(&run), "{what} prints a secret: {shown}");
    }
}

/// A state with something in every part that holds one.
fn full() -> State {
    let mut state = signed_in();
    state.totp = Some(Totp {
        secret: vec![77; 16],
        created_at: at(0),
        confirmed_at: Some(at(0)),
        last_step: None,
    });
    state.backup_codes.insert(hash(201), at(0));
    state = given(state).at(20).when(super::phones::request(&phone(), 60, 20)).after;
    state = given(state).at(30).when(refresh(1, 100, 101)).after;
    let asked = Command::RequestEmailChange(Box::new(request_email("n@x.example", token(80, 30))));
    let state = given(state).at(30).when(asked).after;
    assert!(state.password_hash.is_some() && state.phone_confirmation.is_some());
    assert!(state.tokens.len() > 1 && !state.devices.is_empty());
    state
}

#[test]
fn a_state_prints_no_secret() {
    for shown in [format!("{:?}", full()), format!("{:#?}", full())] {
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        silent(&flat, "State");
        assert!(flat.contains("has_password: true") && flat.contains("backup_codes: 1"), "{flat}");
    }
}

#[test]
fn what_a_state_and_a_command_are_made_of_prints_no_secret() {
    let state = full();
    for session in state.sessions.values() {
        silent(&format!("{session:?}"), "Session");
    }
    for device in state.devices.values() {
        silent(&format!("{device:?}"), "Device");
    }
    for token in state.tokens.values() {
        silent(&format!("{token:?}"), "OneTimeToken");
    }
    silent(&format!("{:?}", state.totp), "Totp");
    silent(&format!("{:?}", state.phone_confirmation), "PhoneConfirmation");
    silent(&format!("{:?}", token(60, 0)), "FreshToken");
    silent(&format!("{:?}", fresh_session(1)), "FreshSession");
    silent(&format!("{:?}", challenge(77)), "FreshChallenge");
    silent(&format!("{:?}", SealedSecret(vec![77; 16])), "SealedSecret");
    silent(&format!("{:?}", MailBody::ResetPassword { nonce: [77; 32] }), "MailBody");
    silent(&format!("{:?}", TextBody::PhoneCode { nonce: [77; 32] }), "TextBody");
    for event in given(State::default()).by(Actor::Anonymous).when(register()).events() {
        silent(&format!("{event:?}"), "Event");
    }
}
