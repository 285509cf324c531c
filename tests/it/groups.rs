//! The groups of customers, as staff keeps them (rule L6).

use serde_json::{Value, json};

use crate::harness::shopper::address;
use crate::harness::{Api, Shop};

async fn customer(node: &Api, shop: &Shop, group: &str) -> crate::harness::Answer {
    let body = json!({ "email": address(), "first_name": "A", "last_name": "B", "group": group });
    node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await
}

fn vip() -> Value {
    json!({ "code": "vip", "name": "Rất quan trọng" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_groups_are_made_renamed_counted_and_deleted() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    let make = || node.post("/v1/admin/groups", vip()).bearer(key);
    let made = make().idempotency_key("one").send().await.expect(201);
    assert_eq!((made.header("location"), made.version()), ("/v1/admin/groups/vip", 1));
    let again = make().idempotency_key("one").send().await.expect(201);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (made.json(), "true"));
    make().send().await.problem(409, "group_exists");

    customer(&node, &shop, "vip").await.expect(201);
    let member = customer(&node, &shop, "vip").await.expect(201).json();
    let list = node.get("/v1/admin/groups?limit=2").bearer(key).send().await.expect(200).json();
    let shown = |page: &Value| -> Vec<(String, i64)> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|it| (it["code"].as_str().unwrap().into(), it["customers"].as_i64().unwrap()))
            .collect()
    };
    assert_eq!(shown(&list), [("business".to_owned(), 0), ("individual".to_owned(), 0)]);
    let next = format!("/v1/admin/groups?limit=2&cursor={}", list["next_cursor"].as_str().unwrap());
    let next = node.get(&next).bearer(key).send().await.expect(200).json();
    assert_eq!(shown(&next), [("vip".to_owned(), 2)]);
    assert!(next["next_cursor"].is_null());

    let one = "/v1/admin/groups/vip";
    let rename = |name: &str| node.patch(one, json!({ "name": name })).bearer(key);
    assert_eq!(rename("Dear").if_match(1).send().await.expect(200).version(), 2);
    rename("Other").if_match(1).send().await.problem(412, "precondition_failed");
    assert_eq!(rename("Dear").send().await.expect(200).version(), 2);
    let shown = node.get(one).bearer(key).send().await.expect(200);
    assert_eq!((shown.json()["name"].as_str(), shown.version()), (Some("Dear"), 2));

    node.delete(one).bearer(key).send().await.problem(409, "group_in_use");
    let default = node.delete("/v1/admin/groups/business").bearer(key).send().await;
    default.problem(409, "group_is_default");
    // A move is told; the last member's leaves the group free, but the deleted one had it.
    let path = format!("/v1/admin/customers/{}", member["id"].as_str().unwrap());
    let to = node.patch(&path, json!({ "group": "business" })).bearer(key).send().await;
    assert_eq!(to.expect(200).json()["group"], "business");
    let messages = shop.messages(member["id"].as_str().unwrap()).await;
    assert!(messages.contains(&"customer.group_changed".to_owned()), "{messages:?}");
    node.delete(one).bearer(key).send().await.problem(409, "group_in_use");
    shop.database
        .execute("UPDATE customers SET group_code = 'business' WHERE group_code = 'vip'")
        .await;
    node.delete(one).bearer(key).send().await.expect(204);
    node.get(one).bearer(key).send().await.problem(404, "not_found");
    let unknown = customer(&node, &shop, "vip").await.problem(422, "validation_failed");
    assert_eq!(unknown.faults(), ["#/group unknown_group"]);
    let entries = "SELECT action FROM audit_entries WHERE action LIKE 'group.%' ORDER BY id";
    let entries = shop.database.column(entries).await;
    assert_eq!(entries, ["group.created", "group.renamed", "group.deleted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_bad_groups_are_refused_and_the_scope_is_needed() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    let bad = json!({ "code": "Big Spenders", "name": " ", "color": "red" });
    let bad = node.post("/v1/admin/groups", bad).bearer(key).send().await;
    let expected = ["#/code invalid_group", "#/color unknown_field", "#/name required"];
    assert_eq!(bad.problem(422, "validation_failed").faults(), expected);
    for path in ["/v1/admin/groups/none", "/v1/admin/groups/Not%20One"] {
        node.get(path).bearer(key).send().await.problem(404, "not_found");
        node.delete(path).bearer(key).send().await.problem(404, "not_found");
    }
    let (_, other) = shop.key("customers:write,customers:read");
    node.get("/v1/admin/groups").bearer(&other).send().await.problem(403, "insufficient_scope");
    let make = node.post("/v1/admin/groups", vip()).bearer(&other);
    make.send().await.problem(403, "insufficient_scope");
}

/// Whoever joins a group meets its deletion in the database: one of the two is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_group_is_never_deleted_under_a_customer_that_joins_it() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let key = &shop.staff_key;
    let (mut joined, mut refused) = (0, 0);
    for round in 0..10 {
        nodes[0].post("/v1/admin/groups", vip()).bearer(key).send().await;
        let joins = (0..8).map(|number| customer(&nodes[number % 2], &shop, "vip"));
        let delete = nodes[round % 2].delete("/v1/admin/groups/vip").bearer(key).send();
        let (joins, deleted) = tokio::join!(futures_util::future::join_all(joins), delete);
        for answer in &joins {
            match answer.status {
                201 => joined += 1,
                _ => refused += 1,
            }
            assert!(matches!(answer.status, 201 | 422), "{}", answer.text());
        }
        assert!(matches!(deleted.status, 204 | 409), "{}", deleted.text());
        let homeless = "SELECT count(*) FROM customers c LEFT JOIN customer_groups g \
                        ON g.code = c.group_code WHERE g.code IS NULL";
        assert_eq!(shop.database.count(homeless).await, 0);
        let move_on = "UPDATE customers SET group_code = 'individual' WHERE group_code = 'vip'";
        shop.database.execute(move_on).await;
    }
    println!("{joined} joined, {refused} were refused");
}
