//! The brake on credential stuffing (rule A5): a spray of identifiers over two nodes trips it,
//! shoppers on known devices do not notice it, and it lets go by itself.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, address};
use crate::harness::{Answer, Api, Shop, Shopper, eventually};

const SETTINGS: &[(&str, &str)] = &[
    ("LIMITS__SIGN_IN_PER_MINUTE", "10"),
    ("STUFFING__MIN_FAILURES", "30"),
    ("STUFFING__WINDOW_SECONDS", "20"),
    ("STUFFING__HOLD_SECONDS", "8"),
    ("STUFFING__SIGN_IN_PER_MINUTE", "3"),
    ("STUFFING__NETWORK_IDENTIFIERS", "8"),
];

const ORDINARY: &str = "\"login\";q=10;w=60";
const BRAKED: &str = "\"login\";q=3;w=60";

async fn attempt(api: &Api, from: &str, body: Value) -> Answer {
    api.post("/v1/auth/login", body).from(from).send().await
}

/// Somebody's leaked password, tried at an identifier that nobody has.
async fn spray(api: &Api, from: &str) -> Answer {
    attempt(api, from, json!({ "email": address(), "password": "Summer2019!" })).await
}

fn right(shopper: &Shopper, device: Option<&str>) -> Value {
    json!({ "email": shopper.email, "password": PASSWORD, "device_token": device })
}

async fn engaged(api: &Api) -> bool {
    api.metric("stuffing_brake_engaged").await > 0.5
}

async fn notes(api: &Api) -> Value {
    let report = api.get("/health/ready").send().await.expect(200).json();
    assert_eq!(report["status"], "ready", "the brake takes nobody out of service");
    report["notes"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_a_spray_of_identifiers_trips_the_brake_on_all_nodes_and_it_lets_go() {
    let shop = Shop::configured(SETTINGS).await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    assert_eq!(notes(&nodes[0]).await, Value::Null);

    // Nobody meets a limit: each try is of another identifier, from another network.
    let sprays = (0..32).map(|number| {
        let node = &nodes[number % 2];
        async move { spray(node, &format!("10.1.{number}.9")).await }
    });
    for answer in join_all(sprays).await {
        let answer = answer.problem(401, "invalid_credentials");
        assert_eq!(answer.header("ratelimit-policy"), ORDINARY);
    }
    // The last outcomes ride along with these, and both nodes learn of it.
    for number in 0..6 {
        let answer = spray(&nodes[number % 2], &format!("10.2.{number}.9")).await;
        answer.problem(401, "invalid_credentials");
    }
    for node in &nodes {
        assert!(engaged(node).await);
        assert!(notes(node).await[0].as_str().unwrap().contains("stuffing brake"));
    }

    // A shopper on a new device, from an address of its own, has a smaller budget and passes.
    let fresh = attempt(&nodes[1], "192.0.2.10", right(&shopper, None)).await.expect(200);
    assert_eq!(fresh.header("ratelimit-policy"), BRAKED);

    // One address: three a minute.
    for _ in 0..3 {
        spray(&nodes[0], "198.51.100.1").await.problem(401, "invalid_credentials");
    }
    let refused = spray(&nodes[1], "198.51.100.1").await.problem(429, "rate_limited");
    assert_eq!(refused.header("ratelimit-policy"), BRAKED);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");

    // One network: eight identifiers, from however many addresses.
    let mut passed = 0;
    for number in 0..14 {
        let answer = spray(&nodes[number % 2], &format!("203.0.113.{number}")).await;
        match answer.status {
            401 => passed += 1,
            _ => drop(answer.problem(429, "rate_limited")),
        }
    }
    assert_eq!(passed, 8);

    // A known device is held back by neither; one that is nobody's, or another customer's, is.
    let stranger = Shopper::new(&shop, &nodes[0]).await;
    for from in ["198.51.100.1", "203.0.113.77"] {
        let known = attempt(&nodes[1], from, right(&shopper, Some(&shopper.device))).await;
        assert_eq!(known.expect(200).header("ratelimit-policy"), ORDINARY);
        let made_up = "A".repeat(64);
        for device in [&stranger.device, &made_up] {
            let foreign = attempt(&nodes[1], from, right(&shopper, Some(device))).await;
            foreign.problem(429, "rate_limited");
        }
    }
    for (node, refusals) in nodes.iter().zip([1.0, 5.0]) {
        assert!(node.metric("stuffing_brake_refusals_total").await >= refusals);
        assert_eq!(node.log().matches("are held back (stuffing brake)").count(), 1, "told once");
    }

    // Nobody looks but the metrics; then an attempt finds everything as before.
    for node in &nodes {
        eventually("the brake lets go", Duration::from_secs(120), || async {
            (!engaged(node).await).then_some(())
        })
        .await;
        assert_eq!(notes(node).await, Value::Null);
    }
    // So close to the edge, outcomes that ride along late may engage it once more, for a moment.
    let began = Instant::now();
    loop {
        let after = spray(&nodes[0], "198.51.100.200").await.problem(401, "invalid_credentials");
        if after.header("ratelimit-policy") == ORDINARY {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "held back for good");
        tokio::time::sleep(Duration::from_secs(21)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_successes_keep_the_brake_off_and_off_means_off() {
    let shop = Shop::configured(SETTINGS).await;
    let node = shop.node_with(&[("REDIS__URL", ""), ("STUFFING__FAILURE_PERCENT", "90")]).await;
    let shopper = Shopper::new(&shop, &node).await;
    // Every sixth is right: 83 per cent fail.
    for number in 0..48 {
        let from = format!("10.3.{number}.9");
        if number % 6 == 0 {
            attempt(&node, &from, right(&shopper, None)).await.expect(200);
        }
        spray(&node, &from).await.problem(401, "invalid_credentials");
    }
    assert!(!engaged(&node).await);

    let node = shop.node_with(&[("STUFFING__BRAKE", "off")]).await;
    for number in 0..40 {
        let answer = spray(&node, &format!("10.4.{number}.9")).await;
        answer.problem(401, "invalid_credentials");
    }
    assert!(!engaged(&node).await);
}
