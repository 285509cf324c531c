//! Many callers read and change the same customers at two nodes, of which one after the other is
//! killed: what they saw is one linear history of each customer, and nothing acknowledged is lost.
//!
//! Short by default; `make soak` sets `SOAK_OPERATIONS`, and with it has the changes per second of one
//! node and of two told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::checker::{self, Acknowledged};
use crate::harness::history::{self, Operation, Span, What};
use crate::harness::{Api, Node, Shop, Shopper, unique};

const CUSTOMERS: usize = 24;
/// Callers; two meet at one customer all the time.
const CALLERS: usize = 48;
/// Operations of the short run.
const OPERATIONS: usize = 3_000;
/// Of each measurement of the long run.
const MEASURED: usize = 6_000;
/// After a call that got no answer.
const REST: Duration = Duration::from_millis(30);
/// Nobody waits longer for an answer; longer than the service lets anybody wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the callers share.
struct World {
    /// The nodes that serve at present.
    nodes: Mutex<Vec<Api>>,
    shoppers: Vec<Shopper>,
    left: AtomicUsize,
}

impl World {
    fn of(nodes: &[&Node], shoppers: Vec<Shopper>, operations: usize) -> Arc<Self> {
        Arc::new(Self {
            nodes: Mutex::new(nodes.iter().map(|node| node.api()).collect()),
            shoppers,
            left: AtomicUsize::new(operations),
        })
    }

    /// One of the nodes, another at each turn.
    fn node(&self, turn: usize) -> Api {
        let nodes = self.nodes.lock().unwrap();
        nodes[turn % nodes.len()].clone()
    }

    /// Whether operations are left to do.
    fn goes_on(&self) -> bool {
        self.left.load(Ordering::Acquire) > 0
    }

    /// Takes one of those away that are left to do.
    fn done_one(&self) {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok();
    }

    fn serve_with(&self, nodes: &[&Node]) {
        *self.nodes.lock().unwrap() = nodes.iter().map(|node| node.api()).collect();
    }

    /// Lets all callers work until nothing is left to do; answers with what they saw.
    async fn work(self: &Arc<Self>) -> Vec<Operation> {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            callers.spawn(call(self.clone(), caller));
        }
        callers.join_all().await.into_iter().flatten().collect()
    }
}

/// Reads its customer and changes it on the condition of what it read, at any node, over and over.
async fn call(world: Arc<World>, caller: usize) -> Vec<Operation> {
    let shopper = &world.shoppers[caller % world.shoppers.len()];
    let mut seen = Vec::new();
    let mut turn = caller;
    let mut base = None;
    while world.goes_on() {
        turn += 1;
        let node = world.node(turn);
        let began = Instant::now();
        let what = match base.take() {
            None => read(&node, shopper).await,
            Some(version) => Some(write(&node, shopper, version).await),
        };
        let Some(what) = what else {
            tokio::time::sleep(REST).await;
            continue;
        };
        world.done_one();
        base = match &what {
            What::Read { version, .. } => Some(*version),
            // Every second change is made without another look.
            What::Written { version, .. } if turn.is_multiple_of(2) => Some(*version),
            _ => None,
        };
        let in_trouble = matches!(what, What::Maybe { .. });
        seen.push(Operation { customer: shopper.id.clone(), began, ended: Instant::now(), what });
        if in_trouble {
            tokio::time::sleep(REST).await;
        }
    }
    seen
}

/// `None`: no answer, which tells nothing.
async fn read(node: &Api, shopper: &Shopper) -> Option<What> {
    let call = shopper.get(node, "/v1/me").try_send();
    let answer = tokio::time::timeout(PATIENCE, call).await.ok()?.ok()?;
    if answer.status != 200 {
        assert_eq!(answer.status, 503, "{}", answer.text());
        return None;
    }
    let value = answer.json()["first_name"].as_str().unwrap().to_owned();
    Some(What::Read { version: answer.version(), value })
}

async fn write(node: &Api, shopper: &Shopper, base: i64) -> What {
    let value = unique("v");
    let call = shopper.patch(node, "/v1/me", json!({ "first_name": value })).if_match(base);
    match tokio::time::timeout(PATIENCE, call.try_send()).await {
        Ok(Ok(answer)) if answer.status == 200 => {
            What::Written { base, version: answer.version(), value }
        }
        Ok(Ok(answer)) if answer.status == 412 => What::Refused { base },
        Ok(Ok(answer)) => {
            assert_eq!(answer.status, 503, "{}", answer.text());
            What::Maybe { base, value }
        }
        Ok(Err(_)) | Err(_) => What::Maybe { base, value },
    }
}

/// Where each customer stands, in the database.
async fn standing(shop: &Shop) -> HashMap<String, (i64, String)> {
    let rows = shop.database.rows("SELECT id, version, first_name FROM customers").await;
    let told = rows.into_iter().map(|row| {
        let mut row = row.into_iter().flatten();
        let mut next = || row.next().unwrap();
        (next(), (next().parse().unwrap(), next()))
    });
    told.collect()
}

async fn shoppers(shop: &Shop, node: &Node) -> Vec<Shopper> {
    let mut all = Vec::new();
    for _ in 0..CUSTOMERS {
        all.push(Shopper::new(shop, node).await);
    }
    all
}

/// Acknowledged changes per second with these nodes and nobody killed.
async fn changes_per_second(shop: &Shop, nodes: &[&Node]) -> f64 {
    let world = World::of(nodes, shoppers(shop, nodes[0]).await, MEASURED);
    let began = Instant::now();
    let seen = world.work().await;
    let changes = seen.iter().filter(|one| matches!(one.what, What::Written { .. })).count();
    changes as f64 / began.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_a_history_of_two_nodes_is_linear_while_they_are_killed_in_turn() {
    let operations = std::env::var("SOAK_OPERATIONS").ok();
    let long = operations.is_some();
    let operations = operations.map_or(OPERATIONS, |text| text.parse().expect("a number"));
    // A busy machine is no fault: nobody is sent away for reading slowly.
    let patient = [
        ("SESSIONS__ACCESS_TOKEN_MINUTES", "60"),
        ("HTTP__HEAD_TIMEOUT_MS", "60000"),
        ("HTTP__BODY_TIMEOUT_MS", "60000"),
    ];
    let shop = Shop::configured(&patient).await;
    let consumer = shop.consumer().await;
    let mut nodes = [shop.node().await, shop.node().await];
    if long {
        let one = changes_per_second(&shop, &[&nodes[0]]).await;
        let two = changes_per_second(&shop, &[&nodes[0], &nodes[1]]).await;
        println!("changes/s: one node {one:.0}, two nodes {two:.0}, ratio {:.2}", two / one);
    }
    let world = World::of(&[&nodes[0], &nodes[1]], shoppers(&shop, &nodes[0]).await, operations);
    let first = standing(&shop).await;
    let began = Instant::now();
    let working = tokio::spawn({
        let world = world.clone();
        async move { world.work().await }
    });
    let mut kills = 0_usize;
    while !working.is_finished() {
        // Another moment of the batch and of the relay each time.
        tokio::time::sleep(Duration::from_millis(900 + 137 * (kills as u64 % 9))).await;
        if working.is_finished() {
            break;
        }
        let (dies, stays) = (kills % 2, (kills + 1) % 2);
        nodes[dies].kill9();
        kills += 1;
        // As long as a balancer may take to notice.
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.serve_with(&[&nodes[stays]]);
        nodes[dies] = shop.node().await;
        world.serve_with(&[&nodes[0], &nodes[1]]);
    }
    let operations = working.await.unwrap();
    let took = began.elapsed();
    let last = standing(&shop).await;
    let span = |shopper: &Shopper| {
        let (first, last) = (first[&shopper.id].clone(), last[&shopper.id].clone());
        (shopper.id.clone(), Span { first, last })
    };
    let spans = world.shoppers.iter().map(span).collect();
    let checking = Instant::now();
    let summary = history::check(&operations, &spans).unwrap_or_else(|violations| {
        panic!(
            "{} violations, such as {:?}",
            violations.len(),
            &violations[..violations.len().min(5)]
        )
    });
    println!("{kills} kills in {took:?}: {summary:?}, checked in {:?}", checking.elapsed());
    assert!(kills >= 2, "too short a run to kill anybody");
    assert!(summary.written > summary.operations / 10, "too few changes");
    let acknowledged: Vec<_> = operations.iter().filter_map(acknowledged).collect();
    let limit = Duration::from_secs(120);
    println!("{:?}", checker::check(&shop.database, &consumer, &acknowledged, limit).await);
    consumer.close().await;
}

fn acknowledged(operation: &Operation) -> Option<Acknowledged> {
    let What::Written { version, .. } = operation.what else { return None };
    Some(Acknowledged { customer_id: operation.customer.clone(), version })
}
