//! Two nodes: each customer is judged by one, and when that one is gone by the other (rule S2).

use std::time::{Duration, Instant};

use serde_json::json;

use super::shelf::*;
use crate::harness::{Node, Shop, eventually};

const RULES: &[(&str, &str)] =
    &[("vip", "customer_tags CONTAINS 'vip'"), ("others", "NOT IN SEGMENT 'vip'")];

async fn owners(shop: &Shop) -> Vec<String> {
    shop.database.column("SELECT DISTINCT split_part(owner, ':', 2) FROM segment_cursors WHERE owner IS NOT NULL").await
}

async fn tag(shop: &Shop, node: &Node, customer: &str) {
    let tags = format!("/v1/admin/customers/{customer}/tags");
    node.post(&tags, json!({ "tag": "vip" })).bearer(&shop.staff_key).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_the_owner_is_killed_and_the_other_goes_on_where_it_was() {
    let shop = Shop::new().await;
    let mut first = shop.node().await;
    eventually("it owns all", Duration::from_secs(10), async || {
        (owners(&shop).await == [first.pid().to_string()]).then_some(())
    })
    .await;
    let second = shop.node().await;
    for (code, definition) in RULES {
        rule(&shop, &second, code, definition).await;
    }
    let mut people = Vec::new();
    for _ in 0..40 {
        people.push(customer(&shop, &second, json!({})).await);
    }
    quiet(&shop).await;
    for (n, one) in people.iter().enumerate().take(20) {
        tag(&shop, &second, one).await;
        if n == 10 {
            first.kill9();
        }
    }
    let killed = Instant::now();
    becomes(&shop, "vip", &people[19], true).await;
    println!("taken over within {:?}", killed.elapsed());
    quiet(&shop).await;
    assert_eq!(owners(&shop).await, [second.pid().to_string()]);
    holds(&shop, RULES).await;
    // Handed over in order, at once.
    let third = shop.node().await;
    second.sigterm();
    let mut second = second;
    second.ended(Duration::from_secs(20)).await;
    tag(&shop, &third, &people[30]).await;
    becomes(&shop, "vip", &people[30], true).await;
    quiet(&shop).await;
    holds(&shop, RULES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_frozen_owner_loses_its_groups_and_writes_no_cursor_any_more() {
    let shop = Shop::new().await;
    let first = shop.node().await;
    for (code, definition) in RULES {
        rule(&shop, &first, code, definition).await;
    }
    let one = customer(&shop, &first, json!({})).await;
    becomes(&shop, "others", &one, true).await;
    let second = shop.node().await;
    let frozen = first.pid();
    first.signal("STOP");
    tag(&shop, &second, &one).await;
    becomes(&shop, "vip", &one, true).await;
    eventually("the other owns all", Duration::from_secs(20), async || {
        (owners(&shop).await == [second.pid().to_string()]).then_some(())
    })
    .await;
    assert_ne!(frozen, second.pid());
    first.signal("CONT");
    let two = customer(&shop, &first, json!({ "tags": ["vip"] })).await;
    becomes(&shop, "vip", &two, true).await;
    quiet(&shop).await;
    holds(&shop, RULES).await;
    assert_eq!(owners(&shop).await, [second.pid().to_string()]);
}

/// What is not judged yet is not thrown away, however old it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_no_message_goes_before_it_was_looked_at() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let one = customer(&shop, &node, json!({})).await;
    quiet(&shop).await;
    drop(node);
    shop.database
        .execute("UPDATE outbox_cursors SET positions = array_fill(1000::bigint, ARRAY[8]), bucket = bucket + 1000")
        .await;
    let hour = shop.database.one("SELECT max(bucket)::text FROM outbox_events").await;
    let behind = "UPDATE segment_cursors SET positions = array_fill(0::bigint, ARRAY[8])";
    shop.database.execute(behind).await;
    let client = shop.database.client().await;
    let refused =
        client.execute(&format!("SELECT outbox_partition_drop({hour})"), &[]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23001", "{refused}");
    let clear = "SELECT outbox_default_clear(now() + interval '1 day', 1000)::text";
    shop.database.execute("UPDATE outbox_cursors SET bucket = bucket + 1000000").await;
    assert_eq!(shop.database.one(clear).await, "0");
    shop.database
        .execute("UPDATE segment_cursors SET positions = array_fill(1000::bigint, ARRAY[8])")
        .await;
    let dropped = client.execute(&format!("SELECT outbox_partition_drop({hour})"), &[]).await;
    assert!(dropped.is_ok(), "{dropped:?} of {one}");
}
