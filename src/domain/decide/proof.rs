//! Judging a proof together with its counter: the one place where a credential counts as shown
//! (rules A3, A4).

use super::passkeys;
use super::sign_in::locked;
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::mail::MailBody;
use crate::domain::outcome::Rejection;
use crate::domain::proof::{Proof, ProofRefusal};
use crate::domain::second_factor::notice;
use crate::domain::session::SecretHash;
use crate::domain::state::State;
use crate::domain::throttle::{Guard, Tried};

/// What a proof came to. Its events belong before all others of the command, also where it proves
/// nothing: a wrong try leaves its mark.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    Proven(Vec<Event>),
    Refused(Vec<Event>, ProofRefusal),
}

impl Judgement {
    /// With what else follows where the proof proves something.
    fn followed_by(self, more: impl IntoIterator<Item = Event>) -> Self {
        match self {
            Self::Proven(mut events) => {
                events.extend(more);
                Self::Proven(events)
            }
            refused => refused,
        }
    }
}

/// Judges a proof of the customer in `state`.
///
/// # Errors
/// [`Rejection::NotFound`] where there is no such customer.
pub fn judge(state: &State, proof: &Proof, context: &Context) -> Result<Judgement, Rejection> {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    Ok(match proof {
        Proof::Password { guard, claim, verified_hash } => {
            let bucket = guard.bucket;
            let mut throttle = state.throttle(&bucket);
            if state.password_hash.as_deref() == Some(verified_hash.as_str()) {
                throttle.succeed(*claim);
                Judgement::Proven(vec![Event::AttemptSucceeded { bucket, throttle }])
            } else {
                // Nobody proved to know today's password: nothing is forgotten.
                throttle.release(*claim);
                let events = vec![Event::AttemptReleased { bucket, throttle }];
                Judgement::Refused(events, ProofRefusal::Changed)
            }
        }
        Proof::PhoneCode { guard, hash } => phone_code(state, guard, hash, context)?,
        Proof::Totp { guard, shown } => {
            let totp = state.totp.as_ref().filter(|totp| totp.is_enabled());
            let step = totp.and_then(|totp| totp.accepts(shown));
            let used = step.map(|step| Event::TotpStepUsed { step });
            counted(state, guard, used.is_some(), context).followed_by(used)
        }
        Proof::BackupCode { guard, hash, mail_id } => {
            let known = state.backup_codes.contains_key(hash);
            let left = state.backup_codes.len().saturating_sub(1);
            let used = known.then_some(Event::BackupCodeUsed { hash: *hash, left });
            let mail = notice(state, customer.id, *mail_id, MailBody::BackupCodeUsed { left });
            let told = known.then(|| Event::MailQueued(Box::new(mail)));
            counted(state, guard, known, context).followed_by(used.into_iter().chain(told))
        }
        Proof::Passkey { guard, shown, mail_id } => {
            passkeys::judge(state, guard, *shown, *mail_id, context)
        }
        Proof::RecentSession { session, max_age } => {
            let session = state.sessions.get(session).filter(|s| s.is_live(context.now));
            match session {
                Some(session) if context.now < session.created_at + *max_age => {
                    Judgement::Proven(Vec::new())
                }
                _ => Judgement::Refused(Vec::new(), ProofRefusal::TooOld),
            }
        }
    })
}

/// A code is tried at the number that waits for one; where none waits (used, voided, expired, or tried
/// too often), there is nothing to guess at, and nothing is counted. A lock goes before all that.
fn phone_code(
    state: &State,
    guard: &Guard,
    hash: &SecretHash,
    context: &Context,
) -> Result<Judgement, Rejection> {
    let open = state.phone_confirmation.as_ref().filter(|waiting| waiting.is_open(context.now));
    let right = open.is_some_and(|waiting| waiting.code_hash == *hash);
    let judgement = counted(state, guard, right, context);
    match judgement {
        locked @ Judgement::Refused(_, ProofRefusal::Locked { .. }) => Ok(locked),
        _ if open.is_none() => Err(Rejection::TokenInvalid),
        Judgement::Refused(mut events, refusal) => {
            events.push(Event::PhoneCodeFailed);
            Ok(Judgement::Refused(events, refusal))
        }
        proven => Ok(proven),
    }
}

/// Counts a proof that was looked at without a claim: verifying it takes no time, so that judging
/// and counting are one.
pub fn counted(state: &State, guard: &Guard, right: bool, context: &Context) -> Judgement {
    let Guard { bucket, factor, policy } = *guard;
    let mut throttle = state.throttle(&bucket);
    match throttle.attempt(right, context.now, &policy) {
        Tried::Locked { until } => Judgement::Refused(Vec::new(), ProofRefusal::Locked { until }),
        Tried::Right => Judgement::Proven(vec![Event::AttemptSucceeded { bucket, throttle }]),
        Tried::Wrong { newly_locked } => {
            let mut events = vec![Event::AttemptFailed { bucket, factor, throttle }];
            events.extend(locked(state, factor, newly_locked));
            Judgement::Refused(events, ProofRefusal::Wrong)
        }
    }
}

/// A wrong proof that says nothing of who guesses at it, for it cannot be guessed: it leaves its
/// entry, and the counter as it is. Under a lock it is not looked at, as any other.
pub fn noted(state: &State, guard: &Guard, context: &Context) -> Judgement {
    let Guard { bucket, factor, .. } = *guard;
    let throttle = state.throttle(&bucket);
    match throttle.locked_at(context.now) {
        Some(until) => Judgement::Refused(Vec::new(), ProofRefusal::Locked { until }),
        None => {
            let failed = Event::AttemptFailed { bucket, factor, throttle };
            Judgement::Refused(vec![failed], ProofRefusal::Wrong)
        }
    }
}
