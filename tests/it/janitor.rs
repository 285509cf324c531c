//! The janitor against a real PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use customer_service::actors::retention::Retention;
use customer_service::actors::workers::janitor::{Janitor, Settings};
use customer_service::clock::{Clock, SystemClock};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::config::defaults;
use crate::harness::db::{TestDatabase, insert_customer, insert_session};
use crate::harness::{Shop, eventually};

/// One that keeps things as long as the defaults say.
pub fn janitor(database: &TestDatabase) -> Janitor {
    let settings = Settings {
        outbox_hours: 72,
        partitions_ahead_hours: 5,
        retention: Retention::new(Arc::new(defaults()), TimeDelta::minutes(12)),
    };
    Janitor::new(database.database(), Arc::new(SystemClock), settings)
}

async fn run(client: &Client, statement: &str) {
    client.batch_execute(statement).await.unwrap();
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(&format!("SELECT ({query})::bigint"), &[]).await.unwrap().get(0)
}

fn row(bucket: i64, shard: i64, age_hours: i64) -> String {
    let id = SystemClock.new_id();
    format!(
        "INSERT INTO outbox_events VALUES ({bucket}, {shard}, nextval('outbox_seq'), '{id}', '{id}', \
         1, 'customer.updated', now() - interval '{age_hours} hours', NULL, '{{}}')"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_partitions_are_made_ahead_and_take_the_rows() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let mut janitor = janitor(&database);
    assert_eq!(janitor.clean().await.unwrap().partitions_made, 6, "this hour and five more");
    assert_eq!(janitor.clean().await.unwrap().partitions_made, 0);
    let hour = number(&client, "SELECT outbox_hour()").await;
    run(&client, &row(hour, 3, 0)).await;
    assert_eq!(number(&client, "SELECT count(*) FROM outbox_events_default").await, 0);
    assert_eq!(number(&client, &format!("SELECT count(*) FROM outbox_events_{hour}")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_an_hour_that_fell_to_the_default_partition_stays_there_and_stops_no_other() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let hour = number(&client, "SELECT outbox_hour()").await;
    run(&client, &row(hour, 3, 0)).await;
    run(&client, &row(hour + 2, 3, 0)).await;
    let report = janitor(&database).clean().await.unwrap();
    assert_eq!((report.partitions_made, report.hours_in_default), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_only_what_is_published_and_old_is_dropped() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let mut janitor = janitor(&database);
    janitor.clean().await.unwrap();
    let hour = number(&client, "SELECT outbox_hour()").await;
    for age in [72, 74, 90, 91] {
        let (bucket, next) = (hour - age, hour - age + 1);
        run(
            &client,
            &format!(
                "CREATE TABLE outbox_events_{bucket} PARTITION OF outbox_events \
                 FOR VALUES FROM ({bucket}) TO ({next})"
            ),
        )
        .await;
    }
    run(&client, &row(hour - 91, 9, 91)).await;
    run(&client, &row(hour - 90, 17, 90)).await;
    run(&client, &row(hour - 200, 20, 200)).await;
    let dropped = async |janitor: &mut Janitor| janitor.clean().await.unwrap().partitions_dropped;
    assert_eq!(dropped(&mut janitor).await, 0, "no cursor has passed them");
    for cursors in ["outbox_cursors", "segment_cursors"] {
        run(&client, &format!("UPDATE {cursors} SET bucket = {hour}")).await;
        let done = format!("UPDATE {cursors} SET positions = array_fill(1::bigint, ARRAY[8])");
        run(&client, &done).await;
    }
    assert_eq!(dropped(&mut janitor).await, 2, "74 and 91: 72 is young, 90 is not published");
    assert_eq!(number(&client, "SELECT count(*) FROM outbox_events").await, 2);
    run(&client, "UPDATE outbox_cursors SET positions = array_fill(9::bigint, ARRAY[8])").await;
    assert_eq!(dropped(&mut janitor).await, 0, "90 is published, not yet looked at for segments");
    run(&client, "UPDATE segment_cursors SET positions = array_fill(9::bigint, ARRAY[8])").await;
    let report = janitor.clean().await.unwrap();
    assert_eq!((report.partitions_dropped, report.rows_deleted), (1, 1), "and the stray row");
    assert_eq!(number(&client, "SELECT count(*) FROM outbox_events").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_janitors_at_once_do_no_harm() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let (mut one, mut two) = (janitor(&database), janitor(&database));
    let (first, second) = tokio::join!(one.clean(), two.clean());
    let made = first.unwrap().partitions_made + second.unwrap().partitions_made;
    assert_eq!(made, 6);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_events'::regclass";
    assert_eq!(number(&client, partitions).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_had_their_day_are_deleted_and_no_others() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let customer = SystemClock.new_id();
    insert_customer(&client, customer, "lan@example.com").await;
    for (key, age) in [("old", 25), ("young", 23)] {
        run(
            &client,
            &format!(
                "INSERT INTO idempotency_keys VALUES ('o', '{key}', sha256('x'), NULL, '{{}}', \
                 now() - interval '{age} hours')"
            ),
        )
        .await;
    }
    for (token, age, used) in [("old", 8, "now()"), ("young", 6, "NULL")] {
        run(
            &client,
            &format!(
                "INSERT INTO one_time_tokens VALUES (sha256('{token}'), '{customer}', 'verify_email', \
                 NULL, now() - interval '9 days', now() - interval '{age} days', {used}, NULL)"
            ),
        )
        .await;
    }
    for (bucket, locked) in [("old", "NULL"), ("locked", "now() + interval '1 hour'")] {
        run(
            &client,
            &format!(
                "INSERT INTO sign_in_throttles VALUES (sha256('{bucket}'), '{{}}', {locked}, \
                 now() - interval '49 hours')"
            ),
        )
        .await;
    }
    let live = "now() + interval '1 day', NULL::timestamptz";
    for ends in [
        "now() - interval '31 days', NULL::timestamptz",
        "now() + interval '1 day', now() - interval '31 days'",
        "now() - interval '29 days', NULL::timestamptz",
        live,
    ] {
        insert_session(&client, customer, SystemClock.new_id(), ends).await;
    }
    for (sent, created) in [("now() - interval '31 days'", 32), ("now()", 32), ("NULL", 32)] {
        let id = SystemClock.new_id();
        run(
            &client,
            &format!(
                "INSERT INTO mails (id, customer_id, kind, locale, created_at, due_at, sent_at) \
                 VALUES ('{id}', '{customer}', 'already_registered', 'en', \
                 now() - interval '{created} days', now(), {sent})"
            ),
        )
        .await;
    }
    let report = janitor(&database).clean().await.unwrap();
    assert_eq!(report.rows_deleted, 6);
    for (table, left) in [
        ("idempotency_keys", 1),
        ("one_time_tokens", 1),
        ("sign_in_throttles", 1),
        ("sessions", 2),
        ("mails", 2),
    ] {
        let count = number(&client, &format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(count, left, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_are_walked_through_piece_by_piece() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let customer: Uuid = SystemClock.new_id();
    insert_customer(&client, customer, "lan@example.com").await;
    run(
        &client,
        &format!(
            "INSERT INTO sessions (id, customer_id, method, refresh_hash, generation, created_at, \
             last_seen_at, expires_at, absolute_expires_at) SELECT gen_random_uuid(), '{customer}', \
             'password', sha256('x'), 0, now(), now(), e, e FROM (SELECT now() + ((n % 2) * 80 - 40) \
             * interval '1 day' AS e FROM generate_series(1, 2600) AS n) AS ends"
        ),
    )
    .await;
    assert_eq!(janitor(&database).clean().await.unwrap().rows_deleted, 1_300);
    assert_eq!(number(&client, "SELECT count(*) FROM sessions").await, 1_300);
}

/// Each limit is a setting; the report tells it, and what the janitor could not take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_configured_and_what_outlives_it_is_told() {
    let shop = Shop::with(TestDatabase::new().await, &[("RETENTION__MAILS_DAYS", "2")]).await;
    let client = shop.database.client().await;
    let customer = SystemClock.new_id();
    insert_customer(&client, customer, "lan@example.com").await;
    for days in [1, 3, 3] {
        let id = SystemClock.new_id();
        let mail = format!(
            "INSERT INTO mails (id, customer_id, kind, locale, created_at, due_at, sent_at) \
             SELECT '{id}', '{customer}', 'already_registered', 'en', d, d, d \
             FROM (SELECT now() - interval '{days} days' AS d) AS instant"
        );
        run(&client, &mail).await;
    }
    // Somebody holds one of the two that have had their day.
    let old = "SELECT FROM mails WHERE sent_at < now() - interval '2 days' LIMIT 1 FOR UPDATE";
    run(&client, &format!("BEGIN; {old}")).await;
    let node = shop.node().await;
    let left = "SELECT count(*) FROM mails";
    eventually("the other is gone", Duration::from_secs(20), async || {
        (shop.database.count(left).await == 2).then_some(())
    })
    .await;
    let told = node.get("/v1/admin/retention").bearer(&shop.staff_key).send().await;
    let told = told.expect(200).json();
    let of = |table: &str| {
        let tables = told["tables"].as_array().unwrap();
        tables.iter().find(|it| it["table"] == table).unwrap_or_else(|| panic!("{table}")).clone()
    };
    let mails = of("mails");
    assert_eq!(mails["kept_seconds"], 2 * 24 * 60 * 60);
    assert_eq!(mails["setting"], "retention.mails_days");
    assert_eq!(mails["outlived"], 1);
    assert_eq!(of("text_messages")["outlived"], 0);
    assert_eq!(of("audit_entries")["kept_seconds"], serde_json::Value::Null, "for good");
    assert_eq!(of("outbox_events")["kept_seconds"], 72 * 60 * 60);
}
