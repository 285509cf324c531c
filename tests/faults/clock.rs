//! A node whose clock is wrong, beside one whose clock is right.

use std::path::Path;
use std::process::Command;

use crate::ground::Ground;
use crate::harness::{Api, Shopper};
use crate::report::Report;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F20",
    fault: "one node's clock ten minutes ahead, ten minutes behind, an hour behind",
    criterion: "nobody accepted wrongly, nobody refused wrongly",
    play: played!(wrong_clock),
    short: false,
}];

/// Where Debian's package `faketime` has its library.
fn library() -> Option<String> {
    let output =
        Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]).output();
    let path = String::from_utf8_lossy(&output.ok()?.stdout).trim().to_owned();
    Path::new(&path).exists().then_some(path)
}

async fn wrong_clock(ground: &Ground, report: &mut Report) {
    let Some(library) = library() else {
        report.must(false, "not run: install the Debian package faketime");
        return;
    };
    for (name, shift) in [("+10 min", "+600"), ("-10 min", "-600"), ("-1 h", "-3600")] {
        let shop = ground.shop(&[]).await;
        let right = shop.node().await;
        let preload =
            [("LD_PRELOAD", library.as_str()), ("FAKETIME", shift), ("DONT_FAKE_MONOTONIC", "1")];
        let wrong = shop.node_with(&preload).await;
        let mut told = Vec::new();
        for (from, by, at) in [("right", &right, &wrong), ("wrong", &wrong, &right)] {
            let shopper = Shopper::new(&shop, by).await;
            for (where_, node) in [("itself", by), ("the other", at)] {
                let read = shopper.get(node, "/v1/me").send().await.status;
                if read != 200 {
                    told.push(format!("token of the {from} node refused by {where_}: {read}"));
                }
                let refreshed = refresh(node, &shopper).await;
                if refreshed != 200 {
                    told.push(format!(
                        "session of the {from} node not refreshed by {where_}: {refreshed}"
                    ));
                }
            }
        }
        report.must(told.is_empty(), format!("{name}: {} wrongly refused {told:?}", told.len()));
    }
}

async fn refresh(node: &Api, shopper: &Shopper) -> u16 {
    // Each on a session of its own, so that one refresh is not the other's reuse.
    let again =
        crate::harness::shopper::sign_in(node, &shopper.email, crate::harness::shopper::PASSWORD);
    let again = again.await;
    if again.status != 200 {
        return again.status;
    }
    let token = again.json()["refresh_token"].as_str().unwrap().to_owned();
    crate::harness::shopper::refresh(node, &token).await.status
}
