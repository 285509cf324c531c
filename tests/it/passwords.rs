//! Another password (rules A1, A3, A7, A8, A12, L7): forgotten, reset, thought of, changed; and the
//! hashes that other systems made.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, address, refresh, register, sign_in, verify};
use crate::harness::{Answer, Api, Shop, Shopper, eventually};
use crate::second_factors::{Guarded, second_step};

/// Another one that every policy accepts.
pub const OTHER: &str = "seven violet umbrellas 42";

pub async fn forgot(api: &Api, email: &str) -> Answer {
    api.post("/v1/auth/password/forgot", json!({ "email": email })).send().await
}

pub async fn reset(api: &Api, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "new_password": password });
    api.post("/v1/auth/password/reset", body).send().await
}

async fn change(shopper: &Shopper, api: &Api, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    shopper.post(api, "/v1/me/password", body).send().await
}

/// The names of all headers, and the values of those that are not the request's own.
fn headers(answer: &Answer) -> Vec<String> {
    let own = ["x-request-id", "date", "ratelimit"];
    let headers = answer.headers.iter().map(|(name, value)| match name.as_str() {
        own_one if own.contains(&own_one) => own_one.to_owned(),
        name => format!("{name}: {}", value.to_str().unwrap()),
    });
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    headers
}

/// Waits until an access token is refused.
async fn dead_within_a_second(shopper: &Shopper, api: &Api) {
    let began = Instant::now();
    loop {
        let answer = shopper.get(api, "/v1/me").send().await;
        if answer.status == 401 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a12_forgot_answers_alike_for_known_and_unknown_addresses() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let known = forgot(&node, &shopper.email).await.expect(202);
    let unknown = forgot(&node, &address()).await.expect(202);
    assert_eq!(known.json(), json!({ "status": "reset_sent" }));
    assert_eq!(known.body, unknown.body);
    assert_eq!(headers(&known), headers(&unknown));
    assert_eq!(known.header("cache-control"), "no-store");
    assert_eq!(shop.mail_to(&shopper.email, 2).await.kind, "reset_password");
    // The work is the same, and what is left of a difference ends at a round instant.
    for email in [shopper.email.clone(), address()] {
        let began = Instant::now();
        forgot(&node, &email).await.expect(202);
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
    }
    // A third person's mailbox is not flooded, and nobody is told that it is full.
    for _ in 0..5 {
        assert_eq!(forgot(&node, &shopper.email).await.expect(202).body, unknown.body);
    }
    let sent = "SELECT count(*) FROM mails WHERE kind = 'reset_password'";
    assert_eq!(shop.database.count(sent).await, 3);
    let usable = "SELECT count(*) FROM one_time_tokens WHERE purpose = 'reset_password' \
        AND used_at IS NULL AND voided_at IS NULL";
    assert_eq!(shop.database.count(usable).await, 1, "a newer link voids the older ones");
    forgot(&node, "no address").await.problem(422, "validation_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a8_a_reset_ends_sessions_lifts_the_lock_and_tells_the_owner() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let node = &nodes[0];
    let shopper = Shopper::new(&shop, node).await;
    let second = shopper.again(node).await;
    for _ in 0..5 {
        sign_in(node, &shopper.email, "wrong password 12").await.expect(401);
    }
    sign_in(node, &shopper.email, PASSWORD).await.problem(429, "login_locked");
    forgot(node, &shopper.email).await.expect(202);
    let token = shop.mail_to(&shopper.email, 2).await.token();
    // Refused for the password, the link is still good.
    for (password, fault) in [
        ("short", "#/new_password too_short"),
        ("password123", "#/new_password too_common"),
        ("nguyen-1999-xyz", "#/new_password derived_from_person"),
        ("customer-service", "#/new_password derived_from_shop"),
    ] {
        let refused = reset(node, &token, password).await.problem(422, "validation_failed");
        assert_eq!(refused.faults(), [fault]);
    }
    reset(&nodes[1], &token, OTHER).await.expect(204);
    for (session, node) in [(&shopper, &nodes[0]), (&second, &nodes[1])] {
        dead_within_a_second(session, node).await;
        refresh(node, &session.refresh).await.problem(401, "refresh_invalid");
    }
    sign_in(node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    sign_in(node, &shopper.email, OTHER).await.expect(200);
    assert_eq!(shop.mail_to(&shopper.email, 3).await.kind, "password_changed");
    reset(node, &token, PASSWORD).await.problem(422, "token_invalid");
    let messages = shop.messages(&shopper.id).await;
    assert!(messages.contains(&"customer.password_changed".to_owned()), "{messages:?}");
    let entries = shop.entries(&shopper.id).await;
    for action in ["token.used", "customer.password_changed", "session.revoked", "sign_in.unlocked"]
    {
        assert!(entries.iter().any(|entry| entry == action), "{action} is not in {entries:?}");
    }
    let passages = "path=\"password_reset\",outcome=\"passed\"";
    assert!(nodes[1].metric_where("gate_passages_total", passages).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_l7_a_reset_proves_the_mailbox_and_lifts_no_suspension() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    // Somebody registered this address; its owner never confirmed, and asks for a password.
    let email = address();
    register(&node, &email).await.expect(202);
    let confirmation = shop.mail_to(&email, 1).await.token();
    forgot(&node, &email).await.expect(202);
    let token = shop.mail_to(&email, 2).await.token();
    let answer = reset(&node, &token, OTHER).await.expect(204);
    assert!(answer.body.is_empty(), "it does not sign in");
    verify(&node, &confirmation).await.problem(422, "token_invalid");
    sign_in(&node, &email, PASSWORD).await.problem(401, "invalid_credentials");
    let owner = Shopper::of(&email, &sign_in(&node, &email, OTHER).await.expect(200));
    let expected = [
        "customer.created",
        "customer.verified",
        "customer.status_changed",
        "customer.password_changed",
        "customer.signed_in",
    ];
    assert_eq!(shop.messages(&owner.id).await, expected);

    let path = format!("/v1/admin/customers/{}/status", owner.id);
    let body = json!({ "to": "suspended", "reason": "fraud_suspected" });
    node.post(&path, body).bearer(&shop.staff_key).send().await.expect(200);
    forgot(&node, &email).await.expect(202);
    let token = shop.mail_to(&email, 4).await.token();
    reset(&node, &token, PASSWORD).await.expect(204);
    sign_in(&node, &email, PASSWORD).await.problem(403, "account_suspended");

    // Of a customer that staff made: it never had a password.
    let email = address();
    let body = json!({ "email": email, "first_name": "Lan", "last_name": "Trần" });
    node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await.expect(201);
    forgot(&node, &email).await.expect(202);
    let token = shop.mail_to(&email, 1).await.token();
    reset(&node, &token, OTHER).await.expect(204);
    sign_in(&node, &email, OTHER).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a8_expired_foreign_and_other_tokens_reset_nothing() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = address();
    register(&node, &email).await.expect(202);
    let confirmation = shop.mail_to(&email, 1).await.token();
    forgot(&node, &email).await.expect(202);
    let token = shop.mail_to(&email, 2).await.token();
    let foreign = "A".repeat(token.len());
    for token in [confirmation.as_str(), foreign.as_str(), "x", ""] {
        let refused = reset(&node, token, OTHER).await;
        assert_eq!(refused.status, 422, "{token}: {}", refused.text());
    }
    // One link does not do the other's work.
    verify(&node, &token).await.problem(422, "token_invalid");
    shop.database
        .execute(
            "UPDATE one_time_tokens SET created_at = created_at - interval '2 hours', \
             expires_at = expires_at - interval '2 hours' WHERE purpose = 'reset_password'",
        )
        .await;
    reset(&node, &token, OTHER).await.problem(422, "token_invalid");
    verify(&node, &confirmation).await.expect(200);
    sign_in(&node, &email, PASSWORD).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a7_a_change_keeps_this_session_and_ends_the_others() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let node = &nodes[0];
    let shopper = Shopper::new(&shop, node).await;
    let second = shopper.again(node).await;
    forgot(node, &shopper.email).await.expect(202);
    let link = shop.mail_to(&shopper.email, 2).await.token();
    for (new, fault) in [
        ("short", "#/new_password too_short"),
        (PASSWORD, "#/new_password unchanged"),
        ("qwertyuiop", "#/new_password too_common"),
        (shopper.email.as_str(), "#/new_password derived_from_person"),
    ] {
        let refused = change(&shopper, node, PASSWORD, new).await.problem(422, "validation_failed");
        assert_eq!(refused.faults(), [fault]);
    }
    change(&shopper, node, "wrong password 12", OTHER).await.problem(403, "proof_invalid");
    let answer = change(&shopper, node, PASSWORD, OTHER).await.expect(204);
    assert_eq!(answer.header("cache-control"), "no-store");
    dead_within_a_second(&second, &nodes[1]).await;
    shopper.get(&nodes[1], "/v1/me").send().await.expect(200);
    refresh(&nodes[1], &shopper.refresh).await.expect(200);
    let devices = "SELECT count(*) FROM devices";
    assert_eq!(shop.database.count(devices).await, 1, "only this session's device is known");
    // What was asked for before leads nowhere any more.
    reset(node, &link, PASSWORD).await.problem(422, "token_invalid");
    sign_in(node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    sign_in(node, &shopper.email, OTHER).await.expect(200);
    assert_eq!(shop.mail_to(&shopper.email, 3).await.kind, "password_changed");
    node.post("/v1/me/password", json!({ "current_password": OTHER, "new_password": PASSWORD }))
        .send()
        .await
        .problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a3_wrong_proofs_lock_the_change_and_not_the_sign_in() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let calls = (0..40).map(|number| {
        let (node, shopper) = (nodes[number % 2].api(), shopper.clone());
        async move { change(&shopper, &node, "wrong password 12", OTHER).await }
    });
    let answers = join_all(calls).await;
    let wrong = answers.iter().filter(|answer| answer.status == 403).count();
    let locked = answers.iter().filter(|answer| answer.code() == "login_locked").count();
    assert_eq!((wrong, locked), (5, 35));
    change(&shopper, &nodes[1], PASSWORD, OTHER).await.problem(429, "login_locked");
    sign_in(&nodes[1], &shopper.email, PASSWORD).await.expect(200);
    let messages = shop.messages(&shopper.id).await;
    let told = messages.iter().filter(|kind| *kind == "customer.sign_in_locked").count();
    assert_eq!(told, 1, "{messages:?}");
    // The link of a mail lifts that lock, too.
    forgot(&nodes[0], &shopper.email).await.expect(202);
    let token = shop.mail_to(&shopper.email, 2).await.token();
    reset(&nodes[0], &token, OTHER).await.expect(204);
    let again =
        Shopper::of(&shopper.email, &sign_in(&nodes[0], &shopper.email, OTHER).await.expect(200));
    change(&again, &nodes[1], OTHER, PASSWORD).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a1_a_password_is_judged_before_it_is_chosen() {
    let shop = Shop::configured(&[("PASSWORDS__SHOP_WORDS", "Chợ Lớn")]).await;
    let node = shop.node_with(&[("LIMITS__PASSWORD_CHECKS_PER_MINUTE", "12")]).await;
    let check = |body: Value| {
        let node = node.api();
        async move { node.post("/v1/auth/password/check", body).send().await }
    };
    let codes = |verdict: &Value, list: &str| -> Vec<String> {
        let remarks = verdict[list].as_array().unwrap().iter();
        remarks.map(|remark| remark["code"].as_str().unwrap().to_owned()).collect()
    };
    let rows = [
        (json!({ "password": "tractor-velvet-seven-moons" }), true, vec![]),
        (json!({ "password": "abc" }), false, vec!["too_short"]),
        (json!({ "password": "Homelesspa" }), false, vec!["too_common"]),
        (json!({ "password": "cho-lon-2024" }), false, vec!["derived_from_shop"]),
        (
            json!({ "password": "minh-anh-99 river", "first_name": "Minh", "last_name": "Anh" }),
            false,
            vec!["derived_from_person"],
        ),
        (
            json!({ "password": "tran.binh river 5", "email": "tran.binh@example.org" }),
            false,
            vec!["derived_from_person"],
        ),
    ];
    for (body, acceptable, reasons) in rows {
        let answer = check(body).await.expect(200);
        assert_eq!(answer.header("cache-control"), "no-store");
        let verdict = answer.json();
        assert_eq!(verdict["acceptable"], acceptable, "{verdict}");
        assert_eq!(codes(&verdict, "reasons"), reasons, "{verdict}");
        let score = verdict["score"].as_u64().unwrap();
        assert!(if acceptable { score == 4 } else { score <= 1 }, "{verdict}");
    }
    let weak = check(json!({ "password": "aaaaaaaaaaaa" })).await.expect(200).json();
    assert!(!codes(&weak, "advice").is_empty(), "{weak}");
    let long = check(json!({ "password": "x7".repeat(20_000) })).await.expect(200).json();
    assert_eq!(codes(&long, "reasons"), ["too_long"]);
    check(json!({})).await.problem(422, "validation_failed");
    for _ in 0..4 {
        check(json!({ "password": "tractor-velvet" })).await.expect(200);
    }
    check(json!({ "password": "tractor-velvet" })).await.problem(429, "rate_limited");
    assert!(!node.log().contains("tractor"), "a password is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a1_hashes_of_other_systems_sign_in_once_and_become_ours() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    // each made from "Mật khẩu 🐧 dài" by another implementation, see security::legacy_hashes
    let hashes = [
        "$2y$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi",
        "$pbkdf2-sha512$i=1000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$zMYjLkwb4wRZ3SBclCqc0gib1Y3v5EthhU0DPab2svxaPnC4iRvDvHXMQsnf2QSXxdLOsXA6Y81lpnV6xg4fYA",
        "pbkdf2_sha256$1000$saltSALT1234$0aEn3zJnVzBfBIbL/zXizK56r6j5KfePINL3ylDhE+A=",
        "$scrypt$ln=4,r=8,p=2$TmFDbDEyMzQ$lAGZn/d5dJOS2ehWvO6JhhOhQcIZ51aWv9f5zWt2yIs",
        "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$J+f6h87iyt5Yqomwp/BnHATAqwzs8oKCoT4XVCSKp4Y",
        "$firebase-scrypt$ln=4,r=8,sep=Bw==,key=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$12QUQSUM5CINXrRAex+euH/kmVcOG0qFRWGzghiEaRlB0llNil9G8gtKMBz/uRSfYYjF2ryvwlE9InrOyEVkDg==",
    ];
    let shopper = Shopper::new(&shop, &node).await;
    let stored = format!("SELECT hash FROM passwords WHERE customer_id = '{}'", shopper.id);
    for hash in hashes {
        let insert = format!(
            "UPDATE passwords SET hash = '{hash}', changed_at = now() - interval '3 years' \
             WHERE customer_id = '{}'",
            shopper.id
        );
        shop.database.execute(&insert).await;
        sign_in(&node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
        assert_eq!(shop.database.one(&stored).await, hash, "a wrong password replaces nothing");
        sign_in(&node, &shopper.email, "Mật khẩu 🐧 dài").await.expect(200);
        let replaced = shop.database.one(&stored).await;
        assert!(replaced.starts_with("$argon2id$v=19$m=256,t=1,p=1$"), "{hash}: {replaced}");
        let fresh = "SELECT count(*) FROM passwords WHERE changed_at > now() - interval '1 minute'";
        assert_eq!(shop.database.count(fresh).await, 1);
        sign_in(&node, &shopper.email, "Mật khẩu 🐧 dài").await.expect(200);
        assert_eq!(shop.database.one(&stored).await, replaced, "once is enough");
    }
    // A planted one that would take the service down is answered like a wrong password.
    for hash in [
        "$2b$31$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi",
        "$scrypt$ln=30,r=8,p=1$TmFDbDEyMzQ$lAGZn/d5dJOS2ehWvO6JhhOhQcIZ51aWv9f5zWt2yIs",
    ] {
        let insert = format!("UPDATE passwords SET hash = '{hash}'");
        shop.database.execute(&insert).await;
        let began = Instant::now();
        sign_in(&node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_a6_a_password_by_mail_passes_no_second_factor() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    let email = &guarded.shopper.email;
    forgot(&node, email).await.expect(202);
    let mail = eventually("the link", Duration::from_secs(20), || async {
        shop.mails_to(email).into_iter().find(|mail| mail.kind == "reset_password")
    });
    let answer = reset(&node, &mail.await.token(), OTHER).await.expect(204);
    assert!(answer.body.is_empty(), "it does not sign in");
    let asked = sign_in(&node, email, OTHER).await.expect(200).json();
    assert_eq!(asked["status"], "mfa_required", "{asked}");
    assert!(asked.get("access_token").is_none(), "{asked}");
    let challenge = asked["challenge"].as_str().unwrap();
    let entered = second_step(&node, challenge, "backup_code", &guarded.backup_codes[0]).await;
    entered.expect(200);
}
