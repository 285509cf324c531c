//! Who computes cut points and models, and when: the service by itself, one node of several, without
//! anybody waiting for it.

use std::time::Duration;

use chrono_tz::Tz;
use serde_json::{Value, json};

use super::facts::{cdnow, customers, put};
use super::{BY_COMMAND, Desk};
use crate::harness::{Shop, eventually};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_computes_by_itself_and_one_node_of_two_does() {
    let shop = Shop::new().await;
    let ids = customers(&shop.database, 2_357).await;
    put(&shop.database, &ids, &cdnow()).await;
    let (one, _other) = tokio::join!(shop.node(), shop.node());
    let versions =
        "SELECT (SELECT count(*) FROM rfm_cut_points) || ' ' || count(*) FROM prediction_models";
    let done = eventually("both are computed", LONG, || async {
        (shop.database.one(versions).await == "1 1").then_some(())
    });
    done.await;
    for (route, kind) in [("rfm", "cut_points"), ("predictions", "model")] {
        let path = format!("/v1/admin/analytics/{route}");
        let told = one.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        assert_eq!(told[kind]["version"], 1, "{told}");
        assert_eq!(told["run"]["stage"], "done", "{told}");
    }
    // a node that comes later finds it done
    let _third = shop.node().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.database.one(versions).await, "1 1");
    let workers = one.get("/ops/actors").bearer(&shop.staff_key).send().await.expect(200).json();
    let names: Vec<_> = workers["actors"].as_array().unwrap().iter().map(|a| &a["name"]).collect();
    assert!(names.contains(&&json!("analyst")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_computed_from_nothing_and_it_is_said() {
    let desk = Desk::open(Tz::UTC, 3, Vec::new()).await;
    for (command, why, route) in
        [("rfm", "no_customers", "rfm"), ("refit", "too_few_customers", "predictions")]
    {
        let output = desk.shop.run(&["analytics", command]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(why), "{told}");
        let told = desk.get(route).await;
        assert_eq!((&told["run"]["stage"], &told["run"]["fault"]), (&json!("failed"), &json!(why)));
    }
    let told = desk.get("rfm").await;
    assert_eq!((&told["groups"], &told["cut_points"]), (&json!([]), &Value::Null));
    let one = desk.of(0).await;
    assert_eq!((&one["rfm"], &one["prediction"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_another_computes_is_told_so() {
    let shop = Shop::configured(&BY_COMMAND).await;
    let lock = shop.database.client().await;
    lock.batch_execute("SELECT pg_advisory_lock(x'6373616e616c7973'::bigint)").await.unwrap();
    let output = shop.run(&["analytics", "rfm"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("somebody computes already"), "{told}");
}
