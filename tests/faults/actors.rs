//! An actor that panics, and one whose queue is full.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::{Node, Shopper};
use crate::load::Load;
use crate::report::{Report, ms};
use crate::{Scenario, played};

/// Shards' actors of the node whose actors panic.
const ACTORS: usize = 8;

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F23",
    fault: "a shard panics; a shard's queue is full",
    criterion: "back ≤ 100 ms after the first panic of an actor, other shards not affected, callers answered 503 and never left hanging",
    play: played!(troubled),
    short: true,
}];

async fn troubled(ground: &Ground, report: &mut Report) {
    panics(ground, report).await;
    full(ground, report).await;
}

async fn panics(ground: &Ground, report: &mut Report) {
    let actors = ACTORS.to_string();
    let settings = [
        ("SHARDS__ACTORS", &*actors),
        ("DATABASE__POOL_SIZE", "16"),
        ("CUSTOMERS__ADDRESS_LIMIT", "1000"),
    ];
    let shop = ground.shop(&settings).await;
    let consumer = shop.consumer().await;
    // Enough quiet batches for everybody to come to be.
    let step = "60*off->1*panic(made by a test)";
    let points = format!("shard.message=400*off->{}", [step; 3].join("->"));
    let node = shop.node_with(&[("FAILPOINTS", &points)]).await;
    let load = Load::begin(&shop, &[node.api()], 12, 150).await;
    let began = Instant::now();
    let mut restarts = 0.0;
    while restarts < 3.0 && began.elapsed() < Duration::from_secs(40) {
        restarts = node.metric_where("actor_restart_duration_seconds_count", "\"customers-").await;
        sleep(Duration::from_millis(50)).await;
    }
    let (firsts, later) = restart_times(&node).await;
    let told = load.end().await;
    let failed =
        told.attempts.iter().filter(|one| one.status != Some(200) && one.status != Some(201));
    let failed = failed.count();
    let hung = told.attempts.iter().map(|one| one.took).max().unwrap_or_default();
    report.must(restarts >= 3.0, format!("{restarts} restarts of actors that panicked"));
    let slowest = firsts.iter().max().copied().unwrap_or(Duration::MAX);
    report.must(
        slowest <= Duration::from_millis(100),
        format!("from its end until it runs again {firsts:.0?}, by the service's own clock"),
    );
    if !later.is_empty() {
        report.note(format!(
            "an actor that panicked again within a minute rests longer: {later:.0?}"
        ));
    }
    // Whoever was in that actor's mailbox, and nobody of the others.
    let share = failed as f64 / told.attempts.len() as f64;
    report.must(
        share <= 0.05,
        format!("{failed} of {} calls failed, slowest {}", told.attempts.len(), ms(hung)),
    );
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

/// How long actors that restarted once took for it, and the mean of those that did so again.
async fn restart_times(node: &Node) -> (Vec<Duration>, Vec<Duration>) {
    let (mut firsts, mut later) = (Vec::new(), Vec::new());
    for actor in 0..ACTORS {
        let label = format!("\"customers-{actor}\"");
        let name = |part| format!("actor_restart_duration_seconds_{part}");
        let count = node.metric_where(&name("count"), &label).await;
        let sum = node.metric_where(&name("sum"), &label).await;
        match count {
            0.0 => {}
            1.0 => firsts.push(Duration::from_secs_f64(sum)),
            _ => later.push(Duration::from_secs_f64(sum / count)),
        }
    }
    (firsts, later)
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
