//! Staff and services (rules L1, L3, L5, L6): keys with scopes, creation, search, status moves.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, address, sign_in};
use crate::harness::{Api, Shop, Shopper, eventually};

fn new_customer(email: &str) -> Value {
    json!({ "email": email, "first_name": "Ánh", "last_name": "Trần" })
}

async fn create(node: &Api, key: &str, body: Value) -> Value {
    node.post("/v1/admin/customers", body).bearer(key).send().await.expect(201).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l5_l6_a_customer_made_by_staff_is_whole_and_its_address_taken() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = address();
    let mut body = new_customer(&email);
    body["group"] = json!("business");
    body["tags"] = json!(["vip", "early", "vip"]);
    body["phone"] = json!("+84912345678");
    let answer = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    let answer = answer.expect(201);
    let made = answer.json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/admin/customers/{id}"));
    assert_eq!((&made["status"], &made["group"]), (&json!("active"), &json!("business")));
    assert_eq!((&made["tags"], &made["email_verified"]), (&json!(["early", "vip"]), &json!(false)));
    assert_eq!(shop.messages(&id).await, ["customer.created"]);
    let entry =
        format!("SELECT actor_kind || ' ' || action FROM audit_entries WHERE customer_id = '{id}'");
    assert_eq!(shop.database.column(&entry).await, ["staff customer.created"]);
    let rows =
        "SELECT count(*) FROM customer_profiles p JOIN customer_preferences q USING (customer_id)";
    assert_eq!(shop.database.count(rows).await, 1);
    let taken = node.post("/v1/admin/customers", new_customer(&email.to_uppercase()));
    taken.bearer(&shop.staff_key).send().await.problem(409, "email_taken");
    let mut unknown = new_customer(&address());
    unknown["group"] = json!("nobility");
    let refused = node.post("/v1/admin/customers", unknown).bearer(&shop.staff_key).send().await;
    assert_eq!(refused.problem(422, "validation_failed").faults(), ["#/group unknown_group"]);
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_exactly_the_documented_moves_are_possible_and_each_is_a_message() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let id = create(&node, &shop.staff_key, new_customer(&address())).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/admin/customers/{id}/status");
    let step = |to: &str| {
        let body = json!({ "to": to, "reason": "asked_for" });
        node.post(&path, body).bearer(&shop.staff_key).send()
    };
    for (to, allowed) in [
        ("active", false),
        ("pending", false),
        ("erased", false),
        ("suspended", true),
        ("inactive", false),
        ("active", true),
        ("inactive", true),
        ("suspended", false),
        ("active", true),
    ] {
        let answer = step(to).await;
        if allowed {
            assert_eq!(answer.expect(200).json()["status"], to);
        } else if answer.status == 422 {
            answer.problem(422, "validation_failed"); // a status that nobody may ask for
        } else {
            answer.problem(409, "transition_not_allowed");
        }
    }
    let moves = format!(
        "SELECT (data->>'from') || '>' || (data->>'to') || ' ' || (data->>'reason') FROM outbox_events \
         WHERE customer_id = '{id}' AND kind = 'customer.status_changed' ORDER BY customer_sequence"
    );
    let expected = [
        "active>suspended asked_for",
        "suspended>active asked_for",
        "active>inactive asked_for",
        "inactive>active asked_for",
    ];
    assert_eq!(shop.database.column(&moves).await, expected);
    for (body, fault) in [
        (json!({ "to": "suspended" }), "#/reason required"),
        (json!({ "to": "gone", "reason": "x" }), "#/to"),
        (json!({ "to": "suspended", "reason": "He was rude" }), "#/reason invalid_reason"),
    ] {
        let refused = node.post(&path, body).bearer(&shop.staff_key).send().await;
        let faults = refused.problem(422, "validation_failed").faults();
        assert!(faults.len() == 1 && faults[0].starts_with(fault), "{faults:?}");
    }
    // No other route touches it.
    let patch = node.patch(&format!("/v1/admin/customers/{id}"), json!({ "status": "suspended" }));
    let refused = patch.bearer(&shop.staff_key).send().await.problem(422, "validation_failed");
    assert_eq!(refused.faults(), ["#/status unknown_field"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_change_a_record_with_the_same_care() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let made = create(&node, &shop.staff_key, new_customer(&address())).await;
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/admin/customers/{id}");
    let change = |body: Value| node.patch(&path, body).bearer(&shop.staff_key);
    let body = json!({ "group": "business", "phone": "+84912345678", "tags": ["b", "a"] });
    let changed = change(body.clone()).if_match(1).send().await.expect(200);
    assert_eq!(changed.version(), 2);
    assert_eq!(changed.json()["tags"], json!(["a", "b"]));
    change(body.clone()).if_match(1).send().await.problem(412, "precondition_failed");
    assert_eq!(change(body).send().await.expect(200).version(), 2, "nothing changed");
    let cleared = change(json!({ "phone": null })).send().await.expect(200);
    assert_eq!(cleared.json()["phone"], json!(null));
    let messages = shop.messages(id).await;
    for kind in ["customer.updated", "customer.group_changed", "customer.phone_changed"] {
        assert!(messages.iter().any(|message| message == kind), "{kind}: {messages:?}");
    }
    let refused = change(json!({ "group": "nobility" })).send().await;
    assert_eq!(refused.problem(422, "validation_failed").faults(), ["#/group unknown_group"]);
    let nobody = "/v1/admin/customers/0190b4a0-0000-7000-8000-000000000000";
    for call in [node.get(nobody), node.patch(nobody, json!({ "first_name": "A" }))] {
        call.bearer(&shop.staff_key).send().await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_open_what_their_scopes_name_until_they_are_revoked() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let (read_id, read) = shop.key("customers:read");
    let (_, write) = shop.key("customers:read,customers:write");
    let one = format!("/v1/admin/customers/{}", shopper.id);
    let status = format!("{one}/status");
    let suspend = json!({ "to": "suspended", "reason": "fraud_suspected" });
    node.get(&one).bearer(&read).send().await.expect(200);
    node.get("/v1/admin/customers").bearer(&read).send().await.expect(200);
    for call in [
        node.patch(&one, json!({ "first_name": "A" })).bearer(&read),
        node.post("/v1/admin/customers", new_customer(&address())).bearer(&read),
        node.post(&format!("{one}/unlock"), json!({})).bearer(&read),
        node.post(&status, suspend.clone()).bearer(&write),
    ] {
        let refused = call.send().await.expect(403);
        refused.assert_problem();
        assert_eq!(refused.code(), "insufficient_scope");
        assert!(refused.header("www-authenticate").contains("scope="), "{:?}", refused.headers);
    }
    node.patch(&one, json!({ "first_name": "A" })).bearer(&write).send().await.expect(200);
    // A customer is not staff, a key is no customer, and a near miss is neither.
    node.get(&one).bearer(&shopper.access).send().await.problem(401, "unauthorized");
    node.get("/v1/me").bearer(&write).send().await.problem(401, "unauthorized");
    let mut near = read.clone();
    near.pop();
    node.get(&one).bearer(&near).send().await.problem(401, "unauthorized");

    let revoked = shop.run(&["key", "revoke", &read_id]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    eventually("the revoked key is refused", Duration::from_secs(7), async || {
        let answer = node.get(&one).bearer(&read).send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    node.get(&one).bearer(&write).send().await.expect(200);
    let listed = shop.run(&["key", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.lines().any(|line| line.contains(&read_id) && line.contains("revoked")),
        "{listed}"
    );
    assert!(!listed.contains(&read), "a list tells no secret");
    let stored = shop.database.column("SELECT encode(secret_hash, 'escape') FROM staff_keys").await;
    assert!(stored.iter().all(|hash| !read.contains(hash)));
    for scopes in ["customers:fly", "", "customers:read,"] {
        let refused = shop.run(&["key", "create", "--name", "x", "--scopes", scopes, "--json"]);
        assert!(!refused.status.success(), "{scopes:?} was taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_go_page_by_page_and_see_every_write_at_once() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let mut made = Vec::new();
    for number in 0..7 {
        let mut body = new_customer(&address());
        body["tags"] = json!([if number % 2 == 0 { "even" } else { "odd" }]);
        let customer = create(&nodes[number % 2], &shop.staff_key, body).await;
        // By any route, on any node, at once.
        let email = customer["email"].as_str().unwrap();
        let search = format!("/v1/admin/customers?email={email}");
        let found = nodes[(number + 1) % 2].get(&search).bearer(&shop.staff_key).send().await;
        let found = found.expect(200).json();
        assert_eq!(found["items"][0]["id"], customer["id"], "{found}");
        made.push(customer["id"].as_str().unwrap().to_owned());
    }
    let (mut path, mut seen) = ("/v1/admin/customers?limit=3".to_owned(), Vec::new());
    loop {
        let page = nodes[0].get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/admin/customers?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7, "each once");
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
    for (query, count) in
        [("tag=odd", 3), ("status=active", 7), ("status=suspended", 0), ("group=individual", 7)]
    {
        let path = format!("/v1/admin/customers?{query}");
        let page = nodes[1].get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_made_by_staff_confirms_by_the_resent_mail() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = address();
    create(&node, &shop.staff_key, new_customer(&email)).await;
    sign_in(&node, &email, PASSWORD).await.problem(401, "invalid_credentials");
    node.post("/v1/auth/email/resend", json!({ "email": email })).send().await.expect(202);
    let token = shop.mail_to(&email, 1).await.token();
    let verified = crate::harness::shopper::verify(&node, &token).await.expect(200);
    Shopper::of(&email, &verified).get(&node, "/v1/me").send().await.expect(200);
}
