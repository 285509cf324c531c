//! What the order service says of orders (rule O1). Neither duplicates nor what is out of date change
//! anything, and what arrives in any order comes to the same. Statistics that are not what the facts
//! come to are put right (rule O4).

use super::{Answer, Decided, Decision, decided};
use crate::domain::command::{Actor, Context, OrderCommand};
use crate::domain::customer::Customer;
use crate::domain::event::{Event, OrderEvent};
use crate::domain::order::{Gone, Order, OrderFact};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::state::State;
use crate::domain::status::Status;

pub fn decide(state: &State, command: &OrderCommand, context: &Context) -> Decision {
    match (command, &context.actor) {
        (OrderCommand::Record(fact), Actor::Service) => record(state, fact, context),
        (OrderCommand::Reconcile, Actor::Service | Actor::Operator) => reconcile(state, context),
        // Only who hears the order service speaks for it, and nobody else puts its word right.
        _ => Err(Rejection::NotFound),
    }
}

fn record(state: &State, fact: &OrderFact, context: &Context) -> Decision {
    let customer = known(state)?;
    if state.orders.elsewhere.contains(&fact.order_id) {
        return Err(Rejection::OrderOfAnotherCustomer);
    }
    let kept = state.orders.facts.get(&fact.order_id);
    if kept.is_some_and(|kept| fact.version <= kept.fact.version) {
        return decided(Vec::new(), Answer::Now(Outcome::Order { recorded: false }));
    }
    // Somebody who was merged into the customer may be the one that the order service knows.
    let fact = OrderFact { customer_id: customer.id, ..fact.clone() };
    let counted = state.orders.counted(&fact, context.now);
    let mut counted = counted.map_err(|fault| Rejection::Invalid { pointer: "#/total", fault })?;
    let own = counted.pop_if(|last| last.currency == *fact.total.currency()).map(Box::new);
    let others = counted.into_iter().map(|one| OrderEvent::Counted(Box::new(one)));
    let order = Box::new(Order { fact, recorded_at: context.now });
    let events = others.chain([OrderEvent::Recorded { order, counted: own }]).map(Event::Order);
    let answer = Answer::Now(Outcome::Order { recorded: true });
    Ok(Decided::new(events.collect(), answer))
}

/// Rule O4: what differs from the facts is what they come to from now on.
fn reconcile(state: &State, context: &Context) -> Decision {
    known(state)?;
    let counted = state.orders.reconciled(context.now);
    let answer = Answer::Now(Outcome::Reconciled { currencies: counted.len() });
    let events = counted.into_iter().map(|one| OrderEvent::Counted(Box::new(one)));
    decided(events.map(Event::Order).collect(), answer)
}

/// Of whoever lives orders are kept, wherever it stands: an order is the shop's affair, and no wish
/// of the customer's.
fn known(state: &State) -> Result<&Customer, Rejection> {
    match (&state.customer, &state.orders.gone) {
        (Some(customer), _) if customer.status != Status::Erased => Ok(customer),
        (None, Some(Gone::Merged { into })) => Err(Rejection::CustomerMerged { into: *into }),
        (Some(_), _) | (None, Some(Gone::Deleted)) => Err(Rejection::CustomerGone),
        // Deleted a moment ago.
        (None, None) if state.departed.is_some() => Err(Rejection::CustomerGone),
        (None, None) => Err(Rejection::NotFound),
    }
}
