//! The intake of order facts (rules O1, O3): each message ends where the rules say, once, whatever
//! stops or dies meanwhile, and the next one is taken.

mod bad;
mod crowd;
mod killer;
mod outage;
mod parked;
mod plans;

use std::time::Duration;

use serde_json::Value;

use crate::harness::db::insert_customer;
use crate::harness::{OrderService, Shop, eventually};
use customer_service::clock::{Clock, SystemClock};

/// Enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A customer with nothing but a name.
async fn customer(shop: &Shop) -> String {
    let id = SystemClock.new_id();
    customer_of(shop, id).await;
    id.to_string()
}

async fn customer_of(shop: &Shop, id: uuid::Uuid) {
    insert_customer(&shop.database.client().await, id, &format!("{id}@shop.example")).await;
}

/// What is kept of an order: customer, version and status; empty: nothing.
async fn kept(shop: &Shop, order: &str) -> String {
    let sql = format!(
        "SELECT concat_ws(' ', customer_id, version, status) FROM order_facts WHERE order_id = '{order}'"
    );
    shop.database.one(&sql).await
}

/// Tells a fact and waits until it is kept.
async fn recorded(shop: &Shop, orders: &OrderService, fact: &Value) {
    orders.tell(fact).await;
    is_kept(shop, fact).await;
}

async fn is_kept(shop: &Shop, fact: &Value) {
    let text = |name: &str| fact[name].as_str().unwrap().to_owned();
    let expected = format!("{} {} {}", text("customer_id"), fact["version"], text("status"));
    let order = text("order_id");
    eventually(&format!("{order} is kept"), PATIENCE, async || {
        (kept(shop, &order).await == expected).then_some(())
    })
    .await;
}

/// Whoever has a message gives it back or is done with it, and nothing waits.
async fn drained(orders: &OrderService) {
    eventually("the queue is empty", PATIENCE, async || {
        orders.waiting(&orders.queue()).await.filter(|waiting| *waiting == 0)
    })
    .await;
}
