//! Broken twins: each promise is broken on purpose, and the check that guards it must notice. Beside
//! it the same check finds nothing to complain of in the sound code.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};
use customer_service::db;
use customer_service::domain::order::OrderFact;
use futures_util::future::join_all;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::ground::Ground;
use crate::harness::db::insert_customer;
use crate::harness::inside::Inside;
use crate::harness::orders::fact;
use crate::harness::proxy::Proxy;
use crate::harness::shopper::{address, sign_in};
use crate::harness::{Consumer, Shop, Shopper, unique};
use crate::report::Report;
use crate::{QUIET, Scenario, database, nodes, played};

/// Makes a scenario of a check that counts complaints, without the twin and with it.
macro_rules! twin {
    ($id:literal, $fault:literal, $check:ident) => {
        Scenario {
            id: $id,
            fault: $fault,
            criterion: "the check complains of the twin, and not of the sound code",
            play: {
                async fn play(ground: &Ground, report: &mut Report) {
                    let sound = $check(ground, false).await;
                    report.must(sound == 0, format!("sound: {sound} complaints"));
                    QUIET.store(true, Ordering::Release);
                    let broken = $check(ground, true).await;
                    report.must(broken > 0, format!("twin: {broken} complaints"));
                }
                played!(play)
            },
            short: true,
        }
    };
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "T0",
        fault: "a build that is not for tests",
        criterion: "has neither points nor twins",
        play: played!(not_in_releases),
        short: true,
    },
    twin!("T1", "twin: the cursor runs ahead of the broker's word", cursor_runs_ahead),
    twin!("T2", "twin: several messages of a customer in flight", many_in_flight),
    twin!("T3", "twin: a former owner's cursor is written", no_epoch_fence),
    twin!("T4", "twin: messages numbered without the shard's lock", no_shard_lock),
    twin!("T5", "twin: an idempotency key committed before its effect", key_before_effect),
    twin!("T6", "twin: facts of orders taken whatever their version", no_version_check),
    twin!("T7", "twin: passwords verified without a claim", no_claim),
    twin!("T8", "twin: customers read without their rows' locks", no_row_locks),
];

/// Points and twins are what the feature `failpoints` of the crate `fail` compiles in, and only the
/// tests' dependencies ask for it.
async fn not_in_releases(_ground: &Ground, report: &mut Report) {
    let features = |edges: &str| {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--depth",
                "0",
                "-e",
                edges,
                "-f",
                "{p} [{f}]",
                "-i",
                "fail",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let (release, tests) = (features("no-dev"), features("all"));
    report.must(
        release.starts_with("fail v") && release.ends_with("[]"),
        format!("release: {release}"),
    );
    report.must(tests.ends_with("[failpoints]"), format!("tests: {tests}"));
}

/// The failure point that makes a process the twin.
fn points(name: &str, broken: bool) -> String {
    if broken { format!("twin.{name}=return") } else { String::new() }
}

/// Messages of the outbox that the subscriber does not have after a while.
async fn missing(shop: &Shop, consumer: &Consumer, patience: Duration) -> usize {
    let began = Instant::now();
    let written = shop.database.column("SELECT id FROM outbox_events").await;
    loop {
        let received: std::collections::HashSet<String> =
            consumer.received().into_iter().map(|message| message.id).collect();
        let missing = written.iter().filter(|id| !received.contains(*id)).count();
        if missing == 0 || began.elapsed() > patience {
            return missing;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The broker falls silent, the process dies, the next one goes on from the cursor.
async fn cursor_runs_ahead(ground: &Ground, broken: bool) -> usize {
    let proxy = Proxy::to(&ground.rabbit.url).await;
    let shop = ground.shop(&[]).await;
    let consumer = shop.consumer().await;
    let points = points("cursor_runs_ahead", broken);
    let settings = [("RABBIT__URL", proxy.url.as_str()), ("FAILPOINTS", points.as_str())];
    let mut node = shop.node_with(&settings).await;
    let shopper = Shopper::new(&shop, &node).await;
    sleep(Duration::from_secs(1)).await;
    proxy.black_hole();
    for number in 0..5 {
        shopper.add_address(&node, &format!("City {number}")).await;
    }
    // Longer than between two writings of the cursor.
    sleep(Duration::from_millis(2_500)).await;
    node.kill9();
    let _next = shop.node().await;
    let missing = missing(&shop, &consumer, Duration::from_secs(6)).await;
    consumer.close().await;
    missing
}

/// A queue that is now and then full refuses some messages and takes later ones.
async fn many_in_flight(ground: &Ground, broken: bool) -> usize {
    let shop = ground.shop(&[]).await;
    let node = shop.node_with(&[("FAILPOINTS", &points("many_in_flight", broken))]).await;
    let connection = Connection::connect(&ground.rabbit.url, ConnectionProperties::default()).await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = unique("it.full");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(7));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments.insert("x-expires".into(), AMQPValue::LongInt(300_000));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), durable, arguments).await.unwrap();
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    let exchange = shop.exchange.as_str();
    channel
        .queue_bind(queue.as_str().into(), exchange.into(), "#".into(), bind, none)
        .await
        .unwrap();
    let messages = crowd_of_messages(&shop).await;
    let (mut last, mut inversions) = (HashMap::new(), 0);
    let (mut seen, began) = (std::collections::HashSet::new(), Instant::now());
    while seen.len() < messages && began.elapsed() < Duration::from_secs(10) {
        let options = BasicGetOptions { no_ack: true };
        let Some(got) = channel.basic_get(queue.as_str().into(), options).await.unwrap() else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        let headers = got.delivery.properties.headers().clone().unwrap();
        let Some(AMQPValue::LongString(customer)) =
            headers.inner().get("cloudEvents:subject").cloned()
        else {
            panic!("no subject")
        };
        let Some(AMQPValue::LongLongInt(sequence)) =
            headers.inner().get("cloudEvents:sequence").cloned()
        else {
            panic!("no sequence")
        };
        if seen.insert((customer.to_string(), sequence)) {
            let last = last.entry(customer.to_string()).or_insert(0);
            inversions += usize::from(sequence < *last);
            *last = sequence.max(*last);
        }
    }
    let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
    deleted.unwrap();
    drop(node);
    inversions
}

/// Twenty customers with six messages each, at once.
async fn crowd_of_messages(shop: &Shop) -> usize {
    let sql = "SELECT outbox_append(array_agg((c % 64)::smallint), array_agg(gen_random_uuid()), \
        array_agg(('00000000-0000-4000-8000-' || lpad(c::text, 12, '0'))::uuid), \
        array_agg(n::bigint), array_agg('customer.updated'::text), array_agg(clock_timestamp()), \
        array_agg(NULL::text), array_agg('{}'::jsonb)) \
        FROM (SELECT c, n FROM generate_series(1, 20) AS c, generate_series(1, 6) AS n ORDER BY n, c) AS m";
    shop.database.execute(sql).await;
    120
}

/// Runs in this process, so that the twin is this process's, too.
async fn no_epoch_fence(ground: &Ground, broken: bool) -> usize {
    let shop = ground.shop(&[]).await;
    let now = "UPDATE outbox_cursors SET epoch = 5, positions = array_fill(100::bigint, ARRAY[8])";
    shop.database.execute(now).await;
    let _twin = InProcess::new("no_epoch_fence", broken);
    let database = shop.database.database();
    let connection = database.get().await.unwrap();
    let stale = db::outbox::Cursor { group: 3, epoch: 4, positions: vec![50; 8], bucket: 1 };
    db::outbox::flush(&connection, &[stale]).await.unwrap();
    let back = "SELECT count(*) FROM outbox_cursors WHERE 50 = ANY (positions)";
    shop.database.count(back).await as usize
}

/// A twin in the suite's own process, for as long as the value lives.
struct InProcess(Option<String>);

impl InProcess {
    fn new(name: &str, broken: bool) -> Self {
        let name = broken.then(|| format!("twin.{name}"));
        if let Some(name) = &name {
            fail::cfg(name, "return").unwrap();
        }
        Self(name)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            fail::remove(name);
        }
    }
}

/// Two appends to one shard, of which the first commits last.
async fn no_shard_lock(ground: &Ground, broken: bool) -> usize {
    let shop = ground.shop(&[]).await;
    if broken {
        let lock = "PERFORM pg_advisory_xact_lock(7261, locked);";
        let source = "SELECT pg_get_functiondef('outbox_append'::regproc)";
        let source = shop.database.one(source).await;
        assert!(source.contains(lock), "{source}");
        shop.database.execute(&source.replace(lock, "NULL;")).await;
    }
    let consumer = shop.consumer().await;
    let _node = shop.node().await;
    let append = |n: i32| {
        format!(
            "SELECT outbox_append('{{9}}', ARRAY[gen_random_uuid()], \
             ARRAY['00000000-0000-4000-8000-00000000000{n}'::uuid], '{{1}}', '{{customer.updated}}', \
             ARRAY[clock_timestamp()], '{{null}}', ARRAY['{{}}'::jsonb])"
        )
    };
    let (slow, quick) = (shop.database.client().await, shop.database.client().await);
    slow.batch_execute(&format!("BEGIN; {}", append(1))).await.unwrap();
    let statement = append(2);
    let second = async {
        // With the lock it waits for the first one's end.
        let waited = timeout(Duration::from_secs(2), quick.batch_execute(&statement)).await;
        // The relay passes over what it could not see.
        sleep(Duration::from_secs(1)).await;
        slow.batch_execute("COMMIT").await.unwrap();
        waited.is_ok()
    };
    if !second.await {
        sleep(Duration::from_millis(500)).await;
    }
    let missing = missing(&shop, &consumer, Duration::from_secs(5)).await;
    consumer.close().await;
    missing
}

async fn key_before_effect(ground: &Ground, broken: bool) -> usize {
    let shop = ground.shop(&[]).await;
    let proxy = Proxy::to(&shop.database.service_url).await;
    let points = points("key_before_effect", broken);
    let settings = [("DATABASE__URL", proxy.url.as_str()), ("FAILPOINTS", points.as_str())];
    let node = shop.node_with(&settings).await;
    database::cuts(&shop, &node, &proxy, 24).await.wrong.len()
}

async fn no_version_check(ground: &Ground, broken: bool) -> usize {
    let shop = ground.shop(&[]).await;
    let customer = SystemClock.new_id();
    let client = shop.database.client().await;
    insert_customer(&client, customer, "versions@shop.example").await;
    let inside = Inside::open(&shop.database, 16).await;
    let _twin = InProcess::new("no_version_check", broken);
    let fact = |version, status| {
        let mut fact = fact("V-1", &customer.to_string(), version, status);
        if status == "completed" {
            fact["completed_at"] = json!("2026-03-09T10:00:00Z");
        }
        OrderFact::parse(fact.to_string().as_bytes()).unwrap()
    };
    // What is old or known changes nothing, and that is no error.
    let told = [
        (1, "placed", true),
        (3, "completed", true),
        (2, "placed", false),
        (3, "completed", false),
    ];
    let mut complaints = 0;
    for (version, status, news) in told {
        complaints += usize::from(inside.record(fact(version, status)).await != Ok(news));
    }
    let right = "SELECT count(*) FROM order_facts AS f JOIN order_statistics AS s USING (customer_id) \
        WHERE f.version = 3 AND f.status = 'completed' AND s.completed = 1 AND s.placed = 0";
    complaints + usize::from(shop.database.count(right).await != 1)
}

/// Guesses at the same time, of which five may be looked at.
async fn no_claim(ground: &Ground, broken: bool) -> usize {
    let shop = ground.shop(&[]).await;
    let node = shop.node_with(&[("FAILPOINTS", &points("no_claim", broken))]).await;
    let email = address();
    let before = node.metric("password_verifications_total").await;
    join_all((0..64).map(|_| sign_in(&node, &email, "wrong password 12"))).await;
    let verified = node.metric("password_verifications_total").await - before;
    (verified - 5.0).max(0.0) as usize
}

async fn no_row_locks(ground: &Ground, broken: bool) -> usize {
    let points = points("no_row_locks", broken);
    let told = nodes::crowd(ground, 600, &[("FAILPOINTS", &points)]).await;
    usize::from(told.is_err())
}
