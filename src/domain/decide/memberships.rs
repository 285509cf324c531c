//! Memberships of segments: judged, or given and taken by staff.

use super::{Answer, Decision, decided};
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::message::MembershipCause;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::membership::{
    Held, MembershipCommand, MembershipEvent, Memberships, judge, leave_all,
};
use crate::domain::state::State;
use crate::domain::status::Status;

pub fn decide(state: &State, command: &MembershipCommand, context: &Context) -> Decision {
    // A customer that is gone has left all its segments with its own end.
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    if customer.status == Status::DeletionScheduled {
        return restricted(state, command);
    }
    let Memberships { held, in_force, .. } = &state.memberships;
    let event = match command {
        MembershipCommand::Judge { programs, asked, cause } => {
            // Another rule is in force by now, or was a moment ago: by that nobody is judged.
            if in_force.as_ref().is_none_or(|now| now.version != programs.version) {
                return Err(Rejection::Conflict);
            }
            let events = judge(&state.memberships, programs, asked, *cause, context.now);
            return decided(events, Answer::Now(Outcome::Done));
        }
        MembershipCommand::Put { segment, code } => {
            if in_force.as_ref().is_none_or(|now| !now.open.contains(segment)) {
                return Err(Rejection::NotFound);
            }
            let (segment, code) = (*segment, code.clone());
            let by_hand = Held { since: context.now, cause: MembershipCause::Manual };
            (!held.contains_key(&segment)).then_some(MembershipEvent::Joined {
                segment,
                code,
                held: by_hand,
            })
        }
        MembershipCommand::Take { segment, code, cause } => {
            let (segment, code, cause) = (*segment, code.clone(), *cause);
            held.contains_key(&segment).then_some(MembershipEvent::Left { segment, code, cause })
        }
    };
    decided(event.into_iter().map(Event::Membership).collect(), Answer::Now(Outcome::Done))
}

/// Whose deletion is scheduled belongs to no segment, whatever its rule says (rule P1).
fn restricted(state: &State, command: &MembershipCommand) -> Decision {
    let cause = match command {
        MembershipCommand::Put { .. } => {
            return Err(Rejection::NotActive(Status::DeletionScheduled));
        }
        MembershipCommand::Judge { cause, .. } | MembershipCommand::Take { cause, .. } => *cause,
    };
    decided(leave_all(&state.memberships, cause), Answer::Now(Outcome::Done))
}
