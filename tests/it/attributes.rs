//! Custom attributes: definitions that staff keeps, values that are checked against them by whoever
//! writes, whatever becomes of the definition meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::checker;
use crate::harness::{Answer, Api, Node, Shop, Shopper};

/// Defines an attribute of the profile that customers write, unless `more` says otherwise.
pub async fn define(node: &Api, shop: &Shop, key: &str, more: Value) -> Answer {
    let mut body = json!({ "key": key, "title": key, "write": "customer", "searchable": true });
    let more = more.as_object().cloned().unwrap_or_default();
    body.as_object_mut().unwrap().extend(more);
    node.post("/v1/admin/attributes", body).bearer(&shop.staff_key).send().await
}

fn custom(values: Value) -> Value {
    json!({ "custom": values })
}

/// A customer made by staff: its id.
pub async fn customer(node: &Api, shop: &Shop, more: Value) -> String {
    let email = crate::harness::shopper::address();
    let mut body = json!({ "email": email, "first_name": "A", "last_name": "B" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let made = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

pub async fn write(node: &Api, shop: &Shop, id: &str, part: &str, values: Value) -> Answer {
    let path = format!("/v1/admin/customers/{id}/{part}");
    node.patch(&path, custom(values)).bearer(&shop.staff_key).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_made_read_changed_and_deleted_and_each_is_told() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    let size = json!({ "key": "shoe_size", "type": "integer", "minimum": 15, "maximum": 60,
        "title": "Cỡ giày", "description": "Châu Âu", "write": "customer", "searchable": true });
    let make = || node.post("/v1/admin/attributes", size.clone()).bearer(key);
    let made = make().idempotency_key("one").send().await.expect(201);
    let place = "/v1/admin/attributes/shoe_size";
    assert_eq!((made.header("location"), made.version()), (place, 1));
    let again = make().idempotency_key("one").send().await.expect(201);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (made.json(), "true"));
    make().send().await.problem(409, "attribute_exists");
    let one = node.get(place).bearer(key).send().await.expect(200);
    assert_eq!(one.json(), made.json());
    for (field, expected) in [
        ("part", json!("profile")),
        ("type", json!("integer")),
        ("minimum", json!(15)),
        ("choices", json!([])),
        ("max_length", Value::Null),
        ("read", json!("customer")),
        ("title", json!("Cỡ giày")),
    ] {
        assert_eq!(one.json()[field], expected, "{field}");
    }
    let list = json!({ "part": "preferences", "type": "list", "choices": ["a", "b"] });
    define(&node, &shop, "likes", list).await.expect(201);
    let page = |query: &str| {
        let path = format!("/v1/admin/attributes?limit=1{query}");
        let call = node.get(&path).bearer(key);
        async move { call.send().await.expect(200).json() }
    };
    let first = page("").await;
    assert_eq!(first["items"][0]["key"], "likes");
    let second = page(&format!("&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(
        (&second["items"][0]["key"], &second["next_cursor"]),
        (&json!("shoe_size"), &json!(null))
    );

    let patch = |body: Value| node.patch(place, body).bearer(key);
    let wider = patch(json!({ "maximum": 70, "description": null })).if_match(1).send().await;
    assert_eq!(wider.expect(200).version(), 2);
    patch(json!({ "maximum": 80 })).if_match(1).send().await.problem(412, "precondition_failed");
    assert_eq!(patch(json!({ "maximum": 70 })).send().await.expect(200).version(), 2);
    node.delete(place).bearer(key).if_match(1).send().await.problem(412, "precondition_failed");
    node.delete(place).bearer(key).if_match(2).send().await.expect(204);
    node.get(place).bearer(key).send().await.problem(404, "not_found");
    make().send().await.expect(201);

    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    let told = consumer.received();
    let of_size = told.iter().filter(|message| message.data["key"] == "shoe_size");
    let of_size: Vec<_> =
        of_size.map(|message| (message.kind.as_str(), message.sequence)).collect();
    let expected = [
        ("attribute.created", 1),
        ("attribute.updated", 2),
        ("attribute.deleted", 3),
        ("attribute.created", 1),
    ];
    assert_eq!(of_size, expected);
    let changed = told.iter().find(|message| message.kind == "attribute.updated").unwrap();
    assert_eq!(changed.data["changed"], json!(["maximum", "description"]));
    let entries = "SELECT action FROM audit_entries WHERE action LIKE 'attribute.%' \
                   AND data->>'attribute' = 'shoe_size' AND actor_kind = 'staff' ORDER BY id";
    let entries = shop.database.column(entries).await;
    assert_eq!(entries, expected.map(|(kind, _)| kind));
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_definitions_are_refused_and_scopes_are_needed() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    for (body, faults) in [
        (json!({}), vec!["#/key required", "#/title required", "#/type required"]),
        (
            json!({ "key": "Shoe size", "type": "number", "title": " ", "pattern": "x" }),
            vec![
                "#/key invalid_key",
                "#/pattern unknown_field",
                "#/title required",
                "#/type unknown_value",
            ],
        ),
        (
            json!({ "key": "a", "type": "text", "title": "A", "minimum": 1, "max_length": 501 }),
            vec!["#/minimum not_applicable"],
        ),
        (
            json!({ "key": "a", "type": "date", "title": "A", "minimum": "tomorrow" }),
            vec!["#/minimum invalid_date"],
        ),
        (
            json!({ "key": "a", "type": "choice", "title": "A", "choices": ["x", 1, "\u{202e}"] }),
            vec!["#/choices required", "#/choices/1 wrong_type", "#/choices/2 control_character"],
        ),
        (
            json!({ "key": "a", "type": "text", "title": "A", "write": "customer", "read": "staff" }),
            vec!["#/write conflicting"],
        ),
        (
            json!({ "key": "a", "type": "text", "title": "A", "part": "addresses", "searchable": "yes" }),
            vec!["#/part unknown_value", "#/searchable wrong_type"],
        ),
    ] {
        let answer = node.post("/v1/admin/attributes", body.clone()).bearer(key).send().await;
        assert_eq!(answer.problem(422, "validation_failed").faults(), faults, "{body}");
    }
    define(&node, &shop, "size", json!({ "type": "integer" })).await.expect(201);
    let place = "/v1/admin/attributes/size";
    for (body, faults) in [
        (
            json!({ "key": "b", "part": "preferences" }),
            vec!["#/key unknown_field", "#/part unknown_field"],
        ),
        (json!({ "title": null, "type": null }), vec!["#/title required", "#/type required"]),
        (json!({ "max_items": 3 }), vec!["#/max_items not_applicable"]),
        (json!({ "minimum": 3, "maximum": 2 }), vec!["#/minimum conflicting"]),
        (json!({ "read": "staff" }), vec!["#/write conflicting"]),
    ] {
        let answer = node.patch(place, body.clone()).bearer(key).send().await;
        assert_eq!(answer.problem(422, "validation_failed").faults(), faults, "{body}");
    }
    for path in ["/v1/admin/attributes/none", "/v1/admin/attributes/Not%20One"] {
        node.get(path).bearer(key).send().await.problem(404, "not_found");
        node.delete(path).bearer(key).send().await.problem(404, "not_found");
        node.patch(path, json!({})).bearer(key).send().await.problem(404, "not_found");
    }
    let (_, reader) = shop.key("customers:read");
    node.get(place).bearer(&reader).send().await.expect(200);
    node.get("/v1/admin/attributes").bearer(&reader).send().await.expect(200);
    let new = json!({ "key": "b", "type": "text", "title": "B" });
    for call in [
        node.post("/v1/admin/attributes", new).bearer(&reader),
        node.patch(place, json!({ "title": "C" })).bearer(&reader),
        node.delete(place).bearer(&reader),
    ] {
        call.send().await.problem(403, "insufficient_scope");
    }
    let (_, other) = shop.key("groups:write,segments:read");
    node.get(place).bearer(&other).send().await.problem(403, "insufficient_scope");
    let shopper = Shopper::new(&shop, &node).await;
    for path in ["/v1/admin/attributes", place] {
        node.get(path).send().await.problem(401, "unauthorized");
        shopper.get(&node, path).send().await.problem(401, "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_values_are_typed_and_each_is_named_in_the_message() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for (key, more) in [
        ("name", json!({ "type": "text", "max_length": 5 })),
        ("count", json!({ "type": "integer", "maximum": 9 })),
        ("ratio", json!({ "type": "decimal" })),
        ("fan", json!({ "type": "boolean" })),
        ("since", json!({ "type": "date" })),
        ("seen", json!({ "type": "instant" })),
        ("tier", json!({ "type": "choice", "choices": ["gold", "silver"] })),
        ("likes", json!({ "type": "list", "part": "preferences" })),
    ] {
        define(&node, &shop, key, more).await.expect(201);
    }
    let sent = json!({ "name": "  Ánh ", "count": 9, "ratio": 123456.000000001, "fan": false,
        "since": "2024-02-29", "seen": "2026-01-31T15:00:00.25+07:00", "tier": "gold" });
    let kept = json!({ "name": "Ánh", "count": 9, "ratio": 123456.000000001, "fan": false,
        "since": "2024-02-29", "seen": "2026-01-31T08:00:00.250Z", "tier": "gold" });
    let profile = "/v1/me/profile";
    let set = shopper.patch(&node, profile, custom(sent.clone())).send().await.expect(200);
    assert_eq!(set.json()["custom"], kept);
    let read = shopper.get(&node, profile).send().await.expect(200);
    assert_eq!(read.json()["custom"], kept, "read back the same, digit by digit");
    assert!(read.text().contains("123456.000000001"), "{}", read.text());
    let again = shopper.patch(&node, profile, custom(sent)).send().await.expect(200);
    assert_eq!(again.version(), set.version(), "the same in another spelling changes nothing");
    let likes = custom(json!({ "likes": ["tea", "cà phê", "tea"] }));
    let set = shopper.patch(&node, "/v1/me/preferences", likes).send().await.expect(200);
    assert_eq!(set.json()["custom"], json!({ "likes": ["cà phê", "tea"] }));
    let gone = custom(json!({ "fan": null, "count": 8 }));
    shopper.patch(&node, profile, gone).send().await.expect(200);
    let told = format!(
        "SELECT data->>'changed' FROM outbox_events WHERE customer_id = '{}' \
         AND kind = 'customer.updated' ORDER BY customer_sequence",
        shopper.id
    );
    let told = shop.database.column(&told).await;
    let all = ["count", "fan", "name", "ratio", "seen", "since", "tier"];
    let all = all.map(|key| format!("profile.custom.{key}"));
    let expected = [
        json!(all),
        json!(["preferences.custom.likes"]),
        json!(["profile.custom.count", "profile.custom.fan"]),
    ];
    assert_eq!(
        told.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()).collect::<Vec<_>>(),
        expected
    );

    let bad = json!({ "name": "too long", "count": 1.5, "ratio": 0.0000000001, "fan": "yes",
        "since": "2026-02-30", "seen": "2026-01-31", "tier": "bronze", "likes": ["a"], "nmae": "x",
        "other": null });
    let faults = shopper.patch(&node, profile, custom(bad)).send().await;
    let faults = faults.problem(422, "validation_failed");
    assert_eq!(
        faults.faults(),
        [
            "#/custom/count wrong_type",
            "#/custom/fan wrong_type",
            "#/custom/likes unknown_attribute",
            "#/custom/name too_long",
            "#/custom/nmae unknown_attribute",
            "#/custom/other unknown_attribute",
            "#/custom/ratio too_precise",
            "#/custom/seen invalid_instant",
            "#/custom/since invalid_date",
            "#/custom/tier unknown_value",
        ]
    );
    assert!(faults.text().contains("perhaps name is meant"), "{}", faults.text());
    assert!(!faults.text().contains("bronze"), "a fault never repeats the value");
    for (body, fault) in [
        (json!({ "custom": { "A": 1 } }), "#/custom/A invalid_key"),
        (json!({ "custom": { "name": {} } }), "#/custom/name wrong_type"),
        (json!({ "custom": { "likes": [[]] } }), "#/custom/likes wrong_type"),
        (json!({ "custom": null }), "#/custom required"),
        (json!({ "custom": [] }), "#/custom wrong_type"),
    ] {
        let answer = shopper.patch(&node, profile, body.clone()).send().await;
        assert_eq!(answer.problem(422, "validation_failed").faults(), [fault], "{body}");
    }
    for body in
        ["{\"custom\":{\"count\":1e400}}", "{\"custom\":{\"count\":1,\"count\":2}}", "{\"custom\":"]
    {
        let call = node.call(reqwest::Method::PATCH, profile).bearer(&shopper.access);
        let answer = call.body("application/json", body.as_bytes().to_vec()).send().await;
        answer.problem(400, "malformed_json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_neither_sees_nor_writes_what_only_staff_may() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let stranger = Shopper::new(&shop, &node).await;
    let own = |write: &str, read: &str| json!({ "type": "integer", "write": write, "read": read });
    define(&node, &shop, "size", own("customer", "customer")).await.expect(201);
    define(&node, &shop, "tier", own("staff", "customer")).await.expect(201);
    define(&node, &shop, "risk", own("staff", "staff")).await.expect(201);
    let all = json!({ "size": 1, "tier": 2, "risk": 3 });
    let set = write(&node, &shop, &shopper.id, "profile", all.clone()).await.expect(200);
    assert_eq!(set.json()["custom"], all);
    let seen = json!({ "size": 1, "tier": 2 });
    let profile = "/v1/me/profile";
    let read = shopper.get(&node, profile).send().await.expect(200).json();
    assert_eq!(read["custom"], seen);
    let whole = shopper.get(&node, "/v1/me?expand=profile").send().await.expect(200).json();
    assert_eq!(whole["profile"]["custom"], seen);
    let staffs = format!("/v1/admin/customers/{}?expand=profile", shopper.id);
    let whole = node.get(&staffs).bearer(&shop.staff_key).send().await.expect(200).json();
    assert_eq!(whole["profile"]["custom"], all);
    for (value, fault) in [
        (json!({ "tier": 9 }), "#/custom/tier read_only"),
        (json!({ "tier": null }), "#/custom/tier read_only"),
        (json!({ "risk": 9 }), "#/custom/risk unknown_attribute"),
        (json!({ "risk": null }), "#/custom/risk unknown_attribute"),
        (json!({ "size": 4, "tier": 9 }), "#/custom/tier read_only"),
    ] {
        let answer = shopper.patch(&node, profile, custom(value)).send().await;
        let answer = answer.problem(422, "validation_failed");
        assert_eq!(answer.faults(), [fault]);
        assert!(!answer.text().contains("meant"), "{}", answer.text());
    }
    let changed = shopper.patch(&node, profile, custom(json!({ "size": 4 }))).send().await;
    assert_eq!(changed.expect(200).json()["custom"], json!({ "size": 4, "tier": 2 }));
    let kept = "SELECT custom->>'risk' FROM customer_profiles WHERE custom <> '{}'";
    assert_eq!(shop.database.column(kept).await, ["3"], "hidden is not gone");
    // What becomes staff's own is seen no more, from then on.
    let tier = "/v1/admin/attributes/tier";
    let hide = node.patch(tier, json!({ "read": "staff" })).bearer(&shop.staff_key);
    hide.send().await.expect(200);
    let read = shopper.get(&node, profile).send().await.expect(200).json();
    assert_eq!(read["custom"], json!({ "size": 4 }));
    let others = stranger.get(&node, profile).send().await.expect(200).json();
    assert_eq!(others["custom"], json!({}));
    let nobody = "/v1/admin/customers/01890000-0000-7000-8000-000000000000/profile";
    let nobody = node.patch(nobody, custom(json!({ "size": 4 }))).bearer(&shop.staff_key);
    nobody.send().await.problem(404, "not_found");
    let (_, reader) = shop.key("customers:read");
    let path = format!("/v1/admin/customers/{}/profile", shopper.id);
    let refused = node.patch(&path, custom(json!({ "size": 4 }))).bearer(&reader).send().await;
    refused.problem(403, "insufficient_scope");
}

/// A shop with two nodes and so many customers.
async fn crowd(count: usize) -> (Shop, [Node; 2], Vec<String>) {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let made = (0..count).map(|n| customer(&nodes[n % 2], &shop, json!({})));
    let ids = join_all(made).await;
    (shop, nodes, ids)
}

/// Rounds of each race; the lock is what keeps the invariant in every one.
const ROUNDS: usize = 6;
const WRITERS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_outlives_its_definition_under_32_writers() {
    let (shop, nodes, ids) = crowd(WRITERS).await;
    let key = &shop.staff_key;
    let (mut kept, mut gone, mut written) = (0, 0, 0);
    for round in 0..ROUNDS {
        define(&nodes[0], &shop, "size", json!({ "type": "integer" })).await.expect(201);
        let writes = ids.iter().enumerate().map(|(n, id)| {
            let (node, shop) = (&nodes[n % 2], &shop);
            async move {
                // spread, so that the deletion meets some before and some after
                tokio::time::sleep(Duration::from_millis((n as u64 % 8) * 3)).await;
                write(node, shop, id, "profile", json!({ "size": n })).await
            }
        });
        let delete = async {
            tokio::time::sleep(Duration::from_millis((round as u64) * 2)).await;
            let delete = nodes[round % 2].delete("/v1/admin/attributes/size").bearer(key);
            delete.send().await
        };
        let (answers, deleted) = tokio::join!(join_all(writes), delete);
        for answer in &answers {
            match answer.status {
                200 => written += 1,
                _ => drop(answer.clone().problem(422, "validation_failed")),
            }
        }
        let holders = "SELECT count(*) FROM customer_profiles WHERE custom ? 'size'";
        let held = shop.database.count(holders).await;
        match deleted.status {
            204 => {
                gone += 1;
                assert_eq!(held, 0, "round {round}: values that nobody defines");
            }
            _ => {
                deleted.problem(409, "attribute_in_use");
                kept += 1;
                assert!(held > 0);
                let clear = "UPDATE customer_profiles SET custom = '{}'";
                shop.database.execute(clear).await;
                let delete = nodes[1].delete("/v1/admin/attributes/size").bearer(key);
                delete.send().await.expect(204);
            }
        }
    }
    println!("{ROUNDS} rounds: {written} values written, {kept} deletions refused, {gone} done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_outside_its_limits_under_32_writers() {
    let (shop, nodes, ids) = crowd(WRITERS).await;
    let key = &shop.staff_key;
    let (mut refused, mut narrowed) = (0, 0);
    for round in 0..ROUNDS {
        let limits = json!({ "type": "integer", "maximum": 100 });
        define(&nodes[0], &shop, "size", limits).await.expect(201);
        let writes = ids.iter().enumerate().map(|(n, id)| {
            let (node, shop) = (&nodes[n % 2], &shop);
            async move {
                tokio::time::sleep(Duration::from_millis((n as u64 % 8) * 3)).await;
                write(node, shop, id, "profile", json!({ "size": 50 + n })).await
            }
        });
        let narrow = async {
            tokio::time::sleep(Duration::from_millis((round as u64) * 2)).await;
            let narrow = json!({ "maximum": 10 });
            let patch = nodes[round % 2].patch("/v1/admin/attributes/size", narrow).bearer(key);
            patch.send().await
        };
        let (answers, changed) = tokio::join!(join_all(writes), narrow);
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 422)));
        let outside = "SELECT count(*) FROM customer_profiles AS p, attribute_definitions AS d \
                       WHERE (p.custom->'size')::int > (d.limits->'maximum')::int";
        assert_eq!(shop.database.count(outside).await, 0, "round {round}");
        match changed.status {
            200 => narrowed += 1,
            _ => {
                changed.problem(409, "attribute_in_use");
                refused += 1;
            }
        }
        shop.database.execute("UPDATE customer_profiles SET custom = '{}'").await;
        let delete = nodes[1].delete("/v1/admin/attributes/size").bearer(key);
        delete.send().await.expect(204);
    }
    println!("{ROUNDS} rounds: {narrowed} narrowed before the first value, {refused} refused");
}
