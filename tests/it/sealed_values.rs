//! Personal values in messages and in the audit trail (rule M6): sealed by the customer's own key, opened
//! by who is given it as `docs/consuming.md` says, and by nobody once the key is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};

use crate::harness::consumer::{Consumer, Message};
use crate::harness::shopper::{PASSWORD, home};
use crate::harness::{Answer, Api, Shop, Shopper, eventually};

/// A customer's key, as the route tells it.
struct Key {
    kid: String,
    key: LessSafeKey,
}

impl Key {
    fn of(answer: &Answer) -> Self {
        let told = answer.json();
        assert_eq!(told["alg"], "A256GCM");
        let bytes = URL_SAFE_NO_PAD.decode(told["key"].as_str().unwrap()).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).unwrap());
        Self { kid: told["kid"].as_str().unwrap().to_owned(), key }
    }

    /// As docs/consuming.md says it, with nothing of the service's own.
    fn open(&self, place: &str, sealed: &Value) -> Option<Value> {
        let text = |name: &str| URL_SAFE_NO_PAD.decode(sealed[name].as_str().unwrap()).unwrap();
        let nonce = Nonce::try_assume_unique_for_key(&text("nonce")).unwrap();
        let mut values = text("ciphertext");
        let opened = self.key.open_in_place(nonce, Aad::from(place), &mut values).ok()?;
        Some(serde_json::from_slice(opened).unwrap())
    }

    fn read(&self, message: &Message) -> Option<Value> {
        let place = format!("message/{}/{}", message.customer_id, message.id);
        self.open(&place, &message.data["sealed"])
    }
}

async fn ask(shop: &Shop, node: &Api, customer: &str) -> Answer {
    let path = format!("/v1/admin/customers/{customer}/data_key");
    node.get(&path).bearer(&shop.staff_key).send().await
}

/// What came about a customer, by type, once `count` of its messages did.
async fn told(consumer: &Consumer, customer: &str, count: usize) -> BTreeMap<String, Message> {
    let of = |messages: Vec<Message>| {
        let own = messages.into_iter().filter(|message| message.customer_id == customer);
        own.collect::<Vec<_>>()
    };
    let all = eventually("the messages", Duration::from_secs(20), || async {
        let own = of(consumer.received());
        (own.len() >= count).then_some(own)
    });
    all.await.into_iter().map(|message| (message.kind.clone(), message)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m6_what_a_message_seals_opens_by_its_customers_key_alone() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let other = Shopper::new(&shop, &node).await;
    shopper.patch(&node, "/v1/me", json!({ "first_name": "Hawthorne" })).send().await.expect(200);
    shopper.post(&node, "/v1/me/addresses", home("Huế")).send().await.expect(201);
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let body = json!({ "phone": "+84987654321" });
    node.patch(&path, body).bearer(&shop.staff_key).send().await.expect(200);
    let sequence = format!("SELECT sequence FROM customers WHERE id = '{}'", shopper.id);
    let count: usize = shop.database.one(&sequence).await.parse().unwrap();
    let told = told(&consumer, &shopper.id, count).await;

    let answer = ask(&shop, &node, &shopper.id).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let (key, others) =
        (Key::of(&answer), Key::of(&ask(&shop, &node, &other.id).await.expect(200)));
    assert_ne!(key.kid, others.kid);
    let created = &told["customer.created"];
    assert_eq!(created.data["sealed"]["kid"], key.kid.as_str());
    let values = key.read(created).unwrap();
    assert_eq!(values["email"], shopper.email.as_str());
    assert_eq!([&values["first_name"], &values["last_name"]], ["Ánh", "Nguyễn"]);
    assert_eq!(values.get("phone"), None);
    // The last of the updates is the number's; the one of the name came before it.
    let phone = "+84987654321";
    assert_eq!(key.read(&told["customer.updated"]), Some(json!({ "phone": phone })));
    let changed = key.read(&told["customer.phone_changed"]);
    assert_eq!(changed, Some(json!({ "from": null, "to": phone })));
    let address = key.read(&told["address.created"]).unwrap();
    assert_eq!(
        [&address["city"], &address["line1"], &address["country"]],
        ["Huế", "1 Lê Lợi", "VN"]
    );
    assert_eq!(told["address.default_changed"].data.get("sealed"), None);
    let names =
        "SELECT data->'sealed' IS NOT NULL FROM outbox_events WHERE kind = 'customer.updated'";
    assert!(shop.database.column(names).await.iter().all(|sealed| sealed == "t"));

    // Neither by the key of somebody else, nor as another message's, another customer's, or an entry's.
    let sealed = &created.data["sealed"];
    assert_eq!(others.read(created), None);
    let (customer, id) = (&shopper.id, &created.id);
    assert!(key.open(&format!("message/{customer}/{id}"), sealed).is_some());
    for place in [
        format!("message/{customer}/{}", told["address.created"].id),
        format!("message/{}/{id}", other.id),
        format!("audit_entry/{customer}/{id}"),
        String::new(),
    ] {
        assert_eq!(key.open(&place, sealed), None, "{place}");
    }
    let entry = format!(
        "SELECT id || ' ' || (data->'sealed')::text FROM audit_entries \
         WHERE customer_id = '{customer}' AND action = 'customer.created'"
    );
    let entry = shop.database.one(&entry).await;
    let (id, sealed) = entry.split_once(' ').unwrap();
    let sealed: Value = serde_json::from_str(sealed).unwrap();
    assert_eq!(key.open(&format!("audit_entry/{customer}/{id}"), &sealed), None);
    consumer.close().await;
}

/// The scope, the trail that telling leaves, and what is left when the key is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m6_a_key_is_told_to_who_may_and_opens_nothing_once_it_is_gone() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let (reader_id, reader) = shop.key("customers:read,customers:write,audit:read,privacy:write");
    let data_key = format!("{path}/data_key");
    let refused = node.get(&data_key).bearer(&reader).send().await;
    assert!(refused.problem(403, "insufficient_scope").text().contains("customers:unseal"));
    let refused = node.get(&data_key).bearer(&shopper.access).send().await;
    refused.problem(401, "unauthorized");
    let (unsealer_id, unsealer) = shop.key("customers:unseal");
    let told = node.get(&data_key).bearer(&unsealer).send().await.expect(200).json();
    assert_eq!(told.as_object().unwrap().len(), 3, "{told}");
    let deeds = format!(
        "SELECT actor_id FROM audit_entries WHERE customer_id = '{}' AND action = 'customer_key.told'",
        shopper.id
    );
    assert_eq!(shop.database.column(&deeds).await, [unsealer_id]);
    assert!(!node.log().contains(told["key"].as_str().unwrap()));

    // Staff reads what was changed, where it may and asks for it.
    let timeline = |query: &str, key: &str| {
        node.get(&format!("{path}/timeline?limit=100{query}")).bearer(key).send()
    };
    let values = |page: &Answer| {
        let page = page.json();
        let items = page["items"].as_array().unwrap().iter();
        let opened = items.filter(|item| !item["values"].is_null());
        opened.map(|item| (item["kind"].clone(), item["values"].clone())).collect::<Vec<_>>()
    };
    assert!(values(&timeline("", &shop.staff_key).await.expect(200)).is_empty());
    assert!(values(&timeline("&values=false", &reader).await.expect(200)).is_empty());
    let refused = timeline("&values=true", &reader).await;
    assert!(refused.problem(403, "insufficient_scope").text().contains("customers:unseal"));
    let opened = values(&timeline("&values=true", &shop.staff_key).await.expect(200));
    for kind in ["entry", "message"] {
        let email = |(of, values): &(Value, Value)| {
            *of == kind && values["email"] == shopper.email.as_str()
        };
        assert!(opened.iter().any(email), "{kind}: {opened:?}");
    }
    let opening = "SELECT count(*) FROM audit_entries WHERE action = 'personal_values.opened'";
    assert_eq!(shop.database.count(opening).await, 1);
    // Its owner reads that it was done, and not what.
    let activity = shopper.get(&node, "/v1/me/activity?limit=100").send().await.expect(200);
    assert!(activity.text().contains("personal_values.opened"));
    assert!(!activity.text().contains("sealed") && !activity.text().contains(&reader_id));

    // A deleted customer's key is there until it is erased; without the row nobody opens anything.
    node.delete(&path).bearer(&shop.staff_key).send().await.expect(204);
    ask(&shop, &node, &shopper.id).await.expect(200);
    let gone = format!("DELETE FROM customer_keys.data_keys WHERE customer_id = '{}'", shopper.id);
    shop.database.execute(&gone).await;
    ask(&shop, &node, &shopper.id).await.problem(404, "not_found");
    let after = timeline("&values=true", &shop.staff_key).await.expect(200);
    assert!(after.text().contains("ciphertext") && values(&after).is_empty());
    let keys = "SELECT count(*) FROM customer_keys.data_keys";
    assert_eq!(shop.database.count(keys).await, 0, "reading makes none");
}

/// From before there were keys, or whose key an operator destroyed: of many who need one at once on two
/// nodes, one makes it, all seal by it, and no request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p2_whoever_has_no_key_is_given_one_once_however_many_need_it_at_a_time() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let row = format!("customer_keys.data_keys WHERE customer_id = '{}'", shopper.id);
    for round in 0..12 {
        shop.database.execute(&format!("DELETE FROM {row}")).await;
        let after = format!("SELECT sequence FROM customers WHERE id = '{}'", shopper.id);
        let after: i64 = shop.database.one(&after).await.parse().unwrap();
        let changes = (0..6).map(|number| {
            let body = json!({ "first_name": format!("Zfirst {round} {number}") });
            shopper.patch(&nodes[number % 2], "/v1/me", body).send()
        });
        let proof = || json!({ "password": PASSWORD });
        let secrets =
            nodes.iter().map(|node| shopper.post(node, "/v1/me/mfa/totp", proof()).send());
        let (changes, secrets) = tokio::join!(join_all(changes), join_all(secrets));
        for answer in changes.into_iter().chain(secrets) {
            answer.expect(200);
        }
        assert_eq!(shop.database.count(&format!("SELECT count(*) FROM {row}")).await, 1);
        let key = Key::of(&ask(&shop, &nodes[round % 2], &shopper.id).await.expect(200));
        let messages = format!(
            "SELECT json_build_object('id', id, 'sealed', data->'sealed')::text FROM outbox_events \
             WHERE customer_id = '{}' AND kind = 'customer.updated' AND customer_sequence > {after}",
            shopper.id
        );
        let mut names = BTreeSet::new();
        for message in shop.database.column(&messages).await {
            let message: Value = serde_json::from_str(&message).unwrap();
            let place = format!("message/{}/{}", shopper.id, message["id"].as_str().unwrap());
            let values = key.open(&place, &message["sealed"]);
            names.insert(values.unwrap_or_else(|| panic!("{message} by {}", key.kid)).to_string());
        }
        assert_eq!(names.len(), 6, "{names:?}");
    }
}

/// `privacy.seal_values = "off"`: nothing is told, and all else works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m6_a_shop_may_leave_sealed_values_out() {
    let shop = Shop::configured(&[("PRIVACY__SEAL_VALUES", "off")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.patch(&node, "/v1/me", json!({ "first_name": "Hawthorne" })).send().await.expect(200);
    for table in ["outbox_events", "audit_entries"] {
        let sealed = format!("SELECT count(*) FROM {table} WHERE data ? 'sealed'");
        assert_eq!(shop.database.count(&sealed).await, 0, "{table}");
    }
    ask(&shop, &node, &shopper.id).await.expect(200);
}
