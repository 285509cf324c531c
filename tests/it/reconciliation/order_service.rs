//! The kept facts against what the order service says now: what is missing or newer is recorded as if
//! it had come as a message; what is malformed, older or not said at all changes nothing; and while
//! there is no answer nothing is done.

use customer_service::actors::reconciliation::Trouble;
use customer_service::actors::reconciliation::active::active_orders;
use customer_service::domain::CustomerId;
use customer_service::order_service::{OrderService, Settings};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

use super::{code, finished, lines, orderer, read, reconcile, runs};
use crate::harness::order_book::TOKEN;
use crate::harness::orders::fact;
use crate::harness::{Inside, OrderBook, Shop, eventually};
use crate::merge;
use crate::orders::differing;

async fn shop_of(book: &OrderBook, more: &[(&str, &str)]) -> Shop {
    let settings = book.settings();
    let settings = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Shop::configured(&settings.chain(more.iter().copied()).collect::<Vec<_>>()).await
}

/// `order version` of each order of a customer, by order.
async fn kept(shop: &Shop, customer: &str) -> Vec<String> {
    let sql = format!(
        "SELECT order_id || ' ' || version FROM order_facts WHERE customer_id = '{customer}' ORDER BY order_id"
    );
    shop.database.column(&sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_what_the_order_service_knows_better_is_recorded_and_reported() {
    let book = OrderBook::start().await;
    let shop = shop_of(&book, &[]).await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let (one, none) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
    for (order, version) in [("A", 1), ("B", 5), ("C", 2)] {
        assert!(door.record(read(&fact(order, &one, version, "placed"))).await.unwrap());
    }
    // A is newer, B older, C the same, D to H are missing (more than a page); what is kept and not
    // said stays.
    for (order, version, status) in
        [("A", 2, "completed"), ("B", 4, "cancelled"), ("C", 2, "placed")]
    {
        book.put(&fact(order, &one, version, status));
    }
    for order in ["D", "E", "F", "G", "H"] {
        book.put(&fact(order, &one, 1, "refunded"));
    }
    assert!(door.record(read(&fact("Z", &one, 1, "placed"))).await.unwrap());
    let look = reconcile(&shop, &["--orders", "--dry-run"]);
    assert_eq!(code(&look), 3, "{look:?}");
    assert_eq!(kept(&shop, &one).await, ["A 1", "B 5", "C 2", "Z 1"]);
    assert!(lines(&look).contains(&format!("{one}  A  version  1 should be 2")), "{look:?}");
    assert!(lines(&look).contains(&format!("{one}  D  version  nothing should be 1")), "{look:?}");

    let done = reconcile(&shop, &["--orders"]);
    assert_eq!(code(&done), 0, "{done:?}");
    let all = ["A 2", "B 5", "C 2", "D 1", "E 1", "F 1", "G 1", "H 1", "Z 1"];
    assert_eq!(kept(&shop, &one).await, all);
    assert_eq!(runs(&shop).await, ["order_service 2 6 6 0 t", "facts 1 0 0 0 t"]);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    let entries = "SELECT count(*) FROM audit_entries WHERE action = 'order.recorded' \
        AND actor_kind = 'service' AND request_id LIKE 'reconciliation:%'";
    assert_eq!(shop.database.count(entries).await, 6);
    assert!(book.asked().contains(&none));

    let again = reconcile(&shop, &["--orders"]);
    assert_eq!((code(&again), lines(&again).len()), (0, 2));
    let path = "/v1/admin/orders/reconciliations?limit=100";
    let list = node.get(path).bearer(&shop.staff_key).send().await.expect(200).json();
    let run = list["items"].as_array().unwrap().last().unwrap();
    assert_eq!(run["source"], "order_service");
    let path =
        format!("/v1/admin/orders/reconciliations/{}/differences", run["id"].as_str().unwrap());
    let found = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
    let first = &found["items"][0];
    assert_eq!((&first["order_id"], &first["currency"]), (&json!("A"), &Value::Null));
    assert_eq!((&first["kept"], &first["found"]), (&json!("1"), &json!("2")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_what_cannot_be_used_is_counted_and_spoils_nothing_else() {
    let book = OrderBook::start().await;
    let shop = shop_of(&book, &[]).await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let (one, other) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
    assert!(door.record(read(&fact("T", &other, 1, "placed"))).await.unwrap());
    book.put(&fact("A", &one, 1, "placed"));
    let mut negative = fact("B", &one, 1, "placed");
    negative["total"]["amount"] = json!(-5);
    for bad in [negative, json!({ "order_id": "C" }), json!("D"), fact("E", &other, 1, "placed")] {
        book.put_for(&one, bad);
    }
    // Another customer's order, by its own word: it is refused, and stays a difference.
    book.put(&fact("T", &one, 2, "completed"));
    let done = reconcile(&shop, &["--orders"]);
    assert_eq!(code(&done), 3, "{done:?}");
    assert_eq!(kept(&shop, &one).await, ["A 1"]);
    assert_eq!(kept(&shop, &other).await, ["T 1"]);
    assert_eq!(runs(&shop).await, ["order_service 2 2 1 4 t", "facts 2 0 0 0 t"]);
    let told = lines(&done);
    assert!(told.contains(&format!("{one}  T  version  1 should be 2  NOT REPAIRED")), "{told:#?}");
    assert!(
        told.iter().any(|line| line.ends_with("1 left, 4 facts that cannot be used")),
        "{told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_orders_of_who_was_merged_are_asked_for_and_kept_at_whom_it_became() {
    let book = OrderBook::start().await;
    let shop = shop_of(&book, &[]).await;
    let node = shop.node().await;
    let (from, into) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
    let gone = merge::made(&shop, &node).await;
    merge::merge(&shop, &node, &from, &into).await.expect(200);
    node.delete(&merge::path(&gone, "")).bearer(&shop.staff_key).send().await.expect(204);
    book.put(&fact("A", &from, 3, "completed"));
    book.put(&fact("B", &gone, 1, "completed"));
    assert_eq!(code(&reconcile(&shop, &["--orders"])), 0);
    assert_eq!(kept(&shop, &into).await, ["A 3"]);
    assert_eq!(kept(&shop, &gone).await, Vec::<String>::new());
    assert!(!book.asked().contains(&gone), "nothing is kept of who is gone");
    assert_eq!(code(&reconcile(&shop, &["--orders"])), 0);
    assert_eq!(runs(&shop).await[2], "order_service 2 0 0 0 t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_without_an_answer_nothing_is_done_until_there_is_one() {
    let mut book = OrderBook::start().await;
    let shop = shop_of(&book, &[]).await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let customer = orderer(&shop, &node, &door).await;
    let before = kept(&shop, &customer).await;
    book.put(&fact("N", &customer, 1, "placed"));
    let trouble = async || {
        let sql = "SELECT trouble FROM reconciliation_runs WHERE source = 'order_service' ORDER BY id DESC LIMIT 1";
        shop.database.one(sql).await
    };
    book.down().await;
    let done = reconcile(&shop, &["--orders"]);
    assert_eq!(code(&done), 1, "{done:?}");
    assert_eq!(trouble().await, "the order service cannot be asked: no connection");
    book.up().await;
    for (status, body, why) in [
        (404, "", "it does not know the address"),
        (401, "", "it refuses our token"),
        (500, "", "it answers with an error"),
        (200, "[]", "its answer is no page of orders"),
        (200, "{\"items\":[],\"next_cursor\":\"at-0\"}", "its pages do not end"),
    ] {
        book.answer(Some((status, body)));
        let done = reconcile(&shop, &["--orders"]);
        assert_eq!(code(&done), 1, "{done:?}");
        assert_eq!(trouble().await, format!("the order service cannot be asked: {why}"));
        let last = lines(&done);
        assert!(last[0].contains(why) && last[1].starts_with("facts  1 customers, 0"), "{last:?}");
    }
    assert_eq!(kept(&shop, &customer).await, before);
    book.answer(None);
    // The run that waits is gone on with.
    assert_eq!(code(&reconcile(&shop, &["--orders"])), 0);
    assert_eq!(kept(&shop, &customer).await.len(), before.len() + 1);
    let waiting: Vec<_> =
        runs(&shop).await.into_iter().filter(|run| run.starts_with("order_service")).collect();
    assert_eq!(waiting, ["order_service 1 1 1 0 t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_nodes_ask_the_order_service_and_bear_that_it_is_away() {
    let mut book = OrderBook::start().await;
    book.down().await;
    let shop = shop_of(&book, &[("ORDERS__RECONCILIATION__EVERY_HOURS", "1")]).await;
    let node = shop.node().await;
    let waits = "SELECT count(*) FROM reconciliation_runs WHERE source = 'order_service' AND trouble IS NOT NULL";
    // A new shop has nobody to ask for: the first runs are over at once.
    finished(&shop, 2).await;
    let customer = merge::made(&shop, &node).await;
    book.put(&fact("A", &customer, 1, "placed"));
    let later = "UPDATE reconciliation_runs SET started_at = started_at - interval '61 minutes'";
    shop.database.execute(later).await;
    eventually("it says what it waits for", Duration::from_secs(60), async || {
        (shop.database.count(waits).await == 1).then_some(())
    })
    .await;
    // Statistics wait for nobody.
    finished(&shop, 3).await;
    assert_eq!(kept(&shop, &customer).await, Vec::<String>::new());
    book.up().await;
    // A minute later, or at once by somebody else.
    let other = shop.node().await;
    drop(node);
    finished(&shop, 4).await;
    assert_eq!(kept(&shop, &customer).await, ["A 1"]);
    let told = other.metric_where("reconciliation_repaired_total", "order_service").await;
    assert_eq!(told, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_active_orders_are_the_order_services_word_where_it_can_be_asked() {
    let mut book = OrderBook::start().await;
    let shop = shop_of(&book, &[]).await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let customer = orderer(&shop, &node, &door).await;
    let database = shop.database.database();
    let whose = CustomerId(customer.parse().unwrap());
    let url = book.settings()[0].1.parse::<Url>().unwrap();
    let service = OrderService::new(Settings {
        url,
        token: Some(SecretString::from(TOKEN)),
        timeout: Duration::from_secs(5),
    })
    .unwrap();
    let ask = async |service: Option<&OrderService>| active_orders(&database, service, whose).await;
    assert_eq!(ask(None).await.unwrap(), 1, "of what is kept one is placed");
    assert_eq!(ask(Some(&service)).await.unwrap(), 0, "it has none");
    for n in 0..5 {
        book.put(&fact(&format!("P{n}"), &customer, 1, "placed"));
    }
    book.put(&fact("Q", &customer, 1, "completed"));
    assert_eq!(ask(Some(&service)).await.unwrap(), 5, "on two pages");
    book.put_for(&customer, json!({ "order_id": "R" }));
    assert!(matches!(ask(Some(&service)).await, Err(Trouble::Unreachable(_))), "one that is none");
    book.down().await;
    assert!(matches!(ask(Some(&service)).await, Err(Trouble::Unreachable(_))), "nobody knows");
}
