//! More is asked of a node than it can work off: what matters least is refused, and nothing else suffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::shopper::address;
use crate::harness::{Answer, Api, Node, Shop, Shopper, eventually};

/// Early enough that a test can bring it about: this machine, these tests and their servers share a few
/// cores.
const EARLY: &[(&str, &str)] = &[
    ("OVERLOAD__DELAY_MS", "5"),
    ("OVERLOAD__IN_FLIGHT_MIN", "32"),
    // Who was let in is answered, however slow this machine is.
    ("SIGN_IN__WAIT_MS", "20000"),
    ("HTTP__REQUEST_TIMEOUT_MS", "60000"),
    ("HTTP__SHUTDOWN_TIMEOUT_SECONDS", "60"),
    ("SIGN_IN__CLAIM_TIMEOUT_SECONDS", "60"),
];

/// Callers who ask again as soon as they are answered.
struct Storm {
    over: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    callers: Vec<JoinHandle<u64>>,
}

impl Storm {
    /// `ask` makes one request. Whatever is not a refusal for overload is for `judge`, which says whether
    /// it was carried out.
    fn of<A, F>(callers: usize, ask: A, judge: fn(Answer) -> bool) -> Self
    where
        A: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |_| {
            let (ask, over, refused) = (ask.clone(), over.clone(), refused.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while !over.load(Relaxed) {
                    let answer = ask().await;
                    if answer.status == 503 {
                        // a whole problem document, with a Retry-After of one second at least
                        answer.problem(503, "overloaded");
                        refused.fetch_add(1, Relaxed);
                    } else {
                        done += u64::from(judge(answer));
                    }
                }
                done
            })
        };
        let callers = (0..callers).map(one).collect();
        Self { over, refused, callers }
    }

    async fn until_refused(&self, count: u64) {
        let refused = async || (self.refused.load(Relaxed) >= count).then_some(());
        eventually("refusals", Duration::from_secs(60), refused).await;
    }

    /// Ends it: how many requests were carried out.
    async fn end(self) -> u64 {
        self.over.store(true, Relaxed);
        let mut done = 0;
        for caller in self.callers {
            done += caller.await.unwrap();
        }
        done
    }
}

async fn refused(node: &Api, class: &str) -> f64 {
    node.metric_where("admission_refused_total", &format!("class=\"{class}\"")).await
}

/// Sign-ins of people whom nobody knows.
fn sign_ins(node: &Node, callers: usize) -> Storm {
    let api = node.api();
    let ask = move || {
        let (api, body) = (api.clone(), json!({ "email": address(), "password": "wrong one 12" }));
        async move { api.post("/v1/auth/login", body).send().await }
    };
    Storm::of(callers, ask, |answer| answer.expect(401).status == 401)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_sign_ins_leaves_refreshes_reads_and_changes_served() {
    let shop = Shop::configured(EARLY).await;
    let node = shop.node().await;
    let mut shopper = Shopper::new(&shop, &node).await;
    let storm = sign_ins(&node, 150);
    storm.until_refused(100).await;
    let began = Instant::now();
    let mut turn = 0;
    while began.elapsed() < Duration::from_secs(4) || turn < 5 {
        turn += 1;
        shopper.get(&node, "/v1/me").send().await.expect(200);
        let change = json!({ "bio": format!("turn {turn}") });
        shopper.patch(&node, "/v1/me/profile", change).send().await.expect(200);
        let token = json!({ "refresh_token": shopper.refresh });
        let pair = node.post("/v1/auth/refresh", token).send().await.expect(200);
        shopper.refresh = pair.json()["refresh_token"].as_str().unwrap().to_owned();
        node.get("/health/ready").send().await.expect(200);
    }
    for class in ["health", "refresh", "reads", "writes"] {
        assert_eq!(refused(&node, class).await, 0.0, "{class}");
    }
    assert!(refused(&node, "sign_in").await >= 100.0);
    assert!(storm.end().await > 0, "sign-ins that were let in were carried out");
    let log = node.log();
    let told = "more is asked than can be worked off: requests are refused";
    let lines = log.lines().filter(|line| line.contains(told)).count();
    assert!((1..20).contains(&lines), "{lines} lines for thousands of refusals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_has_no_effect_and_what_was_admitted_has_its_whole() {
    let shop = Shop::configured(EARLY).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let (api, key) = (node.api(), shop.staff_key.clone());
    let path = format!("/v1/admin/customers/{}/notes", shopper.id);
    let ask = move || {
        let call = api.post(&path, json!({ "text": "called back" })).bearer(&key);
        async move { call.send().await }
    };
    let storm = Storm::of(150, ask, |answer| match answer.status {
        // the shop's limit of notes
        409 => false,
        _ => answer.expect(201).status == 201,
    });
    storm.until_refused(50).await;
    let made = storm.end().await;
    let kept = format!("SELECT count(*) FROM customer_notes WHERE customer_id = '{}'", shopper.id);
    assert_eq!(u64::try_from(shop.database.count(&kept).await).unwrap(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_again_when_told_is_let_in_once_the_storm_is_over() {
    let shop = Shop::configured(EARLY).await;
    let node = shop.node().await;
    let storm = sign_ins(&node, 150);
    storm.until_refused(500).await;
    let told = async || {
        let body = json!({ "email": address(), "password": "wrong one 12" });
        let answer = node.post("/v1/auth/login", body).send().await;
        (answer.status == 503).then(|| answer.header("retry-after").parse::<u64>().unwrap())
    };
    let wait = eventually("a refusal", Duration::from_secs(30), told).await;
    assert!((1..=60).contains(&wait), "{wait}");
    storm.end().await;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let body = json!({ "email": address(), "password": "wrong one 12" });
    node.post("/v1/auth/login", body).send().await.problem(401, "invalid_credentials");
    eventually("the end of it", Duration::from_secs(10), async || {
        node.log().contains("no request is refused any more").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_lets_a_thousand_callers_in_at_once() {
    let shop = Shop::configured(&[]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let calls = (0..1_000).map(|_| shopper.get(&node, "/v1/me").send());
    for answer in futures_util::future::join_all(calls).await {
        answer.expect(200);
    }
    assert_eq!(node.metric("admission_refused_total").await, 0.0);
}
