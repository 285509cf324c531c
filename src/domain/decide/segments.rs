//! Definitions of segments (rules S1, S3): they come, change and go; who belongs follows.

use super::{Answer, Decision, check_version, decided};
use crate::domain::attribute::Attributes;
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::fault::Fault;
use crate::domain::ids::SegmentId;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::nesting::cycle;
use crate::domain::segment::record::{
    Force, Membership, NewSegment, Rule, SEGMENTS_MAX, Segment, SegmentChange, SegmentCode,
    SegmentCommand, SegmentEvent, SegmentName, Segments,
};
use crate::domain::state::State;
use std::collections::BTreeSet;

pub fn decide(state: &State, command: &SegmentCommand, context: &Context) -> Decision {
    let segments = &state.segments;
    match command {
        SegmentCommand::Create { id, new } => {
            create(segments, &state.attributes, *id, new, context)
        }
        SegmentCommand::Change { name, change, if_match } => {
            let segment = named(segments, name).filter(|one| one.force != Force::Deleting);
            let segment = segment.ok_or(Rejection::NotFound)?;
            check_version(*if_match, segment.version)?;
            update(segments, &state.attributes, segment, change, context)
        }
        SegmentCommand::Delete { name, if_match, defaults } => {
            let segment = named(segments, name).ok_or(Rejection::NotFound)?;
            if segment.force == Force::Deleting {
                return decided(Vec::new(), Answer::Segment(segment.code.clone()));
            }
            check_version(*if_match, segment.version)?;
            if defaults.contains(&segment.code) {
                return Err(Rejection::SegmentIsDefault);
            }
            delete(segments, segment, context)
        }
        SegmentCommand::Finish { id } => finish(segments, *id),
    }
}

fn named<'a>(segments: &'a Segments, name: &SegmentName) -> Option<&'a Segment> {
    match name {
        SegmentName::Code(code) => segments.get(code),
        SegmentName::Id(id) => segments.values().find(|segment| segment.id == *id),
    }
}

/// One that is going is not found any more, but for being told that it is going.
fn living<'a>(segments: &'a Segments, code: &SegmentCode) -> Result<&'a Segment, Rejection> {
    segments.get(code).filter(|segment| segment.force != Force::Deleting).ok_or(Rejection::NotFound)
}

fn create(
    segments: &Segments,
    attributes: &Attributes,
    id: SegmentId,
    new: &NewSegment,
    context: &Context,
) -> Decision {
    if segments.contains_key(&new.code) {
        return Err(Rejection::SegmentExists);
    }
    if segments.len() >= SEGMENTS_MAX {
        return Err(Rejection::SegmentLimitReached { limit: SEGMENTS_MAX });
    }
    match &new.membership {
        Membership::Rule(rule) => sound(segments, attributes, &new.code, rule)?,
        Membership::Static => always_active(new.active)?,
    }
    let segment = Segment {
        id,
        code: new.code.clone(),
        membership: new.membership.clone(),
        title: new.title.clone(),
        description: new.description.clone(),
        tags: new.tags.clone(),
        force: if new.active { Force::Active } else { Force::Inactive },
        revision: 1,
        created_at: context.now,
        updated_at: context.now,
        version: 1,
    };
    let code = segment.code.clone();
    let event = SegmentEvent::Created(Box::new(segment));
    decided(vec![Event::Segment(event)], Answer::Segment(code))
}

fn update(
    segments: &Segments,
    attributes: &Attributes,
    current: &Segment,
    change: &SegmentChange,
    context: &Context,
) -> Decision {
    let membership = match (&current.membership, &change.rule) {
        (_, None) => current.membership.clone(),
        (Membership::Rule(_), Some(rule)) => {
            sound(segments, attributes, &current.code, rule)?;
            Membership::Rule(rule.clone())
        }
        (Membership::Static, Some(_)) => {
            let fault = Fault::new("conflicting", "a static segment has no definition");
            return Err(Rejection::InvalidFields(vec![("#/definition".to_owned(), fault)]));
        }
    };
    if current.membership == Membership::Static {
        always_active(change.active.unwrap_or(true))?;
    }
    let force = match change.active {
        None => current.force,
        Some(true) => Force::Active,
        Some(false) => Force::Inactive,
    };
    let mut segment = Segment {
        membership,
        title: change.title.clone().unwrap_or_else(|| current.title.clone()),
        description: change.description.apply(&current.description),
        tags: change.tags.clone().unwrap_or_else(|| current.tags.clone()),
        force,
        ..current.clone()
    };
    let changed = changed_fields(current, &segment);
    if changed.is_empty() {
        return decided(Vec::new(), Answer::Segment(current.code.clone()));
    }
    if segment.membership != current.membership || segment.force != current.force {
        segment.revision += 1;
    }
    segment.version += 1;
    segment.updated_at = context.now;
    let code = segment.code.clone();
    let event = SegmentEvent::Changed { segment: Box::new(segment), changed };
    decided(vec![Event::Segment(event)], Answer::Segment(code))
}

/// Out of force a segment has no members, and nobody could say again who they were.
fn always_active(active: bool) -> Result<(), Rejection> {
    if active {
        return Ok(());
    }
    let fault = Fault::new("not_applicable", "a static segment is always active");
    Err(Rejection::InvalidFields(vec![("#/active".to_owned(), fault)]))
}

fn changed_fields(before: &Segment, after: &Segment) -> Vec<String> {
    let rule = |segment: &Segment| segment.membership.rule().cloned();
    let (old, new) = (rule(before), rule(after));
    let text = |rule: &Option<Rule>| rule.as_ref().map(|rule| rule.definition.clone());
    let zone = |rule: &Option<Rule>| rule.as_ref().map(|rule| rule.time_zone.clone());
    let fields = [
        ("definition", text(&old) != text(&new)),
        ("time_zone", zone(&old) != zone(&new)),
        ("title", before.title != after.title),
        ("description", before.description != after.description),
        ("tags", before.tags != after.tags),
        ("active", before.force != after.force),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

fn delete(segments: &Segments, current: &Segment, context: &Context) -> Decision {
    let users = users_of(segments, &current.code);
    if !users.is_empty() {
        return Err(Rejection::SegmentInUse { by: users });
    }
    let segment = Segment {
        force: Force::Deleting,
        revision: current.revision + 1,
        version: current.version + 1,
        updated_at: context.now,
        ..current.clone()
    };
    let changed = vec!["active".to_owned()];
    let code = segment.code.clone();
    let event = SegmentEvent::Changed { segment: Box::new(segment), changed };
    decided(vec![Event::Segment(event)], Answer::Segment(code))
}

fn finish(segments: &Segments, id: SegmentId) -> Decision {
    let going =
        segments.values().find(|segment| segment.id == id && segment.force == Force::Deleting);
    // Somebody else was first.
    let Some(segment) = going else { return decided(Vec::new(), Answer::Now(Outcome::Done)) };
    let event =
        SegmentEvent::Deleted { id, code: segment.code.clone(), version: segment.version + 1 };
    decided(vec![Event::Segment(event)], Answer::Now(Outcome::Done))
}

fn users_of(segments: &Segments, code: &SegmentCode) -> Vec<SegmentCode> {
    let uses =
        |segment: &&Segment| segment.membership.rule().is_some_and(|rule| rule.uses.contains(code));
    segments.values().filter(uses).map(|segment| segment.code.clone()).collect()
}

/// Whether a rule that was checked a moment ago holds against what is locked now: the segments that it
/// names are there, none of them leads back to it, and the attributes that it reads are of the types it
/// was checked with.
fn sound(
    segments: &Segments,
    attributes: &Attributes,
    code: &SegmentCode,
    rule: &Rule,
) -> Result<(), Rejection> {
    let fault = |code, detail: String| {
        Rejection::InvalidFields(vec![("#/definition".to_owned(), Fault::new(code, detail))])
    };
    for used in &rule.uses {
        if living(segments, used).is_err() && used != code {
            let detail = format!("there is no segment {}", used.as_str());
            return Err(fault("unknown_segment", detail));
        }
    }
    let names = |rule: &Rule| -> BTreeSet<String> {
        rule.uses.iter().map(|used| used.as_str().to_owned()).collect()
    };
    let known = segments.values().filter_map(|segment| {
        Some((segment.code.as_str().to_owned(), names(segment.membership.rule()?)))
    });
    if let Some(path) = cycle(code.as_str(), &names(rule), &known.collect()) {
        let detail = format!("segments must not depend on themselves: {}", path.join(" → "));
        return Err(fault("cycle", detail));
    }
    for (key, kind) in &rule.attributes {
        match attributes.named.get(key) {
            None => {
                let detail = format!("there is no attribute {}", key.as_str());
                return Err(fault("unknown_attribute", detail));
            }
            // Its type changed since the definition was checked: it is to be checked again.
            Some(standing) if standing.definition.rule.kind() != *kind => {
                return Err(Rejection::Conflict);
            }
            Some(_) => {}
        }
    }
    Ok(())
}
