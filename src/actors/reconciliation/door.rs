//! Where repairs go: through the one door for customer writes, whether its actors run in this process
//! or not. On the command line a batch is carried out here and now, under the same row locks.

use super::Trouble;
use crate::actors::batch::Batches;
use crate::actors::customers::{Answered, Customers, SubmitError};
use crate::domain::command::{Command, OrderCommand, Subject};
use crate::domain::order::OrderFact;
use crate::domain::outcome::Rejection;
use crate::domain::{Context, CustomerId, Submission};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Customers who were merged into customers who were merged: so many are followed.
const HOPS_MAX: usize = 8;

/// Full queues are waited for so often; then the step is put off.
const PATIENCE: usize = 20;

/// The longest rest before a full queue.
const REST_MAX: Duration = Duration::from_secs(1);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub enum Door {
    /// To the shards of this node.
    Shards(Customers),
    Batches(Arc<Batches>),
}

impl Door {
    /// Has a customer's statistics put right. False: there is no such customer any more.
    pub(super) async fn reconcile(
        &self,
        customer: CustomerId,
        context: &Context,
    ) -> Result<bool, Trouble> {
        let command = Command::Order(OrderCommand::Reconcile);
        match self.submit(customer, command, context).await {
            Ok(_) => Ok(true),
            Err(SubmitError::Rejected(rejection)) => {
                told(&rejection);
                Ok(false)
            }
            Err(error) => Err(not_now(&error)),
        }
    }

    /// Records what the order service says, at whom the customer became one with, if so. False: it is
    /// refused.
    pub(super) async fn record(
        &self,
        fact: &OrderFact,
        context: &Context,
    ) -> Result<bool, Trouble> {
        let mut customer = fact.customer_id;
        for _ in 0..=HOPS_MAX {
            let command = Command::Order(OrderCommand::Record(Box::new(fact.clone())));
            match self.submit(customer, command, context).await {
                Ok(_) => return Ok(true),
                Err(SubmitError::Rejected(Rejection::CustomerMerged { into })) => customer = into,
                Err(SubmitError::Rejected(rejection)) => {
                    told(&rejection);
                    return Ok(false);
                }
                Err(error) => return Err(not_now(&error)),
            }
        }
        Err(Trouble::NotNow("merged too often"))
    }

    /// No idempotency key: a repetition finds nothing to do.
    async fn submit(
        &self,
        customer: CustomerId,
        command: Command,
        context: &Context,
    ) -> Result<Answered, SubmitError> {
        let submission = Submission {
            subject: Subject::Customer(customer),
            command,
            context: context.clone(),
            idempotency: None,
        };
        let mut patience = PATIENCE;
        loop {
            let answer = match self {
                Self::Shards(customers) => customers.submit(submission.clone()).await,
                Self::Batches(batches) => batches.submit(&submission).await,
            };
            match answer {
                // Nothing was changed: requests go first.
                Err(SubmitError::Overloaded { retry_after }) if patience > 0 => {
                    patience -= 1;
                    sleep(retry_after.min(REST_MAX)).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Somebody who was deleted or merged meanwhile is no news; the names of other refusals hold no values.
fn told(rejection: &Rejection) {
    match rejection {
        Rejection::NotFound | Rejection::CustomerGone | Rejection::CustomerMerged { .. } => {}
        Rejection::OrderOfAnotherCustomer => {
            tracing::warn!("the order service says of an order that it is another customer's");
        }
        Rejection::Invalid { pointer, fault } => {
            tracing::warn!(pointer, code = fault.code, "what the order service says is refused");
        }
        rejection => tracing::error!(?rejection, "a repair was refused that cannot be"),
    }
}

fn not_now(error: &SubmitError) -> Trouble {
    Trouble::NotNow(match error {
        SubmitError::Overloaded { .. } => "overloaded",
        SubmitError::Unknown => "the outcome is not known",
        _ => "not available",
    })
}
