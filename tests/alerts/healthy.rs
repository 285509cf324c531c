//! A service that lacks nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::{IdentityProvider, OrderService, Shop, Shopper};
use crate::prometheus::Prometheus;
use crate::rules;
use crate::table::BORN_WITH_TROUBLE;

/// Longer than any rule made short looks back.
const CALM: Duration = Duration::from_secs(25);

/// What Prometheus itself tells.
const OF_PROMETHEUS: &str = "up{job=\"customer-service\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_service_fires_nothing_and_tells_all_that_alerts_ask_for() {
    let (orders, provider) = (OrderService::shared(), IdentityProvider::start().await);
    let mut settings = provider.settings("google");
    let more = [("ORDERS__RECONCILIATION__EVERY_HOURS", "24"), ("DATABASE__ROOM_MIB", "100000")];
    settings.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let shop = Shop::hearing(&orders, &settings).await;
    let node = shop.node().await;
    let prometheus = Prometheus::watch(&[&node]).await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.add_address(&node, "Huế").await;
    tokio::time::sleep(CALM).await;
    assert_eq!(prometheus.firing().await, BTreeSet::new());
    // An alert on a series that nobody tells is silent for ever.
    let mut missing = BTreeSet::new();
    for selector in rules::selectors() {
        if prometheus.number(&format!("count({selector})")).await.is_nan() {
            missing.insert(selector);
        }
    }
    let born: BTreeSet<_> = BORN_WITH_TROUBLE.iter().map(|(selector, _)| *selector).collect();
    assert_eq!(missing, born, "series that a healthy node does not tell");
    assert!(prometheus.number(OF_PROMETHEUS).await >= 1.0);
    orders.close().await;
}
