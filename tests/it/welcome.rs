//! The welcome series: begun by the first verification of an address, looked at again when due, each
//! step once.

use std::time::Duration;

use serde_json::json;

use crate::email_change;
use crate::harness::shopper::{address, register, registration, verify};
use crate::harness::{Api, Shop, Shopper, eventually};

/// A greeting at once, a guide and offers a moment later.
const SERIES: &[(&str, &str)] = &[
    ("WELCOME__MAILS__HELLO__TEMPLATE", "welcome"),
    ("WELCOME__MAILS__GUIDE__TEMPLATE", "welcome_guide"),
    ("WELCOME__MAILS__GUIDE__DELAY_SECONDS", "2"),
    ("WELCOME__MAILS__OFFERS__TEMPLATE", "welcome_offers"),
    ("WELCOME__MAILS__OFFERS__DELAY_SECONDS", "2"),
    ("WELCOME__MAILS__OFFERS__CONDITION", "marketing_consent"),
];

/// The same with hours in between.
const SLOW: &[(&str, &str)] = &[
    ("WELCOME__MAILS__HELLO__TEMPLATE", "welcome"),
    ("WELCOME__MAILS__GUIDE__TEMPLATE", "welcome_guide"),
    ("WELCOME__MAILS__GUIDE__DELAY_SECONDS", "3600"),
    ("WELCOME__MAILS__OFFERS__TEMPLATE", "welcome_offers"),
    ("WELCOME__MAILS__OFFERS__DELAY_SECONDS", "3600"),
    ("WELCOME__MAILS__OFFERS__CONDITION", "marketing_consent"),
];

const MARKETING: &str = "/v1/me/consents/marketing";

async fn accepting(shop: &Shop, node: &Api) -> Shopper {
    let email = address();
    let mut body = registration(&email);
    body["accepts_marketing"] = json!(true);
    node.post("/v1/auth/register", body).send().await.expect(202);
    let token = shop.mail_to(&email, 1).await.token();
    Shopper::of(&email, &verify(node, &token).await.expect(200))
}

/// Every step of a customer, as `step outcome`, by name, once none waits to be sent.
async fn steps(shop: &Shop, shopper: &Shopper) -> Vec<String> {
    let sql = format!(
        "SELECT step || ' ' || CASE WHEN sent_at IS NOT NULL THEN 'sent' \
         WHEN given_up_at IS NOT NULL THEN last_error ELSE 'waits' END \
         FROM mails WHERE customer_id = '{}' AND step IS NOT NULL ORDER BY step",
        shopper.id
    );
    eventually("the steps of a series", Duration::from_secs(30), async || {
        let steps = shop.database.column(&sql).await;
        (!steps.is_empty() && steps.iter().all(|step| !step.ends_with("waits"))).then_some(steps)
    })
    .await
}

/// Lets time pass for whatever waits.
async fn all_due(shop: &Shop) {
    let sql = "UPDATE mails SET due_at = now() WHERE sent_at IS NULL AND given_up_at IS NULL";
    shop.database.client().await.batch_execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_written_to_where_no_series_is_configured() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = accepting(&shop, &node).await;
    let count = "SELECT count(*) FROM mails WHERE step IS NOT NULL";
    assert_eq!(shop.database.count(count).await, 0);
    assert_eq!(
        shop.mails_to(&shopper.email).iter().filter(|m| m.kind.contains("welcome")).count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_series_begins_with_the_verification_and_goes_to_who_agreed() {
    let shop = Shop::configured(SERIES).await;
    let node = shop.node().await;
    let pending = address();
    register(&node, &pending).await.expect(202);
    shop.mail_to(&pending, 1).await;
    let count = "SELECT count(*) FROM mails WHERE step IS NOT NULL";
    assert_eq!(shop.database.count(count).await, 0, "not before the address is verified");

    let agreed = accepting(&shop, &node).await;
    let not_asked = Shopper::new(&shop, &node).await;
    let rows = "SELECT count(*) FROM mails WHERE step IS NOT NULL";
    assert_eq!(shop.database.count(rows).await, 6, "written with the verification");
    assert_eq!(steps(&shop, &agreed).await, ["guide sent", "hello sent", "offers sent"]);
    let stopped = "offers there is no consent to marketing by mail";
    assert_eq!(steps(&shop, &not_asked).await, ["guide sent", "hello sent", stopped]);
    let kinds = |shopper: &Shopper| {
        let mut kinds: Vec<_> =
            shop.mails_to(&shopper.email).into_iter().map(|mail| mail.kind).collect();
        kinds.retain(|kind| kind.starts_with("welcome"));
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&agreed), ["welcome", "welcome_guide", "welcome_offers"]);
    assert_eq!(kinds(&not_asked), ["welcome", "welcome_guide"]);
    // Not before its time: a later step was handed over after it was due.
    let early = "SELECT count(*) FROM mails WHERE step IS NOT NULL AND sent_at < created_at";
    assert_eq!(shop.database.count(early).await, 0);
    let queued = shop.entries(&agreed.id).await;
    assert_eq!(queued.iter().filter(|action| *action == "mail.queued").count(), 4);
    assert!(node.metric_where("mails_total", "outcome=\"stopped\"").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawal_suspension_and_an_address_given_up_stop_what_is_not_sent_yet() {
    let shop = Shop::configured(SLOW).await;
    let node = shop.node().await;
    let (withdrawn, suspended, deleted, kept) = (
        accepting(&shop, &node).await,
        accepting(&shop, &node).await,
        accepting(&shop, &node).await,
        accepting(&shop, &node).await,
    );
    let body = json!({ "granted": false, "channel": "email" });
    withdrawn.put(&node, MARKETING, body).send().await.expect(200);
    let status = format!("/v1/admin/customers/{}/status", suspended.id);
    let body = json!({ "to": "suspended", "reason": "fraud_suspected" });
    node.post(&status, body).bearer(&shop.staff_key).send().await.expect(200);
    let gone = format!("UPDATE customers SET deleted_at = now() WHERE id = '{}'", deleted.id);
    shop.database.client().await.batch_execute(&gone).await.unwrap();
    // The greeting left at once, which the others wait for.
    for shopper in [&withdrawn, &kept] {
        shop.mail_to(&shopper.email, 2).await;
    }
    all_due(&shop).await;
    let no_consent = "offers there is no consent to marketing by mail";
    assert_eq!(steps(&shop, &withdrawn).await, ["guide sent", "hello sent", no_consent]);
    let inactive = "the account is not active and verified";
    for shopper in [&suspended, &deleted] {
        let steps = steps(&shop, shopper).await;
        assert_eq!(steps[0], format!("guide {inactive}"));
        assert_eq!(steps[2], format!("offers {inactive}"));
        let mails = shop.mails_to(&shopper.email);
        assert!(
            mails.iter().all(|m| !["welcome_guide", "welcome_offers"].contains(&m.kind.as_str()))
        );
    }
    assert_eq!(steps(&shop, &kept).await, ["guide sent", "hello sent", "offers sent"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_is_sent_once_after_kills_restarts_and_another_address() {
    let shop = Shop::configured(SLOW).await;
    let mut node = shop.node().await;
    let shopper = accepting(&shop, &node).await;
    let new = address();
    email_change::change(&shop, &node, &shopper, &new).await;
    let rows = "SELECT count(*) FROM mails WHERE step IS NOT NULL";
    assert_eq!(shop.database.count(rows).await, 3, "another address begins no second series");
    node.kill9();
    all_due(&shop).await;
    let node = shop.node().await;
    assert_eq!(steps(&shop, &shopper).await, ["guide sent", "hello sent", "offers sent"]);
    drop(node);
    let node = shop.node().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for kind in ["welcome_guide", "welcome_offers"] {
        let sent =
            |email: &str| shop.mails_to(email).iter().filter(|mail| mail.kind == kind).count();
        assert_eq!(
            (sent(&new), sent(&shopper.email)),
            (1, 0),
            "{kind} goes to the address of today"
        );
    }
    // Even if it were decided on again, the table lets no step be written twice.
    let twice = format!(
        "INSERT INTO mails (id, customer_id, kind, step, locale, created_at, due_at) \
         SELECT gen_random_uuid(), '{}', 'welcome', 'hello', 'en', now(), now()",
        shopper.id
    );
    let refused =
        shop.database.client().await.batch_execute(&twice).await.expect_err("a step twice");
    assert_eq!(refused.as_db_error().unwrap().constraint(), Some("mails_step"));
    drop(node);
}
