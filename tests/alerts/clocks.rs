//! A machine whose clock is wrong, a database that is full, and a shard that panics.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::harness::{Shop, Shopper};
use crate::prometheus::Prometheus;
use crate::table::Stage;

/// Where Debian's package `faketime` has its library.
fn library() -> String {
    let output =
        Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]).output();
    let path = String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned();
    let missing = "libfaketime is missing: as root, `dev/install faketime` brings it";
    assert!(Path::new(&path).exists(), "{missing}");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machines_clock_is_off_the_database_is_full_and_a_shard_panics() {
    let shop = Shop::new().await;
    let maker = shop.node().await;
    let shopper = Shopper::new(&shop, &maker).await;
    drop(maker);
    let library = library();
    let node = shop
        .node_with(&[
            ("LD_PRELOAD", &library),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME", "+10"),
            ("DATABASE__ROOM_MIB", "8"),
            ("FAILPOINTS", "shard.message=6*panic(made by a test)->off"),
        ])
        .await;
    let prometheus = Prometheus::watch(&[&node]).await;
    prometheus.fires("ClockOff").await;
    prometheus.fires("DatabaseRoomShort").await;
    for alert in ["Panics", "ActorRestarting"] {
        prometheus
            .fires_while(alert, async || {
                // Answered 503 while it panics.
                shopper.patch(&node, "/v1/me", json!({ "first_name": "Ánh" })).send().await;
                sleep(Duration::from_millis(100)).await;
            })
            .await;
    }
    prometheus.end(&["Panics", "ActorRestarting"]).await;
    prometheus.has_seen_all_of(Stage::Clocks);
}
