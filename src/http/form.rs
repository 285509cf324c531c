//! `Form`: reads a JSON object field by field and reports every faulty field at once.
//!
//! A body type has one function `fn read(form: &mut Form<'_>) -> Option<Body>`. It reads **all**
//! fields into variables first and only then builds the value with `?`: a field that was not read
//! counts as unknown.
//!
//! ```
//! use customer_service::http::{field::Patch, form::Form};
//! struct Rename { first_name: Patch<String>, nickname: Option<String> }
//! fn read(form: &mut Form<'_>) -> Option<Rename> {
//!     let first_name = form.patch("first_name", |raw| raw.bounded_text(1, 100));
//!     let nickname = form.required("nickname", |raw| raw.bounded_text(1, 20));
//!     Some(Rename { first_name, nickname: Some(nickname?) })
//! }
//! let problem = Form::read(&serde_json::json!({"first_name": 1, "nick": ""}), read).err().unwrap();
//! assert_eq!(problem.errors().len(), 3); // wrong_type, required, unknown_field
//! ```

use super::{
    field::{FieldFault, Patch, Raw},
    pointer,
    problem::{FieldError, Problem},
};
use serde_json::{Map, Value};

/// A reader over one JSON object that gathers the faults of all its fields.
pub struct Form<'a> {
    fields: &'a Map<String, Value>,
    known: Vec<&'static str>,
    /// Where the object stands in the body.
    pointer: String,
    errors: Vec<FieldError>,
}

impl<'a> Form<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// 422 with every faulty, missing or unknown field, or for a body that is not an object.
    pub fn read<T>(
        value: &'a Value,
        read: impl FnOnce(&mut Form<'a>) -> Option<T>,
    ) -> Result<T, Problem> {
        let (body, errors) = Form::read_at("#".to_owned(), value, read);
        match body {
            Some(body) if errors.is_empty() => Ok(body),
            _ => Err(Problem::invalid(errors)),
        }
    }

    /// A field that must be there; `null` counts as absent.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Option<T> {
        match self.sent(name) {
            Patch::Set(value) => self.accept(name, read(Raw::new(value))),
            _ => self.accept(name, Err(FieldFault::required())),
        }
    }

    /// A field that may be absent or `null`. `None` also when it is faulty, which is noted.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Option<T> {
        match self.sent(name) {
            Patch::Set(value) => self.accept(name, read(Raw::new(value))),
            _ => None,
        }
    }

    /// A field of a merge patch. `Keep` also when it is faulty, which is noted.
    pub fn patch<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Patch<T> {
        match self.sent(name) {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(value) => set(self.accept(name, read(Raw::new(value)))),
        }
    }

    /// A field of a merge patch that always has a value: it may be set, not cleared, so the
    /// answer is never [`Patch::Clear`].
    pub fn patch_required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Patch<T> {
        if let Patch::Clear = self.sent(name) {
            self.refuse(name, FieldFault::new("required", "Cannot be cleared."));
            return Patch::Keep;
        }
        self.patch(name, read)
    }

    /// A nested object that must be there.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Form<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.sent(name) {
            Patch::Set(value) => self.descend(name, value, read),
            _ => self.accept(name, Err(FieldFault::required())),
        }
    }

    /// A nested object of a merge patch; its fields are patches themselves.
    pub fn patch_object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Form<'a>) -> Option<T>,
    ) -> Patch<T> {
        match self.sent(name) {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(value) => set(self.descend(name, value, read)),
        }
    }

    /// A list of at most `max` items that must be there. Each faulty item is reported.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl FnMut(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Option<Vec<T>> {
        match self.sent(name) {
            Patch::Set(value) => self.items(name, max, value, read),
            _ => self.accept(name, Err(FieldFault::required())),
        }
    }

    /// A list of at most `max` items that may be absent or `null`.
    pub fn optional_list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl FnMut(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Option<Vec<T>> {
        match self.sent(name) {
            Patch::Set(value) => self.items(name, max, value, read),
            _ => None,
        }
    }

    /// A list in a merge patch, which is replaced as a whole (RFC 7396).
    pub fn patch_list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl FnMut(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Patch<Vec<T>> {
        match self.sent(name) {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(value) => set(self.items(name, max, value, read)),
        }
    }

    /// An object in a merge patch whose names are the client's own, at most `max` of them: each
    /// entry is set, or removed by `null` (`None`). `read` judges the name too.
    pub fn patch_entries<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl FnMut(&'a str, Option<Raw<'a>>) -> Result<T, FieldFault>,
    ) -> Patch<Vec<T>> {
        match self.sent(name) {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(value) => set(self.entries(name, max, value, read)),
        }
    }

    /// Notes a fault that only several fields together show.
    pub fn refuse(&mut self, name: &'static str, fault: FieldFault) {
        let pointer = self.pointer_of(name);
        self.note(pointer, fault);
    }

    /// What was sent for a field, which from now on is a known one.
    fn sent(&mut self, name: &'static str) -> Patch<&'a Value> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        match self.fields.get(name) {
            None => Patch::Keep,
            Some(Value::Null) => Patch::Clear,
            Some(value) => Patch::Set(value),
        }
    }

    fn accept<T>(&mut self, name: &'static str, read: Result<T, FieldFault>) -> Option<T> {
        read.map_err(|fault| self.refuse(name, fault)).ok()
    }

    fn descend<T>(
        &mut self,
        name: &'static str,
        value: &'a Value,
        read: impl FnOnce(&mut Form<'a>) -> Option<T>,
    ) -> Option<T> {
        let (value, errors) = Form::read_at(self.pointer_of(name), value, read);
        let sound = errors.is_empty();
        self.errors.extend(errors);
        value.filter(|_| sound)
    }

    fn items<T>(
        &mut self,
        name: &'static str,
        max: usize,
        value: &'a Value,
        mut read: impl FnMut(Raw<'a>) -> Result<T, FieldFault>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = value else {
            return self.accept(name, Err(FieldFault::wrong_type("a list")));
        };
        if items.len() > max {
            return self.accept(name, Err(too_many(max)));
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let read = match item {
                Value::Null => Err(FieldFault::required()),
                item => read(Raw::new(item)),
            };
            match read {
                Ok(value) => values.push(value),
                Err(fault) => self.note(format!("{}/{index}", self.pointer_of(name)), fault),
            }
        }
        (values.len() == items.len()).then_some(values)
    }

    fn entries<T>(
        &mut self,
        name: &'static str,
        max: usize,
        value: &'a Value,
        mut read: impl FnMut(&'a str, Option<Raw<'a>>) -> Result<T, FieldFault>,
    ) -> Option<Vec<T>> {
        let Value::Object(entries) = value else {
            return self.accept(name, Err(FieldFault::wrong_type("an object")));
        };
        if entries.len() > max {
            return self.accept(name, Err(too_many(max)));
        }
        let mut values = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match read(key, (!value.is_null()).then_some(Raw::new(value))) {
                Ok(value) => values.push(value),
                Err(fault) => {
                    let mut pointer = self.pointer_of(name);
                    pointer::push(&mut pointer, key);
                    self.note(pointer, fault);
                }
            }
        }
        (values.len() == entries.len()).then_some(values)
    }

    /// The names that a reader knows, for the test that compares them with the documentation.
    #[cfg(test)]
    pub(super) fn fields_of<T>(read: impl FnOnce(&mut Form<'_>) -> Option<T>) -> Vec<&'static str> {
        let nothing = Map::new();
        let mut form = Form {
            fields: &nothing,
            known: Vec::new(),
            pointer: "#".to_owned(),
            errors: Vec::new(),
        };
        read(&mut form);
        form.known
    }

    fn read_at<T>(
        pointer: String,
        value: &'a Value,
        read: impl FnOnce(&mut Form<'a>) -> Option<T>,
    ) -> (Option<T>, Vec<FieldError>) {
        let Value::Object(fields) = value else {
            return (None, vec![FieldFault::wrong_type("an object").at(pointer)]);
        };
        let mut form = Form { fields, known: Vec::new(), pointer, errors: Vec::new() };
        let value = read(&mut form);
        form.note_unknown();
        (value, form.errors)
    }

    fn note_unknown(&mut self) {
        for name in self.fields.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let mut pointer = self.pointer.clone();
            pointer::push(&mut pointer, name);
            let fault = FieldFault::new("unknown_field", "There is no field of this name.");
            self.errors.push(fault.at(pointer));
        }
    }

    fn note(&mut self, pointer: String, fault: FieldFault) {
        self.errors.push(fault.at(pointer));
    }

    fn pointer_of(&self, name: &str) -> String {
        let mut pointer = self.pointer.clone();
        pointer::push(&mut pointer, name);
        pointer
    }
}

fn set<T>(value: Option<T>) -> Patch<T> {
    value.map_or(Patch::Keep, Patch::Set)
}

fn too_many(max: usize) -> FieldFault {
    FieldFault::new("too_many", format!("Must have at most {max} entries."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Body {
        email: String,
        age: Option<i64>,
        city: Patch<String>,
        name: Patch<String>,
        sms: bool,
        tags: Vec<Uuid>,
        custom: Patch<Vec<(String, Option<bool>)>>,
    }

    fn read(form: &mut Form<'_>) -> Option<Body> {
        let email = form.required("email", |raw| raw.bounded_text(3, 10));
        let age = form.optional("age", |raw| raw.bounded_integer(0, 150));
        let city = form.patch("city", |raw| raw.bounded_text(1, 5));
        let name = form.patch_required("name", |raw| raw.text().map(str::to_owned));
        let sms = form.object("channels", |form| form.required("sms", Raw::boolean));
        let tags = form.list("tags", 2, Raw::uuid);
        let custom = form.patch_entries("custom", 2, |key, raw| {
            Ok((key.to_owned(), raw.map(Raw::boolean).transpose()?))
        });
        Some(Body { email: email?, age, city, name, sms: sms?, tags: tags?, custom })
    }

    fn faults(value: Value) -> Vec<(String, &'static str)> {
        let problem = Form::read(&value, read).unwrap_err();
        problem.errors().iter().map(|error| (error.pointer.clone().unwrap(), error.code)).collect()
    }

    fn named(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect()
    }

    #[test]
    fn a_sound_body_is_built() {
        let id = "0190b4a0-0000-7000-8000-000000000000";
        let value = json!({
            "email": "a@b", "age": null, "city": null, "channels": {"sms": true},
            "tags": [id], "custom": {"a": true, "b": null}
        });
        let body = Form::read(&value, read).unwrap();
        assert_eq!(
            body,
            Body {
                email: "a@b".into(),
                age: None,
                city: Patch::Clear,
                name: Patch::Keep,
                sms: true,
                tags: vec![Uuid::try_parse(id).unwrap()],
                custom: Patch::Set(vec![("a".into(), Some(true)), ("b".into(), None)]),
            }
        );
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let value = json!({
            "email": "a", "age": 1.5, "city": "too long", "name": null, "channels": {"sms": 1, "fax": 1},
            "tags": ["x", null], "custom": {"a b": 1}, "x/y": 0
        });
        assert_eq!(
            faults(value),
            named(&[
                ("#/email", "too_short"),
                ("#/age", "wrong_type"),
                ("#/city", "too_long"),
                ("#/name", "required"),
                ("#/channels/sms", "wrong_type"),
                ("#/channels/fax", "unknown_field"),
                ("#/tags/0", "malformed"),
                ("#/tags/1", "required"),
                ("#/custom/a%20b", "wrong_type"),
                ("#/x~1y", "unknown_field"),
            ])
        );
    }

    #[test]
    fn what_is_missing_and_what_is_no_object() {
        assert_eq!(
            faults(json!({"email": null, "age": 151})),
            named(&[
                ("#/email", "required"),
                ("#/age", "out_of_range"),
                ("#/channels", "required"),
                ("#/tags", "required"),
            ])
        );
        for value in [json!([]), json!(null), json!("x"), json!(1)] {
            assert_eq!(faults(value), named(&[("#", "wrong_type")]));
        }
        let value = json!({"email": "abc", "channels": [], "tags": {}, "custom": [], "name": "x"});
        assert_eq!(
            faults(value),
            named(&[
                ("#/channels", "wrong_type"),
                ("#/tags", "wrong_type"),
                ("#/custom", "wrong_type"),
            ])
        );
    }

    #[test]
    fn faults_of_several_fields_together_can_be_noted() {
        let value = json!({"a": true, "b": true});
        let problem = Form::read(&value, |form| {
            let (a, b) = (form.optional("a", Raw::boolean), form.optional("b", Raw::boolean));
            if a.is_some() && b.is_some() {
                form.refuse("b", FieldFault::new("conflicting", "Give a or b."));
            }
            Some(())
        })
        .unwrap_err();
        assert_eq!(problem.errors()[0].pointer.as_deref(), Some("#/b"));
    }

    #[test]
    fn lists_and_words_have_their_bounds() {
        let value = json!({"tags": ["a", "b", "c"], "kind": "other"});
        let problem = Form::read(&value, |form| {
            form.optional_list("tags", 2, |raw| raw.text());
            form.required("kind", |raw| raw.one_of(&[("billing", 1), ("shipping", 2)]));
            Some(())
        })
        .unwrap_err();
        let codes: Vec<_> = problem.errors().iter().map(|error| error.code).collect();
        assert_eq!(codes, ["too_many", "unknown_value"]);
        assert_eq!(problem.errors()[1].detail, "Must be one of: billing, shipping.");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            "[a-zö]{0,12}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((names(), inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec!["email", "age", "city", "name", "channels", "sms", "tags"])
                .prop_map(String::from),
            "[a-z~/ ]{0,4}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_built_or_every_unknown_field_is_named(
            entries in prop::collection::vec((names(), value()), 0..8)
        ) {
            let value = Value::Object(entries.into_iter().collect());
            let fields = value.as_object().unwrap();
            let known = ["email", "age", "city", "name", "channels", "tags", "custom"];
            let unknown = fields.keys().filter(|name| !known.contains(&name.as_str())).count();
            match Form::read(&value, read) {
                Ok(_) => prop_assert_eq!(unknown, 0),
                Err(problem) => {
                    prop_assert!(!problem.errors().is_empty());
                    let top = problem.errors().iter().filter(|error| {
                        error.code == "unknown_field"
                            && error.pointer.as_ref().unwrap().matches('/').count() == 1
                    });
                    prop_assert_eq!(top.count(), unknown);
                    // each pointer leads to something in the body, or to what is missing there
                    for error in problem.errors().iter().filter(|error| error.code != "required") {
                        let pointer = error.pointer.as_ref().unwrap().replace("%20", " ");
                        prop_assert!(value.pointer(&pointer[1..]).is_some(), "{}", pointer);
                    }
                }
            }
        }

        #[test]
        fn a_fault_never_repeats_the_value(secret in "[A-Z]{8,20}") {
            let value = json!({
                "email": secret, "age": secret, "city": secret, "name": [secret],
                "channels": {"sms": secret}, "tags": [secret], "custom": {"a": secret}
            });
            for error in Form::read(&value, read).unwrap_err().errors() {
                prop_assert!(!error.detail.contains(&secret));
            }
        }
    }
}
