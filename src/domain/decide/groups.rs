//! The groups that customers may belong to (rule L6).

use super::{Answer, Decision, check_version, decided};
use crate::domain::command::Context;
use crate::domain::customer::GroupCode;
use crate::domain::event::Event;
use crate::domain::group::{Group, GroupCommand, GroupEvent, Standing};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::state::State;
use crate::domain::text::Label;

pub fn decide(state: &State, command: &GroupCommand, context: &Context) -> Decision {
    let standing = state.group.as_ref();
    match command {
        GroupCommand::Create { code, name } => create(standing, code, name, context),
        GroupCommand::Rename { name, if_match, .. } => rename(standing, name, *if_match, context),
        GroupCommand::Delete { code, if_match, defaults } => {
            delete(standing, code, *if_match, defaults)
        }
    }
}

fn create(
    standing: Option<&Standing>,
    code: &GroupCode,
    name: &Label,
    context: &Context,
) -> Decision {
    if standing.is_some() {
        return Err(Rejection::GroupExists);
    }
    let (code, name, now) = (code.clone(), name.clone(), context.now);
    let group = Group { code, name, created_at: now, updated_at: now, version: 1 };
    decided(vec![Event::Group(GroupEvent::Created(group))], Answer::Group)
}

fn rename(
    standing: Option<&Standing>,
    name: &Label,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    let group = &standing.ok_or(Rejection::NotFound)?.group;
    check_version(if_match, group.version)?;
    if group.name == *name {
        return decided(Vec::new(), Answer::Group);
    }
    let group = Group {
        name: name.clone(),
        updated_at: context.now,
        version: group.version + 1,
        ..group.clone()
    };
    decided(vec![Event::Group(GroupEvent::Renamed(group))], Answer::Group)
}

fn delete(
    standing: Option<&Standing>,
    code: &GroupCode,
    if_match: Option<i64>,
    defaults: &[GroupCode],
) -> Decision {
    let Standing { group, in_use } = standing.ok_or(Rejection::NotFound)?;
    check_version(if_match, group.version)?;
    if defaults.contains(code) {
        return Err(Rejection::GroupIsDefault);
    }
    if *in_use {
        return Err(Rejection::GroupInUse);
    }
    let deleted = GroupEvent::Deleted { code: code.clone() };
    decided(vec![Event::Group(deleted)], Answer::Now(Outcome::Done))
}
