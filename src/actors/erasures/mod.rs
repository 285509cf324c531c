//! Deletions: asked for by their owners with a fresh proof, or by staff; and the certificate at the end.
//! What carries them out are the workers `gdpr_reaper` and `erasure_answers`.

mod certificate;
mod traces;

pub use certificate::Certificates;
pub use traces::buckets;

use super::allowance::Counted;
use super::gate::{Evidence, Gate, GateError, SignedIn};
use super::origin::{Origin, Trouble, unexpected};
use super::reconciliation;
use super::worker::Nudge;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Database;
use crate::domain::erasure::{
    Asking, DeletionCommand, Erasure, FreshStep, RequestDeletion, RetryPolicy, StepName,
};
use crate::domain::outcome::Outcome;
use crate::domain::{Command, CustomerId, ErasureId, MailId, MessageId, StepId};
use crate::order_service::OrderService;
use chrono::TimeDelta;
use std::sync::Arc;

/// How deletions are carried out.
#[derive(Debug, Clone)]
pub struct DeletionSettings {
    pub grace: TimeDelta,
    pub policy: RetryPolicy,
    /// The services that are told to forget.
    pub commands: Vec<StepName>,
}

impl From<&Config> for DeletionSettings {
    fn from(config: &Config) -> Self {
        let privacy = &config.privacy;
        let known = privacy.commands.iter().filter_map(|one| StepName::parse(one.as_str()));
        Self {
            grace: privacy.grace_days.delta(),
            policy: RetryPolicy {
                patience: privacy.answer_minutes.delta(),
                first: privacy.retry_first_seconds.delta(),
                most: privacy.retry_most_minutes.delta(),
            },
            commands: known.collect(),
        }
    }
}

/// What deletions are asked for with.
pub struct DeletionParts {
    pub database: Database,
    pub gate: Gate,
    pub clock: Arc<dyn Clock>,
    /// Where it can be asked.
    pub orders: Option<OrderService>,
    pub reaper: Nudge,
    pub certificates: Certificates,
}

/// Takes wishes to be deleted. Cheap to clone.
#[derive(Clone)]
pub struct Deletions(Arc<Inner>);

struct Inner {
    parts: DeletionParts,
    settings: DeletionSettings,
}

impl Deletions {
    pub fn new(parts: DeletionParts, settings: DeletionSettings) -> Self {
        Self(Arc::new(Inner { parts, settings }))
    }

    /// Freezes the account of a signed-in customer who proves to be its owner, and schedules its
    /// deletion; or ends the grace of one that is scheduled.
    pub async fn request(
        &self,
        who: SignedIn,
        evidence: Evidence,
        at_once: bool,
        origin: &Origin,
    ) -> Counted<Result<Erasure, GateError>> {
        let prepare = async {
            let wish = self.wish(who.customer, at_once).await?;
            Ok(move |proof| {
                let wish = RequestDeletion { asking: Asking::Owner(proof), ..wish.clone() };
                Command::Deletion(DeletionCommand::Request(Box::new(wish)))
            })
        };
        let gate = &self.0.parts.gate;
        let Counted { standing, result } =
            Box::pin(gate.prove_prepared(who, evidence, origin, prepare)).await;
        let result = result.and_then(|outcome| match outcome {
            Outcome::Deletion(erasure) => Ok(*erasure),
            _ => Err(unexpected("request_deletion").into()),
        });
        self.wake(at_once);
        Counted { standing, result }
    }

    /// The same on behalf of staff.
    ///
    /// # Errors
    /// The order service or the database, which would have to be asked.
    pub async fn requested_by_staff(
        &self,
        customer: CustomerId,
        at_once: bool,
    ) -> Result<Command, Trouble> {
        let wish = self.wish(customer, at_once).await?;
        Ok(Command::Deletion(DeletionCommand::Request(Box::new(wish))))
    }

    async fn wish(&self, customer: CustomerId, at_once: bool) -> Result<RequestDeletion, Trouble> {
        let parts = &self.0.parts;
        Ok(RequestDeletion {
            id: ErasureId(parts.clock.new_id()),
            asking: Asking::Staff,
            grace: self.0.settings.grace,
            at_once,
            active_orders: told_orders(&parts.database, parts.orders.as_ref(), customer).await?,
            mail_id: MailId(parts.clock.new_id()),
        })
    }

    /// Ends a grace, by its owner or staff.
    pub fn cancel(&self) -> Command {
        let mail_id = MailId(self.0.parts.clock.new_id());
        Command::Deletion(DeletionCommand::Cancel { mail_id })
    }

    /// Commands again all that is not done.
    pub fn retry(&self, erasure: ErasureId) -> Command {
        let policy = self.0.settings.policy;
        let messages = fresh(&*self.0.parts.clock);
        Command::Deletion(DeletionCommand::Resend { erasure, messages, policy, all: true })
    }

    /// What is due by now need not wait for the reaper's next turn.
    pub fn wake(&self, due: bool) {
        if due {
            self.0.parts.reaper.nudge();
        }
    }

    pub fn certificates(&self) -> &Certificates {
        &self.0.parts.certificates
    }
}

/// Ids for as many commands as an erasure can send at a time.
pub fn fresh(clock: &dyn Clock) -> Vec<MessageId> {
    StepName::COMMANDS.iter().map(|_| MessageId(clock.new_id())).collect()
}

/// What an erasure consists of where these services are told: what is done here, and a command to each.
pub fn fresh_steps(commands: &[StepName], clock: &dyn Clock) -> Vec<FreshStep> {
    let names = [StepName::Local].into_iter().chain(commands.iter().copied());
    let fresh =
        |name| FreshStep { id: StepId(clock.new_id()), name, message: MessageId(clock.new_id()) };
    names.map(fresh).collect()
}

/// How many orders wait, by what the order service says; `None`: it cannot be asked, and what is kept
/// decides.
///
/// # Errors
/// The order service gives no answer.
pub async fn told_orders(
    database: &Database,
    orders: Option<&OrderService>,
    customer: CustomerId,
) -> Result<Option<usize>, Trouble> {
    if orders.is_none() {
        return Ok(None);
    }
    match reconciliation::active::active_orders(database, orders, customer).await {
        Ok(active) => Ok(Some(active)),
        Err(trouble) => {
            tracing::warn!(%trouble, "the order service did not tell of active orders");
            Err(Trouble::Unavailable)
        }
    }
}
