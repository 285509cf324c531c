//! The statements of a batch are planned once for each connection, perhaps while their tables are
//! empty, and the plan is kept: it must serve the tables when they have grown.

use super::{PATIENCE, customer, drained};
use crate::harness::orders::fact;
use crate::harness::{OrderService, Shop, eventually};

const TABLES: [&str; 3] = ["order_facts", "order_items", "order_statistics"];
const FACTS: usize = 300;

/// How often the whole of these tables was read. What a connection read is told when it ends.
const SCANS: &str = "SELECT sum(seq_scan) FROM pg_stat_user_tables \
    WHERE relname IN ('order_facts', 'order_items', 'order_statistics')";
const LOOKS: &str = "SELECT sum(idx_scan) FROM pg_stat_user_tables \
    WHERE relname IN ('order_facts', 'order_items', 'order_statistics')";
const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_found_by_their_keys_although_their_tables_were_empty_when_that_was_planned() {
    let orders = OrderService::shared();
    // Else the service computes its figures from the whole tables, once.
    let shop = Shop::hearing(&orders, &crate::analytics::BY_COMMAND).await;
    for table in TABLES {
        // As autovacuum does one day: now the planner knows that there is nothing.
        shop.database.execute(&format!("VACUUM ANALYZE {table}")).await;
    }
    let before = shop.database.count(SCANS).await;
    let node = shop.node().await;
    let mut known = Vec::new();
    for _ in 0..20 {
        known.push(customer(&shop).await);
    }
    for version in 1..=2 {
        let facts: Vec<_> = (0..FACTS)
            .map(|number| fact(&format!("P-{number}"), &known[number % 20], version, "placed"))
            .collect();
        orders.tell_all(&facts).await;
        let told = (FACTS * version as usize) as f64;
        eventually("all are recorded", PATIENCE, async || {
            (node.metric("order_facts_total").await == told).then_some(())
        })
        .await;
    }
    drained(&orders).await;
    drop(node);
    eventually("the node's connections are closed", PATIENCE, async || {
        (shop.database.count(OTHERS).await == 0).then_some(())
    })
    .await;
    let looks = shop.database.count(LOOKS).await;
    assert!(looks > FACTS as i64, "{looks} looks into indexes: what is counted is not told yet");
    assert_eq!(shop.database.count(SCANS).await - before, 0, "whole tables were read");
    orders.close().await;
}
