//! The outbox under a held snapshot, and without a partition for its rows.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use chrono::DateTime;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::{Consumer, Shop, Shopper};
use crate::load::Load;
use crate::report::{Report, ms, percentile};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F09",
        fault: "a snapshot held open under load (20 s; whole suite: 90 s, FAULTS_SNAPSHOT_SECONDS for longer)",
        criterion: "dead rows in the outbox 0, cursor written ≤ 1/s per group, p99 of delivery ≤ 1.5 × without",
        play: played!(held_snapshot),
        short: false,
    },
    Scenario {
        id: "F29",
        fault: "no partition of the outbox can be made; the database has taken 80 % of its room; its disk is full (the last two in the whole suite)",
        criterion: "told ≤ 10 s, writes good, nothing lost; works ≤ 10 s after there is room again",
        play: played!(no_room),
        short: true,
    },
];

/// Whom appended messages are about: told apart by this prefix.
const NOBODY: &str = "00000000-0000-4000-8000-";

/// Appends messages by the outbox's own function, as if so many customers had changed: 1,000 in a
/// statement, each about somebody else.
pub async fn append(shop: &Shop, count: usize) {
    let client = shop.database.client().await;
    for first in (0..count).step_by(1_000) {
        let last = (first + 999).min(count - 1);
        let sql = format!(
            "SELECT outbox_append(array_agg((n % 64)::smallint), array_agg(gen_random_uuid()), \
             array_agg(('{NOBODY}' || lpad(n::text, 12, '0'))::uuid), array_agg(1::bigint), \
             array_agg('customer.updated'::text), array_agg(clock_timestamp()), \
             array_agg(NULL::text), array_agg('{{\"version\": 1}}'::jsonb)) \
             FROM generate_series({first}, {last}) AS n"
        );
        client.batch_execute(&sql).await.unwrap();
    }
}

/// Takes those rows away again, and what was received of them, for checks that know every customer.
pub async fn forget_appended(shop: &Shop, consumer: &Consumer) {
    let sql = format!("DELETE FROM outbox_events WHERE customer_id::text LIKE '{NOBODY}%'");
    shop.database.execute(&sql).await;
    let mut received = consumer.received.lock().unwrap();
    received.retain(|(message, ..)| !message.customer_id.starts_with(NOBODY));
}

/// Updates of the cursors' rows, as the server counts them: it tells with a delay of a second.
async fn flushes(shop: &Shop) -> i64 {
    let sql = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'outbox_cursors'";
    shop.database.count(sql).await
}

async fn dead_rows(shop: &Shop) -> i64 {
    let sql = "SELECT coalesce(sum(n_dead_tup + n_tup_del + n_tup_upd), 0)::bigint \
        FROM pg_stat_user_tables WHERE relname LIKE 'outbox_events%'";
    shop.database.count(sql).await
}

/// The 99th hundredth of the times from decision to arrival, of first deliveries among those of a
/// range, in milliseconds; and how many these are.
pub fn p99(consumer: &Consumer, range: Range<usize>) -> (usize, f64) {
    let mut firsts = HashMap::new();
    for (message, headers, at) in &consumer.received.lock().unwrap()[range] {
        let decided = headers["cloudEvents:time"].as_str().unwrap();
        let decided = DateTime::parse_from_rfc3339(decided).unwrap();
        let delay = (*at - decided.to_utc()).as_seconds_f64() * 1_000.0;
        firsts.entry(message.id.clone()).or_insert(delay);
    }
    let mut delays: Vec<f64> = firsts.into_values().collect();
    (delays.len(), percentile(&mut delays, 0.99))
}

async fn held_snapshot(ground: &Ground, report: &mut Report) {
    let given = std::env::var("FAULTS_SNAPSHOT_SECONDS").ok().and_then(|text| text.parse().ok());
    let holds = given.map_or(ground.seconds(20, 90), Duration::from_secs);
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 40, ground.either(120, 500)).await;
    sleep(Duration::from_secs(2)).await;
    let warm = consumer.received().len();
    sleep(holds.min(Duration::from_secs(90)) / 2).await;
    let calm = consumer.received().len();
    let client = shop.database.client().await;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    let (began, flushed) = (Instant::now(), flushes(&shop).await);
    sleep(holds).await;
    let (flushed, dead) = (flushes(&shop).await - flushed, dead_rows(&shop).await);
    let lasted = began.elapsed();
    let held = consumer.received().len();
    client.batch_execute("COMMIT").await.unwrap();
    let told = load.end().await;
    let per_group = flushed as f64 / lasted.as_secs_f64() / 8.0;
    report.must(dead == 0, format!("dead, deleted or updated rows {dead}"));
    report.must(per_group <= 1.05, format!("cursors written {per_group:.2}/s per group"));
    let ((count, before), (during_count, during)) =
        (p99(&consumer, warm..calm), p99(&consumer, calm..held));
    report.must(
        during <= before * 1.5,
        format!(
            "{:.0} changes/s; p99 of delivery {during:.1} ms of {during_count} against {before:.1} ms of {count} ({:.2} ×)",
            told.rate(),
            during / before.max(0.001)
        ),
    );
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

async fn no_room(ground: &Ground, report: &mut Report) {
    no_partition(ground, report).await;
    if ground.full {
        crate::disk::full(ground, report).await;
    }
}

async fn no_partition(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[]).await;
    // Tables of these names are in the way: each partition's making fails.
    let hours = "DO $$ BEGIN FOR n IN 0..60 LOOP EXECUTE format('DROP TABLE IF EXISTS outbox_events_%s', \
        outbox_hour() + n); EXECUTE format('CREATE TABLE outbox_events_%s (x int)', outbox_hour() + n); \
        END LOOP; END $$";
    shop.database.execute(hours).await;
    let consumer = shop.consumer().await;
    let began = Instant::now();
    let node = shop.node().await;
    let told = loop {
        let ahead = node.metric("outbox_partitions_ahead").await;
        if ahead == 0.0 && node.log().contains("a step of the janitor failed") {
            break Some(began.elapsed());
        }
        if began.elapsed() > Duration::from_secs(30) {
            break None;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let quick = told.is_some_and(|told| told <= Duration::from_secs(10));
    let told = told.map_or("never".to_owned(), ms);
    report.must(quick, format!("told by outbox_partitions_ahead = 0 and a warning after {told}"));
    let shopper = Shopper::new(&shop, &node).await;
    for number in 0..20 {
        shopper.add_address(&node, &format!("City {number}")).await;
    }
    let expected = shop.messages(&shopper.id).await;
    let kinds = consumer.kinds(&shopper.id, expected.len()).await;
    let default = shop.database.count("SELECT count(*) FROM outbox_events_default").await;
    report.must(
        kinds == expected && default >= 20,
        format!("20 of 20 writes good; {} messages delivered in order, {default} by the default partition", kinds.len()),
    );
    consumer.close().await;
}
