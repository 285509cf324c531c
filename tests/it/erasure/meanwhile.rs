//! What happens at the very moment at which an erasure begins: two transactions, one step at a time.

use std::time::Duration;

use serde_json::json;

use super::ground::{deletion, state_of};
use crate::harness::{Shop, Shopper, eventually};
use crate::merge::{made, merge};

const SHORT: Duration = Duration::from_secs(20);

/// Whoever reads the holds before it has the lock of whom it erases along reads too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_hold_that_is_being_placed_on_who_was_merged_in_is_waited_for() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let merged = made(&shop, &node).await;
    merge(&shop, &node, &merged, &shopper.id).await.expect(200);
    let path = deletion(&shopper.id);
    let asked = node.post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(202);
    let id = asked.json()["id"].as_str().unwrap().to_owned();

    // The hold, as it is placed: under its customer's lock, and not committed yet.
    let placing = shop.database.client().await;
    let pid = placing.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    let place = format!(
        "BEGIN; SELECT FROM customers WHERE id = '{merged}' FOR UPDATE; \
         INSERT INTO legal_holds (id, customer_id, reason, placed_by, placed_at) \
         VALUES (gen_random_uuid(), '{merged}', 'tax_audit', 'somebody', now())"
    );
    placing.batch_execute(&place).await.unwrap();
    shop.database.execute("UPDATE erasures SET due_at = now(), look_at = now()").await;
    let waiting =
        format!("SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))");
    eventually("the erasure waits for the lock", SHORT, async || {
        (shop.database.count(&waiting).await > 0).then_some(())
    })
    .await;
    placing.batch_execute("COMMIT").await.unwrap();

    let shown = eventually("it is put off or over", SHORT, async || {
        let path = format!("/v1/admin/erasures/{id}");
        let shown = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        (shown["put_off"].is_string() || shown["state"] != "scheduled").then_some(shown)
    })
    .await;
    assert_eq!((&shown["state"], &shown["put_off"]), (&json!("scheduled"), &json!("legal_hold")));
    let kept = format!("SELECT first_name FROM customers WHERE id = '{merged}'");
    assert_eq!(shop.database.one(&kept).await, "Ánh", "nothing of whom the hold names is gone");

    // Released, it goes on with the whole of its customer; and then there is nobody to hold.
    let hold = crate::merge::path(&merged, "/legal_hold");
    node.delete(&hold).bearer(&shop.staff_key).send().await.expect(204);
    shop.database.execute("UPDATE erasures SET look_at = now()").await;
    eventually("it is completed", SHORT, async || {
        (state_of(&node, &shop, &id).await == "completed").then_some(())
    })
    .await;
    assert_eq!(shop.database.one(&kept).await, "-");
    let late = node.post(&hold, json!({ "reason": "tax_audit" })).bearer(&shop.staff_key);
    late.send().await.problem(404, "not_found");
}
