//! Redis is killed, frozen, flushed, and slow.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::proxy::Proxy;
use crate::harness::shopper::{PASSWORD, address, sign_in};
use crate::harness::{Node, Shopper};
use crate::report::{Report, percentile};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F18",
        fault: "Redis flushed, frozen, killed",
        criterion: "sign-ins still limited (≤ 1.2 × the budget), reads 100 % good, the lock on guessing holds",
        play: played!(lost),
        short: true,
    },
    Scenario {
        id: "F19",
        fault: "Redis slower by 500 ms",
        criterion: "requests slower by ≤ 10 ms (deadline and breaker)",
        play: played!(slow),
        short: true,
    },
];

/// Sign-ins a minute that one client address may try.
const BUDGET: usize = 10;

/// So many sign-ins of unknown people from one address: how many were let through to the password.
async fn guesses(node: &Node, from: &str, count: usize) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        let body = json!({ "email": address(), "password": "wrong password 12" });
        let answer = node.post("/v1/auth/login", body).from(from).send().await;
        assert!(matches!(answer.status, 401 | 429 | 503), "{} {}", answer.status, answer.text());
        passed += usize::from(answer.status == 401);
    }
    passed
}

/// Reads that were good, of so many.
async fn reads(node: &Node, shopper: &Shopper, count: usize) -> usize {
    let calls = join_all((0..count).map(|_| shopper.get(node, "/v1/me").send())).await;
    calls.iter().filter(|answer| answer.status == 200).count()
}

struct Thaw<'a>(&'a Ground);

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        self.0.redis.signal("CONT");
    }
}

async fn lost(ground: &Ground, report: &mut Report) {
    let budget = BUDGET.to_string();
    for policy in ["closed", "local"] {
        let settings = [
            ("LIMITS__SIGN_IN_PER_MINUTE", budget.as_str()),
            ("REDIS__TIMEOUT_MS", "100"),
            ("REDIS__ON_FAILURE", policy),
        ];
        let shop = ground.shop(&settings).await;
        let node = shop.node().await;
        let shopper = Shopper::new(&shop, &node).await;
        let locked = Shopper::new(&shop, &node).await;
        for number in 0..5 {
            let body = json!({ "email": locked.email, "password": "wrong password 12" });
            let from = format!("198.51.100.{number}");
            node.post("/v1/auth/login", body).from(&from).send().await.expect(401);
        }
        let mut good = 0;
        let before = guesses(&node, "203.0.113.1", 25).await;
        let client = redis::Client::open(ground.redis.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
        drop(connection);
        let flushed = guesses(&node, "203.0.113.2", 25).await;
        good += reads(&node, &shopper, 50).await;
        ground.redis.signal("STOP");
        let thaw = Thaw(ground);
        let frozen = guesses(&node, "203.0.113.3", 25).await;
        good += reads(&node, &shopper, 50).await;
        drop(thaw);
        ground.redis.stop("KILL").await;
        let gone = guesses(&node, "203.0.113.4", 25).await;
        good += reads(&node, &shopper, 50).await;
        // The lock is PostgreSQL's: it holds whatever Redis forgot.
        let right = sign_in(&node, &locked.email, PASSWORD).await;
        tokio::task::block_in_place(|| ground.redis.start_again());
        let most = BUDGET as f64 * 1.2;
        let limited = [before, flushed, frozen, gone].iter().all(|passed| *passed as f64 <= most);
        report.must(
            limited,
            format!("on failure {policy}: of 25 each with a budget of {BUDGET}: {before} before, {flushed} flushed, {frozen} frozen, {gone} killed"),
        );
        report.must(good == 150, format!("{good} of 150 reads good"));
        let holds = right.status == 429 || (policy == "closed" && right.status == 503);
        report.must(holds, format!("a locked account answers {}", right.status));
    }
}

async fn slow(ground: &Ground, report: &mut Report) {
    let proxy = Proxy::to(&ground.redis.url).await;
    let settings = [
        ("REDIS__URL", proxy.url.as_str()),
        ("REDIS__TIMEOUT_MS", "100"),
        ("REDIS__ON_FAILURE", "local"),
    ];
    let shop = ground.shop(&settings).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    // Warm, so that the first connection's time is nobody's.
    let mut base = times(&node, &shopper, 40).await;
    proxy.delay(Duration::from_millis(500));
    let mut first = times(&node, &shopper, 6).await;
    let mut then = times(&node, &shopper, 40).await;
    let medians = [&mut base, &mut first, &mut then]
        .map(|(reads, sign_ins)| (percentile(reads, 0.5), percentile(sign_ins, 0.5)));
    let [base, first, then] = medians;
    let added = (then.0 - base.0, then.1 - base.1);
    report.must(
        added.0 <= 10.0 && added.1 <= 10.0,
        format!(
            "median added to reads {:.1} ms, to sign-ins {:.1} ms once the breaker knows (before: {:.0} ms)",
            added.0, added.1, first.1
        ),
    );
}

/// Reads and sign-ins one after the other, in milliseconds.
async fn times(node: &Node, shopper: &Shopper, count: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut reads, mut sign_ins) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let began = Instant::now();
        shopper.get(node, "/v1/me").send().await.expect(200);
        reads.push(began.elapsed().as_secs_f64() * 1_000.0);
        // Of nobody: an account would be left with more sessions than it may have.
        let began = Instant::now();
        sign_in(node, &address(), PASSWORD).await.expect(401);
        sign_ins.push(began.elapsed().as_secs_f64() * 1_000.0);
        sleep(Duration::from_millis(5)).await;
    }
    (reads, sign_ins)
}
