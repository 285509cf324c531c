//! Definitions of custom attributes, and values against them.
//!
//! Whom a definition shuts out is told what one is told where there is none: the keys of what staff
//! keeps for itself are nobody else's to know.

use super::{Answer, Decision, check_version, decided};
use crate::domain::attribute::{
    AttributeCommand, AttributeEvent, AttributeKey, Attributes, Audience, DEFINITIONS_MAX,
    Definition, DefinitionChange, NewDefinition, Part, Rule, Standing, access_fault,
};
use crate::domain::command::{Actor, Context};
use crate::domain::event::Event;
use crate::domain::fault::Fault;
use crate::domain::ids::AttributeId;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::state::State;
use serde_json::{Map, Value};

/// Most custom attributes in one part of a customer's record.
pub const VALUES_MAX: usize = 64;
/// Most bytes of them, as JSON.
pub const BYTES_MAX: usize = 16 * 1024;
/// How alike two keys must be for one to be taken for the other.
const ALIKE: f64 = 0.6;

pub fn decide(state: &State, command: &AttributeCommand, context: &Context) -> Decision {
    let standing = |key: &AttributeKey| state.attributes.named.get(key);
    match command {
        AttributeCommand::Create { id, new } => {
            create(standing(&new.key), state.attributes.all.len(), *id, new, context)
        }
        AttributeCommand::Change { key, change, if_match } => {
            let standing = standing(key).ok_or(Rejection::NotFound)?;
            update(standing, change, *if_match, context)
        }
        AttributeCommand::Delete { key, if_match } => {
            delete(standing(key).ok_or(Rejection::NotFound)?, *if_match)
        }
    }
}

fn create(
    standing: Option<&Standing>,
    count: usize,
    id: AttributeId,
    new: &NewDefinition,
    context: &Context,
) -> Decision {
    if standing.is_some() {
        return Err(Rejection::AttributeExists);
    }
    if count >= DEFINITIONS_MAX {
        return Err(Rejection::AttributeLimitReached { limit: DEFINITIONS_MAX });
    }
    let definition = Definition {
        id,
        key: new.key.clone(),
        part: new.part,
        rule: new.rule.clone(),
        write: new.write,
        read: new.read,
        title: new.title.clone(),
        description: new.description.clone(),
        searchable: new.searchable,
        created_at: context.now,
        updated_at: context.now,
        version: 1,
    };
    let key = definition.key.clone();
    let event = AttributeEvent::Created(Box::new(definition));
    decided(vec![Event::Attribute(event)], Answer::Attribute(key))
}

/// Whatever a definition allowed it goes on to allow while somebody holds a value: no value that is
/// kept is ever wrong.
fn update(
    standing: &Standing,
    change: &DefinitionChange,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    let Standing { definition: current, in_use } = standing;
    check_version(if_match, current.version)?;
    let kind = change.kind.unwrap_or(current.rule.kind());
    let rule = Rule::new(kind, change.limits.apply(current.rule.limits())).map_err(|faults| {
        let place = |(name, fault)| (format!("#/{name}"), fault);
        Rejection::InvalidFields(faults.into_iter().map(place).collect())
    })?;
    let mut definition = Definition {
        rule,
        write: change.write.unwrap_or(current.write),
        read: change.read.unwrap_or(current.read),
        title: change.title.clone().unwrap_or_else(|| current.title.clone()),
        description: change.description.apply(&current.description),
        searchable: change.searchable.unwrap_or(current.searchable),
        ..current.clone()
    };
    if let Some(fault) = access_fault(definition.write, definition.read) {
        return Err(Rejection::InvalidFields(vec![("#/write".to_owned(), fault)]));
    }
    if *in_use && let Some(limit) = definition.rule.narrows(&current.rule) {
        return Err(Rejection::AttributeInUse { narrowed: Some(limit) });
    }
    let changed = changed_fields(current, &definition);
    if changed.is_empty() {
        return decided(Vec::new(), Answer::Attribute(current.key.clone()));
    }
    definition.version += 1;
    definition.updated_at = context.now;
    let key = definition.key.clone();
    let event = AttributeEvent::Changed { definition: Box::new(definition), changed };
    decided(vec![Event::Attribute(event)], Answer::Attribute(key))
}

fn changed_fields(before: &Definition, after: &Definition) -> Vec<String> {
    let (old, new) = (before.rule.limits(), after.rule.limits());
    let fields = [
        ("type", before.rule.kind() != after.rule.kind()),
        ("min_length", old.min_length != new.min_length),
        ("max_length", old.max_length != new.max_length),
        ("minimum", old.minimum != new.minimum),
        ("maximum", old.maximum != new.maximum),
        ("choices", old.choices != new.choices),
        ("max_items", old.max_items != new.max_items),
        ("write", before.write != after.write),
        ("read", before.read != after.read),
        ("title", before.title != after.title),
        ("description", before.description != after.description),
        ("searchable", before.searchable != after.searchable),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

fn delete(standing: &Standing, if_match: Option<i64>) -> Decision {
    let Standing { definition, in_use } = standing;
    check_version(if_match, definition.version)?;
    if *in_use {
        return Err(Rejection::AttributeInUse { narrowed: None });
    }
    let event = AttributeEvent::Deleted {
        id: definition.id,
        key: definition.key.clone(),
        version: definition.version + 1,
    };
    decided(vec![Event::Attribute(event)], Answer::Now(Outcome::Done))
}

/// `current` after a merge patch (RFC 7396) of values, each checked against its definition; `null`
/// removes one.
///
/// # Errors
/// [`Rejection::InvalidFields`] with every faulty value.
pub fn merge(
    attributes: &Attributes,
    part: Part,
    current: &Map<String, Value>,
    patch: &Map<String, Value>,
    context: &Context,
) -> Result<Map<String, Value>, Rejection> {
    let mut merged = current.clone();
    let mut faults = Vec::new();
    let mut grew = false;
    for (key, value) in patch {
        // What was kept before there were definitions may go, though nobody knows what it is.
        let stray = value.is_null()
            && Audience::Staff.includes(&context.actor)
            && !attributes.named.contains_key(key.as_str())
            && current.contains_key(key);
        if stray {
            merged.remove(key);
            continue;
        }
        match allowed(attributes, part, key, value, &context.actor) {
            Ok(Some(value)) => {
                merged.insert(key.clone(), value);
                grew = true;
            }
            Ok(None) => {
                merged.remove(key);
            }
            Err(fault) => faults.push((format!("#/custom/{key}"), fault)),
        }
    }
    if grew && let Some(fault) = too_much(current, &merged) {
        faults.push(("#/custom".to_owned(), fault));
    }
    if faults.is_empty() { Ok(merged) } else { Err(Rejection::InvalidFields(faults)) }
}

/// A merge of two customers may have brought more than one may have; it can then become fewer.
fn too_much(before: &Map<String, Value>, values: &Map<String, Value>) -> Option<Fault> {
    if values.len() > VALUES_MAX.max(before.len()) {
        let detail = format!("must have at most {VALUES_MAX} custom attributes");
        return Some(Fault::new("too_many", detail));
    }
    let bytes = |values| serde_json::to_string(values).map_or(usize::MAX, |text| text.len());
    let size = bytes(values);
    (size > BYTES_MAX && size > bytes(before)).then(|| {
        Fault::new("too_large", format!("must have at most {} KiB in all", BYTES_MAX / 1024))
    })
}

/// Values of a file, in which everything may be text, by what they are defined as: a number may be
/// meant as a text, and a text with commas as a list.
pub fn adapt(attributes: &Attributes, values: &mut Map<String, Value>) {
    for (key, value) in values {
        if let Some(standing) = attributes.named.get(key.as_str()) {
            standing.definition.rule.adapt(value);
        }
    }
}

/// One value in its kept form; `None` removes.
fn allowed(
    attributes: &Attributes,
    part: Part,
    key: &str,
    value: &Value,
    actor: &Actor,
) -> Result<Option<Value>, Fault> {
    let standing = attributes.named.get(key).map(|standing| &standing.definition);
    let known = standing.filter(|definition| definition.read.includes(actor));
    let definition = known.ok_or_else(|| unknown(attributes, part, key, actor))?;
    if definition.part != part {
        let detail = format!("is an attribute of the {}", definition.part.as_str());
        return Err(Fault::new("unknown_attribute", detail));
    }
    if !definition.write.includes(actor) {
        return Err(Fault::new("read_only", "may be written by staff alone"));
    }
    if value.is_null() { Ok(None) } else { definition.rule.check(value).map(Some) }
}

/// There is no attribute of this key, as far as this caller may know; perhaps another was meant.
fn unknown(attributes: &Attributes, part: Part, key: &str, actor: &Actor) -> Fault {
    let candidates = attributes.all.iter().filter(|signpost| {
        signpost.part == part && signpost.key.as_str() != key && signpost.read.includes(actor)
    });
    let alike = |other: &str| strsim::normalized_damerau_levenshtein(other, key);
    let nearest = candidates
        .map(|signpost| (alike(signpost.key.as_str()), signpost.key.as_str()))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let meant = nearest.map(|(_, other)| format!("; perhaps {other} is meant")).unwrap_or_default();
    Fault::new("unknown_attribute", format!("there is no attribute of this key{meant}"))
}
