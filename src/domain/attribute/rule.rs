//! Of which type an attribute's values are, and within which limits: what is checked, and in which
//! form it is then kept. A kept value is read back as it was answered, digit by digit.

use crate::domain::command::Change;
use crate::domain::fault::Fault;
use crate::domain::profile::date;
use crate::domain::text::line;
use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Most characters of a text.
const TEXT_MAX: u32 = 500;
/// Most characters of a choice or of a member of a list.
const WORD_MAX: u32 = 80;
/// Most members of a list.
const ITEMS_MAX: u32 = 50;
/// Most choices.
pub const CHOICES_MAX: usize = 100;
/// Up to here a double holds every integer.
const INTEGER_MAX: u64 = 1 << 53;
/// What a double holds of any decimal number.
const DIGITS_MAX: i32 = 15;
/// Most decimals. Within these two every reader of JSON reads the same number.
const DECIMALS_MAX: i32 = 9;

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum Kind {
    /// One line.
    Text,
    /// A whole number.
    Integer,
    /// A number with up to 9 decimals and 15 digits.
    Decimal,
    Boolean,
    /// A calendar day, `YYYY-MM-DD`.
    Date,
    /// A moment: RFC 3339, kept in UTC to the microsecond.
    Instant,
    /// One of listed texts.
    Choice,
    /// Texts without an order, none twice.
    List,
}

impl Kind {
    pub const ALL: [(&str, Self); 8] = [
        ("text", Self::Text),
        ("integer", Self::Integer),
        ("decimal", Self::Decimal),
        ("boolean", Self::Boolean),
        ("date", Self::Date),
        ("instant", Self::Instant),
        ("choice", Self::Choice),
        ("list", Self::List),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Instant => "instant",
            Self::Choice => "choice",
            Self::List => "list",
        }
    }

    fn is_ordered(self) -> bool {
        matches!(self, Self::Integer | Self::Decimal | Self::Date | Self::Instant)
    }
}

/// The limits of an attribute's values; those that its type does not know are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Of a text, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// Of a text, or of each member of a list, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// Of a number, a date or an instant, written as a value is; included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Value>,
    /// What a choice, or a member of a list, may be. Empty: a list of any texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
}

/// A change of limits, each kept, lifted or set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitsChange {
    pub min_length: Change<u32>,
    pub max_length: Change<u32>,
    pub minimum: Change<Value>,
    pub maximum: Change<Value>,
    pub choices: Change<Vec<String>>,
    pub max_items: Change<u32>,
}

impl LimitsChange {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn apply(&self, limits: &Limits) -> Limits {
        let choices = Some(limits.choices.clone());
        Limits {
            min_length: self.min_length.apply(&limits.min_length),
            max_length: self.max_length.apply(&limits.max_length),
            minimum: self.minimum.apply(&limits.minimum),
            maximum: self.maximum.apply(&limits.maximum),
            choices: self.choices.apply(&choices).unwrap_or_default(),
            max_items: self.max_items.apply(&limits.max_items),
        }
    }
}

/// A type with limits that fit it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    kind: Kind,
    limits: Limits,
}

impl Rule {
    /// Checks limits and puts them into the form in which values are kept.
    ///
    /// # Errors
    /// Each limit that does not fit, by its name: `not_applicable`, `required`, `out_of_range`,
    /// `too_many`, `conflicting`, or the fault of the value that it is.
    pub fn new(kind: Kind, limits: Limits) -> Result<Self, Vec<(&'static str, Fault)>> {
        let mut faults = applicable(kind, &limits);
        let mut rule = Self { kind, limits };
        if faults.is_empty() {
            rule.check_lengths(&mut faults);
            rule.settle_bounds(&mut faults);
            rule.settle_choices(&mut faults);
        }
        if faults.is_empty() { Ok(rule) } else { Err(faults) }
    }

    /// One that this service itself stored after checking it.
    pub fn from_stored(kind: Kind, limits: Limits) -> Self {
        Self { kind, limits }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks one value. Answers with the form in which it is kept; that form is its own.
    ///
    /// # Errors
    /// `wrong_type`, `too_short`, `too_long`, `out_of_range`, `too_precise`, `unknown_value`,
    /// `too_many`, or those of the value's form.
    pub fn check(&self, value: &Value) -> Result<Value, Fault> {
        let value = match self.kind {
            Kind::Text => self.text(text_of(value)?)?.into(),
            Kind::Choice => self.choice(text_of(value)?)?.into(),
            Kind::List => self.list(value)?,
            _ => plain(self.kind, value)?,
        };
        if self.kind.is_ordered() {
            self.check_bounds(&value)?;
        }
        Ok(value)
    }

    /// Makes of a value of another type one of this, where nothing is lost: of a number or a boolean
    /// a text, of a text with commas a list.
    pub fn adapt(&self, value: &mut Value) {
        let adapted = match (self.kind, &*value) {
            (Kind::Text | Kind::Choice, Value::Number(_) | Value::Bool(_)) => {
                Value::from(value.to_string())
            }
            (Kind::List, Value::String(text)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(str::to_owned).collect::<Vec<_>>().into()
            }
            _ => return,
        };
        *value = adapted;
    }

    /// A value to look for, from the text of a query; of a list, a member. Whether it lies within
    /// the limits does not matter.
    ///
    /// # Errors
    /// `malformed`, or those of the value's form.
    pub fn sought(&self, text: &str) -> Result<Value, Fault> {
        let malformed = || Fault::new("malformed", format!("must be {}", self.expected()));
        match self.kind {
            Kind::Text => line(text, TEXT_MAX as usize).map(Into::into),
            Kind::Choice => line(text, WORD_MAX as usize).map(Into::into),
            Kind::List => Ok(Value::from(vec![line(text, WORD_MAX as usize)?])),
            Kind::Date | Kind::Instant => plain(self.kind, &text.into()),
            Kind::Integer | Kind::Decimal | Kind::Boolean => {
                let value = serde_json::from_str(text).map_err(|_| malformed())?;
                plain(self.kind, &value).map_err(|_| malformed())
            }
        }
    }

    /// The name of a limit by which a value that was allowed before may not be so now, if there is
    /// one: `type` where it is the type.
    pub fn narrows(&self, before: &Self) -> Option<&'static str> {
        if self.kind != before.kind {
            return Some("type");
        }
        let (new, old) = (&self.limits, &before.limits);
        let lower_cap =
            |new: Option<u32>, old: Option<u32>, cap| new.unwrap_or(cap) < old.unwrap_or(cap);
        let length = if self.kind == Kind::List { WORD_MAX } else { TEXT_MAX };
        let beyond = |new: &Option<Value>, old: &Option<Value>, wrong| match (new, old) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(new), Some(old)) => self.compare(new, old) == wrong,
        };
        let fewer = match (new.choices.is_empty(), old.choices.is_empty()) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => old.choices.iter().any(|choice| !new.choices.contains(choice)),
        };
        [
            ("min_length", new.min_length.unwrap_or(1) > old.min_length.unwrap_or(1)),
            ("max_length", lower_cap(new.max_length, old.max_length, length)),
            ("minimum", beyond(&new.minimum, &old.minimum, Ordering::Greater)),
            ("maximum", beyond(&new.maximum, &old.maximum, Ordering::Less)),
            ("choices", fewer),
            ("max_items", lower_cap(new.max_items, old.max_items, ITEMS_MAX)),
        ]
        .into_iter()
        .find_map(|(name, narrower)| narrower.then_some(name))
    }

    fn text(&self, text: &str) -> Result<String, Fault> {
        let max = self.limits.max_length.unwrap_or(TEXT_MAX);
        let text = line(text, max as usize)?;
        match self.limits.min_length {
            Some(min) if text.chars().count() < min as usize => {
                Err(Fault::new("too_short", format!("must have at least {min} characters")))
            }
            _ => Ok(text),
        }
    }

    fn choice(&self, text: &str) -> Result<String, Fault> {
        // Choices are kept in this form, too.
        let text = line(text, WORD_MAX as usize)?;
        if self.limits.choices.contains(&text) { Ok(text) } else { Err(self.not_a_choice()) }
    }

    fn not_a_choice(&self) -> Fault {
        const SHOWN: usize = 10;
        let some: Vec<_> = self.limits.choices.iter().take(SHOWN).map(String::as_str).collect();
        let more = if self.limits.choices.len() > SHOWN { ", …" } else { "" };
        Fault::new("unknown_value", format!("must be one of: {}{more}", some.join(", ")))
    }

    fn list(&self, value: &Value) -> Result<Value, Fault> {
        let wrong_type = || Fault::new("wrong_type", "must be a list of texts");
        let max = self.limits.max_length.unwrap_or(WORD_MAX);
        let mut members = Vec::new();
        for member in value.as_array().ok_or_else(wrong_type)? {
            let member = line(member.as_str().ok_or_else(wrong_type)?, max as usize)?;
            if !self.limits.choices.is_empty() && !self.limits.choices.contains(&member) {
                return Err(self.not_a_choice());
            }
            members.push(member);
        }
        members.sort();
        members.dedup();
        let max = self.limits.max_items.unwrap_or(ITEMS_MAX);
        if members.len() > max as usize {
            return Err(Fault::new("too_many", format!("must have at most {max} entries")));
        }
        Ok(members.into())
    }

    fn check_bounds(&self, value: &Value) -> Result<(), Fault> {
        let beyond = |bound: &Option<Value>, wrong| {
            bound.as_ref().is_some_and(|bound| self.compare(value, bound) == wrong)
        };
        let limits = &self.limits;
        if !beyond(&limits.minimum, Ordering::Less) && !beyond(&limits.maximum, Ordering::Greater) {
            return Ok(());
        }
        let shown = |bound: &Value| bound.as_str().map_or_else(|| bound.to_string(), str::to_owned);
        let detail = match (&limits.minimum, &limits.maximum) {
            (Some(min), Some(max)) => format!("must be from {} to {}", shown(min), shown(max)),
            (Some(min), None) => format!("must be at least {}", shown(min)),
            (_, Some(max)) => format!("must be at most {}", shown(max)),
            (None, None) => return Ok(()),
        };
        Err(Fault::new("out_of_range", detail))
    }

    /// The order of two values in their kept form.
    fn compare(&self, one: &Value, other: &Value) -> Ordering {
        let instant =
            |value: &Value| value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
        match self.kind {
            // Exact: within the limits of their forms doubles are.
            Kind::Integer | Kind::Decimal => {
                one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
            }
            Kind::Instant => instant(one).cmp(&instant(other)),
            // The text of a date is as long as any other's.
            _ => one.as_str().cmp(&other.as_str()),
        }
    }

    fn expected(&self) -> &'static str {
        match self.kind {
            Kind::Integer => "a whole number",
            Kind::Decimal => "a number of at most 9 decimals and 15 digits",
            Kind::Boolean => "true or false",
            _ => "a text",
        }
    }

    fn check_lengths(&self, faults: &mut Vec<(&'static str, Fault)>) {
        let Limits { min_length, max_length, max_items, .. } = self.limits;
        let length = if self.kind == Kind::List { WORD_MAX } else { TEXT_MAX };
        let caps = [
            ("min_length", min_length, length),
            ("max_length", max_length, length),
            ("max_items", max_items, ITEMS_MAX),
        ];
        for (name, limit, cap) in caps {
            if limit.is_some_and(|limit| !(1..=cap).contains(&limit)) {
                faults.push((name, Fault::new("out_of_range", format!("must be from 1 to {cap}"))));
            }
        }
        if min_length.zip(max_length).is_some_and(|(min, max)| min > max) {
            faults.push(("min_length", Fault::new("conflicting", "must not be above max_length")));
        }
    }

    fn settle_bounds(&mut self, faults: &mut Vec<(&'static str, Fault)>) {
        let kind = self.kind;
        let bounds = [("minimum", &mut self.limits.minimum), ("maximum", &mut self.limits.maximum)];
        for (name, bound) in bounds {
            match bound.as_ref().map(|bound| plain(kind, bound)) {
                Some(Ok(settled)) => *bound = Some(settled),
                Some(Err(fault)) => faults.push((name, fault)),
                None => {}
            }
        }
        if let (Some(min), Some(max)) = (&self.limits.minimum, &self.limits.maximum)
            && faults.is_empty()
            && self.compare(min, max) == Ordering::Greater
        {
            faults.push(("minimum", Fault::new("conflicting", "must not be above maximum")));
        }
    }

    fn settle_choices(&mut self, faults: &mut Vec<(&'static str, Fault)>) {
        let choices = &mut self.limits.choices;
        if self.kind == Kind::Choice && choices.is_empty() {
            faults.push(("choices", Fault::new("required", "must have at least one")));
        }
        if choices.len() > CHOICES_MAX {
            let detail = format!("must have at most {CHOICES_MAX} entries");
            faults.push(("choices", Fault::new("too_many", detail)));
            return;
        }
        let max = self.limits.max_length.unwrap_or(WORD_MAX) as usize;
        match choices.iter().map(|choice| line(choice, max)).collect::<Result<Vec<_>, _>>() {
            Ok(settled) => {
                *choices = settled;
                let mut seen = std::collections::BTreeSet::new();
                choices.retain(|choice| seen.insert(choice.clone()));
            }
            Err(fault) => faults.push(("choices", fault)),
        }
    }
}

/// The limits that are given but that the type does not know.
fn applicable(kind: Kind, limits: &Limits) -> Vec<(&'static str, Fault)> {
    let given = [
        ("min_length", limits.min_length.is_some(), kind == Kind::Text),
        ("max_length", limits.max_length.is_some(), matches!(kind, Kind::Text | Kind::List)),
        ("minimum", limits.minimum.is_some(), kind.is_ordered()),
        ("maximum", limits.maximum.is_some(), kind.is_ordered()),
        ("choices", !limits.choices.is_empty(), matches!(kind, Kind::Choice | Kind::List)),
        ("max_items", limits.max_items.is_some(), kind == Kind::List),
    ];
    let superfluous = given.into_iter().filter(|(_, given, fits)| *given && !fits);
    let fault =
        || Fault::new("not_applicable", format!("is no limit of the type {}", kind.as_str()));
    superfluous.map(|(name, ..)| (name, fault())).collect()
}

fn text_of(value: &Value) -> Result<&str, Fault> {
    value.as_str().ok_or_else(|| Fault::new("wrong_type", "must be a text"))
}

/// The kept form of a value whose type alone says all about it.
fn plain(kind: Kind, value: &Value) -> Result<Value, Fault> {
    match kind {
        Kind::Integer => integer(value),
        Kind::Decimal => decimal(value),
        Kind::Date => date(text_of(value)?).map(|date| date.to_string().into()),
        Kind::Instant => instant(text_of(value)?),
        Kind::Boolean if value.is_boolean() => Ok(value.clone()),
        _ => Err(Fault::new("wrong_type", "must be true or false")),
    }
}

fn integer(value: &Value) -> Result<Value, Fault> {
    let number = value.as_i64().ok_or_else(|| {
        Fault::new("wrong_type", "must be a whole number, without a decimal point")
    })?;
    if number.unsigned_abs() > INTEGER_MAX {
        return Err(Fault::new("out_of_range", "must be within ±2^53"));
    }
    Ok(number.into())
}

/// Whole numbers are kept as such: `5.0` is `5`.
fn decimal(value: &Value) -> Result<Value, Fault> {
    if value.is_i64() || value.is_u64() {
        return integer(value);
    }
    let number = value.as_f64().filter(|number| number.is_finite());
    let number = number.ok_or_else(|| Fault::new("wrong_type", "must be a number"))?;
    let too_precise = || {
        let detail =
            format!("must have at most {DIGITS_MAX} digits, {DECIMALS_MAX} of them decimals");
        Fault::new("too_precise", detail)
    };
    // The shortest text that is this number, such as 1.25e-3.
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').ok_or_else(too_precise)?;
    let exponent: i32 = exponent.parse().map_err(|_| too_precise())?;
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    let decimals = digits - 1 - exponent;
    if digits > DIGITS_MAX || decimals > DECIMALS_MAX || number.abs() > INTEGER_MAX as f64 {
        return Err(too_precise());
    }
    if number.fract() == 0.0 {
        return Ok((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(too_precise)
}

fn instant(text: &str) -> Result<Value, Fault> {
    let fault = || {
        Fault::new(
            "invalid_instant",
            "must be an instant of RFC 3339, such as 2026-01-31T08:00:00Z",
        )
    };
    let instant = DateTime::parse_from_rfc3339(text).map_err(|_| fault())?.with_timezone(&Utc);
    if !(1..=9_999).contains(&instant.year()) {
        return Err(fault());
    }
    if instant.nanosecond() % 1_000 != 0 {
        return Err(Fault::new("too_precise", "must not be finer than microseconds"));
    }
    Ok(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

#[cfg(test)]
mod tests;
