//! `/v1/me/activity`: a customer's own audit trail, in plain words.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Shop, Shopper};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_customer_reads_what_happened_to_its_account() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (shopper, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    shopper.add_address(&node, "Huế").await;
    sign_in(&node, &shopper.email, "wrong password 12").await.expect(401);
    let staff = |path: &str| format!("/v1/admin/customers/{}{path}", shopper.id);
    let status = json!({ "to": "inactive", "reason": "asked_for" });
    let note = json!({ "text": "Calls often" });
    node.post(&staff("/notes"), note).bearer(&shop.staff_key).send().await.expect(201);
    node.post(&staff("/status"), status).bearer(&shop.staff_key).send().await.expect(200);
    let back = json!({ "to": "active", "reason": "asked_for" });
    node.post(&staff("/status"), back).bearer(&shop.staff_key).send().await.expect(200);
    let pair = sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    let shopper = Shopper::of(&shopper.email, &pair);

    let first = shopper.get(&node, "/v1/me/activity?limit=100").send().await.expect(200);
    assert_eq!(first.header("cache-control"), "no-store");
    let items = first.json()["items"].as_array().unwrap().clone();
    let by = |action: &str| -> Vec<String> {
        let found = items.iter().filter(|item| item["action"] == action);
        found.map(|item| item["by"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(by("address.created"), ["you"]);
    assert_eq!(by("sign_in.failed"), ["anonymous"]);
    assert_eq!(by("customer.status_changed")[..2], ["shop", "shop"]);
    assert!(by("note.added").is_empty(), "staff's own");
    let texts: Vec<_> = items.iter().map(|item| item["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"An address was added."), "{texts:?}");
    assert!(!texts.contains(&"Something was done."), "{texts:?}");
    let time = |item: &Value| item["occurred_at"].as_str().unwrap().parse::<DateTime<Utc>>();
    let times: Vec<_> = items.iter().map(|item| time(item).unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    // Nothing of anybody else, neither values nor keys of staff.
    let told = first.text();
    for foreign in [&other.id, &other.email, &shopper.email, "Calls often", "actor_id"] {
        assert!(!told.contains(foreign), "{foreign}");
    }
    // In pages it is the same list.
    let (mut paged, mut path) = (Vec::new(), "/v1/me/activity?limit=3".to_owned());
    loop {
        let page = shopper.get(&node, &path).send().await.expect(200).json();
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/me/activity?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, items);
}
