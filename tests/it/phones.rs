//! Phone numbers (rules A8, L5, L7): asked for, confirmed by a code, signed in by, given up.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Answer, Api, Shop, Shopper};

const NUMBER: &str = "+84912345678";

pub async fn ask(api: &Api, shopper: &Shopper, number: &str) -> Answer {
    shopper.post(api, "/v1/me/phone", json!({ "phone": number })).send().await
}

pub async fn confirm(api: &Api, shopper: &Shopper, code: &str) -> Answer {
    shopper.post(api, "/v1/me/phone/confirm", json!({ "code": code })).send().await
}

pub async fn sign_in_by(api: &Api, number: &str, password: &str) -> Answer {
    api.post("/v1/auth/login", json!({ "phone": number, "password": password })).send().await
}

/// Asks for a code at `number`, of which `before` texts exist, and confirms it.
pub async fn own(shop: &Shop, api: &Api, shopper: &Shopper, number: &str) {
    let before = shop.texts_to(number).len();
    ask(api, shopper, number).await.expect(202);
    let code = shop.text_to(number, before + 1).await.code();
    confirm(api, shopper, &code).await.expect(200);
}

/// Six digits that are not these.
fn another(code: &str, n: u32) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1 + n) % 1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_l7_a_number_is_the_customers_by_its_code_and_then_signs_in() {
    let shop = Shop::configured(&[("SMS__DOMAIN", "shop.example")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let asked = ask(&node, &shopper, "+84 912 345 678").await.expect(202);
    assert_eq!(asked.json(), json!({ "status": "code_sent", "expires_in": 300 }));
    assert_eq!(asked.header("cache-control"), "no-store");
    let text = shop.text_to(NUMBER, 1).await;
    let code = text.code();
    assert_eq!(text.text.lines().last(), Some(format!("@shop.example #{code}").as_str()));
    let me = shopper.get(&node, "/v1/me").send().await.expect(200).json();
    assert_eq!((&me["phone"], &me["phone_verified"]), (&Value::Null, &json!(false)));
    sign_in_by(&node, NUMBER, PASSWORD).await.problem(401, "invalid_credentials");

    confirm(&node, &shopper, &another(&code, 0)).await.problem(403, "proof_invalid");
    let malformed = confirm(&node, &shopper, "12345").await.problem(422, "validation_failed");
    assert_eq!(malformed.faults(), ["#/code invalid_code"]);
    let messages = shop.messages(&shopper.id).await.len();
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let confirmed = confirm(&node, &shopper, &spaced).await.expect(200);
    let me = confirmed.json();
    assert_eq!((&me["phone"], &me["phone_verified"]), (&json!(NUMBER), &json!(true)));
    assert_eq!(confirmed.version(), me["version"].as_i64().unwrap());
    let told = &shop.messages(&shopper.id).await[messages..];
    assert_eq!(told, ["customer.updated", "customer.phone_changed", "customer.verified"]);
    let channel = "SELECT data::text FROM outbox_events \
        WHERE kind = 'customer.verified' ORDER BY customer_sequence DESC LIMIT 1";
    let data = shop.database.column(channel).await;
    assert!(data[0].contains("phone") && !data[0].contains("912345678"), "{data:?}");
    confirm(&node, &shopper, &code).await.problem(422, "token_invalid");
    assert_eq!(shop.mail_to(&shopper.email, 2).await.kind, "phone_changed");

    let by_phone = sign_in_by(&node, "+84912345678", PASSWORD).await.expect(200);
    assert_eq!(Shopper::of(&shopper.email, &by_phone).id, shopper.id);
    ask(&node, &shopper, NUMBER).await.problem(409, "phone_already_verified");
    // Nothing is left by which anybody could learn number or code.
    let left = "SELECT (SELECT count(*) FROM phone_confirmations) \
        + (SELECT count(*) FROM text_messages WHERE nonce IS NOT NULL OR sent_at IS NULL)";
    assert_eq!(shop.database.count(left).await, 0);
    let log = node.log();
    assert!(!log.contains("912345678") && !log.contains(&code), "the log tells number or code");
    let entries = "SELECT coalesce(string_agg(data::text, ' '), '') FROM audit_entries";
    let entries = shop.database.column(entries).await.join("");
    assert!(!entries.contains("912345678") && !entries.contains(&code), "{entries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_a8_the_sixth_try_is_refused_though_it_is_right() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    ask(&node, &shopper, NUMBER).await.expect(202);
    let code = shop.text_to(NUMBER, 1).await.code();
    for n in 0..5 {
        confirm(&node, &shopper, &another(&code, n)).await.problem(403, "proof_invalid");
    }
    confirm(&node, &shopper, &code).await.problem(429, "login_locked");
    assert!(shop.messages(&shopper.id).await.contains(&"customer.sign_in_locked".to_owned()));
    // The lock is this factor's own.
    sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    // Nor does another code help while it holds; staff lift it.
    ask(&node, &shopper, NUMBER).await.expect(202);
    let newer = shop.text_to(NUMBER, 2).await.code();
    confirm(&node, &shopper, &newer).await.problem(429, "login_locked");
    let unlock = format!("/v1/admin/customers/{}/unlock", shopper.id);
    node.post(&unlock, json!({})).bearer(&shop.staff_key).send().await.expect(204);
    confirm(&node, &shopper, &newer).await.expect(200);

    // Where locks are set wider, the code itself bears five tries and no more.
    let wide = shop.node_with(&[("SIGN_IN__MAX_FAILURES", "50")]).await;
    let shopper = Shopper::new(&shop, &wide).await;
    ask(&wide, &shopper, "+84912345679").await.expect(202);
    let code = shop.text_to("+84912345679", 1).await.code();
    for n in 0..5 {
        confirm(&wide, &shopper, &another(&code, n)).await.problem(403, "proof_invalid");
    }
    confirm(&wide, &shopper, &code).await.problem(422, "token_invalid");
    own(&shop, &wide, &shopper, "+84912345679").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_a8_a_newer_code_voids_the_older_and_each_has_its_time() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    ask(&node, &shopper, NUMBER).await.expect(202);
    let older = shop.text_to(NUMBER, 1).await.code();
    // To another number: the older code is none for this one, either.
    ask(&node, &shopper, "+84912345679").await.expect(202);
    let newer = shop.text_to("+84912345679", 1).await.code();
    confirm(&node, &shopper, &older).await.problem(403, "proof_invalid");
    let expire = "UPDATE phone_confirmations SET expires_at = now() - interval '1 second'";
    shop.database.execute(expire).await;
    confirm(&node, &shopper, &newer).await.problem(422, "token_invalid");
    own(&shop, &node, &shopper, "+84912345679").await;
    let other = Shopper::new(&shop, &node).await;
    confirm(&node, &other, &newer).await.problem(422, "token_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_l5_a_number_is_told_to_be_taken_only_to_who_has_it_in_hand() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (first, second) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    own(&shop, &node, &first, NUMBER).await;
    let (taken, free) =
        (ask(&node, &second, NUMBER).await, ask(&node, &second, "+84912345679").await);
    assert_eq!((taken.status, taken.json()), (free.status, free.json()));
    shop.text_to("+84912345679", 1).await;
    ask(&node, &second, NUMBER).await.expect(202);
    let code = shop.text_to(NUMBER, 3).await.code();
    confirm(&node, &second, &another(&code, 0)).await.problem(403, "proof_invalid");
    confirm(&node, &second, &code).await.problem(409, "phone_taken");
    let me = second.get(&node, "/v1/me").send().await.expect(200).json();
    assert_eq!(me["phone"], Value::Null);
    let by_phone = sign_in_by(&node, NUMBER, PASSWORD).await.expect(200);
    assert_eq!(Shopper::of(&first.email, &by_phone).id, first.id);
    // Once it is given up, the same code makes it the other's.
    let gone = first.delete(&node, "/v1/me/phone").json(json!({ "password": PASSWORD }));
    gone.send().await.expect(204);
    confirm(&node, &second, &code).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_l5_of_two_who_confirm_one_number_at_once_one_gets_it() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shoppers = [Shopper::new(&shop, &nodes[0]).await, Shopper::new(&shop, &nodes[0]).await];
    for round in 0..10 {
        let number = format!("+8491234{:04}", 2000 + round);
        let mut codes = Vec::new();
        for (count, shopper) in shoppers.iter().enumerate() {
            ask(&nodes[0], shopper, &number).await.expect(202);
            codes.push(shop.text_to(&number, count + 1).await.code());
        }
        let calls = (0..2).map(|n| {
            let (node, shopper, code) = (nodes[n].api(), shoppers[n].clone(), codes[n].clone());
            async move { confirm(&node, &shopper, &code).await }
        });
        let mut answers = join_all(calls).await;
        answers.sort_by_key(|answer| answer.status);
        let second = answers.pop().unwrap();
        answers.pop().unwrap().expect(200);
        second.problem(409, "phone_taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_a12_unknown_and_unverified_numbers_are_answered_alike() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (first, second) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    own(&shop, &node, &first, NUMBER).await;
    // Told by staff, so not verified: the right password does not sign in by it.
    let path = format!("/v1/admin/customers/{}", second.id);
    let patch = node.patch(&path, json!({ "phone": "+84912345679" })).bearer(&shop.staff_key);
    let patched = patch.send().await.expect(200).json();
    assert_eq!(
        (&patched["phone"], &patched["phone_verified"]),
        (&json!("+84912345679"), &json!(false))
    );
    for _ in 0..7 {
        let answers = [
            sign_in_by(&node, NUMBER, "wrong password 12").await,
            sign_in_by(&node, "+84912345679", PASSWORD).await,
            sign_in_by(&node, "+84912345670", "wrong password 12").await,
        ];
        let [known, unverified, unknown] = answers.map(|answer| shape(&answer));
        assert_eq!(known, unknown);
        assert_eq!(unverified, unknown);
    }
}

/// All of an answer that must not differ: what differs by nature is left out.
fn shape(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    let mut body = answer.json();
    body["request_id"] = json!(null);
    if answer.status == 429 {
        body["detail"] = json!(null);
    }
    (answer.status, headers, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_l5_a_change_by_staff_ends_the_verification_and_the_way_in() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (first, second) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    own(&shop, &node, &first, NUMBER).await;
    let path = format!("/v1/admin/customers/{}", first.id);
    let patch = node.patch(&path, json!({ "phone": "+84912345679" })).bearer(&shop.staff_key);
    let patched = patch.send().await.expect(200).json();
    assert_eq!(patched["phone_verified"], false);
    for number in [NUMBER, "+84912345679"] {
        sign_in_by(&node, number, PASSWORD).await.problem(401, "invalid_credentials");
    }
    assert_eq!(shop.mail_to(&first.email, 3).await.kind, "phone_changed");
    own(&shop, &node, &second, NUMBER).await;
    // Of a number that nobody signed in by the owner need not hear.
    let clear = node.patch(&path, json!({ "phone": null })).bearer(&shop.staff_key);
    clear.send().await.expect(200);
    own(&shop, &node, &first, "+84912345679").await;
    let kinds: Vec<_> = shop.mails_to(&first.email).into_iter().map(|mail| mail.kind).collect();
    assert_eq!(kinds[1..], ["phone_changed", "phone_changed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_giving_a_number_up_asks_for_a_fresh_proof() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    own(&shop, &node, &shopper, NUMBER).await;
    let remove = async |body: Value| shopper.delete(&node, "/v1/me/phone").json(body).send().await;
    remove(json!({ "password": "wrong password 12" })).await.problem(403, "proof_invalid");
    sign_in_by(&node, NUMBER, PASSWORD).await.expect(200);
    remove(json!({ "password": PASSWORD })).await.expect(204);
    sign_in_by(&node, NUMBER, PASSWORD).await.problem(401, "invalid_credentials");
    assert_eq!(shop.mail_to(&shopper.email, 3).await.kind, "phone_removed");
    let me = shopper.get(&node, "/v1/me").send().await.expect(200).json();
    assert_eq!((&me["phone"], &me["phone_verified"]), (&Value::Null, &json!(false)));
    // What waits for a code goes as well, and a second time there is nothing to do.
    ask(&node, &shopper, NUMBER).await.expect(202);
    let code = shop.text_to(NUMBER, 2).await.code();
    let messages = shop.messages(&shopper.id).await.len();
    remove(json!({ "password": PASSWORD })).await.expect(204);
    assert_eq!(shop.messages(&shopper.id).await.len(), messages);
    confirm(&node, &shopper, &code).await.problem(422, "token_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_text_messages_cost_no_more_than_the_budgets() {
    let shop = Shop::configured(&[
        ("LIMITS__SMS_PER_NUMBER_PER_HOUR", "3"),
        ("LIMITS__SMS_PER_CUSTOMER_PER_HOUR", "4"),
        ("LIMITS__SMS_PER_HOUR", "9"),
        ("SMS__COUNTRIES", "VN,TH"),
    ])
    .await;
    let nodes = [shop.node().await, shop.node().await];
    let mut shoppers = Vec::new();
    for _ in 0..4 {
        shoppers.push(Shopper::new(&shop, &nodes[0]).await);
    }
    for number in ["+12025550123", "+842838123456", "0912345678"] {
        let refused = ask(&nodes[0], &shoppers[0], number).await.problem(422, "validation_failed");
        assert!(refused.faults()[0].starts_with("#/phone "), "{}", refused.text());
    }
    // One number, whoever asks, on whatever node: 3.
    for count in 0..3 {
        ask(&nodes[count % 2], &shoppers[count % 2], NUMBER).await.expect(202);
    }
    let refused = ask(&nodes[1], &shoppers[2], NUMBER).await.problem(429, "rate_limited");
    assert_eq!(refused.header("ratelimit"), "", "whose budget it was is not told");
    // One customer, whatever the number: 4, of which two are used.
    ask(&nodes[0], &shoppers[0], "+84912345601").await.expect(202);
    ask(&nodes[0], &shoppers[0], "+84912345602").await.expect(202);
    ask(&nodes[1], &shoppers[0], "+84912345603").await.problem(429, "rate_limited");
    // Everybody together: 9, of which five are used; what was refused has cost nothing.
    for count in 0..4 {
        ask(&nodes[0], &shoppers[2], &format!("+8491234561{count}")).await.expect(202);
    }
    ask(&nodes[1], &shoppers[3], "+84912345620").await.problem(429, "rate_limited");
    let sent = "SELECT count(*) FROM text_messages";
    assert_eq!(shop.database.count(sent).await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phone_only_the_signed_in_and_active_ask_for_codes() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let body = json!({ "phone": NUMBER });
    node.post("/v1/me/phone", body.clone()).send().await.problem(401, "unauthorized");
    let shopper = Shopper::new(&shop, &node).await;
    let key = crate::harness::unique("key");
    let first = shopper.post(&node, "/v1/me/phone", body.clone()).idempotency_key(&key);
    first.send().await.expect(202);
    let again = shopper.post(&node, "/v1/me/phone", body).idempotency_key(&key);
    let again = again.send().await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(shop.database.count("SELECT count(*) FROM text_messages").await, 1);
}
