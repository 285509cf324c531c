//! What leaves the service (rules M4, M6): every kind of message, and no personal value in any.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use customer_service::domain::message::TYPES;
use serde_json::{Value, json};

use crate::attributes::define;
use crate::email_change;
use crate::export;
use crate::harness::checker;
use crate::harness::consumer::Message;
use crate::harness::identity::{CLIENT_ID, Person};
use crate::harness::services::ALL_COMMANDS;
use crate::harness::shopper::{PASSWORD, address, home, sign_in};
use crate::harness::{Api, IdentityProvider, Services, Shop, Shopper, eventually};
use crate::merge;
use crate::orders;
use crate::second_factors::Guarded;

const NEW_PASSWORD: &str = "seven violet umbrellas 42";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_m6_every_kind_is_published_and_none_tells_a_personal_value() {
    let provider = IdentityProvider::start().await;
    let mut settings = provider.settings("google");
    settings.push(("PRIVACY__COMMANDS".to_owned(), ALL_COMMANDS.to_owned()));
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let shop = Shop::configured(&settings).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let staff = |path: &str, body| {
        let path = format!("/v1/admin/customers/{}{path}", shopper.id);
        (path, body)
    };
    let mut body = home("Hawthorne-City");
    body["phone"] = json!("+84912345678");
    let first = shopper.post(&node, "/v1/me/addresses", body).send().await.expect(201).json();
    let second = shopper.add_address(&node, "Hawthorne-City").await;
    let first = format!("/v1/me/addresses/{}", first["id"].as_str().unwrap());
    shopper.patch(&node, &first, json!({ "line1": "Hawthorne-Street 7" })).send().await.expect(200);
    let default = format!("/v1/me/addresses/{second}/default");
    shopper.put(&node, &default, json!({ "kind": "billing" })).send().await.expect(200);
    shopper.delete(&node, &first).send().await.expect(204);
    shopper.patch(&node, "/v1/me", json!({ "last_name": "Hawthorne" })).send().await.expect(200);
    attributes(&shop, &node).await;
    let profile =
        json!({ "bio": "Hawthorne", "tax_id": "7654321", "custom": { "pet": "Hawthorne" } });
    shopper.patch(&node, "/v1/me/profile", profile).send().await.expect(200);
    shopper
        .patch(&node, "/v1/me/preferences", json!({ "currency": "VND" }))
        .send()
        .await
        .expect(200);
    let analytics = "/v1/me/consents/analytics";
    let grant = json!({ "granted": true, "text_version": "1", "reference": "Hawthorne" });
    shopper.put(&node, analytics, grant).send().await.expect(200);
    shopper.put(&node, analytics, json!({ "granted": false })).send().await.expect(200);
    wishlists(&shopper, &node).await;
    segments(&shop, &node, &shopper).await;
    orders::heard(&shop, &shopper.id).await;
    let person = Person { given_name: Some("Hawthorne".to_owned()), ..Person::new() };
    let token = provider.id_token(&person, CLIENT_ID, "0123456789");
    let identity = "/v1/me/identities/google";
    let proof = json!({ "password": PASSWORD });
    let begun = shopper.post(&node, &format!("{identity}/authorize"), proof).send().await;
    let state = begun.expect(200).json()["state"].clone();
    let body = json!({ "id_token": token, "nonce": "0123456789", "state": state });
    shopper.post(&node, identity, body).send().await.expect(200);
    let proof = json!({ "password": PASSWORD });
    shopper.delete(&node, identity).json(proof).send().await.expect(204);
    Guarded::new(&shop, &node).await;
    let mover = Shopper::new(&shop, &node).await;
    email_change::change(&shop, &node, &mover, &address()).await;
    Guarded::of(shopper.clone(), &node).await;
    export::made(&node, &shopper).await;
    let body = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    shopper.post(&node, "/v1/me/password", body).send().await.expect(204);
    for _ in 0..5 {
        sign_in(&node, &shopper.email, "wrong password 12").await.expect(401);
    }
    let (path, body) = staff("", json!({ "group": "business", "phone": "+84987654321" }));
    node.patch(&path, body).bearer(&shop.staff_key).send().await.expect(200);
    let (path, body) = staff("/status", json!({ "to": "suspended", "reason": "fraud_suspected" }));
    node.post(&path, body).bearer(&shop.staff_key).send().await.expect(200);
    let gone = format!("/v1/admin/customers/{}", mover.id);
    node.delete(&gone).bearer(&shop.staff_key).send().await.expect(204);
    let (from, into) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
    merge::merge(&shop, &node, &from, &into).await.expect(200);
    let services = Services::obedient(&shop, 1).await;
    deletions(&shop, &node).await;

    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    drop(services);
    let received = consumer.received();
    let kinds: BTreeSet<_> = received.iter().map(|message| message.kind.as_str()).collect();
    let all: BTreeSet<_> = TYPES.iter().map(|known| known.kind).collect();
    assert_eq!(kinds, all, "every kind that can be written was published");

    follow_the_contract(&node, &consumer.delivered()).await;

    let personal = [
        "Hawthorne",
        &shopper.email,
        "shoppers.example",
        "Nguyễn",
        "Ánh",
        "+849",
        "7654321",
        PASSWORD,
        NEW_PASSWORD,
        &person.email,
        &person.subject,
    ];
    let entries = shop.database.column("SELECT data FROM audit_entries").await;
    let messages = received.iter().map(|message| message.data.to_string());
    for text in messages.chain(entries).chain([node.log()]) {
        for value in personal {
            assert!(!text.contains(value), "{value} is told in {text}");
        }
    }
    consumer.close().await;
}

/// All that happens to a deletion.
async fn deletions(shop: &Shop, node: &Api) {
    let shopper = Shopper::new(shop, node).await;
    let path = format!("/v1/admin/customers/{}/deletion", shopper.id);
    node.post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(202);
    node.delete(&path).bearer(&shop.staff_key).send().await.expect(204);
    let now = json!({ "at_once": true });
    node.post(&path, now).bearer(&shop.staff_key).send().await.expect(202);
    let over = "SELECT count(*) FROM erasures WHERE state = 'completed'";
    eventually("the erasure is over", Duration::from_secs(20), async || {
        (shop.database.count(over).await == 1).then_some(())
    })
    .await;
}

/// All that happens to the definition of an attribute, and another one to be held.
async fn attributes(shop: &Shop, node: &Api) {
    define(node, shop, "pet", json!({ "type": "text" })).await.expect(201);
    define(node, shop, "hat", json!({ "type": "text" })).await.expect(201);
    let hat = "/v1/admin/attributes/hat";
    let title = json!({ "title": "Hat size" });
    node.patch(hat, title).bearer(&shop.staff_key).send().await.expect(200);
    node.delete(hat).bearer(&shop.staff_key).send().await.expect(204);
}

/// All that happens to a segment, and to who is in it.
async fn segments(shop: &Shop, node: &Api, shopper: &Shopper) {
    let all = "/v1/admin/segments";
    let new = json!({ "code": "friends", "title": "Friends", "kind": "static" });
    node.post(all, new).bearer(&shop.staff_key).send().await.expect(201);
    let friends = format!("{all}/friends");
    let member = format!("{friends}/members/{}", shopper.id);
    node.post(&member, json!({})).bearer(&shop.staff_key).send().await.expect(204);
    let title = json!({ "title": "Good friends" });
    node.patch(&friends, title).bearer(&shop.staff_key).send().await.expect(200);
    node.delete(&friends).bearer(&shop.staff_key).send().await.expect(202);
    eventually("the segment is gone", Duration::from_secs(20), async || {
        let found = node.get(&friends).bearer(&shop.staff_key).send().await;
        (found.status == 404).then_some(())
    })
    .await;
}

/// All that happens to wishlists; their names and notes are their owner's words.
async fn wishlists(shopper: &Shopper, node: &Api) {
    let lists = "/v1/me/wishlists";
    let mut made = Vec::new();
    for name in ["Hawthorne-List", "Hawthorne"] {
        let list = shopper.post(node, lists, json!({ "name": name, "shared": true }));
        made.push(list.send().await.expect(201).header("location").to_owned());
    }
    let wish = json!({ "sku": "LAMP-7", "note": "for Hawthorne" });
    let item = shopper.post(node, &format!("{}/items", made[0]), wish).send().await.expect(201);
    let item = item.header("location");
    let note = json!({ "note": "for Hawthorne, too", "quantity": 2 });
    shopper.patch(node, item, note).send().await.expect(200);
    let to = json!({ "to": made[1].rsplit('/').next() });
    shopper.post(node, &format!("{item}/move"), to).send().await.expect(201);
    let name = json!({ "name": "Hawthorne-Street" });
    shopper.patch(node, &made[0], name).send().await.expect(200);
    shopper.delete(node, &made[0]).send().await.expect(204);
}

/// As a consumer would check them: by the documents that the service serves, and nothing else.
async fn follow_the_contract(node: &Api, delivered: &[(Message, Value)]) {
    let contract = node.get("/asyncapi.json").send().await.expect(200);
    assert_eq!(contract.header("content-type"), "application/json");
    let contract = contract.json();
    assert_eq!(contract["asyncapi"], "3.0.0");
    let exchange = &contract["channels"]["customer.created"]["bindings"]["amqp"]["exchange"];
    assert!(exchange["name"].as_str().is_some_and(|name| name.starts_with("it.")), "{exchange}");
    let validator = |kind: &str, part: &str| {
        let schema = &contract["components"]["messages"][kind][part];
        assert!(schema.is_object(), "the contract tells no {part} of {kind}");
        // with the components that it refers to
        let mut schema = schema.clone();
        schema["components"] = contract["components"].clone();
        jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
    };
    // What is served leaves room for what later versions may add; this one adds nothing.
    let exact = |kind: &str| {
        let known = TYPES.iter().find(|known| known.kind == kind).unwrap();
        jsonschema::draft202012::new(&(known.exact)()).unwrap()
    };
    let mut validators = BTreeMap::new();
    for (Message { kind, data, .. }, headers) in delivered {
        let [of_headers, of_data, exactly] = validators.entry(kind).or_insert_with(|| {
            [validator(kind, "headers"), validator(kind, "payload"), exact(kind)]
        });
        for (part, validator) in [(headers, of_headers), (data, of_data), (data, exactly)] {
            if let Err(error) = validator.validate(part) {
                panic!("{kind}: {error} in {part}");
            }
        }
    }
    // The schema is where the message says, and the one of the contract.
    for (message, headers) in delivered.iter().filter(|(message, _)| message.sequence < 4) {
        let told = headers["cloudEvents:dataschema"].as_str().unwrap();
        let schema = reqwest::get(told).await.unwrap();
        assert_eq!(schema.headers()["content-type"], "application/schema+json");
        let schema: Value = schema.json().await.unwrap();
        assert_eq!(schema, contract["components"]["schemas"][&message.kind]);
    }
    node.get("/schemas/customer.unknown.json").send().await.problem(404, "not_found");
}
