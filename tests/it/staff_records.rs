//! The parts of a customer's record in the hands of staff, and its soft deletion (rules L2, L4, D1).

use serde_json::{Value, json};

use crate::attributes::define;
use crate::harness::shopper::{PASSWORD, home, register, sign_in};
use crate::harness::{Api, Shop, Shopper, eventually};

struct Desk {
    shop: Shop,
    node: crate::harness::Node,
    shopper: Shopper,
}

impl Desk {
    async fn open() -> Self {
        let shop = Shop::new().await;
        let node = shop.node().await;
        let shopper = Shopper::new(&shop, &node).await;
        Self { shop, node, shopper }
    }

    fn path(&self, part: &str) -> String {
        format!("/v1/admin/customers/{}{part}", self.shopper.id)
    }

    async fn get(&self, part: &str) -> Value {
        let call = self.node.get(&self.path(part)).bearer(&self.shop.staff_key);
        call.send().await.expect(200).json()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_staff_reads_and_changes_profile_and_preferences_as_the_owner_does() {
    let desk = Desk::open().await;
    let (node, key) = (&desk.node, &desk.shop.staff_key);
    define(node, &desk.shop, "size", json!({ "type": "text" })).await.expect(201);
    let profile = desk.path("/profile");
    let change = json!({ "date_of_birth": "1990-02-28", "custom": { "size": "L" } });
    let changed = node.patch(&profile, change.clone()).bearer(key).if_match(1).send().await;
    assert_eq!(changed.expect(200).version(), 2);
    assert_eq!(desk.get("/profile").await["custom"]["size"], "L");
    let again = node.patch(&profile, change.clone()).bearer(key).if_match(1).send().await;
    again.problem(412, "precondition_failed");
    let same = node.patch(&profile, change).bearer(key).send().await.expect(200);
    assert_eq!(same.version(), 2, "a change that changes nothing keeps the version");
    let future = json!({ "date_of_birth": "2990-01-01" });
    node.patch(&profile, future).bearer(key).send().await.problem(422, "validation_failed");
    let preferences = desk.path("/preferences");
    let change = json!({ "locale": "vi-VN", "channels": { "sms": true } });
    node.patch(&preferences, change).bearer(key).send().await.expect(200);
    assert_eq!(desk.get("/preferences").await["channels"]["sms"], true);
    assert_eq!(desk.shopper.get(node, "/v1/me/preferences").send().await.json()["locale"], "vi-VN");
    let entries = format!(
        "SELECT count(*) FROM audit_entries WHERE customer_id = '{}' AND actor_kind = 'staff' \
         AND action IN ('profile.updated', 'preferences.updated')",
        desk.shopper.id
    );
    assert_eq!(desk.shop.database.count(&entries).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_staff_keeps_a_customers_addresses_by_the_owners_rules() {
    let desk = Desk::open().await;
    let (node, key) = (&desk.node, &desk.shop.staff_key);
    let book = desk.path("/addresses");
    let add = |city: &str, idempotency: &str| {
        node.post(&book, home(city)).bearer(key).idempotency_key(idempotency).send()
    };
    let first = add("Huế", "one").await.expect(201);
    let one = first.json();
    assert_eq!((&one["default_shipping"], &one["default_billing"]), (&json!(true), &json!(true)));
    let place = first.header("location").to_owned();
    assert_eq!(place, format!("{book}/{}", one["id"].as_str().unwrap()));
    assert_eq!(add("Huế", "one").await.expect(201).json()["id"], one["id"]);
    let last = node.delete(&place).bearer(key).send().await;
    last.problem(409, "last_address");
    let two = add("Vinh", "two").await.expect(201).json();
    let second = format!("{book}/{}", two["id"].as_str().unwrap());
    let kind = json!({ "kind": "shipping" });
    node.put(&format!("{second}/default"), kind).bearer(key).send().await.expect(200);
    let change = json!({ "city": "Đà Nẵng" });
    node.patch(&second, change).bearer(key).send().await.expect(200);
    let shown = node.get(&second).bearer(key).send().await.expect(200).json();
    assert_eq!((&shown["city"], &shown["default_shipping"]), (&json!("Đà Nẵng"), &json!(true)));
    node.delete(&second).bearer(key).send().await.expect(204);
    let left = desk.get("/addresses").await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["default_shipping"], true);
    // Another customer's address is nobody's here.
    let other = Shopper::new(&desk.shop, node).await;
    let foreign = other.add_address(node, "Sapa").await;
    let foreign = format!("{book}/{foreign}");
    node.get(&foreign).bearer(key).send().await.problem(404, "not_found");
    node.delete(&foreign).bearer(key).send().await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_sees_and_ends_sessions_and_needs_the_scope_for_each() {
    let desk = Desk::open().await;
    let (node, shopper) = (&desk.node, &desk.shopper);
    shopper.again(node).await;
    let sessions = desk.get("/sessions").await;
    assert_eq!(sessions["items"].as_array().unwrap().len(), 2);
    let (_, reader) = desk.shop.key("customers:read");
    let path = desk.path("/sessions");
    node.delete(&path).bearer(&reader).send().await.problem(403, "insufficient_scope");
    node.delete(&path).bearer(&shopper.access).send().await.problem(401, "unauthorized");
    let (_, writer) = desk.shop.key("customers:write");
    node.get(&path).bearer(&writer).send().await.problem(403, "insufficient_scope");
    for _ in 0..2 {
        node.delete(&path).bearer(&writer).send().await.expect(204);
    }
    assert!(desk.get("/sessions").await["items"].as_array().unwrap().is_empty());
    shopper.get(node, "/v1/me").send().await.problem(401, "unauthorized");
    let messages = desk.shop.messages(&shopper.id).await;
    let revoked = messages.iter().filter(|kind| *kind == "customer.session_revoked");
    assert_eq!(revoked.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_a_deleted_customer_is_absent_everywhere_and_its_address_free() {
    let desk = Desk::open().await;
    let (shop, node, shopper) = (&desk.shop, &desk.node, &desk.shopper);
    let other = shop.node().await;
    let home = shopper.add_address(node, "Huế").await;
    let key = &shop.staff_key;
    let stale = node.delete(&desk.path("")).bearer(key).if_match(77).send().await;
    stale.problem(412, "precondition_failed");
    node.delete(&desk.path("")).bearer(key).send().await.expect(204);
    node.delete(&desk.path("")).bearer(key).send().await.problem(404, "not_found");
    for part in ["", "/profile", "/preferences", "/addresses", "/sessions"] {
        let answer = node.get(&desk.path(part)).bearer(key).send().await;
        answer.problem(404, "not_found");
    }
    let address_path = desk.path(&format!("/addresses/{home}"));
    node.get(&address_path).bearer(key).send().await.problem(404, "not_found");
    let change = node.patch(&desk.path("/profile"), json!({ "gender": "x" })).bearer(key);
    change.send().await.problem(404, "not_found");
    let found =
        |query: String| node.get(&format!("/v1/admin/customers?{query}")).bearer(key).send();
    for query in [format!("email={}", shopper.email), "q=nguyen".to_owned(), String::new()] {
        let page = found(query.clone()).await.expect(200).json();
        assert!(page["items"].as_array().unwrap().is_empty(), "{query}: {page}");
    }
    shopper.get(node, "/v1/me").send().await.problem(401, "unauthorized");
    // Within a second on every node (rule A7).
    let limit = std::time::Duration::from_secs(5);
    eventually("the other node refuses the session", limit, async || {
        (shopper.get(&other, "/v1/me").send().await.status == 401).then_some(())
    })
    .await;
    sign_in(node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.last().map(String::as_str), Some("customer.deleted"));
    assert_eq!(
        shop.entries(&shopper.id).await.last().map(String::as_str),
        Some("customer.deleted")
    );
    let left = format!(
        "SELECT (SELECT count(*) FROM passwords WHERE customer_id = '{0}') \
         + (SELECT count(*) FROM customer_identifiers WHERE customer_id = '{0}') \
         + (SELECT count(*) FROM devices WHERE customer_id = '{0}') \
         + (SELECT count(*) FROM sessions WHERE customer_id = '{0}' AND revoked_at IS NULL)",
        shopper.id
    );
    assert_eq!(shop.database.count(&left).await, 0);
    // The address may register anew, and is then somebody else.
    register(node, &shopper.email).await.expect(202);
    let page = found(format!("email={}", shopper.email)).await.expect(200).json();
    assert_ne!(page["items"][0]["id"].as_str().unwrap(), shopper.id);
}

/// Deletion among writers: each of them is either before it or refused, and the sequence has no gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_deletion_under_32_parallel_writers_is_the_last_thing_that_happens() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let key = &shop.staff_key;
    let writer = async |number: usize| {
        let node: &Api = &nodes[number % 2];
        let mut done = 0;
        for turn in 0..20 {
            let answer = match number % 3 {
                0 => node.post(&format!("{path}/addresses"), home("Huế")).bearer(key).send().await,
                1 => {
                    let tags = json!({ "tags": [format!("t{number}-{turn}")] });
                    node.patch(&path, tags).bearer(key).send().await
                }
                _ => {
                    let bio = json!({ "bio": format!("{number}-{turn}") });
                    node.patch(&format!("{path}/profile"), bio).bearer(key).send().await
                }
            };
            match answer.status {
                200 | 201 => done += 1,
                409 => drop(answer.problem(409, "address_limit_reached")),
                _ => {
                    answer.problem(404, "not_found");
                    return done;
                }
            }
        }
        done
    };
    let delete = async {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        nodes[1].delete(&path).bearer(key).send().await.expect(204);
        1
    };
    let (written, _) = tokio::join!(futures_util::future::join_all((0..32).map(writer)), delete);
    assert!(written.iter().sum::<i64>() > 0);
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.last().map(String::as_str), Some("customer.deleted"));
    let gaps = format!(
        "SELECT count(*) FROM (SELECT customer_sequence, row_number() OVER (ORDER BY customer_sequence) AS n \
         FROM outbox_events WHERE customer_id = '{}') AS m WHERE customer_sequence <> n",
        shopper.id
    );
    assert_eq!(shop.database.count(&gaps).await, 0);
}
