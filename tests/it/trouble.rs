//! Servers that stop, panics, and the order to end: callers are answered, nothing is lost, and the
//! service recovers by itself.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::api::Call;
use crate::harness::checker::{self, Acknowledged};
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::shopper::{PASSWORD, home, sign_in};
use crate::harness::{Answer, Api, Shop, Shopper, eventually, unique};

async fn rename(shopper: &Shopper, node: &Api, name: &str) -> Answer {
    shopper.patch(node, "/v1/me", json!({ "first_name": name })).send().await
}

/// Waits until a call succeeds again; answers with how long that took.
async fn recovers(what: &str, mut works: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !works().await {
        assert!(began.elapsed() < Duration::from_secs(15), "{what} does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_gone_is_503_and_its_return_needs_no_restart() {
    let postgres = PrivateServer::start("postgres");
    let database = TestDatabase::on(&postgres.url).await;
    let settings = [("DATABASE__ACQUIRE_TIMEOUT_MS", "1500")];
    let shop = Shop::with(database, &settings).await;
    let mut node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    rename(&shopper, &node, "Before").await.expect(200);

    postgres.stop("QUIT").await;
    let registration = crate::harness::shopper::registration("new@shoppers.example");
    let calls = [
        shopper.get(&node, "/v1/me"),
        shopper.patch(&node, "/v1/me", json!({ "first_name": "During" })),
        node.get("/v1/admin/customers").bearer(&shop.staff_key),
        node.post("/v1/auth/login", json!({ "email": shopper.email, "password": PASSWORD })),
        node.post("/v1/auth/register", registration),
        crate::harness::shopper::refresh_call(&node, &shopper.refresh),
    ];
    let timed = |call: Call| async {
        let began = Instant::now();
        (call.send().await, began.elapsed())
    };
    for (answer, took) in join_all(calls.map(timed)).await {
        answer.expect(503).assert_problem();
        assert!(took < Duration::from_secs(6), "answered after {took:?}");
    }
    node.get("/health/live").send().await.expect(200);
    node.get("/health/ready").send().await.expect(503);

    postgres.start_again();
    let took =
        recovers("the service", async || rename(&shopper, &node, "After").await.status == 200)
            .await;
    println!("recovered {} ms after PostgreSQL was back", took.as_millis());
    assert!(node.runs(), "without a restart");
    shopper.get(&node, "/v1/me").send().await.expect(200);
    eventually("ready again", Duration::from_secs(10), async || {
        (node.get("/health/ready").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_frozen_leaves_nobody_waiting_for_ever() {
    let postgres = PrivateServer::start("postgres");
    let database = TestDatabase::on(&postgres.url).await;
    let settings = [
        ("DATABASE__ACQUIRE_TIMEOUT_MS", "1500"),
        ("DATABASE__STATEMENT_TIMEOUT_MS", "2000"),
        ("SHARDS__CALL_TIMEOUT_MS", "4000"),
    ];
    let shop = Shop::with(database, &settings).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let backends = shop
        .database
        .column("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'customer-service%'")
        .await;
    let freeze = |signal: &str| {
        postgres.signal(signal);
        let sent = Command::new("kill").arg(format!("-{signal}")).args(&backends).status();
        assert!(sent.unwrap().success());
    };
    freeze("STOP");
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let (shopper, node) = (shopper.clone(), node.api());
        calls.spawn(async move {
            let began = Instant::now();
            let answer = match number % 2 {
                0 => rename(&shopper, &node, "During").await,
                _ => shopper.get(&node, "/v1/me").send().await,
            };
            (answer, began.elapsed())
        });
    }
    while let Some(done) = calls.join_next().await {
        let (answer, took) = done.unwrap();
        assert!(took < Duration::from_secs(11), "answered after {took:?}");
        answer.expect(503).assert_problem();
    }
    freeze("CONT");
    let took =
        recovers("the service", async || rename(&shopper, &node, "After").await.status == 200)
            .await;
    println!("recovered {} ms after PostgreSQL went on", took.as_millis());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m3_rabbitmq_gone_under_load_fails_no_write_and_the_order_holds() {
    let rabbit = PrivateServer::start("rabbitmq");
    let shop = Shop::configured(&[("RABBIT__URL", &rabbit.url)]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (shopper, node, ended) = (Shopper::new(&shop, &node).await, node.api(), ended.clone());
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            while !ended.load(Ordering::Acquire) {
                let name = format!("Anna {number} {}", acknowledged.len());
                let answer = rename(&shopper, &node, &name).await.expect(200);
                let version = answer.version();
                acknowledged.push(Acknowledged { customer_id: shopper.id.clone(), version });
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            acknowledged
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    rabbit.stop("KILL").await;
    node.get("/health/ready").send().await.expect(200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::task::block_in_place(|| rabbit.start_again());
    println!("RabbitMQ was away for {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    ended.store(true, Ordering::Release);
    let acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    let verdict =
        checker::check(&shop.database, &consumer, &acknowledged, Duration::from_secs(60)).await;
    println!("{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_redis_gone_stops_signing_in_and_nothing_else() {
    let redis = PrivateServer::start("redis");
    let settings = [("REDIS__URL", redis.url.as_str()), ("REDIS__TIMEOUT_MS", "500")];
    let shop = Shop::configured(&settings).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    redis.stop("KILL").await;
    for _ in 0..8 {
        let refused = sign_in(&node, &shopper.email, PASSWORD).await;
        refused.problem(503, "rate_limiter_unavailable");
    }
    rename(&shopper, &node, "During").await.expect(200);
    shopper.get(&node, "/v1/me").send().await.expect(200);
    shopper.add_address(&node, "Huế").await;
    crate::harness::shopper::refresh(&node, &shopper.refresh).await.expect(200);
    node.get("/v1/admin/customers").bearer(&shop.staff_key).send().await.expect(200);
    node.get("/health/ready").send().await.expect(200);
    redis.start_again();
    let took = recovers("signing in", async || {
        sign_in(&node, &shopper.email, PASSWORD).await.status == 200
    })
    .await;
    println!("signing in works {} ms after Redis was back", took.as_millis());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_redis_and_rabbitmq_serves_and_keeps_its_messages() {
    let shop = Shop::configured(&[("REDIS__URL", ""), ("RABBIT__URL", "")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    drop(node);
    // Later there is a broker, and everything is told from the beginning.
    let url = std::env::var("TEST_AMQP_URL").unwrap();
    let consumer = crate::harness::Consumer::bind(&url, &shop.exchange).await;
    let _node = shop.node_with(&[("RABBIT__URL", url.as_str())]).await;
    let expected = shop.messages(&shopper.id).await;
    assert_eq!(consumer.kinds(&shopper.id, expected.len()).await, expected);
    consumer.close().await;
}

/// What a panic at one point of a batch does to its callers, and how soon the next are served.
async fn panic_at(point: &str, statuses: &[u16]) {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    // Five of them, with quiet batches between.
    let step = "25*off->1*panic(made by a test)";
    let points = format!("{point}={}", [step; 5].join("->"));
    let node = shop.node_with(&[("FAILPOINTS", &points)]).await;
    let mut acknowledged = Vec::new();
    let (mut panics, mut fastest) = (0, Duration::MAX);
    let shopper = loop {
        // A panic may hit the registration.
        if let Some(shopper) = try_shopper(&shop, &node).await {
            break shopper;
        }
    };
    for number in 0..400 {
        let answer = rename(&shopper, &node, &format!("Anna {number}")).await;
        if answer.status == 200 {
            let version = answer.version();
            acknowledged.push(Acknowledged { customer_id: shopper.id.clone(), version });
            continue;
        }
        assert!(statuses.contains(&answer.status), "{} {}", answer.status, answer.text());
        answer.assert_problem();
        panics += 1;
        let took = recovers("the actor", async || {
            let read = rename(&shopper, &node, &format!("Back {number}")).await;
            read.status == 200
        })
        .await;
        fastest = fastest.min(took);
        if panics == 3 {
            break;
        }
    }
    assert_eq!(panics, 3, "panics that a caller saw");
    assert!(fastest < Duration::from_millis(100), "back after {fastest:?}");
    println!("{point}: back after {fastest:?} at best");
    assert!(node.metric("actor_panics_total").await >= 3.0);
    assert_eq!(node.metric_where("actor_up", "\"customers-").await, 2.0);
    // The relay has only what was committed, in order, whatever was being answered.
    let sequence = shop.database.count("SELECT max(sequence) FROM customers").await;
    assert!(sequence >= i64::try_from(acknowledged.len()).unwrap());
    checker::check(&shop.database, &consumer, &acknowledged, Duration::from_secs(20)).await;
    consumer.close().await;
}

async fn try_shopper(shop: &Shop, node: &Api) -> Option<Shopper> {
    let email = crate::harness::shopper::address();
    let registered = crate::harness::shopper::register(node, &email).await;
    if registered.status != 202 {
        return None;
    }
    let token = shop.mail_to(&email, 1).await.token();
    let verified = crate::harness::shopper::verify(node, &token).await;
    (verified.status == 200).then(|| Shopper::of(&email, &verified))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_while_deciding_is_answered_and_the_actor_is_back() {
    panic_at("batch.decide", &[503]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_before_the_commit_is_answered_and_changed_nothing() {
    panic_at("batch.before_commit", &[503]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_after_the_commit_leaves_one_effect_under_one_key() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let points = "batch.after_commit=15*off->1*panic->7*off->1*panic->7*off->1*panic";
    let node = shop.node_with(&[("FAILPOINTS", points)]).await;
    let shopper = Shopper::new(&shop, &node).await;
    let mut unknown = 0;
    for number in 0..30 {
        let (key, body) = (unique("key"), home(&format!("City {number}")));
        let add =
            || shopper.post(&node, "/v1/me/addresses", body.clone()).idempotency_key(&key).send();
        let first = add().await;
        if first.status == 201 {
            continue;
        }
        first.problem(503, "outcome_unknown");
        unknown += 1;
        // The message goes its way although nobody woke the relay.
        let again = add().await.expect(201);
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
    assert_eq!(unknown, 3);
    assert_eq!(shop.database.count("SELECT count(*) FROM addresses").await, 30);
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_answers_every_accepted_request() {
    let shop = Shop::configured(&[("HTTP__DRAIN_DELAY_MS", "300")]).await;
    let consumer = shop.consumer().await;
    // Commits are slow, so that requests are under way whenever the signal comes.
    let mut node = shop.node_with(&[("FAILPOINTS", "batch.before_commit=sleep(30)")]).await;
    let mut writers = JoinSet::new();
    for number in 0..24 {
        let (shopper, node) = (Shopper::new(&shop, &node).await, node.api());
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            let mut broken = Vec::new();
            loop {
                let name = format!("Anna {number} {}", acknowledged.len());
                let call = shopper.patch(&node, "/v1/me", json!({ "first_name": name }));
                // One connection a request: a kept one may be closed while idle, which no server
                // can help.
                match call.header("connection", "close").try_send().await {
                    Ok(answer) => {
                        let version = answer.expect(200).version();
                        let customer_id = shopper.id.clone();
                        acknowledged.push(Acknowledged { customer_id, version });
                    }
                    Err(error) if error.is_connect() => return (acknowledged, broken),
                    Err(_) => {
                        broken.push((shopper.id, name));
                        return (acknowledged, broken);
                    }
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    node.sigterm();
    let status = node.ended(Duration::from_secs(25)).await;
    println!("ended {:?} after the signal", began.elapsed());
    assert!(status.success(), "{status}: {}", node.log());
    let (mut acknowledged, mut broken) = (Vec::new(), Vec::new());
    for (mut some, errors) in writers.join_all().await {
        acknowledged.append(&mut some);
        broken.extend(errors);
    }
    // A connection that was closed before its request was read got no answer; then the request
    // had no effect either, and may be sent again, elsewhere.
    for (customer, name) in &broken {
        let sql = format!("SELECT first_name FROM customers WHERE id = '{customer}'");
        assert_ne!(&shop.database.one(&sql).await, name, "carried out and not answered");
    }
    println!("{} answered, {} connections closed unread", acknowledged.len(), broken.len());
    assert!(acknowledged.len() > 24, "{}", acknowledged.len());
    // What the relay did not get out before the end, the next process does.
    let _next = shop.node().await;
    checker::check(&shop.database, &consumer, &acknowledged, Duration::from_secs(30)).await;
    consumer.close().await;
}

/// One that dies whenever it is asked: the process says which and why, takes no more requests, and ends as
/// failed, so that whoever started it starts another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_no_restart_mends_ends_the_process() {
    let shop = Shop::new().await;
    let sound = shop.node().await;
    let shopper = Shopper::new(&shop, &sound).await;
    let settings = [
        ("FAILPOINTS", "shard.message=panic"),
        ("SHARDS__RESTART_INTENSITY", "2"),
        ("HTTP__DRAIN_DELAY_MS", "2000"),
    ];
    let mut node = shop.node_with(&settings).await;
    let api = node.api();
    eventually("not ready any more", Duration::from_secs(30), async || {
        let call = shopper.patch(&api, "/v1/me", json!({ "first_name": "Lost" }));
        let answer = call.try_send().await.expect("it is answered as long as the process runs");
        assert_eq!(answer.status, 503, "{}", answer.text());
        let ready = api.get("/health/ready").try_send().await.expect("and so is the probe");
        (ready.status == 503).then_some(())
    })
    .await;
    assert_eq!(node.ended(Duration::from_secs(30)).await.code(), Some(1), "{}", node.log());
    let log = node.log();
    let reason = log.lines().find(|line| line.contains("ending, since this process cannot do"));
    let reason = reason.unwrap_or_else(|| panic!("no reason in\n{log}"));
    assert!(reason.contains("customers-"), "which actor: {reason}");
    assert!(reason.contains("it failed too often"), "why: {reason}");
    rename(&shopper, &sound, "Kept").await.expect(200);
}
