//! Phone numbers: asked for, confirmed by a code, given up (rules A8, L5, L7).
//!
//! Whether a number is another customer's is not told when it is asked for, only to who has shown
//! the code that was sent to it; and that is found when the number is claimed, not here.

use super::proof::{self, Judgement};
use super::sign_in::told_of_lock;
use super::{Answer, Decision, decided, writable};
use crate::domain::command::Context;
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::ids::MailId;
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::phone::PhoneNumber;
use crate::domain::phone_confirmation::{FreshCode, PhoneConfirmation};
use crate::domain::proof::Proof;
use crate::domain::state::State;
use crate::domain::text_message::{TextBody, TextMessage};

/// A code goes to the number; one that waited before waits no more.
pub fn request(
    state: &State,
    phone: &PhoneNumber,
    code: &FreshCode,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    let preferences = state.preferences.as_ref().ok_or(Rejection::NotFound)?;
    if customer.phone_verified_at.is_some() && customer.phone.as_ref() == Some(phone) {
        return Err(Rejection::PhoneAlreadyVerified);
    }
    let waiting = PhoneConfirmation {
        text_id: code.text_id,
        phone: phone.clone(),
        code_hash: code.hash,
        tries: 0,
        created_at: context.now,
        expires_at: code.expires_at,
    };
    let text = TextMessage {
        id: code.text_id,
        customer_id: customer.id,
        body: TextBody::PhoneCode { nonce: code.nonce },
        locale: preferences.locale.clone(),
        expires_at: code.expires_at,
    };
    let events = vec![Event::PhoneRequested(Box::new(waiting)), Event::TextQueued(Box::new(text))];
    decided(events, Answer::Now(Outcome::Done))
}

/// The number becomes the customer's and is verified, in one.
pub fn confirm(state: &State, proof: &Proof, mail_id: MailId, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let mut events = match proof::judge(state, proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(mut events, refusal) => {
            if events.iter().any(|event| matches!(event, Event::SignInLocked { .. })) {
                events.extend(told_of_lock(state, mail_id));
            }
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    // Of the number that the code was sent to and no other: `judge` looked at this very one.
    let waiting = state.phone_confirmation.as_ref().ok_or(Rejection::TokenInvalid)?;
    let phone = waiting.phone.clone();
    if customer.phone.as_ref() != Some(&phone) {
        events.extend(changed(customer, Some(phone.clone()), context));
        events.extend(notice(state, mail_id, MailBody::PhoneChanged));
    }
    events.push(Event::PhoneVerified { phone, at: context.now });
    decided(events, Answer::Customer)
}

/// The number goes, and whatever waits for a code. The e-mail address stays a way to sign in, so
/// there is no last one to keep.
pub fn remove(state: &State, proof: &Proof, mail_id: MailId, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let mut events = match proof::judge(state, proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(events, refusal) => {
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    if state.phone_confirmation.is_some() {
        events.push(Event::PhoneRequestDropped);
    }
    if customer.phone.is_some() {
        events.extend(changed(customer, None, context));
        events.extend(notice(state, mail_id, MailBody::PhoneRemoved));
    }
    decided(events, Answer::Now(Outcome::Done))
}

/// Another number, not verified yet, or none.
fn changed(current: &Customer, phone: Option<PhoneNumber>, context: &Context) -> [Event; 2] {
    let phone_changed = Event::PhoneChanged { from: current.phone.clone(), to: phone.clone() };
    let customer = Customer {
        phone,
        phone_verified_at: None,
        version: current.version + 1,
        updated_at: context.now,
        ..current.clone()
    };
    let changed = vec!["phone".to_owned()];
    [Event::CustomerUpdated { customer: Box::new(customer), changed }, phone_changed]
}

/// The owner hears of every change of a credential, whoever made it.
pub fn notice(state: &State, id: MailId, body: MailBody) -> Option<Event> {
    let customer_id = state.customer.as_ref()?.id;
    let locale = state.preferences.as_ref()?.locale.clone();
    Some(Event::MailQueued(Box::new(Mail { id, customer_id, to: None, body, locale })))
}
