//! Registration and confirmation of the address (rules L1, L5, L7, L8, A8, A11, A12).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::shopper::{PASSWORD, address, register, registration, sign_in, verify};
use crate::harness::{Shop, Shopper};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l7_a_registration_is_one_customer_with_all_its_rows_messages_and_entries() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let email = address();
    let body = json!({
        "email": email, "password": PASSWORD, "first_name": "  Thị   Ánh ", "last_name": "Nguyễn",
        "phone": "+84 912 345 678", "locale": "vi-VN", "timezone": "Asia/Ho_Chi_Minh",
        "accepts_marketing": true, "customer_type": "business",
    });
    let answer = node.post("/v1/auth/register", body).send().await.expect(202);
    assert_eq!(answer.json(), json!({ "status": "verification_sent" }));

    let id = shop.database.one("SELECT id FROM customers").await;
    let row = "SELECT concat_ws('|', email, first_name, last_name, phone, customer_type, group_code, \
        status, accepts_marketing, version, sequence) FROM customers";
    let expected = format!("{email}|Thị Ánh|Nguyễn|+84912345678|business|business|pending|t|1|2");
    assert_eq!(shop.database.one(row).await, expected);
    for (sql, count) in [
        ("SELECT count(*) FROM customer_profiles WHERE version = 1", 1),
        (
            "SELECT count(*) FROM customer_preferences WHERE locale = 'vi-VN' AND timezone = 'Asia/Ho_Chi_Minh' AND currency = 'USD'",
            1,
        ),
        ("SELECT count(*) FROM customer_identifiers WHERE kind = 'email'", 1),
        ("SELECT count(*) FROM passwords WHERE hash LIKE '$argon2id$%'", 1),
        ("SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL AND voided_at IS NULL", 1),
        ("SELECT count(*) FROM sessions", 0),
    ] {
        assert_eq!(shop.database.count(sql).await, count, "{sql}");
    }
    assert_eq!(shop.messages(&id).await, ["customer.created", "consent.granted"]);
    let entries = ["customer.created", "consent.granted", "token.issued", "mail.queued"];
    assert_eq!(shop.entries(&id).await, entries);

    let mail = shop.mail_to(&email, 1).await;
    assert_eq!(mail.kind, "verify_email");
    assert!(mail.raw.contains("Content-Language: vi"), "{}", mail.raw);
    sign_in(&node, &email, PASSWORD).await.problem(403, "email_unverified");

    let verified = verify(&node, &mail.token()).await.expect(200);
    let shopper = Shopper::of(&email, &verified);
    assert_eq!(shopper.id, id);
    let customer = &verified.json()["customer"];
    assert_eq!(
        (&customer["status"], &customer["email_verified"]),
        (&json!("active"), &json!(true))
    );
    let me = shopper.get(&node, "/v1/me?expand=profile,preferences,addresses").send().await;
    let me = me.expect(200).json();
    assert_eq!((&me["first_name"], &me["last_name"]), (&json!("Thị Ánh"), &json!("Nguyễn")));
    assert_eq!(me["preferences"]["locale"], "vi-VN");
    assert_eq!(me["addresses"], json!([]));
    assert!(me["profile"].is_object() && me["last_sign_in_at"].is_string(), "{me}");

    let expected = [
        "customer.created",
        "consent.granted",
        "customer.verified",
        "customer.status_changed",
        "customer.signed_in",
    ];
    assert_eq!(shop.messages(&id).await, expected);
    assert_eq!(consumer.kinds(&id, 5).await, expected);
    let moved = &consumer.of(&id)[3].data;
    assert_eq!((&moved["from"], &moved["to"]), (&json!("pending"), &json!("active")));
    assert_eq!(moved["reason"], "email_verified");
    let entries = shop.entries(&id).await;
    for action in
        ["token.used", "customer.verified", "customer.status_changed", "sign_in.succeeded"]
    {
        assert!(entries.iter().any(|entry| entry == action), "{action} is not in {entries:?}");
    }
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_32_parallel_registrations_of_one_address_are_one_customer_and_one_message() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let email = address();
    // The same address in four spellings.
    let spelling = |number: usize| match number % 4 {
        0 => email.clone(),
        1 => email.to_uppercase(),
        2 => format!("  {email} "),
        _ => email.replace("shoppers", "SHOPPERS"),
    };
    let calls = (0..32).map(|number| {
        let (node, email) = (nodes[number % 2].api(), spelling(number));
        async move { register(&node, &email).await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.expect(202).json(), json!({ "status": "verification_sent" }));
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 1);
    let id = shop.database.one("SELECT id FROM customers").await;
    assert_eq!(shop.messages(&id).await, ["customer.created"]);
    assert_eq!(consumer.kinds(&id, 1).await, ["customer.created"]);
    let created = "SELECT count(*) FROM audit_entries WHERE action = 'customer.created'";
    assert_eq!(shop.database.count(created).await, 1);
    let usable = "SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL AND voided_at IS NULL";
    assert_eq!(shop.database.count(usable).await, 1, "a newer token voids the older ones");
    let orphans = "SELECT count(*) FROM customer_profiles p FULL JOIN customers c \
        ON c.id = p.customer_id WHERE c.id IS NULL OR p.customer_id IS NULL";
    assert_eq!(shop.database.count(orphans).await, 0);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_known_address_is_answered_alike_and_its_owner_told_by_mail() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let known = register(&node, &shopper.email).await.expect(202);
    let unknown = register(&node, &address()).await.expect(202);
    assert_eq!(known.body, unknown.body);
    let names = |answer: &crate::harness::Answer| {
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&known), names(&unknown));
    assert_eq!(shop.mail_to(&shopper.email, 2).await.kind, "already_registered");
    // The password of the second registration opens nothing.
    sign_in(&node, &shopper.email, PASSWORD).await.expect(200);

    // One that still waits for its confirmation gets a fresh link, and the older one is void.
    let pending = address();
    register(&node, &pending).await.expect(202);
    let first = shop.mail_to(&pending, 1).await;
    register(&node, &pending).await.expect(202);
    let second = shop.mail_to(&pending, 2).await;
    assert_eq!(second.kind, "already_registered_pending");
    verify(&node, &first.token()).await.problem(422, "token_invalid");
    verify(&node, &second.token()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_void_used_expired_and_foreign_tokens_change_nothing() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = address();
    register(&node, &email).await.expect(202);
    let first = shop.mail_to(&email, 1).await.token();
    let resend = |email: String| {
        let node = node.api();
        async move { node.post("/v1/auth/email/resend", json!({ "email": email })).send().await }
    };
    resend(email.clone()).await.expect(202);
    let second = shop.mail_to(&email, 2).await.token();
    assert_ne!(first, second);
    let foreign = "A".repeat(second.len());
    for token in [first.as_str(), foreign.as_str(), "x"] {
        let refused = verify(&node, token).await;
        assert!(refused.status == 422, "{token}: {}", refused.text());
    }
    shop.database.execute("UPDATE one_time_tokens SET created_at = created_at - interval '2 days', expires_at = expires_at - interval '2 days'").await;
    verify(&node, &second).await.problem(422, "token_invalid");
    assert_eq!(shop.database.one("SELECT status FROM customers").await, "pending");

    resend(email.clone()).await.expect(202);
    let third = shop.mail_to(&email, 3).await.token();
    verify(&node, &third).await.expect(200);
    verify(&node, &third).await.problem(422, "token_invalid");
    // Only hashes are stored.
    let stored =
        shop.database.column("SELECT encode(token_hash, 'escape') FROM one_time_tokens").await;
    assert!(stored.iter().all(|hash| !hash.contains(&third)));
    // Nothing to confirm, and nobody there: the same answer, and no mail.
    let known = resend(email.clone()).await.expect(202);
    let nobody = resend(address()).await.expect(202);
    assert_eq!(known.body, nobody.body);
    assert_eq!(shop.mails_to(&email).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_weak_passwords_are_refused_with_the_field_named() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = "minh.tranvan@shoppers.example";
    for password in ["short", &"x".repeat(129), "password123", "minh.tranvan@shoppers.example"] {
        let mut body = registration(email);
        body["password"] = json!(password);
        let answer = node.post("/v1/auth/register", body).send().await;
        let faults = answer.problem(422, "validation_failed").faults();
        assert!(faults.iter().all(|fault| fault.starts_with("#/password ")), "{faults:?}");
        assert!(!faults.is_empty());
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_a_hanging_mail_server_delays_and_fails_nothing() {
    // It takes connections and says nothing, ever.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let settings = [("MAIL__TRANSPORT", "smtp"), ("MAIL__SMTP_URL", url.as_str())];
    let shop = Shop::configured(&settings).await;
    let mut node = shop.node().await;
    let began = Instant::now();
    for _ in 0..10 {
        register(&node, &address()).await.expect(202);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "ten registrations took {took:?}");
    let waiting = "SELECT count(*) FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL";
    assert_eq!(shop.database.count(waiting).await, 10);
    node.get("/health/ready").send().await.expect(200);
    node.sigterm();
    assert!(node.ended(Duration::from_secs(25)).await.success());
    // Nothing was lost: another node, with a way out, sends them.
    let _node = shop.node_with(&[("MAIL__TRANSPORT", "files")]).await;
    crate::harness::eventually("all mails are sent", Duration::from_secs(30), async || {
        let sent = "SELECT count(*) FROM mails WHERE sent_at IS NOT NULL";
        // A mail that was tried waits for its next try; its time is brought forward.
        shop.database
            .execute("UPDATE mails SET due_at = now() WHERE sent_at IS NULL AND due_at > now()")
            .await;
        (shop.database.count(sent).await == 10).then_some(())
    })
    .await;
}
