//! The one gate (rules A4–A6): every route of the API description that takes a credential of a
//! customer, and the path by which it passes the gate. Neither a new route nor a new path can go
//! unnoticed, and no route goes round.

use std::collections::BTreeSet;

use customer_service::actors::gate::Path;
use reqwest::Method;
use serde_json::{Value, json};

use crate::access::{Operation, operations};
use crate::harness::api::Call;
use crate::harness::shopper::{PASSWORD, refresh_call};
use crate::harness::{Answer, Api, Authenticator, IdentityProvider, Node, Shop, Shopper};

/// Words in the name of a field or parameter that takes a credential.
const CREDENTIALS: &[&str] = &[
    "answer",
    "assertion",
    "challenge",
    "code",
    "credential",
    "evidence",
    "key",
    "nonce",
    "otp",
    "passkey",
    "password",
    "pin",
    "proof",
    "secret",
    "signature",
    "state",
    "token",
];

/// What is called like one, and is none.
const NO_CREDENTIALS: &[&str] = &["postal_code", "Idempotency-Key"];

/// Calls of one address on one path, and of one session, in a minute.
const QUOTA: usize = 3;

/// A token in the form of ours, and nobody's.
const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What a route has to do with the gate.
enum Way {
    /// It passes by this path. Sent this, it answers with this status and code.
    Gate(Path, Value, u16, &'static str),
    /// It takes no credential: why.
    Free(&'static str),
}

use Way::{Free, Gate};

/// Every route under `/v1/auth`, and of all others those that have to do with the gate.
fn table() -> Vec<(&'static str, Way)> {
    let mut table = of_the_public();
    table.extend(of_the_owner());
    table.push(("GET /problems/{code}", Free("the name of a problem, and no secret")));
    let of_a_message = "in which state messages are that are kept back, and no secret";
    table.push(("GET /v1/admin/events/dead_letters", Free(of_a_message)));
    table.push(("GET /v1/admin/erasures", Free("how far a deletion is, and no secret")));
    table.push((
        "GET /v1/wishlists/shared/{token}",
        Free("a list that its owner gave out, and nobody's account; limited by address"),
    ));
    table.push((
        "POST /v1/admin/imports",
        Free("hashes of another shop, brought by staff; nobody signs in by them here"),
    ));
    let of_a_group = "the name of a group, and no secret";
    for route in [
        "POST /v1/admin/groups",
        "GET /v1/admin/groups/{code}",
        "PATCH /v1/admin/groups/{code}",
        "DELETE /v1/admin/groups/{code}",
    ] {
        table.push((route, Free(of_a_group)));
    }
    let of_a_segment = "the name of a segment, whether it is in force, and no secret";
    for route in [
        "GET /v1/admin/segments",
        "POST /v1/admin/segments",
        "GET /v1/admin/segments/{id}",
        "PATCH /v1/admin/segments/{id}",
    ] {
        table.push((route, Free(of_a_segment)));
    }
    let of_an_attribute = "the name of a custom attribute, and no secret";
    for route in [
        "POST /v1/admin/attributes",
        "GET /v1/admin/attributes/{key}",
        "PATCH /v1/admin/attributes/{key}",
        "DELETE /v1/admin/attributes/{key}",
    ] {
        table.push((route, Free(of_an_attribute)));
    }
    table
}

fn of_the_public() -> Vec<(&'static str, Way)> {
    let nobody = json!({ "email": "nobody@shoppers.example", "password": "wrong horse" });
    let token = || json!({ "token": TOKEN });
    vec![
        (
            "POST /v1/auth/register",
            Free("a password is chosen and none is shown; limited by address and mailbox"),
        ),
        ("POST /v1/auth/email/resend", Free("asks for a mail; limited by address and mailbox")),
        (
            "POST /v1/auth/email/verify",
            Gate(Path::EmailVerification, token(), 422, "token_invalid"),
        ),
        ("POST /v1/auth/login", Gate(Path::Password, nobody, 401, "invalid_credentials")),
        (
            "POST /v1/auth/refresh",
            Gate(Path::Refresh, json!({ "refresh_token": TOKEN }), 401, "refresh_invalid"),
        ),
        (
            "POST /v1/auth/logout",
            Free("opens nothing and tells nothing: right and wrong tokens are answered alike"),
        ),
        ("POST /v1/auth/password/forgot", Free("asks for a mail; limited by address and mailbox")),
        (
            "POST /v1/auth/password/reset",
            Gate(
                Path::PasswordReset,
                json!({ "token": TOKEN, "new_password": "another horse staple 9" }),
                422,
                "token_invalid",
            ),
        ),
        (
            "POST /v1/auth/password/check",
            Free("a password that is thought of, compared with nobody's; limited by address"),
        ),
        (
            "POST /v1/auth/email/change/confirm",
            Gate(Path::EmailChange, token(), 422, "token_invalid"),
        ),
        (
            "POST /v1/auth/email/change/undo",
            Gate(Path::EmailChangeUndo, token(), 422, "token_invalid"),
        ),
        (
            "POST /v1/auth/mfa",
            Gate(
                Path::SecondFactor,
                json!({ "challenge": TOKEN, "method": "totp", "code": "123456" }),
                401,
                "flow_invalid",
            ),
        ),
        (
            "GET /v1/auth/social/{provider}/authorize",
            Gate(Path::SocialAuthorization, Value::Null, 422, "redirect_uri_not_allowed"),
        ),
        ("POST /v1/auth/social/{provider}", Gate(Path::Social, code(), 401, "identity_invalid")),
        ("POST /v1/auth/passkey/challenge", Gate(Path::PasskeyChallenge, Value::Null, 200, "")),
        (
            "POST /v1/auth/passkey",
            Gate(
                Path::Passkey,
                json!({ "challenge": TOKEN, "credential": device().get(&options(), None) }),
                401,
                "flow_invalid",
            ),
        ),
    ]
}

fn of_the_owner() -> Vec<(&'static str, Way)> {
    let again = |more: Value| {
        let mut body = json!({ "password": "wrong horse" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Gate(Path::Reauthentication, body, 403, "proof_invalid")
    };
    let passwords = json!({ "current_password": "wrong horse", "new_password": PASSWORD });
    vec![
        ("POST /v1/me/password", Gate(Path::Reauthentication, passwords, 403, "proof_invalid")),
        ("POST /v1/me/email", again(json!({ "new_email": "other@shoppers.example" }))),
        (
            "POST /v1/me/phone/confirm",
            Gate(Path::PhoneCode, json!({ "code": "000000" }), 403, "proof_invalid"),
        ),
        ("DELETE /v1/me/phone", again(json!({}))),
        ("POST /v1/me/mfa/totp", again(json!({}))),
        (
            "POST /v1/me/mfa/totp/confirm",
            Gate(Path::TotpConfirmation, json!({ "code": "000000" }), 422, "validation_failed"),
        ),
        ("DELETE /v1/me/mfa/totp", again(json!({}))),
        ("POST /v1/me/mfa/backup_codes", again(json!({}))),
        ("POST /v1/me/identities/{provider}/authorize", again(json!({}))),
        ("POST /v1/me/identities/{provider}", Gate(Path::Social, code(), 401, "identity_invalid")),
        ("DELETE /v1/me/identities/{provider}", again(json!({}))),
        ("POST /v1/me/passkeys/challenge", again(json!({}))),
        (
            "POST /v1/me/passkeys",
            Gate(
                Path::PasskeyRegistration,
                json!({ "challenge": TOKEN, "credential": device().create(&options(), None) }),
                401,
                "flow_invalid",
            ),
        ),
        ("POST /v1/me/privacy/export", again(json!({}))),
        ("PATCH /v1/me/passkeys/{id}", again(json!({ "second_factor": true }))),
        ("DELETE /v1/me/passkeys/{id}", again(json!({}))),
        ("POST /v1/me/privacy/deletion", again(json!({}))),
    ]
}

/// Neither was ever given out by the provider.
fn code() -> Value {
    json!({ "code": "wrong", "state": TOKEN })
}

fn device() -> Authenticator {
    Authenticator::new([7; 32], "http://localhost:3000")
}

/// A challenge that the service never made.
fn options() -> Value {
    json!({ "challenge": TOKEN, "rpId": "localhost", "rp": { "id": "localhost" },
        "user": { "id": TOKEN } })
}

/// A service with every way in switched on, and a customer in the midst of every ceremony.
struct Stage {
    shop: Shop,
    node: Node,
    shopper: Shopper,
    /// Ends with the stage.
    _provider: IdentityProvider,
}

impl Stage {
    async fn new() -> Self {
        let provider = IdentityProvider::start().await;
        let mut settings = provider.settings("google");
        let own = [
            ("PASSKEYS__RP_ID", "localhost"),
            ("PASSKEYS__ORIGINS", "http://localhost:3000"),
            // Nothing locks: the calls of one address are what is counted.
            ("SIGN_IN__MAX_FAILURES", "100"),
            ("SESSIONS__REUSE_GRACE_SECONDS", "60"),
        ];
        settings.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let shop = Shop::configured(&settings).await;
        let node = shop.node().await;
        let shopper = Shopper::new(&shop, &node).await;
        let proof = json!({ "password": PASSWORD });
        shopper.post(&node, "/v1/me/mfa/totp", proof).send().await.expect(200);
        let phone = json!({ "phone": "+84912345678" });
        shopper.post(&node, "/v1/me/phone", phone).send().await.expect(202);
        Self { shop, node, shopper, _provider: provider }
    }

    /// A call with a wrong credential and nothing else that is wrong.
    fn call(&self, node: &Api, operation: &Operation, body: &Value) -> Call {
        let provider = operation.template.contains("{provider}");
        let id = if provider { "google" } else { "0190b4a0-0000-7000-8000-000000000000" };
        let mut path = operation.path(id);
        if path.ends_with("/authorize") {
            path.push_str("?redirect_uri=https://evil.example/");
        }
        let call = node.call(operation.method.clone(), &path);
        let call = if body.is_null() { call } else { call.json(body.clone()) };
        match operation.security.first() {
            Some(_) => call.bearer(&self.shopper.access),
            None => call,
        }
    }
}

/// Passages so far by one path, with one outcome or any.
async fn passages(node: &Api, path: Path, outcome: &str) -> f64 {
    let text = node.get("/metrics").send().await.expect(200).text();
    let named = format!("path=\"{}\"", path.as_str());
    text.lines()
        .filter(|line| line.starts_with("gate_passages_total{"))
        .filter(|line| line.contains(&named) && line.contains(outcome))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// What an operation must not take without passing the gate.
fn credentials(operation: &Operation) -> Vec<&str> {
    let is_one = |field: &&str| {
        let lower = field.to_lowercase();
        let mut words = lower.split(['_', '-']).map(|word| word.strip_suffix('s').unwrap_or(word));
        !NO_CREDENTIALS.contains(field) && words.any(|word| CREDENTIALS.contains(&word))
    };
    operation.fields.iter().map(String::as_str).filter(is_one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gate_a4_every_credential_of_the_description_passes_it() {
    let stage = Stage::new().await;
    let node: &Api = &stage.node;
    let (operations, table) = (operations(node).await, table());
    let listed: BTreeSet<&str> = table.iter().map(|(route, _)| *route).collect();
    assert_eq!(listed.len(), table.len(), "a route is listed twice");
    for operation in &operations {
        let fields = credentials(operation);
        let public = operation.template.starts_with("/v1/auth/");
        assert!(
            !public && fields.is_empty() || listed.contains(operation.name().as_str()),
            "{} takes {fields:?}: say in the table by which path it passes the gate",
            operation.name()
        );
    }
    let mut named = BTreeSet::new();
    for (route, way) in &table {
        let operation = operations.iter().find(|operation| operation.name() == *route);
        let operation = operation.unwrap_or_else(|| panic!("{route} is not there any more"));
        let Gate(path, body, status, code) = way else {
            let Free(reason) = way else { unreachable!() };
            assert!(reason.len() > 20, "{route}: say why");
            continue;
        };
        named.insert(path.as_str());
        let all = node.metric("gate_passages_total").await;
        let before = passages(node, *path, "").await;
        let answer = stage.call(node, operation, body).send().await;
        let told = format!("{route}: {} {}", answer.status, answer.text());
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{told}");
        let by = passages(node, *path, "").await - before;
        let risen = node.metric("gate_passages_total").await - all;
        assert_eq!((by, risen), (1.0, 1.0), "{told}: went round the gate, or not once by {path:?}");
    }
    let paths: BTreeSet<_> = Path::ALL.iter().map(|path| path.as_str()).collect();
    assert_eq!(named, paths, "a path that no route passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gate_a5_who_calls_too_often_is_refused_on_every_path() {
    let stage = Stage::new().await;
    let quota = QUOTA.to_string();
    let settings = [
        ("LIMITS__SIGN_IN_PER_MINUTE", quota.as_str()),
        ("LIMITS__REFRESH_PER_MINUTE", quota.as_str()),
        ("STUFFING__SIGN_IN_PER_MINUTE", "1"),
    ];
    let node = stage.shop.node_with(&settings).await;
    let node: &Api = &node;
    let operations = operations(node).await;
    for (number, (route, way)) in table().into_iter().enumerate() {
        let Gate(path, body, ..) = way else { continue };
        let operation = operations.iter().find(|operation| operation.name() == route).unwrap();
        for status in ["429", "503"] {
            assert!(operation.answers.contains(status), "{route} does not tell of its {status}");
        }
        let call = || {
            // What is not ours is nobody's to count, so a true token is shown once too often.
            let call = match path {
                Path::Refresh => refresh_call(node, &stage.shopper.refresh),
                _ => stage.call(node, operation, &body),
            };
            call.from(&format!("198.51.100.{number}"))
        };
        for _ in 0..QUOTA {
            let answer: Answer = call().send().await;
            assert!(answer.status < 500, "{route}: {}", answer.text());
            assert_ne!(answer.code(), "rate_limited", "{route}");
        }
        let before = passages(node, path, "outcome=\"rate_limited\"").await;
        call().send().await.problem(429, "rate_limited");
        let after = passages(node, path, "outcome=\"rate_limited\"").await;
        assert_eq!(after, before + 1.0, "{route}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gate_a5_nobody_passes_uncounted() {
    let stage = Stage::new().await;
    // A port where nobody listens: calls cannot be counted.
    let node = stage.shop.node_with(&[("REDIS__URL", "redis://127.0.0.1:9")]).await;
    let node: &Api = &node;
    for operation in operations(node).await {
        let route = operation.name();
        let way = table().into_iter().find(|(listed, _)| *listed == route);
        let Some((_, Gate(path, body, status, code))) = way else { continue };
        let answer = stage.call(node, &operation, &body).send().await;
        match path {
            // Counted by this node alone, and no guess: the tag tells that it is not ours.
            Path::Refresh => answer.problem(status, code),
            _ => answer.problem(503, "rate_limiter_unavailable"),
        };
    }
    let refreshed = refresh_call(node, &stage.shopper.refresh).send().await;
    refreshed.expect(200);
    let ask = node.call(Method::POST, "/v1/auth/passkey/challenge").send().await;
    ask.problem(503, "rate_limiter_unavailable");
}
