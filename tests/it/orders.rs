//! What the order service says of orders (rules O1, O2, L10): exact statistics whatever the order of
//! arrival, by many writers at once; merges; who may read; and that no statement reads a table whole.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use customer_service::actors::customers::SubmitError;
use customer_service::clock::{Clock, SystemClock};
use customer_service::db;
use customer_service::db::statements::{FindOrderItems, FindOrderStatistics};
use customer_service::domain::order::{OrderFact, OrderId};
use customer_service::domain::outcome::Rejection;
use diesel::debug_query;
use diesel::pg::Pg;
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use crate::harness::db::TestDatabase;
use crate::harness::{Api, Inside, Shop, Shopper, checker};
use crate::merge;

/// A fact of an order placed on this day of March, of 1,000 dong.
fn fact(customer: &str, order: &str, version: i64, status: &str, day: u32) -> Value {
    json!({
        "order_id": order,
        "customer_id": customer,
        "version": version,
        "status": status,
        "placed_at": format!("2026-03-{day:02}T10:00:00Z"),
        "total": { "amount": 1_000, "currency": "VND" },
        "items": [{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 2 }],
    })
}

fn read(fact: &Value) -> OrderFact {
    OrderFact::parse(fact.to_string().as_bytes()).unwrap()
}

/// A fact of some order of a customer's, for tests of what follows.
pub async fn heard(shop: &Shop, customer: &str) {
    let door = Inside::open(&shop.database, 64).await;
    assert!(door.record(read(&fact(customer, "ORD-7", 1, "placed", 1))).await.unwrap());
}

/// The same, in another currency.
pub async fn heard_in(shop: &Shop, customer: &str, currency: &str) {
    let door = Inside::open(&shop.database, 64).await;
    let mut fact = fact(customer, &format!("ORD-{currency}"), 1, "placed", 1);
    fact["total"]["currency"] = json!(currency);
    assert!(door.record(read(&fact)).await.unwrap());
}

async fn staffs(shop: &Shop, node: &Api, customer: &str, part: &str) -> Value {
    let path = merge::path(customer, part);
    node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json()
}

/// Whose statistics are not what the facts come to, with both.
pub async fn differing(database: &TestDatabase) -> Vec<String> {
    let sql = "WITH counted AS (SELECT customer_id, currency, \
            count(*) FILTER (WHERE status = 'placed') AS placed, \
            count(*) FILTER (WHERE status = 'completed') AS completed, \
            count(*) FILTER (WHERE status = 'cancelled') AS cancelled, \
            count(*) FILTER (WHERE status = 'refunded') AS refunded, \
            coalesce(sum(greatest(total_amount - refunded_amount, 0)) FILTER (WHERE status <> 'cancelled'), 0) AS spent, \
            coalesce(sum(least(refunded_amount, total_amount)) FILTER (WHERE status <> 'cancelled'), 0) AS paid_back, \
            min(placed_at) FILTER (WHERE status <> 'cancelled') AS first, \
            max(placed_at) FILTER (WHERE status <> 'cancelled') AS last \
            FROM order_facts GROUP BY 1, 2), \
        kept AS (SELECT customer_id, currency, placed, completed, cancelled, refunded, spent_amount, refunded_amount, \
            first_order_at, last_order_at FROM order_statistics WHERE placed + completed + cancelled + refunded > 0) \
        SELECT counted::text || ' is kept as ' || kept::text FROM counted FULL JOIN kept USING (customer_id, currency) \
        WHERE (counted.placed, counted.completed, counted.cancelled, counted.refunded, counted.spent, \
               counted.paid_back, counted.first, counted.last) \
          IS DISTINCT FROM (kept.placed, kept.completed, kept.cancelled, kept.refunded, kept.spent_amount, \
               kept.refunded_amount, kept.first_order_at, kept.last_order_at)";
    database.rows(sql).await.into_iter().map(|row| format!("{row:?}")).collect()
}

// --- read -------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_facts_are_counted_and_shown_to_their_owner_and_to_staff() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let stats = "/v1/me/stats";
    let none = shopper.get(&node, stats).send().await.expect(200);
    assert_eq!((none.version(), none.json()), (0, json!({ "items": [], "version": 0 })));
    let door = Inside::open(&shop.database, 64).await;
    let mut refunded = fact(&shopper.id, "ORD-3", 2, "refunded", 9);
    refunded["refunded"] = json!({ "amount": 400, "currency": "VND" });
    let mut abroad = fact(&shopper.id, "ORD-5", 1, "completed", 4);
    abroad["total"] = json!({ "amount": 55, "currency": "EUR" });
    for fact in [
        fact(&shopper.id, "ORD-1", 1, "placed", 2),
        fact(&shopper.id, "ORD-2", 7, "completed", 3),
        refunded,
        fact(&shopper.id, "ORD-4", 1, "cancelled", 1),
        abroad,
    ] {
        assert!(door.record(read(&fact)).await.unwrap());
    }
    let late = fact(&shopper.id, "ORD-3", 1, "placed", 8);
    assert!(!door.record(read(&late)).await.unwrap(), "known better already");
    let seen = shopper.get(&node, stats).send().await.expect(200);
    let body = seen.json();
    assert_eq!(seen.version(), 5);
    assert_eq!(body["items"][0]["currency"], "EUR");
    let dong = &body["items"][1];
    assert_eq!(dong["number_of_orders"], 3);
    let counts = json!({ "placed": 1, "completed": 1, "cancelled": 1, "refunded": 1 });
    assert_eq!(dong["orders"], counts);
    let money = |amount: i64| json!({ "amount": amount, "currency": "VND" });
    assert_eq!(
        (&dong["spent"], &dong["refunded"], &dong["average"]),
        (&money(2_600), &money(400), &money(867))
    );
    assert_eq!(dong["first_order_at"], "2026-03-02T10:00:00Z");
    assert_eq!(dong["last_order_at"], "2026-03-09T10:00:00Z");
    let known = shopper.get(&node, stats).header("if-none-match", "\"5\"");
    known.send().await.expect(304);
    assert_eq!(staffs(&shop, &node, &shopper.id, "/stats").await, body);
    let whole = staffs(&shop, &node, &shopper.id, "?expand=stats").await;
    assert_eq!(whole["stats"], body);

    let page = staffs(&shop, &node, &shopper.id, "/orders?limit=3").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = staffs(&shop, &node, &shopper.id, &format!("/orders?limit=3&cursor={cursor}")).await;
    let orders: Vec<&Value> =
        [&page, &rest].into_iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    let ids: Vec<_> = orders.iter().map(|order| order["order_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-5"]);
    assert_eq!((&orders[2]["status"], &orders[2]["version"]), (&json!("refunded"), &json!(2)));
    assert_eq!((&orders[2]["total"], &orders[2]["refunded"]), (&money(1_000), &money(400)));
    let items = json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 2 }]);
    assert!(orders.iter().all(|order| order["items"] == items && rest["next_cursor"].is_null()));
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.iter().filter(|kind| *kind == "statistics.updated").count(), 5);
    let more = "SELECT count(*) FROM outbox_events WHERE kind = 'statistics.updated' AND data - \
        ARRAY['customer_id', 'order_id', 'currency', 'changed', 'cause', 'version'] <> '{}'";
    assert_eq!(shop.database.count(more).await, 0, "names, and no amounts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_those_of_the_newest_version() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let customer = merge::made(&shop, &node).await;
    let door = Inside::open(&shop.database, 64).await;
    for (version, items) in [
        (1, json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 2 }])),
        (2, json!([{ "sku": "B", "quantity": 3 }, { "sku": "C", "quantity": 1 }])),
        (3, json!([{ "sku": "B", "quantity": 3 }, { "sku": "C", "quantity": 1 }])),
        (4, json!([])),
        (5, json!([{ "sku": "A", "quantity": 1 }])),
    ] {
        let mut fact = fact(&customer, "ORD-1", version, "placed", 1);
        fact["items"] = items.clone();
        assert!(door.record(read(&fact)).await.unwrap());
        let kept = staffs(&shop, &node, &customer, "/orders").await;
        assert_eq!(kept["items"][0]["items"], items, "version {version}");
    }
}

// --- many at once -----------------------------------------------------------------------------

const CUSTOMERS: usize = 5;
const ORDERS: usize = 40;
const VERSIONS: i64 = 6;
const WRITERS: usize = 64;

/// Some versions of an order, made from its number alone: dated anew, refunded, cancelled, once in
/// another currency.
fn history(customer: &str, order: usize) -> Vec<Value> {
    let mut digits = order * 7_919 + 13;
    let mut next = |below: usize| {
        digits =
            digits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (digits >> 33) % below
    };
    let versions = (1..=VERSIONS).map(|version| {
        let status = ["placed", "completed", "cancelled", "refunded"][next(4)];
        let name = format!("{customer}/{order}");
        let mut fact = fact(customer, &name[24..], version, status, 1 + next(28) as u32);
        let currency = if next(5) == 0 { "EUR" } else { "VND" };
        fact["total"] = json!({ "amount": next(9_000), "currency": currency });
        fact["refunded"] = json!({ "amount": next(9_000), "currency": currency });
        fact["items"] = json!([{ "sku": format!("S{}", next(3)), "quantity": 1 + next(4) }]);
        fact
    });
    versions.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o1_many_writers_of_shuffled_facts_come_to_the_sums() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let consumer = shop.consumer().await;
    let mut customers = Vec::new();
    for _ in 0..CUSTOMERS {
        customers.push(merge::made(&shop, &node).await);
    }
    // Each fact three times, dealt to the writers by lot.
    let mut lots = vec![Vec::new(); WRITERS];
    for customer in &customers {
        for order in 0..ORDERS {
            for fact in history(customer, order).iter().cycle().take(3 * VERSIONS as usize) {
                let lot = SystemClock.new_id().as_u128() as usize % WRITERS;
                let place = SystemClock.new_id().as_u128() as usize % (lots[lot].len() + 1);
                lots[lot].insert(place, read(fact));
            }
        }
    }
    // As on two nodes, so that only the database keeps them apart; small batches and large ones.
    let doors = [Inside::open(&shop.database, 7).await, Inside::open(&shop.database, 100).await];
    let writing = lots.into_iter().enumerate().map(|(n, lot)| {
        let door = &doors[n % 2];
        async move {
            let mut news = 0;
            for fact in lot {
                news += usize::from(door.record(fact).await.unwrap());
            }
            news
        }
    });
    let news: usize = futures_util::future::join_all(writing).await.into_iter().sum();
    let count = |sql: &'static str| shop.database.count(sql);
    assert_eq!(count("SELECT count(*) FROM order_facts").await, (CUSTOMERS * ORDERS) as i64);
    let newest = format!("SELECT count(*) FROM order_facts WHERE version = {VERSIONS}");
    assert_eq!(shop.database.count(&newest).await, (CUSTOMERS * ORDERS) as i64);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    let items = "SELECT count(*) FROM order_items";
    assert_eq!(count(items).await, (CUSTOMERS * ORDERS) as i64, "of one version each");
    // What was news was recorded once, and told where it changed a number, in each currency.
    let recorded = "SELECT count(*) FROM audit_entries WHERE action = 'order.recorded'";
    assert_eq!(count(recorded).await, news as i64);
    let told = "SELECT count(*) FROM outbox_events WHERE kind = 'statistics.updated'";
    let versions = "SELECT sum(version) FROM order_statistics";
    assert_eq!(count(told).await, count(versions).await, "a message for each version");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM outbox_events WHERE kind = 'statistics.updated' \
        GROUP BY customer_id, data->>'currency', data->>'version' HAVING count(*) > 1) AS twice";
    assert_eq!(count(twice).await, 0);
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(30)).await;
    consumer.close().await;
}

// --- whose ------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_nobody_of_the_deleted_and_of_others_are_refused_and_change_nothing() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let refusal = async |fact: &Value| match door.record(read(fact)).await {
        Err(SubmitError::Rejected(rejection)) => rejection,
        other => panic!("{other:?}"),
    };
    let nobody = fact(&Uuid::from_u128(7).to_string(), "ORD-1", 1, "placed", 1);
    assert_eq!(refusal(&nobody).await, Rejection::NotFound);
    let (one, other) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
    assert!(door.record(read(&fact(&one, "ORD-1", 1, "placed", 1))).await.unwrap());
    let taken = fact(&other, "ORD-1", 2, "placed", 1);
    assert_eq!(refusal(&taken).await, Rejection::OrderOfAnotherCustomer);
    // Two customers' first facts of one order at once: one of them has it.
    for n in 0..20 {
        let name = format!("ORD-{}", 100 + n);
        let (a, b) = (fact(&one, &name, 1, "placed", 1), fact(&other, &name, 1, "placed", 1));
        let (a, b) = tokio::join!(door.record(read(&a)), door.record(read(&b)));
        let refused = Err(SubmitError::Rejected(Rejection::OrderOfAnotherCustomer));
        assert!((a == Ok(true) && b == refused) || (a == refused && b == Ok(true)), "{a:?} {b:?}");
    }
    let gone = merge::path(&one, "");
    node.delete(&gone).bearer(&shop.staff_key).send().await.expect(204);
    let late = fact(&one, "ORD-1", 2, "completed", 1);
    assert_eq!(refusal(&late).await, Rejection::CustomerGone);
    let kept = format!("SELECT count(*) FROM order_facts WHERE customer_id = '{one}'");
    assert!(shop.database.count(&kept).await >= 1, "until the person is erased");
    node.get(&merge::path(&one, "/stats")).bearer(&shop.staff_key).send().await.expect(404);
    node.get(&merge::path(&one, "/orders")).bearer(&shop.staff_key).send().await.expect(404);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_orders_move_with_their_customer_and_so_do_facts_that_come_later() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let mut people = Vec::new();
    for _ in 0..3 {
        people.push(merge::made(&shop, &node).await);
    }
    let [first, second, last] = &people[..] else { unreachable!() };
    for (customer, order, status, day) in [
        (first, "ORD-1", "placed", 1),
        (first, "ORD-2", "completed", 20),
        (second, "ORD-3", "completed", 10),
        (last, "ORD-4", "cancelled", 28),
    ] {
        assert!(door.record(read(&fact(customer, order, 1, status, day))).await.unwrap());
    }
    let ask = json!({ "from": first, "into": second, "dry_run": true });
    let route = "/v1/admin/customers/merge";
    let preview = node.post(route, ask).bearer(&shop.staff_key).send().await.expect(200).json();
    assert_eq!(preview["moved"]["orders"], 2);
    let untouched = format!("SELECT count(*) FROM order_facts WHERE customer_id = '{first}'");
    assert_eq!(shop.database.count(&untouched).await, 2, "a preview moves nothing");
    let done = merge::merge(&shop, &node, first, second).await.expect(200).json();
    assert_eq!(done["moved"]["orders"], 2);
    assert_eq!(merge::remains(&shop, first).await, 0);
    merge::merge(&shop, &node, second, last).await.expect(200);
    let stats = staffs(&shop, &node, last, "/stats").await;
    let dong = &stats["items"][0];
    let counts = json!({ "placed": 1, "completed": 2, "cancelled": 1, "refunded": 0 });
    assert_eq!((&dong["orders"], &dong["spent"]["amount"]), (&counts, &json!(3_000)));
    assert_eq!(dong["first_order_at"], "2026-03-01T10:00:00Z");
    assert_eq!(dong["last_order_at"], "2026-03-20T10:00:00Z");
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    // The order service goes on to name whom it knows.
    assert!(door.record(read(&fact(first, "ORD-1", 2, "cancelled", 1))).await.unwrap());
    assert!(door.record(read(&fact(first, "ORD-9", 1, "placed", 2))).await.unwrap());
    assert!(!door.record(read(&fact(second, "ORD-9", 1, "placed", 2))).await.unwrap());
    assert!(door.record(read(&fact(last, "ORD-2", 2, "refunded", 20))).await.unwrap());
    let dong = &staffs(&shop, &node, last, "/stats").await["items"][0];
    let counts = json!({ "placed": 1, "completed": 1, "cancelled": 2, "refunded": 1 });
    assert_eq!(dong["orders"], counts);
    assert_eq!(dong["first_order_at"], "2026-03-02T10:00:00Z");
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    let items = format!("SELECT count(*) FROM order_items WHERE customer_id = '{last}'");
    assert_eq!(shop.database.count(&items).await, 10, "with what was ordered");
    let entries: BTreeSet<String> = shop.entries(last).await.into_iter().collect();
    assert!(entries.contains("statistics.updated") && entries.contains("order.recorded"));
}

/// Whom a fact names, and whom that one becomes while it is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_no_fact_is_lost_between_two_customers_that_become_one() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 16).await;
    for round in 0..5 {
        let (from, into) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
        let facts = (0..80).map(|n| {
            let (whose, order) = if n < 60 { (&from, n % 20) } else { (&into, n) };
            let order = format!("ORD-{round}-{order}");
            read(&fact(whose, &order, 1 + n / 20, "placed", 1 + (n % 28) as u32))
        });
        let recording = futures_util::future::join_all(facts.map(|fact| door.record(fact)));
        let merging = merge::merge(&shop, &node, &from, &into);
        let (recorded, merged) = tokio::join!(recording, merging);
        merged.expect(200);
        assert!(recorded.iter().all(Result::is_ok), "{recorded:?}");
        let kept = format!("SELECT count(*) FROM order_facts WHERE customer_id = '{into}'");
        assert_eq!(shop.database.count(&kept).await, 40);
        assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    }
}

// --- plans ------------------------------------------------------------------------------------

/// On tables of some size: every statement of the load goes by an index, and reads of a customer of
/// thousands of orders no more than the ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statements_of_a_fact_go_by_indexes() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (heavy, light) = (merge::made(&shop, &node).await, merge::made(&shop, &node).await);
    shop.database
        .execute(&format!(
            "INSERT INTO order_facts (customer_id, order_id, version, status, placed_at, currency, \
             total_amount, refunded_amount, recorded_at) \
             SELECT CASE WHEN n % 10 = 0 THEN '{light}'::uuid ELSE '{heavy}'::uuid END, 'O-' || n, 1, 'completed', \
             '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute', 'VND', 1000, 0, now() \
             FROM generate_series(1, 30000) AS n; \
             INSERT INTO order_items (customer_id, order_id, sku, quantity) \
             SELECT customer_id, order_id, sku, 1 FROM order_facts, (VALUES ('A'), ('B')) AS v (sku); \
             INSERT INTO order_statistics SELECT customer_id, 'VND', 0, count(*), 0, 0, sum(total_amount), 0, \
             min(placed_at), max(placed_at), 1, now() FROM order_facts GROUP BY customer_id; \
             ANALYZE order_facts, order_items, order_statistics"
        ))
        .await;
    let database = shop.database.database();
    let connection = database.get().await.unwrap();
    let heavy_id: Uuid = heavy.parse().unwrap();
    let names = ["O-1", "O-2", "O-29999", "O-new"];
    let sought: Vec<(Uuid, OrderId)> =
        names.map(|name| (heavy_id, OrderId::parse(name).unwrap())).into();
    let standing = db::orders::standing(&connection, &[heavy_id], &names).await.unwrap();
    let others = standing[0].others.unwrap();
    assert_eq!(others.first.to_rfc3339(), "2026-01-01T00:03:00+00:00", "of those not sought");
    assert_eq!(others.last.to_rfc3339(), "2026-01-21T19:58:00+00:00");
    assert_eq!(db::orders::named(&connection, &names).await.unwrap().len(), 3);
    assert_eq!(db::orders::items_of(&connection, &sought).await.unwrap().len(), 6);
    let statistics = plan(
        &shop.database,
        "(text[], text[], uuid[])",
        &debug_query::<Pg, _>(&FindOrderStatistics::default()).to_string(),
        &format!("('{{O-1,O-30000}}', '{{O-1,O-30000}}', '{{{heavy}}}')"),
    )
    .await;
    assert_eq!(statistics.matches("using order_facts_dates").count(), 2, "{statistics}");
    assert!(!statistics.contains("Sort"), "in order, no further than the end: {statistics}");
    let items = plan(
        &shop.database,
        "(uuid[], text[])",
        &debug_query::<Pg, _>(&FindOrderItems::default()).to_string(),
        &format!("('{{{heavy}}}', '{{O-1}}')"),
    )
    .await;
    assert!(items.contains("order_items_pkey"), "{items}");
    for plan in [statistics, items] {
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

/// How a prepared statement is carried out, whatever it is given.
async fn plan(database: &TestDatabase, kinds: &str, sql: &str, given: &str) -> String {
    let (sql, _) = sql.split_once(" -- binds").unwrap();
    let client = database.client().await;
    let prepare = format!(
        "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; PREPARE it {kinds} AS {sql}"
    );
    client.batch_execute(&prepare).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE it {given}");
    let mut plan = String::new();
    for message in client.simple_query(&explain).await.unwrap() {
        if let SimpleQueryMessage::Row(row) = message {
            writeln!(plan, "{}", row.get(0).unwrap()).unwrap();
        }
    }
    plan
}
