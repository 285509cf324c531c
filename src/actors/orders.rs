//! The door for what the order service says: a fact goes to the customer that it names, or to whom
//! that one has become.

use super::customers::{Customers, SubmitError};
use crate::domain::command::{Command, OrderCommand, Subject};
use crate::domain::order::OrderFact;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{Context, Submission};

/// How often a customer may have become another one. Each merge is a decision of staff, so more is
/// a circle, which no merge makes.
const MERGES_MAX: usize = 16;

/// Has a fact recorded, and waits for the commit. Tells whether it was news. The context's actor is
/// [`Actor::Service`](crate::domain::Actor::Service).
///
/// # Errors
/// Those of [`Customers::submit`]. Of the refusals, [`Rejection::NotFound`] is no customer yet;
/// [`Rejection::CustomerGone`], [`Rejection::OrderOfAnotherCustomer`] and [`Rejection::Invalid`]
/// stay.
pub async fn record(
    customers: &Customers,
    fact: OrderFact,
    context: Context,
) -> Result<bool, SubmitError> {
    let mut named = fact.customer_id;
    let command = Command::Order(OrderCommand::Record(Box::new(fact)));
    for _ in 0..MERGES_MAX {
        let submission = Submission {
            subject: Subject::Customer(named),
            command: command.clone(),
            context: context.clone(),
            idempotency: None,
        };
        match customers.submit(submission).await {
            Ok(answered) => return Ok(answered.outcome == Outcome::Order { recorded: true }),
            Err(SubmitError::Rejected(Rejection::CustomerMerged { into })) => named = into,
            Err(error) => return Err(error),
        }
    }
    Err(SubmitError::Rejected(Rejection::CustomerGone))
}
