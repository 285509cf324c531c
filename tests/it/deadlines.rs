//! Nothing is done for somebody who waits no more.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::{Shop, Shopper, eventually};

/// Requests end long before statements do, and there are few connections.
const HASTY: &[(&str, &str)] = &[
    ("HTTP__REQUEST_TIMEOUT_MS", "1500"),
    ("HTTP__BODY_TIMEOUT_MS", "1000"),
    ("SHARDS__ACTORS", "1"),
    ("SHARDS__CALL_TIMEOUT_MS", "1000"),
    ("SIGN_IN__WAIT_MS", "500"),
    ("HASHING__DEADLINE_MS", "500"),
    ("SOCIAL__TIMEOUT_MS", "1000"),
    ("ANALYTICS__STATEMENT_TIMEOUT_MS", "1000"),
    ("DATABASE__POOL_SIZE", "6"),
    ("DATABASE__ACQUIRE_TIMEOUT_MS", "20000"),
    ("DATABASE__STATEMENT_TIMEOUT_MS", "30000"),
    ("DATABASE__LOCK_TIMEOUT_MS", "29000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_nobody_waits_for_are_given_up_or_cancelled_at_the_server() {
    let shop = Shop::new().await;
    let patient = shop.node().await;
    let shopper = Shopper::new(&shop, &patient).await;
    let node = shop.node_with(HASTY).await;
    shopper.get(&node, "/v1/me/profile").send().await.expect(200);

    // Somebody holds the table: reads of it wait for as long as they may, half a minute.
    let holder = shop.database.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE customer_profiles IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let began = Instant::now();
    let calls = (0..16).map(|_| shopper.get(&node, "/v1/me/profile").send());
    for answer in join_all(calls).await {
        answer.problem(503, "timed_out");
    }
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock'";
    eventually("no statement runs on", Duration::from_secs(15), async || {
        (shop.database.count(blocked).await == 0).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let abandoned = async |stage: &str| {
        let label = format!("stage=\"{stage}\"");
        node.metric_where("database_reads_abandoned_total", &label).await
    };
    assert!(abandoned("running").await >= 1.0);
    assert!(abandoned("waiting").await >= 1.0);

    // The connections are as good as before.
    holder.batch_execute("COMMIT").await.unwrap();
    // Revocations could not be looked for meanwhile: until they are, nobody's session is believed.
    eventually("sessions can be told alive", Duration::from_secs(15), async || {
        (shopper.get(&node, "/v1/me/profile").send().await.status == 200).then_some(())
    })
    .await;
    let calls = (0..16).map(|_| shopper.get(&node, "/v1/me/profile").send());
    for answer in join_all(calls).await {
        answer.expect(200);
    }
}
