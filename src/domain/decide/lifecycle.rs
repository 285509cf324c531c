//! Status moves by staff (rule L3) and the lifting of locks.

use super::{Answer, Decision, decided, sessions};
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::session::RevocationReason;
use crate::domain::state::State;
use crate::domain::status::{ReasonCode, Status, allows};
use crate::domain::throttle::Bucket;

/// Moves the status; leaving `active` ends every session (rule A7).
pub fn move_status(state: &State, to: Status, reason: &ReasonCode, context: &Context) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let from = customer.status;
    // Erasure is more than a move: a status alone would claim what was not done.
    if to == Status::Erased || !allows(from, to, customer.status_before_deletion) {
        return Err(Rejection::TransitionNotAllowed { from, to });
    }
    let mut events =
        vec![Event::StatusChanged { from, to, reason: reason.clone(), at: context.now }];
    if to != Status::Active {
        let all = state.sessions.values().collect();
        events.extend(sessions::revocations(all, RevocationReason::StatusChanged, context).1);
    }
    decided(events, Answer::Customer)
}

/// Forgets the failures and the locks of the customer's buckets.
pub fn unlock(state: &State, buckets: &[Bucket]) -> Decision {
    state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let counting = buckets.iter().copied().filter(|bucket| {
        let throttle = state.throttle(bucket);
        throttle != throttle.unlocked()
    });
    let buckets: Vec<_> = counting.collect();
    let events = if buckets.is_empty() { Vec::new() } else { vec![Event::Unlocked { buckets }] };
    decided(events, Answer::Now(Outcome::Done))
}
