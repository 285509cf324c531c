//! `Idempotency-Key`: a request takes effect once, however often it is sent.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::shopper::{address, home};
use crate::harness::{Shop, Shopper, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_has_the_same_answer_even_after_a_restart() {
    let shop = Shop::new().await;
    let mut node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let key = unique("key");
    let add = |node: &crate::harness::Api, city: &str, key: &str| {
        shopper.post(node, "/v1/me/addresses", home(city)).idempotency_key(key).send()
    };
    let first = add(&node, "Huế", &key).await.expect(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    let second = add(&node, "Huế", &format!("\"{key}\"")).await.expect(201);
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(second.body, first.body);
    for name in ["location", "etag"] {
        assert_eq!(second.header(name), first.header(name), "{name}");
    }
    add(&node, "Hà Nội", &key).await.problem(422, "idempotency_key_reused");
    // Keys of different callers never meet.
    let other = Shopper::new(&shop, &node).await;
    let foreign = other.post(&node, "/v1/me/addresses", home("Sa Pa")).idempotency_key(&key);
    assert_eq!(foreign.send().await.expect(201).header("idempotency-replayed"), "");

    node.kill9();
    let node = shop.node().await;
    let third = add(&node, "Huế", &key).await.expect(201);
    assert_eq!((third.header("idempotency-replayed"), &third.body), ("true", &first.body));
    let count = format!("SELECT count(*) FROM addresses WHERE customer_id = '{}'", shopper.id);
    assert_eq!(shop.database.count(&count).await, 1);
    for bad in ["", "a b", "\"open", &"x".repeat(256)] {
        add(&node, "Huế", bad).await.problem(400, "malformed_idempotency_key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_requests_with_one_key_have_one_effect() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let key = unique("key");
    let calls = (0..32).map(|number| {
        let call = shopper.post(&nodes[number % 2], "/v1/me/addresses", home("Huế"));
        let call = call.idempotency_key(&key);
        async move { call.send().await }
    });
    let answers = join_all(calls).await;
    let first = answers.iter().find(|answer| answer.status == 201).unwrap().clone();
    for answer in answers {
        match answer.status {
            201 => assert_eq!(answer.body, first.body),
            _ => drop(answer.problem(409, "idempotency_in_progress")),
        }
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM addresses").await, 1);
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.iter().filter(|kind| *kind == "address.created").count(), 1);

    // A creation whose id is not known beforehand.
    let body = json!({ "email": address(), "first_name": "A", "last_name": "B" });
    let calls = (0..16).map(|number| {
        let call = nodes[number % 2].post("/v1/admin/customers", body.clone());
        let call = call.bearer(&shop.staff_key).idempotency_key("staff-key-1");
        async move { call.send().await }
    });
    for answer in join_all(calls).await {
        assert!(
            answer.status == 201 || answer.code() == "idempotency_in_progress",
            "{} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_leaves_its_key_free_or_refuses_alike() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let bad = shopper.post(&node, "/v1/me/addresses", json!({ "city": "Huế" }));
    bad.idempotency_key("k-1").send().await.problem(422, "validation_failed");
    let good = shopper.post(&node, "/v1/me/addresses", home("Huế")).idempotency_key("k-1");
    good.send().await.expect(201);
    // Answers with secrets are never stored.
    let stored = "SELECT count(*) FROM idempotency_keys WHERE outcome::text LIKE '%token%'";
    assert_eq!(shop.database.count(stored).await, 0);
}
