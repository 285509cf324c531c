//! Flows begun and taken on their own; those that end in a decision about a customer are used by it.

use super::{Answer, Decision, decided};
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::state::State;

/// Begins a flow. One with this hash is there already only when what it stands for was presented
/// before.
pub fn open(state: &State, flow: &Flow) -> Decision {
    if state.flow.is_some() {
        return Err(Rejection::FlowInvalid);
    }
    decided(vec![Event::FlowOpened(Box::new(flow.clone()))], Answer::Now(Outcome::Done))
}

/// Finishes a flow and hands out its payload, once.
pub fn take(state: &State, kind: FlowKind, context: &Context) -> Decision {
    let flow = usable(state, kind, context)?;
    let outcome =
        Outcome::FlowTaken { customer_id: flow.customer_id, payload: flow.payload.clone() };
    decided(vec![Event::FlowUsed { at: context.now }], Answer::Now(outcome))
}

/// The flow that the command names, if it may be finished as this now.
///
/// # Errors
/// [`Rejection::FlowInvalid`] otherwise.
pub fn usable<'a>(
    state: &'a State,
    kind: FlowKind,
    context: &Context,
) -> Result<&'a Flow, Rejection> {
    let flow = state.flow.as_ref().filter(|flow| flow.is_usable(kind, context.now));
    flow.ok_or(Rejection::FlowInvalid)
}
