//! Killed, frozen and gone on with: an export is whole in the end, whoever had it in between.

use std::time::Duration;

use super::{EXPORTS, PATIENCE, ask, data, download, over, unzipped};
use crate::harness::{Shop, Shopper, eventually};

/// As if the lease had run out: nobody has to wait for it.
const LEASE_OVER: &str = "UPDATE privacy_exports SET leased_until = now() - interval '1 second' WHERE finished_at IS NULL";

async fn attempts(shop: &Shop) -> i64 {
    shop.database.count("SELECT max(attempt) FROM privacy_exports").await
}

/// At each point behind which something has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_maker_killed_at_any_point_is_followed_by_another() {
    let shop = Shop::new().await;
    for point in ["claimed", "table_done", "piece_put", "written", "made"] {
        let points = format!("exporter.{point}=return");
        let mut node = shop.node_with(&[("FAILPOINTS", &points)]).await;
        let shopper = Shopper::new(&shop, &node).await;
        // The process may end before it answers.
        let body = serde_json::json!({ "password": crate::harness::shopper::PASSWORD });
        shopper.post(&node, EXPORTS, body).try_send().await.ok();
        node.ended(PATIENCE).await;
        shop.database.execute(LEASE_OVER).await;
        let node = shop.node().await;
        let id = format!("SELECT id FROM privacy_exports WHERE customer_id = '{}'", shopper.id);
        let path = format!("{EXPORTS}/{}", shop.database.one(&id).await);
        assert_eq!(over(&node, &shopper, &path).await["state"], "ready", "{point}");
        assert_eq!(attempts(&shop).await, 2, "{point}");
        let files = unzipped(&download(&node, &shopper, &path).await.expect(200).body);
        assert_eq!(data(&files)["tables"]["customers"][0]["email"], shopper.email, "{point}");
    }
}

/// Without anybody's help: the lease ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_maker_killed_in_the_middle_is_followed_by_another_node() {
    let shop = Shop::new().await;
    let mut slow = shop.node_with(&[("FAILPOINTS", "exporter.table_done=sleep(200)")]).await;
    let shopper = Shopper::new(&shop, &slow).await;
    let path = ask(&slow, &shopper).await.expect(202).header("location").to_owned();
    eventually("it is under way", PATIENCE, async || {
        let told = shopper.get(&slow, &path).send().await.expect(200).json();
        let done = told["progress"]["parts_done"].as_i64().unwrap();
        (told["state"] == "running" && done > 4).then_some(())
    })
    .await;
    slow.kill9();
    let node = shop.node().await;
    assert_eq!(over(&node, &shopper, &path).await["state"], "ready");
    assert_eq!(attempts(&shop).await, 2);
    unzipped(&download(&node, &shopper, &path).await.expect(200).body);
}

/// Frozen for longer than its lease, it comes back to an export that is somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_who_comes_back_from_a_freeze_writes_nothing() {
    let shop = Shop::new().await;
    let slow = shop.node_with(&[("FAILPOINTS", "exporter.table_done=sleep(100)")]).await;
    let shopper = Shopper::new(&shop, &slow).await;
    let path = ask(&slow, &shopper).await.expect(202).header("location").to_owned();
    eventually("it is under way", PATIENCE, async || (attempts(&shop).await == 1).then_some(()))
        .await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    slow.signal("STOP");
    shop.database.execute(LEASE_OVER).await;
    let node = shop.node().await;
    assert_eq!(over(&node, &shopper, &path).await["state"], "ready");
    let before = download(&node, &shopper, &path).await.expect(200).body;
    slow.signal("CONT");
    eventually("it finds the export lost", PATIENCE, async || {
        (slow.metric_where("privacy_exports_total", "lost").await >= 1.0).then_some(())
    })
    .await;
    let after = download(&node, &shopper, &path).await.expect(200).body;
    assert!(before == after, "what was made is as it was");
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.iter().filter(|kind| *kind == "privacy.export_ready").count(), 1);
}
