//! Segments that every new customer belongs to from its first instant (rule L9).

use serde_json::json;

use super::shelf::*;
use crate::harness::identity::Person;
use crate::harness::shopper::{address, register};
use crate::harness::{IdentityProvider, Shop};
use crate::imports;
use crate::social;

const DEFAULTS: (&str, &str) = ("SEGMENTS__DEFAULTS", "newcomers,everybody");

/// Customers who joined a default segment in another transaction than the one that made them, or whose
/// message or entry is missing.
const APART: &str = "SELECT count(*) FROM customers AS c CROSS JOIN segments AS s \
     LEFT JOIN segment_members AS m ON m.customer_id = c.id AND m.segment_id = s.id AND m.xmin = c.xmin \
     LEFT JOIN outbox_events AS o ON o.customer_id = c.id AND o.kind = 'segment.assigned' \
         AND o.data ->> 'segment' = s.code AND o.xmin = c.xmin AND o.customer_sequence > 1 \
     LEFT JOIN audit_entries AS a ON a.customer_id = c.id AND a.action = 'segment.assigned' \
         AND a.data ->> 'segment' = s.code AND a.xmin = c.xmin \
     WHERE s.kind = 'static' AND (m.customer_id IS NULL OR o.id IS NULL OR a.id IS NULL)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_whoever_is_new_joins_in_the_transaction_that_makes_it() {
    let provider = IdentityProvider::start().await;
    let settings = provider.settings("google");
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let shop = Shop::configured(&settings).await;
    let first = shop.node().await;
    for code in ["newcomers", "everybody"] {
        by_hand(&shop, &first, code).await;
    }
    let node = shop.node_with(&[DEFAULTS]).await;
    // Whichever way it comes.
    customer(&shop, &node, json!({})).await;
    register(&node, &address()).await.expect(202);
    let imported = imports::import(
        &shop,
        &node,
        "",
        "text/csv",
        b"email,first_name,last_name\nlan@shop.example,Lan,Tran\nmai@shop.example,Mai,Tran\n",
    )
    .await;
    assert_eq!(imported["rows_imported"], 2, "{imported}");
    let person = Person::new();
    let (url, state) = social::begin(&node.get(&social::path("google")).send().await);
    let body = json!({ "code": provider.agree(&url, &person), "state": state });
    social::post(&node, "google", body).await.expect(200);
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 5);
    // A sign-in has touched the last one since.
    let by_identity = "SELECT count(*) FROM segment_members WHERE customer_id IN \
                       (SELECT customer_id FROM identities)";
    assert_eq!(shop.database.count(by_identity).await, 2);
    let others = format!("{APART} AND c.id NOT IN (SELECT customer_id FROM identities)");
    assert_eq!(shop.database.count(&others).await, 0);
    assert_eq!(show(&shop, &node, "newcomers").await["members"], 5);
    // A node that knows of none puts nobody in.
    customer(&shop, &first, json!({})).await;
    assert_eq!(show(&shop, &node, "newcomers").await["members"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_without_a_default_segment_nobody_is_made_and_nothing_starts() {
    let shop = Shop::new().await;
    let output =
        shop.command(&[DEFAULTS, ("HTTP__BIND", "127.0.0.1:0")]).arg("serve").output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("segments.defaults") && told.contains("everybody"), "{told}");

    let first = shop.node().await;
    by_hand(&shop, &first, "everybody").await;
    // A rule is none: who belongs to it is not said by hand.
    rule(&shop, &first, "newcomers", "number_of_orders = 0").await;
    let output =
        shop.command(&[DEFAULTS, ("HTTP__BIND", "127.0.0.1:0")]).arg("serve").output().unwrap();
    assert!(!output.status.success());
    delete(&shop, &first, "newcomers").await.expect(202);
    settled(&shop).await;
    crate::harness::eventually("it is gone", std::time::Duration::from_secs(10), async || {
        let left = "SELECT count(*) FROM segments WHERE code = 'newcomers'";
        (shop.database.count(left).await == 0).then_some(())
    })
    .await;
    by_hand(&shop, &first, "newcomers").await;

    let node = shop.node_with(&[DEFAULTS]).await;
    delete(&shop, &node, "newcomers").await.problem(409, "segment_is_default");
    customer(&shop, &node, json!({})).await;
    // Somebody takes it away all the same, by a node that knows of none.
    delete(&shop, &first, "newcomers").await.expect(202);
    let before = shop.database.count("SELECT count(*) FROM customers").await;
    let body = json!({ "email": address(), "first_name": "Lan", "last_name": "Tran" });
    let refused = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    refused.problem(503, "unavailable");
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, before);
    // Whoever is made nobody by the same batch is not concerned.
    customer(&shop, &first, json!({})).await;
}
