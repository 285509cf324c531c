//! Second factors (rule A9): setting up, signing in with one, and what must never work twice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Answer, Api, Node, Shop, Shopper, eventually};

const STEP: u64 = 30;

/// An authenticator app: another implementation than the service's own.
pub struct Authenticator(Totp);

impl Authenticator {
    /// Takes the secret over as an app does, from the URI.
    pub fn new(setup: &Value) -> Self {
        let uri = setup["otpauth_uri"].as_str().unwrap();
        let totp = Totp::from_url(uri).unwrap();
        assert_eq!(totp.secret().to_base32(), setup["secret"].as_str().unwrap());
        let typed = Secret::try_from_base32(setup["secret"].as_str().unwrap()).unwrap();
        assert_eq!(typed.as_bytes().len(), 20, "160 bits");
        Self(Builder::new().with_secret(typed).build().unwrap())
    }

    /// The code of the step that is this many away from the present one.
    pub fn code(&self, away: i64) -> String {
        let seconds = now().checked_add_signed(away * STEP as i64).unwrap();
        self.0.generate(seconds).to_string()
    }

    /// A code of no step that is accepted at present; another one for each number.
    fn wrong(&self, number: u32) -> String {
        let near: Vec<String> = (-3..=3).map(|away| self.code(away)).collect();
        let mut codes = (0..).map(|n| format!("{:06}", (number * 1_000 + n) % 1_000_000));
        codes.find(|code| !near.contains(code)).unwrap()
    }
}

fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "an authenticator has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until the present step lasts for `seconds` more: what follows must not meet its end.
pub async fn steady(seconds: u64) {
    let left = STEP - now() % STEP;
    if left < seconds {
        tokio::time::sleep(Duration::from_secs(left)).await;
    }
}

/// A customer with an authenticator and backup codes. The step before the present one is used up.
pub struct Guarded {
    pub shopper: Shopper,
    pub app: Authenticator,
    pub backup_codes: Vec<String>,
}

impl Guarded {
    pub async fn new(shop: &Shop, api: &Api) -> Self {
        let shopper = Shopper::new(shop, api).await;
        Self::of(shopper, api).await
    }

    /// Sets up an authenticator.
    pub async fn of(shopper: Shopper, api: &Api) -> Self {
        steady(12).await;
        let setup = start(api, &shopper).await.expect(200).json();
        let app = Authenticator::new(&setup);
        let confirmed = confirm(api, &shopper, &app.code(-1)).await.expect(200).json();
        Self { shopper, app, backup_codes: codes(&confirmed) }
    }

    /// The first step of a sign-in.
    pub async fn challenge(&self, api: &Api) -> String {
        let answer = sign_in(api, &self.shopper.email, PASSWORD).await.expect(200).json();
        assert_eq!(answer["status"], "mfa_required", "{answer}");
        answer["challenge"].as_str().unwrap().to_owned()
    }

    async fn count(&self, shop: &Shop, action: &str) -> usize {
        let entries = shop.entries(&self.shopper.id).await;
        entries.iter().filter(|entry| *entry == action).count()
    }

    async fn backup_codes_left(&self, api: &Api) -> i64 {
        let shown = self.shopper.get(api, "/v1/me/mfa").send().await.expect(200).json();
        shown["backup_codes_left"].as_i64().unwrap()
    }
}

pub fn codes(answer: &Value) -> Vec<String> {
    let codes = answer["backup_codes"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(codes.len(), 10);
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

pub async fn start(api: &Api, shopper: &Shopper) -> Answer {
    shopper.post(api, "/v1/me/mfa/totp", json!({ "password": PASSWORD })).send().await
}

pub async fn confirm(api: &Api, shopper: &Shopper, code: &str) -> Answer {
    shopper.post(api, "/v1/me/mfa/totp/confirm", json!({ "code": code })).send().await
}

pub async fn second_step(api: &Api, challenge: &str, method: &str, code: &str) -> Answer {
    let body = json!({ "challenge": challenge, "method": method, "code": code });
    api.post("/v1/auth/mfa", body).send().await
}

async fn remove(api: &Api, shopper: &Shopper, body: Value) -> Answer {
    shopper.delete(api, "/v1/me/mfa/totp").json(body).send().await
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_an_authenticator_counts_from_its_first_valid_code() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let elsewhere = shopper.again(&node).await;
    let none = shopper.get(&node, "/v1/me/mfa").send().await.expect(200);
    assert_eq!(none.header("cache-control"), "no-store");
    assert_eq!(none.json()["enabled"], false);
    confirm(&node, &shopper, "123456").await.problem(409, "mfa_not_started");

    steady(20).await;
    let first = Authenticator::new(&start(&node, &shopper).await.expect(200).json());
    let answer = start(&node, &shopper).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let setup = answer.json();
    assert!(setup["otpauth_uri"].as_str().unwrap().contains("issuer=Shop"), "{setup}");
    assert!(setup["qr_svg"].as_str().unwrap().starts_with("<svg "), "{setup}");
    let app = Authenticator::new(&setup);
    // Nothing is asked for yet, and only the second secret counts.
    assert!(sign_in(&node, &shopper.email, PASSWORD).await.expect(200).json()["status"].is_null());
    let replaced = confirm(&node, &shopper, &first.code(0)).await;
    assert_eq!(replaced.problem(422, "validation_failed").faults(), ["#/code wrong_code"]);
    let malformed = confirm(&node, &shopper, "12345").await;
    assert_eq!(malformed.problem(422, "validation_failed").faults(), ["#/code malformed_code"]);
    let confirmed = confirm(&node, &shopper, &app.code(-1)).await.expect(200);
    assert_eq!(confirmed.header("cache-control"), "no-store");
    codes(&confirmed.json());
    confirm(&node, &shopper, &app.code(0)).await.problem(409, "mfa_enabled");
    start(&node, &shopper).await.problem(409, "mfa_enabled");

    let shown = shopper.get(&node, "/v1/me/mfa").send().await.expect(200).json();
    assert_eq!(shown["methods"], json!(["totp", "backup_code"]));
    assert_eq!((&shown["enabled"], &shown["backup_codes_left"]), (&json!(true), &json!(10)));
    elsewhere.get(&node, "/v1/me").send().await.expect(200);
    let messages = shop.messages(&shopper.id).await;
    assert!(messages.contains(&"customer.mfa_changed".to_owned()), "{messages:?}");
    let mail = eventually("the mail", Duration::from_secs(20), || async {
        shop.mails_to(&shopper.email).into_iter().find(|mail| mail.kind == "totp_enabled")
    });
    mail.await;
    let row = "SELECT count(*) FROM customer_totp WHERE octet_length(secret) = 49";
    assert_eq!(shop.database.count(row).await, 1, "sealed, not the bare 20 bytes");
}

/// Who stole a session could else have an authenticator that its owner has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_the_first_authenticator_takes_a_proof() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let begin = |body: Value| shopper.post(&node, "/v1/me/mfa/totp", body).send();
    begin(json!({})).await.problem(403, "proof_needed");
    begin(json!({ "password": "wrong password 12" })).await.problem(403, "proof_invalid");
    begin(json!({ "code": "123456" })).await.problem(403, "proof_invalid");
    assert_eq!(shop.database.count("SELECT count(*) FROM customer_totp").await, 0);
    // who has nothing to show but the sign-in itself shows that, for a while
    let forget = format!("DELETE FROM passwords WHERE customer_id = '{}'", shopper.id);
    shop.database.execute(&forget).await;
    begin(json!({})).await.expect(200);
    shop.database.execute("UPDATE sessions SET created_at = created_at - interval '11 min'").await;
    begin(json!({})).await.problem(403, "proof_needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_signing_in_asks_for_the_second_factor_and_a_step_works_once() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    let email = &guarded.shopper.email;
    let asked = sign_in(&node, email, PASSWORD).await.expect(200);
    assert_eq!(asked.header("cache-control"), "no-store");
    let asked = asked.json();
    assert_eq!(asked["methods"], json!(["totp", "backup_code"]), "{asked}");
    assert!((290..=300).contains(&asked["expires_in"].as_i64().unwrap()), "{asked}");
    assert!(asked["access_token"].is_null(), "{asked}");
    sign_in(&node, email, "wrong password 12").await.problem(401, "invalid_credentials");

    let challenge = guarded.challenge(&node).await;
    // The step of the confirmation is used up.
    let used = second_step(&node, &challenge, "totp", &guarded.app.code(-1)).await;
    used.problem(401, "invalid_credentials");
    let typed = guarded.app.code(0);
    let typed = format!("{} {}", &typed[..3], &typed[3..]);
    let answer = second_step(&node, &challenge, "totp", &typed).await.expect(200);
    let signed_in = Shopper::of(email, &answer);
    let token = claims(&signed_in.access);
    assert_eq!(token["aal"], 2, "{token}");
    for method in ["pwd", "otp", "mfa"] {
        assert!(token["amr"].as_array().unwrap().contains(&json!(method)), "{token}");
    }
    assert_eq!(claims(&guarded.shopper.access)["aal"], 1);
    signed_in.get(&node, "/v1/me").send().await.expect(200);
    // It stays so when the session goes on.
    let refreshed = crate::harness::shopper::refresh(&node, &signed_in.refresh).await.expect(200);
    assert_eq!(claims(refreshed.json()["access_token"].as_str().unwrap())["aal"], 2);

    second_step(&node, &challenge, "totp", &guarded.app.code(1)).await.problem(401, "flow_invalid");
    let another = guarded.challenge(&node).await;
    for away in [-1, 0] {
        let replayed = second_step(&node, &another, "totp", &guarded.app.code(away)).await;
        replayed.problem(401, "invalid_credentials");
    }
    second_step(&node, &another, "totp", &guarded.app.code(1)).await.expect(200);
    for challenge in ["", "x", &"A".repeat(43), &asked["challenge"].as_str().unwrap()[1..]] {
        second_step(&node, challenge, "totp", "123456").await.problem(401, "flow_invalid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_a_code_may_be_one_step_early_or_late_and_no_more() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    let forget = "UPDATE customer_totp SET last_step = 0";
    for (away, status) in [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)] {
        shop.database.execute(forget).await;
        let challenge = guarded.challenge(&node).await;
        steady(4).await;
        let answer = second_step(&node, &challenge, "totp", &guarded.app.code(away)).await;
        assert_eq!(answer.status, status, "{away}: {}", answer.text());
    }
}

async fn pair(shop: &Shop) -> [Node; 2] {
    [shop.node().await, shop.node().await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_a_challenge_allows_five_tries_and_a_customer_ten() {
    let shop = Shop::new().await;
    let nodes = pair(&shop).await;
    let guarded = Guarded::new(&shop, &nodes[0]).await;
    for round in 0..2 {
        let challenge = guarded.challenge(&nodes[0]).await;
        for number in 0..5 {
            let code = guarded.app.wrong(round * 5 + number);
            let wrong = second_step(&nodes[number as usize % 2], &challenge, "totp", &code).await;
            wrong.problem(401, "invalid_credentials");
        }
        let right = second_step(&nodes[0], &challenge, "totp", &guarded.app.code(0)).await;
        right.problem(401, "flow_invalid");
    }
    // The tenth locked the authenticator: not the password, and not the backup codes.
    let challenge = guarded.challenge(&nodes[1]).await;
    let locked = second_step(&nodes[1], &challenge, "totp", &guarded.app.code(0)).await;
    locked.problem(429, "login_locked");
    assert_eq!(guarded.count(&shop, "sign_in.failed").await, 10);
    assert_eq!(guarded.count(&shop, "sign_in.locked").await, 1);
    let messages = shop.messages(&guarded.shopper.id).await;
    assert!(messages.contains(&"customer.sign_in_locked".to_owned()), "{messages:?}");
    let code = &guarded.backup_codes[0];
    second_step(&nodes[0], &challenge, "backup_code", code).await.expect(200);

    let path = format!("/v1/admin/customers/{}/unlock", guarded.shopper.id);
    nodes[0].post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(204);
    let challenge = guarded.challenge(&nodes[1]).await;
    steady(4).await;
    second_step(&nodes[1], &challenge, "totp", &guarded.app.code(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_the_authenticator_goes_only_with_a_fresh_proof() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    let shopper = &guarded.shopper;
    shopper.delete(&node, "/v1/me/mfa/totp").send().await.problem(403, "proof_needed");
    remove(&node, shopper, json!({})).await.problem(403, "proof_needed");
    let both = json!({ "password": PASSWORD, "code": guarded.app.code(0) });
    let both = remove(&node, shopper, both).await.problem(422, "validation_failed");
    assert_eq!(both.faults(), ["#/code not_both"]);
    let broken = shopper.delete(&node, "/v1/me/mfa/totp").body("application/json", b"{".to_vec());
    broken.send().await.problem(400, "malformed_json");
    let wrong = json!({ "password": "wrong password 12" });
    remove(&node, shopper, wrong).await.problem(403, "proof_invalid");
    let wrong = json!({ "code": guarded.app.wrong(1) });
    remove(&node, shopper, wrong).await.problem(403, "proof_invalid");
    let wrong = json!({ "code": "00000-00000-00000" });
    remove(&node, shopper, wrong).await.problem(403, "proof_invalid");
    assert_eq!(guarded.count(&shop, "sign_in.failed").await, 3, "each of them was counted");
    // The step of the confirmation is no proof either.
    let used = json!({ "code": guarded.app.code(-1) });
    remove(&node, shopper, used).await.problem(403, "proof_invalid");

    steady(6).await;
    remove(&node, shopper, json!({ "code": guarded.app.code(0) })).await.expect(204);
    remove(&node, shopper, json!({ "password": PASSWORD })).await.problem(404, "not_found");
    let shown = shopper.get(&node, "/v1/me/mfa").send().await.expect(200).json();
    assert_eq!((&shown["enabled"], &shown["backup_codes_left"]), (&json!(false), &json!(0)));
    assert!(sign_in(&node, &shopper.email, PASSWORD).await.expect(200).json()["status"].is_null());
    let mail = eventually("the mail", Duration::from_secs(20), || async {
        shop.mails_to(&shopper.email).into_iter().find(|mail| mail.kind == "totp_removed")
    });
    mail.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_wrong_proofs_lock_the_proof_that_is_guessed() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    for number in 0..10 {
        let wrong = json!({ "code": guarded.app.wrong(number) });
        remove(&node, &guarded.shopper, wrong).await.problem(403, "proof_invalid");
    }
    let right = json!({ "code": guarded.app.code(0) });
    remove(&node, &guarded.shopper, right).await.problem(429, "login_locked");
    // A step that was not looked at is not used up, and the password is another proof.
    remove(&node, &guarded.shopper, json!({ "password": PASSWORD })).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_new_backup_codes_void_the_old_ones() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let bare = Shopper::new(&shop, &node).await;
    let path = "/v1/me/mfa/backup_codes";
    bare.post(&node, path, json!({})).send().await.problem(403, "proof_needed");
    let proven = bare.post(&node, path, json!({ "password": PASSWORD })).send().await;
    proven.problem(409, "mfa_not_enabled");
    let guarded = Guarded::new(&shop, &node).await;
    let [old, used, ..] = guarded.backup_codes.as_slice() else { panic!("ten codes") };
    let challenge = guarded.challenge(&node).await;
    let typed = used.to_uppercase().replace('-', " ");
    second_step(&node, &challenge, "backup_code", &typed).await.expect(200);
    let challenge = guarded.challenge(&node).await;
    let again = second_step(&node, &challenge, "backup_code", used).await;
    again.problem(401, "invalid_credentials");
    assert_eq!(guarded.backup_codes_left(&node).await, 9);

    let wrong = json!({ "password": "wrong password 12" });
    let wrong = guarded.shopper.post(&node, path, wrong).send().await;
    wrong.problem(403, "proof_invalid");
    let right = guarded.shopper.post(&node, path, json!({ "password": PASSWORD }));
    // Never stored: the key does not bring the same codes again.
    let right = right.idempotency_key("codes").send().await.expect(200);
    let renewed = codes(&right.json());
    assert!(renewed.iter().all(|code| !guarded.backup_codes.contains(code)));
    let void = second_step(&node, &challenge, "backup_code", old).await;
    void.problem(401, "invalid_credentials");
    second_step(&node, &challenge, "backup_code", &renewed[0]).await.expect(200);
    let stored = "SELECT count(*) FROM idempotency_keys";
    assert_eq!(shop.database.count(stored).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_status_and_password_are_judged_again_at_the_second_step() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    let other = Shopper::new(&shop, &node).await;
    let challenge = guarded.challenge(&node).await;
    let change = format!(
        "UPDATE passwords SET hash = (SELECT hash FROM passwords WHERE customer_id = '{}') \
         WHERE customer_id = '{}'",
        other.id, guarded.shopper.id
    );
    shop.database.execute(&change).await;
    let [first, second, ..] = guarded.backup_codes.as_slice() else { panic!("ten codes") };
    let voided = second_step(&node, &challenge, "backup_code", first).await;
    voided.problem(401, "flow_invalid");

    let challenge = guarded.challenge(&node).await;
    let path = format!("/v1/admin/customers/{}/status", guarded.shopper.id);
    let body = json!({ "to": "suspended", "reason": "fraud_suspected" });
    node.post(&path, body).bearer(&shop.staff_key).send().await.expect(200);
    let wrong = second_step(&node, &challenge, "totp", &guarded.app.wrong(1)).await;
    wrong.problem(401, "invalid_credentials");
    let right = second_step(&node, &challenge, "backup_code", second).await;
    right.problem(403, "account_suspended");
    // What a suspended account may not learn before its second factor is right.
    let asked = sign_in(&node, &guarded.shopper.email, PASSWORD).await.expect(200).json();
    assert_eq!(asked["status"], "mfa_required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_staff_resets_lost_factors_and_ends_every_session() {
    let shop = Shop::new().await;
    let nodes = pair(&shop).await;
    let guarded = Guarded::new(&shop, &nodes[0]).await;
    let challenge = guarded.challenge(&nodes[0]).await;
    let path = format!("/v1/admin/customers/{}/mfa", guarded.shopper.id);
    let reader = shop.key("customers:read").1;
    nodes[0].delete(&path).bearer(&reader).send().await.problem(403, "insufficient_scope");
    nodes[0].delete(&path).bearer(&shop.staff_key).send().await.expect(204);
    let over = second_step(&nodes[1], &challenge, "backup_code", &guarded.backup_codes[0]).await;
    over.problem(401, "flow_invalid");
    let ended = eventually("the session's end", Duration::from_secs(5), || async {
        let answer = guarded.shopper.get(&nodes[1], "/v1/me").send().await;
        (answer.status == 401).then_some(())
    });
    ended.await;
    let again = guarded.shopper.again(&nodes[1]).await;
    assert_eq!(claims(&again.access)["aal"], 1);
    assert_eq!(guarded.count(&shop, "mfa.reset").await, 1);
    let messages = shop.messages(&guarded.shopper.id).await;
    assert!(messages.contains(&"customer.session_revoked".to_owned()), "{messages:?}");
    let mail = eventually("the mail", Duration::from_secs(20), || async {
        shop.mails_to(&guarded.shopper.email).into_iter().find(|mail| mail.kind == "factors_reset")
    });
    mail.await;
    // Nothing left to reset: nothing happens.
    nodes[0].delete(&path).bearer(&shop.staff_key).send().await.expect(204);
    assert_eq!(guarded.count(&shop, "mfa.reset").await, 1);
    let nobody = "/v1/admin/customers/01890000-0000-7000-8000-000000000000/mfa";
    nodes[0].delete(nobody).bearer(&shop.staff_key).send().await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_second_steps_of_one_address_are_limited() {
    let shop = Shop::configured(&[("LIMITS__SIGN_IN_PER_MINUTE", "10")]).await;
    let node = shop.node().await;
    // A /64 of its own: the tests share one Redis.
    let network = crate::harness::unique("");
    let from = format!("2001:db8:{}:{}::1", &network[25..29], &network[29..33]);
    let body = json!({ "challenge": "x", "method": "totp", "code": "123456" });
    let mut refused = 0;
    for _ in 0..14 {
        let answer = node.post("/v1/auth/mfa", body.clone()).from(&from).send().await;
        match answer.status {
            429 => {
                answer.problem(429, "rate_limited");
                refused += 1;
            }
            _ => {
                answer.problem(401, "flow_invalid");
            }
        }
    }
    assert!((2..=4).contains(&refused), "{refused} of 14 were refused");
}
