//! Another password: by a link from a mail, or by its owner who knows the old one (rules A1, A8).
//! Whoever knew the old one is out: sessions end, devices are known no more, links are void.

use super::proof::{self, Judgement};
use super::{Answer, Decision, decided, sessions, writable};
use crate::domain::command::{ChangePassword, Context, ResetPassword};
use crate::domain::credential::PasswordHash;
use crate::domain::customer::Customer;
use crate::domain::event::{Event, PasswordCause};
use crate::domain::ids::{DeviceId, MailId, SessionId};
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::session::{RevocationReason, SecretHash};
use crate::domain::state::State;
use crate::domain::status::{ReasonCode, Status};
use crate::domain::token::{FreshToken, OneTimeToken, Purpose};

/// Sends a link that leads to a new password; voids the older one. An account whose deletion is
/// scheduled gets nothing: a refusal would tell a stranger that it is known.
pub fn request_reset(
    state: &State,
    mail_id: MailId,
    token: &FreshToken,
    context: &Context,
) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    if is_frozen(customer) {
        return decided(Vec::new(), Answer::Now(Outcome::Done));
    }
    let issued = OneTimeToken {
        hash: token.hash,
        purpose: Purpose::ResetPassword,
        password_hash: None,
        email: Some(customer.email.clone()),
        created_at: context.now,
        expires_at: token.expires_at,
        used_at: None,
        voided_at: None,
    };
    let body = MailBody::ResetPassword { nonce: token.nonce };
    let events = vec![Event::TokenIssued(Box::new(issued)), mail(state, customer, mail_id, body)];
    decided(events, Answer::Now(Outcome::Done))
}

/// Consumes the link. Who opened it reads the customer's mailbox, so that the address counts as
/// verified; it does not sign in, and lifts no status but that of who waits for its verification.
pub fn reset(state: &State, reset: &ResetPassword, context: &Context) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::TokenInvalid)?;
    let token = state.tokens.get(&reset.token_hash).ok_or(Rejection::TokenInvalid)?;
    // A mailbox that was the customer's once resets nothing.
    let mailbox = token.email.as_ref().map(|email| email.canonical());
    let is_own = mailbox == Some(customer.email.canonical());
    if !token.is_usable(Purpose::ResetPassword, context.now) || !is_own || is_frozen(customer) {
        return Err(Rejection::TokenInvalid);
    }
    let mut events = vec![Event::TokenUsed { hash: reset.token_hash, at: context.now }];
    if customer.email_verified_at.is_none() {
        events.push(Event::EmailVerified { at: context.now });
    }
    if customer.status == Status::Pending {
        events.push(Event::StatusChanged {
            from: Status::Pending,
            to: Status::Active,
            reason: ReasonCode::email_verified(),
            at: context.now,
        });
    }
    let cause = PasswordCause::Reset;
    replace(state, &reset.password_hash, cause, Some(reset.token_hash), context, &mut events);
    events.extend(shut_out(state, None, context));
    let locked = reset.buckets.iter().copied().filter(|bucket| {
        let throttle = state.throttle(bucket);
        throttle != throttle.unlocked()
    });
    let buckets: Vec<_> = locked.collect();
    if !buckets.is_empty() {
        events.push(Event::Unlocked { buckets });
    }
    events.push(mail(state, customer, reset.mail_id, MailBody::PasswordChanged));
    decided(events, Answer::Now(Outcome::Done))
}

/// Changes the password of who is signed in and proves to know the old one. The session that asks
/// goes on, and so does its device.
pub fn change(state: &State, change: &ChangePassword, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let mut events = match proof::judge(state, &change.proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(events, refusal) => {
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    let cause = PasswordCause::Change;
    replace(state, &change.password_hash, cause, None, context, &mut events);
    events.extend(shut_out(state, Some(change.keep), context));
    events.push(mail(state, customer, change.mail_id, MailBody::PasswordChanged));
    decided(events, Answer::Now(Outcome::Done))
}

/// The new password, and the end of every link that somebody who knew the old one may have asked
/// for: to another password, to another address. The way back to the old address stays open.
fn replace(
    state: &State,
    hash: &PasswordHash,
    cause: PasswordCause,
    used: Option<SecretHash>,
    context: &Context,
    events: &mut Vec<Event>,
) {
    events.push(Event::PasswordChanged { hash: hash.clone(), cause });
    let open = state.tokens.values().filter(|token| {
        let is_open = token.used_at.is_none() && token.voided_at.is_none();
        is_open && Some(token.hash) != used && token.purpose != Purpose::UndoEmailChange
    });
    events.extend(open.map(|token| Event::TokenVoided {
        hash: token.hash,
        purpose: token.purpose,
        at: context.now,
    }));
}

/// Ends every session and forgets every device, but the session named and its device.
fn shut_out(state: &State, keep: Option<SessionId>, context: &Context) -> Vec<Event> {
    let kept = keep.and_then(|id| state.sessions.get(&id));
    let device: Option<DeviceId> = kept.and_then(|session| session.device_id);
    let others = state.sessions.values().filter(|session| Some(session.id) != keep).collect();
    let (_, mut events) = sessions::revocations(others, RevocationReason::PasswordChanged, context);
    let devices = state.devices.keys().filter(|id| Some(**id) != device);
    events.extend(devices.map(|id| Event::DeviceForgotten { id: *id }));
    events
}

/// Until the grace of a deletion is over nothing changes; after it there is nobody.
fn is_frozen(customer: &Customer) -> bool {
    matches!(customer.status, Status::DeletionScheduled | Status::Erased)
}

fn mail(state: &State, customer: &Customer, id: MailId, body: MailBody) -> Event {
    let locale = super::registration::locale(state);
    Event::MailQueued(Box::new(Mail { id, customer_id: customer.id, to: None, body, locale }))
}
