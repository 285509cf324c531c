//! What a node logs, changed while it runs.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Node, Shop, eventually};

const PATH: &str = "/ops/log_levels";

/// Lines of the log about this request.
fn told(node: &Node, request: &str) -> usize {
    node.log().lines().filter(|line| line.contains(request)).count()
}

/// Asks something and waits until it is told of, if it is to be.
async fn asked(node: &Node, request: &str) {
    node.get("/v1/countries").header("x-request-id", request).send().await.expect(200);
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_are_changed_by_module_and_put_back_and_both_are_in_the_trail() {
    let shop = Shop::configured(&[("TELEMETRY__LOG", "warn")]).await;
    let node = shop.node().await;
    let (reader, writer) = (shop.key("ops:read").1, shop.key("ops:write").1);
    asked(&node, "before-it").await;
    assert_eq!(told(&node, "before-it"), 0);

    let levels = json!({ "levels": "warn,customer_service::http::request_id=info", "minutes": 5 });
    let refused = node.put(PATH, levels.clone()).bearer(&reader).send().await;
    refused.problem(403, "insufficient_scope");
    let changed = node.put(PATH, levels.clone()).bearer(&writer).send().await.expect(200).json();
    assert_eq!((&changed["levels"], &changed["configured"]), (&levels["levels"], &json!("warn")));
    assert!(changed["until"].is_string());
    asked(&node, "while-it-holds").await;
    eventually("the access record", Duration::from_secs(10), async || {
        (told(&node, "while-it-holds") == 1).then_some(())
    })
    .await;
    let shown = node.get(PATH).bearer(&reader).send().await.expect(200).json();
    assert_eq!(shown, changed);

    let reset = node.delete(PATH).bearer(&writer).send().await.expect(200).json();
    assert_eq!(reset, json!({ "levels": "warn", "configured": "warn", "until": null }));
    asked(&node, "afterwards").await;
    assert_eq!(told(&node, "afterwards"), 0);

    let trail = "SELECT action || ' ' || data::text FROM audit_entries WHERE action LIKE 'log_levels.%' \
        ORDER BY id";
    let trail = shop.database.column(trail).await;
    assert_eq!(trail.len(), 2, "{trail:?}");
    assert!(trail[0].starts_with("log_levels.changed") && trail[0].contains("request_id=info"));
    assert!(trail[1].starts_with("log_levels.reset"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_parse_or_would_tell_of_customers_is_refused_with_the_reason() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    for (levels, reason) in [
        ("inof", "module=level"),
        ("customer_service=loud", "trace"),
        ("tokio_postgres=debug", "customers"),
    ] {
        let body = json!({ "levels": levels });
        let answer = node.put(PATH, body).bearer(&shop.staff_key).send().await;
        let answer = answer.problem(422, "validation_failed");
        assert_eq!(answer.faults(), ["#/levels invalid_levels"], "{levels}");
        assert!(answer.text().contains(reason), "{levels}: {}", answer.text());
    }
    let shown = node.get(PATH).bearer(&shop.staff_key).send().await.expect(200).json();
    assert_eq!(shown["until"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_ends_nothing_and_changes_nothing() {
    let shop = Shop::new().await;
    let mut node = shop.node().await;
    node.signal("HUP");
    eventually("it was heard", Duration::from_secs(10), async || {
        node.log().contains("a hang-up changes nothing").then_some(())
    })
    .await;
    assert!(node.runs());
    node.get("/health/ready").send().await.expect(200);
}
