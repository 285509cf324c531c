//! Every route by which staff reads: what shows personal data leaves an entry that says so (rule P5),
//! and what does not says here why. The list of routes is the API description, so none is forgotten.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, ids, operations, staff};
use crate::harness::{Shop, Shopper, eventually};

/// What shows nothing of a person, and why.
const NOT_NOTED: &[(&str, &str)] = &[
    ("/v1/admin/customers/{id}/timeline", "the trail; values that are opened are an entry apart"),
    ("/v1/admin/customers/{id}/data_key", "a key, which is an entry of its own"),
    ("/v1/admin/customers/{id}/privacy/export/{export_id}", "how far a copy is"),
    ("/v1/admin/customers/{id}/deletion", "how far a deletion is"),
    ("/v1/admin/erasures", "ids and states of deletions"),
    ("/v1/admin/erasures/{id}", "ids and states of a deletion"),
    ("/v1/admin/erasures/{id}/certificate", "ids and instants of a deletion"),
    ("/v1/admin/retention", "limits and numbers of rows"),
    ("/v1/admin/segments", "definitions of the shop"),
    ("/v1/admin/segments/{id}", "a definition of the shop"),
    ("/v1/admin/attributes", "definitions of the shop"),
    ("/v1/admin/attributes/{key}", "a definition of the shop"),
    ("/v1/admin/groups", "definitions of the shop"),
    ("/v1/admin/groups/{code}", "a definition of the shop"),
    ("/v1/admin/imports", "counts and states of files"),
    ("/v1/admin/imports/{id}", "counts and states of a file"),
    ("/v1/admin/imports/{id}/errors", "lines, fields and codes, never values"),
    ("/v1/admin/orders/parked", "ids and states of messages"),
    ("/v1/admin/orders/reconciliations", "counts of runs"),
    ("/v1/admin/events/dead_letters", "messages, which hold no personal data"),
    ("/v1/admin/events/dead_letters/{id}", "a message, which holds no personal data"),
    ("/v1/admin/events/replays/{id}", "a count of messages"),
    ("/v1/admin/analytics/", "figures of many"),
];

/// An entry: route, key, purpose, whom it is about, how many.
struct Read {
    data: Value,
    key: String,
    customer: Option<String>,
}

async fn reads(shop: &Shop) -> Vec<Read> {
    let sql = "SELECT data, actor_id, customer_id, actor_kind FROM audit_entries \
        WHERE action = 'personal_data.read' ORDER BY id";
    let rows = shop.database.rows(sql).await;
    let read = |row: Vec<Option<String>>| {
        let [Some(data), Some(key), customer, Some(kind)] = <[_; 4]>::try_from(row).unwrap() else {
            panic!("an entry without its key")
        };
        assert_eq!(kind, "staff");
        Read { data: serde_json::from_str(&data).unwrap(), key, customer }
    };
    rows.into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_every_route_that_shows_staff_personal_data_writes_an_entry() {
    let world = World::new().await;
    let document = world.node.get("/openapi.json").send().await.expect(200).json();
    let (mut noted, mut unnoted) = (0, 0);
    for operation in operations(&document) {
        if operation.scopes.is_empty() || operation.method != reqwest::Method::GET {
            continue;
        }
        let (name, template) = (operation.name.as_str(), operation.template.as_str());
        let trial = staff::trial(&world, &world.one, name).await.expect("a row in staff.rs");
        let before = reads(&world.shop).await.len();
        let purpose = format!("test-of:{}", operation.method);
        let call = world.call(&operation, &trial.path, &trial.body).bearer(&world.shop.staff_key);
        let answer = call.header("x-purpose", &purpose).send().await.expect(trial.status);
        let mut entries = reads(&world.shop).await.split_off(before);
        let listed = NOT_NOTED.iter().any(|(known, why)| {
            assert!(!why.is_empty());
            *known == template || (known.ends_with('/') && template.starts_with(known))
        });
        let described = &document["paths"][template]["get"]["parameters"];
        let described = described.as_array().into_iter().flatten();
        let takes = described.filter(|one| one["name"] == "X-Purpose" && one["in"] == "header");
        assert_eq!(takes.count(), usize::from(!listed), "{name} says that it takes a purpose");
        if listed {
            assert!(entries.is_empty(), "{name} is noted and listed as not");
            unnoted += 1;
            continue;
        }
        assert_eq!(entries.len(), 1, "{name} leaves one entry");
        let entry = entries.remove(0);
        assert_eq!(entry.data["route"], template, "{name}");
        assert_eq!(entry.data["purpose"], purpose, "{name}");
        assert!(world.shop.staff_key.contains(&entry.key), "{name}: {}", entry.key);
        let of_customer = template.starts_with("/v1/admin/customers/{id}");
        let named = match of_customer || template.contains("{customer_id}") {
            true if of_customer => ids(&trial.path).first().cloned(),
            true => ids(&trial.path).last().cloned(),
            false => None,
        };
        assert_eq!(entry.customer, named, "{name}");
        if let Ok(Value::Object(body)) = serde_json::from_slice(&answer.body)
            && let Some(Value::Array(items)) = body.get("items")
            && body.contains_key("next_cursor")
        {
            assert_eq!(entry.data["count"], items.len(), "{name}");
        }
        noted += 1;
    }
    assert!(noted >= 20 && unnoted >= 15, "{noted} noted, {unnoted} not");
    // So does what is asked by POST, and shows a sample of customers.
    let before = reads(&world.shop).await.len();
    let body = json!({ "definition": "customer_tags IS NULL", "sample": 1 });
    let preview = world.node.post("/v1/admin/segments/preview", body);
    preview.bearer(&world.shop.staff_key).send().await.expect(200);
    let entries = reads(&world.shop).await.split_off(before);
    assert_eq!(entries.len(), 1, "a preview leaves one entry");
    assert_eq!(entries[0].data["route"], "/v1/admin/segments/preview");
    // Refused reads show nothing, so there is nothing to note.
    let before = reads(&world.shop).await.len();
    let nobody = format!("/v1/admin/customers/{}", Uuid::from_u128(7));
    world.node.get(&nobody).bearer(&world.shop.staff_key).send().await.expect(404);
    world.node.get(&nobody).send().await.expect(401);
    assert_eq!(reads(&world.shop).await.len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_read_that_cannot_be_noted_shows_nothing() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let read = || node.get(&path).bearer(&shop.staff_key);
    assert!(read().send().await.expect(200).text().contains(&shopper.email));
    let role = "(SELECT DISTINCT grantee FROM information_schema.role_table_grants \
        WHERE table_name = 'audit_entries' AND grantee <> current_user LIMIT 1)";
    let change =
        |what: &str| format!("DO $$ BEGIN EXECUTE format('{what} customer_service_it'); END $$");
    assert_eq!(shop.database.one(&format!("SELECT {role}")).await, "customer_service_it");
    shop.database.execute(&change("REVOKE INSERT ON audit_entries FROM")).await;
    let refused = read().send().await.problem(503, "unavailable");
    assert!(!refused.text().contains(&shopper.email), "{}", refused.text());
    let search = format!("/v1/admin/customers?email={}", shopper.email);
    let refused = node.get(&search).bearer(&shop.staff_key).send().await.expect(503);
    assert!(!refused.text().contains(&shopper.email));
    shop.database.execute(&change("GRANT INSERT ON audit_entries TO")).await;
    read().send().await.expect(200);
    assert_eq!(reads(&shop).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_purpose_is_a_ticket_and_may_be_required() {
    let shop = Shop::configured(&[("AUDIT__PURPOSE_REQUIRED", "on")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let read = || node.get(&path).bearer(&shop.staff_key);
    let refused = read().send().await.problem(400, "purpose_required");
    assert!(refused.json()["detail"].is_string());
    for bad in ["anna@example.org", "Anna Nguyen", "ticket 4711", "", "\"x\"", &"x".repeat(121)] {
        let refused = read().header("x-purpose", bad).send().await;
        let refused = refused.problem(400, "malformed_header");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("- _ . # / :, and no space"), "{detail}");
    }
    assert!(reads(&shop).await.is_empty());
    read().header("x-purpose", "desk:SUP-4711/a#2").send().await.expect(200);
    assert_eq!(reads(&shop).await[0].data["purpose"], "desk:SUP-4711/a#2");
    // What shows nothing personal needs no purpose, nor does a customer for its own.
    node.get("/v1/admin/groups").bearer(&shop.staff_key).send().await.expect(200);
    shopper.get(&node, "/v1/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_customer_sees_that_somebody_of_the_shop_looked() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let path = format!("/v1/admin/customers/{}", shopper.id);
    node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
    let seen = eventually("the customer sees it", Duration::from_secs(5), async || {
        let list = shopper.get(&node, "/v1/me/activity").send().await.expect(200).json();
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["action"] == "personal_data.read")
    })
    .await;
    assert_eq!(seen["text"], "Somebody of the shop looked at the account.");
    assert_eq!((&seen["by"], seen.get("data")), (&json!("shop"), None));
    let timeline = node.get(&format!("{path}/timeline")).bearer(&shop.staff_key).send().await;
    let timeline = timeline.expect(200).json();
    let entry = &timeline["items"][0];
    assert_eq!(entry["action"], "personal_data.read");
    assert_eq!(entry["data"]["route"], "/v1/admin/customers/{id}");
}
