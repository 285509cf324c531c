//! Copies of all that is kept of a customer (rule P3): who may ask for one and how often, and what
//! becomes of it.

use super::proof::{self, Judgement};
use super::{Answer, Decision, decided};
use crate::domain::command::{Actor, Context};
use crate::domain::customer::Customer;
use crate::domain::event::Event;
use crate::domain::ids::PrivacyExportId;
use crate::domain::mail::{Mail, MailBody};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::privacy_export::{
    Asker, ExportEnd, PrivacyExport, PrivacyExportCommand, PrivacyExportEvent,
};
use crate::domain::state::State;
use crate::domain::status::Status;

pub fn decide(state: &State, command: &PrivacyExportCommand, context: &Context) -> Decision {
    match command {
        PrivacyExportCommand::Ask { id, session, proof, per_day } => {
            let events = match proof::judge(state, proof, context)? {
                Judgement::Proven(events) => events,
                Judgement::Refused(events, refusal) => {
                    return decided(events, Answer::Now(Outcome::ProofRefused(refusal)));
                }
            };
            // Only after the proof: who cannot show it learns nothing of what is under way.
            if let Some(free) =
                PrivacyExport::next_at(&state.privacy_exports, *per_day, context.now)
            {
                none_open(state)?;
                let wait_seconds = (free - context.now).num_seconds().max(1);
                return Err(Rejection::ExportLimitReached { per_day: *per_day, wait_seconds });
            }
            ask(state, *id, Asker::Owner { session: *session }, events, context)
        }
        PrivacyExportCommand::AskFor { id } => match &context.actor {
            Actor::Staff(key) => ask(state, *id, Asker::Staff(key.clone()), Vec::new(), context),
            _ => Err(Rejection::NotFound),
        },
        PrivacyExportCommand::Finish { id, attempt, archive, keep, mail_id } => {
            let export = under_way(state, *id, *attempt)?;
            let customer = told(state, context)?;
            let expires_at = context.now + *keep;
            let end = ExportEnd::Ready { at: context.now, expires_at, archive: *archive };
            let export = Box::new(PrivacyExport { end: Some(end), ..export.clone() });
            let archive = *archive;
            let mail = Mail {
                id: *mail_id,
                customer_id: customer.id,
                to: None,
                body: MailBody::ExportReady,
                locale: state.locale(),
            };
            let events = vec![
                Event::PrivacyExport(PrivacyExportEvent::Ready { export, expires_at, archive }),
                Event::MailQueued(Box::new(mail)),
            ];
            decided(events, Answer::PrivacyExport(*id))
        }
        PrivacyExportCommand::GiveUp { id, attempt, fault } => {
            let export = under_way(state, *id, *attempt)?;
            let end = ExportEnd::Failed { at: context.now, fault: *fault };
            let export = Box::new(PrivacyExport { end: Some(end), ..export.clone() });
            let event = PrivacyExportEvent::GivenUp { export, fault: *fault };
            decided(vec![Event::PrivacyExport(event)], Answer::PrivacyExport(*id))
        }
        PrivacyExportCommand::HandOut { id } => hand_out(state, *id, context),
    }
}

/// The customer, to whom all of this is open as long as anything is kept of it: a deletion that is
/// scheduled takes away what may be changed, not what may be known.
fn told<'a>(state: &'a State, context: &Context) -> Result<&'a Customer, Rejection> {
    let customer = state.customer.as_ref().ok_or(Rejection::NotFound)?;
    match (&context.actor, customer.status) {
        (_, Status::Erased) => Err(Rejection::NotFound),
        (Actor::Customer(_), Status::Active | Status::DeletionScheduled) => Ok(customer),
        (Actor::Customer(_), status) => Err(Rejection::NotActive(status)),
        (Actor::Staff(_) | Actor::Operator | Actor::Service | Actor::Anonymous, _) => Ok(customer),
    }
}

fn none_open(state: &State) -> Result<(), Rejection> {
    match state.privacy_exports.values().find(|export| export.is_open()) {
        Some(open) => Err(Rejection::ExportRunning { id: open.id }),
        None => Ok(()),
    }
}

fn ask(
    state: &State,
    id: PrivacyExportId,
    asked_by: Asker,
    mut events: Vec<Event>,
    context: &Context,
) -> Decision {
    told(state, context)?;
    none_open(state)?;
    let export = PrivacyExport {
        id,
        asked_by,
        created_at: context.now,
        attempt: 0,
        end: None,
        downloaded_at: None,
    };
    events.push(Event::PrivacyExport(PrivacyExportEvent::Asked(Box::new(export))));
    decided(events, Answer::PrivacyExport(id))
}

/// The export that somebody is at, unless another has begun it anew.
fn under_way(
    state: &State,
    id: PrivacyExportId,
    attempt: i32,
) -> Result<&PrivacyExport, Rejection> {
    let export = state.privacy_exports.get(&id).ok_or(Rejection::NotFound)?;
    if export.is_open() && export.attempt == attempt {
        Ok(export)
    } else {
        Err(Rejection::Conflict)
    }
}

fn hand_out(state: &State, id: PrivacyExportId, context: &Context) -> Decision {
    told(state, context)?;
    let export = state.privacy_exports.get(&id).ok_or(Rejection::NotFound)?;
    match &export.end {
        None | Some(ExportEnd::Failed { .. }) => Err(Rejection::ExportNotReady),
        Some(ExportEnd::Ready { expires_at, .. }) if *expires_at <= context.now => {
            Err(Rejection::ExportExpired)
        }
        Some(ExportEnd::Ready { .. }) => {
            let downloaded_at = Some(context.now);
            let export = Box::new(PrivacyExport { downloaded_at, ..export.clone() });
            let event = PrivacyExportEvent::HandedOut(export);
            decided(vec![Event::PrivacyExport(event)], Answer::PrivacyExport(id))
        }
    }
}
