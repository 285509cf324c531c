//! Signing in by an account at an identity provider, linking one and unlinking it (rule A10).
//!
//! That the account is somebody's own was checked before; whose it is here, and whether it may be
//! linked, is decided on the locked rows, and that nobody else has it by the table of handles.

use super::proof::{self, Judgement};
use super::registration::locale;
use super::ways::ways_in;
use super::{Answer, Decision, decided, sign_in, writable};
use crate::domain::command::{Context, SignInByIdentity, SignInMethod};
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::flow::Flow;
use crate::domain::identity::{Account, Identity};
use crate::domain::ids::MailId;
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection, SignInRefusal};
use crate::domain::proof::Proof;
use crate::domain::state::State;
use crate::domain::status::Status;

/// Signs in whose account it is, whatever its address is by now. An account that is nobody's yet
/// is linked first where both sides have verified the same address: whoever controls it could take
/// over either. Otherwise its owner has to sign in here and link it.
pub fn sign_in(state: &State, sign_in: &SignInByIdentity, context: &Context) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let mut events = Vec::new();
    if !is_linked(state, &sign_in.account) {
        let verified = customer.email_verified_at.and(sign_in.verified_email.as_ref());
        let same = verified.is_some_and(|email| email.canonical() == customer.email.canonical());
        if !same || state.identities.contains_key(&sign_in.account.provider) {
            return Err(Rejection::LinkRequired);
        }
        // nor is one changed whose deletion is scheduled
        if customer.status == Status::DeletionScheduled {
            let refusal = SignInRefusal::DeletionScheduled;
            events.push(Event::SignInRefused { refusal });
            return decided(events, Answer::Now(Outcome::SignInRefused(refusal)));
        }
        // an account that may not sign in is not changed either
        if let Some(refusal) = sign_in::refusal(customer.status, true) {
            events.push(Event::SignInRefused { refusal });
            return decided(events, Answer::Now(Outcome::SignInRefused(refusal)));
        }
        events.push(linked(&sign_in.account, context));
        events.push(told(state, customer, sign_in.mail_id, MailBody::IdentityLinked));
    }
    let challenge = sign_in.challenge.as_ref();
    sign_in::complete(state, SignInMethod::Social, &sign_in.session, challenge, context, events)
}

/// Begins the linking of an account: by it one signs in from then on, so its owner shows first who
/// it is.
pub fn begin(state: &State, proof: &Proof, flow: &Flow, context: &Context) -> Decision {
    writable(state, context)?;
    match proof::judge(state, proof, context)? {
        Judgement::Proven(mut events) => {
            events.push(Event::FlowOpened(Box::new(flow.clone())));
            decided(events, Answer::Now(Outcome::Done))
        }
        Judgement::Refused(events, refusal) => {
            decided(events, Answer::Now(Outcome::ProofRefused(refusal)))
        }
    }
}

/// Links an account to its signed-in owner, who began it. The same one again changes nothing.
pub fn link(state: &State, account: &Account, mail_id: MailId, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    if is_linked(state, account) {
        return decided(Vec::new(), Answer::Identity { provider: account.provider.clone() });
    }
    if state.identities.contains_key(&account.provider) {
        return Err(Rejection::ProviderLinked);
    }
    let told = told(state, customer, mail_id, MailBody::IdentityLinked);
    let answer = Answer::Identity { provider: account.provider.clone() };
    decided(vec![linked(account, context), told], answer)
}

/// Unlinks the account at a provider, unless nobody could sign in any more.
pub fn unlink(
    state: &State,
    provider: &str,
    proof: &Proof,
    mail_id: MailId,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    let mut events = match proof::judge(state, proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(events, refusal) => {
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    if !state.identities.contains_key(provider) {
        return Err(Rejection::NotFound);
    }
    if ways_in(state) <= 1 {
        return Err(Rejection::LastSignInMethod);
    }
    events.push(Event::IdentityUnlinked { provider: provider.to_owned() });
    events.push(told(state, customer, mail_id, MailBody::IdentityUnlinked));
    decided(events, Answer::Now(Outcome::Done))
}

fn is_linked(state: &State, account: &Account) -> bool {
    state.handles.get(&account.handle()).is_some_and(Option::is_none)
}

pub fn linked(account: &Account, context: &Context) -> Event {
    let identity = Identity { account: account.clone(), linked_at: context.now };
    Event::IdentityLinked(Box::new(identity))
}

fn told(state: &State, customer: &Customer, id: MailId, body: MailBody) -> Event {
    let mail = Mail { id, customer_id: customer.id, to: None, body, locale: locale(state) };
    Event::MailQueued(Box::new(mail))
}
