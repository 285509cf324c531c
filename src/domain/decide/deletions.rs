//! The deletion of a customer: asked for, cancelled, held up, carried out, answered (rules P1, P2, P4).

use super::proof::{self, Judgement};
use super::{Answer, Decision, decided, sessions};
use crate::domain::command::{Actor, Context};
use crate::domain::customer::Customer;
use crate::domain::erasure::*;
use crate::domain::event::{ErasureEvent, Event};
use crate::domain::ids::{ErasureId, HoldId, MailId, MessageId, StepId};
use crate::domain::mail::{Mail, MailBody};
use crate::domain::message::MembershipCause;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::membership::{Held, MembershipEvent, leave_all};
use crate::domain::session::RevocationReason;
use crate::domain::state::State;
use crate::domain::status::{ReasonCode, Status};
use crate::domain::token::Purpose;

pub fn decide(state: &State, command: &DeletionCommand, context: &Context) -> Decision {
    match command {
        DeletionCommand::Request(wish) => request(state, wish, context),
        DeletionCommand::Cancel { mail_id } => cancel(state, *mail_id, context),
        DeletionCommand::PlaceHold { id, reason } => place_hold(state, *id, reason, context),
        DeletionCommand::ReleaseHold => release_hold(state, context),
        DeletionCommand::Begin(begin_with) => begin(state, begin_with, context),
        DeletionCommand::Resend { erasure, messages, policy, all } => {
            resend(state, *erasure, messages, *policy, *all, context)
        }
        DeletionCommand::Answer { erasure, step, answer, policy } => {
            answered(state, *erasure, *step, answer, *policy, context)
        }
        DeletionCommand::EraseAgain(again) => erase_again(state, again, context),
    }
}

/// Who is to be erased: a living customer, or one that staff deleted and of whom all is still kept.
fn person(state: &State) -> Result<&Customer, Rejection> {
    let person = state.customer.as_ref().or(state.departed.as_ref());
    person.filter(|customer| customer.status != Status::Erased).ok_or(Rejection::NotFound)
}

/// Freezes the account at once: nobody is signed in, no link works, there is no advertising, and it
/// belongs to no segment. What cancelling brings back is remembered.
fn request(state: &State, wish: &RequestDeletion, context: &Context) -> Decision {
    let customer = person(state)?;
    if state.deletions.open(ErasureState::Running).is_some() {
        return Err(Rejection::ErasureBegun);
    }
    let scheduled = state.deletions.open(ErasureState::Scheduled);
    if let Some(request) = scheduled
        && (!wish.at_once || request.due_at <= context.now)
    {
        return Err(Rejection::DeletionScheduled { due_at: request.due_at });
    }
    if active_orders(state, wish.active_orders) > 0 {
        return Err(Rejection::ActiveOrders);
    }
    if matches!(wish.asking, Asking::Owner(_))
        && scheduled.is_none()
        && customer.status != Status::Active
    {
        return Err(Rejection::NotActive(customer.status));
    }
    let mut events = match &wish.asking {
        Asking::Staff => Vec::new(),
        Asking::Owner(proof) => match proof::judge(state, proof, context)? {
            Judgement::Proven(events) => events,
            Judgement::Refused(events, refusal) => {
                return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
            }
        },
    };
    if let Some(request) = scheduled {
        let (id, at) = (request.id, context.now);
        events.push(Event::Erasure(ErasureEvent::Hastened { id, at }));
        return decided(events, Answer::Deletion);
    }
    let requested_by = match &context.actor {
        Actor::Staff(key) => Requester::Staff(key.clone()),
        Actor::Customer(_) | Actor::Anonymous | Actor::Operator | Actor::Service => {
            Requester::Owner
        }
    };
    let due_at = if wish.at_once { context.now } else { context.now + wish.grace };
    let erasure = Erasure {
        segments: by_hand(state),
        ..Erasure::scheduled(wish.id, customer, requested_by, context.now, due_at)
    };
    let requested = Event::Erasure(ErasureEvent::Requested(Box::new(erasure)));
    match &state.customer {
        Some(customer) => {
            events.extend(restrict(state, customer, requested, due_at, wish, context))
        }
        // Whom staff deleted is restricted already.
        None => events.push(requested),
    }
    decided(events, Answer::Deletion)
}

fn restrict(
    state: &State,
    customer: &Customer,
    requested: Event,
    due_at: chrono::DateTime<chrono::Utc>,
    wish: &RequestDeletion,
    context: &Context,
) -> Vec<Event> {
    let at = context.now;
    let (from, to) = (customer.status, Status::DeletionScheduled);
    let reason = ReasonCode::deletion_requested();
    let mut events = vec![Event::StatusChanged { from, to, reason, at }, requested];
    if customer.accepts_marketing {
        // The move of the status is a version of its own.
        let version = customer.version + 2;
        let switched = ErasureEvent::MarketingSwitched { on: false, version, at };
        events.push(Event::Erasure(switched));
    }
    let all = state.sessions.values().collect();
    events.extend(sessions::revocations(all, RevocationReason::StatusChanged, context).1);
    let open = state.tokens.values().filter(|it| it.used_at.is_none() && it.voided_at.is_none());
    // The link that confirms an address waits until the deletion is cancelled; and the one that takes a
    // change of address back is for whoever was robbed of it.
    let open =
        open.filter(|it| matches!(it.purpose, Purpose::ResetPassword | Purpose::ChangeEmail));
    events.extend(open.map(|token| {
        let (hash, purpose) = (token.hash, token.purpose);
        Event::TokenVoided { hash, purpose, at }
    }));
    events.extend(state.phone_confirmation.iter().map(|_| Event::PhoneRequestDropped));
    events.extend(leave_all(&state.memberships, MembershipCause::Change));
    events.extend(told(state, customer, wish.mail_id, MailBody::DeletionScheduled { due_at }));
    events
}

/// The static segments that it is in.
fn by_hand(state: &State) -> Vec<LeftSegment> {
    let held = state.memberships.held.iter();
    let manual = held.filter(|(_, held)| held.cause == MembershipCause::Manual);
    manual.map(|(id, held)| LeftSegment { id: *id, since: held.since }).collect()
}

/// At an address that nobody confirmed may be a stranger.
fn told(state: &State, customer: &Customer, id: MailId, body: MailBody) -> Option<Event> {
    customer.email_verified_at?;
    let mail = Mail { id, customer_id: customer.id, to: None, body, locale: state.locale() };
    Some(Event::MailQueued(Box::new(mail)))
}

fn active_orders(state: &State, told: Option<usize>) -> usize {
    told.unwrap_or(state.orders.active() as usize)
}

/// All is as it was; whether there is advertising again, the ledger of consents says, where some may have
/// been withdrawn meanwhile. Whoever saw to it signs in anew.
fn cancel(state: &State, mail_id: MailId, context: &Context) -> Decision {
    person(state)?;
    if state.deletions.open(ErasureState::Running).is_some() {
        return Err(Rejection::ErasureBegun);
    }
    let request = state.deletions.open(ErasureState::Scheduled).ok_or(Rejection::NotFound)?;
    let at = context.now;
    let mut events = Vec::new();
    let cancelled = Event::Erasure(ErasureEvent::Cancelled { id: request.id, at });
    let Some(customer) = &state.customer else {
        return decided(vec![cancelled], Answer::Deletion);
    };
    let (from, to) = (customer.status, request.status_before);
    let reason = ReasonCode::deletion_cancelled();
    events.push(Event::StatusChanged { from, to, reason, at });
    events.push(cancelled);
    if state.consents.accepts_marketing() {
        let version = customer.version + 2;
        let switched = ErasureEvent::MarketingSwitched { on: true, version, at };
        events.push(Event::Erasure(switched));
    }
    let all = state.sessions.values().collect();
    events.extend(sessions::revocations(all, RevocationReason::StatusChanged, context).1);
    events.extend(request.segments.iter().filter_map(|left| {
        let code = state.deletions.codes.get(&left.id)?.clone();
        let held = Held { since: left.since, cause: MembershipCause::Manual };
        Some(Event::Membership(MembershipEvent::Joined { segment: left.id, code, held }))
    }));
    events.extend(told(state, customer, mail_id, MailBody::DeletionCancelled));
    decided(events, Answer::Deletion)
}

fn place_hold(state: &State, id: HoldId, reason: &ReasonCode, context: &Context) -> Decision {
    let customer = person(state)?;
    let Actor::Staff(key) = &context.actor else { return Err(Rejection::NotFound) };
    if state.deletions.hold().is_some() {
        return Err(Rejection::LegalHoldExists);
    }
    let hold = LegalHold {
        id,
        customer_id: customer.id,
        reason: reason.clone(),
        placed_by: key.clone(),
        placed_at: context.now,
        released: None,
    };
    decided(vec![Event::Erasure(ErasureEvent::HoldPlaced(hold))], Answer::LegalHold)
}

fn release_hold(state: &State, context: &Context) -> Decision {
    let hold = state.deletions.hold().ok_or(Rejection::NotFound)?;
    let Actor::Staff(key) = &context.actor else { return Err(Rejection::NotFound) };
    let release = Release { by: key.clone(), at: context.now };
    let released = ErasureEvent::HoldReleased { id: hold.id, release };
    decided(vec![Event::Erasure(released)], Answer::Now(Outcome::Done))
}

/// The grace is over. What stands against it then puts it off, and it is looked at again.
fn begin(state: &State, begin: &BeginErasure, context: &Context) -> Decision {
    // Who was erased along with the customer that it became one with goes on: others are still to be told.
    if state.customer.is_none() && state.departed.is_none() {
        return Err(Rejection::NotFound);
    }
    let request = state.deletions.open(ErasureState::Scheduled).ok_or(Rejection::NotFound)?;
    let (id, at) = (request.id, context.now);
    if request.look_at > at {
        return Err(Rejection::NotFound);
    }
    let obstacle = match active_orders(state, begin.active_orders) {
        _ if state.deletions.is_held() => Some(Obstacle::LegalHold),
        0 => None,
        _ => Some(Obstacle::ActiveOrders),
    };
    if let Some(obstacle) = obstacle {
        let put_off = ErasureEvent::PutOff { id, obstacle, at };
        return decided(vec![Event::Erasure(put_off)], Answer::Deletion);
    }
    decided(carry_out(state, request, &begin.steps, begin.policy, context), Answer::Deletion)
}

/// All that is kept here goes, and the other services are told to forget.
fn carry_out(
    state: &State,
    request: &Erasure,
    fresh_steps: &[FreshStep],
    policy: RetryPolicy,
    context: &Context,
) -> Vec<Event> {
    let (id, at) = (request.id, context.now);
    let all = state.sessions.values().collect();
    let mut events = sessions::revocations(all, RevocationReason::StatusChanged, context).1;
    if let Some(customer) = &state.customer {
        let (from, to) = (customer.status, Status::Erased);
        let reason = ReasonCode::deletion_due();
        events.push(Event::StatusChanged { from, to, reason, at });
    }
    let mut commands = 0;
    let mut steps = Vec::new();
    for fresh in fresh_steps {
        let local = fresh.name == StepName::Local;
        let step = Step {
            id: fresh.id,
            name: fresh.name,
            state: if local { StepState::Done } else { StepState::Sent },
            tries: 1,
            message: (!local).then_some(fresh.message),
            last_error: None,
            sent_at: at,
            next_try_at: (!local).then(|| policy.after_silence(1, at)),
            done_at: local.then_some(at),
        };
        if local {
            events.push(Event::Erasure(ErasureEvent::Begun { id, local: step, at }));
        } else {
            commands += 1;
            steps.push(Event::Erasure(ErasureEvent::Commanded {
                erasure: id,
                customer_id: request.customer_id,
                number: request.commands + commands,
                message: fresh.message,
                step,
            }));
        }
    }
    let alone = steps.is_empty();
    events.extend(steps);
    if alone {
        events.push(Event::Erasure(ErasureEvent::Completed { id, at }));
    }
    events
}

/// Commands again what has no answer by now, or all that is not done.
fn resend(
    state: &State,
    id: ErasureId,
    messages: &[MessageId],
    policy: RetryPolicy,
    all: bool,
    context: &Context,
) -> Decision {
    let request = running(state, id)?;
    let now = context.now;
    let due =
        request.steps.iter().filter(|step| step.next_try_at.is_some_and(|at| all || at <= now));
    let mut number = request.commands;
    let events = due.zip(messages).map(|(step, message)| {
        let tries = step.tries.saturating_add(1);
        number += 1;
        let step = Step {
            state: StepState::Sent,
            tries,
            message: Some(*message),
            sent_at: now,
            next_try_at: Some(policy.after_silence(tries, now)),
            ..step.clone()
        };
        Event::Erasure(ErasureEvent::Commanded {
            erasure: id,
            customer_id: request.customer_id,
            number,
            message: *message,
            step,
        })
    });
    decided(events.collect(), Answer::Deletion)
}

/// What is done stays done: a copy of an answer, or one that comes late, changes nothing.
fn answered(
    state: &State,
    id: ErasureId,
    step: StepId,
    answer: &StepAnswer,
    policy: RetryPolicy,
    context: &Context,
) -> Decision {
    let request = running(state, id)?;
    let found = request.step(step).ok_or(Rejection::NotFound)?;
    let (name, at) = (found.name, context.now);
    let mut events = Vec::new();
    match answer {
        _ if found.is_done() => {}
        StepAnswer::Failed(error) => {
            let next_try_at = policy.after_failure(found.tries, at);
            let error = error.clone();
            events.push(ErasureEvent::StepFailed { step, name, error, next_try_at });
        }
        StepAnswer::Done => {
            events.push(ErasureEvent::StepDone { step, name, at });
            if request.steps.iter().all(|other| other.id == step || other.is_done()) {
                events.push(ErasureEvent::Completed { id, at });
            }
        }
    }
    decided(events.into_iter().map(Event::Erasure).collect(), Answer::Now(Outcome::Done))
}

fn running(state: &State, id: ErasureId) -> Result<&Erasure, Rejection> {
    let running = state.deletions.open(ErasureState::Running);
    running.filter(|request| request.id == id).ok_or(Rejection::NotFound)
}

/// By the ledger the customer was erased before, so nothing stands against it. The other services are told
/// as at the first time: whether they forgot, and were not restored themselves, nobody here knows.
fn erase_again(state: &State, again: &EraseAgain, context: &Context) -> Decision {
    let customer = person(state)?;
    let request = match state.deletions.open(ErasureState::Scheduled) {
        Some(request) => request.clone(),
        None => {
            let now = context.now;
            Erasure::scheduled(again.id, customer, Requester::Operator, now, now)
        }
    };
    let carried_out = carry_out(state, &request, &again.steps, again.policy, context);
    let (request, repeats) = (Box::new(request), again.repeats);
    let mut events = vec![Event::Erasure(ErasureEvent::Repeated { request, repeats })];
    events.extend(carried_out);
    decided(events, Answer::Deletion)
}
