//! The lock on guessing (rule A3), exact under any concurrency and across nodes.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::json;

use crate::harness::servers::PrivateServer;
use crate::harness::shopper::{PASSWORD, address, sign_in};
use crate::harness::{Node, Shop, Shopper};

/// The lock's own behaviour under a thousand callers, and none of it due to a queue that is full.
const WIDE: &[(&str, &str)] = &[
    ("SIGN_IN__WAIT_MS", "15000"),
    // A thousand callers share two cores with the servers: none of them is slow on purpose.
    ("HTTP__HEAD_TIMEOUT_MS", "30000"),
    ("HTTP__BODY_TIMEOUT_MS", "20000"),
    ("REDIS__TIMEOUT_MS", "5000"),
    ("HTTP__REQUEST_TIMEOUT_MS", "30000"),
    ("HTTP__SHUTDOWN_TIMEOUT_SECONDS", "30"),
];

async fn verifications(nodes: &[Node]) -> f64 {
    let mut sum = 0.0;
    for node in nodes {
        sum += node.metric("password_verifications_total").await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_1000_parallel_wrong_sign_ins_are_exactly_5_verifications_on_two_nodes() {
    let shop = Shop::configured(WIDE).await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    for email in [shopper.email.clone(), address()] {
        let before = verifications(&nodes).await;
        let calls = (0..1000).map(|number| {
            let (node, email) = (nodes[number % 2].api(), email.clone());
            async move { sign_in(&node, &email, "wrong password 12").await }
        });
        // All but the sockets of the machine: 250 at a time on each node.
        let answers: Vec<_> = stream::iter(calls).buffer_unordered(500).collect().await;
        let count = |status: u16| answers.iter().filter(|a| a.status == status).count();
        let (wrong, locked) = (count(401), count(429));
        let others: Vec<_> = answers
            .iter()
            .filter(|a| !matches!(a.status, 401 | 429))
            .take(3)
            .map(|a| format!("{} {}", a.status, a.text()))
            .collect();
        assert_eq!(verifications(&nodes).await - before, 5.0, "{wrong} wrong, {locked} locked");
        assert_eq!((wrong, locked), (5, 995), "{others:?}");
        for answer in answers.into_iter().filter(|answer| answer.status == 429).take(3) {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
            answer.problem(429, "login_locked");
        }
    }
    // Even the right password, and only as long as the lock holds.
    sign_in(&nodes[1], &shopper.email, PASSWORD).await.problem(429, "login_locked");
    let locked = "SELECT count(*) FROM outbox_events WHERE kind = 'customer.sign_in_locked'";
    assert_eq!(shop.database.count(locked).await, 1, "one lock of one known customer");
    let failed = "SELECT count(*) FROM audit_entries WHERE action = 'sign_in.failed' \
        AND customer_id IS NOT NULL";
    assert_eq!(shop.database.count(failed).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_50_parallel_right_sign_ins_all_pass() {
    let shop = Shop::configured(WIDE).await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let calls = (0..50).map(|number| {
        let (node, email) = (nodes[number % 2].api(), shopper.email.clone());
        async move { sign_in(&node, &email, PASSWORD).await }
    });
    for answer in join_all(calls).await {
        answer.expect(200);
    }
    let state = "SELECT count(*) FROM sign_in_throttles WHERE locked_until IS NOT NULL \
        OR jsonb_array_length(state->'failures') > 0 OR jsonb_array_length(state->'claims') > 0";
    assert_eq!(shop.database.count(state).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_the_lock_survives_kill_9_and_a_flushed_redis_and_ends_by_staff() {
    let redis = PrivateServer::start("redis");
    let shop = Shop::configured(&[("REDIS__URL", &redis.url)]).await;
    let mut node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for _ in 0..5 {
        let wrong = sign_in(&node, &shopper.email, "wrong password 12").await;
        wrong.problem(401, "invalid_credentials");
    }
    sign_in(&node, &shopper.email, PASSWORD).await.problem(429, "login_locked");
    node.kill9();
    // Nothing of Redis is on disk: a new process of it has forgotten everything.
    redis.stop("KILL").await;
    redis.start_again();
    let node = shop.node().await;
    sign_in(&node, &shopper.email, PASSWORD).await.problem(429, "login_locked");

    let path = format!("/v1/admin/customers/{}/unlock", shopper.id);
    let unlocked = node.post(&path, json!({})).bearer(&shop.staff_key).send().await;
    assert!(matches!(unlocked.status, 200 | 204), "{} {}", unlocked.status, unlocked.text());
    sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    assert!(shop.entries(&shopper.id).await.contains(&"sign_in.unlocked".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_a_known_device_is_not_locked_out_by_strangers() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for _ in 0..6 {
        sign_in(&node, &shopper.email, "wrong password 12").await;
    }
    sign_in(&node, &shopper.email, PASSWORD).await.problem(429, "login_locked");
    let body = |device: &str| json!({ "email": shopper.email, "password": PASSWORD, "device_token": device });
    node.post("/v1/auth/login", body(&shopper.device)).send().await.expect(200);
    // A device of somebody else, or none at all, counts with everybody.
    let other = Shopper::new(&shop, &node).await;
    for device in [other.device.as_str(), "x"] {
        let answer = node.post("/v1/auth/login", body(device)).send().await;
        assert!(matches!(answer.status, 429 | 422), "{}", answer.text());
    }
}
