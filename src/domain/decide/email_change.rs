//! Another e-mail address: asked for by its owner, confirmed from the new mailbox, taken back from
//! the old one (rules L5, L7, A8).
//!
//! The old address stays its owner's for as long as the change can be taken back, and the first
//! link back stays good when the address is changed again: who took an account over cannot void it
//! by changing the address twice.

use super::proof::{self, Judgement};
use super::registration::locale;
use super::second_factor::codes_without_factor;
use super::{Answer, Decision, decided, sessions, writable};
use crate::domain::command::{
    ConfirmEmailChange, Context, Letter, RequestEmailChange, UndoEmailChange,
};
use crate::domain::customer::Customer;
use crate::domain::email::EmailAddress;
use crate::domain::event::{EmailChangeCause, Event};
use crate::domain::handle::ADDRESS_HELD;
use crate::domain::ids::MailId;
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::session::{RevocationReason, SecretHash};
use crate::domain::state::State;
use crate::domain::status::Status;
use crate::domain::token::{FreshToken, OneTimeToken, Purpose};
use chrono::{DateTime, Utc};

/// Mails a link to the new address and a notice to the present one. What is decided about the
/// customer is the same whoever has the new address, so that nobody can tell: the letter differs.
/// The present address asked for again changes nothing.
pub fn request(state: &State, request: &RequestEmailChange, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let mut events = match proof::judge(state, &request.proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(events, refusal) => {
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    if is_own(customer, &request.email) {
        return decided(events, Answer::Now(Outcome::Done));
    }
    let token = token(&request.token, Purpose::ChangeEmail, &request.email, context);
    events.push(Event::TokenIssued(Box::new(token)));
    let letter = match request.letter {
        Letter::Confirmation => Some(MailBody::ChangeEmail { nonce: request.token.nonce }),
        Letter::Taken => Some(MailBody::ChangeEmailTaken),
        Letter::None => None,
    };
    let post = Post { state, customer };
    events.extend(letter.map(|body| post.mail(request.letter_id, &request.email, body)));
    let notice = MailBody::ChangeEmailRequested;
    events.push(post.mail(request.notice_id, &customer.email, notice));
    decided(events, Answer::Now(Outcome::Done))
}

/// Consumes the link from the new mailbox: the new address is the customer's, and verified. That
/// nobody else has it is the database's to say, in the same transaction.
pub fn confirm(state: &State, confirm: &ConfirmEmailChange, context: &Context) -> Decision {
    let (customer, new) = by_token(state, &confirm.token_hash, Purpose::ChangeEmail, context)?;
    if customer.status != Status::Active {
        return Err(Rejection::NotActive(customer.status));
    }
    let used = confirm.token_hash;
    let mut events = vec![Event::TokenUsed { hash: used, at: context.now }];
    if is_own(customer, new) {
        return decided(events, Answer::Now(Outcome::Done));
    }
    let old = &customer.email;
    events.extend(replace(customer, new, EmailChangeCause::Confirmed, context));
    // The links of the old mailbox lead nowhere any more; the way back stays open.
    events.extend(void(
        state,
        |token| token.hash != used && token.purpose != Purpose::UndoEmailChange,
        context,
    ));
    let post = Post { state, customer };
    let way_back =
        state.tokens.values().any(|t| t.is_usable(Purpose::UndoEmailChange, context.now));
    let notice = if way_back {
        MailBody::EmailChangedAgain
    } else {
        let undo = token(&confirm.undo, Purpose::UndoEmailChange, old, context);
        events.push(Event::TokenIssued(Box::new(undo)));
        MailBody::EmailChanged { nonce: confirm.undo.nonce }
    };
    events.push(post.mail(confirm.mail_id, old, notice));
    decided(events, Answer::Now(Outcome::Done))
}

/// Consumes the link from the old mailbox: its address is the customer's again, and whoever else
/// was in is out, with all that one may know or have planted. Also of an account that is frozen,
/// for freezing it may have been the thief's doing.
///
/// Nobody can tell a thief from an owner who mistyped. So the password is void in any case: who
/// asked for the change knew it, or was able to set it since. Either chooses another by the link
/// that is mailed here.
pub fn undo(state: &State, undo: &UndoEmailChange, context: &Context) -> Decision {
    let (customer, old) = by_token(state, &undo.token_hash, Purpose::UndoEmailChange, context)?;
    let used = undo.token_hash;
    let mut events = vec![Event::TokenUsed { hash: used, at: context.now }];
    if !is_own(customer, old) {
        events.extend(replace(customer, old, EmailChangeCause::Undone, context));
    }
    events.extend(void(state, |token| token.hash != used, context));
    let all = state.sessions.values().collect();
    let (_, ended) = sessions::revocations(all, RevocationReason::EmailChanged, context);
    events.extend(ended);
    events.extend(state.devices.keys().map(|id| Event::DeviceForgotten { id: *id }));
    events.extend(state.password_hash.as_ref().map(|_| Event::PasswordVoided));
    if let Some(confirmed) = state.tokens.get(&used) {
        events.extend(added_since(state, confirmed.created_at - undo.reach));
    }
    // The reset of a frozen account's password is refused.
    if customer.status != Status::DeletionScheduled {
        let reset = token(&undo.reset, Purpose::ResetPassword, old, context);
        events.push(Event::TokenIssued(Box::new(reset)));
        let body = MailBody::EmailChangeUndone { nonce: undo.reset.nonce };
        events.push(Post { state, customer }.mail(undo.mail_id, old, body));
    }
    decided(events, Answer::Now(Outcome::Done))
}

/// The end of all ways in that were added since then, and of the second factors that would keep the
/// owner out. Older ones are the owner's own.
fn added_since(state: &State, since: DateTime<Utc>) -> Vec<Event> {
    let mut rest = state.clone();
    let mut events = Vec::new();
    let totp = state.totp.as_ref();
    if let Some(totp) = totp.filter(|t| t.confirmed_at.unwrap_or(t.created_at) >= since) {
        events.push(Event::TotpRemoved { enabled: totp.is_enabled() });
        rest.totp = None;
    }
    for passkey in state.passkeys.values().filter(|passkey| passkey.created_at >= since) {
        events.push(Event::PasskeyRemoved { id: passkey.id });
        rest.passkeys.remove(&passkey.id);
    }
    let codes = state.backup_codes.values().any(|issued_at| *issued_at >= since);
    match codes {
        true => events.push(Event::BackupCodesRemoved),
        false => events.extend(codes_without_factor(&rest)),
    }
    let linked = state.identities.values().filter(|identity| identity.linked_at >= since);
    events.extend(
        linked.map(|identity| Event::IdentityUnlinked {
            provider: identity.account.provider.clone(),
        }),
    );
    events
}

/// The customer and the address that a token is about.
fn by_token<'a>(
    state: &'a State,
    hash: &SecretHash,
    purpose: Purpose,
    context: &Context,
) -> Result<(&'a Customer, &'a EmailAddress), Rejection> {
    let customer = state.customer.as_ref().filter(|customer| customer.status != Status::Erased);
    let token = state.tokens.get(hash).filter(|token| token.is_usable(purpose, context.now));
    let email = token.and_then(|token| token.email.as_ref());
    customer.zip(email).ok_or(Rejection::TokenInvalid)
}

fn is_own(customer: &Customer, email: &EmailAddress) -> bool {
    customer.email.canonical() == email.canonical()
}

/// The customer with another address, which somebody proved to read.
fn replace(
    customer: &Customer,
    to: &EmailAddress,
    cause: EmailChangeCause,
    context: &Context,
) -> [Event; 3] {
    let changed = Customer {
        email: to.clone(),
        version: customer.version + 1,
        updated_at: context.now,
        ..customer.clone()
    };
    let held_until = match cause {
        EmailChangeCause::Confirmed => Some(context.now + ADDRESS_HELD),
        // A thief's address is free for whoever has a better right to it.
        EmailChangeCause::Undone => None,
    };
    let (from, to) = (customer.email.clone(), to.clone());
    [
        Event::CustomerUpdated { customer: Box::new(changed), changed: vec!["email".to_owned()] },
        Event::EmailChanged { from, to, cause, held_until },
        Event::EmailVerified { at: context.now },
    ]
}

/// The end of every open token of a kind.
fn void(state: &State, which: impl Fn(&OneTimeToken) -> bool, context: &Context) -> Vec<Event> {
    let open = state.tokens.values().filter(|t| t.used_at.is_none() && t.voided_at.is_none());
    let voided = open.filter(|token| which(token)).map(|token| Event::TokenVoided {
        hash: token.hash,
        purpose: token.purpose,
        at: context.now,
    });
    voided.collect()
}

fn token(
    fresh: &FreshToken,
    purpose: Purpose,
    email: &EmailAddress,
    context: &Context,
) -> OneTimeToken {
    OneTimeToken {
        hash: fresh.hash,
        purpose,
        password_hash: None,
        email: Some(email.clone()),
        created_at: context.now,
        expires_at: fresh.expires_at,
        used_at: None,
        voided_at: None,
    }
}

struct Post<'a> {
    state: &'a State,
    customer: &'a Customer,
}

impl Post<'_> {
    /// To this very address, whichever is the customer's when it is sent.
    fn mail(&self, id: MailId, to: &EmailAddress, body: MailBody) -> Event {
        let (customer_id, locale) = (self.customer.id, locale(self.state));
        Event::MailQueued(Box::new(Mail { id, customer_id, to: Some(to.clone()), body, locale }))
    }
}
