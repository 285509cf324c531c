//! What is no fact, or one that cannot be: dead letters with a reason, and the next good fact is taken.

use serde_json::{Value, json};

use super::{customer, is_kept, kept, recorded};
use crate::harness::amqp::{Properties, long, short};
use crate::harness::orders::{Dead, fact};
use crate::harness::{OrderService, Shop, eventually};

/// A message, what is said of it, and in which words its member is named.
struct Bad {
    routing_key: &'static str,
    body: Vec<u8>,
    reason: &'static str,
    detail: &'static str,
}

fn bad(fact: &Value, pointer: &str, value: Value, reason: &'static str) -> Bad {
    let mut body = fact.clone();
    *body.pointer_mut(pointer).unwrap() = value;
    let (routing_key, body) = ("order.placed", body.to_string().into_bytes());
    Bad { routing_key, body, reason, detail: "" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_what_nobody_can_use_is_a_dead_letter_with_the_reason_and_the_next_fact_is_taken() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let (one, other) = (customer(&shop).await, customer(&shop).await);
    recorded(&shop, &orders, &fact("HERS", &other, 1, "placed")).await;
    let good = fact("BAD", &one, 1, "placed");
    let raw = |routing_key, body: &[u8], reason, detail| Bad {
        routing_key,
        body: body.to_vec(),
        reason,
        detail,
    };
    let huge = format!("{{\"order_id\":\"{}\"}}", "x".repeat(10_000_000));
    let messages = [
        raw("order.placed", b"{\"order_id\": \"BA", "not_json", "body"),
        raw("order.placed", b"", "not_json", "body"),
        raw("order.placed", b"\xff\xfe\x00", "not_json", "body"),
        raw("order.placed", b"[1, 2]", "wrong_type", "body"),
        raw("order.placed", "[".repeat(200_000).as_bytes(), "not_json", "body"),
        bad(&good, "/version", json!("1"), "wrong_type"),
        bad(&good, "/total", json!("10 EUR"), "wrong_type"),
        bad(&good, "/items", json!({ "sku": "A" }), "wrong_type"),
        bad(&good, "/total/amount", json!(-1), "out_of_range"),
        bad(&good, "/version", json!(0), "out_of_range"),
        bad(&good, "/total/currency", json!("XXQ"), "unknown_currency"),
        bad(&good, "/status", json!("shipped"), "unknown_status"),
        bad(&good, "/customer_id", json!("ánh@shop.example"), "invalid_customer_id"),
        bad(&good, "/order_id", json!("HERS"), "order_of_another_customer"),
        raw("order.placed", huge.as_bytes(), "too_large", "262144"),
    ];
    for (number, message) in messages.iter().enumerate() {
        orders.publish(message.routing_key, &message.body).await;
        // Of the same customer, and after it.
        recorded(&shop, &orders, &fact(&format!("GOOD-{number}"), &one, 1, "placed")).await;
        let dead: Vec<Dead> = orders.dead_letters(1).await;
        let [letter] = &dead[..] else { panic!("{dead:?}") };
        assert_eq!(letter.reason, message.reason);
        assert!(letter.detail.contains(message.detail), "{}", letter.detail);
        assert!(!letter.detail.contains("ánh") && !letter.detail.contains("XXQ"));
        assert_eq!(letter.routing_key, message.routing_key);
        assert!(letter.body == message.body, "as it came");
        assert_eq!(letter.tries, 1);
    }
    assert_eq!(kept(&shop, "BAD").await, "");
    assert_eq!(kept(&shop, "HERS").await, format!("{other} 1 placed"));
    let counted = node.metric("order_facts_dead_letters_total").await;
    assert_eq!(counted, messages.len() as f64);
    assert_eq!(node.metric_where("order_facts_total", "\"recorded\"").await, 16.0);
    let parked = shop.database.count("SELECT count(*) FROM parked_order_facts").await;
    assert_eq!(parked, 0, "a dead letter is all there is");
    assert!(!node.log().contains("ánh@"), "no value of a message is logged");
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o1_what_is_known_or_older_changes_nothing_and_is_no_dead_letter() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let one = customer(&shop).await;
    recorded(&shop, &orders, &fact("A", &one, 7, "completed")).await;
    for version in [7, 6, 1] {
        orders.tell(&fact("A", &one, version, "placed")).await;
    }
    recorded(&shop, &orders, &fact("B", &one, 1, "placed")).await;
    assert_eq!(kept(&shop, "A").await, format!("{one} 7 completed"));
    assert_eq!(node.metric_where("order_facts_total", "\"known\"").await, 3.0);
    assert_eq!(orders.dead().await, []);
    let entries = shop.entries(&one).await;
    let recorded = entries.iter().filter(|action| *action == "order.recorded").count();
    assert_eq!(recorded, 2, "{entries:?}");
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_messages_of_the_order_service_do_not_come_and_stray_ones_are_dead_letters() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let one = customer(&shop).await;
    for key in ["order.shipped", "order.created", "order", "order.placed.eu"] {
        orders.publish(key, fact("S", &one, 1, "placed").to_string().as_bytes()).await;
    }
    recorded(&shop, &orders, &fact("A", &one, 1, "placed")).await;
    assert_eq!(orders.dead().await, []);
    // Written into the queue by its name, without any exchange of ours.
    let body = fact("S", &one, 1, "placed").to_string();
    orders.publish_to("", &orders.queue(), body.as_bytes()).await;
    recorded(&shop, &orders, &fact("B", &one, 1, "placed")).await;
    let dead = orders.dead_letters(1).await;
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "unknown_type"));
    assert_eq!(kept(&shop, "S").await, "");
    drop(node);
    orders.close().await;
}

/// The broker has lost everything, as one that was set up anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_gone_is_declared_again() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let one = customer(&shop).await;
    recorded(&shop, &orders, &fact("A", &one, 1, "placed")).await;
    orders.forget().await;
    super::eventually("the queue is read again", super::PATIENCE, async || {
        orders.readers().await.filter(|readers| *readers > 0)
    })
    .await;
    recorded(&shop, &orders, &fact("B", &one, 1, "placed")).await;
    orders.publish("order.placed", b"no fact").await;
    assert_eq!(orders.dead_letters(1).await[0].reason, "not_json");
    let actors = node.get("/ops/actors").bearer(&shop.staff_key).send().await.expect(200);
    assert!(actors.text().contains("order_intake"), "{}", actors.text());
    orders.close().await;
}

/// What somebody deletes beside the living queue is missed by nobody: the reader goes on reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_is_gone_beside_its_queue_is_declared_again() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let one = customer(&shop).await;
    recorded(&shop, &orders, &fact("A", &one, 1, "placed")).await;
    orders.forget_exchange().await;
    // What is published before the bindings are back goes nowhere.
    let news = fact("B", &one, 1, "placed");
    eventually("its exchange is bound again", super::PATIENCE * 2, async || {
        orders.tell(&news).await;
        (!kept(&shop, "B").await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(node.metric("order_intake_paused").await, 0.0);
    assert_eq!(orders.readers().await, Some(1), "it was read all the time");
    orders.close().await;
}

/// To RabbitMQ the texts of a message are bytes. The client library cannot read some of them, and
/// would give its connection up over the same message again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_message_whose_properties_are_no_text_is_taken_by_its_body() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let one = customer(&shop).await;
    recorded(&shop, &orders, &fact("A", &one, 1, "placed")).await;
    // A name of a header, a type and a name of the message in Latin-1.
    let table = [&short(b"gr\xfc\xdfe")[..], b"S", &long(b"hello")].concat();
    for (order, flags, values) in [
        ("B", 1 << 13, long(&table)),
        ("C", 1 << 5, short(b"bestellung f\xfcr")),
        ("D", 1 << 7, short(b"\xff\xfe")),
    ] {
        let body = fact(order, &one, 1, "placed").to_string();
        let properties = Properties { flags, values };
        orders.publish_by_hand("order.placed", &properties, body.as_bytes()).await;
        is_kept(&shop, &fact(order, &one, 1, "placed")).await;
    }
    orders
        .publish_with_key(b"order.\xe9", fact("E", &one, 1, "placed").to_string().as_bytes())
        .await;
    let dead = orders.dead_letters(1).await;
    assert_eq!(
        (dead[0].reason.as_str(), dead[0].routing_key.as_str()),
        ("unknown_type", "order.?")
    );
    recorded(&shop, &orders, &fact("F", &one, 1, "placed")).await;
    super::drained(&orders).await;
    assert_eq!(node.metric("order_intake_paused").await, 0.0);
    assert_eq!(node.metric("order_facts_retries_total").await, 0.0, "no connection was lost");
    orders.close().await;
}
