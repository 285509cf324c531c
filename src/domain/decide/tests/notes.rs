//! What staff writes down, and tags: one more or less, whatever the others are (rules L2, M6).

use super::*;
use crate::domain::note::{Note, NoteEvent, NoteText, Notes};

fn note_id(n: u128) -> NoteId {
    NoteId(Uuid::from_u128(8_000 + n))
}

fn text(text: &str) -> NoteText {
    NoteText::parse(text).unwrap()
}

fn note(n: u128) -> Note {
    Note { id: note_id(n), text: text("Znote"), author: "other".into(), created_at: at(0) }
}

fn add(n: u128) -> Command {
    Command::Note(NoteCommand::Add { id: note_id(n), text: text("Znote\nZline"), limit: 3 })
}

fn remove(n: u128) -> Command {
    Command::Note(NoteCommand::Remove { id: note_id(n) })
}

/// As it is loaded for a command that names the first of three.
fn noted() -> State {
    let named = [(note_id(1), note(1))].into();
    State { notes: Notes { count: 3, named }, ..active() }
}

pub(super) fn events() -> Vec<Event> {
    let added = NoteEvent::Added(Box::new(note(1)));
    [added, NoteEvent::Removed { id: note_id(1) }].map(Event::Note).into()
}

/// For random sequences; `a` and `b` are small, so that commands meet.
pub(super) fn random((a, b): (u8, u8), unique: u128, state: &State) -> Command {
    let tag = Label::parse(&format!("Ztag{a}")).unwrap();
    match b {
        0 => Command::Tag(TagCommand::Add { tag }),
        1 => Command::Tag(TagCommand::Remove { tag, if_match: None }),
        2 | 3 => add(unique),
        _ => {
            let known = state.notes.named.keys().nth(a.into()).copied();
            Command::Note(NoteCommand::Remove { id: known.unwrap_or(note_id(unique)) })
        }
    }
}

#[test]
fn a_note_has_its_author_and_its_lines_and_is_told_to_nobody() {
    let then = given(active()).by(staff()).when(add(1)).happens(&["Note"]).tells(&[]);
    let written = then.after.notes.named[&note_id(1)].clone();
    assert_eq!((written.author.as_str(), written.created_at), ("key", at(1_000)));
    assert_eq!(written.text.as_str(), "Znote\nZline");
    assert_eq!(then.outcome(), Outcome::Note(Box::new(written)));
    let (before, after) = then.versions();
    assert_eq!(before, after, "a note is no change of the customer");
}

#[test]
fn m6_the_audit_names_a_note_and_not_what_it_says() {
    for (event, action) in events().iter().zip(["note.added", "note.removed"]) {
        let trace = event.trace().unwrap();
        assert_eq!(trace.action, action);
        assert_eq!(trace.data, serde_json::json!({ "note_id": note_id(1) }));
    }
}

#[test]
fn notes_have_a_limit_and_one_that_is_gone_makes_room() {
    let limit = Rejection::NoteLimitReached { limit: 3 };
    given(noted()).by(staff()).when(add(4)).refused(limit);
    let gone = given(noted()).by(staff()).when(remove(1)).happens(&["Note"]).tells(&[]);
    assert_eq!((gone.after.notes.count, gone.after.notes.named.len()), (2, 0));
    assert_eq!(gone.outcome(), Outcome::Done);
    let again = given(gone.after).by(staff()).when(add(4)).happens(&["Note"]);
    assert_eq!(again.after.notes.count, 3);
    given(again.after).by(staff()).when(remove(1)).refused(Rejection::NotFound);
}

#[test]
fn notes_are_for_staff_and_about_somebody() {
    for command in [add(4), remove(1)] {
        for actor in [owner(), Actor::Anonymous] {
            given(noted()).by(actor).when(command.clone()).refused(Rejection::NotFound);
        }
        let nobody = given(State::default()).by(staff()).when(command.clone());
        nobody.refused(Rejection::NotFound);
        let frozen = with_status(Status::DeletionScheduled);
        let refused = Rejection::NotActive(Status::DeletionScheduled);
        given(frozen).by(staff()).when(command).refused(refused);
    }
}

#[test]
fn a_note_has_1_to_4000_characters_and_no_control_characters() {
    assert_eq!(text(" a\r\n\n b ").as_str(), "a\n\n b");
    assert!(NoteText::parse(&"ế".repeat(4_000)).is_ok());
    for (raw, code) in [
        (String::new(), "required"),
        (" \n ".into(), "required"),
        ("x".repeat(4_001), "too_long"),
        ("a\u{0}".into(), "control_character"),
        ("a\u{202e}b".into(), "control_character"),
    ] {
        assert_eq!(NoteText::parse(&raw).unwrap_err().code, code);
    }
}

// --- tags -------------------------------------------------------------------------------------

fn tagged(tags: &[&str]) -> State {
    let mut state = active();
    let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    state.customer.as_mut().unwrap().tags = Tags::parse(&tags).unwrap();
    state
}

fn tag(tag: &str) -> Command {
    Command::Tag(TagCommand::Add { tag: Label::parse(tag).unwrap() })
}

fn untag(tag: &str, if_match: Option<i64>) -> Command {
    Command::Tag(TagCommand::Remove { tag: Label::parse(tag).unwrap(), if_match })
}

#[track_caller]
fn tags_of(then: &Then) -> &[String] {
    customer(&then.after).tags.as_slice()
}

#[test]
fn l2_one_tag_comes_or_goes_and_the_others_stay() {
    let then = given(tagged(&["a", "c"])).by(staff()).when(tag("b"));
    let then = then.happens(&["CustomerUpdated"]).tells(&["customer.updated"]);
    assert_eq!(tags_of(&then), ["a", "b", "c"]);
    assert_eq!(then.messages()[0].1["changed"], serde_json::json!(["tags"]));
    assert_eq!(then.versions().1, then.versions().0 + 1);
    let version = then.versions().1;
    let then = given(then.after).by(staff()).when(untag("a", Some(version)));
    let then = then.happens(&["CustomerUpdated"]).tells(&["customer.updated"]);
    assert_eq!(tags_of(&then), ["b", "c"]);
}

#[test]
fn l2_a_tag_that_is_there_or_is_not_changes_nothing() {
    let then = given(tagged(&["a"])).by(staff()).when(tag("a")).changes_nothing();
    assert!(matches!(then.outcome(), Outcome::Customer(_)));
    given(tagged(&["a"])).by(staff()).when(untag("A", None)).changes_nothing();
    let stale = given(tagged(&["a"])).by(staff()).when(untag("b", Some(99)));
    stale.refused(Rejection::VersionMismatch);
}

#[test]
fn a_customer_bears_at_most_50_tags() {
    let many: Vec<String> = (0..Tags::MAX).map(|n| format!("t{n}")).collect();
    let full: Vec<&str> = many.iter().map(String::as_str).collect();
    given(tagged(&full)).by(staff()).when(tag("one more")).refused(Rejection::TagLimitReached);
    given(tagged(&full)).by(staff()).when(tag("t7")).changes_nothing();
    let then = given(tagged(&full)).by(staff()).when(untag("t7", None));
    given(then.after).by(staff()).when(tag("one more")).happens(&["CustomerUpdated"]);
}

#[test]
fn nobody_tags_whom_they_may_not_write() {
    for command in [tag("b"), untag("a", None)] {
        let nobody = given(State::default()).by(staff()).when(command.clone());
        nobody.refused(Rejection::NotFound);
        let refused = Rejection::NotActive(Status::DeletionScheduled);
        let frozen = with_status(Status::DeletionScheduled);
        given(frozen).by(staff()).when(command).refused(refused);
    }
}
