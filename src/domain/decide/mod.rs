//! From a state and a command to what happens: the only place where rules are decided.
//!
//! One file a subject. A refusal that changes nothing is a [`Rejection`]; a refusal that leaves a
//! mark (a failed attempt, a reused token) is an [`Outcome`] with events.

mod addresses;
pub mod attributes;
mod consents;
mod deletions;
mod email_change;
mod flows;
mod groups;
mod identities;
mod imports;
mod lifecycle;
mod memberships;
mod merge;
mod notes;
mod orders;
mod passkeys;
mod passwords;
mod phone;
mod privacy_exports;
mod proof;
mod record;
mod registration;
mod second_factor;
pub mod segments;
mod sessions;
mod sign_in;
mod tags;
#[cfg(test)]
mod tests;
pub mod ways;
mod wishlists;

use super::command::{Actor, Command, Context};
use super::consent::{Purpose, PurposeConsents};
use super::customer::Customer;
use super::event::Event;
use super::outcome::{Outcome, Rejection};
use super::state::State;
use super::status::Status;

/// What a command came to.
pub type Decision = Result<Decided, Rejection>;

/// Events to apply in order, and the answer. Where the answer shows the state, it shows the state
/// after the events: it is made by [`Answer`] once they are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub events: Vec<Event>,
    /// Of the customer that was merged, before those of the one that goes on.
    pub of_other: Vec<Event>,
    pub answer: Answer,
}

impl Decided {
    /// About the customer of the command alone.
    fn new(events: Vec<Event>, answer: Answer) -> Self {
        Self { events, of_other: Vec::new(), answer }
    }
}

/// What to answer once the events are applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Now(Outcome),
    Customer,
    Profile,
    Preferences,
    Address(super::ids::AddressId),
    /// The account at this provider.
    Identity {
        provider: String,
    },
    SignedIn {
        session: super::ids::SessionId,
        evicted: Vec<super::ids::SessionId>,
    },
    Passkey(super::ids::PasskeyId),
    Consents(Purpose),
    Wishlist(wishlists::Shown),
    Note(super::ids::NoteId),
    PrivacyExport(super::ids::PrivacyExportId),
    /// The one that the command names.
    Group,
    /// The definition of this key.
    Attribute(super::attribute::AttributeKey),
    /// The segment of this code.
    Segment(super::segment::record::SegmentCode),
    Refreshed(super::ids::SessionId),
    /// The deletion that was asked for.
    Deletion,
    LegalHold,
}

impl Answer {
    /// The outcome, read off the evolved state.
    pub fn outcome(self, state: &State) -> Outcome {
        let missing = Outcome::Done;
        match self {
            Self::Now(outcome) => outcome,
            Self::Customer => {
                state.customer.clone().map_or(missing, |c| Outcome::Customer(Box::new(c)))
            }
            Self::Profile => {
                state.profile.clone().map_or(missing, |p| Outcome::Profile(Box::new(p)))
            }
            Self::Preferences => {
                state.preferences.clone().map_or(missing, |p| Outcome::Preferences(Box::new(p)))
            }
            Self::Address(id) => {
                state.addresses.get(&id).map_or(missing, |a| Outcome::Address(Box::new(a.clone())))
            }
            Self::Identity { provider } => {
                let identity = state.identities.get(&provider);
                identity.map_or(missing, |i| Outcome::Identity(Box::new(i.clone())))
            }
            Self::Passkey(id) => {
                state.passkeys.get(&id).map_or(missing, |p| Outcome::Passkey(Box::new(p.clone())))
            }
            Self::Consents(purpose) => {
                Outcome::Consents(Box::new(PurposeConsents::of(&state.consents, &purpose)))
            }
            Self::Wishlist(shown) => {
                let answer = shown.read(&state.wishlists);
                answer.map_or(missing, |answer| Outcome::Wishlist(Box::new(answer)))
            }
            Self::Note(id) => {
                let note = state.notes.named.get(&id);
                note.map_or(missing, |note| Outcome::Note(Box::new(note.clone())))
            }
            Self::PrivacyExport(id) => {
                let export = state.privacy_exports.get(&id);
                export.map_or(missing, |one| Outcome::PrivacyExport(Box::new(one.clone())))
            }
            Self::Group => {
                let group =
                    state.group.clone().map(|standing| Outcome::Group(Box::new(standing.group)));
                group.unwrap_or(missing)
            }
            Self::Attribute(key) => {
                let standing = state.attributes.named.get(&key);
                let definition = standing.map(|standing| standing.definition.clone());
                definition.map_or(missing, |one| Outcome::Attribute(Box::new(one)))
            }
            Self::Segment(code) => {
                let segment = state.segments.get(&code).cloned();
                segment.map_or(missing, |one| Outcome::Segment(Box::new(one)))
            }
            Self::SignedIn { session, evicted } => {
                match (state.sessions.get(&session), &state.customer) {
                    (Some(session), Some(customer)) => {
                        Outcome::SignedIn(Box::new(super::outcome::SignedIn {
                            session: session.clone(),
                            customer: customer.clone(),
                            evicted,
                        }))
                    }
                    _ => missing,
                }
            }
            Self::Deletion => {
                let request = state.deletions.request.clone();
                request.map_or(missing, |one| Outcome::Deletion(Box::new(one)))
            }
            Self::LegalHold => {
                let hold = state.deletions.hold.clone();
                hold.map_or(missing, |one| Outcome::LegalHold(Box::new(one)))
            }
            Self::Refreshed(id) => match (state.sessions.get(&id), &state.customer) {
                (Some(session), Some(customer)) => Outcome::Refreshed {
                    session: Box::new(session.clone()),
                    status: customer.status,
                },
                _ => missing,
            },
        }
    }
}

/// Decides one command. Pure: the same arguments give the same decision.
///
/// # Errors
/// A [`Rejection`]; the state is to be left as it is.
pub fn decide(state: &State, command: &Command, context: &Context) -> Decision {
    match command {
        Command::Register(register) => registration::register(state, register, context),
        Command::RemindOfAccount { mail_id, token, password_hash } => {
            registration::remind(state, *mail_id, token, password_hash, context)
        }
        Command::CreateByStaff(create) => registration::create_by_staff(state, create, context),
        Command::Import(import) => imports::import(state, import, context),
        Command::VerifyEmail { token_hash, session } => {
            registration::verify_email(state, token_hash, session, context)
        }
        Command::ResendVerification { mail_id, token } => {
            registration::resend(state, *mail_id, token, context)
        }
        Command::RequestPasswordReset { mail_id, token } => {
            passwords::request_reset(state, *mail_id, token, context)
        }
        Command::ResetPassword(reset) => passwords::reset(state, reset, context),
        Command::ChangePassword(change) => passwords::change(state, change, context),
        Command::RequestEmailChange(request) => email_change::request(state, request, context),
        Command::ConfirmEmailChange(confirm) => email_change::confirm(state, confirm, context),
        Command::UndoEmailChange(undo) => email_change::undo(state, undo, context),
        Command::ClaimAttempt { guard, claim } => Ok(sign_in::claim(state, guard, *claim, context)),
        Command::FailAttempt { guard, claim } => Ok(sign_in::fail(state, guard, *claim, context)),
        Command::ReleaseAttempt { bucket, claim } => Ok(sign_in::release(state, *bucket, *claim)),
        Command::AnswerChallenge(answer) => second_factor::answer_challenge(state, answer, context),
        Command::StartTotp { proof, secret } => {
            second_factor::start_totp(state, proof, secret, context)
        }
        Command::ConfirmTotp { shown, codes, mail_id } => {
            second_factor::confirm_totp(state, shown, codes, *mail_id, context)
        }
        Command::RemoveTotp { proof, mail_id } => {
            second_factor::remove_totp(state, proof, *mail_id, context)
        }
        Command::RenewBackupCodes { proof, codes, mail_id } => {
            second_factor::renew_backup_codes(state, proof, codes, *mail_id, context)
        }
        Command::ResetFactors { mail_id } => second_factor::reset(state, *mail_id, context),
        Command::RegisterByIdentity(new) => registration::register_by_identity(state, new, context),
        Command::SignInByIdentity(sign_in) => identities::sign_in(state, sign_in, context),
        Command::BeginLinking { proof, flow } => identities::begin(state, proof, flow, context),
        Command::LinkIdentity { account, mail_id } => {
            identities::link(state, account, *mail_id, context)
        }
        Command::UnlinkIdentity { provider, proof, mail_id } => {
            identities::unlink(state, provider, proof, *mail_id, context)
        }
        Command::OpenFlow { flow } => flows::open(state, flow),
        Command::TakeFlow { kind, .. } => flows::take(state, *kind, context),
        Command::SignIn(sign_in) => sign_in::sign_in(state, sign_in, context),
        Command::Refresh { session_id, presented, child, policy } => {
            sessions::refresh(state, *session_id, presented, child, policy, context)
        }
        Command::SignOut { session_id } => sessions::sign_out(state, *session_id, context),
        Command::RevokeSession { session_id } => sessions::revoke(state, *session_id, context),
        Command::RevokeAllSessions => sessions::revoke_every(state, context),
        Command::RevokeOtherSessions { keep } => sessions::revoke_others(state, *keep, context),
        Command::UpdateCustomer { change, if_match } => {
            record::update_customer(state, change, *if_match, context)
        }
        Command::UpdateProfile { change, if_match } => {
            record::update_profile(state, change, *if_match, context)
        }
        Command::UpdatePreferences { change, if_match } => {
            record::update_preferences(state, change, *if_match, context)
        }
        Command::AddAddress { id, fields, defaults, limits } => {
            addresses::add(state, *id, fields, defaults, *limits, context)
        }
        Command::ChangeAddress { id, change, if_match } => {
            addresses::change(state, *id, change, *if_match, context)
        }
        Command::DeleteAddress { id, if_match } => {
            addresses::delete(state, *id, *if_match, context)
        }
        Command::SetDefaultAddress { id, kind, if_match } => {
            addresses::set_default(state, *id, *kind, *if_match, context)
        }
        Command::RequestPhone { phone, code } => phone::request(state, phone, code, context),
        Command::ConfirmPhone { proof, mail_id } => phone::confirm(state, proof, *mail_id, context),
        Command::RemovePhone { proof, mail_id } => phone::remove(state, proof, *mail_id, context),
        Command::BeginPasskey { proof, flow, limit } => {
            passkeys::begin(state, proof, flow, *limit, context)
        }
        Command::AddPasskey(add) => passkeys::add(state, add, context),
        Command::ChangePasskey(change) => passkeys::change(state, change, context),
        Command::RemovePasskey { id, proof, mail_id, if_match } => {
            passkeys::remove(state, *id, proof, *mail_id, *if_match, context)
        }
        Command::SignInByPasskey(sign_in) => passkeys::enter(state, sign_in, context),
        Command::Wishlist(command) => wishlists::decide(state, command, context),
        Command::MoveStatus { to, reason } => lifecycle::move_status(state, *to, reason, context),
        Command::Tag(command) => tags::decide(state, command, context),
        Command::Note(command) => notes::decide(state, command, context),
        Command::Order(command) => orders::decide(state, command, context),
        Command::PrivacyExport(command) => privacy_exports::decide(state, command, context),
        Command::Consent(command) => consents::declare(state, command, context),
        Command::Group(command) => groups::decide(state, command, context),
        Command::Attribute(command) => attributes::decide(state, command, context),
        Command::Segment(command) => segments::decide(state, command, context),
        Command::Membership(command) => memberships::decide(state, command, context),
        Command::DeleteCustomer { if_match } => lifecycle::delete(state, *if_match, context),
        Command::Deletion(command) => deletions::decide(state, command, context),
        Command::Merge(command) => merge::merge(state, command, context),
        Command::Unlock { buckets } => lifecycle::unlock(state, buckets),
    }
}

/// The customer, for a command that may act on it: staff on any living one, an owner only while
/// its account is active.
fn writable<'a>(state: &'a State, context: &Context) -> Result<&'a Customer, Rejection> {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    match (&context.actor, customer.status) {
        (_, Status::Erased) => Err(Rejection::NotFound),
        (Actor::Customer(_), Status::Active) => Ok(customer),
        (Actor::Customer(_), status) => Err(Rejection::NotActive(status)),
        // Until its grace is over, nobody changes what may be restored or erased (rule P1).
        (_, Status::DeletionScheduled) => Err(Rejection::NotActive(Status::DeletionScheduled)),
        (Actor::Staff(_) | Actor::Operator | Actor::Service | Actor::Anonymous, _) => Ok(customer),
    }
}

fn check_version(if_match: Option<i64>, version: i64) -> Result<(), Rejection> {
    match if_match {
        Some(expected) if expected != version => Err(Rejection::VersionMismatch),
        _ => Ok(()),
    }
}

fn decided(events: Vec<Event>, answer: Answer) -> Decision {
    Ok(Decided::new(events, answer))
}
