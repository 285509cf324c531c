//! Coming to be a customer (rules L1, L5, L7): registration, creation by staff, confirmation of the
//! address.

use super::{Answer, Decision, consents, decided, identities, sign_in};
use crate::domain::command::{
    Context, CreateByStaff, FreshSession, Register, RegisterByIdentity, SignInMethod,
};
use crate::domain::consent;
use crate::domain::credential::PasswordHash;
use crate::domain::customer::{Customer, CustomerType, Tags};
use crate::domain::event::{Created, Event, Source};
use crate::domain::ids::{CustomerId, MailId};
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection, SignInRefusal};
use crate::domain::place::Locale;
use crate::domain::preferences::Preferences;
use crate::domain::profile::Profile;
use crate::domain::second_factor::offered;
use crate::domain::session::{SecretHash, SignedInBy};
use crate::domain::state::State;
use crate::domain::status::{ReasonCode, Status};
use crate::domain::token::{FreshToken, OneTimeToken, Purpose};

/// Self-registration. That the address is free is the database's to say, in the same transaction.
pub fn register(state: &State, register: &Register, context: &Context) -> Decision {
    let id = fresh(state, register.id)?;
    let customer = Customer {
        id,
        email: register.email.clone(),
        email_verified_at: None,
        phone: register.phone.clone(),
        phone_verified_at: None,
        first_name: register.first_name.clone(),
        last_name: register.last_name.clone(),
        customer_type: register.customer_type,
        group: register.group.clone(),
        status: Status::Pending,
        status_before_deletion: None,
        tags: Tags::default(),
        // what the ledger says, which the entries below begin
        accepts_marketing: false,
        last_sign_in_at: None,
        created_at: context.now,
        updated_at: context.now,
        version: 1,
        sequence: 0,
    };
    let preferences = Preferences {
        locale: register.locale.clone(),
        timezone: register.timezone.clone(),
        currency: register.currency.clone(),
        channels: Default::default(),
        topics: Default::default(),
        custom: Default::default(),
        version: 1,
    };
    let mut events = vec![Event::Created(Box::new(Created {
        customer,
        profile: Profile { version: 1, ..Default::default() },
        preferences,
        password_hash: Some(register.password_hash.clone()),
        source: Source::Registration,
    }))];
    let (terms, by) = (register.marketing.as_ref(), consent::Source::of(&context.actor));
    events.extend(consents::at_creation(terms, &register.locale, by, context));
    let body = MailBody::VerifyEmail { nonce: register.token.nonce };
    events.extend(verification(
        id,
        register.mail_id,
        &register.token,
        None,
        body,
        &register.locale,
        context,
    ));
    decided(events, Answer::Now(Outcome::Done))
}

/// Creation by staff: active at once; the address counts as verified only when its owner says so.
pub fn create_by_staff(state: &State, create: &CreateByStaff, context: &Context) -> Decision {
    let id = fresh(state, create.id)?;
    let customer = Customer {
        id,
        email: create.email.clone(),
        email_verified_at: None,
        phone: create.phone.clone(),
        phone_verified_at: None,
        first_name: create.first_name.clone(),
        last_name: create.last_name.clone(),
        customer_type: create.customer_type,
        group: create.group.clone(),
        status: Status::Active,
        status_before_deletion: None,
        tags: create.tags.clone(),
        // as above
        accepts_marketing: false,
        last_sign_in_at: None,
        created_at: context.now,
        updated_at: context.now,
        version: 1,
        sequence: 0,
    };
    let preferences = Preferences {
        locale: create.locale.clone(),
        timezone: create.timezone.clone(),
        currency: create.currency.clone(),
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
        source: Source::Staff,
    };
    let mut events = vec![Event::Created(Box::new(created))];
    let (terms, by) = (create.marketing.as_ref(), consent::Source::of(&context.actor));
    events.extend(consents::at_creation(terms, &create.locale, by, context));
    decided(events, Answer::Customer)
}

/// A new customer, active at once: the provider has verified the address. It has no password.
pub fn register_by_identity(
    state: &State,
    new: &RegisterByIdentity,
    context: &Context,
) -> Decision {
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
        identities::linked(&new.account, context),
        Event::MailQueued(Box::new(mail)),
    ];
    let how = SignedInBy { method: SignInMethod::Social, second_factor: None };
    let answer = sign_in::open_session(state, &new.session, how, context, &mut events);
    decided(events, answer)
}

/// Tells the owner of an account that somebody registered its address again. An account that still
/// waits for its confirmation gets a fresh link with it, which brings the password of this
/// registration: else a stranger who registered the address first would keep one that works.
pub fn remind(
    state: &State,
    mail_id: MailId,
    token: &FreshToken,
    password_hash: &PasswordHash,
    context: &Context,
) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let locale = locale(state);
    let events = if customer.email_verified_at.is_none()
        && matches!(customer.status, Status::Pending | Status::Active)
    {
        let body = MailBody::AlreadyRegisteredPending { nonce: token.nonce };
        let password = Some(password_hash.as_str().to_owned());
        verification(customer.id, mail_id, token, password, body, &locale, context)
    } else {
        let mail = Mail {
            id: mail_id,
            customer_id: customer.id,
            to: None,
            body: MailBody::AlreadyRegistered,
            locale,
        };
        vec![Event::MailQueued(Box::new(mail))]
    };
    decided(events, Answer::Now(Outcome::Done))
}

/// Sends the confirmation again; voids the older link. An address already confirmed gets nothing,
/// nor does one whose deletion is scheduled: a refusal would tell a stranger that it is known.
pub fn resend(state: &State, mail_id: MailId, token: &FreshToken, context: &Context) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    let frozen = matches!(customer.status, Status::DeletionScheduled | Status::Erased);
    if frozen || customer.email_verified_at.is_some() {
        return decided(Vec::new(), Answer::Now(Outcome::Done));
    }
    let body = MailBody::VerifyEmail { nonce: token.nonce };
    // The link that is void now hands on the password it would have brought.
    let password = state.tokens.values().find_map(|older| older.password_hash.clone());
    let locale = locale(state);
    let events = verification(customer.id, mail_id, token, password, body, &locale, context);
    decided(events, Answer::Now(Outcome::Done))
}

/// Consumes the token, verifies the address, activates a pending account and signs in (rule L7).
pub fn verify_email(
    state: &State,
    hash: &SecretHash,
    session: &FreshSession,
    context: &Context,
) -> Decision {
    let customer = state.customer.as_ref().ok_or(Rejection::TokenInvalid)?;
    let token = state.tokens.get(hash).ok_or(Rejection::TokenInvalid)?;
    // It opens the first session; who has a second factor is long past that, and asked for it.
    let guarded = !offered(state, None).is_empty();
    if guarded || !token.is_usable(Purpose::VerifyEmail, context.now) {
        return Err(Rejection::TokenInvalid);
    }
    // Until the grace of a deletion is over nothing changes: the link is still good if it is
    // cancelled, where a used one would leave a pending account that no mail can activate.
    if customer.status == Status::DeletionScheduled {
        let refusal = SignInRefusal::DeletionScheduled;
        let events = vec![Event::SignInRefused { refusal }];
        return decided(events, Answer::Now(Outcome::SignInRefused(refusal)));
    }
    let mut events = vec![Event::TokenUsed { hash: *hash, at: context.now }];
    if customer.email_verified_at.is_none() {
        events.push(Event::EmailVerified { at: context.now });
        if let Some(hash) = &token.password_hash {
            events.push(Event::PasswordChosen { hash: PasswordHash::new(hash) });
        }
    }
    let status = if customer.status == Status::Pending {
        events.push(Event::StatusChanged {
            from: Status::Pending,
            to: Status::Active,
            reason: ReasonCode::email_verified(),
            at: context.now,
        });
        Status::Active
    } else {
        customer.status
    };
    if let Some(refusal) = sign_in::refusal(status, true) {
        events.push(Event::SignInRefused { refusal });
        return decided(events, Answer::Now(Outcome::SignInRefused(refusal)));
    }
    let answer = sign_in::open_session(
        state,
        session,
        SignedInBy { method: SignInMethod::EmailVerification, second_factor: None },
        context,
        &mut events,
    );
    decided(events, answer)
}

pub(super) fn fresh(state: &State, id: CustomerId) -> Result<CustomerId, Rejection> {
    // A customer under a fresh id would be a collision of random numbers.
    if state.customer.is_none() && state.departed.is_none() {
        Ok(id)
    } else {
        Err(Rejection::Conflict)
    }
}

pub(super) fn locale(state: &State) -> Locale {
    state.locale()
}

fn verification(
    customer_id: CustomerId,
    mail_id: MailId,
    token: &FreshToken,
    password_hash: Option<String>,
    body: MailBody,
    locale: &Locale,
    context: &Context,
) -> Vec<Event> {
    let issued = OneTimeToken {
        hash: token.hash,
        purpose: Purpose::VerifyEmail,
        password_hash,
        email: None,
        created_at: context.now,
        expires_at: token.expires_at,
        used_at: None,
        voided_at: None,
    };
    let mail = Mail { id: mail_id, customer_id, to: None, body, locale: locale.clone() };
    vec![Event::TokenIssued(Box::new(issued)), Event::MailQueued(Box::new(mail))]
}
