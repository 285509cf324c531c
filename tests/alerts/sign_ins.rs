//! Too many sign-ins, most of them wrong; letters that nobody takes; a provider that is away.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::identity::REDIRECT_URI;
use crate::harness::shopper::{address, register};
use crate::harness::{Api, IdentityProvider, Shop, Shopper};
use crate::prometheus::Prometheus;
use crate::table::Stage;

/// The one who reads mails has a folder; the node that is watched has nobody who takes them.
const WATCHED: &[(&str, &str)] = &[
    ("MAIL__TRANSPORT", "smtp"),
    ("MAIL__SMTP_URL", "smtp://127.0.0.1:9"),
    ("LIMITS__SMS_PER_HOUR", "1"),
    ("SOCIAL__TIMEOUT_MS", "500"),
    ("STUFFING__MIN_FAILURES", "5"),
    ("HASHING__THREADS", "1"),
    ("HASHING__QUEUE_MAX", "1"),
    ("HASHING__MEMORY_KIB", "65536"),
    ("HASHING__PASSES", "3"),
];

/// Somebody's list of addresses and passwords, a few at once, each from another network.
async fn spray(api: &Api, tried: &AtomicUsize) {
    let calls = (0..8).map(|_| {
        let number = tried.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "email": address(), "password": "Summer2019!" });
        let from = format!("10.{}.{}.9", number / 250, number % 250);
        api.post("/v1/auth/login", body).from(&from).try_send()
    });
    join_all(calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_letters_and_providers_are_in_trouble() {
    let provider = IdentityProvider::start().await;
    let settings = provider.settings("google");
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let shop = Shop::configured(&settings).await;
    let maker = shop.node().await;
    let shopper = Shopper::new(&shop, &maker).await;
    drop(maker);
    let node = shop.node_with(WATCHED).await;
    let prometheus = Prometheus::watch(&[&node]).await;

    register(&node, &address()).await.expect(202);
    for number in ["+84 912 345 678", "+84 912 345 679", "+84 912 345 670"] {
        shopper.post(&node, "/v1/me/phone", json!({ "phone": number })).send().await;
    }
    prometheus.fires("TextBudgetSpent").await;

    provider.state().status = Some(503);
    let page = format!("/v1/auth/social/google/authorize?redirect_uri={REDIRECT_URI}");
    prometheus
        .fires_while("IdentityProviderUnavailable", async || {
            node.get(&page).send().await.expect(503);
        })
        .await;
    prometheus.fires("DeliveriesWait").await;

    let tried = AtomicUsize::new(0);
    for alert in ["HashingQueueFull", "Overloaded", "StuffingBrakeEngaged"] {
        prometheus.fires_while(alert, async || spray(&node, &tried).await).await;
    }
    prometheus.end(&["HashingQueueFull", "Overloaded"]).await;
    prometheus.has_seen_all_of(Stage::SignIns);
}
