//! Clients who go away in the middle, and clients who are slow on purpose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ground::Ground;
use crate::harness::{Api, Node, Shopper};
use crate::report::Report;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F21",
        fault: "clients drop their requests at a random byte and time, 10,000 times",
        criterion: "broken connections in the pool 0, leaked permits 0, open transactions after 5 s 0",
        play: played!(dropped),
        short: true,
    },
    Scenario {
        id: "F28",
        fault: "1,000 connections that send a byte a second, in heads and in bodies",
        criterion: "all cut ≤ 15 s, a healthy client 100 % good",
        play: played!(slow),
        short: false,
    },
];

fn address(node: &Api) -> SocketAddr {
    node.base().trim_start_matches("http://").parse().unwrap()
}

/// A change of a name, as bytes.
fn request(shopper: &Shopper, number: usize) -> Vec<u8> {
    let body = json!({ "first_name": format!("Anna {number:040}") }).to_string();
    format!(
        "PATCH /v1/me HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        shopper.access,
        body.len()
    )
    .into_bytes()
}

async fn dropped(ground: &Ground, report: &mut Report) {
    let times = ground.either(1_000, 10_000);
    let shop = ground.shop(&[]).await;
    let node = shop.node().await;
    let mut shoppers = Vec::new();
    for _ in 0..8 {
        shoppers.push(Shopper::new(&shop, &node).await);
    }
    let mut running = JoinSet::new();
    for number in 0..times {
        let bytes = request(&shoppers[number % shoppers.len()], number);
        // Half of them whole, and given up while the service is at it.
        let cut = match ground.roll(2) {
            0 => bytes.len(),
            _ => ground.roll(bytes.len() as u64) as usize,
        };
        let (rest, hard) = (Duration::from_micros(ground.roll(25_000)), ground.roll(2) == 0);
        let to = address(&node);
        running.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(to).await else { return false };
            stream.write_all(&bytes[..cut]).await.ok();
            sleep(rest).await;
            if hard {
                stream.set_zero_linger().ok();
            }
            true
        });
        if running.len() >= 64 {
            running.join_next().await;
        }
    }
    while running.join_next().await.is_some() {}
    let began = Instant::now();
    let left = loop {
        let left = left_behind(&shop, &node).await;
        if left.iter().all(|(_, count)| *count == 0.0) || began.elapsed() > Duration::from_secs(5) {
            break left;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let clean = left.iter().all(|(_, count)| *count == 0.0);
    report.must(clean, format!("{times} dropped; after {:.1?}: {left:?}", began.elapsed()));
    let mut calls = JoinSet::new();
    for number in 0..64 {
        let (shopper, node) = (shoppers[number % shoppers.len()].clone(), node.api());
        calls.spawn(async move {
            shopper.patch(&node, "/v1/me", json!({ "first_name": "After" })).send().await.status
        });
    }
    let good = calls.join_all().await.into_iter().filter(|status| *status == 200).count();
    report.must(good == 64, format!("{good} of 64 good afterwards"));
}

/// What a request that was dropped must not leave.
async fn left_behind(shop: &crate::harness::Shop, node: &Node) -> Vec<(&'static str, f64)> {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state LIKE 'idle in transaction%'";
    let busy = "pool_name=\"writes\",db_client_connection_state=\"used\"";
    vec![
        ("open transactions", shop.database.count(open).await as f64),
        ("busy connections", node.metric_where("db_client_connection_count", busy).await),
        ("queued", node.metric_where("actor_queue_depth", "\"customers-").await),
        // Asking is a request as well.
        ("requests", (node.metric("http_server_active_requests").await - 1.0).max(0.0)),
    ]
}

async fn slow(ground: &Ground, report: &mut Report) {
    let count = ground.either(200, 1_000);
    let shop = ground.shop(&[]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let ended = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let healthy = tokio::spawn({
        let (node, shopper, ended, asked) =
            (node.api(), shopper.clone(), ended.clone(), asked.clone());
        async move {
            let mut bad = 0;
            while !ended.load(Ordering::Acquire) {
                asked.fetch_add(1, Ordering::AcqRel);
                let call = shopper.get(&node, "/v1/me").header("connection", "close");
                bad += usize::from(!call.try_send().await.is_ok_and(|answer| answer.status == 200));
                sleep(Duration::from_millis(50)).await;
            }
            bad
        }
    });
    let mut connections = JoinSet::new();
    for number in 0..count {
        let bytes = request(&shopper, number);
        let head = bytes.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
        let already = if number % 2 == 0 { 5 } else { head };
        connections.spawn(trickle(address(&node), bytes, already));
    }
    let mut cut: Vec<Option<Duration>> = connections.join_all().await;
    ended.store(true, Ordering::Release);
    let bad = healthy.await.unwrap();
    cut.sort();
    let open = cut.iter().filter(|cut| cut.is_none()).count();
    let slowest = cut.last().copied().flatten().unwrap_or_default();
    report.must(
        open == 0 && slowest <= Duration::from_secs(15),
        format!("{count} connections, {open} not cut, the last after {slowest:.1?}"),
    );
    let asked = asked.load(Ordering::Acquire);
    report.must(bad == 0, format!("healthy client: {} of {asked} good", asked - bad));
}

/// Sends a byte a second of what is left; when it was cut, or `None` after half a minute.
async fn trickle(to: SocketAddr, bytes: Vec<u8>, already: usize) -> Option<Duration> {
    let mut stream = TcpStream::connect(to).await.ok()?;
    let began = Instant::now();
    stream.write_all(&bytes[..already]).await.ok()?;
    let mut answer = [0; 1_024];
    // Longer than anybody waits; a head of so many bytes has not ended by then, nor has such a body.
    for byte in bytes[already..].iter().take(29) {
        let silent = timeout(Duration::from_secs(1), async {
            while stream.read(&mut answer).await.is_ok_and(|read| read > 0) {}
        });
        if silent.await.is_ok() || stream.write_all(&[*byte]).await.is_err() {
            return Some(began.elapsed());
        }
    }
    None
}
