//! How many orders a customer waits for (rule P1): who has any cannot ask to be deleted.

use super::Trouble;
use super::orders::Pages;
use crate::db::{self, Database};
use crate::domain::CustomerId;
use crate::domain::order::OrderStatus;
use crate::order_service::{OrderService, Unreachable};

/// How many of the customer's orders are placed and neither completed nor given up: by what the order
/// service says now, where it is configured, and else by what is kept.
///
/// # Errors
/// Those of the database; [`Trouble::Unreachable`] where the order service gives no answer, or one
/// that cannot be read to its end: then nobody knows, and nobody should act as if there were none.
pub async fn active_orders(
    database: &Database,
    orders: Option<&OrderService>,
    customer: CustomerId,
) -> Result<usize, Trouble> {
    let Some(service) = orders else {
        let read = database.read(move |connection| {
            Box::pin(async move { db::orders::statistics(connection, customer).await })
        });
        let placed = read.await?.into_iter().map(|(_, statistics)| statistics.placed as usize);
        return Ok(placed.sum());
    };
    let mut active = 0;
    let mut pages = Pages::of(service, customer);
    while let Some(page) = pages.next().await? {
        for fact in page.facts {
            let fact = fact.map_err(|_| Unreachable("its answer has an order that is none"))?;
            active += usize::from(fact.status == OrderStatus::Placed);
        }
    }
    Ok(active)
}
