//! The status machine by command (rule L3), and the lifting of locks.

use super::*;
use crate::domain::status::allows;
use serde_json::json;

#[test]
fn l3_every_pair_of_statuses_by_command() {
    for from in Status::ALL {
        for to in Status::ALL {
            let state = with_status(from);
            let before = customer(&state).status_before_deletion;
            let then = given(state).by(staff()).when(move_status(to));
            // A deletion is work of its own, from its wish to its end.
            let deletion = [from, to]
                .iter()
                .any(|it| matches!(it, Status::DeletionScheduled | Status::Erased));
            if deletion || !allows(from, to, before) {
                then.refused(Rejection::TransitionNotAllowed { from, to });
                continue;
            }
            let then = then.happens(&["StatusChanged"]).tells(&["customer.status_changed"]);
            assert_eq!(
                then.messages()[0].1,
                json!({ "customer_id": customer_id(), "from": from, "to": to,
                        "reason": "fraud_suspected" })
            );
            assert_eq!(customer(&then.after).status, to);
            let (before, after) = then.versions();
            assert_eq!(after, before + 1);
        }
    }
}

#[test]
fn l3_nobody_moves_a_customer_that_is_not_there() {
    given(State::default())
        .by(staff())
        .when(move_status(Status::Active))
        .refused(Rejection::NotFound);
}

#[test]
fn a7_leaving_active_ends_every_session() {
    for to in [Status::Inactive, Status::Suspended] {
        let two = given(signed_in()).at(20).when(sign_in(1, 2)).after;
        let then = given(two).by(staff()).when(move_status(to));
        let then = then.happens(&["StatusChanged", "SessionRevoked", "SessionRevoked"]).tells(&[
            "customer.status_changed",
            "customer.session_revoked",
            "customer.session_revoked",
        ]);
        assert_eq!(then.messages()[1].1["reason"], "status_changed");
        assert!(then.after.sessions.values().all(|session| !session.is_live(at(1_000))));
        // Those that are over already are not ended again.
        let back = given(then.after).by(staff()).when(move_status(Status::Active));
        back.happens(&["StatusChanged"]);
    }
}

#[test]
fn a3_unlocking_forgets_failures_and_lock() {
    let unlock = || Command::Unlock { buckets: vec![BUCKET] };
    let failed = given(active()).by(Actor::Anonymous).at(1).when(claim(1)).after;
    let failed = given(failed).by(Actor::Anonymous).at(1).when(fail(1)).after;
    let then = given(failed).by(staff()).when(unlock()).happens(&["Unlocked"]).tells(&[]);
    assert!(then.after.throttle(&BUCKET).is_clear());
    given(then.after).by(staff()).when(unlock()).changes_nothing();
    given(State::default()).by(staff()).when(unlock()).refused(Rejection::NotFound);
}

#[test]
fn a3_unlocking_does_not_lose_attempts_that_are_being_verified() {
    let unlock = Command::Unlock { buckets: vec![BUCKET] };
    let mut state = given(active()).by(Actor::Anonymous).at(1).when(claim(1)).after;
    state = given(state).by(Actor::Anonymous).at(1).when(fail(1)).after;
    state = given(state).by(Actor::Anonymous).at(2).when(claim(2)).after;
    let unlocked = given(state).by(staff()).at(3).when(unlock).after;
    let then = given(unlocked).by(Actor::Anonymous).at(4).when(fail(2));
    assert_eq!(then.after.throttle(&BUCKET).failures, [at(4)], "it is wrong, so it counts");
}

#[test]
fn l4_deleting_ends_all_that_finds_the_customer_or_lets_it_in() {
    let mut state = signed_in();
    state.addresses = with_addresses(2).addresses;
    state.backup_codes.insert(hash(9), at(0));
    let then = given(state).by(staff()).when(Command::DeleteCustomer { if_match: None });
    let then = then
        .happens(&["SessionRevoked", "CustomerDeleted"])
        .tells(&["customer.session_revoked", "customer.deleted"]);
    let alone = json!({ "customer_id": customer_id(), "merged_into": null });
    assert_eq!(then.messages()[1].1, alone);
    let (before, after) = (&then.before, &then.after);
    assert!(after.customer.is_none());
    let departed = after.departed.as_ref().unwrap();
    assert_eq!((departed.version, departed.updated_at), (customer(before).version + 1, at(1_000)));
    assert!(after.handles.is_empty() && after.password_hash.is_none() && after.devices.is_empty());
    assert!(after.backup_codes.is_empty() && after.totp.is_none() && after.passkeys.is_empty());
    assert!(
        after.tokens.values().all(|token| token.used_at.is_some() || token.voided_at.is_some())
    );
    // What was bought where may still have to be looked up by who has the right to.
    assert_eq!(after.addresses, before.addresses);
}

#[test]
fn l4_who_is_deleted_is_there_for_nobody() {
    let delete = || Command::DeleteCustomer { if_match: None };
    let gone = given(signed_in()).by(staff()).when(delete()).after;
    for command in [delete(), move_status(Status::Inactive), add_address(3, &[])] {
        given(gone.clone()).by(staff()).when(command).refused(Rejection::NotFound);
    }
    let frozen = given(with_status(Status::DeletionScheduled)).by(staff());
    frozen.when(delete()).refused(Rejection::NotActive(Status::DeletionScheduled));
}
