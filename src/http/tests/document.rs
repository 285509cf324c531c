//! That clients can be generated from the description: what a generator stumbles over is found here,
//! not by whoever runs one. `make clients` runs two.

use super::*;

const STATUSES_WITHOUT_BODY: [&str; 3] = ["204", "304", "308"];

#[actix_web::test]
async fn every_operation_has_a_name_of_its_own_and_a_tag() {
    let document = world(&[]).document().await;
    let mut ids = BTreeMap::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name}: no id"));
        assert!(id.starts_with(|c: char| c.is_ascii_lowercase()), "{name}: {id}");
        let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(id.chars().all(snake) && !id.contains("__"), "{name}: {id}");
        if let Some(other) = ids.insert(id.to_owned(), name.clone()) {
            panic!("{id} is both {other} and {name}: see IDS in http/document.rs");
        }
        let tags = operation["tags"].as_array().unwrap_or_else(|| panic!("{name}: no tag"));
        assert_eq!(tags.len(), 1, "{name}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert!(ids.len() >= 100, "{}", ids.len());
}

#[actix_web::test]
async fn every_answer_is_described_and_typed() {
    let document = world(&[]).document().await;
    for (method, path, operation) in operations(&document) {
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with(['2', '3'])), "{method} {path}");
        for (status, answer) in answers {
            let name = format!("{method} {path} {status}");
            let answer = resolved(&document, answer);
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            let content = answer["content"].as_object();
            let types: Vec<_> = content.into_iter().flatten().collect();
            let good = status.starts_with(['2', '3']);
            let bodiless = STATUSES_WITHOUT_BODY.contains(&status.as_str());
            assert_eq!(types.is_empty(), good && bodiless, "{name}: {types:?}");
            for (media_type, content) in types {
                assert!(content["schema"].is_object(), "{name}: {media_type}");
                if !good && status != "503" {
                    assert_eq!(media_type, "application/problem+json", "{name}");
                }
            }
        }
    }
}

/// Every `$ref` of the document.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(at) => document.pointer(&at[1..]).unwrap_or_else(|| panic!("{at} is nowhere")),
        None => value,
    }
}

#[actix_web::test]
async fn every_reference_resolves_and_every_schema_is_referred_to() {
    let document = world(&[]).document().await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for at in &found {
        assert!(document.pointer(&at[1..]).is_some(), "{at} is nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let at = format!("#/components/schemas/{name}");
        assert!(found.contains(at.as_str()), "nothing refers to {name}");
    }
}

/// Every schema inside, with the place where it stands.
fn with_examples(value: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            if members.contains_key("example") && !members.contains_key("in") {
                found.push((at.to_owned(), value.clone()));
            }
            for (name, member) in members.iter().filter(|(name, _)| *name != "example") {
                with_examples(member, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                with_examples(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[actix_web::test]
async fn every_example_follows_its_schema() {
    let document = world(&[]).document().await;
    let mut found = Vec::new();
    with_examples(&document["components"]["schemas"], "", &mut found);
    assert!(found.len() >= 80, "{}", found.len());
    for (at, mut schema) in found {
        let example = schema["example"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert!(validator.is_valid(&example), "{at}: {example}");
    }
}

/// Fields of which another will do as well.
const EITHER: [(&str, &str); 4] = [
    ("LoginBody", "email"),
    ("LoginBody", "phone"),
    ("SocialSignIn", "code"),
    ("SocialLink", "code"),
];

#[actix_web::test]
async fn null_is_documented_where_it_is_taken_and_nowhere_else() {
    let document = world(&[]).document().await;
    let schemas = &document["components"]["schemas"];
    for (name, (read, _)) in bodies() {
        for (property, schema) in schemas[name]["properties"].as_object().unwrap() {
            if EITHER.contains(&(name, property)) {
                continue;
            }
            let null = json!({ property: null });
            let at = format!("#/{property}");
            let refused = read(&null).iter().any(|error| error.pointer.as_deref() == Some(&at));
            let types = schema["type"].as_array().is_some_and(|all| all.contains(&json!("null")));
            let choices = schema["oneOf"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["type"] == "null"));
            // any JSON value, null among them
            let anything = ["type", "oneOf", "$ref"].iter().all(|key| schema.get(key).is_none());
            assert_eq!(types || choices || anything, !refused, "{name}.{property}");
        }
    }
}

/// What the description shows is taken, as far as it goes.
#[actix_web::test]
async fn the_examples_of_a_body_are_good_values() {
    let document = world(&[]).document().await;
    let schemas = &document["components"]["schemas"];
    for (name, (read, _)) in bodies() {
        let properties = schemas[name]["properties"].as_object().unwrap();
        let examples = properties.iter().filter_map(|(property, schema)| {
            Some((property.clone(), schema.get("example")?.clone()))
        });
        let faults = read(&Value::Object(examples.collect()));
        let faults: Vec<_> = faults.iter().filter(|fault| fault.code != "required").collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}
