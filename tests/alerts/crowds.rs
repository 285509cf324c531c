//! More is asked than a node can work off.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::Shop;
use crate::harness::proxy::Proxy;
use crate::prometheus::Prometheus;
use crate::table::Stage;

/// Reads at once: seconds of work for eight connections to a distant database.
const READS: usize = 400;
const DISTANCE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_is_asked_than_a_node_can_work_off() {
    let shop = Shop::new().await;
    let database = Proxy::to(&shop.database.service_url).await;
    let node = shop
        .node_with(&[
            ("DATABASE__URL", &database.url),
            ("DATABASE__POOL_SIZE", "8"),
            ("OVERLOAD__DELAY_MS", "5"),
            ("OVERLOAD__IN_FLIGHT_MIN", "16"),
        ])
        .await;
    let prometheus = Prometheus::watch(&[&node]).await;
    database.delay(DISTANCE);
    prometheus
        .fires_while("CustomersRefused", async || {
            let calls = (0..READS)
                .map(|_| node.get("/v1/admin/customers").bearer(&shop.staff_key).try_send());
            join_all(calls).await;
        })
        .await;
    prometheus.end(&["CustomersRefused"]).await;
    prometheus.has_seen_all_of(Stage::Crowds);
}
