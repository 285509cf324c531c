//! What happens on the way of a deletion: how each event changes the state, what others are told of
//! it, and what the audit trail keeps.

use super::Trace;
use crate::domain::customer::Customer;
use crate::domain::erasure::{
    Erasure, ErasureState, LegalHold, Obstacle, PUT_OFF, Release, Step, StepName, StepState,
};
use crate::domain::ids::{CustomerId, ErasureId, HoldId, MessageId, StepId};
use crate::domain::message::*;
use crate::domain::state::State;
use crate::domain::status::Status;
use chrono::{DateTime, Utc};
use serde_json::json;

#[derive(Debug, Clone, PartialEq)]
pub enum ErasureEvent {
    Requested(Box<Erasure>),
    /// The grace ends now.
    Hastened {
        id: ErasureId,
        at: DateTime<Utc>,
    },
    Cancelled {
        id: ErasureId,
        at: DateTime<Utc>,
    },
    /// While a deletion is scheduled there is no advertising, whatever was consented to.
    MarketingSwitched {
        on: bool,
        version: i64,
        at: DateTime<Utc>,
    },
    HoldPlaced(LegalHold),
    HoldReleased {
        id: HoldId,
        release: Release,
    },
    /// It is due, and something stands against it.
    PutOff {
        id: ErasureId,
        obstacle: Obstacle,
        at: DateTime<Utc>,
    },
    /// All that was kept is gone with the transaction of this event.
    Begun {
        id: ErasureId,
        local: Step,
        at: DateTime<Utc>,
    },
    /// Another service is told to forget.
    Commanded {
        erasure: ErasureId,
        customer_id: CustomerId,
        /// Its number among the commands of this erasure.
        number: i64,
        message: MessageId,
        step: Step,
    },
    StepFailed {
        step: StepId,
        name: StepName,
        error: String,
        next_try_at: DateTime<Utc>,
    },
    StepDone {
        step: StepId,
        name: StepName,
        at: DateTime<Utc>,
    },
    Completed {
        id: ErasureId,
        at: DateTime<Utc>,
    },
    /// Who was erased before came back with a backup, and is to be erased at once.
    Repeated {
        request: Box<Erasure>,
        /// The erasure of before, as the ledger names it.
        repeats: ErasureId,
    },
}

impl ErasureEvent {
    /// Which erasure takes all that is kept of the customer along, and when.
    pub fn erases(&self) -> Option<(ErasureId, DateTime<Utc>)> {
        match self {
            Self::Begun { id, at, .. } => Some((*id, *at)),
            _ => None,
        }
    }

    /// A command is about its erasure, in the order of its commands.
    pub fn place(&self) -> Option<(ErasureId, i64)> {
        match self {
            Self::Commanded { erasure, number, .. } => Some((*erasure, *number)),
            _ => None,
        }
    }

    /// The id of its message, where that is known before.
    pub fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Commanded { message, .. } => Some(*message),
            _ => None,
        }
    }

    pub(in crate::domain) fn apply(&self, state: &mut State) {
        let deletions = &mut state.deletions;
        match self {
            Self::Requested(erasure) => deletions.request = Some((**erasure).clone()),
            Self::Hastened { at, .. } => {
                change(deletions.request.as_mut(), |request| {
                    (request.due_at, request.look_at) = (*at, *at);
                });
            }
            Self::Cancelled { at, .. } => change(deletions.request.as_mut(), |request| {
                request.state = ErasureState::Cancelled;
                request.cancelled_at = Some(*at);
                request.put_off = None;
            }),
            Self::MarketingSwitched { on, at, .. } => {
                if let Some(customer) = &mut state.customer {
                    customer.accepts_marketing = *on;
                    touch(customer, *at);
                }
            }
            Self::HoldPlaced(hold) => deletions.hold = Some(hold.clone()),
            Self::HoldReleased { release, .. } => {
                change(deletions.hold.as_mut(), |hold| hold.released = Some(release.clone()));
                let scheduled = deletions.request.as_mut();
                let scheduled = scheduled.filter(|it| it.state == ErasureState::Scheduled);
                change(scheduled, |request| {
                    request.look_at = request.due_at.max(release.at);
                });
            }
            Self::PutOff { obstacle, at, .. } => change(deletions.request.as_mut(), |request| {
                request.look_at = *at + PUT_OFF;
                request.put_off = Some(*obstacle);
            }),
            Self::Begun { local, at, .. } => {
                change(deletions.request.as_mut(), |request| {
                    request.state = ErasureState::Running;
                    request.started_at = Some(*at);
                    forget(request);
                    request.steps.push(local.clone());
                });
                depart(state, *at);
            }
            Self::Commanded { step, number, .. } => {
                change(deletions.request.as_mut(), |request| {
                    request.commands = *number;
                    match request.steps.iter_mut().find(|known| known.id == step.id) {
                        Some(known) => *known = step.clone(),
                        None => request.steps.push(step.clone()),
                    }
                });
            }
            Self::StepFailed { step, error, next_try_at, .. } => {
                change(find(deletions.request.as_mut(), *step), |step| {
                    step.state = StepState::Failed;
                    step.last_error = Some(error.clone());
                    step.next_try_at = Some(*next_try_at);
                });
            }
            Self::StepDone { step, at, .. } => {
                change(find(deletions.request.as_mut(), *step), |step| {
                    step.state = StepState::Done;
                    (step.next_try_at, step.done_at) = (None, Some(*at));
                });
            }
            Self::Completed { at, .. } => change(deletions.request.as_mut(), |request| {
                request.state = ErasureState::Completed;
                request.completed_at = Some(*at);
            }),
            Self::Repeated { request, .. } => deletions.request = Some((**request).clone()),
        }
    }

    pub(in crate::domain) fn message(&self, customer_id: CustomerId) -> Option<Message> {
        Some(match self {
            Self::Requested(erasure) => DeletionRequested {
                customer_id,
                erasure_id: erasure.id,
                requested_by: (&erasure.requested_by).into(),
                due_at: erasure.due_at,
            }
            .into(),
            Self::Cancelled { id, .. } => DeletionCancelled { customer_id, erasure_id: *id }.into(),
            Self::Begun { id, .. } => ErasureStarted { customer_id, erasure_id: *id }.into(),
            Self::Completed { id, .. } => ErasureCompleted { customer_id, erasure_id: *id }.into(),
            Self::MarketingSwitched { version, .. } => {
                let changed = ["accepts_marketing".to_owned()];
                let changed = changed.as_slice().into();
                CustomerUpdated { customer_id, changed, version: *version }.into()
            }
            Self::Commanded { erasure, customer_id, step, .. } => {
                return command(step, *erasure, *customer_id);
            }
            Self::Hastened { .. }
            | Self::HoldPlaced(_)
            | Self::HoldReleased { .. }
            | Self::PutOff { .. }
            | Self::StepFailed { .. }
            | Self::StepDone { .. }
            | Self::Repeated { .. } => return None,
        })
    }

    pub(in crate::domain) fn trace(&self) -> Trace {
        let trace = |action, data| Trace { action, data };
        match self {
            Self::Requested(erasure) => trace(
                "privacy.deletion_requested",
                json!({ "erasure_id": erasure.id, "due_at": erasure.due_at }),
            ),
            Self::Hastened { id, .. } => {
                trace("privacy.deletion_hastened", json!({ "erasure_id": id }))
            }
            Self::Cancelled { id, .. } => {
                trace("privacy.deletion_cancelled", json!({ "erasure_id": id }))
            }
            Self::MarketingSwitched { version, .. } => trace(
                "customer.updated",
                json!({ "changed": ["accepts_marketing"], "version": version }),
            ),
            Self::HoldPlaced(hold) => {
                trace("legal_hold.placed", json!({ "hold_id": hold.id, "reason": hold.reason }))
            }
            Self::HoldReleased { id, .. } => trace("legal_hold.released", json!({ "hold_id": id })),
            Self::PutOff { id, obstacle, .. } => {
                trace("privacy.deletion_put_off", json!({ "erasure_id": id, "obstacle": obstacle }))
            }
            Self::Begun { id, .. } => trace("privacy.erasure_started", json!({ "erasure_id": id })),
            Self::Commanded { erasure, step, .. } => trace(
                "privacy.erasure_commanded",
                json!({ "erasure_id": erasure, "step": step.name, "tries": step.tries }),
            ),
            Self::StepFailed { step, name, error, .. } => trace(
                "privacy.erasure_step_failed",
                json!({ "step_id": step, "step": name, "error": error }),
            ),
            Self::StepDone { step, name, .. } => {
                trace("privacy.erasure_step_done", json!({ "step_id": step, "step": name }))
            }
            Self::Completed { id, .. } => {
                trace("privacy.erasure_completed", json!({ "erasure_id": id }))
            }
            Self::Repeated { request, repeats } => trace(
                "privacy.erasure_repeated",
                json!({ "erasure_id": request.id, "repeats": repeats }),
            ),
        }
    }
}

fn command(step: &Step, erasure_id: ErasureId, customer_id: CustomerId) -> Option<Message> {
    let step_id = step.id;
    Some(match step.name {
        StepName::Local => return None,
        StepName::AnonymizeOrders => OrderAnonymize { erasure_id, step_id, customer_id }.into(),
        StepName::DeletePaymentMethods => {
            PaymentDeleteMethods { erasure_id, step_id, customer_id }.into()
        }
        StepName::ForgetNotifications => {
            NotificationForget { erasure_id, step_id, customer_id }.into()
        }
    })
}

fn change<T>(what: Option<&mut T>, how: impl FnOnce(&mut T)) {
    if let Some(what) = what {
        how(what);
    }
}

fn find(request: Option<&mut Erasure>, id: StepId) -> Option<&mut Step> {
    request?.steps.iter_mut().find(|step| step.id == id)
}

/// What it would have brought back.
fn forget(request: &mut Erasure) {
    request.put_off = None;
    request.segments.clear();
}

fn touch(customer: &mut Customer, at: DateTime<Utc>) {
    customer.version += 1;
    customer.updated_at = at;
}

/// The customer is nobody from now on; what is left is its id, for its last messages.
fn depart(state: &mut State, at: DateTime<Utc>) {
    if let Some(mut customer) = state.customer.take() {
        touch(&mut customer, at);
        state.departed = Some(customer);
    }
    if let Some(departed) = &mut state.departed {
        departed.status = Status::Erased;
        departed.status_before_deletion = None;
    }
}
