//! Two nodes on one database: an owner that freezes, and many writers of the same customers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::history::{self, Operation, Span, What};
use crate::harness::{Api, Node, Shop, Shopper};
use crate::load::Load;
use crate::report::Report;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F04",
        fault: "the relay's owner frozen for 30 s beside a second node, then thawed",
        criterion: "take-over ≤ 12 s, order kept by version, cursors never move back",
        play: played!(frozen_owner),
        short: false,
    },
    Scenario {
        id: "F24",
        fault: "two nodes, the same customers, 64 writers conditional on the version",
        criterion: "linear history, lost updates 0",
        play: played!(linear),
        short: true,
    },
];

/// The cursors' positions, all shards in one row.
const POSITIONS: &str = "SELECT string_agg(p::text, ' ' ORDER BY relay_group, n) FROM outbox_cursors, \
    unnest(positions) WITH ORDINALITY AS u (p, n)";

async fn frozen_owner(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    // The first comer owns everything.
    let owner = shop.node().await;
    let owned = async |node: &Node| node.metric("outbox_groups_owned").await;
    while owned(&owner).await < 8.0 {
        sleep(Duration::from_millis(100)).await;
    }
    let second = shop.node().await;
    let load = Load::begin(&shop, &[second.api()], 8, 80).await;
    sleep(Duration::from_secs(2)).await;
    let mut watch = Cursors::default();
    watch.look(&shop).await;
    let began = Instant::now();
    owner.signal("STOP");
    let mut taken = None;
    let frozen = ground.seconds(13, 30);
    while began.elapsed() < frozen {
        watch.look(&shop).await;
        if taken.is_none() && owned(&second).await >= 8.0 {
            taken = Some(began.elapsed());
        }
        sleep(Duration::from_millis(100)).await;
    }
    owner.signal("CONT");
    for _ in 0..30 {
        watch.look(&shop).await;
        sleep(Duration::from_millis(100)).await;
    }
    let within = taken.is_some_and(|taken| taken <= Duration::from_secs(12));
    report.must(within, format!("taken over after {taken:.1?}"));
    let backwards = watch.backwards;
    report.must(
        backwards == 0,
        format!("{} looks at the cursors, {backwards} backwards", watch.looks),
    );
    let zombie = owned(&owner).await;
    report.must(zombie == 0.0, format!("the thawed owner has {zombie} groups"));
    let told = load.end().await;
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

/// Whether any shard's position ever falls.
#[derive(Default)]
pub struct Cursors {
    last: Vec<i64>,
    pub looks: usize,
    pub backwards: usize,
}

impl Cursors {
    pub async fn look(&mut self, shop: &Shop) {
        let text = shop.database.one(POSITIONS).await;
        let now: Vec<i64> = text.split(' ').map(|one| one.parse().unwrap()).collect();
        self.looks += 1;
        self.backwards += usize::from(now.iter().zip(&self.last).any(|(now, before)| now < before));
        self.last = now;
    }
}

/// What the callers share.
struct Crowd {
    shoppers: Vec<Shopper>,
    nodes: Vec<Api>,
    history: Mutex<Vec<Operation>>,
    /// Operations left to do.
    left: Mutex<usize>,
}

async fn linear(ground: &Ground, report: &mut Report) {
    let operations = ground.either(3_000, 20_000);
    match crowd(ground, operations, &[]).await {
        Ok(told) => report.note(told),
        Err(violations) => report.must(false, violations),
    }
}

/// 64 callers on two nodes with settings of their own; what the checker says.
///
/// # Errors
/// The violations.
pub async fn crowd(
    ground: &Ground,
    operations: usize,
    settings: &[(&str, &str)],
) -> Result<String, String> {
    let shop = ground.shop(&[]).await;
    let nodes = [shop.node_with(settings).await, shop.node_with(settings).await];
    let mut shoppers = Vec::new();
    for _ in 0..6 {
        shoppers.push(Shopper::new(&shop, &nodes[0]).await);
    }
    let mut firsts = HashMap::new();
    for shopper in &shoppers {
        firsts.insert(shopper.id.clone(), read(&nodes[0].api(), shopper).await.expect("an answer"));
    }
    let crowd = Arc::new(Crowd {
        shoppers: shoppers.clone(),
        nodes: nodes.iter().map(|node| node.api()).collect(),
        history: Mutex::default(),
        left: Mutex::new(operations),
    });
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..64 {
        callers.spawn(call(crowd.clone(), number, ground.roll(u64::MAX)));
    }
    callers.join_all().await;
    let took = began.elapsed();
    let mut spans = HashMap::new();
    for shopper in &shoppers {
        let last = read(&nodes[1].api(), shopper).await.expect("an answer");
        let first = firsts.remove(&shopper.id).unwrap();
        spans.insert(shopper.id.clone(), Span { first, last });
    }
    let history = std::mem::take(&mut *crowd.history.lock().unwrap());
    match history::check(&history, &spans) {
        Ok(summary) => Ok(format!("linear: {summary:?} in {:.0} s", took.as_secs_f64())),
        Err(violations) => {
            Err(format!("{} violations, such as {}", violations.len(), violations[0]))
        }
    }
}

async fn read(api: &Api, shopper: &Shopper) -> Option<(i64, String)> {
    let answer = shopper.get(api, "/v1/me").try_send().await.ok()?;
    let name = answer.json()["first_name"].as_str()?.to_owned();
    Some((answer.version(), name))
}

/// Reads, then writes on the condition of what was read, over and over.
async fn call(crowd: Arc<Crowd>, number: usize, mut dice: u64) {
    let mut count = 0;
    loop {
        {
            let mut left = crowd.left.lock().unwrap();
            let Some(less) = left.checked_sub(2) else { return };
            *left = less;
        }
        // xorshift: a run of choices by the caller's seed.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let shopper = &crowd.shoppers[(dice % crowd.shoppers.len() as u64) as usize];
        let node = &crowd.nodes[(dice >> 8) as usize % crowd.nodes.len()];
        let customer = shopper.id.clone();
        let note = |began: Instant, what: What| {
            let (customer, ended) = (customer.clone(), Instant::now());
            crowd.history.lock().unwrap().push(Operation { customer, began, ended, what });
        };
        let began = Instant::now();
        let Some((base, value)) = read(node, shopper).await else { continue };
        note(began, What::Read { version: base, value });
        count += 1;
        let value = format!("W {number} {count}");
        let began = Instant::now();
        let change = shopper.patch(node, "/v1/me", json!({ "first_name": value })).if_match(base);
        let what = match change.try_send().await {
            Ok(answer) if answer.status == 200 => {
                What::Written { base, version: answer.version(), value }
            }
            Ok(answer) if answer.status == 412 => What::Refused { base },
            _ => What::Maybe { base, value },
        };
        note(began, what);
    }
}
