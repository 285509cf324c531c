//! Consents: the ledger, what holds by it now and at any instant, and the flag that follows from it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::checker;
use crate::harness::shopper::{address, registration, verify};
use crate::harness::{Api, Shop, Shopper};

const MARKETING: &str = "/v1/me/consents/marketing";

fn grant(channel: &str) -> Value {
    json!({ "granted": true, "channel": channel, "text_version": "1" })
}

fn withdraw(channel: &str) -> Value {
    json!({ "granted": false, "channel": channel })
}

/// What is granted, by channel.
fn granted(consent: &Value) -> Vec<&str> {
    let channels = consent["channels"].as_array().unwrap().iter();
    channels
        .filter(|one| one["granted"] == true)
        .map(|one| one["channel"].as_str().unwrap())
        .collect()
}

async fn accepts_marketing(shopper: &Shopper, node: &Api) -> bool {
    let me = shopper.get(node, "/v1/me").send().await.expect(200).json();
    me["accepts_marketing"].as_bool().unwrap()
}

/// The ledger has no gap, what holds is its newest word, and the flag is what holds says.
async fn agrees(shop: &Shop) {
    for (what, sql) in [
        (
            "gaps in a ledger",
            "SELECT customer_id FROM consent_entries GROUP BY 1 HAVING max(number) <> count(*)",
        ),
        (
            "entries that go back in time",
            "SELECT a.customer_id FROM consent_entries a JOIN consent_entries b \
             ON a.customer_id = b.customer_id AND a.number = b.number - 1 WHERE a.occurred_at > b.occurred_at",
        ),
        (
            "what holds and is not the newest entry",
            "SELECT coalesce(e.customer_id, c.customer_id) FROM (SELECT DISTINCT ON (customer_id, purpose, channel) * \
             FROM consent_entries ORDER BY customer_id, purpose, channel, number DESC) e \
             FULL JOIN consents c USING (customer_id, purpose, channel) \
             WHERE (e.granted, e.number, e.text_version, e.occurred_at) \
             IS DISTINCT FROM (c.granted, c.number, c.text_version, c.decided_at)",
        ),
        (
            "flags that say something else",
            "SELECT id FROM customers WHERE accepts_marketing <> EXISTS (SELECT FROM consents \
             WHERE customer_id = id AND purpose = 'marketing' AND granted)",
        ),
        (
            "entries without their message",
            "SELECT e.customer_id FROM consent_entries e LEFT JOIN outbox_events o ON o.customer_id = e.customer_id \
             AND o.kind IN ('consent.granted', 'consent.withdrawn') AND (o.data->>'entry')::bigint = e.number \
             WHERE o.id IS NULL OR (o.kind = 'consent.granted') <> e.granted",
        ),
    ] {
        let found = shop.database.column(sql).await;
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_is_given_read_repeated_and_taken_back_channel_by_channel() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let all = shopper.get(&node, "/v1/me/consents").send().await.expect(200).json();
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|c| &c["purpose"]).collect();
    assert_eq!(names, ["analytics", "marketing", "personalisation"]);
    let unsaid = &all["items"][1];
    assert_eq!((granted(unsaid).len(), &unsaid["version"]), (0, &json!(0)));
    assert_eq!(unsaid["channels"][0]["decided_at"], json!(null));
    let page = shopper.get(&node, "/v1/me/consents?limit=2").send().await.expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = shopper.get(&node, &format!("/v1/me/consents?cursor={cursor}")).send().await;
    assert_eq!(rest.expect(200).json()["items"][0]["purpose"], "personalisation");

    let before = shopper.get(&node, "/v1/me").send().await.expect(200).version();
    let given = shopper.put(&node, MARKETING, grant("all")).send().await.expect(200);
    assert_eq!(granted(&given.json()), ["email", "sms", "push"]);
    assert_eq!((given.version(), &given.json()["version"]), (3, &json!(3)));
    assert!(accepts_marketing(&shopper, &node).await);
    let now = shopper.get(&node, "/v1/me").send().await.expect(200).version();
    assert_eq!(now, before + 1, "the flag is a field of the customer");
    // What holds already changes nothing and tells nobody.
    let told = shop.messages(&shopper.id).await;
    let again = shopper.put(&node, MARKETING, grant("sms")).send().await.expect(200);
    assert_eq!(again.json(), given.json());
    assert_eq!(shop.messages(&shopper.id).await, told);

    let sms = shopper.put(&node, MARKETING, withdraw("sms")).if_match(3).send().await.expect(200);
    assert_eq!(granted(&sms.json()), ["email", "push"]);
    let late = shopper.put(&node, MARKETING, withdraw("all")).if_match(3).send().await;
    late.problem(412, "precondition_failed");
    assert!(accepts_marketing(&shopper, &node).await);
    shopper.put(&node, MARKETING, withdraw("all")).send().await.expect(200);
    assert!(!accepts_marketing(&shopper, &node).await);
    let kinds = shop.messages(&shopper.id).await;
    let expected = [
        "customer.updated",
        "consent.granted",
        "consent.granted",
        "consent.granted",
        "consent.withdrawn",
        "customer.updated",
        "consent.withdrawn",
        "consent.withdrawn",
    ];
    assert_eq!(kinds[kinds.len() - 8..], expected);

    // The ledger, newest first, page by page.
    let path = format!("{MARKETING}/ledger");
    let first = shopper.get(&node, &format!("{path}?limit=4")).send().await.expect(200).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = shopper.get(&node, &format!("{path}?limit=4&cursor={cursor}")).send().await;
    let next = next.expect(200).json();
    let numbers = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|entry| entry["number"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&first), numbers(&next)), (vec![6, 5, 4, 3], vec![2, 1]));
    let entry = &next["items"][1];
    assert_eq!((&entry["text_version"], &entry["source"]), (&json!("1"), &json!("self_service")));
    assert!(entry["request_id"].is_string() && entry["actor_kind"].is_null(), "{entry}");
    agrees(&shop).await;
    consumer.kinds(&shopper.id, kinds.len()).await;
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_held_at_an_instant_is_read_from_the_ledger() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.put(&node, MARKETING, grant("email")).send().await.expect(200);
    shopper.put(&node, MARKETING, withdraw("email")).send().await.expect(200);
    shopper.put(&node, MARKETING, grant("sms")).send().await.expect(200);
    let at = |instant: String| {
        let path = format!("{MARKETING}?at={}", instant.replace('+', "%2B"));
        let call = shopper.get(&node, &path);
        async move { call.send().await.expect(200).json() }
    };
    let ledger = shopper.get(&node, &format!("{MARKETING}/ledger")).send().await.expect(200).json();
    let instant = |n: usize| ledger["items"][n]["decided_at"].as_str().unwrap().to_owned();
    assert_eq!(granted(&at(instant(0)).await), ["sms"]);
    assert_eq!(granted(&at(instant(1)).await).len(), 0);
    assert_eq!(granted(&at(instant(2)).await), ["email"]);
    let long_ago = at("2020-01-01T00:00:00Z".to_owned()).await;
    assert_eq!((granted(&long_ago).len(), &long_ago["version"]), (0, &json!(0)));
    let list = shopper.get(&node, &format!("/v1/me/consents?at={}", instant(2))).send().await;
    assert_eq!(granted(&list.expect(200).json()["items"][1]), ["email"]);
    let bad = shopper.get(&node, &format!("{MARKETING}?at=yesterday")).send().await;
    assert_eq!(bad.problem(422, "validation_failed").faults(), ["at malformed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_consented_to_is_refused() {
    let more = [
        ("CONSENTS__PURPOSES__RESEARCH__TEXT_VERSION", "2026-11"),
        ("CONSENTS__PURPOSES__ANALYTICS__OFFER", "off"),
    ];
    let shop = Shop::configured(&more).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let put = |path: &str, body: Value| {
        let call = shopper.put(&node, &format!("/v1/me/consents/{path}"), body);
        async move { call.send().await }
    };
    for unknown in ["unknown", "Marketing", "x%20y"] {
        put(unknown, grant("all")).await.problem(404, "not_found");
        let path = format!("/v1/me/consents/{unknown}");
        shopper.get(&node, &path).send().await.problem(404, "not_found");
        shopper.get(&node, &format!("{path}/ledger")).send().await.problem(404, "not_found");
    }
    put("analytics", grant("all")).await.problem(409, "consent_not_offered");
    put("research", grant("all")).await.problem(409, "consent_text_outdated");
    let mut current = grant("all");
    current["text_version"] = json!("2026-11");
    let given = put("research", current.clone()).await.expect(200).json();
    assert_eq!(granted(&given), ["all"]);
    current["channel"] = json!("email");
    let faults = put("research", current).await.problem(422, "validation_failed").faults();
    assert_eq!(faults, ["#/channel unknown_channel"]);
    for (body, fault) in [
        (json!({}), "#/granted required"),
        (json!({ "granted": true }), "#/text_version required"),
        (json!({ "granted": false, "channel": "fax" }), "#/channel unknown_value"),
        (json!({ "granted": false, "reference": "he said so" }), "#/reference invalid_reference"),
        (json!({ "granted": false, "text": "x" }), "#/text unknown_field"),
    ] {
        let refused = put("marketing", body.clone()).await.problem(422, "validation_failed");
        assert_eq!(refused.faults(), [fault], "{body}");
    }
    agrees(&shop).await;
    // Another text: the grant holds and is told to be of an older one.
    drop(node);
    let newer = [("CONSENTS__PURPOSES__RESEARCH__TEXT_VERSION", "2027-01")];
    let node = shop.node_with(&newer).await;
    let shown = shopper.get(&node, "/v1/me/consents/research").send().await.expect(200).json();
    let channel = &shown["channels"][0];
    assert_eq!((&channel["granted"], &channel["outdated"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&channel["text_version"], &shown["text_version"]),
        (&json!("2026-11"), &json!("2027-01"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_declare_in_a_customers_name_and_nobody_reads_anothers() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (shopper, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    let path = format!("/v1/admin/customers/{}/consents", shopper.id);
    let marketing = format!("{path}/marketing");
    let mut body = grant("sms");
    body["reference"] = json!("form:2026/117");
    body["locale"] = json!("vi-VN");
    let (reader_id, reader) = shop.key("customers:read");
    node.put(&marketing, body.clone())
        .bearer(&reader)
        .send()
        .await
        .problem(403, "insufficient_scope");
    let given = node.put(&marketing, body).bearer(&shop.staff_key).send().await.expect(200).json();
    let sms = &given["channels"][1];
    assert_eq!((&sms["source"], &sms["locale"]), (&json!("staff"), &json!("vi-VN")));
    assert!(accepts_marketing(&shopper, &node).await);
    let ledger = node.get(&format!("{marketing}/ledger")).bearer(&reader).send().await.expect(200);
    let entry = &ledger.json()["items"][0];
    assert_eq!(
        (&entry["reference"], &entry["actor_kind"]),
        (&json!("form:2026/117"), &json!("staff"))
    );
    assert!(entry["actor_id"].as_str().is_some_and(|id| !id.is_empty() && id != reader_id));
    let list = node.get(&path).bearer(&reader).send().await.expect(200).json();
    assert_eq!(granted(&list["items"][1]), ["sms"]);
    // Its owner sees it, nobody else does; and who is not there has none.
    let own = shopper.get(&node, MARKETING).send().await.expect(200).json();
    assert_eq!(granted(&own), ["sms"]);
    let others = other.get(&node, MARKETING).send().await.expect(200).json();
    assert_eq!(granted(&others).len(), 0);
    other.get(&node, &path).send().await.problem(401, "unauthorized");
    let nobody = "/v1/admin/customers/0190b4a0-0000-7000-8000-000000000000/consents";
    for (call, path) in [
        (node.get(nobody), nobody.to_owned()),
        (node.get(&format!("{nobody}/marketing")), "one".to_owned()),
        (node.get(&format!("{nobody}/marketing?at=2026-01-01T00:00:00Z")), "at".to_owned()),
        (node.get(&format!("{nobody}/marketing/ledger")), "ledger".to_owned()),
        (node.put(&format!("{nobody}/marketing"), withdraw("all")), "put".to_owned()),
    ] {
        let answer = call.bearer(&shop.staff_key).send().await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let log = node.log();
    assert!(!log.contains("form:2026/117"), "a reference is in the log");
    let told = "SELECT count(*) FROM audit_entries WHERE data::text LIKE '%form:2026%'";
    assert_eq!(shop.database.count(told).await, 0);
    agrees(&shop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flag_is_a_consent_at_registration_and_in_every_change() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = address();
    let mut body = registration(&email);
    body["accepts_marketing"] = json!(true);
    body["locale"] = json!("vi-VN");
    node.post("/v1/auth/register", body).send().await.expect(202);
    let entry = "SELECT concat_ws('|', number, purpose, channel, granted, text_version, locale, source, actor_kind) \
        FROM consent_entries";
    assert_eq!(
        shop.database.one(entry).await,
        "1|marketing|email|t|1|vi-VN|registration|anonymous"
    );
    let token = shop.mail_to(&email, 1).await.token();
    let shopper = Shopper::of(&email, &verify(&node, &token).await.expect(200));
    assert!(accepts_marketing(&shopper, &node).await);
    // A form sent back as it was is no new consent; the two ways see each other.
    let patch = |accepts: bool| {
        let call = shopper.patch(&node, "/v1/me", json!({ "accepts_marketing": accepts }));
        async move { call.send().await.expect(200).json() }
    };
    assert_eq!(patch(true).await["accepts_marketing"], true);
    assert_eq!(shop.database.count("SELECT count(*) FROM consent_entries").await, 1);
    shopper.put(&node, MARKETING, grant("push")).send().await.expect(200);
    assert_eq!(patch(false).await["accepts_marketing"], false);
    let shown = shopper.get(&node, MARKETING).send().await.expect(200).json();
    assert_eq!((granted(&shown).len(), &shown["version"]), (0, &json!(4)));
    assert_eq!(patch(true).await["accepts_marketing"], true);
    let shown = shopper.get(&node, MARKETING).send().await.expect(200).json();
    assert_eq!(granted(&shown), ["email"]);
    // Staff, too.
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let call = node.patch(&path, json!({ "accepts_marketing": false })).bearer(&shop.staff_key);
    assert_eq!(call.send().await.expect(200).json()["accepts_marketing"], false);
    let made = json!({ "email": address(), "first_name": "A", "last_name": "B", "accepts_marketing": true });
    let made = node.post("/v1/admin/customers", made).bearer(&shop.staff_key).send().await;
    let made = made.expect(201).json();
    assert_eq!(made["accepts_marketing"], true);
    let told = shop.messages(made["id"].as_str().unwrap()).await;
    assert_eq!(told, ["customer.created", "consent.granted"]);
    agrees(&shop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_parallel_grants_and_withdrawals_ledger_and_state_agree() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let calls = (0..32).map(|number: usize| {
        let channel = ["all", "email", "sms"][number % 3];
        let body = if number.is_multiple_of(2) { grant(channel) } else { withdraw(channel) };
        let call = match number % 8 {
            7 => {
                let accepts = json!({ "accepts_marketing": number % 16 == 7 });
                shopper.patch(&nodes[number % 2], "/v1/me", accepts)
            }
            _ => shopper.put(&nodes[(number / 2) % 2], MARKETING, body),
        };
        async move { call.send().await }
    });
    for answer in join_all(calls).await {
        answer.expect(200);
    }
    agrees(&shop).await;
    let entries = shop.database.count("SELECT count(*) FROM consent_entries").await;
    assert!(entries >= 3, "{entries}");
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_append_only_but_for_an_erasure() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.put(&node, MARKETING, grant("email")).send().await.expect(200);
    let client = shop.database.client().await;
    for sql in [
        "UPDATE consent_entries SET granted = granted",
        "DELETE FROM consent_entries",
        "TRUNCATE consent_entries",
        "BEGIN; SELECT set_config('customer_service.erasing', 'x', true); DELETE FROM consent_entries",
    ] {
        let refused = client.batch_execute(sql).await.expect_err(sql);
        let refused = refused.as_db_error().unwrap().message().to_owned();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    let erase = format!(
        "BEGIN; SELECT set_config('customer_service.erasing', '{}', true); DELETE FROM consent_entries; COMMIT",
        shopper.id
    );
    client.batch_execute(&erase).await.unwrap();
    assert_eq!(shop.database.count("SELECT count(*) FROM consent_entries").await, 0);
}
