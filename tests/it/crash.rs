//! `kill -9` under load, again and again, then a broker that is away: no acknowledged change lost,
//! no message missing, no sequence inverted, and one effect for each idempotency key.
//!
//! Short by default; `make soak` sets `SOAK_KILLS` and `SOAK_BROKER_SECONDS`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::checker::{self, Acknowledged};
use crate::harness::servers::PrivateServer;
use crate::harness::shopper::home;
use crate::harness::{Api, Shop, Shopper, unique};

const WRITERS: usize = 12;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What the writers share.
struct Load {
    /// The node that serves at present.
    node: Mutex<Api>,
    ended: AtomicBool,
    failures: AtomicUsize,
    /// Addresses acknowledged under a key of their own.
    added: AtomicUsize,
}

impl Load {
    fn node(&self) -> Api {
        self.node.lock().unwrap().clone()
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// Changes its customer over and over; answers with what was acknowledged.
async fn write(load: Arc<Load>, shopper: Shopper) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if load.ended() {
            break;
        }
        let body = json!({ "first_name": format!("Anna {number}") });
        match shopper.patch(&load.node(), "/v1/me", body).try_send().await {
            Ok(answer) if answer.status == 200 => {
                let version = answer.version();
                acknowledged.push(Acknowledged { customer_id: shopper.id.clone(), version });
            }
            other => pause(&load, other.ok().map(|answer| answer.status)).await,
        }
        if number % 20 == 0 {
            add_address(&load, &shopper, number).await;
        }
    }
    acknowledged
}

/// Adds an address and insists, under one key, until it is acknowledged.
async fn add_address(load: &Load, shopper: &Shopper, number: usize) {
    let key = unique("key");
    loop {
        let call = shopper.post(&load.node(), "/v1/me/addresses", home(&format!("City {number}")));
        match call.idempotency_key(&key).try_send().await {
            Ok(answer) if answer.status == 201 => break,
            other => pause(load, other.ok().map(|answer| answer.status)).await,
        }
    }
    load.added.fetch_add(1, Ordering::AcqRel);
}

/// A dead node gives no answer, a dying or starting one 503, and nothing else is an excuse.
async fn pause(load: &Load, status: Option<u16>) {
    assert!(matches!(status, None | Some(503 | 409)), "{status:?}");
    load.failures.fetch_add(1, Ordering::AcqRel);
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_m2_kill_9_under_load_loses_nothing_and_inverts_nothing() {
    let kills = setting("SOAK_KILLS", 3);
    let broker_seconds = setting("SOAK_BROKER_SECONDS", 0);
    let rabbit = (broker_seconds > 0).then(|| PrivateServer::start("rabbitmq"));
    let settings = [("CUSTOMERS__ADDRESS_LIMIT", "1000"), ("OUTBOX__POLL_MS", "50")];
    let mut settings = settings.to_vec();
    if let Some(rabbit) = &rabbit {
        settings.push(("RABBIT__URL", &rabbit.url));
    }
    let shop = Shop::configured(&settings).await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let load = Arc::new(Load {
        node: Mutex::new(node.api()),
        ended: AtomicBool::new(false),
        failures: AtomicUsize::new(0),
        added: AtomicUsize::new(0),
    });
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let shopper = Shopper::new(&shop, &node).await;
        writers.spawn(write(load.clone(), shopper));
    }
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        // Another moment of the batch and of the relay each time.
        tokio::time::sleep(Duration::from_millis(700 + 137 * (kill % 7))).await;
        let began = Instant::now();
        node.kill9();
        node = shop.node().await;
        *load.node.lock().unwrap() = node.api();
        slowest = slowest.max(began.elapsed());
    }
    if let Some(rabbit) = &rabbit {
        let began = Instant::now();
        rabbit.stop("TERM").await;
        tokio::time::sleep(Duration::from_secs(broker_seconds).saturating_sub(began.elapsed()))
            .await;
        tokio::task::block_in_place(|| rabbit.start_again());
        println!("RabbitMQ was away for {:?}", began.elapsed());
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    load.ended.store(true, Ordering::Release);
    let acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    let limit = Duration::from_secs(90);
    let verdict = checker::check(&shop.database, &consumer, &acknowledged, limit).await;
    let added = i64::try_from(load.added.load(Ordering::Acquire)).unwrap();
    assert_eq!(shop.database.count("SELECT count(*) FROM addresses").await, added);
    assert!(acknowledged.len() > 100, "too little load: {}", acknowledged.len());
    println!(
        "{kills} kills, back after {slowest:?} at worst, {} calls failed, {added} addresses: {verdict:?}",
        load.failures.load(Ordering::Acquire)
    );
    consumer.close().await;
}
