//! Second factors (rule A9): setting up an authenticator, backup codes, taking factors away, and
//! the second step of a sign-in.

use super::proof::{self, Judgement};
use super::{Answer, Decision, decided, flows, sign_in, writable};
use crate::domain::command::{AnswerChallenge, Context, SealedSecret};
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::fault::Fault;
use crate::domain::flow::FlowKind;
use crate::domain::ids::MailId;
use crate::domain::mail::MailBody;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::proof::{Proof, ProofRefusal};
use crate::domain::second_factor::{CHALLENGE_TRIES, ShownCode, Totp, notice, offered};
use crate::domain::session::{RevocationReason, SecondFactor, SecretHash, SignedInBy};
use crate::domain::state::State;
use crate::domain::throttle::Factor;

/// Keeps an authenticator that is being handed out. One that waits for its first code is replaced.
/// The first one takes a proof too: a thief of the session could else lock its owner out by it.
pub fn start_totp(
    state: &State,
    proof: &Proof,
    secret: &SealedSecret,
    context: &Context,
) -> Decision {
    writable(state, context)?;
    if state.totp.as_ref().is_some_and(Totp::is_enabled) {
        return Err(Rejection::FactorEnabled);
    }
    let totp = Totp {
        secret: secret.0.clone(),
        created_at: context.now,
        confirmed_at: None,
        last_step: None,
    };
    let started = Event::TotpStarted(Box::new(totp));
    proven(state, proof, None, context, |events| events.push(started))
}

/// The first valid code: from now on signing in asks for one. Its step is used up.
pub fn confirm_totp(
    state: &State,
    shown: &ShownCode,
    codes: &[SecretHash],
    mail_id: MailId,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    let totp = state.totp.as_ref().ok_or(Rejection::FactorNotStarted)?;
    if totp.is_enabled() {
        return Err(Rejection::FactorEnabled);
    }
    if !totp.is_pending(context.now) {
        return Err(Rejection::FactorNotStarted);
    }
    let step = totp.accepts(shown).ok_or_else(|| Rejection::Invalid {
        pointer: "#/code",
        fault: Fault::new("wrong_code", "is not what the authenticator shows at present"),
    })?;
    let mut events = vec![
        Event::TotpEnabled { step, at: context.now },
        Event::BackupCodesIssued { hashes: codes.to_vec(), at: context.now },
    ];
    events.push(mail(state, customer, mail_id, MailBody::TotpEnabled));
    decided(events, Answer::Now(Outcome::Done))
}

/// Takes the authenticator away, and with the last second factor its backup codes.
pub fn remove_totp(state: &State, proof: &Proof, mail_id: MailId, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    let enabled = state.totp.as_ref().ok_or(Rejection::FactorNotFound)?.is_enabled();
    proven(state, proof, Some(mail_id), context, |events| {
        events.push(Event::TotpRemoved { enabled });
        let rest = State { totp: None, ..state.clone() };
        events.extend(codes_without_factor(&rest));
        if enabled {
            events.push(mail(state, customer, mail_id, MailBody::TotpRemoved));
        }
    })
}

/// A new set of backup codes; the old one is void.
pub fn renew_backup_codes(
    state: &State,
    proof: &Proof,
    codes: &[SecretHash],
    mail_id: MailId,
    context: &Context,
) -> Decision {
    let customer = writable(state, context)?;
    if offered(state, None).is_empty() {
        return Err(Rejection::NoSecondFactor);
    }
    proven(state, proof, Some(mail_id), context, |events| {
        events.push(Event::BackupCodesIssued { hashes: codes.to_vec(), at: context.now });
        events.push(mail(state, customer, mail_id, MailBody::BackupCodesRenewed));
    })
}

/// Staff takes all second factors away, for an owner that lost them, and ends every session: who
/// holds one may be why. Without any factor nothing happens.
pub fn reset(state: &State, mail_id: MailId, context: &Context) -> Decision {
    let customer = writable(state, context)?;
    if state.totp.is_none() && state.backup_codes.is_empty() && state.passkeys.is_empty() {
        return decided(Vec::new(), Answer::Now(Outcome::Done));
    }
    let mut events = Vec::new();
    if let Some(totp) = &state.totp {
        events.push(Event::TotpRemoved { enabled: totp.is_enabled() });
    }
    if !state.backup_codes.is_empty() {
        events.push(Event::BackupCodesRemoved);
    }
    events.extend(state.passkeys.keys().map(|id| Event::PasskeyRemoved { id: *id }));
    events.push(Event::FactorsReset);
    let live = state.sessions.values().filter(|session| session.is_live(context.now));
    events.extend(live.map(|session| Event::SessionRevoked {
        id: session.id,
        reason: RevocationReason::FactorsReset,
        at: context.now,
    }));
    events.push(mail(state, customer, mail_id, MailBody::FactorsReset));
    decided(events, Answer::Now(Outcome::Done))
}

/// The second step of a sign-in. The challenge is finished by the first right answer, or given up
/// with the last wrong one; what could have changed since the first step is judged anew.
pub fn answer_challenge(state: &State, answer: &AnswerChallenge, context: &Context) -> Decision {
    let flow = flows::usable(state, FlowKind::SecondFactor, context)?;
    let customer = state.customer.as_ref().ok_or(Rejection::FlowInvalid)?;
    let methods = offered(state, Some(flow.created_at));
    let asked = match answer.shown {
        SecondFactor::BackupCode => !methods.is_empty(),
        factor => methods.contains(&factor),
    };
    let same_password = answer
        .first
        .password
        .as_ref()
        .is_none_or(|verified| state.password_hash.as_deref() == Some(verified.as_str()));
    if flow.customer_id != Some(customer.id) || !asked || !same_password {
        return Err(Rejection::FlowInvalid);
    }
    let mut events = match proof::judge(state, &answer.proof, context)? {
        Judgement::Proven(events) => events,
        Judgement::Refused(mut events, refusal) => {
            if refusal == ProofRefusal::Wrong {
                events.push(Event::FlowFailed);
                if flow.failures + 1 >= CHALLENGE_TRIES {
                    events.push(Event::FlowUsed { at: context.now });
                }
            }
            tell_of_lock(state, customer, answer.mail_id, &mut events);
            return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
        }
    };
    events.push(Event::FlowUsed { at: context.now });
    let how = SignedInBy { method: answer.first.method, second_factor: Some(answer.shown) };
    sign_in::enter(state, customer, how, &answer.session, context, events)
}

/// Backup codes stand in for a second factor: where the last one goes, they go too.
pub fn codes_without_factor(rest: &State) -> Option<Event> {
    let none = offered(rest, None).is_empty();
    (none && !rest.backup_codes.is_empty()).then_some(Event::BackupCodesRemoved)
}

/// Judges the proof, and adds what follows from it where it proves something. With a mail the owner
/// is told of a lock.
fn proven(
    state: &State,
    proof: &Proof,
    mail_id: Option<MailId>,
    context: &Context,
    then: impl FnOnce(&mut Vec<Event>),
) -> Decision {
    match proof::judge(state, proof, context)? {
        Judgement::Proven(mut events) => {
            then(&mut events);
            decided(events, Answer::Now(Outcome::Done))
        }
        Judgement::Refused(mut events, refusal) => {
            if let (Some(id), Some(customer)) = (mail_id, &state.customer) {
                tell_of_lock(state, customer, id, &mut events);
            }
            decided(events, Answer::Now(Outcome::ProofRefused(refusal)))
        }
    }
}

/// Who guesses at a second factor knows the password already, or holds a session: its owner should
/// know.
fn tell_of_lock(state: &State, customer: &Customer, id: MailId, events: &mut Vec<Event>) {
    let of_second_factor = |event: &Event| {
        matches!(event, Event::SignInLocked { factor: Factor::Totp | Factor::BackupCode, .. })
    };
    if events.iter().any(of_second_factor) {
        events.push(mail(state, customer, id, MailBody::SecondFactorLocked));
    }
}

fn mail(state: &State, customer: &Customer, id: MailId, body: MailBody) -> Event {
    Event::MailQueued(Box::new(notice(state, customer.id, id, body)))
}
