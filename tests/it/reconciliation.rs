//! What is kept of orders, held against where it comes from (rule O4): statistics that somebody broke
//! are found, repaired and reported once, whoever carries it out and whoever is killed meanwhile; and
//! what is right is left alone, whatever goes on.

mod order_service;

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use customer_service::actors::reconciliation::{Door, Engine, Settings, Trouble};
use customer_service::clock::SystemClock;
use customer_service::db::reconciliation::Source;
use customer_service::db::reconciliation_runs;
use customer_service::domain::order::OrderFact;
use customer_service::domain::{Actor, CustomerId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::orders::fact;
use crate::harness::{Inside, Node, Shop, checker, eventually};
use crate::merge;
use crate::orders::differing;

const PATIENCE: Duration = Duration::from_secs(60);

/// On schedule, with a page for each customer: many instants between two of them.
const SCHEDULED: &[(&str, &str)] = &[
    ("ORDERS__RECONCILIATION__EVERY_HOURS", "1"),
    ("ORDERS__RECONCILIATION__PAGE", "1"),
    ("ORDERS__RECONCILIATION__PAUSE_MS", "100"),
];

fn read(fact: &Value) -> OrderFact {
    OrderFact::parse(fact.to_string().as_bytes()).unwrap()
}

/// A customer with three orders: placed, completed, cancelled.
async fn orderer(shop: &Shop, node: &Node, door: &Inside) -> String {
    let customer = merge::made(shop, node).await;
    for (n, status) in ["placed", "completed", "cancelled"].into_iter().enumerate() {
        let order = format!("{}/{n}", &customer[24..]);
        assert!(door.record(read(&fact(&order, &customer, 1, status))).await.unwrap());
    }
    customer
}

/// Makes a customer's statistics wrong, while nobody else has them in hand.
async fn broken(shop: &Shop, customer: &str) {
    let sql = format!(
        "SELECT FROM customers WHERE id = '{customer}' FOR UPDATE; \
         UPDATE order_statistics SET placed = placed + 4, spent_amount = spent_amount + 1 \
         WHERE customer_id = '{customer}'"
    );
    shop.database.execute(&sql).await;
}

/// A node's, whose repairs share batches with what else goes through the door.
fn engine(shop: &Shop, door: &Inside) -> Engine {
    let owner = "it".to_owned();
    Engine {
        database: shop.database.database(),
        clock: Arc::new(SystemClock),
        door: Door::Shards(door.customers()),
        orders: None,
        settings: Settings { page: 1, pause: Duration::ZERO, owner, actor: Actor::Service },
    }
}

fn reconcile(shop: &Shop, more: &[&str]) -> Output {
    let arguments: Vec<&str> = ["reconcile"].into_iter().chain(more.iter().copied()).collect();
    shop.run(&arguments)
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

/// Messages of repairs.
async fn told(shop: &Shop) -> i64 {
    let sql = "SELECT count(*) FROM outbox_events WHERE kind = 'statistics.updated' \
        AND data->>'cause' = 'reconciliation'";
    shop.database.count(sql).await
}

/// `source customers differences repaired refused finished` of each run, oldest first.
async fn runs(shop: &Shop) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', source, customers, differences, repaired, refused, \
        finished_at IS NOT NULL) FROM reconciliation_runs ORDER BY id";
    shop.database.column(sql).await
}

async fn finished(shop: &Shop, count: i64) {
    let sql = "SELECT count(*) FROM reconciliation_runs WHERE finished_at IS NOT NULL";
    eventually("a reconciliation is over", PATIENCE, async || {
        (shop.database.count(sql).await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_broken_statistics_are_found_repaired_and_reported_once() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let consumer = shop.consumer().await;
    let door = Inside::open(&shop.database, 64).await;
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(orderer(&shop, &node, &door).await);
    }
    let [wrong, lost, invented, sound] = &people[..] else { unreachable!() };
    assert_eq!(
        (code(&reconcile(&shop, &[])), runs(&shop).await),
        (0, vec!["facts 4 0 0 0 t".into()])
    );
    broken(&shop, wrong).await;
    let lose = format!("DELETE FROM order_statistics WHERE customer_id = '{lost}'");
    shop.database.execute(&lose).await;
    let invent = format!(
        "INSERT INTO order_statistics (customer_id, currency, placed, completed, cancelled, refunded, \
         spent_amount, refunded_amount, version, updated_at) VALUES ('{invented}', 'USD', 0, 0, 2, 0, 0, 0, 3, now())"
    );
    shop.database.execute(&invent).await;
    let untouched = format!(
        "SELECT string_agg(s::text, ' ') FROM order_statistics AS s WHERE customer_id = '{sound}'"
    );
    let before = shop.database.one(&untouched).await;

    // A look changes nothing and leaves no trace.
    let look = reconcile(&shop, &["--dry-run"]);
    // Placed and spent; four numbers and two dates of what was lost; cancelled.
    assert_eq!(code(&look), 3, "{look:?}");
    let all = lines(&look);
    let (last, found) = all.split_last().unwrap();
    assert_eq!(found.len(), 2 + 6 + 1, "{found:#?}");
    assert_eq!(last, "facts  4 customers, 9 differences, 0 repaired, 9 left");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with(&format!("{wrong}  EUR  orders.placed  5 should be 1")))
    );
    assert!(
        found
            .iter()
            .any(|line| *line == format!("{invented}  USD  orders.cancelled  2 should be 0"))
    );
    assert_eq!((told(&shop).await, runs(&shop).await.len()), (0, 1));

    let done = reconcile(&shop, &[]);
    assert_eq!(code(&done), 0, "{done:?}");
    let all = lines(&done);
    assert_eq!(all.last().unwrap(), "facts  4 customers, 9 differences, 9 repaired, 0 left");
    assert_eq!(all.iter().filter(|line| line.ends_with("  repaired")).count(), 9);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    assert_eq!(shop.database.one(&untouched).await, before);
    assert_eq!(runs(&shop).await[1], "facts 4 9 9 0 t");
    // One message and one entry for each currency of each customer.
    assert_eq!(told(&shop).await, 3);
    let entries = "SELECT count(*) FROM audit_entries WHERE action = 'statistics.updated' \
        AND actor_kind = 'operator' AND request_id = \
        (SELECT 'reconciliation:' || id FROM reconciliation_runs ORDER BY id DESC LIMIT 1)";
    assert_eq!(shop.database.count(entries).await, 3);

    // Once: the next run finds nothing and tells nothing.
    let again = reconcile(&shop, &[]);
    assert_eq!((code(&again), lines(&again).len()), (0, 1));
    assert_eq!((told(&shop).await, runs(&shop).await[2].as_str()), (3, "facts 4 0 0 0 t"));
    shown(&shop, &node, wrong).await;
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(30)).await;
    consumer.close().await;
}

/// What staff sees of the second of three runs.
async fn shown(shop: &Shop, node: &Node, wrong: &str) {
    let path = "/v1/admin/orders/reconciliations";
    let list = node.get(path).bearer(&shop.staff_key).send().await.expect(200).json();
    let items = list["items"].as_array().unwrap();
    let differences: Vec<_> =
        items.iter().map(|run| run["differences"].as_i64().unwrap()).collect();
    assert_eq!(differences, [0, 9, 0], "newest first");
    let run = &items[1];
    assert_eq!(
        (&run["source"], &run["repaired"], &run["customers"]),
        (&json!("facts"), &json!(9), &json!(4))
    );
    let mut seen: Vec<Value> = Vec::new();
    let mut query = "?limit=4".to_owned();
    loop {
        let path = format!("{path}/{}/differences{query}", run["id"].as_str().unwrap());
        let page = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        seen.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => query = format!("?limit=4&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 9);
    let spent = seen.iter().find(|one| one["customer_id"] == wrong && one["field"] == "spent");
    let spent = spent.unwrap();
    assert_eq!((&spent["currency"], &spent["order_id"]), (&json!("EUR"), &Value::Null));
    assert!(spent["kept"] != spent["found"] && spent["repaired_at"].is_string(), "{spent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_one_customer_is_reconciled_alone() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let (one, other) = (orderer(&shop, &node, &door).await, orderer(&shop, &node, &door).await);
    broken(&shop, &one).await;
    broken(&shop, &other).await;
    assert_eq!(code(&reconcile(&shop, &["--customer", &one])), 0);
    let left = differing(&shop.database).await;
    assert!(left.len() == 1 && left[0].contains(&other), "{left:?}");
    assert_eq!(runs(&shop).await, ["facts 1 2 2 0 t"]);
    let nobody = Uuid::from_u128(7).to_string();
    assert_eq!(code(&reconcile(&shop, &["--customer", &nobody])), 1);
    assert_eq!(code(&reconcile(&shop, &["--customer", "me"])), 2);
    // Who is gone is in nobody's way, however wrong.
    node.delete(&merge::path(&other, "")).bearer(&shop.staff_key).send().await.expect(204);
    assert_eq!(code(&reconcile(&shop, &[])), 0);
    assert_eq!(runs(&shop).await[1], "facts 2 0 0 0 t");
}

// --- on schedule ------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_nodes_reconcile_on_schedule_one_at_a_time() {
    let shop = Shop::new().await;
    let quiet = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    for _ in 0..8 {
        broken(&shop, &orderer(&shop, &quiet, &door).await).await;
    }
    let (one, other) = tokio::join!(shop.node_with(SCHEDULED), shop.node_with(SCHEDULED));
    let holders = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
        JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' \
        AND d.datname = current_database() AND a.application_name = 'customer-service-reconciler'";
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        assert!(shop.database.count(holders).await <= 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    finished(&shop, 1).await;
    assert_eq!(runs(&shop).await, ["facts 8 16 16 0 t"]);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    assert_eq!(told(&shop).await, 8);
    let by = "SELECT count(*) FROM audit_entries WHERE action = 'statistics.updated' AND actor_kind = 'service'";
    assert_eq!(shop.database.count(by).await, 8);
    let mut found = 0.0;
    for node in [&one, &other] {
        found += node.metric("reconciliation_differences_total").await;
    }
    assert_eq!(found, 16.0);
    // Nothing is due for an hour; and after it there is.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(runs(&shop).await.len(), 1);
    let later = "UPDATE reconciliation_runs SET started_at = started_at - interval '61 minutes'";
    shop.database.execute(later).await;
    finished(&shop, 2).await;
    assert_eq!(runs(&shop).await[1], "facts 8 0 0 0 t");
    assert_eq!(told(&shop).await, 8);
    // At /ops both nodes have one.
    for node in [&one, &other] {
        let ops = node.get("/ops/actors").bearer(&shop.staff_key).send().await.expect(200).json();
        let names: Vec<_> = ops["actors"].as_array().unwrap().iter().map(|a| &a["name"]).collect();
        assert!(names.contains(&&json!("reconciler")), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_a_killed_run_is_gone_on_with_and_reports_each_difference_once() {
    let shop = Shop::new().await;
    let quiet = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    const PEOPLE: i64 = 24;
    for _ in 0..PEOPLE {
        broken(&shop, &orderer(&shop, &quiet, &door).await).await;
    }
    let passed = "SELECT coalesce(max(customers), 0) FROM reconciliation_runs";
    for kill in 1..=3 {
        let mut node = shop.node_with(SCHEDULED).await;
        eventually("the run moves on", PATIENCE, async || {
            (shop.database.count(passed).await >= 4 * kill).then_some(())
        })
        .await;
        node.kill9();
    }
    // Between a repair and its report, and between the report and the repair.
    let points = "reconciliation.noted=30%panic;reconciliation.repaired=30%panic";
    let mut settings = SCHEDULED.to_vec();
    settings.push(("FAILPOINTS", points));
    let mut shaky = shop.node_with(&settings).await;
    let began = Instant::now();
    while shaky.runs() && !shaky.log().contains("panicked") {
        assert!(began.elapsed() < PATIENCE, "no point panics");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shaky.kill9();
    let _node = shop.node_with(SCHEDULED).await;
    finished(&shop, 1).await;
    assert_eq!(runs(&shop).await, [format!("facts {PEOPLE} {} {} 0 t", 2 * PEOPLE, 2 * PEOPLE)]);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    assert_eq!(told(&shop).await, PEOPLE, "nobody was repaired twice");
    let unrepaired = "SELECT count(*) FROM reconciliation_differences WHERE repaired_at IS NULL";
    assert_eq!(shop.database.count(unrepaired).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_a_command_that_is_killed_or_told_to_end_is_gone_on_with() {
    let shop = Shop::configured(&[
        ("ORDERS__RECONCILIATION__PAGE", "1"),
        ("ORDERS__RECONCILIATION__PAUSE_MS", "200"),
    ])
    .await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    for _ in 0..10 {
        broken(&shop, &orderer(&shop, &node, &door).await).await;
    }
    let passed = "SELECT coalesce(max(customers), 0) FROM reconciliation_runs";
    // Most of the time it rests: a signal is heard then, too.
    for (signal, status, least) in [("KILL", None, 3), ("TERM", Some(1), 6)] {
        let mut command = shop.command(&[]);
        let quiet = std::process::Stdio::null;
        let mut child = command.arg("reconcile").stdout(quiet()).stderr(quiet()).spawn().unwrap();
        eventually("the run moves on", PATIENCE, async || {
            (shop.database.count(passed).await >= least).then_some(())
        })
        .await;
        let kill = ["-s", signal, &child.id().to_string()];
        assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), status);
    }
    let before = shop.database.count(passed).await;
    assert!((6..10).contains(&before), "{before}");
    let done = reconcile(&shop, &[]);
    assert_eq!(code(&done), 0, "{done:?}");
    assert_eq!(runs(&shop).await, ["facts 10 20 20 0 t"]);
    let rest = 10 - before;
    let last = lines(&done).pop().unwrap();
    assert!(last.starts_with(&format!("facts  {rest} customers")), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_who_was_overtaken_neither_moves_the_run_nor_reports_into_it() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 64).await;
    let mut people = Vec::new();
    for _ in 0..3 {
        people.push(orderer(&shop, &node, &door).await);
        broken(&shop, people.last().unwrap()).await;
    }
    let engine = engine(&shop, &door);
    let mut frozen = engine.begin(Source::Facts, None).await.unwrap();
    let row = {
        let connection = engine.database.get().await.unwrap();
        reconciliation_runs::latest(&connection, Source::Facts).await.unwrap().unwrap()
    };
    let mut awake = engine.go_on(Source::Facts, &row).await.unwrap();
    assert_eq!(awake.step(&engine).await.unwrap().customers, 1);
    // It finds nothing to repair, and would move on; then it finds what it could report.
    for more in [false, true] {
        if more {
            broken(&shop, &people[0]).await;
        }
        let step = frozen.step(&engine).await;
        assert!(matches!(step, Err(Trouble::Superseded)), "{step:?}");
        assert_eq!((runs(&shop).await, told(&shop).await), (vec!["facts 1 2 2 0 f".into()], 1));
    }
    while !awake.step(&engine).await.unwrap().over {}
    assert!(matches!(frozen.step(&engine).await, Err(Trouble::Superseded)));
    assert_eq!((runs(&shop).await, told(&shop).await), (vec!["facts 3 6 6 0 t".into()], 3));
}

// --- beside others ----------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_64_writers_meanwhile_leave_no_false_repair() {
    const WRITERS: usize = 64;
    let shop = Shop::configured(&[
        ("ORDERS__RECONCILIATION__PAGE", "2"),
        ("ORDERS__RECONCILIATION__PAUSE_MS", "0"),
    ])
    .await;
    let node = shop.node().await;
    let door = Inside::open(&shop.database, 16).await;
    let mut people = Vec::new();
    for _ in 0..6 {
        people.push(orderer(&shop, &node, &door).await);
    }
    let over = AtomicBool::new(false);
    let writing = (0..WRITERS).map(|writer| {
        let (door, over, people) = (&door, &over, &people);
        async move {
            let customer = &people[writer % people.len()];
            let mut version = 0;
            while !over.load(Ordering::Acquire) {
                version += 1;
                let status = ["placed", "completed", "cancelled", "refunded"][version as usize % 4];
                let order = format!("W{writer}");
                door.record(read(&fact(&order, customer, version, status))).await.unwrap();
            }
            version
        }
    });
    let looking = async {
        // The database's own thread: the writers go on.
        let mut looks = Vec::new();
        for look in 0..8 {
            let mut command = shop.command(&[]);
            command.arg("reconcile");
            if look % 2 == 0 {
                command.arg("--dry-run");
            }
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
            looks.push(output.unwrap());
        }
        over.store(true, Ordering::Release);
        looks
    };
    let (versions, looks) = tokio::join!(futures_util::future::join_all(writing), looking);
    assert!(versions.iter().sum::<i64>() > 500, "{versions:?}");
    for look in &looks {
        assert_eq!((code(look), lines(look).len()), (0, 1), "{look:?}");
    }
    assert_eq!(told(&shop).await, 0);
    assert!(runs(&shop).await.iter().all(|run| run == "facts 6 0 0 0 t"));
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());

    // Wrong ones are put right in the middle of it, exactly.
    over.store(false, Ordering::Release);
    let writing = (0..WRITERS).map(|writer| {
        let (door, over, people) = (&door, &over, &people);
        async move {
            let mut n = 0;
            while !over.load(Ordering::Acquire) {
                n += 1;
                let order = format!("X{writer}/{n}");
                let customer = &people[writer % people.len()];
                door.record(read(&fact(&order, customer, 1, "completed"))).await.unwrap();
            }
        }
    });
    // In batches with what is written: counted anew are facts that are all there.
    const ROUNDS: usize = 5;
    let mending = async {
        let engine = engine(&shop, &door);
        let mend = async |customer: &String| {
            for _ in 0..ROUNDS {
                broken(&shop, customer).await;
                let only = Some(CustomerId(customer.parse().unwrap()));
                let mut run = engine.begin(Source::Facts, only).await.unwrap();
                while !run.step(&engine).await.unwrap().over {}
            }
        };
        // All at once: alone, each would meet its batches at the same place again and again.
        futures_util::future::join_all(people.iter().map(mend)).await;
        over.store(true, Ordering::Release);
    };
    tokio::join!(futures_util::future::join_all(writing), mending);
    assert_eq!(differing(&shop.database).await, Vec::<String>::new());
    assert_eq!(told(&shop).await, (ROUNDS * people.len()) as i64);
}
