//! A message that kills whoever records it: it ends, and nobody else does because of it (F16).

use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, customer, is_kept, kept};
use crate::harness::orders::fact;
use crate::harness::{OrderService, Shop, eventually};

/// A node that may die before it is ready.
fn spawn(shop: &Shop, failpoints: &str) -> Child {
    shop.command(&[("HTTP__BIND", "127.0.0.1:0"), ("FAILPOINTS", failpoints)])
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Facts of ten customers, five each, and a killer among them.
async fn neighbours(shop: &Shop, orders: &OrderService, killer: &str) -> Vec<Value> {
    let mut facts = Vec::new();
    for number in 0..10 {
        let customer = customer(shop).await;
        facts.extend((0..5).map(|n| fact(&format!("N-{number}-{n}"), &customer, 1, "placed")));
    }
    for (number, one) in facts.iter().enumerate() {
        if number == 20 {
            let whose = one["customer_id"].as_str().unwrap();
            orders.tell(&fact(killer, whose, 1, "placed")).await;
        }
        orders.tell(one).await;
    }
    facts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_message_that_kills_the_process_ends_and_its_neighbours_are_recorded() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    // The first node declares the queue.
    drop(shop.node().await);
    let facts = neighbours(&shop, &orders, "KILLER").await;
    let (began, mut deaths) = (Instant::now(), 0);
    let mut node = spawn(&shop, "order_intake.fact.KILLER=return");
    while shop.database.count("SELECT count(*) FROM parked_order_facts").await == 0 {
        if node.try_wait().unwrap().is_some() {
            deaths += 1;
            node = spawn(&shop, "order_intake.fact.KILLER=return");
        }
        assert!(began.elapsed() < PATIENCE, "{deaths} deaths and no end");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Once unsuspected, then five times written down.
    assert_eq!(deaths, 6, "the deaths that it cost");
    for one in &facts {
        is_kept(&shop, one).await;
    }
    let dead = orders.dead_letters(1).await;
    assert_eq!((dead.len(), dead[0].reason.as_str(), dead[0].tries), (1, "poison", 5));
    assert!(String::from_utf8_lossy(&dead[0].body).contains("KILLER"));
    assert_eq!(kept(&shop, "KILLER").await, "");
    let parked = "SELECT reason || ' ' || (next_try_at IS NULL)::text FROM parked_order_facts";
    assert_eq!(shop.database.column(parked).await, ["poison true"]);
    eventually("no try is open", PATIENCE, async || {
        let open = "SELECT count(*) FROM order_fact_attempts";
        (shop.database.count(open).await == 0).then_some(())
    })
    .await;
    node.kill().ok();
    node.wait().ok();
    orders.close().await;
}

/// A bug that panics instead costs nobody else anything, and no restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_message_that_panics_ends_and_the_intake_goes_on() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let mut node = shop.node_with(&[("FAILPOINTS", "order_intake.fact.BUG=panic")]).await;
    let facts = neighbours(&shop, &orders, "BUG").await;
    for one in &facts {
        is_kept(&shop, one).await;
    }
    let dead = orders.dead_letters(1).await;
    assert_eq!((dead.len(), dead[0].reason.as_str(), dead[0].tries), (1, "poison", 5));
    assert!(node.runs());
    assert_eq!(node.metric_where("order_facts_retries_total", "\"panic\"").await, 6.0);
    assert_eq!(node.metric("actor_panics_total").await, 0.0, "it was caught before the actor");
    orders.close().await;
}

/// A panic while a batch decides takes the whole batch along: they are all tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_batches_that_break_off_lose_no_fact_and_blame_nobody() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let step = "9*off->1*panic(made by a test)";
    let points = format!("batch.decide={};batch.after_commit={}", [step; 3].join("->"), step);
    let node = shop.node_with(&[("FAILPOINTS", &points)]).await;
    let facts = neighbours(&shop, &orders, "BETWEEN").await;
    for one in &facts {
        is_kept(&shop, one).await;
    }
    assert!(node.metric("order_facts_retries_total").await >= 1.0, "a batch broke off");
    super::drained(&orders).await;
    assert_eq!(orders.dead().await, []);
    orders.close().await;
}
