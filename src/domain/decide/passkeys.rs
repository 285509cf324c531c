//! Passkeys: made, named, removed, and signed in with. Whether a signature is true was found out
//! before; whose it is, whether its challenge is still good and whether its counter rose is decided
//! here, under the locks.

use super::proof::{self, Judgement};
use super::second_factor::codes_without_factor;
use super::ways::ways_in;
use super::{Answer, Decision, check_version, decided, flows, sign_in, writable};
use crate::domain::command::Context;
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::ids::{MailId, PasskeyId};
use crate::domain::mail::MailBody;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::passkey::{AddPasskey, Asserted, PasskeyChange, SignInByPasskey};
use crate::domain::proof::{Proof, ProofRefusal};
use crate::domain::second_factor::notice;
use crate::domain::session::{SignInMethod, SignedInBy};
use crate::domain::state::State;
use crate::domain::throttle::Guard;

/// Begins the registration of a passkey.
pub fn begin(
    state: &State,
    proof: &Proof,
    flow: &Flow,
    limit: usize,
    context: &Context,
) -> Decision {
    writable(state, context)?;
    room(state, limit)?;
    proven(state, proof, context, |events| {
        events.push(Event::FlowOpened(Box::new(flow.clone())));
        Answer::Now(Outcome::Done)
    })
}

/// Keeps a passkey that its authenticator has proven to hold.
pub fn add(state: &State, add: &AddPasskey, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let flow = flows::usable(state, FlowKind::PasskeyRegistration, context)?;
    if flow.customer_id != Some(customer.id) {
        return Err(Rejection::FlowInvalid);
    }
    room(state, add.limit)?;
    let passkey = &add.passkey;
    if state.passkeys.values().any(|known| known.credential_id == passkey.credential_id) {
        return Err(Rejection::PasskeyKnown);
    }
    let events = vec![
        Event::FlowUsed { at: context.now },
        Event::PasskeyAdded(Box::new(passkey.clone())),
        mail(state, customer, add.mail_id, MailBody::PasskeyAdded),
    ];
    decided(events, Answer::Passkey(passkey.id))
}

/// Changes what its owner may change. Whether it is asked for after a password is a matter of
/// security and takes a proof; a name does not.
pub fn change(state: &State, change: &PasskeyChange, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let passkey = state.passkeys.get(&change.id).ok_or(Rejection::NotFound)?;
    check_version(change.if_match, passkey.version)?;
    let renamed = change.name.as_ref().filter(|name| **name != passkey.name);
    let switched = change.second_factor.filter(|asked| *asked != passkey.second_factor);
    let mut events = match (&change.proof, switched) {
        (None, Some(_)) => return decided(Vec::new(), refused(ProofRefusal::TooOld)),
        (Some(proof), _) => match proof::judge(state, proof, context)? {
            Judgement::Proven(events) => events,
            Judgement::Refused(events, refusal) => return decided(events, refused(refusal)),
        },
        (None, None) => Vec::new(),
    };
    if renamed.is_some() || switched.is_some() {
        let mut changed = passkey.clone();
        changed.name = renamed.unwrap_or(&passkey.name).clone();
        changed.second_factor = switched.unwrap_or(passkey.second_factor);
        changed.version += 1;
        events.push(Event::PasskeyChanged { passkey: Box::new(changed), switched });
    }
    if let Some(on) = switched {
        let body = match on {
            true => MailBody::PasskeyRequired,
            false => MailBody::PasskeyNotRequired,
        };
        events.push(mail(state, customer, change.mail_id, body));
        let mut rest = state.clone();
        if let Some(passkey) = rest.passkeys.get_mut(&change.id) {
            passkey.second_factor = on;
        }
        events.extend(codes_without_factor(&rest));
    }
    decided(events, Answer::Passkey(change.id))
}

/// Removes a passkey. The last way to sign in stays.
pub fn remove(
    state: &State,
    id: PasskeyId,
    proof: &Proof,
    mail_id: MailId,
    if_match: Option<i64>,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    let passkey = state.passkeys.get(&id).ok_or(Rejection::NotFound)?;
    check_version(if_match, passkey.version)?;
    if ways_in(state) < 2 {
        return Err(Rejection::LastSignInMethod);
    }
    proven(state, proof, context, |events| {
        events.push(Event::PasskeyRemoved { id });
        let mut rest = state.clone();
        rest.passkeys.remove(&id);
        events.extend(codes_without_factor(&rest));
        events.push(mail(state, customer, mail_id, MailBody::PasskeyRemoved));
        Answer::Now(Outcome::Done)
    })
}

/// Signs in with nothing but a passkey: two factors in one, so no second one is asked for. The
/// challenge is used up by whatever answers it.
pub fn enter(state: &State, attempt: &SignInByPasskey, context: &Context) -> Decision {
    flows::usable(state, FlowKind::PasskeySignIn, context)?;
    let customer = state.customer.as_ref().ok_or(Rejection::FlowInvalid)?;
    let mut events = vec![Event::FlowUsed { at: context.now }];
    match proof::judge(state, &attempt.proof, context)? {
        Judgement::Proven(more) => events.extend(more),
        Judgement::Refused(more, refusal) => {
            events.extend(more);
            return decided(events, refused(refusal));
        }
    }
    let how = SignedInBy { method: SignInMethod::Passkey, second_factor: None };
    sign_in::enter(state, customer, how, &attempt.session, context, events)
}

/// Judges a signature together with its counter. `None`: it was found to be untrue.
///
/// Whoever knows a passkey's name can send an untrue signature, and nobody can guess a true one:
/// that counts against no owner, who could else be locked out by strangers. The challenge is used
/// up all the same, and each address has its budget. What is counted is what only a holder of the
/// key can make: a true signature out of its turn.
///
/// A counter that did not rise is refused and told, yet the passkey stays usable: whoever holds
/// either copy made a true signature, so disabling it would turn the owner away with the thief,
/// and authenticators that answer twice at once look the same (WebAuthn Level 3, 6.1.1). The stored
/// count stays too, so that the copy that is behind stays refused.
pub fn judge(
    state: &State,
    guard: &Guard,
    asserted: Option<Asserted>,
    mail_id: MailId,
    context: &Context,
) -> Judgement {
    let shown = asserted.and_then(|shown| Some((shown, state.passkeys.get(&shown.passkey)?)));
    let Some((shown, passkey)) = shown else { return proof::noted(state, guard, context) };
    let mut judgement = proof::counted(state, guard, passkey.may_follow(shown.counter), context);
    match &mut judgement {
        Judgement::Proven(events) => events.push(Event::PasskeyUsed {
            id: shown.passkey,
            counter: shown.counter,
            backed_up: shown.backed_up,
            at: context.now,
        }),
        // Under a lock nothing is looked at, so nothing is told either.
        Judgement::Refused(events, ProofRefusal::Wrong) => {
            events.push(Event::PasskeySuspected { id: shown.passkey });
            if let Some(customer) = &state.customer {
                events.push(mail(state, customer, mail_id, MailBody::PasskeySuspected));
            }
        }
        Judgement::Refused(..) => {}
    }
    judgement
}

fn room(state: &State, limit: usize) -> Result<(), Rejection> {
    if state.passkeys.len() < limit {
        Ok(())
    } else {
        Err(Rejection::PasskeyLimitReached { limit })
    }
}

/// Judges the proof, and adds what follows where it proves something.
fn proven(
    state: &State,
    proof: &Proof,
    context: &Context,
    then: impl FnOnce(&mut Vec<Event>) -> Answer,
) -> Decision {
    match proof::judge(state, proof, context)? {
        Judgement::Proven(mut events) => {
            let answer = then(&mut events);
            decided(events, answer)
        }
        Judgement::Refused(events, refusal) => decided(events, refused(refusal)),
    }
}

fn refused(refusal: ProofRefusal) -> Answer {
    Answer::Now(Outcome::ProofRefused(refusal))
}

fn mail(state: &State, customer: &Customer, id: MailId, body: MailBody) -> Event {
    Event::MailQueued(Box::new(notice(state, customer.id, id, body)))
}
