//! Keeping and ending sessions (rule A7).

use super::{Answer, Decision, decided};
use crate::domain::command::{Actor, Context};
use crate::domain::event::Event;
use crate::domain::ids::SessionId;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::session::{RevocationReason, SecretHash, Session, SessionPolicy};
use crate::domain::state::State;
use crate::domain::status::Status;

/// Rotates a refresh token. The caller has proven that this service issued `presented`; here it is
/// the current one, the one before it within its grace (the same child again, for a lost answer),
/// or a copy, which revokes the session.
pub fn refresh(
    state: &State,
    id: SessionId,
    presented: &SecretHash,
    child: &SecretHash,
    policy: &SessionPolicy,
    context: &Context,
) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::RefreshInvalid)?;
    let session = state.sessions.get(&id).ok_or(Rejection::RefreshInvalid)?;
    let may_go_on = matches!(customer.status, Status::Active | Status::DeletionScheduled);
    if !session.is_live(context.now) || !may_go_on {
        return Err(Rejection::RefreshInvalid);
    }
    if session.refresh_hash == *presented {
        let rotated = rotate(session, presented, child, policy, context);
        let events = vec![Event::SessionRefreshed { session: Box::new(rotated) }];
        return decided(events, Answer::Refreshed(id));
    }
    let in_grace = session.rotated_at.is_some_and(|at| context.now < at + policy.reuse_grace);
    // The child is current, so it is unused: the caller merely lost our answer.
    if session.previous_hash == Some(*presented) && session.refresh_hash == *child && in_grace {
        return decided(Vec::new(), Answer::Refreshed(id));
    }
    let events = vec![Event::SessionRevoked {
        id,
        reason: RevocationReason::RefreshReused,
        at: context.now,
    }];
    decided(events, Answer::Now(Outcome::RefreshReused { session_id: id }))
}

fn rotate(
    session: &Session,
    presented: &SecretHash,
    child: &SecretHash,
    policy: &SessionPolicy,
    context: &Context,
) -> Session {
    Session {
        refresh_hash: *child,
        generation: session.generation + 1,
        previous_hash: Some(*presented),
        rotated_at: Some(context.now),
        last_seen_at: context.now,
        expires_at: (context.now + policy.sliding).min(session.absolute_expires_at),
        ..session.clone()
    }
}

/// Ends a session by its refresh token; one that is already over stays over.
pub fn sign_out(state: &State, id: SessionId, context: &Context) -> Decision {
    let sessions = state.sessions.get(&id).into_iter().collect();
    Ok(revoke_all(sessions, RevocationReason::SignedOut, context))
}

/// Ends one session by its id, for its owner or staff.
pub fn revoke(state: &State, id: SessionId, context: &Context) -> Decision {
    let session = state
        .sessions
        .get(&id)
        .filter(|session| session.is_live(context.now))
        .ok_or(Rejection::NotFound)?;
    Ok(revoke_all(vec![session], by(&context.actor), context))
}

/// Ends every session but the one that asks.
pub fn revoke_others(state: &State, keep: SessionId, context: &Context) -> Decision {
    let others = state.sessions.values().filter(|session| session.id != keep).collect();
    Ok(revoke_all(others, by(&context.actor), context))
}

/// Ends every session.
pub fn revoke_every(state: &State, context: &Context) -> Decision {
    state.customer.as_ref().ok_or(Rejection::NotFound)?;
    Ok(revoke_all(state.sessions.values().collect(), by(&context.actor), context))
}

fn by(actor: &Actor) -> RevocationReason {
    match actor {
        Actor::Staff(_) | Actor::Operator | Actor::Service => RevocationReason::RevokedByStaff,
        Actor::Customer(_) | Actor::Anonymous => RevocationReason::RevokedByOwner,
    }
}

fn revoke_all(
    sessions: Vec<&Session>,
    reason: RevocationReason,
    context: &Context,
) -> super::Decided {
    let (ids, events) = revocations(sessions, reason, context);
    super::Decided::new(events, Answer::Now(Outcome::Revoked { sessions: ids }))
}

/// The events that end those of `sessions` that live.
pub fn revocations(
    sessions: Vec<&Session>,
    reason: RevocationReason,
    context: &Context,
) -> (Vec<SessionId>, Vec<Event>) {
    let live = sessions.into_iter().filter(|session| session.is_live(context.now));
    live.map(|session| {
        (session.id, Event::SessionRevoked { id: session.id, reason, at: context.now })
    })
    .unzip()
}
