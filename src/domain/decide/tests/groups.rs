//! The groups (rule L6).

use super::*;
use crate::domain::group::{Group, Standing};

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn vip(in_use: bool) -> State {
    let (code, name) = (group("vip"), label("Important"));
    let vip = Group { code, name, created_at: at(0), updated_at: at(0), version: 3 };
    State { group: Some(Standing { group: vip, in_use }), ..State::default() }
}

fn create(code: &str) -> Command {
    Command::Group(GroupCommand::Create { code: group(code), name: label("Important") })
}

fn rename(name: &str, if_match: Option<i64>) -> Command {
    Command::Group(GroupCommand::Rename { code: group("vip"), name: label(name), if_match })
}

fn delete(if_match: Option<i64>, defaults: &[&str]) -> Command {
    let defaults = defaults.iter().map(|code| group(code)).collect();
    Command::Group(GroupCommand::Delete { code: group("vip"), if_match, defaults })
}

#[test]
fn l6_a_code_is_one_groups_for_good() {
    let made =
        given(State::default()).by(staff()).when(create("vip")).happens(&["Group"]).tells(&[]);
    let standing = made.after.group.clone().unwrap();
    assert_eq!((standing.group.version, standing.in_use), (1, false));
    assert_eq!(made.outcome(), Outcome::Group(Box::new(standing.group)));
    given(made.after).by(staff()).when(create("vip")).refused(Rejection::GroupExists);
}

#[test]
fn l6_renaming_keeps_the_code_and_counts_versions() {
    let renamed = given(vip(true)).by(staff()).when(rename("Dear", Some(3))).happens(&["Group"]);
    let standing = renamed.after.group.clone().unwrap();
    assert_eq!((standing.group.version, standing.group.updated_at), (4, at(1_000)));
    assert!(standing.in_use && standing.group.code == group("vip"));
    given(vip(true)).by(staff()).when(rename("Important", None)).changes_nothing();
    let stale = given(vip(true)).by(staff()).when(rename("Dear", Some(2)));
    stale.refused(Rejection::VersionMismatch);
    let missing = given(State::default()).by(staff()).when(rename("Dear", None));
    missing.refused(Rejection::NotFound);
}

#[test]
fn l6_a_group_goes_only_when_nobody_has_or_gets_it() {
    let by_staff = |state| given(state).by(staff());
    let gone = by_staff(vip(false)).when(delete(Some(3), &["individual"])).happens(&["Group"]);
    assert!(gone.after.group.is_none());
    by_staff(vip(true)).when(delete(None, &[])).refused(Rejection::GroupInUse);
    by_staff(vip(false))
        .when(delete(None, &["business", "vip"]))
        .refused(Rejection::GroupIsDefault);
    by_staff(vip(false)).when(delete(Some(1), &[])).refused(Rejection::VersionMismatch);
    by_staff(State::default()).when(delete(None, &[])).refused(Rejection::NotFound);
}
