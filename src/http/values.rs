//! How domain values are read from requests: one small reader a kind, to be handed to a
//! [`Form`](super::form::Form) or a [`Query`](super::query::Query), and the parameters that many
//! routes share.

use super::field::{self, FieldFault, Patch, Raw};
use super::form::Form;
use crate::domain::Fault;
use crate::domain::attribute::AttributeKey;
use crate::domain::command::Change;
use crate::domain::text::{Label, line};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use utoipa::IntoParams;
use uuid::Uuid;

/// Most entries of custom attributes in one request: as many as may be kept, and as many removed.
const CUSTOM_ENTRIES_MAX: usize = 128;

/// A string that the domain parses.
///
/// # Errors
/// `wrong_type`, or the domain's fault.
pub fn parsed<T>(
    raw: Raw<'_>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Result<T, FieldFault> {
    parse(raw.text()?).map_err(Into::into)
}

/// One word of a list such as tags or topics, in its final spelling.
///
/// # Errors
/// `wrong_type`, or those of a label.
pub fn word(raw: Raw<'_>) -> Result<String, FieldFault> {
    parsed(raw, |text| line(text, Label::MAX))
}

/// What a patch asks of an optional field, in the domain's words.
pub fn change<T>(patch: Patch<T>) -> Change<T> {
    match patch {
        Patch::Keep => Change::Keep,
        Patch::Clear => Change::Clear,
        Patch::Set(value) => Change::Set(value),
    }
}

/// What a patch asks of a field that always has a value.
pub fn given<T>(patch: Patch<T>) -> Option<T> {
    match patch {
        Patch::Set(value) => Some(value),
        Patch::Keep | Patch::Clear => None,
    }
}

/// A merge patch of custom attributes: a scalar or a list of texts sets one, `null` removes it. What
/// the value of each may be is its definition's to say. The whole cannot be cleared at once, so that
/// a client that never knew of some attributes does not wipe them.
pub fn custom(form: &mut Form<'_>) -> Map<String, Value> {
    let entries = form.patch_entries("custom", CUSTOM_ENTRIES_MAX, |key, raw| {
        // a removed key is judged too: what cannot be a key cannot have been set
        AttributeKey::parse(key).map_err(FieldFault::from)?;
        let value = raw.map_or(Ok(&Value::Null), |raw| attribute_value(raw.value()))?;
        Ok((key.to_owned(), value.clone()))
    });
    match entries {
        Patch::Set(entries) => entries.into_iter().collect(),
        Patch::Keep => Map::new(),
        Patch::Clear => {
            let detail = "Cannot be cleared as a whole; send null for each entry.";
            form.refuse("custom", FieldFault::new("required", detail));
            Map::new()
        }
    }
}

fn attribute_value(value: &Value) -> Result<&Value, FieldFault> {
    let fits = match value {
        Value::Array(members) => members.iter().all(Value::is_string),
        Value::Object(_) => false,
        _ => true,
    };
    let expected = "a text, a number, a boolean or a list of texts";
    if fits { Ok(value) } else { Err(FieldFault::wrong_type(expected)) }
}

/// An id in a path. Whatever is not a hyphenated UUID names nothing: 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathId(pub Uuid);

impl<'de> Deserialize<'de> for PathId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PathId, D::Error> {
        let text = String::deserialize(deserializer)?;
        field::uuid(&text).map(PathId).map_err(|_| de::Error::custom("not a UUID"))
    }
}

/// The header of a request that is to take effect once however often it is sent.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; `IdempotencyHeader` reads it")]
pub struct IdempotencyParam {
    /// 1 to 255 visible ASCII characters, plain or in quotes. The same key with the same request
    /// within 24 hours is answered as the first time, with `idempotency-replayed: true`.
    #[param(rename = "Idempotency-Key", required = false, example = "\"8e03978e-40d5\"")]
    idempotency_key: Option<String>,
}

/// The header of a change that must not meet another version.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; `IfMatch` reads it")]
pub struct IfMatchParam {
    /// The `ETag` of the version to change; 412 when the resource has another by now.
    #[param(rename = "If-Match", required = false, example = "\"7\"")]
    if_match: Option<String>,
}

/// The header of a read that may be spared its body.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; `IfNoneMatch` reads it")]
pub struct IfNoneMatchParam {
    /// The `ETag` of a version already known; 304 when it is still the current one.
    #[param(rename = "If-None-Match", required = false, example = "\"7\"")]
    if_none_match: Option<String>,
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters; `PageRequest` reads them")]
pub struct PageParams {
    /// How many items at most.
    #[param(required = false, minimum = 1, maximum = 100, default = 25)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(required = false)]
    cursor: Option<String>,
}

/// Which parts to add to a customer.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `customer_view::expand` reads it")]
pub struct ExpandParam {
    /// Parts between commas: `profile`, `preferences`, `addresses`, `wishlists`, `consents`,
    /// `identities`, `sessions`, `stats`, `segments`; for staff also `notes`.
    #[param(required = false, example = "profile,addresses")]
    expand: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Problem;
    use serde_json::json;

    fn read(body: Value) -> Result<Map<String, Value>, Problem> {
        Form::read(&body, |form| Some(custom(form)))
    }

    #[test]
    fn custom_attributes_merge_key_by_key() {
        assert_eq!(read(json!({})).unwrap(), Map::new());
        let sent = json!({"a": " x  y ", "b": 1.5, "c": true, "d": null, "e": ["x", "y"]});
        assert_eq!(Value::Object(read(json!({ "custom": sent })).unwrap()), sent);
    }

    #[test]
    fn faulty_attributes_are_named_one_by_one() {
        let problem = read(json!({"custom": {"A": 1, "b": [1], "c/d": null, "e": {}, "f": 1}}));
        let problem = problem.unwrap_err();
        let told: Vec<_> = problem
            .errors()
            .iter()
            .map(|error| (error.pointer.as_deref().unwrap(), error.code))
            .collect();
        assert_eq!(
            told,
            [
                ("#/custom/A", "invalid_key"),
                ("#/custom/b", "wrong_type"),
                ("#/custom/c~1d", "invalid_key"),
                ("#/custom/e", "wrong_type"),
            ]
        );
        for whole in [json!(null), json!([]), json!("x")] {
            let problem = read(json!({ "custom": whole })).unwrap_err();
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some("#/custom"));
        }
        let many: Map<_, _> = (0..129).map(|n| (format!("k{n}"), json!(n))).collect();
        assert_eq!(read(json!({ "custom": many })).unwrap_err().errors()[0].code, "too_many");
    }

    #[test]
    fn ids_in_paths_have_one_spelling() {
        let read = |text: &str| serde_json::from_value::<PathId>(json!(text)).is_ok();
        assert!(read("0190b4a0-0000-7000-8000-000000000000"));
        for refused in
            ["0190b4a0000070008000000000000000", "", "x", "{0190b4a0-0000-7000-8000-000000000000}"]
        {
            assert!(!read(refused), "{refused}");
        }
    }
}
