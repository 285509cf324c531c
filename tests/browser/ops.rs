//! An operator's stories: signing in, a worker that fails and recovers, a pause, a dead letter, a broker
//! that is away, a node that freezes, a phone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use customer_service::clock::{Clock as _, SystemClock};
use customer_service::domain::CustomerId;
use customer_service::domain::shard::of_customer;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::driver::{Browser, DESK, ENTER, ESCAPE, PHONE, Screen, TAB};
use crate::harness::shopper::{address, register};
use crate::harness::{Node, Shop, Shopper, eventually};
use crate::looks::{assert_sound, focus};

/// One browser at a time: two on two cores are slower than one after the other.
static TURN: Mutex<()> = Mutex::const_new(());

const STATUS: &str = "#status";

/// Opens the page and enters a key as a person does.
async fn sign_in(node: &Node, key: &str, screen: Screen) -> Browser {
    let browser = Browser::start(screen).await;
    browser.open(&format!("{}/ops", node.base())).await;
    browser.fill("#key", key).await;
    browser.press(ENTER).await;
    browser
        .until(STATUS, "a state", |text| text.contains("ready") || text.contains("degraded"))
        .await;
    browser
}

/// The card of an actor or a section.
fn card(key: &str) -> String {
    format!(".card[data-key='{key}']")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_signs_in_and_sees_a_worker_fail_and_recover() {
    let _turn = TURN.lock().await;
    let shop = Shop::new().await;
    let crash = "mailer.claimed=2*panic(made by a test)";
    let node = shop.node_with(&[("FAILPOINTS", crash)]).await;
    let (_, key) = shop.key("ops:read,ops:write");

    let browser = Browser::start(DESK).await;
    browser.open(&format!("{}/ops", node.base())).await;
    assert_sound(&browser, "the entrance").await;
    browser.fill("#key", "csk_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbb").await;
    browser.press(ENTER).await;
    browser.shows(STATUS, "this key is not known").await;
    browser.fill("#key", &shop.key("keys:write").1).await;
    browser.press(ENTER).await;
    browser.shows(STATUS, "lacks the scope ops:read").await;
    browser.complaints().await;
    browser.fill("#key", &key).await;
    browser.press(ENTER).await;
    browser.shows(STATUS, "ready").await;
    assert_eq!(browser.run("return document.getElementById('key').value").await, "");
    assert_eq!(browser.run("return localStorage.length + document.cookie.length").await, 0);

    register(&node, &address()).await.expect(202);
    let mailer = card("mailer");
    browser.shows(&mailer, "a run panicked").await;
    browser.shows("#trouble", "mailer: failed within the last minute").await;
    browser.until(&mailer, "one panic", |text| text.contains("restarts, panics\n1, 1")).await;
    register(&node, &address()).await.expect(202);
    browser.until(&mailer, "two panics", |text| text.contains("restarts, panics\n2, 2")).await;
    browser.keep("crashing-worker").await;
    // It came back by itself, and the next mail goes out.
    register(&node, &address()).await.expect(202);
    browser
        .until("#waiting", "a mail was sent", |text| text.contains("sent, last minute\n1"))
        .await;
    browser.until(&mailer, "it runs", |text| text.contains("running")).await;
    assert_sound(&browser, "the board").await;

    // More of it, and what it is told to do there.
    browser.click(&format!("{mailer} a")).await;
    browser.shows("#h-actor", "mailer: running").await;
    browser.shows("#actor-error", "a run panicked").await;
    browser.click("#restart").await;
    browser.shows("#sure-text", "A run under way is cut off").await;
    browser.keep("restart-a-worker").await;
    assert_sound(&browser, "the question").await;
    browser.click("#sure-no").await;
    browser.click("#restart").await;
    browser.click("#sure-yes").await;
    browser.shows("#actor-said", "It was restarted.").await;
    browser
        .until("#actor-all", "the next incarnation", |text| text.contains("incarnation\n2"))
        .await;
    let deeds = "SELECT count(*) FROM audit_entries WHERE action = 'actor.restarted'";
    assert_eq!(shop.database.count(deeds).await, 1, "asked twice, sure once");
    assert_sound(&browser, "an actor").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_paused_and_resumed_by_the_keyboard_alone() {
    let _turn = TURN.lock().await;
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (id, key) = shop.key("ops:read,ops:write");
    let browser = sign_in(&node, &key, DESK).await;
    browser.run("location.hash = '#/actor/mailer'").await;
    browser.shows("#h-actor", "mailer: running").await;
    assert_eq!(focus(&browser).await, "h-actor", "who goes there is there");
    browser.press(TAB).await;
    assert_eq!(focus(&browser).await, "restart");
    browser.press(TAB).await;
    assert_eq!(focus(&browser).await, "minutes");
    browser.press(TAB).await;
    browser.press(ENTER).await;
    browser.shows("#sure-title", "Pause mailer?").await;
    assert_eq!(focus(&browser).await, "sure-no", "nothing is done by mistake");
    browser.press(ESCAPE).await;
    browser.until("#sure", "nothing", str::is_empty).await;
    assert_eq!(focus(&browser).await, "pause", "back where one was");
    browser.press(ENTER).await;
    browser.press(TAB).await;
    browser.press(ENTER).await;
    browser.shows("#actor-said", "It rests.").await;
    browser.shows("#actor-pause", &format!("Paused by key {id}")).await;
    browser.shows("#h-actor", "mailer: paused").await;
    assert_eq!(focus(&browser).await, "pause", "a second later, too");
    browser.keep("paused-worker").await;
    register(&node, &address()).await.expect(202);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM mails WHERE sent_at IS NULL").await, 1);
    browser.press(TAB).await;
    assert_eq!(focus(&browser).await, "resume");
    browser.press(ENTER).await;
    browser.press(TAB).await;
    browser.press(ENTER).await;
    browser.shows("#actor-said", "It goes on.").await;
    browser.shows("#h-actor", "mailer: running").await;
    eventually("the mail is sent", Duration::from_secs(20), async || {
        let waits = shop.database.count("SELECT count(*) FROM mails WHERE sent_at IS NULL").await;
        (waits == 0).then_some(())
    })
    .await;
    // What may not rest says why, and what to do.
    browser.run("location.hash = '#/actor/revocation_watch'").await;
    browser.shows("#h-actor", "revocation_watch").await;
    browser.click("#pause").await;
    browser.click("#sure-yes").await;
    browser.shows("#actor-said", "Restart it instead").await;
    browser.close().await;
}

/// A message that waits for staff, as a relay leaves it.
async fn parked(shop: &Shop) -> (Uuid, Uuid) {
    let (customer, id) = (SystemClock.new_id(), SystemClock.new_id());
    let shard = of_customer(CustomerId(customer));
    let insert = format!(
        "INSERT INTO outbox_parked (id, shard, seq, customer_id, customer_sequence, kind, occurred_at, \
         data, state, reason, tries, parked_at) VALUES ('{id}', {shard}, nextval('outbox_seq'), \
         '{customer}', 1, 'customer.updated', now(), '{{}}', 'parked', 'refused', 3, now())"
    );
    shop.database.execute(&insert).await;
    (customer, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_replayed_and_its_customer_looked_at() {
    let _turn = TURN.lock().await;
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let (customer, message) = parked(&shop).await;
    let node = shop.node().await;
    let browser = sign_in(&node, &shop.key("ops:read,ops:write").1, DESK).await;
    browser.shows("#letters", "somebody should look").await;
    browser.click("#letters-show").await;
    browser.shows("#letters-list", &message.to_string()).await;
    browser.click("#letters-list button").await;
    browser.shows("#sure-text", &message.to_string()).await;
    browser.click("#sure-yes").await;
    browser.shows("#letters-said", "Released").await;
    consumer.kinds(&customer.to_string(), 1).await;
    browser.until("#letters .cards", "none waits", |text| text.contains("wait for staff\n0")).await;
    // The key may not read the trail: the page says which scope it lacks.
    browser.run(&format!("location.hash = '#/customer/{customer}'")).await;
    browser.shows("#timeline-said", "audit:read").await;
    browser.complaints().await;
    browser.run("location.hash = '#/'").await;
    browser.click("#leave").await;
    let (_, key) = shop.key("ops:read,audit:read");
    browser.fill("#key", &key).await;
    browser.press(ENTER).await;
    browser.fill("#customer", &customer.to_string()).await;
    browser.press(ENTER).await;
    browser.shows("#moments", "message.replayed by staff").await;
    assert_sound(&browser, "a timeline").await;
    // What it may not do says so, too.
    browser.run("location.hash = '#/actor/mailer'").await;
    browser.click("#restart").await;
    browser.click("#sure-yes").await;
    browser.shows("#actor-said", "ops:write").await;
    browser.close().await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_and_a_node_that_freezes_are_seen() {
    let _turn = TURN.lock().await;
    let away = "amqp://nobody:nothing@127.0.0.1:9/%2f";
    let shop = Shop::configured(&[("RABBIT__URL", away)]).await;
    let node = shop.node().await;
    let browser = sign_in(&node, &shop.staff_key, DESK).await;
    Shopper::new(&shop, &node).await;
    browser.shows(STATUS, "degraded").await;
    browser.shows(&card("rabbit"), "Without it: messages wait in the outbox").await;
    browser.shows(&card("outbox_relay"), "ago)").await;
    let lag = |text: &str| {
        let after = text.split("lag of the installation\n").nth(1).unwrap_or_default();
        after.starts_with(|c: char| c.is_ascii_digit()) && !after.starts_with("0 ")
    };
    browser.until("#outbox", "a lag", lag).await;
    browser.keep("broker-away").await;
    assert_sound(&browser, "degraded").await;
    node.signal("STOP");
    browser.until("#stale", "its age", |text| text.contains("4 s old")).await;
    browser.keep("frozen-node").await;
    assert_sound(&browser, "frozen").await;
    node.signal("CONT");
    browser.until("#stale", "nothing", str::is_empty).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_the_hottest_shards_are_named_on_any_screen() {
    let _turn = TURN.lock().await;
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let ended = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (shopper, node, ended) = (shopper.clone(), node.api(), ended.clone());
        async move {
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let body = json!({ "first_name": format!("Ánh {number}") });
                shopper.patch(&node, "/v1/me", body).send().await;
                if number % 3 == 0 {
                    register(&node, &address()).await;
                }
            }
        }
    });
    let browser = sign_in(&node, &shop.staff_key, DESK).await;
    let shard = of_customer(CustomerId(shopper.id.parse().unwrap()));
    browser.shows("#hottest", &format!("Hottest: shard {shard} on customers-")).await;
    let hot = "return document.querySelectorAll('#heat .heat-5').length";
    assert!(browser.run(hot).await.as_u64().unwrap() >= 1);
    browser
        .until("#hour", "changes a second", |text| {
            let after = text.split("Changes / s\n").nth(1).unwrap_or_default();
            after.starts_with(|c: char| ('1'..='9').contains(&c))
        })
        .await;
    browser
        .until("[data-key=admission]", "changes let in", |text| {
            let after = text.split("writes\n").nth(1).unwrap_or_default();
            after.starts_with(|c: char| ('1'..='9').contains(&c)) && after.contains(", refused 0")
        })
        .await;
    browser.keep("under-load").await;
    for (name, screen) in [
        ("phone", PHONE),
        ("phone-dark", Screen { dark: true, ..PHONE }),
        ("under-load-dark", Screen { dark: true, ..DESK }),
    ] {
        browser.turn(screen).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        browser.keep(name).await;
        assert_sound(&browser, name).await;
    }
    browser.turn(PHONE).await;
    browser.run("location.hash = '#/actor/customers-0'").await;
    browser.shows("#h-actor", "customers-0: running").await;
    browser.keep("phone-actor").await;
    assert_sound(&browser, "an actor on a phone").await;
    ended.store(true, Ordering::Relaxed);
    load.await.unwrap();
    browser.close().await;
}
