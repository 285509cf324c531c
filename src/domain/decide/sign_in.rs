//! Signing in (rules A3, A6, A7): attempts are claimed, settled, and end in a session.

use super::proof::{self, Judgement};
use super::{Answer, Decided, Decision, decided};
use crate::domain::command::{
    Context, FreshChallenge, FreshSession, SessionDevice, SignIn, SignInMethod,
};
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::ids::{ClaimId, MailId};
use crate::domain::mail::MailBody;
use crate::domain::outcome::{Outcome, Rejection, SignInRefusal};
use crate::domain::proof::ProofRefusal;
use crate::domain::second_factor::{notice, offered};
use crate::domain::session::{DEVICES_MAX, RevocationReason, SESSIONS_MAX, Session, SignedInBy};
use crate::domain::state::State;
use crate::domain::status::Status;
use crate::domain::throttle::{Bucket, Factor, Guard};
use chrono::{DateTime, Utc};

pub fn claim(state: &State, guard: &Guard, id: ClaimId, context: &Context) -> Decided {
    let before = state.throttle(&guard.bucket);
    let mut throttle = before.clone();
    let admission = throttle.claim(id, context.now, &guard.policy);
    let mut events = Vec::new();
    if throttle != before {
        // Tries whose process died count as failures once somebody looks: they may lock just now.
        let until = throttle.locked_until.filter(|_| throttle.locks > before.locks);
        events.push(Event::AttemptClaimed { bucket: guard.bucket, throttle });
        events.extend(locked(state, guard.factor, until));
        events.extend(until.and_then(|_| told_of_lock(state, MailId(id.0))));
    }
    Decided::new(events, Answer::Now(Outcome::Admission(admission)))
}

/// A wrong password. For a known customer it is an entry, and a lock is a message.
pub fn fail(state: &State, guard: &Guard, id: ClaimId, context: &Context) -> Decided {
    let Guard { bucket, factor, policy } = *guard;
    let mut throttle = state.throttle(&bucket);
    let newly_locked = throttle.fail(id, context.now, &policy);
    let locked_until = throttle.locked_until;
    let mut events = vec![Event::AttemptFailed { bucket, factor, throttle }];
    events.extend(locked(state, factor, newly_locked));
    // The id of the claim that locks is the mail's as well: there is no other mail about it.
    events.extend(newly_locked.and_then(|_| told_of_lock(state, MailId(id.0))));
    Decided::new(events, Answer::Now(Outcome::AttemptFailed { locked_until }))
}

/// An attempt that nobody verified: its claim is given back and nothing else changes.
pub fn release(state: &State, bucket: Bucket, id: ClaimId) -> Decided {
    let mut throttle = state.throttle(&bucket);
    let released = throttle.release(id);
    let events =
        if released { vec![Event::AttemptReleased { bucket, throttle }] } else { Vec::new() };
    Decided::new(events, Answer::Now(Outcome::Done))
}

/// A new lock is told of a known customer only; of nobody there is nothing to tell.
pub fn locked(state: &State, factor: Factor, until: Option<DateTime<Utc>>) -> Option<Event> {
    state.customer.as_ref()?;
    Some(Event::SignInLocked { factor, until: until? })
}

/// The owner hears of a lock. Not at an address that nobody confirmed: it may be a stranger's.
pub fn told_of_lock(state: &State, id: MailId) -> Option<Event> {
    let customer = state.customer.as_ref().filter(|known| known.email_verified_at.is_some())?;
    let mail = notice(state, customer.id, id, MailBody::SignInLocked);
    Some(Event::MailQueued(Box::new(mail)))
}

/// A right password: the claim is given back whatever follows.
pub fn sign_in(state: &State, sign_in: &SignIn, context: &Context) -> Decision {
    let mut events = match proof::judge(state, &sign_in.proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(mut events, ProofRefusal::Changed) => {
            let refusal = SignInRefusal::PasswordChanged;
            events.push(Event::SignInRefused { refusal });
            return decided(events, Answer::Now(Outcome::SignInRefused(refusal)));
        }
        Judgement::Refused(events, refusal) => {
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    // The challenge, if there is one, is bound to the hash that the password then has.
    let enters = state.customer.as_ref().is_some_and(|customer| refused(customer).is_none());
    let goes_on = enters || !offered(state, None).is_empty();
    let rehash = sign_in.rehash.iter().filter(|_| goes_on);
    events.extend(rehash.map(|hash| Event::PasswordRehashed { hash: hash.clone() }));
    let challenge = sign_in.challenge.as_ref();
    complete(state, SignInMethod::Password, &sign_in.session, challenge, context, events)
}

/// What follows a right first factor, whichever it was (rule A6): the second factor is asked for
/// where there is one, then the status is looked at, then the address; then the session is open.
///
/// Without `challenge` (none could be made) nobody with a second factor gets any further.
pub fn complete(
    state: &State,
    method: SignInMethod,
    session: &FreshSession,
    challenge: Option<&FreshChallenge>,
    context: &Context,
    mut events: Vec<Event>,
) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let methods = offered(state, None);
    if !methods.is_empty() {
        let challenge = challenge.ok_or(Rejection::Conflict)?;
        let flow = Flow {
            hash: challenge.hash,
            kind: FlowKind::SecondFactor,
            customer_id: Some(customer.id),
            payload: challenge.payload.clone(),
            created_at: context.now,
            expires_at: challenge.expires_at,
            failures: 0,
            used_at: None,
        };
        events.push(Event::SecondFactorAsked { methods: methods.clone() });
        events.push(Event::FlowOpened(Box::new(flow)));
        let passkeys = state.passkeys.values().map(|passkey| passkey.credential.clone()).collect();
        let required = Outcome::SecondFactorRequired { passkeys, methods };
        return decided(events, Answer::Now(required));
    }
    let how = SignedInBy { method, second_factor: None };
    enter(state, customer, how, session, context, events)
}

/// All factors were shown: opens the session, unless status or address forbid it.
pub fn enter(
    state: &State,
    customer: &Customer,
    how: SignedInBy,
    session: &FreshSession,
    context: &Context,
    mut events: Vec<Event>,
) -> Decision {
    if let Some(refusal) = refused(customer) {
        events.push(Event::SignInRefused { refusal });
        return decided(events, Answer::Now(Outcome::SignInRefused(refusal)));
    }
    let answer = open_session(state, session, how, context, &mut events);
    decided(events, answer)
}

fn refused(customer: &Customer) -> Option<SignInRefusal> {
    refusal(customer.status, customer.email_verified_at.is_some())
}

/// Whether an account in this state may have a session: status first, then the address (rule A6).
pub fn refusal(status: Status, email_verified: bool) -> Option<SignInRefusal> {
    match status {
        Status::Suspended => Some(SignInRefusal::Suspended),
        Status::Inactive | Status::Erased => Some(SignInRefusal::Inactive),
        Status::Pending => Some(SignInRefusal::EmailUnverified),
        Status::Active | Status::DeletionScheduled if !email_verified => {
            Some(SignInRefusal::EmailUnverified)
        }
        // Within the grace of a deletion the session is for looking at it and cancelling it alone.
        Status::Active | Status::DeletionScheduled => None,
    }
}

/// Appends the events that open a session, making room where a customer has too many.
pub fn open_session(
    state: &State,
    fresh: &FreshSession,
    how: SignedInBy,
    context: &Context,
    events: &mut Vec<Event>,
) -> Answer {
    let device_id = match &fresh.device {
        // Forgotten since its token was looked at: the session then belongs to no device.
        SessionDevice::Known(id) => state.devices.contains_key(id).then_some(*id),
        SessionDevice::New(device) => {
            if state.devices.len() >= DEVICES_MAX {
                let oldest = state.devices.values().min_by_key(|device| device.last_used_at);
                events.extend(oldest.map(|device| Event::DeviceForgotten { id: device.id }));
            }
            events.push(Event::DeviceRemembered(Box::new(device.clone())));
            // The first device is the owner's own. The mail has the id of the session it tells of.
            if let (Some(customer), false) = (&state.customer, state.devices.is_empty()) {
                let mail = notice(state, customer.id, MailId(fresh.id.0), MailBody::NewDevice);
                events.push(Event::MailQueued(Box::new(mail)));
            }
            Some(device.id)
        }
    };
    let evicted = make_room(state, context, events);
    let absolute_expires_at = context.now + fresh.policy.absolute;
    let session = Session {
        id: fresh.id,
        method: how.method,
        second_factor: how.second_factor,
        client: fresh.client.clone(),
        device_id,
        refresh_hash: fresh.refresh_hash,
        generation: 0,
        previous_hash: None,
        rotated_at: None,
        created_at: context.now,
        last_seen_at: context.now,
        expires_at: (context.now + fresh.policy.sliding).min(absolute_expires_at),
        absolute_expires_at,
        revoked_at: None,
    };
    events.push(Event::SignedIn { session: Box::new(session) });
    Answer::SignedIn { session: fresh.id, evicted }
}

fn make_room(
    state: &State,
    context: &Context,
    events: &mut Vec<Event>,
) -> Vec<crate::domain::ids::SessionId> {
    let mut live: Vec<_> = state.sessions.values().filter(|s| s.is_live(context.now)).collect();
    live.sort_by_key(|session| session.last_seen_at);
    let surplus = (live.len() + 1).saturating_sub(SESSIONS_MAX);
    let evicted: Vec<_> = live.iter().take(surplus).map(|session| session.id).collect();
    events.extend(evicted.iter().map(|id| Event::SessionRevoked {
        id: *id,
        reason: RevocationReason::TooManySessions,
        at: context.now,
    }));
    evicted
}
