//! Another e-mail address (rules L5, L7, A8, A12): asked for, confirmed from the new mailbox, taken
//! back from the old one.

use serde_json::json;

use crate::harness::mailbox::Mail;
use crate::harness::shopper::{PASSWORD, address, refresh, register, sign_in, verify};
use crate::harness::{Answer, Api, Shop, Shopper, eventually};

pub async fn ask(node: &Api, shopper: &Shopper, to: &str) -> Answer {
    let body = json!({ "new_email": to, "password": PASSWORD });
    shopper.post(node, "/v1/me/email", body).send().await
}

pub async fn confirm(node: &Api, token: &str) -> Answer {
    node.post("/v1/auth/email/change/confirm", json!({ "token": token })).send().await
}

pub async fn undo(node: &Api, token: &str) -> Answer {
    node.post("/v1/auth/email/change/undo", json!({ "token": token })).send().await
}

const NEW_PASSWORD: &str = "another horse battery staple 8";

async fn reset(node: &Api, token: &str) {
    let body = json!({ "token": token, "new_password": NEW_PASSWORD });
    node.post("/v1/auth/password/reset", body).send().await.expect(204);
}

/// The newest mail of this kind.
pub async fn mail(shop: &Shop, to: &str, kind: &str) -> Mail {
    let what = format!("a mail {kind} to {to}");
    eventually(&what, std::time::Duration::from_secs(20), async || {
        shop.mails_to(to).into_iter().rfind(|mail| mail.kind == kind)
    })
    .await
}

/// Another address, asked for and confirmed; the answer is the token of the way back.
pub async fn change(shop: &Shop, node: &Api, shopper: &Shopper, to: &str) -> String {
    ask(node, shopper, to).await.expect(202);
    let token = mail(shop, to, "change_email").await.token();
    confirm(node, &token).await.expect(204);
    mail(shop, &shopper.email, "email_changed").await.token()
}

async fn shown(node: &Api, shopper: &Shopper) -> String {
    let me = shopper.get(node, "/v1/me").send().await.expect(200).json();
    assert_eq!(me["email_verified"], true);
    me["email"].as_str().unwrap().to_owned()
}

fn kinds(shop: &Shop, to: &str) -> Vec<String> {
    shop.mails_to(to).into_iter().map(|mail| mail.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_an_address_is_changed_when_the_new_mailbox_confirms_it() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let new = address();
    let asked = ask(&node, &shopper, &new).await.expect(202);
    assert_eq!(asked.header("cache-control"), "no-store");
    assert_eq!(asked.json(), json!({ "status": "confirmation_sent" }));
    let letter = mail(&shop, &new, "change_email").await;
    assert!(letter.text().contains("24 hours"), "{}", letter.text());
    mail(&shop, &shopper.email, "change_email_requested").await;
    assert_eq!(shown(&node, &shopper).await, shopper.email, "nothing has changed yet");

    confirm(&node, &letter.token()).await.expect(204);
    confirm(&node, &letter.token()).await.problem(422, "token_invalid");
    assert_eq!(shown(&node, &shopper).await, new, "the session goes on");
    refresh(&node, &shopper.refresh).await.expect(200);
    sign_in(&node, &new, PASSWORD).await.expect(200);
    sign_in(&node, &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    let notice = mail(&shop, &shopper.email, "email_changed").await;
    assert!(notice.text().contains("72 hours"), "{}", notice.text());
    for raw in [&notice.raw, &letter.raw] {
        assert!(!raw.contains(&shopper.id));
    }
    assert!(!notice.text().contains(&new), "the old mailbox need not learn the new address");
    let messages = shop.messages(&shopper.id).await;
    let told: Vec<_> = messages.iter().rev().skip(1).take(3).rev().map(String::as_str).collect();
    assert_eq!(told, ["customer.updated", "customer.email_changed", "customer.verified"]);
    let entries = shop.entries(&shopper.id).await;
    assert!(entries.contains(&"customer.email_changed".to_owned()), "{entries:?}");
    // nowhere but in the mails and the rows of their own
    let written = "SELECT count(*) FROM outbox_events WHERE data::text LIKE '%@%'";
    assert_eq!(shop.database.count(written).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_nobody_learns_who_has_an_address_by_asking_for_it() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (asking, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    let pending = address();
    register(&node, &pending).await.expect(202);
    let seen = |answer: &Answer| {
        let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        (answer.status, headers, answer.text())
    };
    let free = ask(&node, &asking, &address()).await.expect(202);
    for known in [&other.email, &pending, &asking.email] {
        let answer = ask(&node, &asking, known).await;
        assert_eq!(seen(&answer), seen(&free));
    }
    mail(&shop, &other.email, "change_email_taken").await;
    mail(&shop, &pending, "change_email_taken").await;
    // the one who asked is told the same each time, and nothing about the own address
    eventually("all notices", std::time::Duration::from_secs(20), async || {
        let notices = kinds(&shop, &asking.email);
        (notices.iter().filter(|kind| *kind == "change_email_requested").count() == 3).then_some(())
    })
    .await;
    assert_eq!(kinds(&shop, &asking.email).len(), 4, "with the first one of all");
    assert_eq!(kinds(&shop, &other.email).len(), 2);
    // a stranger's mailbox is not flooded
    for _ in 0..4 {
        ask(&node, &asking, &other.email).await.expect(202);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let taken = kinds(&shop, &other.email);
    assert_eq!(taken.iter().filter(|kind| *kind == "change_email_taken").count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_another_address_needs_a_fresh_proof() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let wrong = json!({ "new_email": address(), "password": "wrong password 12" });
    shopper.post(&node, "/v1/me/email", wrong).send().await.problem(403, "proof_invalid");
    for body in [json!({}), json!({ "new_email": "x" }), json!({ "new_email": address(), "a": 1 })]
    {
        let answer = shopper.post(&node, "/v1/me/email", body).send().await;
        answer.problem(422, "validation_failed");
    }
    let nobody = node.post("/v1/me/email", json!({ "new_email": address() })).send().await;
    nobody.problem(401, "unauthorized");
    assert_eq!(kinds(&shop, &shopper.email).len(), 1, "nobody was written to");
    // newer voids older
    let (first, second) = (address(), address());
    ask(&node, &shopper, &first).await.expect(202);
    let older = mail(&shop, &first, "change_email").await.token();
    ask(&node, &shopper, &second).await.expect(202);
    let newer = mail(&shop, &second, "change_email").await.token();
    confirm(&node, &older).await.problem(422, "token_invalid");
    undo(&node, &newer).await.problem(422, "token_invalid");
    verify(&node, &newer).await.problem(422, "token_invalid");
    confirm(&node, &newer).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_an_address_that_was_taken_meanwhile_is_refused_to_who_confirms_it() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let new = address();
    ask(&node, &shopper, &new).await.expect(202);
    let token = mail(&shop, &new, "change_email").await.token();
    register(&node, &new).await.expect(202);
    confirm(&node, &token).await.problem(409, "email_taken");
    assert_eq!(shown(&node, &shopper).await, shopper.email);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_the_old_mailbox_takes_the_change_back() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let new = address();
    let way_back = change(&shop, &nodes[0], &shopper, &new).await;
    let thief = Shopper::of(&new, &sign_in(&nodes[1], &new, PASSWORD).await.expect(200));
    // and the thief has another change under way
    ask(&nodes[0], &thief, &address()).await.expect(202);
    undo(&nodes[1], &way_back).await.expect(204);
    undo(&nodes[0], &way_back).await.problem(422, "token_invalid");
    for node in &nodes {
        for session in [&shopper, &thief] {
            eventually("the sessions have ended", std::time::Duration::from_secs(3), async || {
                let answer = session.get(node, "/v1/me").send().await;
                (answer.status == 401).then_some(())
            })
            .await;
            refresh(node, &session.refresh).await.problem(401, "refresh_invalid");
        }
    }
    sign_in(&nodes[0], &new, PASSWORD).await.problem(401, "invalid_credentials");
    // the thief knows it
    sign_in(&nodes[0], &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    assert_eq!(shop.database.count("SELECT count(*) FROM passwords").await, 0);
    let open = "SELECT purpose FROM one_time_tokens WHERE used_at IS NULL AND voided_at IS NULL";
    assert_eq!(shop.database.column(open).await, ["reset_password"]);
    let told = mail(&shop, &shopper.email, "email_change_undone").await;
    assert!(told.text().contains("60 minutes"), "{}", told.text());
    reset(&nodes[1], &told.token()).await;
    sign_in(&nodes[0], &shopper.email, PASSWORD).await.problem(401, "invalid_credentials");
    let again = sign_in(&nodes[0], &shopper.email, NEW_PASSWORD).await;
    let again = Shopper::of(&shopper.email, &again);
    assert_eq!(shown(&nodes[0], &again).await, shopper.email);
    // the thief's address is free for whoever reads that mailbox
    register(&nodes[0], &new).await.expect(202);
    mail(&shop, &new, "verify_email").await;
}

/// What a thief adds would else keep the owner out, or let the thief in again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_what_was_added_with_the_change_goes_with_it() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let new = address();
    let way_back = change(&shop, &node, &shopper, &new).await;
    let thief = Shopper::of(&new, &sign_in(&node, &new, PASSWORD).await.expect(200));
    let guarded = crate::second_factors::Guarded::of(thief, &node).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM backup_codes").await, 10);
    let planted = format!(
        "INSERT INTO identities (customer_id, provider, subject, linked_at) \
         VALUES ('{0}', 'google', 'thief', now()), ('{0}', 'old', 'owner', now() - interval '2 days'); \
         INSERT INTO customer_identifiers (kind, value, customer_id) \
         VALUES ('social:google', 'thief', '{0}'), ('social:old', 'owner', '{0}')",
        guarded.shopper.id
    );
    shop.database.execute(&planted).await;
    undo(&node, &way_back).await.expect(204);
    for table in ["customer_totp", "backup_codes", "passwords"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(shop.database.count(&rows).await, 0, "{table}");
    }
    let left = "SELECT provider FROM identities";
    assert_eq!(shop.database.column(left).await, ["old"], "older ones are the owner's");
    let left = "SELECT kind FROM customer_identifiers WHERE kind LIKE 'social:%'";
    assert_eq!(shop.database.column(left).await, ["social:old"]);
    let token = mail(&shop, &shopper.email, "email_change_undone").await.token();
    reset(&node, &token).await;
    let again = sign_in(&node, &shopper.email, NEW_PASSWORD).await.expect(200);
    assert!(again.json()["access_token"].is_string(), "no second factor is asked for");
    let messages = shop.messages(&shopper.id).await;
    for kind in ["customer.identity_unlinked", "customer.mfa_changed", "customer.password_changed"]
    {
        assert!(messages.contains(&kind.to_owned()), "{kind}: {messages:?}");
    }
}

/// Changing twice does not get rid of the first way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_the_first_way_back_outlives_a_second_change() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let (second, third) = (address(), address());
    let way_back = change(&shop, &node, &shopper, &second).await;
    ask(&node, &shopper, &third).await.expect(202);
    let token = mail(&shop, &third, "change_email").await.token();
    confirm(&node, &token).await.expect(204);
    mail(&shop, &second, "email_changed_again").await;
    undo(&node, &way_back).await.expect(204);
    let token = mail(&shop, &shopper.email, "email_change_undone").await.token();
    reset(&node, &token).await;
    let again = Shopper::of(&shopper.email, &sign_in(&node, &shopper.email, NEW_PASSWORD).await);
    assert_eq!(shown(&node, &again).await, shopper.email);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_an_address_given_up_stays_its_owners_for_72_hours() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (shopper, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    let way_back = change(&shop, &node, &shopper, &address()).await;
    let old = &shopper.email;
    let free = register(&node, &address()).await.expect(202);
    let held = register(&node, old).await.expect(202);
    assert_eq!(held.text(), free.text());
    let answer = ask(&node, &other, old).await.expect(202);
    assert_eq!(answer.json()["status"], "confirmation_sent");
    let resent = node.post("/v1/auth/email/resend", json!({ "email": old })).send().await;
    resent.expect(202);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let letters = kinds(&shop, old);
    assert_eq!(letters, ["verify_email", "change_email_requested", "email_changed"]);
    let customers = format!("SELECT count(*) FROM customers WHERE email = '{old}'");
    assert_eq!(shop.database.count(&customers).await, 0);
    // its owner may go back to it, by asking or by the link
    let janitor = || crate::janitor::janitor(&shop.database);
    let rows = format!("SELECT count(*) FROM customer_identifiers WHERE value = '{old}'");
    janitor().clean().await.unwrap();
    assert_eq!(shop.database.count(&rows).await, 1);
    // time over: the janitor frees it, the link is no good, and anybody may register
    let over = format!(
        "UPDATE customer_identifiers SET held_until = now() - interval '1 second' WHERE value = '{old}'; \
         UPDATE one_time_tokens SET created_at = created_at - interval '73 hours', \
         expires_at = expires_at - interval '73 hours' WHERE purpose = 'undo_email_change'"
    );
    shop.database.execute(&over).await;
    undo(&node, &way_back).await.problem(422, "token_invalid");
    janitor().clean().await.unwrap();
    assert_eq!(shop.database.count(&rows).await, 0);
    register(&node, old).await.expect(202);
    eventually("the address is somebody's again", std::time::Duration::from_secs(20), async || {
        (kinds(&shop, old).iter().filter(|kind| *kind == "verify_email").count() == 2).then_some(())
    })
    .await;
}

/// Also before the janitor came by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_its_owner_gets_an_address_back_at_any_time() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let mut shopper = Shopper::new(&shop, &node).await;
    let (first, second) = (shopper.email.clone(), address());
    change(&shop, &node, &shopper, &second).await;
    shopper.email = second;
    ask(&node, &shopper, &first).await.expect(202);
    let token = mail(&shop, &first, "change_email").await.token();
    confirm(&node, &token).await.expect(204);
    assert_eq!(shown(&node, &shopper).await, first);
}
