//! Keeping and ending sessions (rule A7).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::shopper::{PASSWORD, refresh, sign_in};
use crate::harness::{Api, Shop, Shopper};

/// How soon every node refuses the tokens of a revoked session.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

async fn refused_within_a_second(shopper: &Shopper, node: &Api) {
    let began = Instant::now();
    loop {
        let answer = shopper.get(node, "/v1/me").send().await;
        if answer.status == 401 {
            answer.problem(401, "unauthorized");
            break;
        }
        answer.expect(200);
        assert!(began.elapsed() < REVOKED_WITHIN, "still accepted after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // And it stays refused.
    shopper.get(node, "/v1/me").send().await.problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_lost_answer_is_given_again_and_a_copy_ends_the_session() {
    let shop = Shop::configured(&[("SESSIONS__REUSE_GRACE_SECONDS", "2")]).await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let first =
        Shopper::of(&shopper.email, &refresh(&nodes[0], &shopper.refresh).await.expect(200));
    assert_eq!(first.session, shopper.session);
    assert_ne!(first.refresh, shopper.refresh);
    // The same parent gives the same child, on any node.
    let again =
        Shopper::of(&shopper.email, &refresh(&nodes[1], &shopper.refresh).await.expect(200));
    assert_eq!(again.refresh, first.refresh);
    let generation = "SELECT generation FROM sessions";
    assert_eq!(shop.database.count(generation).await, 1);
    first.get(&nodes[0], "/v1/me").send().await.expect(200);

    tokio::time::sleep(Duration::from_millis(2100)).await;
    refresh(&nodes[0], &shopper.refresh).await.problem(401, "refresh_reused");
    refresh(&nodes[0], &first.refresh).await.problem(401, "refresh_invalid");
    refused_within_a_second(&first, &nodes[1]).await;
    let revoked = shop
        .database
        .one("SELECT data->>'reason' FROM outbox_events WHERE kind = 'customer.session_revoked'")
        .await;
    assert_eq!(revoked, "refresh_reused");
    assert!(shop.entries(&shopper.id).await.contains(&"session.revoked".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_grandparent_is_a_copy_even_within_the_grace() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let first = Shopper::of(&shopper.email, &refresh(&node, &shopper.refresh).await.expect(200));
    let second = Shopper::of(&shopper.email, &refresh(&node, &first.refresh).await.expect(200));
    refresh(&node, &shopper.refresh).await.problem(401, "refresh_reused");
    refresh(&node, &second.refresh).await.problem(401, "refresh_invalid");
    for nonsense in ["x", "", &second.refresh[..20], second.access.as_str()] {
        let answer = refresh(&node, nonsense).await;
        assert!(matches!(answer.status, 401 | 422), "{nonsense}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_revoked_sessions_are_refused_within_a_second_on_every_node() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let first = Shopper::new(&shop, &nodes[0]).await;
    let second = first.again(&nodes[0]).await;
    let third = first.again(&nodes[1]).await;
    for shopper in [&first, &second, &third] {
        shopper.get(&nodes[1], "/v1/me").send().await.expect(200);
    }
    // Signing out, by the refresh token; again is not an error.
    for _ in 0..2 {
        let body = json!({ "refresh_token": first.refresh });
        nodes[0].post("/v1/auth/logout", body).send().await.expect(204);
    }
    refused_within_a_second(&first, &nodes[1]).await;
    refresh(&nodes[1], &first.refresh).await.problem(401, "refresh_invalid");
    // One by its id.
    let path = format!("/v1/me/sessions/{}", third.session);
    second.delete(&nodes[0], &path).send().await.expect(204);
    refused_within_a_second(&third, &nodes[1]).await;
    second.delete(&nodes[0], &path).send().await.problem(404, "not_found");
    // Somebody else's is not there.
    let other = Shopper::new(&shop, &nodes[0]).await;
    let path = format!("/v1/me/sessions/{}", other.session);
    second.delete(&nodes[0], &path).send().await.problem(404, "not_found");
    // All others.
    let fourth = first.again(&nodes[0]).await;
    let done = second.delete(&nodes[0], "/v1/me/sessions").send().await;
    assert!(matches!(done.status, 200 | 204), "{}", done.text());
    refused_within_a_second(&fourth, &nodes[1]).await;
    second.get(&nodes[1], "/v1/me").send().await.expect(200);
    let live = second.get(&nodes[1], "/v1/me/sessions").send().await.expect(200).json();
    assert_eq!(live["items"].as_array().unwrap().len(), 1, "{live}");
    other.get(&nodes[1], "/v1/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_leaving_active_ends_every_session_and_coming_back_revives_none() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let path = format!("/v1/admin/customers/{}/status", shopper.id);
    let step = |to: &str| {
        let body = json!({ "to": to, "reason": "fraud_suspected" });
        nodes[0].post(&path, body).bearer(&shop.staff_key).send()
    };
    step("suspended").await.expect(200);
    refused_within_a_second(&shopper, &nodes[1]).await;
    refresh(&nodes[1], &shopper.refresh).await.problem(401, "refresh_invalid");
    step("active").await.expect(200);
    shopper.get(&nodes[1], "/v1/me").send().await.problem(401, "unauthorized");
    refresh(&nodes[1], &shopper.refresh).await.problem(401, "refresh_invalid");
    sign_in(&nodes[1], &shopper.email, PASSWORD).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_session_ends_when_it_is_not_used_and_when_it_is_too_old() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let unused = Shopper::new(&shop, &node).await;
    let old = Shopper::new(&shop, &node).await;
    let past = "now() - interval '1 minute'";
    shop.database
        .execute(&format!(
            "UPDATE sessions SET expires_at = {past} WHERE id = '{}'",
            unused.session
        ))
        .await;
    shop.database
        .execute(&format!(
            "UPDATE sessions SET expires_at = {past}, absolute_expires_at = {past} WHERE id = '{}'",
            old.session
        ))
        .await;
    for shopper in [unused, old] {
        refresh(&node, &shopper.refresh).await.problem(401, "refresh_invalid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_refreshes_of_one_session_are_limited_and_others_are_not() {
    let shop = Shop::configured(&[("LIMITS__REFRESH_PER_MINUTE", "5")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let other = shopper.again(&node).await;
    let mut token = shopper.refresh.clone();
    for _ in 0..5 {
        let answer = refresh(&node, &token).await.expect(200);
        token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    }
    let refused = refresh(&node, &token).await.problem(429, "rate_limited");
    assert!((1..=12).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    // Nothing was spent: the token is good later, and the other session now.
    refresh(&node, &other.refresh).await.expect(200);
}
