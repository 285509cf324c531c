//! Definitions of segments, and who belongs to them (rules S1 to S3).

use super::*;
use crate::domain::attribute::{Attributes, Kind};
use crate::domain::ids::SegmentId;
use crate::domain::message::MembershipCause;
use crate::domain::segment::attributes::Mark;
use crate::domain::segment::membership::{
    Asked, Held, InForce, MembershipCommand, MembershipEvent, Program, Programs,
};
use crate::domain::segment::record::{
    Force, Membership, NewSegment, Rule, SEGMENTS_MAX, Segment, SegmentChange, SegmentCode,
    SegmentCommand, SegmentEvent, SegmentName, SegmentTags,
};
use crate::domain::segment::{Checked, Facts, Schema};
use crate::domain::text::Label;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn segment_id(n: u128) -> SegmentId {
    SegmentId(Uuid::from_u128(9_000 + n))
}

fn code(text: &str) -> SegmentCode {
    SegmentCode::parse(text).unwrap()
}

fn by_code(text: &str) -> SegmentName {
    SegmentName::Code(code(text))
}

fn checked(definition: &str) -> Checked {
    Checked::parse(definition, &Schema::new(chrono_tz::UTC, "USD")).unwrap()
}

fn rule(definition: &str) -> Rule {
    let checked = checked(definition);
    Rule {
        definition: checked.canonical().to_owned(),
        time_zone: crate::domain::place::TimeZone::parse("UTC").unwrap(),
        uses: checked.segments().iter().map(|name| code(name)).collect(),
        attributes: BTreeMap::new(),
    }
}

fn new(name: &str, membership: Membership) -> NewSegment {
    NewSegment {
        code: code(name),
        membership,
        title: Label::parse("A title").unwrap(),
        description: None,
        tags: SegmentTags::parse(&["b".to_owned(), "a".to_owned()]).unwrap(),
        active: true,
    }
}

fn create(n: u128, name: &str, membership: Membership) -> Command {
    let new = Box::new(new(name, membership));
    Command::Segment(SegmentCommand::Create { id: segment_id(n), new })
}

fn create_rule(n: u128, name: &str, definition: &str) -> Command {
    create(n, name, Membership::Rule(rule(definition)))
}

fn change(name: &str, change: SegmentChange, if_match: Option<i64>) -> Command {
    let change = Box::new(change);
    Command::Segment(SegmentCommand::Change { name: by_code(name), change, if_match })
}

fn redefine(name: &str, definition: &str) -> Command {
    let rule = Some(rule(definition));
    change(name, SegmentChange { rule, ..Default::default() }, None)
}

fn delete(name: &str) -> Command {
    Command::Segment(SegmentCommand::Delete {
        name: by_code(name),
        if_match: None,
        defaults: vec![],
    })
}

fn finish(n: u128) -> Command {
    Command::Segment(SegmentCommand::Finish { id: segment_id(n) })
}

fn put(n: u128, name: &str) -> Command {
    let (segment, code) = (segment_id(n), code(name));
    Command::Membership(MembershipCommand::Put { segment, code })
}

fn take(n: u128, name: &str) -> Command {
    let (segment, code, cause) = (segment_id(n), code(name), MembershipCause::Manual);
    Command::Membership(MembershipCommand::Take { segment, code, cause })
}

/// One command for each kind of message.
pub(super) fn script() -> Vec<Command> {
    let renamed =
        SegmentChange { title: Some(Label::parse("Others").unwrap()), ..Default::default() };
    vec![
        create(1, "friends", Membership::Static),
        change("friends", renamed, None),
        put(1, "friends"),
        take(1, "friends"),
        delete("friends"),
        finish(1),
    ]
}

/// What the batch holds for a command while it is decided.
pub(super) fn lend(state: &mut State, command: &Command) {
    if let Command::Membership(command) = command {
        let open = command.puts_into().into_iter().collect();
        state.memberships.in_force = Some(Arc::new(InForce { version: 7, open }));
    }
}

fn a_segment() -> Segment {
    let then =
        given(State::default()).by(staff()).when(create_rule(1, "buyers", "number_of_orders > 0"));
    then.after.segments[&code("buyers")].clone()
}

pub(super) fn events() -> Vec<Event> {
    let one = a_segment();
    let states = Force::ALL.map(|(_, force)| {
        let mut segment = Segment { force, ..one.clone() };
        segment.membership = match force {
            Force::Inactive => Membership::Static,
            _ => segment.membership,
        };
        segment
    });
    let created = states.clone().map(|one| SegmentEvent::Created(Box::new(one)));
    let changed = ["definition", "time_zone", "title", "description", "tags", "active"];
    let changed = changed.map(str::to_owned).to_vec();
    let changed = states
        .map(|one| SegmentEvent::Changed { segment: Box::new(one), changed: changed.clone() });
    let gone = SegmentEvent::Deleted { id: segment_id(1), code: code("buyers"), version: 4 };
    created.into_iter().chain(changed).chain([gone]).map(Event::Segment).collect()
}

pub(super) fn memberships() -> Vec<Event> {
    let (segment, code) = (segment_id(1), code("buyers"));
    let told = MembershipCause::ALL.into_iter().flat_map(|(_, cause)| {
        let held = Held { since: at(1), cause };
        [
            MembershipEvent::Joined { segment, code: code.clone(), held },
            MembershipEvent::Left { segment, code: code.clone(), cause },
        ]
    });
    let due = [Some(at(9)), None].map(|at| MembershipEvent::Due { segment, at });
    told.chain(due).map(Event::Membership).collect()
}

#[test]
fn s1_a_segment_comes_changes_and_goes_and_each_is_told_in_order() {
    let made =
        given(State::default()).by(staff()).when(create_rule(1, "buyers", "number_of_orders>0"));
    let made = made.tells(&["segment.created"]);
    let segment = &made.after.segments[&code("buyers")];
    assert_eq!((segment.version, segment.revision), (1, 1));
    assert_eq!(segment.membership.rule().unwrap().definition, "number_of_orders > 0");
    assert_eq!(segment.tags.as_slice(), ["a", "b"]);
    let again = create_rule(2, "buyers", "number_of_orders > 1");
    given(made.after.clone()).by(staff()).when(again).refused(Rejection::SegmentExists);
    // the same again is no change
    let same = redefine("buyers", "number_of_orders  >  0");
    given(made.after.clone()).by(staff()).when(same).changes_nothing();
    let title = SegmentChange { title: Some(Label::parse("T").unwrap()), ..Default::default() };
    let titled = given(made.after).by(staff()).when(change("buyers", title, Some(1)));
    let segment = &titled.after.segments[&code("buyers")];
    assert_eq!((segment.version, segment.revision), (2, 1), "who belongs is the same");
    let off = SegmentChange { active: Some(false), ..Default::default() };
    given(titled.after.clone())
        .by(staff())
        .when(change("buyers", off.clone(), Some(1)))
        .refused(Rejection::VersionMismatch);
    let off = given(titled.after).by(staff()).when(change("buyers", off, Some(2)));
    let segment = &off.after.segments[&code("buyers")];
    assert_eq!((segment.version, segment.revision, segment.force), (3, 2, Force::Inactive));
    let going = given(off.after).by(staff()).when(delete("buyers")).tells(&["segment.updated"]);
    assert_eq!(going.after.segments[&code("buyers")].force, Force::Deleting);
    given(going.after.clone()).by(staff()).when(delete("buyers")).changes_nothing();
    let back = SegmentChange { active: Some(true), ..Default::default() };
    given(going.after.clone())
        .by(staff())
        .when(change("buyers", back, None))
        .refused(Rejection::NotFound);
    let gone = given(going.after).when(finish(1)).tells(&["segment.deleted"]);
    assert!(gone.after.segments.is_empty());
    assert_eq!(gone.messages()[0].1["version"], 5);
    given(gone.after).when(finish(1)).changes_nothing();
}

#[test]
fn s1_segments_never_ask_about_themselves_over_any_others() {
    let one = given(State::default()).by(staff()).when(create_rule(1, "a", "number_of_orders > 0"));
    let two = given(one.after).by(staff()).when(create_rule(2, "b", "IN SEGMENT 'a'"));
    let three = given(two.after).by(staff()).when(create_rule(3, "c", "NOT IN SEGMENT 'b'"));
    for (name, definition, path) in [
        ("a", "IN SEGMENT 'a'", "a → a"),
        ("a", "customer_type = 'business' OR IN SEGMENT 'c'", "a → c → b → a"),
    ] {
        let closed = given(three.after.clone()).by(staff()).when(redefine(name, definition));
        let Err(Rejection::InvalidFields(faults)) = &closed.decision else {
            panic!("{definition}")
        };
        assert_eq!((faults[0].0.as_str(), faults[0].1.code), ("#/definition", "cycle"));
        assert!(faults[0].1.detail.ends_with(path), "{}", faults[0].1.detail);
    }
    // what was checked a moment ago may be gone
    let unknown = given(three.after.clone()).by(staff()).when(redefine("a", "IN SEGMENT 'd'"));
    assert_eq!(
        super::attributes::faults(&unknown),
        [("#/definition".to_owned(), "unknown_segment")]
    );
    // whom others ask about stays
    let by = vec![code("b")];
    given(three.after.clone())
        .by(staff())
        .when(delete("a"))
        .refused(Rejection::SegmentInUse { by });
    let freed = given(three.after).by(staff()).when(redefine("b", "number_of_orders > 9"));
    given(freed.after).by(staff()).when(delete("a")).tells(&["segment.updated"]);
}

#[test]
fn s1_there_are_limits_and_statics_are_always_active() {
    let mut state = State::default();
    for n in 0..SEGMENTS_MAX {
        let segment = Segment { code: code(&format!("s{n}")), ..a_segment() };
        state.segments.insert(segment.code.clone(), segment);
    }
    let one_more = create(5_000, "more", Membership::Static);
    let limit = SEGMENTS_MAX;
    given(state).by(staff()).when(one_more).refused(Rejection::SegmentLimitReached { limit });
    let hidden = NewSegment { active: false, ..new("friends", Membership::Static) };
    let hidden = SegmentCommand::Create { id: segment_id(1), new: Box::new(hidden) };
    let then = given(State::default()).by(staff()).when(Command::Segment(hidden));
    assert_eq!(super::attributes::faults(&then), [("#/active".to_owned(), "not_applicable")]);
    let made = given(State::default()).by(staff()).when(create(1, "friends", Membership::Static));
    let off = SegmentChange { active: Some(false), ..Default::default() };
    let then = given(made.after.clone()).by(staff()).when(change("friends", off, None));
    assert_eq!(super::attributes::faults(&then), [("#/active".to_owned(), "not_applicable")]);
    let then = given(made.after).by(staff()).when(redefine("friends", "number_of_orders > 0"));
    assert_eq!(super::attributes::faults(&then), [("#/definition".to_owned(), "conflicting")]);
    for wrong in ["", "A", "-a", "a b", &"a".repeat(65), "01a2027b-d680-7c3a-9d41-5b0e2f7a8801"] {
        assert!(SegmentCode::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn s1_an_attribute_that_changed_its_type_since_is_checked_again() {
    let attributes = super::attributes::defined();
    let key = attributes.named.keys().next().unwrap().clone();
    let kind = attributes.named[&key].definition.rule.kind();
    let other = if kind == Kind::Boolean { Kind::Text } else { Kind::Boolean };
    let of = |kind, attributes: &Attributes| {
        let rule = Rule {
            attributes: BTreeMap::from([(key.clone(), kind)]),
            ..rule("number_of_orders > 0")
        };
        let state = State { attributes: attributes.clone(), ..State::default() };
        given(state).by(staff()).when(create(1, "a", Membership::Rule(rule)))
    };
    of(kind, &attributes).tells(&["segment.created"]);
    of(other, &attributes).refused(Rejection::Conflict);
    let then = of(kind, &Attributes::default());
    assert_eq!(
        super::attributes::faults(&then),
        [("#/definition".to_owned(), "unknown_attribute")]
    );
}

// --- membership -------------------------------------------------------------------------------

fn programs(rules: &[(u128, &str, &str)]) -> Arc<Programs> {
    let rules = rules.iter().map(|(n, name, definition)| Program {
        id: segment_id(*n),
        code: code(name),
        checked: checked(definition),
    });
    Arc::new(Programs::new(7, rules.collect()))
}

fn judge(programs: &Arc<Programs>, asked: Asked) -> Command {
    let (programs, cause) = (Arc::clone(programs), MembershipCause::Change);
    Command::Membership(MembershipCommand::Judge { programs, asked, cause })
}

/// An active customer of whom this is known.
fn known(facts: Facts) -> State {
    let mut state = active();
    state.memberships.facts = Some(Arc::new(facts));
    state.memberships.in_force = Some(Arc::new(InForce { version: 7, open: BTreeSet::new() }));
    state
}

fn tagged(tags: &[&str]) -> Facts {
    let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    Facts { tags, ..Facts::bare(at(0)) }
}

fn marks(all: &[Mark]) -> Asked {
    Asked::Marks(all.iter().cloned().collect())
}

const CHAIN: [(u128, &str, &str); 3] = [
    (3, "c", "NOT IN SEGMENT 'b'"),
    (2, "b", "IN SEGMENT 'a' AND customer_type = 'individual'"),
    (1, "a", "customer_tags CONTAINS 'x'"),
];

#[test]
fn s2_who_changes_is_judged_by_those_that_read_the_change_and_by_those_that_ask_about_them() {
    let rules = programs(&CHAIN);
    let told = |then: &Then| {
        let told = then.messages().into_iter();
        told.map(|(kind, data)| format!("{kind} {}", data["segment"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let first = given(known(tagged(&["x"])))
        .by(Actor::Service)
        .when(judge(&rules, marks(&[Mark::Created])));
    assert_eq!(told(&first), ["segment.assigned a", "segment.assigned b"]);
    // a change that none of them reads is not worth judging
    assert!(!rules.concerns(&BTreeSet::from([Mark::Orders])));
    let mut state = first.after;
    given(state.clone())
        .by(Actor::Service)
        .when(judge(&rules, marks(&[Mark::Orders])))
        .changes_nothing();
    // the same verdict again changes nothing
    given(state.clone()).by(Actor::Service).when(judge(&rules, Asked::All)).changes_nothing();
    state.memberships.facts = Some(Arc::new(tagged(&[])));
    let gone = given(state).by(Actor::Service).when(judge(&rules, marks(&[Mark::Tags])));
    assert_eq!(told(&gone), ["segment.removed a", "segment.removed b", "segment.assigned c"]);
    assert_eq!(gone.messages()[0].1["cause"], "change");
    let reached: Vec<_> =
        rules.reached(&marks(&[Mark::Tags])).iter().map(|one| one.code.as_str()).collect();
    assert_eq!(reached, ["a", "b", "c"]);
}

#[test]
fn s2_a_verdict_says_when_time_alone_will_turn_it() {
    let rules = programs(&[
        (1, "new", "customer_added_date >= -30d"),
        (2, "x", "customer_tags CONTAINS 'x'"),
    ]);
    let then =
        given(known(tagged(&[]))).at(1_000).by(Actor::Service).when(judge(&rules, Asked::All));
    let due = then.after.memberships.flips.clone();
    assert_eq!(due.keys().collect::<Vec<_>>(), [&segment_id(1)]);
    let instant = due[&segment_id(1)];
    assert!(instant > at(29 * DAY) && instant <= at(32 * DAY), "{instant}");
    let after = instant.timestamp() - at(0).timestamp();
    let turned = given(then.after).at(after).by(Actor::Service);
    let turned = turned.when(judge(&rules, Asked::These(due.into_keys().collect())));
    assert_eq!(turned.messages()[0].0, "segment.removed");
    assert!(turned.after.memberships.flips.is_empty());
    assert!(turned.after.memberships.held.is_empty());
}

#[test]
fn s3_nobody_is_judged_by_rules_that_are_not_in_force() {
    let rules = programs(&CHAIN);
    for in_force in [None, Some(InForce { version: 8, open: BTreeSet::new() })] {
        let mut state = known(tagged(&["x"]));
        state.memberships.in_force = in_force.map(Arc::new);
        given(state)
            .by(Actor::Service)
            .when(judge(&rules, Asked::All))
            .refused(Rejection::Conflict);
    }
    given(State::default())
        .by(Actor::Service)
        .when(judge(&rules, Asked::All))
        .refused(Rejection::NotFound);
}

#[test]
fn s3_who_is_put_into_a_segment_twice_joins_once() {
    let mut state = active();
    given(state.clone()).by(staff()).when(put(1, "friends")).refused(Rejection::NotFound);
    lend(&mut state, &put(1, "friends"));
    let joined = given(state).by(staff()).when(put(1, "friends")).tells(&["segment.assigned"]);
    assert_eq!(joined.messages()[0].1["cause"], "manual");
    let again = given(joined.after).by(staff()).when(put(1, "friends")).changes_nothing();
    let left = given(again.after).by(staff()).when(take(1, "friends")).tells(&["segment.removed"]);
    given(left.after).by(staff()).when(take(1, "friends")).changes_nothing();
}

#[test]
fn l4_who_is_deleted_leaves_every_segment() {
    let rules = programs(&[(1, "new", "customer_added_date >= -30d")]);
    let mut state =
        given(known(tagged(&[]))).by(Actor::Service).when(judge(&rules, Asked::All)).after;
    lend(&mut state, &put(2, "friends"));
    let state = given(state).by(staff()).when(put(2, "friends")).after;
    let gone = given(state).by(staff()).when(Command::DeleteCustomer { if_match: None });
    let told: Vec<_> = gone.messages().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(told.iter().filter(|kind| **kind == "segment.removed").count(), 2);
    assert_eq!(told.last(), Some(&"customer.deleted"));
    assert!(gone.after.memberships.held.is_empty() && gone.after.memberships.flips.is_empty());
}

#[test]
fn l10_who_was_put_into_a_segment_is_in_it_as_whom_it_became() {
    let (other_id, mut state) = (super::strangers::stranger_id(1), active());
    let mut other = super::strangers::stranger(other_id, 1);
    let held = |cause| Held { since: at(0), cause };
    for (n, name, cause) in [
        (1, "friends", MembershipCause::Manual),
        (2, "both", MembershipCause::Manual),
        (3, "judged", MembershipCause::Change),
    ] {
        other.memberships.held.insert(segment_id(n), held(cause));
        other.memberships.codes.insert(segment_id(n), code(name));
    }
    state.memberships.held.insert(segment_id(2), held(MembershipCause::Manual));
    state.memberships.codes.insert(segment_id(2), code("both"));
    state.other = Some(Box::new(other));
    let merge = super::strangers::merge_of(other_id, false);
    let merged = given(state).by(staff()).when(merge);
    let joined: Vec<_> =
        merged.messages().into_iter().filter(|(kind, _)| *kind == "segment.assigned").collect();
    assert_eq!(joined.len(), 1, "{joined:?}");
    assert_eq!(
        (&joined[0].1["segment"], &joined[0].1["cause"]),
        (&json!("friends"), &json!("manual"))
    );
    assert!(merged.after.other.unwrap().memberships.held.is_empty());
    assert!(merged.after.memberships.held.contains_key(&segment_id(1)));
}
