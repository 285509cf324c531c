//! From a written name to what it stands for: attributes with their suffixes, functions, parameters.
//! A name that stands for nothing is answered with the one that was probably meant.

use super::attributes::{
    Attribute, FUNCTIONS, Field, FunctionEntry, Kind, Mark, Param, Template, all,
};
use super::condition::{Operand, ValueKind};
use super::mistake::{Mistake, Span, nearest};
use super::schema::Schema;
use super::syntax::At;
use crate::domain::attribute;
use crate::domain::consent::Channel;

/// The attribute of this name, with what a change of it marks.
///
/// # Errors
/// `unknown_attribute`, `unknown_currency`, `unknown_purpose`.
pub(super) fn operand(name: &At<String>, schema: &Schema) -> Result<(Operand, Vec<Mark>), Mistake> {
    let (base, suffix) = match name.it.split_once('.') {
        Some((base, suffix)) => (base, Some(suffix)),
        None => (name.it.as_str(), None),
    };
    let Some(entry) = all().find(|entry| entry.name == base) else {
        return Err(unknown(name, schema));
    };
    let found = match (&entry.template, suffix) {
        (Template::One(field), None) => {
            Some((field.clone(), plain(entry.kind), entry.marks.into()))
        }
        (Template::Spent | Template::Average, suffix) => Some(money(entry, suffix, name, schema)?),
        (Template::Custom, Some(key)) => custom(key, schema),
        (Template::Consent, Some(suffix)) => Some(consent(suffix, entry, name, schema)?),
        (Template::One(_), Some(_)) | (Template::Custom | Template::Consent, None) => None,
    };
    let Some((field, kind, marks)) = found else {
        return Err(unknown(name, schema));
    };
    // A list is there for everybody, if empty.
    let may_be_absent = entry.absent.is_some();
    let operand = Operand { name: name.it.clone(), field, kind, may_be_absent, cost: entry.cost };
    Ok((operand, marks))
}

type Found = (Field, ValueKind, Vec<Mark>);

fn plain(kind: Kind) -> ValueKind {
    match kind {
        Kind::Moment => ValueKind::Moment,
        Kind::Day => ValueKind::Day,
        Kind::Count => ValueKind::Count,
        Kind::Text => ValueKind::Text,
        Kind::Choice(choices) => ValueKind::Choice(choices.iter().map(|&c| c.to_owned()).collect()),
        Kind::Flag => ValueKind::Flag,
        Kind::List => ValueKind::List(Vec::new()),
        // of no attribute without a suffix
        Kind::Money | Kind::Custom => ValueKind::Number { whole: false },
    }
}

/// Whether this may be a currency of ISO 4217.
pub(super) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn money(
    entry: &Attribute,
    suffix: Option<&str>,
    name: &At<String>,
    schema: &Schema,
) -> Result<Found, Mistake> {
    let currency = suffix.unwrap_or(&schema.currency).to_owned();
    if !is_currency(&currency) {
        let detail = format!("{currency} is no currency of ISO 4217");
        let upper = currency.to_uppercase();
        let mistake = Mistake::new("unknown_currency", name.span, detail);
        let likely = is_currency(&upper).then(|| format!("{}.{upper}", entry.name));
        return Err(Mistake { suggestion: likely, ..mistake });
    }
    let field = match entry.template {
        Template::Spent => Field::Spent(currency.clone()),
        _ => Field::Average(currency.clone()),
    };
    Ok((field, ValueKind::Money { currency }, entry.marks.into()))
}

fn custom(key: &str, schema: &Schema) -> Option<Found> {
    let known = schema.custom.get(key)?;
    let kind = match known.kind {
        attribute::Kind::Text => ValueKind::Text,
        attribute::Kind::Integer => ValueKind::Number { whole: true },
        attribute::Kind::Decimal => ValueKind::Number { whole: false },
        attribute::Kind::Boolean => ValueKind::Flag,
        attribute::Kind::Date => ValueKind::Day,
        attribute::Kind::Instant => ValueKind::Moment,
        attribute::Kind::Choice => ValueKind::Choice(known.choices.clone()),
        attribute::Kind::List => ValueKind::List(known.choices.clone()),
    };
    let field = Field::Custom { part: known.part, key: key.to_owned() };
    Some((field, kind, vec![Mark::Custom(key.to_owned())]))
}

fn consent(
    suffix: &str,
    entry: &Attribute,
    name: &At<String>,
    schema: &Schema,
) -> Result<Found, Mistake> {
    let (purpose, channel) = match suffix.split_once('.') {
        Some((purpose, channel)) => (purpose, Some(channel)),
        None => (suffix, None),
    };
    let said = |detail: String, near: Option<String>| {
        let mistake = Mistake::new("unknown_purpose", name.span, detail);
        Err(Mistake { suggestion: near, ..mistake })
    };
    let Some(channels) = schema.purposes.get(purpose) else {
        let near = nearest(purpose, schema.purposes.keys().map(String::as_str));
        let near = near.map(|purpose| format!("consent.{purpose}"));
        return said(format!("there is no purpose {purpose}"), near);
    };
    let channel = match channel {
        None => None,
        Some(wanted) => match Channel::parse(wanted).filter(|known| channels.contains(known)) {
            Some(channel) => Some(channel),
            None => {
                let near = nearest(wanted, channels.iter().map(|channel| channel.as_str()));
                let near = near.map(|channel| format!("consent.{purpose}.{channel}"));
                return said(format!("{purpose} has no channel {wanted}"), near);
            }
        },
    };
    let field = Field::Consent { purpose: purpose.to_owned(), channel };
    Ok((field, ValueKind::Flag, entry.marks.into()))
}

fn unknown(name: &At<String>, schema: &Schema) -> Mistake {
    let detail = format!("there is no attribute {}", name.it);
    let mistake = Mistake::new("unknown_attribute", name.span, detail);
    let written = name.it.to_lowercase();
    if let Some(key) = written.strip_prefix("custom.") {
        let near = nearest(key, schema.custom.keys().map(String::as_str));
        return Mistake { suggestion: near.map(|key| format!("custom.{key}")), ..mistake };
    }
    if FUNCTIONS.iter().any(|entry| entry.name == written) {
        return mistake.suggest(format!("{written} MATCHES (…)"));
    }
    let plain = all().map(|entry| entry.name).filter(|name| !["custom", "consent"].contains(name));
    if let Some(near) = nearest(&written, plain) {
        return mistake.suggest(near);
    }
    // a key that was written without what comes before it
    match schema.custom.keys().find(|key| **key == written) {
        Some(key) => mistake.suggest(format!("custom.{key}")),
        None => mistake,
    }
}

/// The function of this name.
///
/// # Errors
/// `unknown_function`.
pub(super) fn function(name: &At<String>) -> Result<&'static FunctionEntry, Mistake> {
    FUNCTIONS.iter().find(|entry| entry.name == name.it).ok_or_else(|| {
        let detail = format!("there is no function {}", name.it);
        let mistake = Mistake::new("unknown_function", name.span, detail);
        let near = nearest(&name.it, FUNCTIONS.iter().map(|entry| entry.name));
        Mistake { suggestion: near.map(str::to_owned), ..mistake }
    })
}

/// The function's parameter of this name.
///
/// # Errors
/// `unknown_parameter`.
pub(super) fn param(entry: &FunctionEntry, name: &At<String>) -> Result<Param, Mistake> {
    entry.params.iter().copied().find(|param| param.name() == name.it).ok_or_else(|| {
        let detail = format!("{} has no parameter {}", entry.name, name.it);
        let mistake = Mistake::new("unknown_parameter", name.span, detail);
        let near = nearest(&name.it, entry.params.iter().map(|param| param.name()));
        Mistake { suggestion: near.map(str::to_owned), ..mistake }
    })
}

/// A mistake unless a segment of this name is known, or none is.
pub(super) fn segment(name: &str, span: Span, schema: &Schema) -> Result<(), Mistake> {
    let Some(known) = schema.segments.as_ref().filter(|known| !known.contains(name)) else {
        return Ok(());
    };
    let near = nearest(name, known.iter().map(String::as_str));
    let mistake = Mistake::new("unknown_segment", span, "there is no segment of this name");
    let suggestion = near.map(|near| super::print::Quoted(near).to_string());
    Err(Mistake { suggestion, ..mistake })
}
