//! Deletions (rules P1, P2, P4): asked for, frozen, cancelled, held up, carried out, answered, certified.

mod answers;
mod ground;
mod meanwhile;
mod residue;
mod restored;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use customer_service::clock::{Clock as _, SystemClock};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, home, refresh, sign_in};
use crate::harness::{Shop, Shopper, eventually};
use ground::{deletion, rows_of, state_of};

const MINE: &str = "/v1/me/privacy/deletion";
const SHORT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_the_owner_asks_is_frozen_and_may_still_cancel() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let ask = |proof: Value| shopper.post(&node, MINE, proof);
    ask(json!({})).send().await.problem(403, "proof_needed");
    ask(json!({ "password": "not the password 12" })).send().await.problem(403, "proof_invalid");
    shopper.get(&node, MINE).send().await.problem(404, "not_found");
    let asked = ask(json!({ "password": PASSWORD })).send().await.expect(202).json();
    assert_eq!((&asked["state"], &asked["requested_by"]), (&json!("scheduled"), &json!("owner")));
    let instant =
        |name: &str| asked[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
    let (requested, due) = (instant("requested_at").unwrap(), instant("due_at").unwrap());
    assert_eq!((due - requested).num_days(), 30);
    assert_eq!(asked["within_legal_month"], json!(due <= instant("legal_due_at").unwrap()));

    // Nobody is signed in any more, and the owner is told by mail until when it can be cancelled.
    eventually("the session is over", SHORT, async || {
        (shopper.get(&node, "/v1/me").send().await.status == 401).then_some(())
    })
    .await;
    let mail = shop.mail_to(&shopper.email, 2).await;
    assert_eq!(mail.kind, "deletion_scheduled");
    assert!(mail.text().contains(&due.format("%Y-%m-%d").to_string()), "{}", mail.text());

    // Within the grace a session is for looking and cancelling.
    let pair = sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    assert_eq!(pair.json()["scope"], "deletion");
    let inside = Shopper::of(&shopper.email, &pair);
    assert_eq!(inside.get(&node, MINE).send().await.expect(200).json()["state"], "scheduled");
    inside.get(&node, "/v1/me").send().await.problem(403, "deletion_pending");
    let address = inside.post(&node, "/v1/me/addresses", home("Huế"));
    address.send().await.problem(403, "deletion_pending");
    let pair = refresh(&node, &inside.refresh).await.expect(200);
    assert_eq!(pair.json()["scope"], "deletion", "also of the next token");
    let inside = Shopper { access: pair.json()["access_token"].as_str().unwrap().into(), ..inside };
    let again = inside.post(&node, MINE, json!({ "password": PASSWORD }));
    again.send().await.problem(409, "deletion_scheduled");

    // Nor does anybody else change what may be brought back.
    let path = format!("/v1/admin/customers/{}", shopper.id);
    let staff = |body: Value| node.patch(&path, body).bearer(&shop.staff_key);
    staff(json!({ "first_name": "Bình" })).send().await.problem(409, "account_frozen");
    let active = json!({ "to": "active", "reason": "mistake" });
    let status = node.post(&format!("{path}/status"), active).bearer(&shop.staff_key);
    status.send().await.problem(409, "transition_not_allowed");

    inside.delete(&node, MINE).send().await.expect(204);
    let back = shopper.again(&node).await;
    assert_eq!(back.get(&node, "/v1/me").send().await.expect(200).json()["status"], "active");
    back.get(&node, MINE).send().await.problem(404, "not_found");
    eventually("the session that cancelled is over", SHORT, async || {
        (inside.get(&node, MINE).send().await.status == 401).then_some(())
    })
    .await;
    let kinds: Vec<_> = shop.mails_to(&shopper.email).into_iter().map(|mail| mail.kind).collect();
    assert!(kinds.contains(&"deletion_cancelled".to_owned()) || kinds.len() >= 2, "{kinds:?}");
    let told = "SELECT kind FROM outbox_events WHERE kind LIKE 'privacy.%' ORDER BY seq";
    let told = shop.database.column(told).await;
    assert_eq!(told, ["privacy.deletion_requested", "privacy.deletion_cancelled"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_who_has_orders_on_their_way_is_not_deleted() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let placed = format!(
        "INSERT INTO order_facts VALUES ('{0}', 'O-1', 1, 'placed', now(), NULL, 'VND', 7, 0, now()); \
         INSERT INTO order_statistics VALUES ('{0}', 'VND', 1, 0, 0, 0, 0, 0, now(), now(), 1, now())",
        shopper.id
    );
    shop.database.execute(&placed).await;
    let ask = shopper.post(&node, MINE, json!({ "password": PASSWORD }));
    ask.send().await.problem(409, "active_orders");
    let path = deletion(&shopper.id);
    let staff = node.post(&path, json!({})).bearer(&shop.staff_key);
    staff.send().await.problem(409, "active_orders");
    // Nothing was changed by asking.
    shopper.get(&node, "/v1/me").send().await.expect(200);
    assert_eq!(shop.database.count("SELECT count(*) FROM erasures").await, 0);
}

/// F25: cancelled within the grace, every row of the customer is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_cancelling_restores_every_row() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.add_address(&node, "Huế").await;
    let body = json!({ "name": "Sinh nhật" });
    shopper.post(&node, "/v1/me/wishlists", body).send().await.expect(201);
    let marketing = json!({ "accepts_marketing": true });
    shopper.patch(&node, "/v1/me", marketing).send().await.expect(200);
    crate::segments::shelf::by_hand(&shop, &node, "friends").await;
    let member = format!("/v1/admin/segments/friends/members/{}", shopper.id);
    node.post(&member, json!({})).bearer(&shop.staff_key).send().await.expect(204);
    crate::segments::shelf::rule(&shop, &node, "verified", "email_verified = true").await;
    let in_both =
        format!("SELECT count(*) FROM segment_members WHERE customer_id = '{}'", shopper.id);
    let members = async |count: i64| {
        eventually("memberships", SHORT, async || {
            (shop.database.count(&in_both).await == count).then_some(())
        })
        .await;
    };
    members(2).await;
    // Sessions end, which is no part of what comes back.
    shopper.delete(&node, "/v1/me/sessions").send().await.expect(204);
    let end =
        format!("UPDATE sessions SET revoked_at = now() WHERE customer_id = '{}'", shopper.id);
    shop.database.execute(&end).await;
    let before = rows_of(&shop, &shopper.id).await;

    let path = deletion(&shopper.id);
    let asked = node.post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(202);
    assert_eq!(asked.json()["requested_by"], "staff");
    let frozen = rows_of(&shop, &shopper.id).await;
    assert_ne!(frozen, before);
    members(0).await;
    let marketing = format!("SELECT accepts_marketing FROM customers WHERE id = '{}'", shopper.id);
    assert_eq!(shop.database.one(&marketing).await, "f");

    node.delete(&path).bearer(&shop.staff_key).send().await.expect(204);
    node.delete(&path).bearer(&shop.staff_key).send().await.problem(404, "not_found");
    members(2).await;
    let after = rows_of(&shop, &shopper.id).await;
    for (table, rows) in &before {
        // Judged anew, it is a member since now.
        if table != "segment_members" {
            assert_eq!(Some(rows), after.get(table), "{table}");
        }
    }
}

/// Consent may be withdrawn at any time (GDPR, article 7), and what was withdrawn does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_consent_is_withdrawn_within_the_grace_and_stays_so_when_it_is_cancelled() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let consents = "/v1/me/consents/marketing";
    // By the owner, and by staff.
    for by_staff in [false, true] {
        let shopper = Shopper::new(&shop, &node).await;
        let path = crate::merge::path(&shopper.id, "/consents/marketing");
        let granted = shopper.patch(&node, "/v1/me", json!({ "accepts_marketing": true }));
        assert_eq!(granted.send().await.expect(200).json()["accepts_marketing"], true);
        let ask = shopper.post(&node, MINE, json!({ "password": PASSWORD }));
        ask.send().await.expect(202);
        let inside = shopper.again(&node).await;
        let put = |body: Value| match by_staff {
            true => node.put(&path, body).bearer(&shop.staff_key),
            false => inside.put(&node, consents, body),
        };
        let grant = json!({ "granted": true, "text_version": "1" });
        put(grant).send().await.problem(409, "account_frozen");
        let withdrawn = put(json!({ "granted": false })).send().await.expect(200).json();
        let channels = withdrawn["channels"].as_array().unwrap();
        assert!(channels.iter().all(|one| one["granted"] == false), "{withdrawn}");
        inside.get(&node, consents).send().await.problem(403, "deletion_pending");

        inside.delete(&node, MINE).send().await.expect(204);
        let back = shopper.again(&node).await;
        let me = back.get(&node, "/v1/me").send().await.expect(200).json();
        assert_eq!((&me["status"], &me["accepts_marketing"]), (&json!("active"), &json!(false)));
        let told = shop.messages(&shopper.id).await;
        assert!(told.contains(&"consent.withdrawn".to_owned()), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_a_hold_stops_an_erasure_and_its_end_lets_it_go_on_to_the_certificate() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let hold = format!("/v1/admin/customers/{}/legal_hold", shopper.id);
    let because = || node.post(&hold, json!({ "reason": "tax_audit" })).bearer(&shop.staff_key);
    because().send().await.expect(201);
    because().send().await.problem(409, "legal_hold_exists");
    let words = node.post(&hold, json!({ "reason": "Anna owes us" })).bearer(&shop.staff_key);
    words.send().await.problem(422, "validation_failed");
    let ask = shopper.post(&node, MINE, json!({ "password": PASSWORD, "at_once": true }));
    let id = ask.send().await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/erasures/{id}");
    eventually("it is put off", SHORT, async || {
        let shown = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        (shown["put_off"] == "legal_hold").then_some(())
    })
    .await;
    assert_eq!(state_of(&node, &shop, &id).await, "scheduled");
    let connection = shop.database.database().get().await.unwrap();
    let tomorrow = SystemClock.now() + chrono::TimeDelta::days(1);
    let overdue = customer_service::db::erasures::overdue(&connection, tomorrow).await.unwrap();
    assert_eq!(overdue.waiting, 0, "a duty to keep is no delay that wakes somebody");
    let certificate = format!("{path}/certificate");
    let early = node.get(&certificate).bearer(&shop.staff_key).send().await;
    early.problem(409, "erasure_open");
    node.delete(&hold).bearer(&shop.staff_key).send().await.expect(204);
    eventually("it is completed", SHORT, async || {
        (state_of(&node, &shop, &id).await == "completed").then_some(())
    })
    .await;

    let listed = node.get("/v1/admin/erasures?state=completed").bearer(&shop.staff_key);
    let listed = listed.send().await.expect(200).json();
    assert_eq!(listed["items"][0]["id"], json!(id));
    let none = node.get("/v1/admin/erasures?state=running").bearer(&shop.staff_key);
    assert_eq!(none.send().await.expect(200).json()["items"], json!([]));
    let told = node.get(&certificate).bearer(&shop.staff_key).send().await.expect(200).json();
    let payload = verified(&told);
    assert_eq!((&payload["sub"], &payload["erasure_id"]), (&json!(shopper.id), &json!(id)));
    assert_eq!(payload["removed"]["sessions"], 1);
    assert_eq!(payload["steps"][0]["name"], "local");
    // The same each time, for it is made of what is kept.
    let again = node.get(&certificate).bearer(&shop.staff_key).send().await.expect(200).json();
    assert_eq!(again, told);
    // Whoever was erased is nobody, and its address is free.
    sign_in(&node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    let gone = format!("/v1/admin/customers/{}", shopper.id);
    node.get(&gone).bearer(&shop.staff_key).send().await.problem(404, "not_found");
    because().send().await.problem(404, "not_found");
    crate::harness::shopper::register(&node, &shopper.email).await.expect(202);
    eventually("the address may register anew", SHORT, async || {
        let mails = shop.mails_to(&shopper.email);
        (mails.last()?.kind == "verify_email" && mails.len() > 1).then_some(())
    })
    .await;
}

/// With the rows of the sessions goes what says that they were revoked; the ledger says it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a7_no_access_token_outlives_an_erasure_on_any_node() {
    let shop = Shop::new().await;
    let (one, other) = (shop.node().await, shop.node().await);
    let shopper = Shopper::new(&shop, &other).await;
    let activity = "/v1/me/activity";
    shopper.get(&other, activity).send().await.expect(200);
    let ask = shopper.post(&one, MINE, json!({ "password": PASSWORD, "at_once": true }));
    let id = ask.send().await.expect(202).json()["id"].as_str().unwrap().to_owned();
    eventually("it is completed", SHORT, async || {
        (state_of(&one, &shop, &id).await == "completed").then_some(())
    })
    .await;
    let sessions = format!("SELECT count(*) FROM sessions WHERE customer_id = '{}'", shopper.id);
    assert_eq!(shop.database.count(&sessions).await, 0);
    // Long enough for every node to have read anew what is revoked.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for node in [&one, &other] {
        shopper.get(node, activity).send().await.problem(401, "unauthorized");
    }
}

/// The payload of a certificate, checked by the key that stands beside it.
fn verified(told: &Value) -> Value {
    let certificate = told["certificate"].as_str().unwrap();
    let key = STANDARD.decode(told["public_key"].as_str().unwrap()).unwrap();
    let key = VerifyingKey::from_bytes(key.as_slice().try_into().unwrap()).unwrap();
    let (signed, signature) = certificate.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    key.verify_strict(signed.as_bytes(), &signature).expect("the signature is the key's");
    let payload = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
