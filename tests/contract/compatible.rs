//! What one schema may become without a consumer noticing.
//!
//! A consumer relies on what a schema promised: that a field is there, of which type, within which
//! bounds, with which words. So a message of today must be one that yesterday's schema allows, but
//! for what yesterday's left open: further fields, and further words where it says `anyOf` with any
//! text at the end. Fewer words, narrower bounds and fields that are now always there are no breach.
//!
//! For what this service receives it is the other way round: what a producer wrote yesterday must be
//! accepted today.
//!
//! A keyword that is not known here is a breach, too: it could hide one.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Who writes what the schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// This service: readers stay on the schema of their time.
    Us,
    /// Others: they go on writing by the schema of their time.
    Others,
}

/// Says nothing about values.
const ANNOTATIONS: [&str; 7] =
    ["$schema", "title", "description", "default", "examples", "deprecated", "$comment"];
/// Must be the same on the side that promised them.
const EXACT: [&str; 2] = ["pattern", "format"];
/// The least that is promised may rise.
const LEAST: [&str; 3] = ["minimum", "minLength", "minItems"];
/// The most that is promised may fall.
const MOST: [&str; 3] = ["maximum", "maxLength", "maxItems"];
const STRUCTURE: [&str; 9] = [
    "type",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "properties",
    "required",
    "items",
    "additionalProperties",
];

/// What became of the schemas of a release: a line for each breach. `writer` tells whose they are,
/// by name.
pub fn breaches_of_all(
    released: &Map<String, Value>,
    present: &Map<String, Value>,
    writer: impl Fn(&str) -> Writer,
) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, old) in released {
        match present.get(name) {
            Some(new) => {
                let found = breaches_of(old, new, writer(name));
                breaches.extend(found.into_iter().map(|breach| format!("{name}{breach}")));
            }
            None => breaches.push(format!("{name}: is gone")),
        }
    }
    breaches
}

/// What became of one schema: a line for each breach, beginning with the place.
pub fn breaches_of(old: &Value, new: &Value, writer: Writer) -> Vec<String> {
    let mut check = Check { writer, breaches: Vec::new() };
    check.node("", old, new);
    check.breaches
}

struct Check {
    writer: Writer,
    breaches: Vec<String>,
}

impl Check {
    fn breach(&mut self, at: &str, what: impl AsRef<str>) {
        self.breaches.push(format!("{at}: {}", what.as_ref()));
    }

    fn node(&mut self, at: &str, old: &Value, new: &Value) {
        for keyword in keywords(old).chain(keywords(new)).collect::<BTreeSet<_>>() {
            let lists: [&[&str]; 5] = [&ANNOTATIONS, &EXACT, &LEAST, &MOST, &STRUCTURE];
            if !lists.iter().any(|list| list.contains(&keyword)) {
                self.breach(at, format!("`{keyword}` is not known to this check: teach it"));
            }
        }
        if is_union(old) || is_union(new) {
            return self.union(at, old, new);
        }
        // Whose promise binds, and what has to keep it.
        let (wide, narrow) = match self.writer {
            Writer::Us => (old, new),
            Writer::Others => (new, old),
        };
        self.types(at, wide, narrow);
        self.words(at, wide, narrow);
        self.bounds(at, wide, narrow);
        self.fields(at, old, new);
        match (old.get("items"), new.get("items")) {
            (Some(old), Some(new)) => self.node(&format!("{at}[]"), old, new),
            (None, None) => {}
            _ => self.breach(at, "`items` came or went"),
        }
    }

    fn types(&mut self, at: &str, wide: &Value, narrow: &Value) {
        let (allowed, found) = (types(wide), types(narrow));
        if allowed.is_empty() {
            return;
        }
        let fits = |kind: &str| {
            allowed.contains(kind) || (kind == "integer" && allowed.contains("number"))
        };
        if found.is_empty() || !found.iter().all(|kind| fits(kind)) {
            self.breach(at, format!("the type was {allowed:?} and may now be {found:?}"));
        }
    }

    fn words(&mut self, at: &str, wide: &Value, narrow: &Value) {
        let Some(allowed) = words(wide) else { return };
        match words(narrow) {
            Some(found) => {
                for word in found.difference(&allowed) {
                    self.breach(at, format!("{word} is a new word of a closed enumeration"));
                }
            }
            None => self.breach(at, "a closed enumeration takes any word now"),
        }
    }

    fn bounds(&mut self, at: &str, wide: &Value, narrow: &Value) {
        for keyword in EXACT {
            let Some(promised) = wide.get(keyword) else { continue };
            // A single word needs no pattern.
            if narrow.get(keyword) != Some(promised) && words(narrow).is_none() {
                self.breach(at, format!("`{keyword}` {promised} is another one or gone"));
            }
        }
        let bounds = LEAST.map(|keyword| (keyword, true)).into_iter();
        for (keyword, least) in bounds.chain(MOST.map(|keyword| (keyword, false))) {
            let Some(promised) = wide.get(keyword).and_then(Value::as_i64) else { continue };
            let found = narrow.get(keyword).and_then(Value::as_i64);
            let kept = found.is_some_and(|found| match least {
                true => found >= promised,
                false => found <= promised,
            });
            if !kept {
                self.breach(at, format!("`{keyword}` {promised} became {found:?}"));
            }
        }
    }

    fn fields(&mut self, at: &str, old: &Value, new: &Value) {
        let (before, now) = (fields(old), fields(new));
        for (name, old) in &before {
            match now.get(name) {
                Some(new) => self.node(&format!("{at}/{name}"), old, new),
                None => self.breach(&format!("{at}/{name}"), "the field is gone"),
            }
        }
        let (needed, needs) = (required(old), required(new));
        let (promised, kept, what) = match self.writer {
            Writer::Us => (&needed, &needs, "was always there and may be missing now"),
            Writer::Others => (&needs, &needed, "could be left out and must be there now"),
        };
        for name in promised
            .difference(kept)
            .filter(|name| self.writer == Writer::Others || now.contains_key(**name))
        {
            self.breaches.push(format!("{at}/{name}: {what}"));
        }
        let closed = |schema: &Value| {
            schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(true))
        };
        if closed(new) {
            self.breach(at, "no further fields are allowed: nothing could ever be added");
        } else if closed(old) {
            self.breach(at, "further fields were forbidden and may come now");
        }
    }

    /// Alternatives. Each of the one side must fit one of the other; objects are told apart by the
    /// words of their fields, as a reader tells them apart.
    fn union(&mut self, at: &str, old: &Value, new: &Value) {
        let (before, now) = (branches(old), branches(new));
        let open = |branches: &[&Value]| branches.iter().any(|branch| takes_any_word(branch));
        if before.iter().chain(&now).all(|branch| fields(branch).is_empty()) {
            let (allowed, found) = match self.writer {
                Writer::Us => (&before, &now),
                Writer::Others => (&now, &before),
            };
            if !open(allowed) {
                if open(found) {
                    return self.breach(at, "a closed enumeration takes any word now");
                }
                let (allowed, found) = (all_words(allowed), all_words(found));
                for word in found.difference(&allowed) {
                    self.breach(at, format!("{word} is a new word of a closed enumeration"));
                }
                return;
            }
            let (allowed, found) = (all_types(allowed), all_types(found));
            if !found.is_subset(&allowed) {
                self.breach(at, format!("the type was {allowed:?} and may now be {found:?}"));
            }
            return;
        }
        let (outer, inner) = match self.writer {
            Writer::Us => (&now, &before),
            Writer::Others => (&before, &now),
        };
        for branch in outer {
            let name = told_apart(branch);
            match inner.iter().find(|other| told_apart(other) == name) {
                Some(other) => {
                    let (old, new) = match self.writer {
                        Writer::Us => (*other, *branch),
                        Writer::Others => (*branch, *other),
                    };
                    self.node(&format!("{at}{name:?}"), old, new);
                }
                None => self.breach(at, format!("{name:?} is an alternative that only one knows")),
            }
        }
    }
}

fn keywords(schema: &Value) -> impl Iterator<Item = &str> {
    schema.as_object().into_iter().flat_map(|members| members.keys().map(String::as_str))
}

fn is_union(schema: &Value) -> bool {
    schema.get("oneOf").is_some() || schema.get("anyOf").is_some()
}

/// The alternatives of a schema; itself, where it has none.
fn branches(schema: &Value) -> Vec<&Value> {
    match schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array) {
        Some(branches) => branches.iter().collect(),
        None => vec![schema],
    }
}

fn types(schema: &Value) -> BTreeSet<&str> {
    match &schema["type"] {
        Value::String(one) => [one.as_str()].into(),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => words(schema).iter().flatten().map(|word| type_of(word)).collect(),
    }
}

/// The type of a word as it stands in JSON.
fn type_of(word: &str) -> &'static str {
    match serde_json::from_str(word) {
        Ok(Value::String(_)) => "string",
        Ok(Value::Null) => "null",
        Ok(Value::Bool(_)) => "boolean",
        Ok(Value::Number(_)) => "number",
        _ => "object",
    }
}

fn all_types<'a>(branches: &[&'a Value]) -> BTreeSet<&'a str> {
    branches.iter().flat_map(|branch| types(branch)).collect()
}

/// The values that a schema names, as they stand in JSON; `None` where it names none.
fn words(schema: &Value) -> Option<BTreeSet<String>> {
    let listed = schema.get("enum").and_then(Value::as_array).map(|words| words.iter().collect());
    let single = schema.get("const").map(|word| vec![word]);
    let words: Vec<_> = listed.or(single)?;
    Some(words.into_iter().map(Value::to_string).collect())
}

fn all_words(branches: &[&Value]) -> BTreeSet<String> {
    branches.iter().filter_map(|branch| words(branch)).flatten().collect()
}

/// Whether an alternative leaves an enumeration open.
fn takes_any_word(branch: &Value) -> bool {
    words(branch).is_none() && types(branch).contains("string")
}

fn fields(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    let list = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

/// The fields of an alternative that can have one value only.
fn told_apart(branch: &Value) -> Vec<(String, Value)> {
    let fixed = |(name, field): (String, Value)| Some((name, field.get("const")?.clone()));
    fields(branch).into_iter().filter_map(fixed).collect()
}
