//! The orders that commands name, and what the customers' orders come to. Of the other orders, which
//! may be thousands, no more than when the first and the last were placed; or, where a reconciliation
//! asks for it, what all of them come to.

use super::{Wanted, unless_empty};
use crate::db;
use crate::db::customer_keys::KeptKey;
use crate::db::orders::Standing;
use crate::db::transactions::QueryError;
use crate::domain::customer::Customer;
use crate::domain::order::{Gone, Item, Order, OrderId, Statistics};
use crate::domain::place::Currency;
use crate::domain::{CustomerId, State};
use crate::faults;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Found {
    facts: Vec<(CustomerId, Order)>,
    elsewhere: Vec<(CustomerId, OrderId)>,
    items: Vec<(OrderId, Item)>,
    standing: Vec<Standing>,
    recounted: Vec<(CustomerId, Currency, Statistics)>,
    counts: Vec<(CustomerId, usize)>,
    gone: Vec<(CustomerId, Gone)>,
}

/// `locked`: the customers that live.
pub(super) async fn load(
    connection: &db::Connection,
    wanted: &Wanted,
    locked: &[(Customer, Option<KeptKey>)],
) -> Result<Found, QueryError> {
    if wanted.statistics.is_empty() {
        return Ok(Found::default());
    }
    let sought: Vec<(Uuid, OrderId)> = wanted.orders.iter().cloned().collect();
    let names: Vec<&str> = sought.iter().map(|(_, order)| order.as_str()).collect();
    let lives = |id: &Uuid| locked.iter().any(|(customer, _)| customer.id.0 == *id);
    let missing: Vec<Uuid> =
        sought.iter().map(|(customer, _)| *customer).filter(|id| !lives(id)).collect();
    let (counted, recounts) = (&wanted.order_counts, &wanted.recounts);
    let (orders, items, standing, recounted, counts, gone) = tokio::try_join!(
        unless_empty(&sought, db::orders::named(connection, &names)),
        unless_empty(&sought, db::orders::items_of(connection, &sought)),
        db::orders::standing(connection, &wanted.statistics, &names),
        unless_empty(recounts, db::reconciliation::recount(connection, recounts)),
        unless_empty(counted, db::orders::counts(connection, counted)),
        unless_empty(&missing, db::merges::endings(connection, &missing)),
    )?;
    let mut found = Found { items, standing, recounted, counts, gone, ..Found::default() };
    let mut kept: HashMap<OrderId, Order> =
        orders.into_iter().map(|order| (order.fact.order_id.clone(), order)).collect();
    if faults::no_version_check() {
        kept.values_mut().for_each(|order| order.fact.version = 0);
    }
    for (customer, order) in &sought {
        let customer = CustomerId(*customer);
        match kept.get(order) {
            Some(kept) if kept.fact.customer_id == customer => {
                found.facts.push((customer, kept.clone()));
            }
            Some(_) => found.elsewhere.push((customer, order.clone())),
            None => {}
        }
    }
    Ok(found)
}

impl Found {
    pub(super) fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        let mut items: HashMap<OrderId, Vec<Item>> = HashMap::new();
        for (order, item) in self.items {
            items.entry(order).or_default().push(item);
        }
        for (id, mut order) in self.facts {
            order.fact.items = items.remove(&order.fact.order_id).unwrap_or_default();
            order.fact.items.sort_by(|one, other| one.sku.cmp(&other.sku));
            let orders = &mut states.entry(id).or_default().orders;
            orders.facts.insert(order.fact.order_id.clone(), order);
        }
        for (id, order) in self.elsewhere {
            states.entry(id).or_default().orders.elsewhere.insert(order);
        }
        for Standing { customer_id, currency, statistics, others } in self.standing {
            let orders = &mut states.entry(customer_id).or_default().orders;
            orders.others.extend(others.map(|span| (currency.clone(), span)));
            orders.statistics.insert(currency, statistics);
        }
        for (id, currency, statistics) in self.recounted {
            let orders = &mut states.entry(id).or_default().orders;
            orders.recounted.insert(currency, statistics);
        }
        for (id, count) in self.counts {
            states.entry(id).or_default().orders.count = count;
        }
        for (id, gone) in self.gone {
            states.entry(id).or_default().orders.gone = Some(gone);
        }
    }
}
