//! Signing in (rules A4, A5, A6, A12): the order of the questions, and the answers.

use serde_json::json;

use crate::harness::shopper::{PASSWORD, address, register, sign_in};
use crate::harness::{Answer, Shop, Shopper};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_a_sign_in_is_a_session_a_message_and_an_entry() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let body = json!({ "email": shopper.email.to_uppercase(), "password": PASSWORD,
        "device_name": "Ánh's phone", "device_token": shopper.device });
    let call = node.post("/v1/auth/login", body).from("203.0.113.9");
    let answer = call.header("user-agent", "shop-app/7").send().await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let second = Shopper::of(&shopper.email, &answer);
    assert_eq!(second.id, shopper.id);
    assert_ne!(second.session, shopper.session);
    let pair = answer.json();
    assert!((1..=600).contains(&pair["expires_in"].as_i64().unwrap()), "{pair}");
    assert!(pair["refresh_expires_in"].as_i64().unwrap() > 29 * 86_400, "{pair}");

    let sessions = second.get(&node, "/v1/me/sessions").send().await.expect(200).json();
    let items = sessions["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{sessions}");
    let current = items.iter().find(|item| item["current"] == true).unwrap();
    assert_eq!(current["id"], json!(second.session));
    assert_eq!(current["device_name"], "Ánh's phone");
    assert_eq!(current["user_agent"], "shop-app/7");
    assert_eq!(current["client_address"], "203.0.113.9");
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.last().map(String::as_str), Some("customer.signed_in"));
    let entries = shop.entries(&shopper.id).await;
    assert_eq!(entries.iter().filter(|entry| *entry == "sign_in.succeeded").count(), 2);
    let devices = format!("SELECT count(*) FROM devices WHERE customer_id = '{}'", shopper.id);
    assert_eq!(shop.database.count(&devices).await, 1, "the device is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_status_and_verification_are_told_only_after_the_right_password() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let pending = address();
    register(&node, &pending).await.expect(202);
    sign_in(&node, &pending, "wrong password 12").await.problem(401, "invalid_credentials");
    sign_in(&node, &pending, PASSWORD).await.problem(403, "email_unverified");

    for (status, code) in [("suspended", "account_suspended"), ("inactive", "account_inactive")] {
        let shopper = Shopper::new(&shop, &node).await;
        let path = format!("/v1/admin/customers/{}/status", shopper.id);
        let body = json!({ "to": status, "reason": "fraud_suspected" });
        node.post(&path, body).bearer(&shop.staff_key).send().await.expect(200);
        let wrong = sign_in(&node, &shopper.email, "wrong password 12").await;
        wrong.problem(401, "invalid_credentials");
        sign_in(&node, &shopper.email, PASSWORD).await.problem(403, code);
        assert!(shop.entries(&shopper.id).await.contains(&"sign_in.refused".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_known_and_unknown_identifiers_are_answered_alike() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let nobody = address();
    // Through the lock and beyond.
    for _ in 0..7 {
        let known = sign_in(&node, &shopper.email, "wrong password 12").await;
        let unknown = sign_in(&node, &nobody, "wrong password 12").await;
        assert_eq!(shape(&known), shape(&unknown));
    }
    let staff_made = json!({ "email": address(), "first_name": "A", "last_name": "B" });
    let made = node.post("/v1/admin/customers", staff_made.clone()).bearer(&shop.staff_key);
    made.send().await.expect(201);
    // An account without a password.
    let email = staff_made["email"].as_str().unwrap();
    let known = sign_in(&node, email, PASSWORD).await;
    let unknown = sign_in(&node, &address(), PASSWORD).await;
    assert_eq!(shape(&known), shape(&unknown));
}

/// All of an answer that must not differ: what differs by nature is left out.
fn shape(answer: &Answer) -> (u16, Vec<String>, serde_json::Value) {
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    let mut body = answer.json();
    body["request_id"] = json!(null);
    // Both were locked within the same moment, not at the same one.
    if answer.status == 429 {
        body["detail"] = json!(null);
    }
    (answer.status, headers, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_calls_of_one_address_are_limited_and_others_are_not() {
    let shop = Shop::configured(&[("LIMITS__SIGN_IN_PER_MINUTE", "10")]).await;
    let nodes = [shop.node().await, shop.node().await];
    let body = || json!({ "email": address(), "password": "wrong password 12" });
    // A /64 of its own: the tests share one Redis.
    let network = crate::harness::unique("");
    let network = format!("2001:db8:{}:{}", &network[25..29], &network[29..33]);
    let mut refused = 0;
    for number in 0..14 {
        let node = &nodes[number % 2];
        let call = node.post("/v1/auth/login", body()).from(&format!("{network}::{number:x}"));
        let answer = call.send().await;
        if answer.status == 429 {
            answer.problem(429, "rate_limited");
            refused += 1;
        } else {
            answer.problem(401, "invalid_credentials");
        }
    }
    // While the test runs, a token comes back every 6 s.
    assert!((2..=4).contains(&refused), "{refused} of 14 were refused");
    let elsewhere = nodes[0].post("/v1/auth/login", body()).from("2001:db8:ffff::1");
    elsewhere.send().await.problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_tokens_are_verified_by_the_published_keys() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let keys = node.get("/.well-known/jwks.json").send().await.expect(200);
    let keys = keys.json();
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"))
    );
    let x = key["x"].as_str().unwrap();
    let decoding = jsonwebtoken::DecodingKey::from_ed_components(x).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["shop"]);
    validation.set_issuer(&["customer-service"]);
    let token = jsonwebtoken::decode::<serde_json::Value>(&shopper.access, &decoding, &validation);
    let claims = token.unwrap().claims;
    assert_eq!((&claims["sub"], &claims["sid"]), (&json!(shopper.id), &json!(shopper.session)));
    assert_eq!(claims["aal"], 1);
    assert!(claims["amr"].is_array());
    // Forged, cut and foreign ones open nothing.
    let mut parts: Vec<_> = shopper.access.split('.').collect();
    let none = "eyJhbGciOiJub25lIn0";
    parts[0] = none;
    let forged = parts.join(".");
    let cut = &shopper.access[..shopper.access.len() - 4];
    for token in [forged.as_str(), cut, "x", shopper.refresh.as_str(), shop.staff_key.as_str()] {
        node.get("/v1/me").bearer(token).send().await.problem(401, "unauthorized");
    }
}
