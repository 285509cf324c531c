//! The body of a request to an SMS gateway, as configured: JSON or a form, with placeholders.
//!
//! The template is taken apart before anything is put in, so that no value can break out of its
//! place: in JSON a placeholder is replaced inside of strings, in a form inside of fields.

use std::fmt;

use serde_json::Value;
use url::form_urlencoded;

use super::values::{Raw, Setting, Wrong};

/// The placeholders that a gateway cannot do without.
const NEEDED: [&str; 2] = ["{to}", "{text}"];

/// Every placeholder; `{secret}` for gateways that want their key in the body.
const KNOWN: [&str; 4] = ["{to}", "{text}", "{id}", "{secret}"];

/// A body with places for `{to}`, `{text}`, `{id}` and `{secret}`.
#[derive(Clone, PartialEq)]
pub struct BodyTemplate {
    written: String,
    form: Form,
}

#[derive(Clone, PartialEq)]
enum Form {
    Json(Value),
    Fields(Vec<(String, String)>),
}

/// What stands at the places of a template.
#[derive(Clone, Copy)]
pub struct Filling<'a> {
    pub to: &'a str,
    pub text: &'a str,
    pub id: &'a str,
    pub secret: &'a str,
}

impl Filling<'_> {
    /// A text with its placeholders replaced, in one pass: what is put in is not looked through.
    pub fn fill(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let (before, tail) = rest.split_at(at);
            filled.push_str(before);
            let values = [self.to, self.text, self.id, self.secret];
            let found = KNOWN.iter().zip(values).find(|(name, _)| tail.starts_with(**name));
            let (value, taken) = found.map_or(("{", 1), |(name, value)| (value, name.len()));
            filled.push_str(value);
            rest = &tail[taken..];
        }
        filled + rest
    }
}

impl BodyTemplate {
    /// The media type of the body.
    pub fn content_type(&self) -> &'static str {
        match self.form {
            Form::Json(_) => "application/json",
            Form::Fields(_) => "application/x-www-form-urlencoded",
        }
    }

    /// The body of one message.
    pub fn fill(&self, filling: Filling<'_>) -> String {
        match &self.form {
            Form::Json(value) => {
                let mut value = value.clone();
                each_text(&mut value, &mut |text| *text = filling.fill(text));
                value.to_string()
            }
            Form::Fields(fields) => {
                let mut body = form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    body.append_pair(name, &filling.fill(value));
                }
                body.finish()
            }
        }
    }

    /// Whether a placeholder stands where it is replaced.
    fn has(&self, placeholder: &str) -> bool {
        match &self.form {
            Form::Json(value) => {
                let mut found = false;
                each_text(&mut value.clone(), &mut |text| found |= text.contains(placeholder));
                found
            }
            Form::Fields(fields) => fields.iter().any(|(_, value)| value.contains(placeholder)),
        }
    }
}

/// Shows every string inside of a JSON value; names of members are not among them.
fn each_text(value: &mut Value, see: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, see)),
        Value::Object(members) => members.values_mut().for_each(|member| each_text(member, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Setting for BodyTemplate {
    fn parse(raw: &Raw) -> Result<Self, Wrong> {
        let fix = "write it as {\"to\": \"{to}\", \"text\": \"{text}\"} or as to={to}&text={text}";
        let wrong = |wrong: String| Wrong { wrong, fix: fix.to_owned() };
        let written = raw.text()?.trim().to_owned();
        // A placeholder begins with a brace as well, but no form begins with a value.
        let form = if written.starts_with(['{', '[']) {
            let json = serde_json::from_str(&written);
            Form::Json(json.map_err(|error| wrong(format!("is no JSON: {error}")))?)
        } else {
            Form::Fields(form_urlencoded::parse(written.as_bytes()).into_owned().collect())
        };
        let template = Self { written, form };
        match NEEDED.iter().find(|placeholder| !template.has(placeholder)) {
            Some(missing) => Err(wrong(format!("has no {missing} in a value"))),
            None => Ok(template),
        }
    }

    fn show(&self) -> String {
        self.written.clone()
    }
}

/// As it was written.
impl fmt::Display for BodyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for BodyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyTemplate({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'static> = Filling {
        to: "+84912345678",
        text: "\"12\" & {id}\n=100%",
        id: "0198-7",
        secret: "s\"3&cret",
    };

    fn parse(text: &str) -> Result<BodyTemplate, Wrong> {
        BodyTemplate::parse(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn values_stay_in_their_places_in_json() {
        let text = r#"{"auth": ["{secret}"], "message": {"to": "tel:{to}", "text": "{text}", "n": 1}, "{to}": "{id}"}"#;
        let template = parse(text).unwrap();
        assert_eq!(template.content_type(), "application/json");
        let filled: Value = serde_json::from_str(&template.fill(FILLING)).unwrap();
        assert_eq!(
            filled,
            serde_json::json!({
                "auth": ["s\"3&cret"],
                "message": { "to": "tel:+84912345678", "text": "\"12\" & {id}\n=100%", "n": 1 },
                "{to}": "0198-7",
            })
        );
    }

    #[test]
    fn values_stay_in_their_places_in_a_form() {
        let template =
            parse("To={to}&From=%2B15550001&Body={text}&key={secret}&ref=a{id}").unwrap();
        assert_eq!(template.content_type(), "application/x-www-form-urlencoded");
        let body = template.fill(FILLING);
        let fields: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let field = |n: usize| (fields[n].0.as_str(), fields[n].1.as_str());
        assert_eq!(fields.len(), 5, "{body}");
        assert_eq!(field(0), ("To", "+84912345678"));
        assert_eq!(field(1), ("From", "+15550001"));
        assert_eq!(field(2), ("Body", "\"12\" & {id}\n=100%"));
        assert_eq!(field(3), ("key", "s\"3&cret"));
        assert_eq!(field(4), ("ref", "a0198-7"));
    }

    #[test]
    fn a_template_that_would_send_nothing_is_refused() {
        for (text, wrong) in [
            ("", "{to}"),
            ("to={to}", "{text}"),
            ("{to}={text}", "JSON"),
            (r#"{"{to}": "{text}"}"#, "{to}"),
            (r#"{"to": "{to}", "text": {text}}"#, "JSON"),
        ] {
            let found = parse(text).unwrap_err().wrong;
            assert!(found.contains(wrong), "{text}: {found}");
        }
    }
}
