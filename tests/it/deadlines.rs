//! Nothing is done for somebody who waits no more.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

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
    let watcher = shop.database.client().await;
    let waiting = async {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
            AND wait_event_type = 'Lock'";
        eventually("reads wait at the server", Duration::from_secs(15), async || {
            let rows = watcher.query(sql, &[]).await.unwrap();
            let pids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            (pids.len() >= 2).then_some(pids)
        })
        .await
    };
    let (answers, servers) = join(join_all(calls), waiting).await;
    for answer in answers {
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

    // Whom the server was told to interrupt serves nobody else: it may be told late.
    eventually("interrupted connections are closed", Duration::from_secs(15), async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)";
        let row = watcher.query_one(sql, &[&servers]).await.unwrap();
        (row.get::<_, i64>(0) == 0).then_some(())
    })
    .await;

    // There are others, as good as those before.
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
