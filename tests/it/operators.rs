//! What operators see: health, metrics, documents, the command line, a start that refuses.

use std::time::Duration;

use serde_json::json;

use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Shop, Shopper};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_and_documents_are_served() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for path in ["/health/live", "/livez", "/health/ready", "/readyz", "/docs/", "/problems"] {
        node.get(path).send().await.expect(200);
    }
    let document = node.get("/openapi.json").send().await.expect(200).json();
    let public_url = document["servers"][0]["url"].as_str().unwrap();
    assert!(public_url.starts_with("http://127.0.0.1:"), "the harness's own: {public_url}");
    let ready = node.get("/health/ready").send().await.expect(200).json();
    for dependency in ["database", "redis", "rabbitmq", "actors"] {
        let found = ready["dependencies"].as_object().unwrap();
        let known = found.keys().any(|name| name.starts_with(&dependency[..5]));
        assert!(known, "{dependency} is not in {ready}");
    }
    shopper.get(&node, "/v1/me").send().await.expect(200);
    sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    let metrics = node.get("/metrics").send().await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain"), "{:?}", metrics.headers);
    for name in [
        "http_server_request_duration_seconds",
        "actor_up",
        "actor_batch_size",
        "password_verifications_total",
    ] {
        assert!(metrics.text().contains(name), "{name} is not measured");
    }
    assert!(!metrics.text().contains(&shopper.id) && !metrics.text().contains("@"));
    let actors = node.get("/ops/actors").bearer(&shop.staff_key).send().await.expect(200);
    assert!(actors.text().contains("outbox"), "{}", actors.text());
    node.get("/ops").send().await.expect(200);
    node.get("/ops/actors").send().await.problem(401, "unauthorized");

    let own = node.get("/v1/me").bearer(&shopper.access).header("x-request-id", "mine-7");
    assert_eq!(own.send().await.expect(200).header("x-request-id"), "mine-7");
    let replaced = node.get("/v1/nothing").header("x-request-id", "a b").send().await;
    assert!(replaced.header("x-request-id").len() >= 32, "{:?}", replaced.headers);
    // The request's trace goes with its message.
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let change = shopper.patch(&node, "/v1/me", json!({ "first_name": "B" }));
    change.header("traceparent", trace).header("x-request-id", "r-77").send().await.expect(200);
    let kept = "SELECT traceparent FROM outbox_events WHERE kind = 'customer.updated'";
    assert!(shop.database.one(kept).await.contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    let entry = "SELECT request_id FROM audit_entries WHERE action = 'customer.updated'";
    assert_eq!(shop.database.one(entry).await, "r-77");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_default_group_that_does_not_exist_stops_the_start() {
    let shop = Shop::new().await;
    let settings =
        [("CUSTOMERS__DEFAULT_GROUP_BUSINESS", "nobility"), ("HTTP__BIND", "127.0.0.1:0")];
    let output = shop.command(&settings).arg("serve").output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("nobility") && told.contains("default_group_business"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_does_not_start_on_a_database_that_is_behind() {
    use crate::harness::db::TestDatabase;
    let shop = Shop::new().await;
    let empty = TestDatabase::empty().await;
    let serve = |url: &str| shop.command(&[("DATABASE__URL", url)]).arg("serve").output().unwrap();
    let refused = serve(&empty.url);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned()
        + &String::from_utf8_lossy(&refused.stdout);
    assert!(told.contains("migrate"), "{told}");
    // Two at once, and once more: the same schema.
    let migrate = || shop.command(&[("DATABASE__URL", &empty.url)]).arg("migrate").spawn().unwrap();
    let (mut first, mut second) = (migrate(), migrate());
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert!(migrate().wait().unwrap().success());
    assert_eq!(empty.count("SELECT count(*) FROM customer_groups").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_routes_can_have_an_address_of_their_own() {
    let shop = Shop::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ops = format!("127.0.0.1:{port}");
    let public = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = [("HTTP__BIND", format!("127.0.0.1:{public}")), ("HTTP__OPS_BIND", ops.clone())];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut child =
        shop.command(&settings).arg("serve").stdout(std::process::Stdio::null()).spawn().unwrap();
    let api = crate::harness::Api::new(format!("http://127.0.0.1:{public}"));
    let operators = crate::harness::Api::new(format!("http://{ops}"));
    crate::harness::eventually("both addresses answer", Duration::from_secs(30), async || {
        let ready = operators.get("/health/ready").try_send().await.ok()?;
        (ready.status == 200).then_some(())
    })
    .await;
    let inside = operators.get("/metrics").send().await.status;
    let outside = api.get("/metrics").send().await.status;
    let openapi = api.get("/openapi.json").send().await.status;
    // The command finds the operators' address by itself, and tells what is answered there.
    let health = || shop.command(&settings).arg("health").output().unwrap();
    let ready = health();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((inside, outside, openapi), (200, 404, 200));
    assert!(ready.status.success(), "{}", String::from_utf8_lossy(&ready.stderr));
    assert!(String::from_utf8_lossy(&ready.stdout).contains("\"database\""));
    let gone = health();
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains(&ops), "it says where it asked");
}
