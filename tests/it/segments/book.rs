//! Definitions of segments by their routes, and who is in them by hand (rules S1, S3).

use std::time::Duration;

use serde_json::json;

use super::shelf::*;
use crate::attributes::define;
use crate::harness::{Shop, Shopper, eventually, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_definition_is_checked_when_it_is_saved_and_every_mistake_is_told() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let staff = &shop.staff_key;
    let made = rule(&shop, &node, "big", "amount_spent>500 and customer_tags contains 'vip'").await;
    assert_eq!(made["definition"], "amount_spent > 500 AND customer_tags CONTAINS 'vip'");
    assert_eq!(
        (&made["kind"], &made["state"], &made["version"]),
        (&json!("rule"), &json!("active"), &json!(1))
    );
    let body = |definition: &str| json!({ "code": "x", "title": "X", "definition": definition });
    for (definition, told) in [
        ("amount_spnt > 5 OR group = 7", vec!["unknown_attribute", "wrong_type"]),
        ("(amount_spent > 5", vec!["unclosed"]),
        ("IN SEGMENT 'bigg'", vec!["unknown_segment"]),
        ("custom.shoe = 5", vec!["unknown_attribute"]),
        ("", vec!["empty"]),
    ] {
        let refused =
            ask(&shop, &node, body(definition)).await.problem(422, "validation_failed").json();
        let errors = refused["errors"].as_array().unwrap();
        let codes: Vec<_> = errors.iter().map(|error| error["code"].as_str().unwrap()).collect();
        assert_eq!(codes, told, "{definition}: {refused}");
        assert!(errors.iter().all(|error| error["pointer"] == "#/definition"), "{refused}");
        assert!(errors[0]["detail"].as_str().unwrap().starts_with("Line 1, column "), "{refused}");
    }
    let misspelt =
        ask(&shop, &node, body("amount_spnt > 5")).await.problem(422, "validation_failed").json();
    let detail = misspelt["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.ends_with("did you mean amount_spent?"), "{detail}");
    ask(&shop, &node, json!({ "code": "big", "title": "B", "definition": "mfa_enabled = true" }))
        .await
        .problem(409, "segment_exists");
    ask(
        &shop,
        &node,
        json!({ "code": "y", "title": "Y", "kind": "static", "definition": "mfa_enabled = true" }),
    )
    .await
    .problem(422, "validation_failed");
    // by id or by code
    let id = made["id"].as_str().unwrap();
    assert_eq!(show(&shop, &node, id).await["code"], "big");
    let named = node.get(&format!("{SEGMENTS}/nobody")).bearer(staff).send().await;
    named.problem(404, "not_found");
    // versions
    let stale = node.patch(&format!("{SEGMENTS}/big"), json!({ "title": "B" })).if_match(7);
    stale.bearer(staff).send().await.problem(412, "precondition_failed");
    let zone =
        change(&shop, &node, "big", json!({ "time_zone": "Asia/Tokyo" })).await.expect(200).json();
    assert_eq!((&zone["time_zone"], &zone["revision"]), (&json!("Asia/Tokyo"), &json!(2)));
    let broken = change(&shop, &node, "big", json!({ "definition": "amount_spent >" })).await;
    broken.problem(422, "validation_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_segments_name_others_never_themselves_and_what_is_named_stays() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let staff = &shop.staff_key;
    define(&node, &shop, "shoe", json!({ "type": "integer" })).await.expect(201);
    rule(&shop, &node, "a", "custom.shoe > 40").await;
    rule(&shop, &node, "b", "IN SEGMENT 'a'").await;
    rule(&shop, &node, "c", "NOT IN SEGMENT 'b'").await;
    for definition in ["IN SEGMENT 'c'", "IN SEGMENT 'a'"] {
        let refused = change(&shop, &node, "a", json!({ "definition": definition })).await;
        let refused = refused.problem(422, "validation_failed").json();
        assert_eq!(refused["errors"][0]["code"], "cycle", "{refused}");
    }
    let used = delete(&shop, &node, "a").await.problem(409, "segment_in_use").json();
    assert_eq!(used["detail"], "Named by b.");
    let shoe = "/v1/admin/attributes/shoe";
    node.delete(shoe).bearer(staff).send().await.problem(409, "attribute_in_use");
    node.patch(shoe, json!({ "type": "text" }))
        .bearer(staff)
        .send()
        .await
        .problem(409, "attribute_in_use");
    // One that is still being emptied still names what it asks about.
    for (code, left) in [("c", 2), ("b", 1), ("a", 0)] {
        delete(&shop, &node, code).await.expect(202);
        eventually("it is gone", Duration::from_secs(20), async || {
            let segments = shop.database.count("SELECT count(*) FROM segments").await;
            (segments == left).then_some(())
        })
        .await;
    }
    node.delete(shoe).bearer(staff).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_two_that_would_name_each_other_never_come_at_once() {
    let shop = Shop::new().await;
    let (one, two) = tokio::join!(shop.node(), shop.node());
    for round in 0..6 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        rule(&shop, &one, &a, "mfa_enabled = true").await;
        rule(&shop, &two, &b, "mfa_enabled = true").await;
        let names = |code: &str| json!({ "definition": format!("IN SEGMENT '{code}'") });
        let (of_a, of_b) =
            tokio::join!(change(&shop, &one, &a, names(&b)), change(&shop, &two, &b, names(&a)));
        let mut statuses = [of_a.status, of_b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 422]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_staff_puts_customers_in_and_takes_them_out_page_by_page() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let staff = &shop.staff_key;
    let consumer = shop.consumer().await;
    by_hand(&shop, &node, "friends").await;
    rule(&shop, &node, "theirs", "IN SEGMENT 'friends'").await;
    rule(&shop, &node, "others", "customer_type = 'business'").await;
    settled(&shop).await;
    let mut all = Vec::new();
    for _ in 0..30 {
        all.push(customer(&shop, &node, json!({})).await);
    }
    let many = format!("{SEGMENTS}/friends/members");
    let nobody = "0190b4a0-0000-7000-8000-000000000000";
    let body = json!({ "add": all.iter().map(String::as_str).chain([nobody]).collect::<Vec<_>>() });
    for _ in 0..2 {
        let told = node.post(&many, body.clone()).bearer(staff).send().await.expect(200).json();
        assert_eq!(told, json!({ "added": 30, "removed": 0, "unknown": [nobody] }));
    }
    // Whoever asks about it hears of it, too.
    eventually("they follow", Duration::from_secs(20), async || {
        (members(&shop, "theirs").await.len() == 30).then_some(())
    })
    .await;
    let mut seen = Vec::new();
    let mut path = format!("{many}?limit=7");
    loop {
        let page = node.get(&path).bearer(staff).send().await.expect(200).json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["customer_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{many}?limit=7&cursor={cursor}"),
            None => break,
        }
    }
    all.sort();
    assert_eq!(seen, all);
    let one = &all[0];
    for _ in 0..2 {
        node.delete(&format!("{many}/{one}")).bearer(staff).send().await.expect(204);
    }
    becomes(&shop, "theirs", one, false).await;
    let key = unique("key");
    let put = || {
        node.post(&format!("{many}/{one}"), json!({})).idempotency_key(&key).bearer(staff).send()
    };
    put().await.expect(204);
    assert_eq!(put().await.expect(204).header("idempotency-replayed"), "true");
    assert_eq!(show(&shop, &node, "friends").await["members"], 30);
    let of_rule = format!("{SEGMENTS}/others/members/{one}");
    node.post(&of_rule, json!({})).bearer(staff).send().await.problem(409, "segment_not_static");
    node.post(&format!("{many}/{nobody}"), json!({}))
        .bearer(staff)
        .send()
        .await
        .problem(404, "not_found");
    let found =
        node.get("/v1/admin/customers?segment=friends&limit=100").bearer(staff).send().await;
    assert_eq!(found.expect(200).json()["items"].as_array().unwrap().len(), 30);
    let unknown = node.get("/v1/admin/customers?segment=nobody").bearer(staff).send().await;
    unknown.problem(422, "validation_failed");
    let shown =
        node.get(&format!("/v1/admin/customers/{one}?expand=segments")).bearer(staff).send().await;
    let shown = shown.expect(200).json();
    let codes: Vec<_> =
        shown["segments"].as_array().unwrap().iter().map(|one| one["segment"].clone()).collect();
    assert!(codes.contains(&json!("friends")), "{shown}");
    let kinds = consumer.kinds(one, 5).await;
    let joins = kinds.iter().filter(|kind| *kind == "segment.assigned").count();
    assert!(joins >= 2, "{kinds:?}");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_segment_that_goes_lets_everybody_leave_before() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    by_hand(&shop, &node, "friends").await;
    rule(&shop, &node, "verified", "email_verified = true").await;
    let path = format!("{SEGMENTS}/friends/members/{}", shopper.id);
    node.post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(204);
    becomes(&shop, "verified", &shopper.id, true).await;
    let me = shopper.get(&node, "/v1/me?expand=segments").send().await.expect(200).json();
    let mine: Vec<_> =
        me["segments"].as_array().unwrap().iter().map(|one| one["segment"].clone()).collect();
    assert_eq!(mine, ["friends", "verified"]);
    change(&shop, &node, "verified", json!({ "active": false })).await.expect(200);
    becomes(&shop, "verified", &shopper.id, false).await;
    assert_eq!(show(&shop, &node, "verified").await["state"], "inactive");
    change(&shop, &node, "verified", json!({ "active": true })).await.expect(200);
    becomes(&shop, "verified", &shopper.id, true).await;
    change(&shop, &node, "friends", json!({ "active": false }))
        .await
        .problem(422, "validation_failed");
    for code in ["verified", "friends"] {
        delete(&shop, &node, code).await.expect(202);
    }
    eventually("both are gone", Duration::from_secs(20), async || {
        (shop.database.count("SELECT count(*) FROM segments").await == 0).then_some(())
    })
    .await;
    let told = format!(
        "SELECT kind || ' ' || (data ->> 'segment') || ' ' || (data ->> 'cause') FROM outbox_events \
         WHERE customer_id = '{}' AND kind LIKE 'segment.%' ORDER BY customer_sequence",
        shopper.id
    );
    let told = shop.database.column(&told).await;
    let of = |code: &str| -> Vec<&str> {
        let mine = told.iter().filter(|one| one.contains(&format!(" {code} ")));
        mine.map(String::as_str).collect()
    };
    assert_eq!(
        of("friends"),
        ["segment.assigned friends manual", "segment.removed friends definition"]
    );
    let both = ["segment.assigned verified definition", "segment.removed verified definition"];
    assert_eq!(of("verified"), [both, both].concat());
    // the code is free again
    by_hand(&shop, &node, "verified").await;
}
