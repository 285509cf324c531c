//! Who may write when, and `If-Match` on every resource.

use super::*;

/// Every command that changes the record or the address book, as a change that is one; with
/// `If-Match` where it has one.
fn writes(if_match: Option<i64>) -> Vec<Command> {
    let customer = CustomerChange { marketing: marketing(true), ..Default::default() };
    let profile = ProfileChange { gender: Change::Set("Zgender".into()), ..Default::default() };
    let preferences = PreferencesChange { sms: Some(true), ..Default::default() };
    let address = AddressChange { city: Some(line("Zcity2")), ..Default::default() };
    let (id, kind) = (address_id(2), AddressKind::Billing);
    vec![
        Command::UpdateCustomer { change: Box::new(customer), if_match },
        Command::UpdateProfile { change: Box::new(profile), if_match },
        Command::UpdatePreferences { change: Box::new(preferences), if_match },
        Command::ChangeAddress { id, change: Box::new(address), if_match },
        Command::SetDefaultAddress { id, kind, if_match },
        Command::DeleteAddress { id, if_match },
        Command::DeleteCustomer { if_match },
    ]
}

/// Two addresses, then this status.
fn of(status: Status) -> State {
    let book = with_addresses(2);
    let mut state = with_status(status);
    state.addresses = book.addresses;
    state
}

#[test]
fn l3_an_owner_writes_only_while_active() {
    for status in Status::ALL {
        for command in writes(None).into_iter().chain([add_address(3, &[])]) {
            let then = given(of(status)).by(owner()).when(command);
            match status {
                Status::Active => assert!(!then.events().is_empty()),
                Status::Erased => then.refused(Rejection::NotFound),
                other => then.refused(Rejection::NotActive(other)),
            }
        }
    }
}

#[test]
fn p1_staff_write_until_a_deletion_is_scheduled() {
    for status in Status::ALL {
        for command in writes(None).into_iter().chain([add_address(3, &[])]) {
            let then = given(of(status)).by(staff()).when(command);
            match status {
                Status::Erased => then.refused(Rejection::NotFound),
                Status::DeletionScheduled => then.refused(Rejection::NotActive(status)),
                _ => assert!(!then.events().is_empty()),
            }
        }
    }
}

#[test]
fn p1_no_confirmation_is_sent_while_a_deletion_is_scheduled_and_nobody_is_told_why() {
    let scheduled = super::deletions::request(1);
    let frozen = given(pending()).by(staff()).at(5).when(scheduled).after;
    for state in [frozen, with_status(Status::Erased)] {
        let then = given(state).by(Actor::Anonymous).when(resend(2, 1_000)).changes_nothing();
        assert_eq!(then.outcome(), Outcome::Done);
    }
}

#[test]
fn nobody_writes_what_is_not_there() {
    for command in writes(None).into_iter().chain([add_address(3, &[])]) {
        for actor in [owner(), staff()] {
            given(State::default()).by(actor).when(command.clone()).refused(Rejection::NotFound);
        }
    }
}

#[test]
fn if_match_of_another_version_refuses_every_write() {
    let state = of(Status::Active);
    let customer_version = customer(&state).version;
    // The profile, the preferences and address 2 are at version 1; the customer is not.
    for command in writes(Some(1)) {
        let of_the_customer =
            matches!(command, Command::UpdateCustomer { .. } | Command::DeleteCustomer { .. });
        let then = given(state.clone()).when(command);
        if of_the_customer {
            then.refused(Rejection::VersionMismatch);
        } else {
            assert!(!then.events().is_empty());
        }
    }
    for stale in [0, 99] {
        for command in writes(Some(stale)) {
            given(state.clone()).when(command).refused(Rejection::VersionMismatch);
        }
    }
    let command = writes(Some(customer_version)).swap_remove(0);
    assert!(!given(state).when(command).events().is_empty());
}

#[test]
fn if_match_is_asked_even_when_nothing_would_change() {
    let commands = [
        Command::UpdateCustomer { change: Box::default(), if_match: Some(99) },
        Command::UpdateProfile { change: Box::default(), if_match: Some(99) },
        Command::UpdatePreferences { change: Box::default(), if_match: Some(99) },
        Command::ChangeAddress { id: address_id(1), change: Box::default(), if_match: Some(99) },
        Command::SetDefaultAddress {
            id: address_id(1),
            kind: AddressKind::Billing,
            if_match: Some(99),
        },
    ];
    for command in commands {
        given(of(Status::Active)).when(command).refused(Rejection::VersionMismatch);
    }
}

#[test]
fn of_two_writers_with_one_version_the_second_is_refused() {
    let command = || writes(Some(1)).swap_remove(1);
    let then = given(of(Status::Active)).when(command());
    given(then.after).when(command()).refused(Rejection::VersionMismatch);
}
