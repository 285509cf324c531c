//! Signing in by an account at an identity provider, linking one and unlinking it (rule A10).
//!
//! That the account is somebody's own was checked before; whose it is here, and whether it may be
//! linked, is decided on the locked rows, and that nobody else has it by the table of handles.

use super::proof::{self, Judgement};
use super::registration::{fresh, locale};
use super::ways::ways_in;
use super::{Answer, Decision, decided, sign_in, writable};
use crate::domain::command::{Context, RegisterByIdentity, SignInByIdentity, SignInMethod};
use crate::domain::customer::{Customer, CustomerType, Tags};
use crate::domain::event::{Created, Event, Source};
use crate::domain::identity::{Account, Identity};
use crate::domain::ids::MailId;
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::preferences::Preferences;
use crate::domain::profile::Profile;
use crate::domain::proof::Proof;
use crate::domain::session::SignedInBy;
use crate::domain::state::State;
use crate::domain::status::Status;

/// A new customer, active at once: the provider has verified the address. It has no password.
pub fn register(state: &State, new: &RegisterByIdentity, context: &Context) -> Decision {
    let id = fresh(state, new.id)?;
    let customer = Customer {
        id,
        email: new.email.clone(),
        email_verified_at: None,
        phone: None,
        phone_verified_at: None,
        first_name: new.first_name.clone(),
        last_name: new.last_name.clone(),
        customer_type: CustomerType::Individual,
        group: new.group.clone(),
        status: Status::Active,
        status_before_deletion: None,
        tags: Tags::default(),
        accepts_marketing: false,
        last_sign_in_at: None,
        created_at: context.now,
        updated_at: context.now,
        version: 1,
        sequence: 0,
    };
    let preferences = Preferences {
        locale: new.locale.clone(),
        timezone: new.timezone.clone(),
        currency: new.currency.clone(),
        channels: Default::default(),
        topics: Default::default(),
        custom: Default::default(),
        version: 1,
    };
    let created = Created {
        customer,
        profile: Profile { version: 1, ..Default::default() },
        preferences,
        password_hash: None,
        source: Source::Identity,
    };
    let mail = Mail {
        id: new.mail_id,
        customer_id: id,
        to: None,
        body: MailBody::IdentityWelcome,
        locale: new.locale.clone(),
    };
    let mut events = vec![
        Event::Created(Box::new(created)),
        Event::EmailVerified { at: context.now },
        linked(&new.account, context),
        Event::MailQueued(Box::new(mail)),
    ];
    let how = SignedInBy { method: SignInMethod::Social, second_factor: None };
    let answer = sign_in::open_session(state, &new.session, how, context, &mut events);
    decided(events, answer)
}

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

/// Links an account to its signed-in owner. The same one again changes nothing.
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

fn linked(account: &Account, context: &Context) -> Event {
    let identity = Identity { account: account.clone(), linked_at: context.now };
    Event::IdentityLinked(Box::new(identity))
}

fn told(state: &State, customer: &Customer, id: MailId, body: MailBody) -> Event {
    let mail = Mail { id, customer_id: customer.id, to: None, body, locale: locale(state) };
    Event::MailQueued(Box::new(mail))
}
