//! Copies of all that is kept of a customer (rule P3): who may ask, how often, and what becomes of one.

use super::*;
use crate::domain::privacy_export::{
    Archive, Asker, ExportEnd, ExportFault, PrivacyExport, PrivacyExportEvent,
};
use crate::domain::proof::ProofRefusal;

const MADE: Archive = Archive { rows: 12, bytes: 3_456, pieces: 1 };

fn export_id(n: u128) -> PrivacyExportId {
    PrivacyExportId(Uuid::from_u128(9_000 + n))
}

fn exporting(command: PrivacyExportCommand) -> Command {
    Command::PrivacyExport(Box::new(command))
}

/// By who signed in as session 1 lately; two a day.
fn ask(n: u128) -> Command {
    let proof =
        Proof::RecentSession { session: session_id(1), max_age: TimeDelta::seconds(100 * DAY) };
    exporting(PrivacyExportCommand::Ask {
        id: export_id(n),
        session: session_id(1),
        proof,
        per_day: 2,
    })
}

fn ask_for(n: u128) -> Command {
    exporting(PrivacyExportCommand::AskFor { id: export_id(n) })
}

fn finish(n: u128, attempt: i32) -> Command {
    exporting(PrivacyExportCommand::Finish {
        id: export_id(n),
        attempt,
        archive: MADE,
        keep: TimeDelta::days(7),
        mail_id: mail_id(95),
    })
}

fn give_up(n: u128, attempt: i32) -> Command {
    let fault = ExportFault::TooLarge;
    exporting(PrivacyExportCommand::GiveUp { id: export_id(n), attempt, fault })
}

fn hand_out(n: u128) -> Command {
    exporting(PrivacyExportCommand::HandOut { id: export_id(n) })
}

/// With an export that is at its second attempt.
fn making() -> State {
    let mut state = given(signed_in()).at(100).when(ask(1)).after;
    state.privacy_exports.get_mut(&export_id(1)).unwrap().attempt = 2;
    state
}

fn made() -> State {
    given(making()).by(Actor::Service).at(200).when(finish(1, 2)).after
}

pub(super) fn events() -> Vec<Event> {
    let export = Box::new(PrivacyExport {
        id: export_id(1),
        asked_by: Asker::Staff("key".into()),
        created_at: at(0),
        attempt: 1,
        end: None,
        downloaded_at: None,
    });
    [
        PrivacyExportEvent::Asked(export.clone()),
        PrivacyExportEvent::Ready { export: export.clone(), expires_at: at(DAY), archive: MADE },
        PrivacyExportEvent::GivenUp { export: export.clone(), fault: ExportFault::Interrupted },
        PrivacyExportEvent::HandedOut(export),
    ]
    .map(Event::PrivacyExport)
    .into()
}

/// Asked for by staff, made.
pub(super) fn script() -> Vec<Command> {
    vec![ask_for(1), finish(1, 0)]
}

/// For random sequences; `a` and `b` are small, so that commands meet.
pub(super) fn random((a, b): (u8, u8), unique: u128, state: &State) -> Command {
    let known = state.privacy_exports.keys().nth(a.into());
    let known = known.map_or(unique, |id| id.0.as_u128() - 9_000);
    match b {
        0 | 1 => ask(unique),
        2 => ask_for(unique),
        3 => finish(known, 0),
        4 => give_up(known, 0),
        _ => hand_out(known),
    }
}

#[test]
fn p3_an_owner_who_shows_who_it_is_gets_an_export_and_is_told_when_it_is_ready() {
    let then = given(signed_in()).at(100).when(ask(1)).happens(&["PrivacyExport"]).tells(&[]);
    let Outcome::PrivacyExport(export) = then.outcome() else { panic!("{:?}", then.outcome()) };
    assert_eq!((export.id, export.created_at, &export.end), (export_id(1), at(100), &None));
    assert_eq!(export.asked_by.session(), Some(session_id(1)));
    let (before, after) = then.versions();
    assert_eq!(before, after, "an export is no change of the customer");

    let then = given(making()).by(Actor::Service).at(200).when(finish(1, 2));
    let then = then.happens(&["PrivacyExport", "MailQueued"]).tells(&["privacy.export_ready"]);
    let (_, told) = &then.messages()[0];
    assert_eq!(told["export_id"], export_id(1).to_string());
    let expires_at = at(200 + 7 * DAY);
    assert_eq!(told["expires_at"], serde_json::json!(expires_at));
    let end = ExportEnd::Ready { at: at(200), expires_at, archive: MADE };
    assert_eq!(then.after.privacy_exports[&export_id(1)].end, Some(end));
    let Event::MailQueued(mail) = &then.events()[1] else { panic!() };
    assert_eq!((mail.body.kind(), &mail.to, mail.body.nonce()), ("export_ready", &None, None));
}

#[test]
fn p3_without_a_fresh_proof_there_is_no_export() {
    let proof = Proof::RecentSession { session: session_id(1), max_age: TimeDelta::seconds(60) };
    let old = exporting(PrivacyExportCommand::Ask {
        id: export_id(1),
        session: session_id(1),
        proof,
        per_day: 2,
    });
    let then = given(signed_in()).when(old).happens(&[]);
    assert_eq!(then.outcome(), Outcome::ProofRefused(ProofRefusal::TooOld));
    assert!(then.after.privacy_exports.is_empty());
}

#[test]
fn p3_one_is_made_at_a_time_whoever_asks() {
    let running = Rejection::ExportRunning { id: export_id(1) };
    given(making()).at(300).when(ask(2)).refused(running.clone());
    given(making()).by(staff()).at(300).when(ask_for(2)).refused(running);
    for over in [made(), given(making()).by(Actor::Service).at(200).when(give_up(1, 2)).after] {
        given(over).at(300).when(ask(2)).happens(&["PrivacyExport"]);
    }
}

#[test]
fn p3_an_owner_may_ask_so_often_a_day_and_what_failed_or_staff_asked_for_does_not_count() {
    let mut state = signed_in();
    for (n, seconds) in [(1, 100), (2, 5_000)] {
        state = given(state).at(seconds).when(ask(n)).after;
        state = given(state).by(Actor::Service).at(seconds + 10).when(finish(n, 0)).after;
    }
    state = given(state).by(staff()).at(6_000).when(ask_for(3)).happens(&["PrivacyExport"]).after;
    state = given(state).by(Actor::Service).at(6_010).when(finish(3, 0)).after;
    let wait_seconds = 100 + DAY - 7_000;
    let limit = Rejection::ExportLimitReached { per_day: 2, wait_seconds };
    given(state.clone()).at(7_000).when(ask(4)).refused(limit);
    // The first is a day old, and makes room for one.
    let then = given(state).at(100 + DAY).when(ask(4)).happens(&["PrivacyExport"]);
    let failed = given(then.after).by(Actor::Service).at(200 + DAY).when(give_up(4, 0));
    let failed = failed.happens(&["PrivacyExport"]).tells(&[]);
    given(failed.after).at(300 + DAY).when(ask(5)).happens(&["PrivacyExport"]);
}

#[test]
fn p3_who_lost_the_lease_ends_nothing() {
    for late in [finish(1, 1), give_up(1, 1), finish(1, 3)] {
        given(making()).by(Actor::Service).when(late).refused(Rejection::Conflict);
    }
    for again in [finish(1, 2), give_up(1, 2)] {
        given(made()).by(Actor::Service).when(again).refused(Rejection::Conflict);
    }
    given(made()).by(Actor::Service).when(finish(2, 0)).refused(Rejection::NotFound);
    let gone = given(State::default()).by(Actor::Service).when(finish(1, 0));
    gone.refused(Rejection::NotFound);
}

#[test]
fn p3_what_is_ready_is_handed_out_until_it_expires_and_each_time_is_an_entry() {
    let last = 200 + 7 * DAY - 1;
    let then = given(made()).at(last).when(hand_out(1)).happens(&["PrivacyExport"]).tells(&[]);
    assert_eq!(then.events()[0].trace().unwrap().action, "privacy.export_downloaded");
    assert_eq!(then.after.privacy_exports[&export_id(1)].downloaded_at, Some(at(last)));
    given(then.after).at(last + 1).when(hand_out(1)).refused(Rejection::ExportExpired);
    given(making()).when(hand_out(1)).refused(Rejection::ExportNotReady);
    let failed = given(making()).by(Actor::Service).when(give_up(1, 2)).after;
    given(failed).when(hand_out(1)).refused(Rejection::ExportNotReady);
    given(made()).when(hand_out(2)).refused(Rejection::NotFound);
}

#[test]
fn p3_who_waits_for_its_deletion_may_still_know_and_who_is_shut_out_may_not() {
    let mut scheduled = signed_in();
    scheduled.customer.as_mut().unwrap().status = Status::DeletionScheduled;
    given(scheduled.clone()).at(100).when(ask(1)).happens(&["PrivacyExport"]);
    given(scheduled).by(staff()).at(100).when(ask_for(1)).happens(&["PrivacyExport"]);
    let mut suspended = signed_in();
    suspended.customer.as_mut().unwrap().status = Status::Suspended;
    let refused = Rejection::NotActive(Status::Suspended);
    given(suspended.clone()).at(100).when(ask(1)).refused(refused);
    given(suspended).by(staff()).at(100).when(ask_for(1)).happens(&["PrivacyExport"]);
    let erased = given(with_status(Status::Erased)).by(staff()).when(ask_for(1));
    erased.refused(Rejection::NotFound);
    for actor in [owner(), Actor::Anonymous] {
        given(signed_in()).by(actor).when(ask_for(1)).refused(Rejection::NotFound);
    }
}

#[test]
fn m6_entries_tell_how_much_and_never_what() {
    let told: Vec<_> = events().iter().filter_map(Event::trace).collect();
    let actions: Vec<_> = told.iter().map(|trace| trace.action).collect();
    let ends = ["requested", "ready", "failed", "downloaded"];
    assert_eq!(actions, ends.map(|end| format!("privacy.export_{end}")));
    assert_eq!(told[1].data["rows"], 12);
    assert_eq!(told[2].data["reason"], "interrupted");
}
