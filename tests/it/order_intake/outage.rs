//! Databases and brokers that go away, and nodes that are told to end: nothing is lost, and nothing
//! is blamed for it.

use std::time::Duration;

use serde_json::Value;

use super::{PATIENCE, customer, drained, is_kept};
use crate::harness::db::TestDatabase;
use crate::harness::orders::fact;
use crate::harness::servers::PrivateServer;
use crate::harness::{OrderService, Shop, eventually};

fn facts(customers: &[String], orders: std::ops::Range<usize>) -> Vec<Value> {
    let whose = |n: usize| &customers[n % customers.len()];
    orders.map(|n| fact(&format!("O-{n}"), whose(n), 1, "placed")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_database_that_is_away_under_load_loses_nothing_and_kills_no_message() {
    let postgres = PrivateServer::start("postgres");
    let database = TestDatabase::on(&postgres.url).await;
    let orders = OrderService::shared();
    let settings = [("DATABASE__ACQUIRE_TIMEOUT_MS", "1000")];
    let shop = Shop::hearing_on(database, &orders, &settings).await;
    let node = shop.node().await;
    let mut customers = Vec::new();
    for _ in 0..20 {
        customers.push(customer(&shop).await);
    }
    let all = facts(&customers, 0..600);
    for (number, one) in all.iter().enumerate() {
        if number == 200 {
            postgres.stop("QUIT").await;
        }
        orders.tell(one).await;
    }
    eventually("the intake says why it waits", PATIENCE, async || {
        let paused = node.metric("order_intake_paused").await == 1.0;
        let log = node.log();
        (paused && log.contains("order_intake") && log.contains("waits for the database"))
            .then_some(())
    })
    .await;
    // Longer than all rests between the tries of one message.
    tokio::time::sleep(Duration::from_secs(8)).await;
    tokio::task::block_in_place(|| postgres.start_again());
    for one in &all {
        is_kept(&shop, one).await;
    }
    drained(&orders).await;
    assert_eq!(orders.dead().await, []);
    let parked = shop.database.count("SELECT count(*) FROM parked_order_facts").await;
    assert_eq!(parked, 0);
    eventually("goes on", PATIENCE, async || {
        (node.metric("order_intake_paused").await == 0.0).then_some(())
    })
    .await;
    orders.close().await;
}

/// Each fact comes once: whatever a dying node had begun must come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o1_a_node_that_dies_in_the_middle_of_commits_loses_no_fact() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    // Commits are slow, so that facts are under way whenever the end comes.
    let slow = [("FAILPOINTS", "batch.before_commit=sleep(40)")];
    let mut node = shop.node_with(&slow).await;
    let mut customers = Vec::new();
    for _ in 0..20 {
        customers.push(customer(&shop).await);
    }
    let all = facts(&customers, 0..600);
    orders.tell_all(&all).await;
    for kill in 1..=3 {
        eventually("facts come in", PATIENCE, async || {
            let kept = shop.database.count("SELECT count(*) FROM order_facts").await;
            (kept >= kill * 60).then_some(())
        })
        .await;
        node.kill9();
        node = shop.node_with(&slow).await;
    }
    for one in &all {
        is_kept(&shop, one).await;
    }
    drained(&orders).await;
    assert_eq!(orders.dead().await, []);
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_node_told_to_end_gives_back_what_it_has_not_begun() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let mut node = shop.node().await;
    let customers = [customer(&shop).await, customer(&shop).await];
    let all = facts(&customers, 0..400);
    for one in &all {
        orders.tell(one).await;
    }
    node.sigterm();
    let status = node.ended(Duration::from_secs(25)).await;
    assert!(status.success(), "{status}: {}", node.log());
    let suspects = "SELECT count(*) FROM order_fact_attempts";
    assert_eq!(shop.database.count(suspects).await, 0, "what it had begun it finished");
    let _next = shop.node().await;
    for one in &all {
        is_kept(&shop, one).await;
    }
    drained(&orders).await;
    assert_eq!(orders.dead().await, []);
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_there_is_no_intake() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[("RABBIT__URL", "")]).await;
    let node = shop.node().await;
    let actors = node.get("/ops/actors").bearer(&shop.staff_key).send().await.expect(200);
    assert!(!actors.text().contains("order_intake"), "{}", actors.text());
}
