//! The customer's own record (rules L2, L8, M6): changes by merge patch, versions, messages.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::attributes::define;
use crate::harness::checker::{self, Acknowledged};
use crate::harness::{Shop, Shopper};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_every_change_names_its_fields_and_no_change_keeps_the_version() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    define(&node, &shop, "size", json!({ "type": "text" })).await.expect(201);
    define(&node, &shop, "points", json!({ "type": "integer" })).await.expect(201);
    let me = shopper.get(&node, "/v1/me").send().await.expect(200);
    let start = me.version();
    assert_eq!(me.json()["version"], json!(start));

    let steps: [(&str, Value, &[&str]); 6] = [
        (
            "/v1/me",
            json!({ "first_name": "Nguye\u{302}\u{303}n", "accepts_marketing": true }),
            &["accepts_marketing", "first_name"],
        ),
        ("/v1/me", json!({ "first_name": "Nguyễn" }), &[]),
        (
            "/v1/me/profile",
            json!({ "date_of_birth": "1990-02-28", "bio": "Xin chào\nthế giới 👋", "custom": { "size": "M", "points": 7 } }),
            &["profile.bio", "profile.custom", "profile.date_of_birth"],
        ),
        (
            "/v1/me/profile",
            json!({ "bio": null, "custom": { "points": null } }),
            &["profile.bio", "profile.custom"],
        ),
        (
            "/v1/me/preferences",
            json!({ "locale": "vi-VN", "channels": { "sms": true }, "topics": ["news", "art", "news"] }),
            &["preferences.channels", "preferences.locale", "preferences.topics"],
        ),
        ("/v1/me/preferences", json!({ "locale": "vi-VN" }), &[]),
    ];
    let mut version = start;
    let mut expected_changes: Vec<Vec<String>> = Vec::new();
    for (path, body, fields) in steps {
        let answer = shopper.patch(&node, path, body.clone()).send().await.expect(200);
        let me = shopper.get(&node, "/v1/me").send().await.expect(200);
        if !fields.is_empty() {
            version += 1;
            expected_changes.push(fields.iter().map(|field| (*field).to_owned()).collect());
        }
        assert_eq!(me.version(), version, "after {body}: {}", answer.text());
    }
    let told = |message: &Value| {
        let mut changed: Vec<_> = message["changed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field.as_str().unwrap().to_owned())
            .collect();
        changed.sort();
        changed
    };
    let rows = shop.database.column("SELECT data FROM outbox_events WHERE kind = 'customer.updated' ORDER BY customer_sequence").await;
    let changes: Vec<_> =
        rows.iter().map(|data| told(&serde_json::from_str(data).unwrap())).collect();
    assert_eq!(changes.len(), expected_changes.len(), "{changes:?}");
    for (changes, expected) in changes.iter().zip(&expected_changes) {
        // Channels and custom attributes may be named one by one.
        for field in expected {
            assert!(
                changes.iter().any(|change| change.starts_with(field.as_str())),
                "{field}: {changes:?}"
            );
        }
    }
    let whole =
        shopper.get(&node, "/v1/me?expand=profile,preferences").send().await.expect(200).json();
    assert_eq!(whole["first_name"], "Nguyễn");
    assert_eq!(whole["profile"]["date_of_birth"], "1990-02-28");
    assert_eq!(
        (&whole["profile"]["bio"], &whole["profile"]["custom"]),
        (&json!(null), &json!({ "size": "M" }))
    );
    assert_eq!(whole["preferences"]["topics"], json!(["art", "news"]));
    assert_eq!(whole["preferences"]["channels"]["sms"], true);
    // Read-your-writes, on another node, too.
    let other = shop.node().await;
    let seen = shopper.get(&other, "/v1/me").send().await.expect(200);
    assert_eq!(seen.version(), version);
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_match_lets_one_of_many_parallel_changes_pass() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let version = shopper.get(&nodes[0], "/v1/me").send().await.expect(200).version();
    let calls = (0..16).map(|number| {
        let body = json!({ "first_name": format!("Anna {number}") });
        let call = shopper.patch(&nodes[number % 2], "/v1/me", body).if_match(version);
        async move { call.send().await }
    });
    let answers = join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 200);
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].version(), version + 1);
    for answer in lost {
        answer.problem(412, "precondition_failed");
    }
    let any = shopper.patch(&nodes[0], "/v1/me", json!({ "first_name": "B" }));
    any.header("if-match", "*").send().await.expect(200);
    for (tag, status) in [("\"x\"", 412), ("7", 400), ("\"999999\"", 412), ("W/\"1\"", 412)] {
        let call = shopper.patch(&nodes[0], "/v1/me", json!({ "first_name": "C" }));
        call.header("if-match", tag).send().await.expect(status).assert_problem();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_parallel_changes_on_two_nodes_lose_nothing() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let mut shoppers = Vec::new();
    for _ in 0..4 {
        shoppers.push(Shopper::new(&shop, &nodes[0]).await);
    }
    let calls = (0..200).map(|number| {
        let shopper = shoppers[number % 4].clone();
        let node = nodes[(number / 4) % 2].api();
        async move {
            let body = json!({ "first_name": format!("Anna {number}") });
            let answer = shopper.patch(&node, "/v1/me", body).send().await.expect(200);
            Acknowledged { customer_id: shopper.id, version: answer.version() }
        }
    });
    let mut acknowledged = join_all(calls).await;
    let verdict =
        checker::check(&shop.database, &consumer, &acknowledged, Duration::from_secs(30)).await;
    assert_eq!((verdict.acknowledged, verdict.customers, verdict.duplicates), (200, 4, 0));
    acknowledged.sort();
    acknowledged.dedup();
    assert_eq!(acknowledged.len(), 200, "no version was given twice");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_the_owner_can_touch_neither_status_nor_group_nor_address() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for field in ["status", "group", "email", "email_verified", "phone", "tags", "id", "version"] {
        let body = json!({ field: "active" });
        let refused = shopper.patch(&node, "/v1/me", body).send().await;
        let faults = refused.problem(422, "validation_failed").faults();
        assert_eq!(faults, [format!("#/{field} unknown_field")]);
    }
}
