//! Two customers become one (rule L10): every part moves, what ends lets nobody in, consumers can
//! follow, it can be asked before and asked again, and whoever may not, does not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::attributes::define;
use crate::harness::checker;
use crate::harness::identity::{CLIENT_ID, Person};
use crate::harness::shopper::{PASSWORD, address, home, refresh, register, sign_in};
use crate::harness::{Answer, Api, IdentityProvider, Node, Shop, Shopper, eventually};
use crate::phones;

const ROUTE: &str = "/v1/admin/customers/merge";
const NUMBER: &str = "+84912345678";
const OTHER_PASSWORD: &str = "seven violet umbrellas 42";
const NONCE: &str = "0123456789";

pub async fn merge(shop: &Shop, node: &Api, from: &str, into: &str) -> Answer {
    let body = json!({ "from": from, "into": into });
    node.post(ROUTE, body).bearer(&shop.staff_key).send().await
}

pub fn path(customer: &str, part: &str) -> String {
    format!("/v1/admin/customers/{customer}{part}")
}

/// A customer that staff made.
pub async fn made(shop: &Shop, node: &Api) -> String {
    let body = json!({ "email": address(), "first_name": "Ánh", "last_name": "Nguyễn" });
    let made = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// A customer who has not shown yet that its address is its own.
async fn pending(shop: &Shop, node: &Api) -> String {
    let email = address();
    register(node, &email).await.expect(202);
    let found = node.get(&format!("/v1/admin/customers?email={email}")).bearer(&shop.staff_key);
    found.send().await.expect(200).json()["items"][0]["id"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// Whatever of a customer lets somebody in, finds it, or is its own.
pub async fn remains(shop: &Shop, customer: &str) -> i64 {
    let tables = [
        "addresses",
        "wishlists",
        "wishlist_items",
        "customer_notes",
        "order_facts",
        "order_items",
        "order_statistics",
        "identities",
        "customer_identifiers",
        "passwords",
        "passkeys",
        "customer_totp",
        "backup_codes",
        "devices",
        "phone_confirmations",
        "sessions WHERE revoked_at IS NULL AND",
        "one_time_tokens WHERE used_at IS NULL AND voided_at IS NULL AND",
    ];
    let counts = tables.map(|table| {
        let and = if table.ends_with("AND") { "" } else { "WHERE" };
        format!("(SELECT count(*) FROM {table} {and} customer_id = '{customer}')")
    });
    shop.database.count(&format!("SELECT {}", counts.join(" + "))).await
}

/// Two customers of one person, with one of everything; staff wants `from` in `into`.
struct Pair {
    shop: Shop,
    nodes: [Node; 2],
    provider: IdentityProvider,
    person: Person,
    from: Shopper,
    into: Shopper,
    addresses: BTreeSet<String>,
    /// The path of the list of `from`, and its public token.
    list: (String, String),
}

impl Pair {
    async fn new() -> Self {
        let provider = IdentityProvider::start().await;
        let settings = provider.settings("google");
        let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let shop = Shop::configured(&settings).await;
        let nodes = [shop.node().await, shop.node().await];
        let from = Shopper::new(&shop, &nodes[0]).await;
        let into = Shopper::new(&shop, &nodes[1]).await;
        let (person, addresses, list) =
            (Person::new(), BTreeSet::new(), (String::new(), String::new()));
        let mut pair = Self { shop, nodes, provider, person, from, into, addresses, list };
        pair.furnish().await;
        pair
    }

    async fn furnish(&mut self) {
        let (node, key) = (&self.nodes[0], &self.shop.staff_key);
        let (from, into) = (&self.from, &self.into);
        for city in ["Huế", "Sa Pa"] {
            self.addresses.insert(from.add_address(node, city).await);
        }
        self.addresses.insert(into.add_address(node, "Vinh").await);
        let body = json!({ "name": "Birthday", "shared": true });
        let list = from.post(node, "/v1/me/wishlists", body).send().await.expect(201);
        let token = list.json()["share_token"].as_str().unwrap().to_owned();
        self.list = (list.header("location").to_owned(), token);
        for sku in ["A", "B", "C"] {
            let wish = json!({ "sku": sku, "quantity": 2, "note": "red" });
            from.post(node, &format!("{}/items", self.list.0), wish).send().await.expect(201);
        }
        phones::own(&self.shop, node, from, NUMBER).await;
        let proof = json!({ "password": PASSWORD });
        let identity = "/v1/me/identities/google";
        let begun = from.post(node, &format!("{identity}/authorize"), proof).send().await;
        let state = begun.expect(200).json()["state"].clone();
        let token = self.provider.id_token(&self.person, CLIENT_ID, NONCE);
        let body = json!({ "id_token": token, "nonce": NONCE, "state": state });
        from.post(node, identity, body).send().await.expect(200);
        for key in ["size", "pet"] {
            define(node, &self.shop, key, json!({ "type": "text" })).await.expect(201);
        }
        let profile = json!({ "company": "Lê & Co", "bio": "hers", "custom": { "size": "L" } });
        from.patch(node, "/v1/me/profile", profile).send().await.expect(200);
        let profile = json!({ "bio": "mine", "custom": { "pet": "cat" } });
        into.patch(node, "/v1/me/profile", profile).send().await.expect(200);
        let topics = json!({ "topics": ["lamps"] });
        from.patch(node, "/v1/me/preferences", topics).send().await.expect(200);
        for (shopper, tag) in [(from, "old"), (from, "both"), (into, "both")] {
            let call = node.post(&path(&shopper.id, "/tags"), json!({ "tag": tag })).bearer(key);
            call.send().await.expect(200);
        }
        let note = json!({ "text": "Asked twice." });
        node.post(&path(&from.id, "/notes"), note).bearer(key).send().await.expect(201);
        let grant = json!({ "granted": true, "text_version": "1" });
        for (shopper, purpose) in [(from, "analytics"), (into, "marketing"), (into, "analytics")] {
            let purpose = format!("/v1/me/consents/{purpose}");
            shopper.put(node, &purpose, grant.clone()).send().await.expect(200);
        }
        let withdraw = json!({ "granted": false });
        from.put(node, "/v1/me/consents/marketing", withdraw).send().await.expect(200);
        let body = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
        from.post(node, "/v1/me/password", body).send().await.expect(204);
    }

    async fn ask(&self, node: usize, dry_run: bool) -> Answer {
        let body = json!({ "from": self.from.id, "into": self.into.id, "dry_run": dry_run });
        self.nodes[node].post(ROUTE, body).bearer(&self.shop.staff_key).send().await
    }

    /// As staff sees a part of the one that went on, on the other node.
    async fn part(&self, part: &str) -> Value {
        let path = path(&self.into.id, part);
        let call = self.nodes[1].get(&path).bearer(&self.shop.staff_key);
        call.send().await.expect(200).json()
    }

    /// All that there is, in a few numbers.
    async fn everything(&self) -> String {
        let sql = "SELECT concat_ws(' ', (SELECT count(*) FROM outbox_events), \
            (SELECT count(*) FROM audit_entries), (SELECT count(*) FROM mails), \
            (SELECT count(*) FROM customer_merges), (SELECT sum(version) FROM customers), \
            (SELECT sum(sequence) FROM customers), (SELECT count(*) FROM idempotency_keys), \
            (SELECT md5(string_agg(a::text, '' ORDER BY id)) FROM addresses AS a), \
            (SELECT md5(string_agg(w::text, '' ORDER BY id)) FROM wishlists AS w))";
        self.shop.database.one(sql).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_everything_moves_at_once_and_a_preview_says_so_before() {
    let pair = Pair::new().await;
    let consumer = pair.shop.consumer().await;
    let before = pair.everything().await;
    let key = "the-key";
    let body = json!({ "from": pair.from.id, "into": pair.into.id, "dry_run": true });
    let preview = pair.nodes[1].post(ROUTE, body).bearer(&pair.shop.staff_key);
    let preview = preview.idempotency_key(key).send().await.expect(200).json();
    assert_eq!(pair.everything().await, before, "a preview writes nothing");
    let entries = pair.shop.messages(&pair.into.id).await.len();

    let done = pair.ask(0, false).await.expect(200).json();
    let mut as_previewed = preview.clone();
    as_previewed["dry_run"] = json!(false);
    as_previewed["merged_at"] = done["merged_at"].clone();
    assert_eq!(done, as_previewed);
    assert!(preview["merged_at"].is_null() && done["merged_at"].is_string());
    let moved = &done["moved"];
    assert_eq!((names(&moved["addresses"]).len(), &moved["wishlist_items"]), (2, &json!(3)));
    assert_eq!((&moved["identities"], &moved["tags"]), (&json!(["google"]), &json!(1)));
    let kept = names(&done["kept"]);
    assert!(kept.contains(&"email") && kept.contains(&"profile.bio"), "{kept:?}");
    let changed = names(&done["changed"]);
    for name in ["phone", "tags", "accepts_marketing", "profile.company", "profile.custom.size"] {
        assert!(changed.contains(&name), "{name} in {changed:?}");
    }
    assert_eq!(done["ended"]["password"], true);
    assert_eq!(remains(&pair.shop, &pair.from.id).await, 0);
    moved_parts_are_whole(&pair, &done).await;

    let told = pair.shop.messages(&pair.into.id).await.split_off(entries);
    let expected = [
        "customer.updated",
        "customer.phone_changed",
        "customer.verified",
        "customer.updated",
        "preferences.updated",
        "customer.updated",
        "consent.withdrawn",
        "consent.withdrawn",
        "consent.withdrawn",
        "address.created",
        "address.created",
        "wishlist.created",
        "wishlist.item_added",
        "wishlist.item_added",
        "wishlist.item_added",
        "customer.identity_linked",
        "customer.merged",
    ];
    assert_eq!(told, expected);
    let end = format!(
        "SELECT data->>'merged_into' FROM outbox_events WHERE customer_id = '{}' \
         AND kind = 'customer.deleted'",
        pair.from.id
    );
    assert_eq!(pair.shop.database.one(&end).await, pair.into.id);
    let verdict = pair.shop.database.count(
        "SELECT count(*) FROM (SELECT customer_sequence, row_number() OVER \
         (PARTITION BY customer_id ORDER BY customer_sequence) AS n FROM outbox_events) AS m \
         WHERE customer_sequence <> n",
    );
    assert_eq!(verdict.await, 0, "both sequences without a gap");
    consumer.close().await;
}

async fn moved_parts_are_whole(pair: &Pair, done: &Value) {
    let book = pair.part("/addresses").await;
    assert_eq!(ids(&book["items"]), pair.addresses, "under the ids they had");
    for kind in ["default_shipping", "default_billing"] {
        let holders: Vec<_> =
            book["items"].as_array().unwrap().iter().filter(|a| a[kind] == true).collect();
        assert!(matches!(&holders[..], [one] if one["city"] == "Vinh"), "D1: {kind}: {holders:?}");
    }
    assert_eq!(done["defaults"], json!([]));
    let list = pair.list.0.rsplit('/').next().unwrap();
    let head = pair.part(&format!("/wishlists/{list}")).await;
    assert_eq!((&head["name"], &head["item_count"]), (&json!("Birthday"), &json!(3)));
    let items = pair.part(&format!("/wishlists/{list}/items")).await;
    assert!(items["items"].as_array().unwrap().iter().all(|item| item["note"] == "red"));
    let shared = pair.nodes[1].get(&format!("/v1/wishlists/shared/{}", pair.list.1));
    assert_eq!(shared.send().await.expect(200).json()["item_count"], 3, "the link goes on");
    let own = pair.into.get(&pair.nodes[0], &pair.list.0).send().await.expect(200).json();
    assert_eq!(own["share_token"], pair.list.1, "and its owner may read it");
    assert_eq!(pair.part("/notes").await["items"][0]["text"], "Asked twice.");
    let customer = pair.part("").await;
    assert_eq!(customer["tags"], json!(["both", "old"]));
    assert_eq!((&customer["phone"], &customer["phone_verified"]), (&json!(NUMBER), &json!(true)));
    assert_eq!(
        (&customer["email"], &customer["status"]),
        (&json!(pair.into.email), &json!("active"))
    );
    assert_eq!(
        (&customer["accepts_marketing"], &customer["version"]),
        (&json!(false), &done["version"])
    );
    let born = format!(
        "SELECT min(created_at) = max(created_at) FROM customers WHERE id IN ('{}', '{}')",
        pair.from.id, pair.into.id
    );
    assert_eq!(pair.shop.database.one(&born).await, "t", "here since the first of both");
    let profile = pair.part("/profile").await;
    assert_eq!((&profile["company"], &profile["bio"]), (&json!("Lê & Co"), &json!("mine")));
    assert_eq!(profile["custom"], json!({ "pet": "cat", "size": "L" }));
    assert_eq!(pair.part("/preferences").await["topics"], json!(["lamps"]));
    let consents = pair.part("/consents").await;
    for consent in consents["items"].as_array().unwrap() {
        let channels = consent["channels"].as_array().unwrap();
        let granted = channels.iter().any(|channel| channel["granted"] == true);
        assert_eq!(granted, consent["purpose"] == "analytics", "the stricter: {consent}");
    }
    let ledger = pair.part("/consents/marketing/ledger").await;
    assert_eq!(ledger["items"][0]["source"], "merge");
    assert_eq!(ledger["items"][0]["reference"], format!("customer:{}", pair.from.id));
    let kept =
        format!("SELECT count(*) FROM consent_entries WHERE customer_id = '{}'", pair.from.id);
    assert_eq!(pair.shop.database.count(&kept).await, 4, "the other ledger stays whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_what_was_the_others_lets_nobody_in_but_the_account_that_came_along() {
    let pair = Pair::new().await;
    let (shop, [one, two], from, into) = (&pair.shop, &pair.nodes, &pair.from, &pair.into);
    pair.ask(0, false).await.expect(200);
    from.get(one, "/v1/me").send().await.problem(401, "unauthorized");
    eventually("the other node refuses the session", Duration::from_secs(5), async || {
        (from.get(two, "/v1/me").send().await.status == 401).then_some(())
    })
    .await;
    refresh(two, &from.refresh).await.problem(401, "refresh_invalid");
    for password in [PASSWORD, OTHER_PASSWORD] {
        let answer = sign_in(two, &from.email, password).await;
        answer.problem(401, "invalid_credentials");
    }
    // By the number that came along, and the password of who goes on: no other.
    let by_phone = phones::sign_in_by(one, NUMBER, OTHER_PASSWORD).await;
    by_phone.problem(401, "invalid_credentials");
    let by_phone = phones::sign_in_by(one, NUMBER, PASSWORD).await.expect(200);
    assert_eq!(Shopper::of("", &by_phone).id, into.id);
    into.get(two, "/v1/me").send().await.expect(200);
    // By the linked account, as its owner was told.
    // With a nonce of its own: the provider's word is good once.
    let token = pair.provider.id_token(&pair.person, CLIENT_ID, "9876543210");
    let body = json!({ "id_token": token, "nonce": "9876543210" });
    let social = two.post("/v1/auth/social/google", body).send().await.expect(200);
    assert_eq!(Shopper::of("", &social).id, into.id);
    let kinds = format!(
        "SELECT kind FROM mails WHERE customer_id = '{}' AND kind IN \
         ('phone_changed', 'identity_linked', 'merged') ORDER BY kind",
        into.id
    );
    // By kind: two nodes wrote them, and ids of two nodes within a millisecond have no order.
    assert_eq!(shop.database.column(&kinds).await, ["identity_linked", "merged", "phone_changed"]);
    eventually("the address that ends is told", Duration::from_secs(10), async || {
        let told = shop.mails_to(&from.email);
        told.iter().any(|mail| mail.kind == "merged").then_some(())
    })
    .await;
    // The address is free, and whoever has it next is somebody else.
    register(one, &from.email).await.expect(202);
    let found = one.get(&format!("/v1/admin/customers?email={}", from.email));
    let found = found.bearer(&shop.staff_key).send().await.expect(200).json();
    let next = found["items"][0]["id"].as_str().unwrap();
    assert!(next != from.id && next != into.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_who_asks_for_the_old_id_is_told_the_new_one_and_the_trail_stays() {
    let pair = Pair::new().await;
    let (shop, [one, two], from, into) = (&pair.shop, &pair.nodes, &pair.from, &pair.into);
    let key = &shop.staff_key;
    pair.ask(1, false).await.expect(200);
    let list = pair.list.0.rsplit('/').next().unwrap();
    let lists = [format!("/wishlists/{list}"), format!("/wishlists/{list}/items")];
    let parts = [
        "",
        "?expand=profile",
        "/profile",
        "/preferences",
        "/addresses",
        "/sessions",
        "/wishlists",
        &lists[0],
        &lists[1],
        "/consents",
        "/consents/marketing",
        "/consents/marketing/ledger",
        "/tags",
        "/notes",
    ];
    for part in parts {
        let answer = two.get(&path(&from.id, part)).bearer(key).send().await;
        let problem = answer.problem(404, "not_found").json();
        assert_eq!(problem["merged_into"], into.id, "{part}");
    }
    let writes = [
        one.patch(&path(&from.id, ""), json!({ "first_name": "A" })),
        one.post(&path(&from.id, "/addresses"), home("Huế")),
        one.post(&path(&from.id, "/tags"), json!({ "tag": "a" })),
        one.delete(&path(&from.id, "")),
    ];
    for write in writes {
        let problem = write.bearer(key).send().await.problem(404, "not_found").json();
        assert_eq!(problem["merged_into"], into.id);
    }
    // Nobody else is told, and who was never merged has become nobody.
    let (_, auditor) = shop.key("audit:read");
    let answer = two.get(&path(&from.id, "")).bearer(&auditor).send().await;
    assert!(answer.problem(403, "insufficient_scope").json()["merged_into"].is_null());
    let alone = made(shop, one).await;
    one.delete(&path(&alone, "")).bearer(key).send().await.expect(204);
    for gone in [alone.as_str(), "0190b4a0-0000-7000-8000-000000000000"] {
        let answer = one.get(&path(gone, "")).bearer(key).send().await;
        assert!(answer.problem(404, "not_found").json()["merged_into"].is_null());
    }
    let trail = async |id: &str| {
        let page = one.get(&path(id, "/timeline?limit=100")).bearer(&auditor).send().await;
        page.expect(200).json()["items"].as_array().unwrap().clone()
    };
    let end = trail(&from.id).await;
    let end = end.iter().find(|item| item["action"] == "customer.deleted").unwrap();
    assert_eq!(end["data"]["merged_into"], into.id);
    let told = trail(&into.id).await;
    let told = told.iter().find(|item| item["action"] == "customer.merged").unwrap();
    assert_eq!((&told["data"]["from"], &told["actor"]["kind"]), (&json!(from.id), &json!("staff")));
    // The one that went on goes on into another: the oldest id leads to the newest.
    let third = pending(shop, one).await;
    merge(shop, two, &into.id, &third).await.problem(409, "merge_not_allowed");
    let status = json!({ "to": "active", "reason": "known" });
    one.post(&path(&third, "/status"), status).bearer(key).send().await.expect(200);
    merge(shop, two, &into.id, &third).await.expect(200);
    for old in [from, into] {
        let answer = one.get(&path(&old.id, "")).bearer(key).send().await;
        assert_eq!(answer.problem(404, "not_found").json()["merged_into"], third);
    }
    let again = pair.ask(0, false).await.problem(404, "not_found").json();
    assert_eq!(again["merged_into"], third);
    let again = merge(shop, one, &from.id, &third).await.problem(404, "not_found").json();
    assert_eq!(again["merged_into"], third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_asked_again_it_is_answered_as_then_and_done_once() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let (from, into) = (made(&shop, &nodes[0]).await, made(&shop, &nodes[1]).await);
    let body = json!({ "from": from, "into": into });
    let ask = |node: usize, key: Option<&str>| {
        let call = nodes[node].post(ROUTE, body.clone()).bearer(&shop.staff_key);
        match key {
            Some(key) => call.idempotency_key(key).send(),
            None => call.idempotency_key("another").send(),
        }
    };
    let first = ask(0, Some("one")).await.expect(200);
    let written = async || {
        let sql =
            "SELECT (SELECT count(*) FROM outbox_events) + (SELECT count(*) FROM audit_entries)";
        shop.database.count(sql).await
    };
    let count = written().await;
    let replayed = ask(1, Some("one")).await.expect(200);
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    let anew = ask(1, None).await.expect(200);
    let stale = nodes[1].post(ROUTE, body.clone()).bearer(&shop.staff_key).if_match(99);
    let previewed = json!({ "from": from, "into": into, "dry_run": true });
    let previewed = nodes[0].post(ROUTE, previewed).bearer(&shop.staff_key).send().await;
    for answer in [replayed, anew, stale.send().await.expect(200)] {
        assert_eq!(answer.json(), first.json());
    }
    assert_eq!(previewed.expect(200).json()["merged_at"], first.json()["merged_at"]);
    assert_eq!(written().await, count, "once");
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_refusals_change_nothing() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    let (from, into) = (made(&shop, &node).await, pending(&shop, &node).await);
    let nobody = "0190b4a0-0000-7000-8000-000000000000";
    let order = |from: &str, into: &str| json!({ "from": from, "into": into });
    let unknown = |answer: Answer, field: &str| {
        let detail = answer.problem(404, "not_found").json()["detail"].clone();
        assert_eq!(detail, format!("There is no customer of the id in `{field}`."));
    };
    unknown(merge(&shop, &node, nobody, &into).await, "from");
    unknown(merge(&shop, &node, &from, nobody).await, "into");
    let same = merge(&shop, &node, &into, &into).await.problem(422, "validation_failed");
    assert_eq!(same.faults(), ["#/from same_customer"]);
    for (body, faults) in [
        (json!({}), vec!["#/from required", "#/into required"]),
        (json!({ "from": 7, "into": "x" }), vec!["#/from wrong_type", "#/into malformed"]),
        (
            json!({ "from": from, "into": into, "dry_run": 1, "all": true }),
            vec!["#/all unknown_field", "#/dry_run wrong_type"],
        ),
    ] {
        let answer = node.post(ROUTE, body).bearer(key).send().await;
        assert_eq!(answer.problem(422, "validation_failed").faults(), faults);
    }
    let bad = |content: &str, body: &str| {
        let call = node.call(reqwest::Method::POST, ROUTE).bearer(key);
        call.body(content, body.as_bytes().to_vec()).send()
    };
    bad("application/json", "{").await.problem(400, "malformed_json");
    bad("application/json", "[]").await.problem(422, "validation_failed");
    bad("text/plain", "{}").await.problem(415, "unsupported_media_type");
    let twice = format!("{{\"from\":\"{from}\",\"from\":\"{into}\",\"into\":\"{into}\"}}");
    bad("application/json", &twice).await.problem(400, "malformed_json");
    node.get(ROUTE).bearer(key).send().await.problem(404, "not_found");

    // Without the right to.
    let shopper = Shopper::new(&shop, &node).await;
    let (_, reader) =
        shop.key("customers:read,customers:status,privacy:write,ops:write,keys:write");
    let asked = |bearer: &str| node.post(ROUTE, order(&from, &into)).bearer(bearer).send();
    asked(&reader).await.problem(403, "insufficient_scope");
    asked(&shopper.access).await.problem(401, "unauthorized");
    node.post(ROUTE, order(&from, &into)).send().await.problem(401, "unauthorized");

    // Where the two stand.
    let move_to = async |id: &str, to: &str| {
        let body = json!({ "to": to, "reason": "fraud_suspected" });
        node.post(&path(id, "/status"), body).bearer(key).send().await.expect(200);
    };
    merge(&shop, &node, &from, &into).await.problem(409, "merge_not_allowed");
    move_to(&into, "active").await;
    move_to(&from, "suspended").await;
    let refused = merge(&shop, &node, &from, &into).await.problem(409, "merge_not_allowed");
    assert_eq!(refused.json()["detail"], "From is suspended, into is active.");
    move_to(&from, "active").await;
    let stale = node.post(ROUTE, order(&from, &into)).bearer(key).if_match(77).send().await;
    stale.problem(412, "precondition_failed");

    // More tags than one may bear: staff decides which go.
    for (id, prefix, count) in [(&from, "a", 30), (&into, "b", 21)] {
        let tags: Vec<_> = (0..count).map(|n| format!("{prefix}{n}")).collect();
        let call = node.patch(&path(id, ""), json!({ "tags": tags })).bearer(key);
        call.send().await.expect(200);
    }
    merge(&shop, &node, &from, &into).await.problem(409, "tag_limit_reached");
    let merged = "SELECT (SELECT count(*) FROM customer_merges) \
        + (SELECT count(*) FROM outbox_events WHERE kind IN ('customer.merged', 'customer.deleted'))";
    assert_eq!(shop.database.count(merged).await, 0);
    node.delete(&path(&from, "/tags/a0")).bearer(key).send().await.expect(204);
    let done = merge(&shop, &node, &from, &into).await.expect(200).json();
    assert_eq!(done["moved"]["tags"], 29);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_limits_are_for_what_is_added_and_let_nothing_vanish() {
    let settings = [("CUSTOMERS__ADDRESS_LIMIT", "3"), ("CUSTOMERS__NOTE_LIMIT", "1")];
    let shop = Shop::configured(&settings).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    let (from, into) = (made(&shop, &node).await, made(&shop, &node).await);
    for id in [&from, &into] {
        for city in ["Huế", "Vinh", "Sa Pa"] {
            let call = node.post(&path(id, "/addresses"), home(city)).bearer(key);
            call.send().await.expect(201);
        }
        let note = json!({ "text": "One." });
        node.post(&path(id, "/notes"), note).bearer(key).send().await.expect(201);
    }
    // As many wishes as anybody can have.
    let wishes = format!(
        "INSERT INTO wishlists (id, customer_id, name, item_count, created_at, version) \
         SELECT gen_random_uuid(), '{from}', 'List', 250, now(), 251 FROM generate_series(1, 20); \
         INSERT INTO wishlist_items (id, customer_id, wishlist_id, sku, quantity, added_at, version) \
         SELECT gen_random_uuid(), '{from}', id, 'SKU-' || n, 1, now(), 1 FROM wishlists, generate_series(1, 250) AS n"
    );
    shop.database.execute(&wishes).await;
    let began = std::time::Instant::now();
    let done = merge(&shop, &node, &from, &into).await.expect(200).json();
    println!("5,000 wishes merged in {:?}", began.elapsed());
    assert_eq!(done["moved"]["wishlist_items"], 5_000);
    let exact = format!(
        "SELECT count(*) FROM wishlists AS w WHERE customer_id = '{into}' AND item_count = 250 AND item_count = \
         (SELECT count(*) FROM wishlist_items AS i WHERE i.customer_id = w.customer_id AND i.wishlist_id = w.id)"
    );
    assert_eq!(shop.database.count(&exact).await, 20);
    let count = async |part: &str| {
        let page = node.get(&path(&into, part)).bearer(key).send().await.expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((count("/addresses").await, count("/notes").await), (6, 2));
    let one_more = node.post(&path(&into, "/addresses"), home("Huế")).bearer(key).send().await;
    one_more.problem(409, "address_limit_reached");
    let one_more = node.post(&path(&into, "/notes"), json!({ "text": "Two." })).bearer(key);
    one_more.send().await.problem(409, "note_limit_reached");
    assert_eq!(remains(&shop, &from).await, 0);
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(60)).await;
    consumer.close().await;
}
