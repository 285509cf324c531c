//! Tables `order_facts`, `order_items` and `order_statistics`.

use super::Connection;
use super::schema::{order_facts, order_items, order_statistics};
use super::statements::{
    DeleteOrderItems, DeleteOrderStatistics, FindOrderItems, FindOrderStatistics, MoveOrders,
    SaveOrderFacts, SaveOrderItems, SaveOrderStatistics,
};
use crate::domain::CustomerId;
use crate::domain::money::Money;
use crate::domain::order::{Item, Order, OrderFact, OrderId, OrderStatus, Span, Statistics};
use crate::domain::place::Currency;
use crate::domain::wishlist::Sku;
use chrono::{DateTime, Utc};
use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = order_facts, check_for_backend(diesel::pg::Pg))]
struct FactRow {
    customer_id: Uuid,
    order_id: String,
    version: i64,
    status: String,
    placed_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    currency: String,
    total_amount: i64,
    refunded_amount: i64,
    recorded_at: DateTime<Utc>,
}

/// Something that the tables' constraints keep out.
fn impossible(what: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(what.into())
}

impl FactRow {
    /// The order; its items are rows of their own.
    fn order(self, items: Vec<Item>) -> QueryResult<Order> {
        let currency = Currency::from_stored(self.currency);
        let fact = OrderFact {
            order_id: OrderId::from_stored(self.order_id),
            customer_id: CustomerId(self.customer_id),
            version: self.version,
            status: OrderStatus::from_name(&self.status)
                .ok_or_else(|| impossible("unknown value in order_facts.status"))?,
            placed_at: self.placed_at,
            completed_at: self.completed_at,
            total: Money::from_stored(self.total_amount, currency),
            refunded: self.refunded_amount,
            items,
        };
        Ok(Order { fact, recorded_at: self.recorded_at })
    }
}

/// Whose, of which order, of what, how many.
type ItemRow = (Uuid, String, String, i32);

fn item(sku: String, quantity: i32) -> QueryResult<Item> {
    let quantity = u32::try_from(quantity).map_err(|_| impossible("an item has a quantity"))?;
    Ok(Item { sku: Sku::from_stored(sku), quantity })
}

/// The orders with their items, each by its sku as in a fact that was just read.
fn with_items(facts: Vec<FactRow>, items: Vec<ItemRow>) -> QueryResult<Vec<Order>> {
    let mut by_order: HashMap<(Uuid, String), Vec<Item>> = HashMap::new();
    for (customer, order, sku, quantity) in items {
        by_order.entry((customer, order)).or_default().push(item(sku, quantity)?);
    }
    let with_its_own = |fact: FactRow| {
        let key = (fact.customer_id, fact.order_id.clone());
        let mut items = by_order.remove(&key).unwrap_or_default();
        items.sort_by(|one, other| one.sku.cmp(&other.sku));
        fact.order(items)
    };
    facts.into_iter().map(with_its_own).collect()
}

/// In the order of the columns, for the statement that is written by hand.
#[derive(Queryable, Selectable)]
#[diesel(table_name = order_statistics, check_for_backend(diesel::pg::Pg))]
struct StatisticsRow {
    customer_id: Uuid,
    currency: String,
    placed: i32,
    completed: i32,
    cancelled: i32,
    refunded: i32,
    spent_amount: i64,
    refunded_amount: i64,
    first_order_at: Option<DateTime<Utc>>,
    last_order_at: Option<DateTime<Utc>>,
    version: i64,
    updated_at: DateTime<Utc>,
}

fn span(first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> Option<Span> {
    first.zip(last).map(|(first, last)| Span { first, last })
}

impl From<StatisticsRow> for (CustomerId, Currency, Statistics) {
    fn from(row: StatisticsRow) -> Self {
        // No fewer than none, by the table's constraints.
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        let statistics = Statistics {
            placed: number(row.placed),
            completed: number(row.completed),
            cancelled: number(row.cancelled),
            refunded: number(row.refunded),
            spent: row.spent_amount,
            paid_back: row.refunded_amount,
            span: span(row.first_order_at, row.last_order_at),
            version: row.version,
            updated_at: row.updated_at,
        };
        (CustomerId(row.customer_id), Currency::from_stored(row.currency), statistics)
    }
}

/// What a customer's orders in one currency come to, and from when to when those are that count and
/// were not sought.
pub struct Standing {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub statistics: Statistics,
    pub others: Option<Span>,
}

/// As the statement for it selects.
type StandingRow = (
    Uuid,
    String,
    i32,
    i32,
    i32,
    i32,
    i64,
    i64,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    i64,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
);

impl From<StandingRow> for Standing {
    fn from(columns: StandingRow) -> Self {
        let (
            customer_id,
            currency,
            placed,
            completed,
            cancelled,
            refunded,
            spent_amount,
            refunded_amount,
            first_order_at,
            last_order_at,
            version,
            updated_at,
            first,
            last,
        ) = columns;
        let row = StatisticsRow {
            customer_id,
            currency,
            placed,
            completed,
            cancelled,
            refunded,
            spent_amount,
            refunded_amount,
            first_order_at,
            last_order_at,
            version,
            updated_at,
        };
        let (customer_id, currency, statistics) = row.into();
        Self { customer_id, currency, statistics, others: span(first, last) }
    }
}

// --- the write path ---------------------------------------------------------------------------

/// What is kept of these orders, without their items, whosever they are.
///
/// # Errors
/// Those of the query.
pub async fn named(mut conn: &Connection, orders: &[&str]) -> QueryResult<Vec<Order>> {
    let rows: Vec<FactRow> = order_facts::table
        .filter(order_facts::order_id.eq_any(orders))
        .select(FactRow::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(|row| row.order(Vec::new())).collect()
}

/// The items of orders, each of a customer whose row the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn items_of(
    mut conn: &Connection,
    orders: &[(Uuid, OrderId)],
) -> QueryResult<Vec<(OrderId, Item)>> {
    let mut find = FindOrderItems::default();
    for (customer, order) in orders {
        find.customer_id.push(*customer);
        find.order_id.push(order.as_str().to_owned());
    }
    let rows: Vec<ItemRow> = find.load(&mut conn).await?;
    rows.into_iter()
        .map(|(_, order, sku, quantity)| Ok((OrderId::from_stored(order), item(sku, quantity)?)))
        .collect()
}

/// The statistics of the customers, whose rows the caller has locked, with what is needed to count
/// orders that are `sought` anew.
///
/// # Errors
/// Those of the query.
pub async fn standing(
    mut conn: &Connection,
    customers: &[Uuid],
    sought: &[&str],
) -> QueryResult<Vec<Standing>> {
    let sought = sought.iter().map(|order| (*order).to_owned()).collect();
    let find = FindOrderStatistics { customer_id: customers.to_vec(), sought };
    let rows: Vec<StandingRow> = find.load(&mut conn).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// How many orders each of the customers has, whose rows the caller has locked; one without any is
/// missing. Reads the key alone.
///
/// # Errors
/// Those of the query.
pub async fn counts(
    mut conn: &Connection,
    customers: &[Uuid],
) -> QueryResult<Vec<(CustomerId, usize)>> {
    let counted: Vec<(Uuid, i64)> = order_facts::table
        .filter(order_facts::customer_id.eq_any(customers))
        .group_by(order_facts::customer_id)
        .select((order_facts::customer_id, count_star()))
        .load(&mut conn)
        .await?;
    let count = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(counted.into_iter().map(|(id, number)| (CustomerId(id), count(number))).collect())
}

impl SaveOrderFacts {
    pub fn push(&mut self, customer: CustomerId, order: &Order) {
        let fact = &order.fact;
        self.customer_id.push(customer.0);
        self.order_id.push(fact.order_id.as_str().to_owned());
        self.version.push(fact.version);
        self.status.push(fact.status.as_str().to_owned());
        self.placed_at.push(fact.placed_at);
        self.completed_at.push(fact.completed_at);
        self.currency.push(fact.total.currency().as_str().to_owned());
        self.total_amount.push(fact.total.amount());
        self.refunded_amount.push(fact.refunded);
        self.recorded_at.push(order.recorded_at);
    }
}

impl SaveOrderItems {
    pub fn push(&mut self, customer: CustomerId, order: &OrderId, item: &Item) {
        self.customer_id.push(customer.0);
        self.order_id.push(order.as_str().to_owned());
        self.sku.push(item.sku.as_str().to_owned());
        // At most a million.
        self.quantity.push(i32::try_from(item.quantity).unwrap_or(i32::MAX));
    }
}

impl DeleteOrderItems {
    pub fn push(&mut self, customer: CustomerId, order: &OrderId, sku: &Sku) {
        self.customer_id.push(customer.0);
        self.order_id.push(order.as_str().to_owned());
        self.sku.push(sku.as_str().to_owned());
    }
}

impl SaveOrderStatistics {
    pub fn push(&mut self, customer: CustomerId, currency: &Currency, statistics: &Statistics) {
        // Nobody orders two thousand million times.
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        self.customer_id.push(customer.0);
        self.currency.push(currency.as_str().to_owned());
        self.placed.push(number(statistics.placed));
        self.completed.push(number(statistics.completed));
        self.cancelled.push(number(statistics.cancelled));
        self.refunded.push(number(statistics.refunded));
        self.spent_amount.push(statistics.spent);
        self.refunded_amount.push(statistics.paid_back);
        self.first_order_at.push(statistics.span.map(|span| span.first));
        self.last_order_at.push(statistics.span.map(|span| span.last));
        self.version.push(statistics.version);
        self.updated_at.push(statistics.updated_at);
    }
}

impl DeleteOrderStatistics {
    pub fn push(&mut self, customer: CustomerId, currency: &Currency) {
        self.customer_id.push(customer.0);
        self.currency.push(currency.as_str().to_owned());
    }
}

impl MoveOrders {
    pub fn push(&mut self, from: CustomerId, into: CustomerId) {
        self.from_id.push(from.0);
        self.into_id.push(into.0);
    }
}

// --- reads ------------------------------------------------------------------------------------

/// What a customer's orders come to, by currency.
///
/// # Errors
/// Those of the query.
pub async fn statistics(
    mut conn: &Connection,
    customer: CustomerId,
) -> QueryResult<Vec<(Currency, Statistics)>> {
    let rows: Vec<StatisticsRow> = order_statistics::table
        .filter(order_statistics::customer_id.eq(customer.0))
        .order(order_statistics::currency)
        .select(StatisticsRow::as_select())
        .load(&mut conn)
        .await?;
    let statistics = |row| {
        let (_, currency, statistics) = <(CustomerId, Currency, Statistics)>::from(row);
        (currency, statistics)
    };
    Ok(rows.into_iter().map(statistics).collect())
}

/// A page of a customer's orders with their items, in the order of their ids.
///
/// # Errors
/// Those of the queries.
pub async fn list(
    mut conn: &Connection,
    customer: CustomerId,
    after: Option<&str>,
    limit: i64,
) -> QueryResult<Vec<Order>> {
    let facts: Vec<FactRow> = order_facts::table
        .filter(order_facts::customer_id.eq(customer.0))
        .filter(order_facts::order_id.gt(after.unwrap_or_default()))
        .order(order_facts::order_id)
        .limit(limit)
        .select(FactRow::as_select())
        .load(&mut conn)
        .await?;
    let ids: Vec<&str> = facts.iter().map(|fact| fact.order_id.as_str()).collect();
    let items: Vec<ItemRow> = order_items::table
        .filter(order_items::customer_id.eq(customer.0))
        .filter(order_items::order_id.eq_any(ids))
        .select((
            order_items::customer_id,
            order_items::order_id,
            order_items::sku,
            order_items::quantity,
        ))
        .load(&mut conn)
        .await?;
    with_items(facts, items)
}
