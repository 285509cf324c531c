//! The two schemas of a type of message, both made from the type that writes it.
//!
//! The one that is served promises what stays and forbids nothing that may come: no further
//! fields, and no further words where an enumeration is open (`#[schemars(extend("x-open" = true))]`
//! on its type). A consumer that checks by the schema of its own time survives ours. The exact one
//! forbids both: it is what this version writes, for the tests.

use super::{Data, SEALED, Sealed};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Marks an enumeration that later versions may add words to.
const OPEN: &str = "x-open";

/// What consumers may rely on.
pub(super) fn served<T: Data>() -> Value {
    changed(described::<T>(), open)
}

/// What this version writes, to the letter.
pub(super) fn exact<T: Data>() -> Value {
    changed(described::<T>(), |node| drop(node.remove(OPEN)))
}

/// The type's own schema, with room for what its messages carry sealed.
fn described<T: Data>() -> Value {
    let mut schema = generated::<T>();
    if let Some(what) = T::SEALS {
        let mut sealed = generated::<Sealed>();
        if let Value::Object(sealed) = &mut sealed {
            sealed.retain(|name, _| !matches!(name.as_str(), "$schema" | "title"));
        }
        sealed["description"] = what.into();
        schema["properties"][SEALED] = sealed;
    }
    schema
}

fn generated<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema with each of its objects changed, inner ones first.
fn changed(mut schema: Value, change: fn(&mut Map<String, Value>)) -> Value {
    visit(&mut schema, change);
    schema
}

fn visit(node: &mut Value, change: fn(&mut Map<String, Value>)) {
    match node {
        Value::Object(members) => {
            members.values_mut().for_each(|inner| visit(inner, change));
            change(members);
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| visit(inner, change)),
        _ => {}
    }
}

fn open(node: &mut Map<String, Value>) {
    if node.get("additionalProperties") == Some(&Value::Bool(false)) {
        node.remove("additionalProperties");
    }
    if node.remove(OPEN).is_none() {
        return;
    }
    let mut known = match node.remove("oneOf") {
        Some(Value::Array(branches)) => branches,
        _ => vec![json!({ "enum": node.remove("enum") })],
    };
    let mut any = json!({ "description": "Later versions may know further words." });
    any["type"] = node.remove("type").unwrap_or_else(|| "string".into());
    known.push(any);
    node.insert("anyOf".to_owned(), Value::Array(known));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(extend("x-open" = true))]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Cause {
        Rain,
        /// With wind.
        Storm,
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Side {
        Left,
        Right,
    }

    #[derive(Serialize, JsonSchema)]
    #[schemars(deny_unknown_fields)]
    struct Sample {
        cause: Cause,
        second: Option<Cause>,
        side: Side,
    }

    impl Data for Sample {
        const SEALS: Option<&'static str> = Some("What was seen.");

        fn example() -> Self {
            Self { cause: Cause::Rain, second: None, side: Side::Left }
        }
    }

    fn takes(schema: &Value, data: &Value) -> bool {
        jsonschema::validator_for(schema).unwrap().is_valid(data)
    }

    #[test]
    fn m4_the_served_one_bears_what_later_versions_add_and_the_exact_one_does_not() {
        let now = json!({ "cause": "rain", "second": null, "side": "left" });
        let with = |name: &str, value: Value| {
            let mut data = now.clone();
            data[name] = value;
            data
        };
        let (served, exact) = (served::<Sample>(), exact::<Sample>());
        assert!(takes(&served, &now) && takes(&exact, &now));
        assert!(takes(&exact, &with("second", json!("storm"))));
        for later in
            [with("height", json!(7)), with("cause", json!("hail")), with("second", json!("hail"))]
        {
            assert!(takes(&served, &later), "{later} by {served:#}");
            assert!(!takes(&exact, &later), "{later} by {exact:#}");
        }
        for never in
            [with("cause", json!(7)), with("cause", Value::Null), with("side", json!("up"))]
        {
            assert!(!takes(&served, &never), "{never} by {served:#}");
        }
        let sealed = json!(Sealed::example());
        let lacking = json!({ "kid": "0123456789abcdef", "alg": "A256GCM" });
        for schema in [&served, &exact] {
            assert!(takes(schema, &with("sealed", sealed.clone())), "{schema:#}");
            for never in [Value::Null, json!("in the clear"), lacking.clone()] {
                assert!(!takes(schema, &with("sealed", never.clone())), "{never} by {schema:#}");
            }
        }
        for schema in [served, exact] {
            assert!(!schema.to_string().contains(OPEN), "{schema:#}");
        }
    }
}
