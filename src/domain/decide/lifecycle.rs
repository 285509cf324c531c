//! Status moves by staff (rule L3) and the lifting of locks.

use super::{Answer, Decision, check_version, decided, sessions, writable};
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::message::MembershipCause;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::membership::leave_all;
use crate::domain::session::RevocationReason;
use crate::domain::state::State;
use crate::domain::status::{ReasonCode, Status, allows};
use crate::domain::throttle::Bucket;

/// Moves the status; leaving `active` ends every session (rule A7).
pub fn move_status(state: &State, to: Status, reason: &ReasonCode, context: &Context) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let from = customer.status;
    // A deletion is more than a move, from its wish to its end: a status alone would claim what was not
    // done.
    let deletion =
        [from, to].iter().any(|it| matches!(it, Status::DeletionScheduled | Status::Erased));
    if deletion || !allows(from, to, customer.status_before_deletion) {
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

/// Deletes the customer softly (rule L4): its sessions end, whatever found it or let it in goes, and
/// its address is free. Its profile, preferences, addresses and lists stay as they are behind it,
/// where no read comes.
pub fn delete(state: &State, if_match: Option<i64>, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    check_version(if_match, customer.version)?;
    let all = state.sessions.values().collect();
    let (_, mut events) = sessions::revocations(all, RevocationReason::CustomerDeleted, context);
    events.extend(leave_all(&state.memberships, MembershipCause::Change));
    events.push(Event::CustomerDeleted { at: context.now, merged_into: None });
    decided(events, Answer::Now(Outcome::Done))
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
