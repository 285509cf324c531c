//! What is written down is not as it should be: messages, orders, copies, deletions, keys, definitions.

use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::CustomerId;
use customer_service::domain::shard::of_customer;
use serde_json::json;

use crate::harness::orders::fact;
use crate::harness::services::ALL_COMMANDS;
use crate::harness::shopper::{PASSWORD, address, register};
use crate::harness::{Node, OrderService, Shop, Shopper, eventually, unique};
use crate::prometheus::Prometheus;
use crate::table::Stage;

const PATIENCE: Duration = Duration::from_secs(60);

/// More than is borne within an hour.
const MAILS: usize = 24;

const WATCHED: &[(&str, &str)] = &[
    ("OUTBOX__TRIES", "1"),
    ("AUDIT__SEAL_SECONDS", "1"),
    ("MAIL__TRIES_MAX", "1"),
    ("PRIVACY__OVERDUE_HOURS", "1"),
    ("PRIVACY__COMMANDS", ALL_COMMANDS),
    ("PRIVACY_EXPORTS__SIZE_LIMIT_MIB", "1"),
    ("ORDERS__RECONCILIATION__EVERY_HOURS", "1"),
    ("FAILPOINTS", "order_intake.fact.BUG=panic"),
];

/// The locks of the last group, by which its owner is known: of the outbox, and of segments.
const HOLD: &str = "SELECT pg_advisory_lock(7262, 7), pg_advisory_lock(7263, 7)";

/// A row of the outbox as an hour without a partition left it.
fn stray() -> String {
    let (message, customer) = (SystemClock.new_id(), SystemClock.new_id());
    let shard = of_customer(CustomerId(customer));
    format!(
        "INSERT INTO outbox_events VALUES (outbox_hour() - 3, {shard}, nextval('outbox_seq'), \
         '{message}', '{customer}', 1, 'customer.updated', now(), NULL, '{{}}')"
    )
}

/// A message with a type of more than 255 bytes.
fn unspeakable() -> String {
    let (message, customer) = (SystemClock.new_id(), SystemClock.new_id());
    let (shard, kind) = (of_customer(CustomerId(customer)), "k".repeat(300));
    format!(
        "SELECT outbox_append('{{{shard}}}', '{{{message}}}', '{{{customer}}}', '{{1}}', '{{{kind}}}', \
         ARRAY[clock_timestamp()], '{{null}}', ARRAY['{{}}'::jsonb])"
    )
}

/// Text that no compressor makes smaller, more than a copy may be long.
fn notes(customer: &str) -> String {
    format!(
        "INSERT INTO customer_notes (id, customer_id, text, author, created_at) \
         SELECT gen_random_uuid(), '{customer}', (SELECT string_agg(md5(random()::text || n || m), '') \
         FROM generate_series(1, 100) AS m), 'key', now() FROM generate_series(1, 1200) AS n"
    )
}

/// One bit of a customer's key turned.
fn damage(customer: &str) -> String {
    format!(
        "UPDATE customer_keys.data_keys SET wrapped = \
         set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE customer_id = '{customer}'"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_down_is_not_as_it_should_be() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let maker = shop.node().await;
    let [shut, leaving, curious] = [
        Shopper::new(&shop, &maker).await,
        Shopper::new(&shop, &maker).await,
        Shopper::new(&shop, &maker).await,
    ];
    let body = json!({ "code": "new", "title": "New", "definition": "customer_added_date > -1h" });
    maker.post("/v1/admin/segments", body).bearer(&shop.staff_key).send().await.expect(201);
    drop(maker);
    shop.database.execute(&damage(&shut.id)).await;
    shop.database.execute(&notes(&curious.id)).await;
    shop.database.execute(&stray()).await;
    shop.database.execute("UPDATE segments SET definition = 'this was read once ('").await;
    let holder = shop.database.client().await;
    holder.batch_execute(HOLD).await.unwrap();
    let node = shop.node_with(WATCHED).await;
    let prometheus = Prometheus::watch(&[&node]).await;

    prometheus.fires("OutboxNotRelayed").await;
    prometheus.fires("SegmentBacklog").await;
    drop(holder);
    prometheus.fires("OutboxPartitionsShort").await;
    prometheus.fires("SegmentsUnreadable").await;
    prometheus.end(&["OutboxNotRelayed", "SegmentBacklog"]).await;
    shop.database.execute(&unspeakable()).await;
    orders_are_wrong(&shop, &orders, &curious.id, &prometheus).await;
    prometheus.fires("MessagesParked").await;
    prometheus
        .fires_while("CustomerKeysShut", async || {
            shut.patch(&node, "/v1/me", json!({ "first_name": unique("Hoa") })).send().await;
        })
        .await;
    let proof = json!({ "password": PASSWORD });
    curious.post(&node, "/v1/me/privacy/export", proof).send().await.expect(202);
    prometheus.fires("ExportsFail").await;
    unanswered(&shop, &node, &leaving).await;
    prometheus.fires("ErasuresOverdue").await;
    prometheus.fires("OrdersGivenUp").await;
    unsealed(&shop, &node, &prometheus).await;
    undelivered(&shop, &node, &prometheus).await;
    at_rest(&shop, &node, &prometheus).await;
    prometheus.has_seen_all_of(Stage::Records);
    orders.close().await;
}

/// A message that is no fact, a fact that kills its reader, and statistics that are not the facts'.
async fn orders_are_wrong(
    shop: &Shop,
    orders: &OrderService,
    customer: &str,
    prometheus: &Prometheus,
) {
    orders.publish("order.placed", b"no fact").await;
    prometheus.fires("OrderDeadLetters").await;
    orders.tell(&fact("BUG", customer, 1, "placed")).await;
    orders.tell(&fact("SOUND", customer, 1, "placed")).await;
    let kept = format!("SELECT count(*) FROM order_statistics WHERE customer_id = '{customer}'");
    let over = "SELECT count(*) FROM reconciliation_runs WHERE finished_at IS NOT NULL";
    eventually("a fact is counted, and the first comparison over", PATIENCE, async || {
        let both = shop.database.count(&kept).await > 0 && shop.database.count(over).await > 0;
        both.then_some(())
    })
    .await;
    let wrong = format!(
        "UPDATE order_statistics SET placed = placed + 4 WHERE customer_id = '{customer}'; \
         UPDATE reconciliation_runs SET started_at = started_at - interval '61 minutes'"
    );
    shop.database.execute(&wrong).await;
    prometheus.fires("OrdersDiffer").await;
}

/// A deletion that the other services do not answer, and two hours that go by.
async fn unanswered(shop: &Shop, node: &Node, leaving: &Shopper) {
    let at_once = json!({ "password": PASSWORD, "at_once": true });
    leaving.post(node, "/v1/me/privacy/deletion", at_once).send().await.expect(202);
    let running = "SELECT count(*) FROM erasures WHERE state = 'running'";
    eventually("the erasure runs", PATIENCE, async || {
        (shop.database.count(running).await > 0).then_some(())
    })
    .await;
    let hours = "UPDATE erasures SET requested_at = requested_at - interval '3 hours', \
        started_at = started_at - interval '2 hours'";
    shop.database.execute(hours).await;
}

/// A transaction of somebody's that stays open: what is written meanwhile is not sealed.
async fn unsealed(shop: &Shop, node: &Node, prometheus: &Prometheus) {
    let open = shop.database.client().await;
    open.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    register(node, &address()).await.expect(202);
    prometheus.fires("AuditSealingLate").await;
    open.batch_execute("ROLLBACK").await.unwrap();
    prometheus.end(&["AuditSealingLate"]).await;
}

/// Where mails should go is no folder any more.
async fn undelivered(shop: &Shop, node: &Node, prometheus: &Prometheus) {
    let folder = shop.folder().join("mail");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    for _ in 0..MAILS {
        register(node, &address()).await.expect(202);
    }
    prometheus.fires("DeliveriesGivenUp").await;
}

/// Somebody lets a worker rest.
async fn at_rest(shop: &Shop, node: &Node, prometheus: &Prometheus) {
    let order = |action: &str, body| {
        let path = format!("/ops/actors/mailer/{action}");
        node.post(&path, body).bearer(&shop.staff_key).send()
    };
    order("pause", json!({ "minutes": 15 })).await.expect(200);
    prometheus.fires("ActorPaused").await;
    order("resume", json!({})).await.expect(200);
    prometheus.end(&["ActorPaused"]).await;
}
