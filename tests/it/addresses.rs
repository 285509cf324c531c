//! The address book (rules D1, D2).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::checker;
use crate::harness::shopper::home;
use crate::harness::{Api, Shop, Shopper};

async fn book(shopper: &Shopper, node: &Api) -> Vec<Value> {
    let list = shopper.get(node, "/v1/me/addresses?limit=100").send().await.expect(200).json();
    list["items"].as_array().unwrap().clone()
}

/// The ids that hold a default; each kind must have exactly one.
async fn defaults(shopper: &Shopper, node: &Api) -> (String, String) {
    let book = book(shopper, node).await;
    let holder = |kind: &str| {
        let holders: Vec<_> = book.iter().filter(|address| address[kind] == true).collect();
        assert_eq!(holders.len(), 1, "{kind}: {holders:?}");
        holders[0]["id"].as_str().unwrap().to_owned()
    };
    (holder("default_shipping"), holder("default_billing"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_64_parallel_changes_of_the_default_leave_one_and_a_message_for_each_change() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let mut ids = Vec::new();
    for city in ["Huế", "Hà Nội", "Đà Nẵng", "Cần Thơ", "Sa Pa"] {
        ids.push(shopper.add_address(&nodes[0], city).await);
    }
    let versions = async || {
        let sum = "SELECT coalesce(sum(version), 0) FROM addresses";
        shop.database.count(sum).await
    };
    let count = "SELECT count(*) FROM outbox_events WHERE kind = 'address.default_changed'";
    let (versions_before, before) = (versions().await, shop.database.count(count).await);
    let calls = (0..64).map(|number| {
        let path = format!("/v1/me/addresses/{}/default", ids[number * 7 % 5]);
        let call = shopper.put(&nodes[number % 2], &path, json!({ "kind": "shipping" }));
        async move { call.send().await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.expect(200).json()["default_shipping"], true);
    }
    let (shipping, billing) = defaults(&shopper, &nodes[0]).await;
    assert_eq!(billing, ids[0], "the other kind was left alone");
    let changes = shop.database.count(count).await - before;
    assert!((1..=64).contains(&changes), "{changes}");
    // Each hand-over touches the one that gives and the one that takes, once.
    assert_eq!(versions().await - versions_before, 2 * changes);
    consumer.kinds(&shopper.id, 4 + 5 + 2 + usize::try_from(changes).unwrap()).await;
    // The messages chain: each takes from whom the one before gave to.
    let mut holder = ids[0].clone();
    for message in consumer.of(&shopper.id) {
        let data = &message.data;
        if message.kind == "address.default_changed"
            && data["kind"] == "shipping"
            && data["from"].is_string()
        {
            assert_eq!(data["from"], json!(holder));
            holder = data["to"].as_str().unwrap().to_owned();
        }
    }
    assert_eq!(holder, shipping);
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_the_first_is_both_defaults_and_a_deleted_default_is_handed_over() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let added = shopper.post(&node, "/v1/me/addresses", home("Huế")).send().await.expect(201);
    let first = added.json();
    assert_eq!(
        (&first["default_shipping"], &first["default_billing"]),
        (&json!(true), &json!(true))
    );
    let id = first["id"].as_str().unwrap().to_owned();
    assert_eq!(added.header("location"), format!("/v1/me/addresses/{id}"));
    assert_eq!(added.version(), first["version"].as_i64().unwrap());
    let only = format!("/v1/me/addresses/{id}");
    shopper.delete(&node, &only).send().await.problem(409, "last_address");

    // A default given at creation, both kinds at once.
    let mut body = home("Hà Nội");
    body["default_billing"] = json!(true);
    let second = shopper.post(&node, "/v1/me/addresses", body).send().await.expect(201).json();
    let second = second["id"].as_str().unwrap().to_owned();
    assert_eq!(defaults(&shopper, &node).await, (id.clone(), second.clone()));
    let third = shopper.add_address(&node, "Sa Pa").await;
    // Used last: it inherits.
    let change =
        shopper.patch(&node, &format!("/v1/me/addresses/{id}"), json!({ "label": "home" }));
    change.send().await.expect(200);
    shopper.delete(&node, &format!("/v1/me/addresses/{second}")).send().await.expect(204);
    assert_eq!(defaults(&shopper, &node).await, (id.clone(), id.clone()));
    shopper.delete(&node, &only).send().await.expect(204);
    assert_eq!(defaults(&shopper, &node).await, (third.clone(), third.clone()));
    let messages = shop.messages(&shopper.id).await;
    let tail = ["address.deleted", "address.default_changed", "address.default_changed"];
    assert_eq!(messages[messages.len() - 3..], tail);
    // A default is handed over, never given up.
    let path = format!("/v1/me/addresses/{third}");
    let refused = shopper.patch(&node, &path, json!({ "default_shipping": false })).send().await;
    let faults = refused.problem(422, "validation_failed").faults();
    assert_eq!(faults, ["#/default_shipping default_required"]);
    shopper.get(&node, &only).send().await.problem(404, "not_found");
    shopper.delete(&node, &only).send().await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_the_limit_holds_under_concurrency() {
    let shop = Shop::configured(&[("CUSTOMERS__ADDRESS_LIMIT", "5")]).await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let calls = (0..20).map(|number| {
        let call = shopper.post(&nodes[number % 2], "/v1/me/addresses", home("Huế"));
        async move { call.send().await }
    });
    let answers = join_all(calls).await;
    let (added, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
    assert_eq!(added.len(), 5);
    for answer in refused {
        answer.problem(409, "address_limit_reached");
    }
    assert_eq!(book(&shopper, &nodes[1]).await.len(), 5);
    defaults(&shopper, &nodes[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_another_customers_address_is_not_there() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (owner, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    let id = owner.add_address(&node, "Huế").await;
    other.add_address(&node, "Hà Nội").await;
    let path = format!("/v1/me/addresses/{id}");
    for call in [
        other.get(&node, &path),
        other.patch(&node, &path, json!({ "city": "Paris" })),
        other.delete(&node, &path),
        other.put(&node, &format!("{path}/default"), json!({ "kind": "billing" })),
    ] {
        call.send().await.problem(404, "not_found");
    }
    let seen = owner.get(&node, &path).send().await.expect(200).json();
    assert_eq!(seen["city"], "Huế");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_values_are_checked_by_their_country_and_kept_as_written() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let whole = json!({
        "label": "Arbeit 🏢", "recipient": "Zoë Ünlü 陳大文", "company": "Ö & Co.", "line1": "Hauptstr. 1",
        "line2": "عبد الله", "city": "Berlin", "region": "BE", "postal_code": "10115", "country": "de",
        "phone": "+49 30 901820",
    });
    let added =
        shopper.post(&node, "/v1/me/addresses", whole.clone()).send().await.expect(201).json();
    for field in
        ["label", "recipient", "company", "line1", "line2", "city", "region", "postal_code"]
    {
        assert_eq!(added[field], whole[field], "{field}");
    }
    assert_eq!((&added["country"], &added["phone"]), (&json!("DE"), &json!("+4930901820")));
    let path = format!("/v1/me/addresses/{}", added["id"].as_str().unwrap());
    for (body, fault) in [
        (json!({ "postal_code": "1" }), "#/postal_code"),
        (json!({ "country": "XX" }), "#/country unknown_country"),
        // The kept postal code does not fit the new country.
        (json!({ "country": "GB" }), "#/postal_code"),
        (json!({ "phone": "12" }), "#/phone"),
        (json!({ "line1": null }), "#/line1"),
        (json!({ "city": " " }), "#/city required"),
        (json!({ "city": "x".repeat(201) }), "#/city too_long"),
        (json!({ "label": "a\u{202e}b" }), "#/label control_character"),
    ] {
        let refused = shopper.patch(&node, &path, body.clone()).send().await;
        let faults = refused.problem(422, "validation_failed").faults();
        assert!(faults.len() == 1 && faults[0].starts_with(fault), "{body}: {faults:?}");
    }
    // RFC 7396: null clears, absent keeps.
    let before = shop.messages(&shopper.id).await.len();
    let change = json!({ "region": null, "line2": null, "city": "Berlin" });
    let call = node.call(reqwest::Method::PATCH, &path).bearer(&shopper.access);
    let call = call.body("application/merge-patch+json", change.to_string().into_bytes());
    let changed = call.send().await.expect(200).json();
    assert_eq!((&changed["region"], &changed["line2"]), (&json!(null), &json!(null)));
    assert_eq!(changed["version"].as_i64(), added["version"].as_i64().map(|version| version + 1));
    let data = "SELECT data->>'changed' FROM outbox_events WHERE kind = 'address.updated'";
    assert_eq!(shop.database.column(data).await, [r#"["line2", "region", "region_code"]"#]);
    // The same again changes nothing and says nothing.
    let again = shopper.patch(&node, &path, change).send().await.expect(200).json();
    assert_eq!(again["version"], changed["version"]);
    assert_eq!(shop.messages(&shopper.id).await.len(), before + 1);
    // Optimistic versions.
    let version = changed["version"].as_i64().unwrap();
    let late = shopper.patch(&node, &path, json!({ "city": "Ulm" })).if_match(version - 1);
    late.send().await.problem(412, "precondition_failed");
    let right = shopper.patch(&node, &path, json!({ "city": "Bonn" })).if_match(version);
    assert_eq!(right.send().await.expect(200).version(), version + 1);
}
