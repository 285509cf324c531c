//! Predicted tiers. They are in no row, but follow from orders and the newest models: a statement that
//! asks for them is told who has which, page by page.

use super::preview::Stretch;
use crate::db::Connection;
use crate::db::predictions::{self, KeptModel};
use crate::db::schema::order_statistics;
use crate::domain::analytics::history::{History, Order};
use crate::domain::analytics::model::Tier;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Which tier each of some customers is in; those without one are not named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiers(Vec<(Uuid, Tier)>);

impl Tiers {
    /// Customers whose tier is as asked.
    pub(super) fn of_those(&self, wanted: impl Fn(Tier) -> bool) -> Vec<Uuid> {
        self.0.iter().filter(|(_, tier)| wanted(*tier)).map(|(customer, _)| *customer).collect()
    }
}

/// The tiers of customers by a model of the purchases in a currency.
///
/// # Errors
/// Those of the query.
pub async fn tiers(
    conn: &Connection,
    customers: &[Uuid],
    (model, currency): (&KeptModel, &str),
) -> QueryResult<Tiers> {
    let orders = predictions::orders_of(conn, currency, customers).await?;
    let of_one = |(customer, orders): (Uuid, Vec<Order>)| Some((customer, tier(orders, model)?));
    Ok(Tiers(orders.into_iter().filter_map(of_one).collect()))
}

/// The same of all customers with ids after one up to another.
///
/// # Errors
/// Those of the queries.
pub async fn tiers_between(
    mut conn: &Connection,
    stretch: Stretch,
    (model, currency): (&KeptModel, &str),
) -> QueryResult<Tiers> {
    let buyers: Vec<Uuid> = order_statistics::table
        .filter(order_statistics::customer_id.gt(stretch.after))
        .filter(order_statistics::customer_id.le(stretch.until))
        .filter(order_statistics::currency.eq(currency))
        .select(order_statistics::customer_id)
        .load(&mut conn)
        .await?;
    tiers(conn, &buyers, (model, currency)).await
}

/// As of the model's own date: a tier changes with models and orders, and not every day.
pub(super) fn tier(orders: impl IntoIterator<Item = Order>, model: &KeptModel) -> Option<Tier> {
    let cuts = model.value.as_ref().ok()?.cuts;
    let history = History::of(orders, model.as_of, model.time_zone)?;
    let value = model.models.predict(&history, model.outlook).lifetime_value?;
    Some(cuts.tier(value))
}
