//! One field of a request: its value as sent, what may be wrong with it, and what a merge patch
//! asks of it.

use serde_json::Value;
use uuid::Uuid;

use super::problem::FieldError;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// For programs, such as `too_long`.
    pub code: &'static str,
    /// For people. Must not repeat the value.
    pub detail: String,
}

impl FieldFault {
    /// A fault with its code and words.
    pub fn new(code: &'static str, detail: impl Into<String>) -> FieldFault {
        FieldFault { code, detail: detail.into() }
    }

    /// The fault as an answer tells it, at a place in the body such as `#/address/city`.
    pub fn at(self, pointer: impl Into<String>) -> FieldError {
        let FieldFault { code, detail } = self;
        FieldError { pointer: Some(pointer.into()), parameter: None, code, detail }
    }

    /// The fault as an answer tells it, of a parameter of the query string.
    pub fn of_parameter(self, name: impl Into<String>) -> FieldError {
        let FieldFault { code, detail } = self;
        FieldError { pointer: None, parameter: Some(name.into()), code, detail }
    }

    pub(super) fn wrong_type(expected: &str) -> FieldFault {
        FieldFault::new("wrong_type", format!("Must be {expected}."))
    }

    pub(super) fn required() -> FieldFault {
        FieldFault::new("required", "Must be given.")
    }
}

/// What a merge patch (RFC 7396) asks of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The field is absent: leave it.
    #[default]
    Keep,
    /// The field is `null`: empty it.
    Clear,
    /// The field has a value: take it.
    Set(T),
}

impl<T> Patch<T> {
    /// Applies `change` to a new value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(value) => Patch::Set(change(value)),
        }
    }

    /// The value that the field has afterwards.
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Patch::Keep => current,
            Patch::Clear => None,
            Patch::Set(value) => Some(value),
        }
    }
}

/// A value as it was sent, which is never `null`.
#[derive(Clone, Copy)]
pub struct Raw<'a>(&'a Value);

impl<'a> Raw<'a> {
    pub(super) fn new(value: &'a Value) -> Raw<'a> {
        Raw(value)
    }

    /// The value itself, for readers that know more shapes than these here.
    pub fn value(self) -> &'a Value {
        self.0
    }

    /// # Errors
    /// `wrong_type` unless it is a string.
    pub fn text(self) -> Result<&'a str, FieldFault> {
        self.0.as_str().ok_or_else(|| FieldFault::wrong_type("a string"))
    }

    /// A string of `min` to `max` code points.
    ///
    /// # Errors
    /// `wrong_type`, `too_short`, `too_long`.
    pub fn bounded_text(self, min: usize, max: usize) -> Result<String, FieldFault> {
        let text = self.text()?;
        let length = text.chars().count();
        if length < min {
            let detail = match min {
                1 => "Must not be empty.".to_owned(),
                _ => format!("Must have at least {min} characters."),
            };
            return Err(FieldFault::new("too_short", detail));
        }
        if length > max {
            let detail = format!("Must have at most {max} characters.");
            return Err(FieldFault::new("too_long", detail));
        }
        Ok(text.to_owned())
    }

    /// # Errors
    /// `wrong_type` unless it is `true` or `false`.
    pub fn boolean(self) -> Result<bool, FieldFault> {
        self.0.as_bool().ok_or_else(|| FieldFault::wrong_type("true or false"))
    }

    /// # Errors
    /// `wrong_type` unless it is an integer; `1.0` is none.
    pub fn integer(self) -> Result<i64, FieldFault> {
        self.0.as_i64().ok_or_else(|| FieldFault::wrong_type("an integer"))
    }

    /// An integer from `min` to `max`.
    ///
    /// # Errors
    /// `wrong_type`, `out_of_range`.
    pub fn bounded_integer(self, min: i64, max: i64) -> Result<i64, FieldFault> {
        let number = self.integer()?;
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        Err(FieldFault::new("out_of_range", format!("Must be from {min} to {max}.")))
    }

    /// # Errors
    /// `wrong_type` unless it is a string, `malformed` unless that is a hyphenated UUID.
    pub fn uuid(self) -> Result<Uuid, FieldFault> {
        uuid(self.text()?)
    }

    /// One of a few words.
    ///
    /// # Errors
    /// `wrong_type`, `unknown_value`.
    pub fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<T, FieldFault> {
        one_of(self.text()?, choices)
    }
}

/// A UUID in its hyphenated form; the other forms that the crate reads are nobody's contract.
pub(super) fn uuid(text: &str) -> Result<Uuid, FieldFault> {
    let uuid = if text.len() == 36 { Uuid::try_parse(text).ok() } else { None };
    uuid.ok_or_else(|| FieldFault::new("malformed", "Must be a UUID."))
}

pub(super) fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, FieldFault> {
    let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        FieldFault::new("unknown_value", format!("Must be one of: {}.", words.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_apply() {
        assert_eq!(Patch::Keep.apply(Some(1)), Some(1));
        assert_eq!(Patch::Clear.apply(Some(1)), None);
        assert_eq!(Patch::Set(2).apply(Some(1)), Some(2));
        assert_eq!(Patch::Set(2).map(|n| n + 1), Patch::Set(3));
    }

    fn code<T>(read: Result<T, FieldFault>) -> Option<&'static str> {
        read.err().map(|fault| fault.code)
    }

    #[test]
    fn texts_are_measured_in_code_points() {
        let (text, number) = (json!("ệ😀"), json!(1));
        let raw = Raw::new(&text);
        assert_eq!(raw.bounded_text(2, 2).unwrap(), "ệ😀");
        assert_eq!(code(raw.bounded_text(3, 9)), Some("too_short"));
        assert_eq!(code(raw.bounded_text(0, 1)), Some("too_long"));
        assert_eq!(code(Raw::new(&number).bounded_text(0, 9)), Some("wrong_type"));
    }

    #[test]
    fn integers_and_booleans_are_not_coerced() {
        for (value, expected) in [
            (json!(-3), None),
            (json!(4), Some("out_of_range")),
            (json!(1.0), Some("wrong_type")),
            (json!("1"), Some("wrong_type")),
            (json!(true), Some("wrong_type")),
        ] {
            assert_eq!(code(Raw::new(&value).bounded_integer(-3, 3)), expected, "{value}");
        }
        assert_eq!(code(Raw::new(&json!(1)).boolean()), Some("wrong_type"));
    }

    #[test]
    fn ids_have_one_spelling() {
        let id = "0190b4a0-0000-7000-8000-000000000000";
        for (value, expected) in [
            (json!(id), None),
            (json!(id.replace('-', "")), Some("malformed")),
            (json!(format!("{{{id}}}")), Some("malformed")),
            (json!(""), Some("malformed")),
            (json!(7), Some("wrong_type")),
        ] {
            assert_eq!(code(Raw::new(&value).uuid()), expected, "{value}");
        }
    }
}
