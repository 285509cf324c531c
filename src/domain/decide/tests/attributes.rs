//! Custom attributes: their definitions, and values against them.

use super::*;
use crate::domain::attribute::*;
use crate::domain::decide::attributes::{BYTES_MAX, VALUES_MAX};
use crate::domain::ids::AttributeId;
use serde_json::json;
use std::sync::Arc;

fn attribute_id(n: u128) -> AttributeId {
    AttributeId(Uuid::from_u128(9_000 + n))
}

fn key(text: &str) -> AttributeKey {
    AttributeKey::parse(text).unwrap()
}

fn definition(name: &str, part: Part, rule: Rule) -> Definition {
    Definition {
        id: attribute_id(1),
        key: key(name),
        part,
        rule,
        write: Audience::Customer,
        read: Audience::Customer,
        title: Label::parse("A title").unwrap(),
        description: None,
        searchable: false,
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    }
}

fn rule(kind: Kind, limits: Value) -> Rule {
    Rule::new(kind, serde_json::from_value(limits).unwrap()).unwrap()
}

fn lent(definitions: impl IntoIterator<Item = Definition>) -> Attributes {
    let mut attributes = Attributes::default();
    for definition in definitions {
        let (key, part, read) = (definition.key.clone(), definition.part, definition.read);
        Arc::make_mut(&mut attributes.all).push(Signpost { key: key.clone(), part, read });
        attributes.named.insert(key, Standing { definition, in_use: false });
    }
    attributes
}

/// The attributes that the tests of the record write.
pub(super) fn defined() -> Attributes {
    let text = |name: &str, part| definition(name, part, rule(Kind::Text, json!({})));
    let number = |name: &str| definition(name, Part::Profile, rule(Kind::Integer, json!({})));
    let texts = ["shoe_size", "size", "never_there"].map(|name| text(name, Part::Profile));
    let vip = definition("vip", Part::Profile, rule(Kind::Boolean, json!({})));
    let many = (0..=VALUES_MAX).map(|n| number(&format!("key_{n}")));
    let all = texts.into_iter().chain([vip, number("hat_size"), text("theme", Part::Preferences)]);
    lent(all.chain(many))
}

fn new(name: &str) -> NewDefinition {
    NewDefinition {
        key: key(name),
        part: Part::Profile,
        rule: rule(Kind::Integer, json!({ "minimum": 15, "maximum": 60 })),
        write: Audience::Customer,
        read: Audience::Customer,
        title: Label::parse("Shoe size").unwrap(),
        description: Some("European".to_owned()),
        searchable: true,
    }
}

fn create(name: &str) -> Command {
    let new = Box::new(new(name));
    Command::Attribute(AttributeCommand::Create { id: attribute_id(7), new })
}

fn change(name: &str, change: DefinitionChange) -> Command {
    let change = Box::new(change);
    Command::Attribute(AttributeCommand::Change { key: key(name), change, if_match: None })
}

fn delete(name: &str, if_match: Option<i64>) -> Command {
    Command::Attribute(AttributeCommand::Delete { key: key(name), if_match })
}

fn limits(change: impl FnOnce(&mut LimitsChange)) -> DefinitionChange {
    let mut limits = LimitsChange::default();
    change(&mut limits);
    DefinitionChange { limits, ..Default::default() }
}

/// One command for each kind of message.
pub(super) fn script() -> [Command; 3] {
    let renamed =
        DefinitionChange { title: Some(Label::parse("Shoes").unwrap()), ..Default::default() };
    [create("shoes"), change("shoes", renamed), delete("shoes", None)]
}

pub(super) fn events() -> Vec<Event> {
    let one = definition("size", Part::Profile, rule(Kind::Text, json!({})));
    let changed = vec!["title".to_owned(), "type".to_owned()];
    // of every type, in every part, for every audience
    let created = Kind::ALL.into_iter().enumerate().map(|(n, (_, kind))| {
        let mut made = Definition { part: Part::ALL[n % 2].1, ..one.clone() };
        made.rule = Rule::from_stored(kind, Limits::default());
        made.write = Audience::ALL[n % 2].1;
        made.read = made.write;
        AttributeEvent::Created(Box::new(made))
    });
    let rest = [
        AttributeEvent::Changed { definition: Box::new(one.clone()), changed },
        AttributeEvent::Deleted { id: attribute_id(1), key: key("size"), version: 2 },
    ];
    created.chain(rest).map(Event::Attribute).collect()
}

/// The faulty fields of a refusal.
#[track_caller]
pub(super) fn faults(then: &Then) -> Vec<(String, &'static str)> {
    let Err(Rejection::InvalidFields(faults)) = &then.decision else {
        panic!("{:?}", then.decision)
    };
    faults.iter().map(|(pointer, fault)| (pointer.clone(), fault.code)).collect()
}

fn nothing() -> State {
    State::default()
}

#[test]
fn a_definition_comes_to_be_changes_and_goes_and_each_is_told_in_order() {
    let made = given(nothing()).by(staff()).when(create("shoes")).tells(&["attribute.created"]);
    let Outcome::Attribute(first) = made.outcome() else { panic!("no attribute") };
    assert_eq!((first.version, first.created_at), (1, at(1_000)));
    given(made.after.clone()).by(staff()).when(create("shoes")).refused(Rejection::AttributeExists);
    let wider = limits(|limits| {
        limits.minimum = Change::Set(json!(10));
        limits.maximum = Change::Clear;
    });
    let wider = DefinitionChange {
        description: Change::Clear,
        write: Some(Audience::Staff),
        searchable: Some(false),
        ..wider
    };
    let changed = given(made.after).by(staff()).at(2_000).when(change("shoes", wider.clone()));
    let changed = changed.tells(&["attribute.updated"]);
    let told = &changed.messages()[0].1;
    let fields = json!(["minimum", "maximum", "write", "description", "searchable"]);
    assert_eq!((&told["changed"], &told["version"]), (&fields, &json!(2)));
    given(changed.after.clone()).by(staff()).when(change("shoes", wider)).changes_nothing();
    let stale = given(changed.after.clone()).by(staff()).when(delete("shoes", Some(1)));
    stale.refused(Rejection::VersionMismatch);
    let gone = given(changed.after).by(staff()).when(delete("shoes", Some(2)));
    let gone = gone.tells(&["attribute.deleted"]);
    assert_eq!(gone.messages()[0].1["version"], 3, "numbered after the last change");
    assert_eq!(gone.after.attributes, Attributes::default());
    given(gone.after).by(staff()).when(delete("shoes", None)).refused(Rejection::NotFound);
}

#[test]
fn no_change_makes_a_kept_value_wrong() {
    let mut state = given(nothing()).by(staff()).when(create("shoes")).after;
    state.attributes.named.get_mut("shoes").unwrap().in_use = true;
    let by_staff = |command| given(state.clone()).by(staff()).when(command);
    for (narrower, limit) in [
        (limits(|it| it.minimum = Change::Set(json!(16))), "minimum"),
        (limits(|it| it.maximum = Change::Set(json!(59))), "maximum"),
        (DefinitionChange { kind: Some(Kind::Decimal), ..Default::default() }, "type"),
    ] {
        let refused = Rejection::AttributeInUse { narrowed: Some(limit) };
        by_staff(change("shoes", narrower.clone())).refused(refused);
        let mut free = state.clone();
        free.attributes.named.get_mut("shoes").unwrap().in_use = false;
        given(free).by(staff()).when(change("shoes", narrower)).happens(&["Attribute"]);
    }
    by_staff(delete("shoes", None)).refused(Rejection::AttributeInUse { narrowed: None });
    for wider in [
        limits(|it| it.minimum = Change::Clear),
        limits(|it| it.maximum = Change::Set(json!(61))),
        DefinitionChange { title: Some(Label::parse("Shoes").unwrap()), ..Default::default() },
        DefinitionChange { read: Some(Audience::Customer), ..Default::default() },
    ] {
        assert!(by_staff(change("shoes", wider)).decision.is_ok());
    }
    let unfit = limits(|it| {
        it.max_length = Change::Set(5);
        it.choices = Change::Set(vec!["a".to_owned()]);
    });
    let unfit = faults(&by_staff(change("shoes", unfit)));
    let expected = [("#/max_length", "not_applicable"), ("#/choices", "not_applicable")];
    assert_eq!(unfit, expected.map(|(place, code)| (place.to_owned(), code)));
    let hidden = DefinitionChange { read: Some(Audience::Staff), ..Default::default() };
    let hidden = faults(&by_staff(change("shoes", hidden)));
    assert_eq!(hidden, [("#/write".to_owned(), "conflicting")]);
}

#[test]
fn a_shop_has_so_many_attributes() {
    let named = |n| definition(&format!("a{n}"), Part::Profile, rule(Kind::Boolean, json!({})));
    let attributes = lent((0..DEFINITIONS_MAX).map(named));
    let full = given(State { attributes, ..nothing() }).by(staff()).when(create("shoes"));
    full.refused(Rejection::AttributeLimitReached { limit: DEFINITIONS_MAX });
}

/// A shop that lets customers write `size`, read `tier`, and know nothing of `risk`.
fn shop() -> State {
    let mut size = definition("size", Part::Profile, rule(Kind::Integer, json!({ "maximum": 60 })));
    size.id = attribute_id(2);
    let tier = rule(Kind::Choice, json!({ "choices": ["gold", "silver"] }));
    let mut tier = definition("tier", Part::Profile, tier);
    tier.write = Audience::Staff;
    let mut risk = definition("risk", Part::Profile, rule(Kind::Decimal, json!({})));
    (risk.write, risk.read) = (Audience::Staff, Audience::Staff);
    let likes = definition("likes", Part::Preferences, rule(Kind::List, json!({})));
    State { attributes: lent([size, tier, risk, likes]), ..active() }
}

fn profile(values: &[(&str, Value)]) -> Command {
    update_profile(ProfileChange { custom: custom(values), ..Default::default() })
}

#[test]
fn values_are_typed_and_checked_and_every_fault_is_told_at_once() {
    let values = [
        ("size", json!(61)),
        ("sise", json!(4)),
        ("tier", json!("gold")),
        ("risk", json!(1)),
        ("likes", json!(["a"])),
        ("zzz", Value::Null),
    ];
    let refused = faults(&given(shop()).when(profile(&values)));
    let mut expected = [
        ("#/custom/size", "out_of_range"),
        ("#/custom/sise", "unknown_attribute"),
        ("#/custom/tier", "read_only"),
        ("#/custom/risk", "unknown_attribute"),
        ("#/custom/likes", "unknown_attribute"),
        ("#/custom/zzz", "unknown_attribute"),
    ]
    .map(|(place, code)| (place.to_owned(), code));
    expected.sort();
    let mut refused = refused;
    refused.sort();
    assert_eq!(refused, expected);
    let right = [("size", json!(42)), ("tier", json!("gold")), ("risk", json!(0.25))];
    let then = given(shop()).by(staff()).when(profile(&right)).tells(&["customer.updated"]);
    let names = json!(["profile.custom.risk", "profile.custom.size", "profile.custom.tier"]);
    assert_eq!(then.messages()[0].1["changed"], names);
    assert!(then.after.attributes.named["size"].in_use, "for who comes later in the batch");
    assert!(!then.after.attributes.named["likes"].in_use);
    // The same again, in another spelling of the same values.
    let again = [("size", json!(42)), ("tier", json!(" gold ")), ("risk", json!(0.250))];
    given(then.after.clone()).by(staff()).when(profile(&again)).changes_nothing();
    // What the customer may not write stays when it writes what it may.
    let then = given(then.after).when(profile(&[("size", Value::Null)]));
    let kept = &then.after.profile.as_ref().unwrap().custom;
    assert_eq!(*kept, custom(&[("tier", json!("gold")), ("risk", json!(0.25))]));
}

#[test]
fn a_misspelt_key_is_helped_and_what_is_staffs_own_is_not_given_away() {
    let detail = |actor: Actor, name: &str| {
        let then = given(shop()).by(actor).when(profile(&[(name, json!(1))]));
        let Err(Rejection::InvalidFields(faults)) = then.decision else { panic!("{name}") };
        faults[0].1.detail.clone()
    };
    assert!(detail(owner(), "sise").ends_with("perhaps size is meant"));
    assert!(detail(staff(), "risc").ends_with("perhaps risk is meant"));
    let unknown = "there is no attribute of this key";
    assert_eq!(detail(owner(), "risc"), unknown);
    assert_eq!(detail(owner(), "risk"), unknown);
    assert_eq!(detail(owner(), "qqqq"), unknown);
    assert_eq!(detail(owner(), "likes"), "is an attribute of the preferences");
}

#[test]
fn staff_may_take_away_what_has_no_definition() {
    let mut state = shop();
    state.profile.as_mut().unwrap().custom = custom(&[("stray", json!(1))]);
    let removal = profile(&[("stray", Value::Null)]);
    let refused = faults(&given(state.clone()).when(removal.clone()));
    assert_eq!(refused, [("#/custom/stray".to_owned(), "unknown_attribute")]);
    let gone = given(state).by(staff()).when(removal).tells(&["customer.updated"]).after;
    assert!(gone.profile.unwrap().custom.is_empty());
}

/// A merge of two customers may have brought more than one may have.
#[test]
fn values_above_the_limit_may_only_become_fewer() {
    let mut state = active();
    let numbers = |range: std::ops::Range<usize>| range.map(|n| (format!("key_{n}"), json!(n)));
    let change = |values: serde_json::Map<String, Value>| {
        update_profile(ProfileChange { custom: values, ..Default::default() })
    };
    state.profile.as_mut().unwrap().custom = numbers(0..VALUES_MAX + 6).collect();
    let fewer = [("key_0".to_owned(), Value::Null)].into_iter().collect();
    given(state.clone()).when(change(fewer)).happens(&["ProfileUpdated"]);
    let other = [("key_1".to_owned(), json!(7))].into_iter().collect();
    given(state.clone()).when(change(other)).happens(&["ProfileUpdated"]);
    let more = given(state).when(profile(&[("size", json!("Zvalue"))]));
    assert_eq!(faults(&more), [("#/custom".to_owned(), "too_many")]);
}

/// A command that writes no attribute makes a batch read no definition.
#[test]
fn only_commands_with_values_name_definitions() {
    let bio = ProfileChange { bio: Change::Set("Zbio".into()), ..Default::default() };
    for command in [update_profile(bio), update_preferences(Default::default()), register()] {
        assert!(command.attributes().is_empty());
    }
    let values = [("size", json!(1)), ("tier", Value::Null)];
    assert_eq!(profile(&values).attributes(), ["size", "tier"].map(key));
}

#[test]
fn values_have_a_limit_in_all() {
    let name = |n: usize| format!("text_{n}");
    let texts = (0..40).map(|n| definition(&name(n), Part::Profile, rule(Kind::Text, json!({}))));
    let state = State { attributes: lent(texts), ..active() };
    let fill = |count: usize| {
        let long = "x".repeat(500);
        let values: serde_json::Map<_, _> =
            (0..count).map(|n| (name(n), json!(long.clone()))).collect();
        update_profile(ProfileChange { custom: values, ..Default::default() })
    };
    let fits = BYTES_MAX / (500 + 14);
    let full = given(state.clone()).when(fill(fits)).happens(&["ProfileUpdated"]).after;
    let more = given(state).when(fill(fits + 2));
    assert_eq!(faults(&more), [("#/custom".to_owned(), "too_large")]);
    // Less is always allowed.
    let less = [(name(0).as_str(), Value::Null)].map(|(name, value)| (name.to_owned(), value));
    let less = ProfileChange { custom: less.into_iter().collect(), ..Default::default() };
    given(full).when(update_profile(less)).happens(&["ProfileUpdated"]);
}
