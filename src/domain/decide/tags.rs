//! One tag more or less, decided against the tags that are there: of two who tag at once, neither
//! takes the other's tag away (rule L2).

use super::{Answer, Decision, check_version, decided, writable};
use crate::domain::command::Context;
use crate::domain::customer::{Customer, TagCommand, Tags};
use crate::domain::event::Event;
use crate::domain::outcome::Rejection;
use crate::domain::state::State;

pub fn decide(state: &State, command: &TagCommand, context: &Context) -> Decision {
    let current = writable(state, context)?;
    let tags = match command {
        TagCommand::Add { tag } => current.tags.with(tag),
        TagCommand::Remove { tag, if_match } => {
            check_version(*if_match, current.version)?;
            current.tags.without(tag)
        }
    };
    if tags == current.tags {
        return decided(Vec::new(), Answer::Customer);
    }
    if tags.as_slice().len() > Tags::MAX {
        return Err(Rejection::TagLimitReached);
    }
    let customer =
        Customer { tags, version: current.version + 1, updated_at: context.now, ..current.clone() };
    let changed = vec!["tags".to_owned()];
    decided(
        vec![Event::CustomerUpdated { customer: Box::new(customer), changed }],
        Answer::Customer,
    )
}
