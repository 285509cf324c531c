//! RabbitMQ, Redis and PostgreSQL are away or slow, one after the other, and the node is killed.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::proxy::Proxy;
use crate::harness::shop::Shop;
use crate::harness::{Api, OrderService, Shopper};
use crate::prometheus::Prometheus;
use crate::table::Stage;

/// Reads at once, more than there are connections.
const READS: usize = 24;

/// Staff reads a page of customers, many times at once, whatever is answered.
async fn read(api: &Api, shop: &Shop) {
    let calls =
        (0..READS).map(|_| api.get("/v1/admin/customers").bearer(&shop.staff_key).try_send());
    join_all(calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_depends_on_is_away_or_slow() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let database = Proxy::to(&shop.database.service_url).await;
    let rabbit = Proxy::to(&shop.amqp_url).await;
    let redis = std::env::var("TEST_REDIS_URL").expect("set TEST_REDIS_URL, as `make test` does");
    let redis = Proxy::to(&redis).await;
    let mut node = shop
        .node_with(&[
            ("DATABASE__URL", &database.url),
            ("REDIS__URL", &redis.url),
            ("RABBIT__URL", &rabbit.url),
            ("DATABASE__POOL_SIZE", "8"),
            ("DATABASE__ACQUIRE_TIMEOUT_MS", "1000"),
        ])
        .await;
    let prometheus = Prometheus::watch(&[&node]).await;
    let shopper = Shopper::new(&shop, &node).await;
    let api = node.api();

    rabbit.refuse();
    shopper.add_address(&node, "Huế").await;
    let without_rabbit = ["RabbitUnreachable", "OrderIntakeLag", "WorkerFailing", "OutboxLag"];
    for alert in without_rabbit {
        prometheus.fires(alert).await;
    }
    rabbit.mend();
    prometheus.end(&without_rabbit).await;

    redis.refuse();
    prometheus.fires("RedisUnreachable").await;
    redis.mend();
    prometheus.end(&["RedisUnreachable"]).await;

    database.delay(Duration::from_millis(700));
    for alert in ["DatabasePoolExhausted", "AnswersSlow"] {
        prometheus.fires_while(alert, async || read(&api, &shop).await).await;
    }
    database.mend();
    prometheus.end(&["DatabasePoolExhausted", "AnswersSlow"]).await;

    database.refuse();
    let without_database = [
        "DatabaseUnreachable",
        "ServiceDown",
        "NodeNotReady",
        "RevocationsUnread",
        "ErrorRatioHigh",
    ];
    for alert in without_database {
        prometheus.fires_while(alert, async || read(&api, &shop).await).await;
    }
    database.mend();
    prometheus.end(&without_database).await;

    node.kill9();
    prometheus.fires("NodeUnreachable").await;
    prometheus.fires("ServiceDown").await;
    prometheus.has_seen_all_of(Stage::Dependencies);
    orders.close().await;
}

/// Nobody is told that a frozen broker is away: connections stay, and new ones come to no end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_frozen_shows_as_lag_and_costs_no_group() {
    let shop = Shop::new().await;
    let rabbit = Proxy::to(&shop.amqp_url).await;
    let node = shop
        .node_with(&[("RABBIT__URL", &rabbit.url), ("RABBIT__CONFIRM_TIMEOUT_MS", "2000")])
        .await;
    let prometheus = Prometheus::watch(&[&node]).await;
    let shopper = Shopper::new(&shop, &node).await;
    rabbit.black_hole();
    shopper.add_address(&node, "Huế").await;
    prometheus.fires("OutboxLag").await;
    prometheus.fires("RabbitUnreachable").await;
    // By now the relay waits for connections that are taken and never answered.
    let lag = node.metric("outbox_lag_seconds").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(node.metric("outbox_lag_seconds").await >= lag + 6.0, "it grows");
    let taken = "min_over_time(min(outbox_groups_owned)[20s:1s])";
    assert_eq!(prometheus.number(taken).await, 8.0, "the groups stay with who has them");
    rabbit.mend();
    rabbit.reset();
    prometheus.end(&["OutboxLag", "RabbitUnreachable"]).await;
}
