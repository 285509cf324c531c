//! What the application answers without a database: to whom, and at the operators' routes.

use super::*;

// ---- who asks

#[actix_web::test]
async fn a7_a_token_is_worth_what_its_session_is() {
    let world = world(&[]);
    let token = world.token(5);
    // nothing is known of any session yet: refused, but not as if the token were wrong
    assert_eq!(world.get_as("/v1/me", &token).await.problem(), is(503, "unavailable"));
    assert!(world.get_as("/v1/me", &token).await.text().contains("session"));
    world.nothing_revoked();
    let answer = world.get_as("/v1/me", &token).await;
    assert_eq!(answer.problem(), is(503, "unavailable"), "accepted; the database is gone");
    assert!(!answer.text().contains("session"));
    assert_eq!(answer.header("retry-after"), Some("2"));
    world.services.revoked.mark(Uuid::from_u128(5), chrono::DateTime::<chrono::Utc>::MAX_UTC);
    assert_eq!(world.get_as("/v1/me", &token).await.problem(), is(401, "unauthorized"));
    let other = world.token(6);
    assert_eq!(world.get_as("/v1/me", &other).await.problem().0, 503);
    world.clock.advance(TimeDelta::minutes(11));
    world.nothing_revoked();
    assert_eq!(world.get_as("/v1/me", &other).await.problem(), is(401, "unauthorized"));
}

#[actix_web::test]
async fn a7_the_policy_for_unknown_sessions_is_configured() {
    let open = ("CUSTOMER_SERVICE__SESSIONS__ON_REVOCATION_UNKNOWN", "open");
    let world = world(&[open]);
    let answer = world.get_as("/v1/me", &world.token(5)).await;
    assert_eq!(answer.problem(), is(503, "unavailable"));
    assert!(!answer.text().contains("session"), "it went on to the database");
}

#[actix_web::test]
async fn a_staff_key_is_no_customer_and_a_customer_no_staff() {
    let world = world(&[]);
    world.nothing_revoked();
    let key = staff_key([1; 10], [2; 32]);
    let answer = world.get_as("/v1/me", key.key.as_str()).await;
    assert_eq!(answer.problem(), is(401, "unauthorized"));
    let answer = world.get_as("/v1/admin/customers", &world.token(5)).await;
    assert_eq!(answer.problem(), is(401, "unauthorized"));
    // a key of the right form has to be looked up
    let answer = world.get_as("/v1/admin/customers", key.key.as_str()).await;
    assert_eq!(answer.problem(), is(503, "unavailable"));
}

// ---- without a database

#[actix_web::test]
async fn a_change_without_a_database_is_refused_and_may_be_repeated() {
    let world = world(&[]);
    world.nothing_revoked();
    let request = TestRequest::patch()
        .uri("/v1/me")
        .insert_header((header::AUTHORIZATION, format!("Bearer {}", world.token(5))))
        .set_json(json!({"first_name": "Ánh"}));
    let answer = world.send(request).await;
    assert_eq!(answer.problem(), is(503, "unavailable"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[actix_web::test]
async fn faults_of_the_request_are_told_before_the_database_is_asked() {
    let world = world(&[]);
    world.nothing_revoked();
    let token = world.token(5);
    let send = async |request: TestRequest| {
        let bearer = (header::AUTHORIZATION, format!("Bearer {token}"));
        world.send(request.insert_header(bearer)).await.problem()
    };
    let patch = || TestRequest::patch().uri("/v1/me");
    assert_eq!(send(patch().set_json(json!({"status": "active"}))).await.0, 422);
    assert_eq!(send(patch().set_payload("{}")).await, is(415, "unsupported_media_type"));
    let stale = patch().insert_header((header::IF_MATCH, "\"x\"")).set_json(json!({}));
    assert_eq!(send(stale).await, is(412, "precondition_failed"));
    let get = |uri: &str| TestRequest::get().uri(uri);
    assert_eq!(send(get("/v1/me?expand=segment")).await, is(422, "validation_failed"));
    assert_eq!(send(get("/v1/me/addresses?limit=0")).await.0, 422);
    assert_eq!(send(get("/v1/me/addresses/7")).await, is(404, "not_found"));
    let key = TestRequest::post().uri("/v1/me/addresses").insert_header(("idempotency-key", "a b"));
    let address = json!({"recipient": "a", "line1": "b", "city": "c", "country": "VN"});
    assert_eq!(send(key.set_json(address)).await, is(400, "malformed_idempotency_key"));
}

// ---- operators and the well-known places

#[actix_web::test]
async fn health_tells_the_process_from_its_dependencies() {
    let world = world(&[]);
    for uri in ["/health/live", "/livez"] {
        let answer = world.get(uri).await;
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("alive")));
    }
    for uri in ["/health/ready", "/readyz"] {
        let answer = world.get(uri).await;
        assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("not_ready")));
        assert_eq!(answer.json()["dependencies"]["database"]["reason"], "gone");
        assert_eq!(answer.json()["dependencies"]["actors"]["state"], "up");
    }
    assert_eq!(world.get("/metrics").await.status, 200);
}

#[actix_web::test]
async fn the_keys_of_access_tokens_are_public_and_may_be_cached() {
    let answer = world(&[]).get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let key = &answer.json()["keys"][0];
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(key.get("d").is_none());
}

#[actix_web::test]
async fn security_txt_is_there_when_a_contact_is() {
    let uri = "/.well-known/security.txt";
    assert_eq!(world(&[]).get(uri).await.problem(), is(404, "not_found"));
    let contact = ("CUSTOMER_SERVICE__HTTP__SECURITY_CONTACT", "mailto:security@shop.example");
    let answer = world(&[contact]).get(uri).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.text().starts_with("Contact: mailto:security@shop.example\nExpires: 2027-"));
}

#[actix_web::test]
async fn the_supervision_page_runs_nothing_but_its_own() {
    let answer = world(&[]).get("/ops").await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
    assert_eq!(policy.matches("'sha256-").count(), 2);
    assert!(!policy.contains("unsafe"));
    // the hash of an empty text
    assert!(!policy.contains("47DEQpj8HBSa"));
}

#[actix_web::test]
async fn other_origins_may_call_only_when_they_are_configured() {
    let preflight = || {
        TestRequest::default()
            .method(Method::OPTIONS)
            .uri("/v1/me")
            .insert_header((header::ORIGIN, "https://shop.example"))
            .insert_header((header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH"))
            .insert_header((header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization, if-match"))
    };
    let allowed = "access-control-allow-origin";
    assert_eq!(world(&[]).send(preflight()).await.header(allowed), None);
    let world = world(&[("CUSTOMER_SERVICE__HTTP__CORS_ORIGINS", "https://shop.example")]);
    let answer = world.send(preflight()).await;
    assert_eq!(answer.header(allowed), Some("https://shop.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let foreign = preflight().insert_header((header::ORIGIN, "https://evil.example"));
    assert_eq!(world.send(foreign).await.header(allowed), None);
}
