//! An actor that panics, and one whose queue is full.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::Shopper;
use crate::load::Load;
use crate::report::{Report, ms};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F23",
    fault: "a shard panics; a shard's queue is full",
    criterion: "back ≤ 100 ms (looked at over HTTP on a busy machine: ≤ 500 ms), other shards not affected, callers answered 503 and never left hanging",
    play: played!(troubled),
    short: true,
}];

async fn troubled(ground: &Ground, report: &mut Report) {
    panics(ground, report).await;
    full(ground, report).await;
}

async fn panics(ground: &Ground, report: &mut Report) {
    let settings = [("SHARDS__ACTORS", "4"), ("CUSTOMERS__ADDRESS_LIMIT", "1000")];
    let shop = ground.shop(&settings).await;
    let consumer = shop.consumer().await;
    // Enough quiet batches for everybody to come to be.
    let step = "60*off->1*panic(made by a test)";
    let points = format!("shard.message=400*off->{}", [step; 3].join("->"));
    let node = shop.node_with(&[("FAILPOINTS", &points)]).await;
    let load = Load::begin(&shop, &[node.api()], 12, 150).await;
    let began = Instant::now();
    let mut downs = Vec::new();
    let mut seen = 0.0;
    while seen < 3.0 && began.elapsed() < Duration::from_secs(40) {
        let down = node.metric_where("actor_up", "\"customers-").await < 4.0;
        let looked = Instant::now();
        if down {
            while node.metric_where("actor_up", "\"customers-").await < 4.0 {
                sleep(Duration::from_millis(2)).await;
            }
            downs.push(looked.elapsed());
        }
        seen = node.metric_where("actor_panics_total", "\"customers-").await;
        sleep(Duration::from_millis(2)).await;
    }
    let told = load.end().await;
    let failed =
        told.attempts.iter().filter(|one| one.status != Some(200) && one.status != Some(201));
    let failed = failed.count();
    let hung = told.attempts.iter().map(|one| one.took).max().unwrap_or_default();
    report.must(seen >= 3.0, format!("{seen} panics of actors"));
    // The rests between restarts grow by design, and a look takes its time: the shortest tells.
    let quickest = downs.iter().min().copied().unwrap_or_default();
    report.must(
        quickest <= Duration::from_millis(500),
        format!("seen down for {} at best ({downs:.0?})", ms(quickest)),
    );
    // Whoever was in that actor's mailbox, and nobody of the other three.
    let share = failed as f64 / told.attempts.len() as f64;
    report.must(
        share <= 0.05,
        format!("{failed} of {} calls failed, slowest {}", told.attempts.len(), ms(hung)),
    );
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

async fn full(ground: &Ground, report: &mut Report) {
    let settings = [
        ("SHARDS__ACTORS", "1"),
        ("SHARDS__QUEUE_MAX", "32"),
        ("SHARDS__BATCH_MAX", "8"),
        ("SHARDS__CALL_TIMEOUT_MS", "5000"),
    ];
    let shop = ground.shop(&settings).await;
    let node = shop.node_with(&[("FAILPOINTS", "batch.before_commit=60*off->sleep(400)")]).await;
    let shopper = Shopper::new(&shop, &node).await;
    let mut calls = JoinSet::new();
    for number in 0..300 {
        let (shopper, node) = (shopper.clone(), node.api());
        calls.spawn(async move {
            let body = json!({ "first_name": format!("Anna {number}") });
            let began = Instant::now();
            let answer = shopper.patch(&node, "/v1/me", body).send().await;
            let hinted = !answer.header("retry-after").is_empty();
            (answer.status, hinted, began.elapsed())
        });
    }
    let answers = calls.join_all().await;
    let count = |wanted: u16| answers.iter().filter(|(status, ..)| *status == wanted).count();
    let (good, shed) = (count(200), count(503));
    let hinted = answers.iter().all(|(status, hinted, _)| *status != 503 || *hinted);
    let slowest = answers.iter().map(|(.., took)| *took).max().unwrap_or_default();
    report.must(
        good + shed == 300 && shed > 0 && hinted,
        format!("queue of 32: {good} good and {shed} told 503 with Retry-After, of 300"),
    );
    report.must(slowest <= Duration::from_secs(7), format!("slowest answer {}", ms(slowest)));
}
