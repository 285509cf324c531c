//! What consumers built on stays: the schemas of today beside those of the releases, which are kept in
//! `docs/schemas/released/`, one file each. `docs/asyncapi.json` stands for today; that it is what
//! the service serves is a test of `http::asyncapi`.

mod compatible;

use compatible::{Writer, breaches_of, breaches_of_all};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn json_of(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn present() -> Map<String, Value> {
    let document = json_of(&root().join("docs/asyncapi.json"));
    document["components"]["schemas"].as_object().unwrap().clone()
}

fn released() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("docs/schemas/released")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// Facts come from the order service; all else is ours.
fn writer(name: &str) -> Writer {
    if name == "order.fact" { Writer::Others } else { Writer::Us }
}

#[test]
fn m4_nothing_that_a_release_promised_is_taken_back() {
    let present = present();
    let own = root().join(format!("docs/schemas/released/{}.json", env!("CARGO_PKG_VERSION")));
    if std::env::var_os("RELEASE_SCHEMAS").is_some() {
        assert!(!own.exists(), "{} is released; a new version has a new file", own.display());
        let text = format!("{:#}\n", Value::Object(present.clone()));
        std::fs::write(&own, text).unwrap();
    }
    let files = released();
    assert!(!files.is_empty(), "there is no release to compare with");
    for file in files {
        let old = json_of(&file);
        let breaches = breaches_of_all(old.as_object().unwrap(), &present, writer);
        assert!(
            breaches.is_empty(),
            "\nconsumers that were written by {} would break:\n  {}\n\
             Take the change back, or leave the type as it is and add another one (docs/consuming.md, \
             \"What stays\").\n",
            file.strip_prefix(root()).unwrap().display(),
            breaches.join("\n  ")
        );
    }
}

/// What the changelog calls released has its schemas kept.
#[test]
fn m4_each_release_has_its_schemas_here() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let versions = changelog.lines().filter_map(|line| line.strip_prefix("## ["));
    for version in versions.filter_map(|rest| rest.split(']').next()) {
        let file = root().join(format!("docs/schemas/released/{version}.json"));
        assert!(
            file.exists(),
            "{version} is released: keep its schemas by RELEASE_SCHEMAS=1 cargo test --test contract"
        );
    }
}

/// A type like those of the contract.
fn sample() -> Value {
    json!({
        "type": "object",
        "properties": {
            "customer_id": { "type": "string", "format": "uuid", "description": "The customer." },
            "version": { "type": "integer", "format": "int64", "minimum": 1 },
            "note": { "type": ["string", "null"], "maxLength": 20 },
            "code": { "type": "string", "pattern": "^[a-z]+$" },
            "changed": { "type": "array", "minItems": 1, "items": { "type": "string" } },
            "side": { "enum": ["left", "right"], "type": "string" },
            "status": { "oneOf": [
                { "enum": ["active"], "type": "string" },
                { "const": "pending", "type": "string", "description": "Not yet." },
            ] },
            "cause": { "anyOf": [
                { "const": "rain", "type": "string" },
                { "type": "string", "description": "Later versions may know further words." },
            ] },
            "total": {
                "type": "object",
                "properties": { "amount": { "type": "integer", "minimum": 0, "maximum": 99 } },
                "required": ["amount"],
            },
        },
        "required": ["customer_id", "version", "changed", "side", "status", "cause", "total"],
    })
}

/// Alternatives that a field tells apart.
fn alternatives() -> Value {
    let one = |factor: &str, changes: &[&str]| {
        json!({
            "type": "object",
            "properties": {
                "factor": { "const": factor, "type": "string" },
                "change": { "enum": changes, "type": "string" },
            },
            "required": ["factor", "change"],
        })
    };
    json!({ "oneOf": [one("totp", &["enabled", "removed"]), one("passkey", &["added"])] })
}

/// The sample with another value at a place; `null` takes the place away.
fn with(mut schema: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = schema.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match (parent, value) {
        (Value::Object(members), Value::Null) => drop(members.remove(name).expect(pointer)),
        (Value::Object(members), value) => drop(members.insert(name.to_owned(), value)),
        (Value::Array(items), Value::Null) => drop(items.remove(name.parse().unwrap())),
        (Value::Array(items), value) => items.push(value),
        (other, _) => panic!("{pointer}: {other}"),
    }
    schema
}

#[test]
fn m4_each_kind_of_breach_is_seen() {
    let word = |word: &str| json!({ "const": word, "type": "string" });
    let rows = [
        ("/properties/version", Value::Null, "/version: the field is gone"),
        ("/properties/note", Value::Null, "/note: the field is gone"),
        ("/required/1", Value::Null, "/version: was always there"),
        ("/properties/total/required/0", Value::Null, "/total/amount: was always there"),
        ("/properties/version/type", json!("string"), "/version: the type was"),
        ("/properties/version/type", json!("number"), "/version: the type was"),
        ("/properties/version/type", json!(["integer", "null"]), "/version: the type was"),
        ("/properties/version/type", Value::Null, "/version: the type was"),
        ("/properties/changed/items/type", json!("integer"), "/changed[]: the type was"),
        ("/properties/changed/items", Value::Null, "/changed: `items` came or went"),
        ("/properties/customer_id/format", Value::Null, "/customer_id: `format`"),
        ("/properties/customer_id/format", json!("email"), "/customer_id: `format`"),
        ("/properties/code/pattern", json!("^[a-z0-9]+$"), "/code: `pattern`"),
        ("/properties/code/pattern", Value::Null, "/code: `pattern`"),
        ("/properties/version/minimum", json!(0), "/version: `minimum` 1 became Some(0)"),
        ("/properties/version/minimum", Value::Null, "/version: `minimum` 1 became None"),
        ("/properties/changed/minItems", Value::Null, "/changed: `minItems`"),
        ("/properties/note/maxLength", json!(21), "/note: `maxLength` 20 became Some(21)"),
        ("/properties/total/properties/amount/maximum", json!(100), "/total/amount: `maximum`"),
        ("/properties/side/enum/2", json!("up"), "/side: \"up\" is a new word"),
        ("/properties/side/enum", Value::Null, "/side: a closed enumeration takes any word"),
        ("/properties/status/oneOf/2", word("erased"), "/status: \"erased\" is a new word"),
        ("/properties/status/oneOf/2", json!({ "type": "string" }), "/status: a closed enumer"),
        ("/properties/cause/anyOf/2", json!({ "type": "integer" }), "/cause: the type was"),
        ("/additionalProperties", json!(false), ": no further fields are allowed"),
        ("/properties/side/not", json!({ "const": "left" }), "/side: `not` is not known"),
        ("/patternProperties", json!({}), ": `patternProperties` is not known"),
    ];
    for (pointer, value, told) in rows {
        let breaches = breaches_of(&sample(), &with(sample(), pointer, value), Writer::Us);
        assert!(breaches.iter().any(|breach| breach.starts_with(told)), "{pointer}: {breaches:?}");
    }
    let closed = with(sample(), "/additionalProperties", json!(false));
    let breaches = breaches_of(&closed, &sample(), Writer::Us);
    assert_eq!(breaches, [": further fields were forbidden and may come now"]);

    let third = with(alternatives(), "/oneOf/2", alternatives()["oneOf"][0].clone());
    let third = with(third, "/oneOf/2/properties/factor/const", json!("sms"));
    let change = with(alternatives(), "/oneOf/1/properties/change/enum/1", json!("suspected"));
    for (new, told) in [(third, "is an alternative"), (change, "\"suspected\" is a new word")] {
        let breaches = breaches_of(&alternatives(), &new, Writer::Us);
        assert!(breaches.iter().any(|breach| breach.contains(told)), "{told}: {breaches:?}");
    }
}

#[test]
fn m4_what_consumers_bear_is_no_breach() {
    let rows = [
        ("/properties/height", json!({ "type": "integer" })),
        ("/properties/customer_id/description", json!("Whom it is about.")),
        ("/required/7", json!("note")),
        ("/properties/note/type", json!("string")),
        ("/properties/version/minimum", json!(2)),
        ("/properties/note/maxLength", json!(10)),
        ("/properties/note/pattern", json!("^x")),
        ("/properties/side/enum/0", Value::Null),
        ("/properties/status/oneOf/1", Value::Null),
        ("/properties/cause/anyOf/2", json!({ "const": "hail", "type": "string" })),
        ("/properties/cause/anyOf/1", Value::Null),
    ];
    for (pointer, value) in rows {
        let breaches = breaches_of(&sample(), &with(sample(), pointer, value), Writer::Us);
        assert!(breaches.is_empty(), "{pointer}: {breaches:?}");
    }
    let fewer = with(alternatives(), "/oneOf/1", Value::Null);
    assert!(breaches_of(&alternatives(), &fewer, Writer::Us).is_empty());
}

#[test]
fn o3_what_we_receive_may_ask_for_less_and_never_for_more() {
    let breaches = |pointer: &str, value: Value| {
        breaches_of(&sample(), &with(sample(), pointer, value), Writer::Others)
    };
    for (pointer, value, told) in [
        ("/required/7", json!("note"), "/note: could be left out"),
        ("/properties/version/minimum", json!(2), "/version: `minimum`"),
        ("/properties/note/type", json!("string"), "/note: the type was"),
        ("/properties/side/enum/0", Value::Null, "/side: \"left\""),
        ("/properties/code", Value::Null, "/code: the field is gone"),
        ("/properties/note/pattern", json!("^x"), "/note: `pattern`"),
    ] {
        let seen = breaches(pointer, value);
        assert!(seen.iter().any(|breach| breach.starts_with(told)), "{pointer}: {seen:?}");
    }
    for (pointer, value) in [
        ("/required/1", Value::Null),
        ("/properties/height", json!({ "type": "integer" })),
        ("/properties/side/enum/2", json!("up")),
        ("/properties/version/minimum", json!(0)),
        ("/properties/note/maxLength", json!(30)),
    ] {
        let seen = breaches(pointer, value);
        assert!(seen.is_empty(), "{pointer}: {seen:?}");
    }
}

#[test]
fn m4_a_type_that_is_gone_and_one_that_changed_are_told_by_name() {
    let old = json!({ "a": sample(), "b": sample(), "c": sample() });
    let new =
        json!({ "b": with(sample(), "/properties/side", Value::Null), "c": sample(), "d": {} });
    let (old, new) = (old.as_object().unwrap(), new.as_object().unwrap());
    let breaches = breaches_of_all(old, new, |_| Writer::Us);
    assert_eq!(breaches, ["a: is gone", "b/side: the field is gone"]);
}
