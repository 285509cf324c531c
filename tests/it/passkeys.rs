//! Passkeys over two nodes: registration, signing in with nothing else, and everything that an
//! authenticator or a thief may try.

use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Answer, Api, Authenticator, Lie, Node, Shop, Shopper, eventually};

const ORIGIN: &str = "http://localhost:3000";
pub const SETTINGS: [(&str, &str); 2] =
    [("PASSKEYS__RP_ID", "localhost"), ("PASSKEYS__ORIGINS", ORIGIN)];

async fn shop_with(more: &[(&str, &str)]) -> (Shop, [Node; 2]) {
    let settings: Vec<_> = SETTINGS.iter().chain(more).copied().collect();
    let shop = Shop::configured(&settings).await;
    let nodes = [shop.node().await, shop.node().await];
    (shop, nodes)
}

pub fn device() -> Authenticator {
    let mut seed = [0; 32];
    SystemClock.random(&mut seed);
    Authenticator::new(seed, ORIGIN)
}

/// A challenge for a new passkey.
pub async fn begin(shopper: &Shopper, api: &Api) -> Value {
    let body = json!({ "password": PASSWORD });
    let asked = shopper.post(api, "/v1/me/passkeys/challenge", body).send().await.expect(200);
    asked.json()
}

pub async fn finish(shopper: &Shopper, api: &Api, asked: &Value, credential: Value) -> Answer {
    let body =
        json!({ "challenge": asked["challenge"], "credential": credential, "name": "Ánh's phone" });
    shopper.post(api, "/v1/me/passkeys", body).send().await
}

/// A whole registration; answers with the passkey's id.
pub async fn enrol(shopper: &Shopper, api: &Api, device: &mut Authenticator) -> String {
    let asked = begin(shopper, api).await;
    let credential = device.create(&asked["public_key"], None);
    let made = finish(shopper, api, &asked, credential).await.expect(201);
    made.json()["id"].as_str().unwrap().to_owned()
}

/// A challenge to sign in.
pub async fn ask(api: &Api) -> Value {
    api.call(Method::POST, "/v1/auth/passkey/challenge").send().await.expect(200).json()
}

pub async fn answer(api: &Api, asked: &Value, credential: &Value) -> Answer {
    let body = json!({ "challenge": asked["challenge"], "credential": credential,
        "device_name": "Ánh's phone" });
    api.post("/v1/auth/passkey", body).send().await
}

/// A whole sign-in, with one lie.
async fn enter(api: &Api, device: &mut Authenticator, lie: Option<Lie>) -> Answer {
    let asked = ask(api).await;
    let credential = device.get(&asked["public_key"], lie);
    answer(api, &asked, &credential).await
}

/// All of an answer that must not differ.
fn shape(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    let mut body = answer.json();
    body["request_id"] = json!(null);
    (answer.status, headers, body)
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_sign_in_without_name_and_password() {
    let (shop, [one, two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let mut device = device();
    let asked = begin(&shopper, &one).await;
    let options = &asked["public_key"];
    assert_eq!(options["rp"]["id"], "localhost");
    assert_eq!(options["user"]["name"], json!(shopper.email));
    assert_eq!(options["authenticatorSelection"]["residentKey"], "required");
    assert!((290..=300).contains(&asked["expires_in"].as_i64().unwrap()), "{asked}");
    let credential = device.create(options, None);
    let made = finish(&shopper, &two, &asked, credential).await.expect(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/me/passkeys/{id}"));
    assert_eq!(made.json()["name"], "Ánh's phone");
    let mail = shop.mail_to(&shopper.email, 2).await;
    assert_eq!(mail.kind, "passkey_added");

    let entered = enter(&two, &mut device, None).await.expect(200);
    assert_eq!(entered.header("cache-control"), "no-store");
    let again = Shopper::of(&shopper.email, &entered);
    assert_eq!(again.id, shopper.id);
    let claims = claims(&again.access);
    assert_eq!(claims["aal"], 2);
    assert!(claims["amr"].as_array().unwrap().contains(&json!("mfa")), "{claims}");
    let sessions = again.get(&one, "/v1/me/sessions").send().await.expect(200).json();
    let current = sessions["items"].as_array().unwrap().iter().find(|item| item["current"] == true);
    assert_eq!(current.unwrap()["device_name"], "Ánh's phone");
    let listed = again.get(&one, "/v1/me/passkeys").send().await.expect(200).json();
    assert!(listed["items"][0]["last_used_at"].is_string(), "{listed}");

    let messages = shop.messages(&shopper.id).await;
    let last: Vec<_> = messages.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last, ["customer.signed_in", "customer.mfa_changed"]);
    let entries = shop.entries(&shopper.id).await;
    for action in ["passkey.added", "passkey.used", "sign_in.succeeded"] {
        assert!(entries.iter().any(|entry| entry == action), "{action}: {entries:?}");
    }
    // what is kept and told names nobody
    let kept = "SELECT credential::text FROM passkeys";
    assert!(!shop.database.column(kept).await.concat().contains(&shopper.email));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_every_lie_is_answered_alike_and_lets_nobody_in() {
    let (shop, [one, two]) = shop_with(&[("SIGN_IN__MAX_FAILURES", "100")]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let mut device = device();
    enrol(&shopper, &one, &mut device).await;
    enter(&one, &mut device, None).await.expect(200);
    let before = shop.messages(&shopper.id).await.len();

    let mut answers = Vec::new();
    for lie in Lie::ALL {
        let answer = enter(&two, &mut device, Some(lie)).await;
        assert_eq!(answer.code(), "invalid_credentials", "{lie:?}");
        answers.push(answer);
    }
    // a passkey that nobody has, and one whose account is left out
    answers.push(enter(&two, &mut self::device(), None).await);
    let asked = ask(&one).await;
    let mut nameless = device.get(&asked["public_key"], None);
    nameless["response"].as_object_mut().unwrap().remove("userHandle");
    answers.push(answer(&one, &asked, &nameless).await);
    // the counter goes back
    let ahead = device.counter;
    device.counter = 0;
    answers.push(enter(&one, &mut device, None).await);
    device.counter = ahead;
    for answer in &answers {
        assert_eq!(shape(answer), shape(&answers[0]));
        assert_eq!(answer.status, 401);
    }
    // each used its challenge up
    let asked = ask(&one).await;
    let lie = device.get(&asked["public_key"], Some(Lie::Signature));
    answer(&one, &asked, &lie).await.problem(401, "invalid_credentials");
    let truth = device.get(&asked["public_key"], None);
    answer(&one, &asked, &truth).await.problem(401, "flow_invalid");
    // nobody was told anything but of the counter
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages[before..], ["customer.mfa_changed"]);
    assert!(shop.entries(&shopper.id).await.contains(&"passkey.suspected".to_owned()));
    let mail = shop.mail_to(&shopper.email, 3).await;
    assert_eq!(mail.kind, "passkey_suspected");
    enter(&two, &mut device, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_untrue_answers_of_strangers_lock_nobody_out() {
    let (shop, [one, two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let mut device = device();
    let id = enrol(&shopper, &one, &mut device).await;
    for node in [&one, &two].into_iter().cycle().take(20) {
        let refused = enter(node, &mut device, Some(Lie::Signature)).await;
        refused.problem(401, "invalid_credentials");
    }
    enter(&two, &mut device, None).await.expect(200);
    // each is an entry all the same
    let entries = shop.entries(&shopper.id).await;
    assert_eq!(entries.iter().filter(|action| *action == "sign_in.failed").count(), 20);
    // nor as second factor, for who knows the password
    switch(&shopper, &one, &id, true).await.expect(200);
    for _ in 0..3 {
        let asked = sign_in(&one, &shopper.email, PASSWORD).await.expect(200).json();
        for _ in 0..5 {
            let lie = device.get(&asked["public_key"], Some(Lie::Signature));
            second_step(&two, &asked, &lie).await.problem(401, "invalid_credentials");
        }
        let truth = device.get(&asked["public_key"], None);
        second_step(&two, &asked, &truth).await.problem(401, "flow_invalid");
    }
    enter(&one, &mut device, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_copies_lock_passkeys_on_every_node_and_nothing_else() {
    let (shop, [one, two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let mut device = device();
    enrol(&shopper, &one, &mut device).await;
    enter(&one, &mut device, None).await.expect(200);
    let mut copy = Authenticator { counter: 0, ..device.clone() };
    for _ in 0..5 {
        copy.counter = 0;
        enter(&one, &mut copy, None).await.problem(401, "invalid_credentials");
    }
    for lie in [None, Some(Lie::Signature)] {
        enter(&two, &mut device, lie).await.problem(429, "login_locked");
    }
    sign_in(&two, &shopper.email, PASSWORD).await.expect(200);
    let path = format!("/v1/admin/customers/{}/unlock", shopper.id);
    one.post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(204);
    enter(&two, &mut device, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_of_accounts_that_may_not_sign_in_are_told_after_a_true_answer_only() {
    let (shop, [one, _two]) = shop_with(&[]).await;
    for (status, code) in [("suspended", "account_suspended"), ("inactive", "account_inactive")] {
        let shopper = Shopper::new(&shop, &one).await;
        let mut device = device();
        enrol(&shopper, &one, &mut device).await;
        let path = format!("/v1/admin/customers/{}/status", shopper.id);
        let body = json!({ "to": status, "reason": "fraud_suspected" });
        one.post(&path, body).bearer(&shop.staff_key).send().await.expect(200);
        let lie = enter(&one, &mut device, Some(Lie::Signature)).await;
        lie.problem(401, "invalid_credentials");
        enter(&one, &mut device, None).await.problem(403, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_belong_to_one_customer() {
    let (shop, [one, two]) = shop_with(&[]).await;
    let (anna, bela) = (Shopper::new(&shop, &one).await, Shopper::new(&shop, &one).await);
    let mut device = device();
    let id = enrol(&anna, &one, &mut device).await;
    let path = format!("/v1/me/passkeys/{id}");
    for call in
        [bela.get(&two, &path), bela.delete(&two, &path).json(json!({ "password": PASSWORD }))]
    {
        call.send().await.problem(404, "not_found");
    }
    let renamed = bela.patch(&two, &path, json!({ "name": "mine" })).send().await;
    renamed.problem(404, "not_found");
    // the same authenticator for another account, and the challenge of another account
    let asked = begin(&bela, &one).await;
    let credential = device.clone().create(&asked["public_key"], None);
    finish(&bela, &one, &asked, credential).await.problem(409, "passkey_known");
    let asked = begin(&anna, &one).await;
    let credential = self::device().create(&asked["public_key"], None);
    finish(&bela, &two, &asked, credential).await.problem(401, "flow_invalid");
    // Anna's key under Bela's name
    device.user_handle = uuid::Uuid::parse_str(&bela.id).unwrap().as_bytes().to_vec();
    enter(&two, &mut device, None).await.problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_are_listed_named_limited_and_removed() {
    let (shop, [one, two]) = shop_with(&[("PASSKEYS__LIMIT", "2")]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let mut devices = [device(), device()];
    let ids = [
        enrol(&shopper, &one, &mut devices[0]).await,
        enrol(&shopper, &two, &mut devices[1]).await,
    ];
    let body = json!({ "password": PASSWORD });
    let third = shopper.post(&one, "/v1/me/passkeys/challenge", body.clone()).send().await;
    third.problem(409, "passkey_limit_reached");
    let page = shopper.get(&two, "/v1/me/passkeys?limit=1").send().await.expect(200).json();
    assert_eq!(page["items"][0]["id"], json!(ids[0]));
    let next = format!("/v1/me/passkeys?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = shopper.get(&two, &next).send().await.expect(200).json();
    assert_eq!((&page["items"][0]["id"], &page["next_cursor"]), (&json!(ids[1]), &json!(null)));

    let path = format!("/v1/me/passkeys/{}", ids[0]);
    let renamed = shopper.patch(&one, &path, json!({ "name": "  Khóa   của Ánh " })).send().await;
    let renamed = renamed.expect(200);
    assert_eq!((renamed.json()["name"].as_str(), renamed.version()), (Some("Khóa của Ánh"), 2));
    let shown = shopper.get(&two, &path).send().await.expect(200);
    assert_eq!(shown.json(), renamed.json());
    let stale = shopper.patch(&one, &path, json!({ "name": "x" })).if_match(1).send().await;
    stale.problem(412, "precondition_failed");
    for (body, fault) in [
        (json!({ "name": "" }), "#/name required"),
        (json!({ "name": "x".repeat(81) }), "#/name too_long"),
        (json!({ "second_factor": "yes" }), "#/second_factor wrong_type"),
    ] {
        let refused = shopper.patch(&one, &path, body).send().await;
        assert_eq!(refused.faults(), [fault]);
    }

    let wrong = json!({ "password": "wrong password 12" });
    let refused = shopper.delete(&one, &path).json(wrong).send().await;
    refused.problem(403, "proof_invalid");
    shopper.delete(&one, &path).json(body.clone()).send().await.expect(204);
    shopper.get(&two, &path).send().await.problem(404, "not_found");
    enter(&two, &mut devices[0], None).await.problem(401, "invalid_credentials");
    enter(&two, &mut devices[1], None).await.expect(200);
    let mail = shop.mail_to(&shopper.email, 4).await;
    assert_eq!(mail.kind, "passkey_removed");

    // without a password the other one is the last way in
    shop.database
        .execute(&format!("DELETE FROM passwords WHERE customer_id = '{}'", shopper.id))
        .await;
    let fresh = Shopper::of(&shopper.email, &enter(&one, &mut devices[1], None).await.expect(200));
    let path = format!("/v1/me/passkeys/{}", ids[1]);
    fresh.delete(&one, &path).send().await.problem(409, "last_sign_in_method");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_are_made_of_true_answers_by_their_owner_only() {
    let (shop, [one, _two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let wrong = json!({ "password": "wrong password 12" });
    let refused = shopper.post(&one, "/v1/me/passkeys/challenge", wrong).send().await;
    refused.problem(403, "proof_invalid");
    for lie in [
        Lie::Challenge,
        Lie::Origin,
        Lie::Frame,
        Lie::RelyingParty,
        Lie::Absent,
        Lie::Unverified,
        Lie::Ceremony,
    ] {
        let asked = begin(&shopper, &one).await;
        let credential = device().create(&asked["public_key"], Some(lie));
        finish(&shopper, &one, &asked, credential).await.problem(422, "passkey_refused");
        let truth = device().create(&asked["public_key"], None);
        finish(&shopper, &one, &asked, truth).await.problem(401, "flow_invalid");
    }
    let asked = begin(&shopper, &one).await;
    let malformed = finish(&shopper, &one, &asked, json!({ "id": "x" })).await;
    assert_eq!(malformed.faults(), ["#/credential malformed_credential"]);
    // a challenge to sign in is none to register, nor the reverse
    let sign_in = ask(&one).await;
    let mut options = asked["public_key"].clone();
    options["challenge"] = sign_in["public_key"]["challenge"].clone();
    let credential = device().create(&options, None);
    finish(&shopper, &one, &sign_in, credential).await.problem(401, "flow_invalid");
    assert_eq!(shop.database.count("SELECT count(*) FROM passkeys").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_a_repeated_registration_is_answered_as_the_first_time() {
    let (shop, [one, two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let asked = begin(&shopper, &one).await;
    let credential = device().create(&asked["public_key"], None);
    let body = json!({ "challenge": asked["challenge"], "credential": credential });
    let call = |node: &Node| {
        shopper.post(node, "/v1/me/passkeys", body.clone()).idempotency_key("once").send()
    };
    let first = call(&one).await.expect(201);
    assert_eq!(first.json()["name"], "Passkey");
    let second = call(&two).await.expect(201);
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(first.json(), second.json());
}

/// Its passkey lost, or passkeys switched off: the mailbox is the way to a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_whose_owner_has_nothing_else_are_not_the_only_way_back() {
    let (shop, [one, _two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let mut device = device();
    enrol(&shopper, &one, &mut device).await;
    let forget = format!("DELETE FROM passwords WHERE customer_id = '{}'", shopper.id);
    shop.database.execute(&forget).await;
    sign_in(&one, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    let forgot = json!({ "email": shopper.email });
    one.post("/v1/auth/password/forgot", forgot).send().await.expect(202);
    let mail = shop.mail_to(&shopper.email, 3).await;
    assert_eq!(mail.kind, "reset_password");
    let body = json!({ "token": mail.token(), "new_password": PASSWORD });
    one.post("/v1/auth/password/reset", body).send().await.expect(204);
    sign_in(&one, &shopper.email, PASSWORD).await.expect(200);
    enter(&one, &mut device, None).await.expect(200);
}

/// Another domain, or none, and no browser offers the passkeys any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_of_another_domain_are_told_of_at_the_start() {
    let (shop, [one, _two]) = shop_with(&[]).await;
    let (mut enrolled, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let shopper = Shopper::new(&shop, &one).await;
        ids.push(enrol(&shopper, &one, &mut device()).await);
        enrolled.push(shopper);
    }
    // one with nothing else, one who is asked for it after the password, one who is not concerned
    let forget = format!("DELETE FROM passwords WHERE customer_id = '{}'", enrolled[0].id);
    shop.database.execute(&forget).await;
    switch(&enrolled[1], &one, &ids[1], true).await.expect(200);
    let other = [("PASSKEYS__RP_ID", "example.org"), ("PASSKEYS__ORIGINS", "https://example.org")];
    let off = [("PASSKEYS__RP_ID", ""), ("PASSKEYS__ORIGINS", "")];
    for settings in [&other, &off] {
        let node = shop.node_with(settings).await;
        let warned = eventually("the warning", Duration::from_secs(10), async || {
            let log = node.log();
            log.lines().find(|line| line.contains("another passkeys.rp_id")).map(str::to_owned)
        })
        .await;
        for figure in ["without_way_in=1", "without_second_factor=1"] {
            assert!(warned.contains(figure), "{warned}");
        }
    }
    let same = shop.node().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for node in [&one, &same] {
        assert!(!node.log().contains("passkeys.rp_id"), "nobody is concerned");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_that_are_off_say_so() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let challenge = node.call(Method::POST, "/v1/auth/passkey/challenge").send().await;
    challenge.problem(404, "passkeys_off");
    let shopper = Shopper::new(&shop, &node).await;
    let body = json!({ "password": PASSWORD });
    let begun = shopper.post(&node, "/v1/me/passkeys/challenge", body).send().await;
    begun.problem(404, "passkeys_off");
}

/// Says whether a passkey is asked for after the password.
pub async fn switch(shopper: &Shopper, api: &Api, id: &str, on: bool) -> Answer {
    let body = json!({ "second_factor": on, "password": PASSWORD });
    shopper.patch(api, &format!("/v1/me/passkeys/{id}"), body).send().await
}

pub async fn second_step(api: &Api, asked: &Value, credential: &Value) -> Answer {
    let body = json!({ "challenge": asked["challenge"], "method": "passkey",
        "credential": credential });
    api.post("/v1/auth/mfa", body).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passkeys_are_asked_for_after_a_password_once_their_owner_says_so() {
    let (shop, [one, two]) = shop_with(&[]).await;
    let shopper = Shopper::new(&shop, &one).await;
    let (mut first, mut second) = (device(), device());
    let id = enrol(&shopper, &one, &mut first).await;
    enrol(&shopper, &one, &mut second).await;
    let signed_in = sign_in(&two, &shopper.email, PASSWORD).await.expect(200);
    assert!(signed_in.json()["access_token"].is_string(), "not asked for by itself");
    let path = format!("/v1/me/passkeys/{id}");
    let bare = shopper.patch(&one, &path, json!({ "second_factor": true })).send().await;
    bare.problem(403, "proof_needed");
    switch(&shopper, &one, &id, true).await.expect(200);
    assert_eq!(shop.mail_to(&shopper.email, 4).await.kind, "passkey_required");

    // either of them answers, on either node
    for (device, node) in [(&mut first, &one), (&mut second, &two)] {
        let asked = sign_in(node, &shopper.email, PASSWORD).await.expect(200).json();
        assert_eq!(
            (&asked["status"], &asked["methods"]),
            (&json!("mfa_required"), &json!(["passkey"]))
        );
        let listed = asked["public_key"]["allowCredentials"].as_array().unwrap();
        assert_eq!(listed.len(), 2, "{asked}");
        let mut credential = device.get(&asked["public_key"], None);
        credential["response"].as_object_mut().unwrap().remove("userHandle");
        let entered = second_step(&two, &asked, &credential).await.expect(200);
        let again = Shopper::of(&shopper.email, &entered);
        let claims = claims(&again.access);
        assert_eq!(claims["aal"], 2);
        second_step(&one, &asked, &credential).await.problem(401, "flow_invalid");
    }
    // lies, somebody else's passkey, and a passkey where a code is asked for
    let asked = sign_in(&one, &shopper.email, PASSWORD).await.expect(200).json();
    let mut foreign = device();
    let other = Shopper::new(&shop, &one).await;
    enrol(&other, &one, &mut foreign).await;
    for credential in [
        first.get(&asked["public_key"], Some(Lie::Signature)),
        first.get(&asked["public_key"], Some(Lie::Challenge)),
        foreign.get(&asked["public_key"], None),
    ] {
        second_step(&two, &asked, &credential).await.problem(401, "invalid_credentials");
    }
    let truth = first.get(&asked["public_key"], None);
    second_step(&two, &asked, &truth).await.expect(200);
    // no code stands for it, and nobody but its owner switches it off
    let asked = sign_in(&one, &shopper.email, PASSWORD).await.expect(200).json();
    let body = json!({ "challenge": asked["challenge"], "method": "passkey" });
    let refused = one.post("/v1/auth/mfa", body).send().await;
    assert_eq!(refused.faults(), ["#/credential required"]);
    switch(&shopper, &two, &id, false).await.expect(200);
    let signed_in = sign_in(&two, &shopper.email, PASSWORD).await.expect(200);
    assert!(signed_in.json()["access_token"].is_string());
}
