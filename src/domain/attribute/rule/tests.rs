//! Every type with what it accepts, refuses and keeps; and what must hold of any rule.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn limits(limits: Value) -> Limits {
    serde_json::from_value(limits).unwrap()
}

fn rule(kind: Kind, given: Value) -> Rule {
    Rule::new(kind, limits(given)).unwrap()
}

fn free(kind: Kind) -> Rule {
    let choices = if kind == Kind::Choice { json!({ "choices": ["a", "b"] }) } else { json!({}) };
    rule(kind, choices)
}

#[test]
fn values_of_each_type_have_one_kept_form() {
    for (kind, value, kept) in [
        (Kind::Text, json!("  Xin   chào "), json!("Xin chào")),
        (Kind::Text, json!("e\u{301}"), json!("é")),
        (Kind::Integer, json!(-7), json!(-7)),
        (Kind::Integer, json!(1_u64 << 53), json!(1_i64 << 53)),
        (Kind::Decimal, json!(0.1), json!(0.1)),
        (Kind::Decimal, json!(5), json!(5)),
        (Kind::Decimal, json!(5.0), json!(5)),
        (Kind::Decimal, json!(-0.0), json!(0)),
        (Kind::Decimal, json!(1e-9), json!(1e-9)),
        (Kind::Decimal, json!(123456.123456789), json!(123456.123456789)),
        (Kind::Boolean, json!(false), json!(false)),
        (Kind::Date, json!("2024-02-29"), json!("2024-02-29")),
        (Kind::Instant, json!("2026-01-31T15:00:00.250+07:00"), json!("2026-01-31T08:00:00.250Z")),
        (Kind::Instant, json!("2026-01-31t08:00:00z"), json!("2026-01-31T08:00:00Z")),
        (Kind::Choice, json!(" b "), json!("b")),
        (Kind::List, json!(["b", " a", "b"]), json!(["a", "b"])),
        (Kind::List, json!([]), json!([])),
    ] {
        assert_eq!(free(kind).check(&value), Ok(kept.clone()), "{kind:?} {value}");
        assert_eq!(free(kind).check(&kept), Ok(kept.clone()), "{kind:?} {kept}");
    }
}

#[test]
fn values_of_another_type_are_refused() {
    let long = "x".repeat(501);
    for (kind, value, code) in [
        (Kind::Text, json!(1), "wrong_type"),
        (Kind::Text, json!(["a"]), "wrong_type"),
        (Kind::Text, json!(" "), "required"),
        (Kind::Text, json!("a\u{0}"), "control_character"),
        (Kind::Text, json!(long), "too_long"),
        (Kind::Integer, json!("1"), "wrong_type"),
        (Kind::Integer, json!(1.0), "wrong_type"),
        (Kind::Integer, json!(1.5), "wrong_type"),
        (Kind::Integer, json!(true), "wrong_type"),
        (Kind::Integer, json!(i64::MAX), "out_of_range"),
        (Kind::Integer, json!(i64::MIN), "out_of_range"),
        (Kind::Integer, json!(u64::MAX), "wrong_type"),
        (Kind::Decimal, json!("0.1"), "wrong_type"),
        (Kind::Decimal, json!(1e-10), "too_precise"),
        (Kind::Decimal, json!(1e300), "too_precise"),
        (Kind::Decimal, json!(0.1 + 0.2), "too_precise"),
        (Kind::Decimal, json!(u64::MAX), "wrong_type"),
        (Kind::Boolean, json!("true"), "wrong_type"),
        (Kind::Boolean, json!(1), "wrong_type"),
        (Kind::Date, json!("2026-02-30"), "invalid_date"),
        (Kind::Date, json!("2026-2-3"), "invalid_date"),
        (Kind::Date, json!(20260203), "wrong_type"),
        (Kind::Instant, json!("2026-01-31"), "invalid_instant"),
        (Kind::Instant, json!("2026-01-31T08:00:00"), "invalid_instant"),
        (Kind::Instant, json!("0000-01-01T00:00:00Z"), "invalid_instant"),
        (Kind::Instant, json!("9999-12-31T23:59:59-01:00"), "invalid_instant"),
        (Kind::Instant, json!("2026-01-31T08:00:00.0000001Z"), "too_precise"),
        (Kind::Choice, json!("c"), "unknown_value"),
        (Kind::Choice, json!("A"), "unknown_value"),
        (Kind::List, json!("a"), "wrong_type"),
        (Kind::List, json!([1]), "wrong_type"),
        (Kind::List, json!([""]), "required"),
        (Kind::List, json!([long]), "too_long"),
        (Kind::List, json!((0..51).map(|n| n.to_string()).collect::<Vec<_>>()), "too_many"),
    ] {
        let refused = free(kind).check(&value).map_err(|fault| fault.code);
        assert_eq!(refused, Err(code), "{kind:?} {value}");
    }
}

#[test]
fn limits_are_kept_and_told() {
    for (kind, given, value, told) in [
        (Kind::Text, json!({ "min_length": 2 }), json!("é"), "too_short"),
        (Kind::Text, json!({ "max_length": 2 }), json!("abc"), "too_long"),
        (Kind::Integer, json!({ "minimum": 1, "maximum": 5 }), json!(6), "out_of_range"),
        (Kind::Integer, json!({ "minimum": 1 }), json!(0), "out_of_range"),
        (Kind::Decimal, json!({ "maximum": 0.5 }), json!(0.500000001), "out_of_range"),
        (Kind::Date, json!({ "minimum": "2026-01-01" }), json!("2025-12-31"), "out_of_range"),
        // half a second later, though as a text it would stand before
        (
            Kind::Instant,
            json!({ "maximum": "2026-01-01T00:00:00Z" }),
            json!("2026-01-01T00:00:00.5Z"),
            "out_of_range",
        ),
        (Kind::List, json!({ "max_items": 1 }), json!(["a", "b"]), "too_many"),
        (Kind::List, json!({ "max_length": 1 }), json!(["ab"]), "too_long"),
        (Kind::List, json!({ "choices": ["a"] }), json!(["a", "b"]), "unknown_value"),
    ] {
        let refused = rule(kind, given.clone()).check(&value).map_err(|fault| fault.code);
        assert_eq!(refused, Err(told), "{kind:?} {given} {value}");
    }
    let size = rule(Kind::Integer, json!({ "minimum": 15, "maximum": 60 }));
    assert_eq!(size.check(&json!(70)).unwrap_err().detail, "must be from 15 to 60");
    for edge in [15, 60] {
        assert!(size.check(&json!(edge)).is_ok());
    }
}

#[test]
fn limits_must_fit_the_type_and_each_other() {
    for (kind, given, told) in [
        (Kind::Integer, json!({ "max_length": 1 }), ("max_length", "not_applicable")),
        (Kind::Boolean, json!({ "minimum": 0 }), ("minimum", "not_applicable")),
        (Kind::Text, json!({ "choices": ["a"] }), ("choices", "not_applicable")),
        (Kind::Text, json!({ "max_items": 1 }), ("max_items", "not_applicable")),
        (Kind::Text, json!({ "min_length": 3, "max_length": 2 }), ("min_length", "conflicting")),
        (Kind::Text, json!({ "max_length": 501 }), ("max_length", "out_of_range")),
        (Kind::Text, json!({ "min_length": 0 }), ("min_length", "out_of_range")),
        (Kind::List, json!({ "max_length": 81 }), ("max_length", "out_of_range")),
        (Kind::List, json!({ "max_items": 51 }), ("max_items", "out_of_range")),
        (Kind::Integer, json!({ "minimum": "1" }), ("minimum", "wrong_type")),
        (Kind::Integer, json!({ "minimum": 2, "maximum": 1 }), ("minimum", "conflicting")),
        (Kind::Date, json!({ "maximum": "2026-13-01" }), ("maximum", "invalid_date")),
        (Kind::Choice, json!({}), ("choices", "required")),
        (Kind::Choice, json!({ "choices": [" "] }), ("choices", "required")),
    ] {
        let faults = Rule::new(kind, limits(given.clone())).unwrap_err();
        let faults: Vec<_> = faults.iter().map(|(name, fault)| (*name, fault.code)).collect();
        assert_eq!(faults, [told], "{kind:?} {given}");
    }
    let many: Vec<_> = (0..101).map(|n| n.to_string()).collect();
    let faults = Rule::new(Kind::Choice, limits(json!({ "choices": many }))).unwrap_err();
    assert_eq!((faults[0].0, faults[0].1.code), ("choices", "too_many"));
    let choices = rule(Kind::Choice, json!({ "choices": ["b", " a ", "b"] }));
    assert_eq!(choices.limits().choices, ["b", "a"], "the shop's own order, none twice");
}

#[test]
fn what_is_sought_is_read_from_text() {
    for (kind, text, sought) in [
        (Kind::Text, " a  b ", Ok(json!("a b"))),
        (Kind::Integer, "-7", Ok(json!(-7))),
        (Kind::Integer, "7.0", Err("malformed")),
        (Kind::Integer, "07", Err("malformed")),
        (Kind::Decimal, "7.50", Ok(json!(7.5))),
        (Kind::Decimal, "1e1", Ok(json!(10))),
        (Kind::Decimal, "x", Err("malformed")),
        (Kind::Boolean, "true", Ok(json!(true))),
        (Kind::Boolean, "1", Err("malformed")),
        (Kind::Date, "2026-01-01", Ok(json!("2026-01-01"))),
        (Kind::Date, "today", Err("invalid_date")),
        (Kind::Instant, "2026-01-01T07:00:00+07:00", Ok(json!("2026-01-01T00:00:00Z"))),
        // whether a choice is still offered does not matter: somebody may hold it
        (Kind::Choice, "c", Ok(json!("c"))),
        (Kind::List, "a", Ok(json!(["a"]))),
        (Kind::Text, "", Err("required")),
    ] {
        let read = free(kind).sought(text).map_err(|fault| fault.code);
        assert_eq!(read, sought, "{kind:?} {text}");
    }
}

#[test]
fn narrower_limits_are_named() {
    for (kind, before, after, expected) in [
        (Kind::Text, json!({}), json!({ "max_length": 500 }), None),
        (Kind::Text, json!({}), json!({ "max_length": 499 }), Some("max_length")),
        (Kind::Text, json!({ "min_length": 3 }), json!({}), None),
        (Kind::Text, json!({}), json!({ "min_length": 1 }), None),
        (Kind::Text, json!({}), json!({ "min_length": 2 }), Some("min_length")),
        (Kind::Integer, json!({ "minimum": 2 }), json!({ "minimum": 1 }), None),
        (Kind::Integer, json!({ "minimum": 1 }), json!({ "minimum": 2 }), Some("minimum")),
        (Kind::Integer, json!({}), json!({ "maximum": 2 }), Some("maximum")),
        (Kind::Integer, json!({ "maximum": 2 }), json!({}), None),
        (Kind::Choice, json!({ "choices": ["a"] }), json!({ "choices": ["b", "a"] }), None),
        (
            Kind::Choice,
            json!({ "choices": ["a", "b"] }),
            json!({ "choices": ["a"] }),
            Some("choices"),
        ),
        (Kind::List, json!({ "choices": ["a"] }), json!({}), None),
        (Kind::List, json!({}), json!({ "choices": ["a"] }), Some("choices")),
        (Kind::List, json!({}), json!({ "max_items": 50 }), None),
        (Kind::List, json!({}), json!({ "max_items": 49 }), Some("max_items")),
        (Kind::List, json!({ "max_length": 80 }), json!({}), None),
    ] {
        let found = rule(kind, after.clone()).narrows(&rule(kind, before.clone()));
        assert_eq!(found, expected, "{kind:?} {before} {after}");
    }
    assert_eq!(free(Kind::Decimal).narrows(&free(Kind::Integer)), Some("type"));
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.map(|(_, kind)| kind).to_vec())
}

/// Values that are near enough to be accepted often.
fn any_value() -> impl Strategy<Value = Value> {
    let word = "[ abé]{0,4}";
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (any::<i32>(), 0_i32..12).prop_map(|(n, e)| json!(f64::from(n) / 10_f64.powi(e))),
        any::<f64>().prop_map(|n| json!(n)),
        word.prop_map(Value::from),
        prop::collection::vec(word, 0..5).prop_map(|words| json!(words)),
        (1_i32..9_999, 1_u32..13, 1_u32..32)
            .prop_map(|(y, m, d)| json!(format!("{y:04}-{m:02}-{d:02}"))),
        (0_i64..4_000_000_000, 0_u32..1_000_000_000, -14_i32..15).prop_map(|(s, n, h)| {
            let zone = chrono::FixedOffset::east_opt(h * 3_600).unwrap();
            json!(DateTime::from_timestamp(s, n).unwrap().with_timezone(&zone).to_rfc3339())
        }),
    ]
}

fn any_rule(kind: Kind) -> impl Strategy<Value = Rule> {
    let length = || prop::option::of(1_u32..6);
    let bound = || prop::option::of(any_value());
    let choices = prop::collection::vec("[abé]{1,2}", 0..4);
    (length(), length(), bound(), bound(), choices, length()).prop_filter_map(
        "limits that fit",
        move |(min_length, max_length, minimum, maximum, choices, max_items)| {
            let text = kind == Kind::Text;
            let list = kind == Kind::List;
            let limits = Limits {
                min_length: min_length.filter(|_| text),
                max_length: max_length.filter(|_| text || list),
                minimum: minimum.filter(|bound| kind.is_ordered() && plain(kind, bound).is_ok()),
                maximum: maximum.filter(|bound| kind.is_ordered() && plain(kind, bound).is_ok()),
                choices: if list || kind == Kind::Choice { choices } else { Vec::new() },
                max_items: max_items.filter(|_| list),
            };
            Rule::new(kind, limits).ok()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What is answered is what is kept, and a JSON text between the two changes no digit.
    #[test]
    fn an_accepted_value_is_read_back_the_same(
        (rule, value) in any_kind().prop_flat_map(|kind| (any_rule(kind), any_value()))
    ) {
        if let Ok(kept) = rule.check(&value) {
            prop_assert_eq!(rule.check(&kept), Ok(kept.clone()));
            let text = kept.to_string();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), kept.clone());
            // as PostgreSQL writes numbers: all decimals, without an exponent
            if let Some(number) = kept.as_f64().filter(|_| kept.is_f64()) {
                let plain: Value = serde_json::from_str(&format!("{number:.9}")).unwrap();
                prop_assert_eq!(plain.as_f64(), Some(number));
            }
        }
    }

    /// A change that is told to narrow nothing leaves every value right.
    #[test]
    fn what_narrows_nothing_refuses_nothing(
        (before, after, value) in any_kind()
            .prop_flat_map(|kind| (any_rule(kind), any_rule(kind), any_value()))
    ) {
        if let Ok(kept) = before.check(&value) && after.narrows(&before).is_none() {
            prop_assert_eq!(after.check(&kept), Ok(kept));
        }
    }

    /// A value that is kept is found by its own text.
    #[test]
    fn what_is_kept_is_found(
        (rule, value) in any_kind().prop_flat_map(|kind| (any_rule(kind), any_value()))
    ) {
        if let Ok(kept) = rule.check(&value) {
            match &kept {
                Value::Array(members) => for member in members {
                    let sought = rule.sought(member.as_str().unwrap()).unwrap();
                    prop_assert_eq!(sought, json!([member]));
                },
                Value::String(text) => prop_assert_eq!(rule.sought(text), Ok(kept.clone())),
                plain => prop_assert_eq!(rule.sought(&plain.to_string()), Ok(kept.clone())),
            }
        }
    }
}
