//! `Query`: reads a query string as strictly as [`Form`](super::form::Form) reads a body: every
//! faulty parameter at once, unknown ones refused, none twice.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    catalogue::Code,
    field::{self, FieldFault},
    problem::{FieldError, Problem},
};

/// One parameter's decoded text.
#[derive(Clone, Copy)]
pub struct Parameter<'a>(&'a str);

impl<'a> Parameter<'a> {
    /// The text itself.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// A text of `min` to `max` code points.
    ///
    /// # Errors
    /// `too_short`, `too_long`.
    pub fn bounded_text(self, min: usize, max: usize) -> Result<String, FieldFault> {
        let length = self.0.chars().count();
        if length < min {
            return Err(FieldFault::new("too_short", format!("At least {min} characters.")));
        }
        if length > max {
            return Err(FieldFault::new("too_long", format!("At most {max} characters.")));
        }
        Ok(self.0.to_owned())
    }

    /// # Errors
    /// `malformed` unless it is `true` or `false`.
    pub fn boolean(self) -> Result<bool, FieldFault> {
        field::one_of(self.0, &[("true", true), ("false", false)])
            .map_err(|_| FieldFault::new("malformed", "Must be true or false."))
    }

    /// An integer from `min` to `max`, in plain decimal digits.
    ///
    /// # Errors
    /// `malformed`, `out_of_range`.
    pub fn bounded_integer(self, min: i64, max: i64) -> Result<i64, FieldFault> {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FieldFault::new("malformed", "Must be an integer."));
        }
        // digits that do not fit 64 bits are out of any range
        match self.0.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(FieldFault::new("out_of_range", format!("Must be from {min} to {max}."))),
        }
    }

    /// # Errors
    /// `malformed` unless it is a hyphenated UUID.
    pub fn uuid(self) -> Result<Uuid, FieldFault> {
        field::uuid(self.0)
    }

    /// # Errors
    /// `malformed` unless it is an instant of RFC 3339.
    pub fn instant(self) -> Result<DateTime<Utc>, FieldFault> {
        DateTime::parse_from_rfc3339(self.0)
            .map(|instant| instant.with_timezone(&Utc))
            .map_err(|_| FieldFault::new("malformed", "Must be an instant of RFC 3339."))
    }

    /// One of a few words.
    ///
    /// # Errors
    /// `unknown_value`.
    pub fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<T, FieldFault> {
        field::one_of(self.0, choices)
    }

    /// A list of words between commas, such as `?expand=profile,addresses`.
    ///
    /// # Errors
    /// `unknown_value`.
    pub fn words<T: Copy>(self, choices: &[(&str, T)]) -> Result<Vec<T>, FieldFault> {
        self.0.split(',').map(|word| field::one_of(word, choices)).collect()
    }
}

/// A reader over a query string. Like a form, it is read completely before a value is built.
pub struct Query<'a> {
    parameters: &'a [(String, String)],
    known: Vec<&'static str>,
    /// With what the names begin of which a client knows the rest.
    prefixes: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'a> Query<'a> {
    /// Reads a whole query string, without its question mark.
    ///
    /// # Errors
    /// 400 for bad encoding or a parameter named twice; 422 with every faulty, missing or unknown
    /// parameter.
    pub fn read<T>(
        query: &str,
        read: impl FnOnce(&mut Query<'_>) -> Option<T>,
    ) -> Result<T, Problem> {
        let parameters = parse(query)?;
        let mut query = Query {
            parameters: &parameters,
            known: Vec::new(),
            prefixes: Vec::new(),
            errors: Vec::new(),
        };
        let value = read(&mut query);
        query.note_unknown();
        match value {
            Some(value) if query.errors.is_empty() => Ok(value),
            _ => Err(Problem::invalid(query.errors)),
        }
    }

    /// A parameter that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Parameter<'a>) -> Result<T, FieldFault>,
    ) -> Option<T> {
        let value = match self.sent(name) {
            Some(parameter) => read(parameter),
            None => Err(FieldFault::new("required", "Must be given.")),
        };
        value.map_err(|fault| self.refuse(name, fault)).ok()
    }

    /// A parameter that may be absent. `None` also when it is faulty, which is noted.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Parameter<'a>) -> Result<T, FieldFault>,
    ) -> Option<T> {
        let value = read(self.sent(name)?);
        value.map_err(|fault| self.refuse(name, fault)).ok()
    }

    /// All parameters whose names begin like this, each with the rest of its name.
    pub fn beginning(&mut self, prefix: &'static str) -> Vec<(&'a str, Parameter<'a>)> {
        self.prefixes.push(prefix);
        let parameters = self.parameters.iter();
        parameters
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, Parameter(value))))
            .collect()
    }

    /// Notes a fault of one of them.
    pub fn refuse_one_of(&mut self, prefix: &'static str, rest: &str, fault: FieldFault) {
        self.note(format!("{prefix}{rest}"), fault);
    }

    /// Notes a fault that only several parameters together show.
    pub fn refuse(&mut self, name: &'static str, fault: FieldFault) {
        self.note(name.to_owned(), fault);
    }

    fn sent(&mut self, name: &'static str) -> Option<Parameter<'a>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| Parameter(value))
    }

    fn note_unknown(&mut self) {
        for (name, _) in self.parameters {
            let is_known = self.known.contains(&name.as_str())
                || self.prefixes.iter().any(|prefix| name.starts_with(prefix));
            if !is_known {
                let fault = FieldFault::new("unknown_parameter", "There is no such parameter.");
                self.note(name.clone(), fault);
            }
        }
    }

    fn note(&mut self, parameter: String, fault: FieldFault) {
        self.errors.push(fault.of_parameter(parameter));
    }
}

/// Splits and decodes `application/x-www-form-urlencoded` text. Unlike the usual decoders it
/// replaces nothing: what is not UTF-8 is refused.
fn parse(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(Problem::new(Code::MalformedQuery).detail("A parameter is named twice."));
        }
        parameters.push((name, decode(value)?));
    }
    Ok(parameters)
}

fn decode(text: &str) -> Result<String, Problem> {
    let malformed = || Problem::new(Code::MalformedQuery).detail("The encoding is not valid.");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or_else(malformed)?;
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    // U+0000 cannot be stored or compared by PostgreSQL
    if bytes.contains(&0) {
        return Err(malformed());
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read = (i64, Option<bool>, Option<Vec<u8>>, Option<String>);

    fn read(query: &str) -> Result<Read, Problem> {
        Query::read(query, |query| {
            let limit = query.required("limit", |raw| raw.bounded_integer(1, 100));
            let flag = query.optional("flag", Parameter::boolean);
            let expand = query.optional("expand", |raw| raw.words(&[("a", 1), ("b", 2)]));
            let q = query.optional("q", |raw| raw.bounded_text(1, 5));
            Some((limit?, flag, expand, q))
        })
    }

    fn faults(query: &str) -> Vec<(String, &'static str)> {
        let problem = read(query).unwrap_err();
        assert_eq!(problem.code(), Code::ValidationFailed, "{query}");
        let named = |error: &FieldError| (error.parameter.clone().unwrap(), error.code);
        problem.errors().iter().map(named).collect()
    }

    #[test]
    fn sound_queries_are_read() {
        assert_eq!(read("limit=25").unwrap(), (25, None, None, None));
        let full = read("q=a%C3%B6+%2B&expand=b,a&flag=true&limit=1&").unwrap();
        assert_eq!(full, (1, Some(true), Some(vec![2, 1]), Some("aö +".into())));
    }

    #[test]
    fn every_faulty_parameter_is_told() {
        let expected = [
            ("limit", "out_of_range"),
            ("flag", "malformed"),
            ("expand", "unknown_value"),
            ("q", "too_short"),
            ("other", "unknown_parameter"),
        ];
        let expected: Vec<_> = expected.iter().map(|(n, code)| ((*n).to_owned(), *code)).collect();
        assert_eq!(faults("other=1&limit=101&flag=yes&expand=a,c&q="), expected);
        assert_eq!(faults(""), [("limit".to_owned(), "required")]);
        for (limit, code) in [
            ("", "malformed"),
            ("-", "malformed"),
            ("+1", "malformed"),
            ("1.0", "malformed"),
            ("%31%2e", "malformed"),
            ("0", "out_of_range"),
            ("-5", "out_of_range"),
            ("99999999999999999999999", "out_of_range"),
        ] {
            let query = format!("limit={}", limit.replace('+', "%2B"));
            assert_eq!(faults(&query), [("limit".to_owned(), code)], "{limit}");
        }
    }

    #[test]
    fn bad_encodings_and_doubles_are_malformed() {
        for query in [
            "limit=%",
            "limit=%f",
            "limit=%zz",
            "limit=%ff",
            "limit=1&limit=2",
            "q=%00",
            "l%69mit=1&limit=1",
            "limit=%+1",
            "%C3=1",
        ] {
            assert_eq!(read(query).unwrap_err().code(), Code::MalformedQuery, "{query}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(query in "[limqexpand=&%+0-9a-fzö]{0,40}") {
            let _ = read(&query);
        }

        #[test]
        fn what_a_client_encodes_arrives(text in "[^\u{0}]{0,20}") {
            let query: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("q", &text)
                .finish();
            let read = Query::read(&query, |query| query.required("q", |raw| Ok(raw.text().to_owned())));
            prop_assert_eq!(read.unwrap(), text);
        }
    }
}
