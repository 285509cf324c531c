//! RabbitMQ is killed, away, full, blocked, silent, and loses what was declared.

use std::time::{Duration, Instant};

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::proxy::Proxy;
use crate::harness::servers::PrivateServer;
use crate::harness::{Consumer, Node, Shop, Shopper, unique};
use crate::load::Load;
use crate::rabbitmqctl::rabbitmqctl;
use crate::report::{Report, ms};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F10",
        fault: "RabbitMQ killed and started again, thrice",
        criterion: "lost 0, tries charged to messages 0, first delivery ≤ 10 s after it is up",
        play: played!(killed),
        short: false,
    },
    Scenario {
        id: "F11",
        fault: "RabbitMQ away for 60 s under load",
        criterion: "writes ≥ 99.9 % good, memory grows ≤ 64 MiB, drains ≥ 2,000/s (an unoptimised build ≥ 500/s)",
        play: played!(away),
        short: false,
    },
    Scenario {
        id: "F12",
        fault: "RabbitMQ blocks publishers (memory alarm) for 30 s",
        criterion: "publishing stops, nothing is charged to messages, goes on ≤ 2 s after",
        play: played!(blocked),
        short: false,
    },
    Scenario {
        id: "F13",
        fault: "exchange deleted, queue unbound, queue full (reject-publish), each in mid-run",
        criterion: "returns and refusals seen, lost 0, no inversion, healed ≤ 5 s",
        play: played!(undeclared),
        short: false,
    },
    Scenario {
        id: "F14",
        fault: "the line to RabbitMQ silent (half-open)",
        criterion: "noticed ≤ 15 s, delivered after it is mended",
        play: played!(silent),
        short: true,
    },
];

/// Messages confirmed so far.
async fn published(node: &Node) -> f64 {
    node.metric("outbox_published_total").await
}

/// Waits until more messages are confirmed than `before`; `None` after `limit`.
async fn publishes(node: &Node, before: f64, limit: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if published(node).await > before {
            return Some(began.elapsed());
        }
        sleep(Duration::from_millis(20)).await;
    }
    None
}

async fn charged(node: &Node) -> f64 {
    node.metric("outbox_message_faults_total").await
}

fn within(took: Option<Duration>, limit: Duration) -> bool {
    took.is_some_and(|took| took <= limit)
}

async fn killed(ground: &Ground, report: &mut Report) {
    let rounds = ground.either(1, 3);
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 8, 80).await;
    let mut slowest = Some(Duration::ZERO);
    for _ in 0..rounds {
        sleep(Duration::from_millis(800 + ground.roll(700))).await;
        ground.rabbit.stop("KILL").await;
        sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| ground.rabbit.start_again());
        let received = consumer.received().len();
        let began = Instant::now();
        while consumer.received().len() == received && began.elapsed() < Duration::from_secs(30) {
            sleep(Duration::from_millis(20)).await;
        }
        slowest = slowest.max(Some(began.elapsed()));
    }
    let told = load.end().await;
    let good = within(slowest, Duration::from_secs(10));
    report.must(good, format!("{rounds} kills, first delivery ≤ {slowest:.1?} after it was up"));
    let charged = charged(&node).await;
    report.must(charged == 0.0, format!("charged {charged}; calls: {}", told.statuses()));
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

/// Resident memory of a process, in MiB.
fn memory(node: &Node) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
}

async fn away(ground: &Ground, report: &mut Report) {
    let mut shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let optimised = std::env::var_os("FAULTS_RELEASE");
    let (build, least) = match &optimised {
        Some(program) => {
            shop.program = program.into();
            ("the optimised build", 2_000.0)
        }
        None => ("an unoptimised build (FAULTS_RELEASE names none)", 500.0),
    };
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 32, 300).await;
    sleep(ground.seconds(3, 10)).await;
    let before = memory(&node);
    ground.rabbit.stop("KILL").await;
    sleep(ground.seconds(10, 60)).await;
    let grown = memory(&node) - before;
    let told = load.end().await;
    // More than a load over HTTP makes in a minute.
    let extra = ground.either(5_000, 60_000);
    crate::outbox::append(&shop, extra).await;
    let confirmed = published(&node).await;
    let waiting =
        shop.database.count("SELECT count(*) FROM outbox_events").await as f64 - confirmed;
    tokio::task::block_in_place(|| ground.rabbit.start_again());
    let began = Instant::now();
    publishes(&node, confirmed, Duration::from_secs(60)).await.expect("it goes on");
    let (first, begun) = (published(&node).await, Instant::now());
    let all = confirmed + waiting;
    while published(&node).await < all && begun.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(50)).await;
    }
    let rate = (published(&node).await - first) / begun.elapsed().as_secs_f64();
    let writes = told.attempts.iter().filter(|one| !one.is_read);
    let (good, bad): (Vec<_>, Vec<_>) = writes.partition(|one| one.status.is_some_and(|s| s < 300));
    let share = good.len() as f64 / (good.len() + bad.len()) as f64 * 100.0;
    report.must(share >= 99.9, format!("{share:.2} % of writes good: {}", told.statuses()));
    report.must(grown <= 64.0, format!("memory grew by {grown:.0} MiB"));
    let went_on = ms(begun - began);
    report.must(
        rate >= least,
        format!("{waiting:.0} drained at {rate:.0}/s by {build}, begun {went_on} after it was up"),
    );
    let charged = charged(&node).await;
    report.must(charged == 0.0, format!("charged {charged}"));
    let written = shop.database.count("SELECT count(*) FROM outbox_events").await;
    let arrived = arrived_within(&consumer, written, Duration::from_secs(120)).await as i64;
    report.must(arrived == written, format!("{arrived} of {written} arrived"));
    let inversions = inversions(&consumer);
    report.must(inversions == 0, format!("inversions {inversions}"));
    crate::outbox::forget_appended(&shop, &consumer).await;
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

/// Takes the alarm back also when a scenario breaks off.
struct Relief<'a>(&'a PrivateServer);

impl Drop for Relief<'_> {
    fn drop(&mut self) {
        rabbitmqctl(self.0, &["set_vm_memory_high_watermark", "absolute", "1GB"]);
    }
}

async fn blocked(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 8, 60).await;
    sleep(Duration::from_secs(1)).await;
    let alarm = ["set_vm_memory_high_watermark", "absolute", "1MB"];
    tokio::task::block_in_place(|| rabbitmqctl(&ground.rabbit, &alarm));
    let relief = Relief(&ground.rabbit);
    // What was on its way when the alarm came is still confirmed.
    sleep(Duration::from_secs(2)).await;
    let before = published(&node).await;
    sleep(ground.seconds(12, 30)).await;
    let during = published(&node).await - before;
    report.must(during == 0.0, format!("{during} published while blocked"));
    let acknowledged = load.acknowledged();
    let calm = Instant::now();
    tokio::task::block_in_place(|| drop(relief));
    let told_after = calm.elapsed();
    let took = publishes(&node, before, Duration::from_secs(30)).await;
    report.must(
        within(took, Duration::from_secs(2)),
        format!(
            "goes on {took:.1?} after the alarm was over (taking it back took {})",
            ms(told_after)
        ),
    );
    let charged = charged(&node).await;
    report.must(charged == 0.0, format!("charged {charged}; {acknowledged} changes meanwhile"));
    let told = load.end().await;
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn undeclared(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 8, 80).await;
    let (_connection, channel) = channel(&ground.rabbit.url).await;
    sleep(Duration::from_secs(1)).await;
    full_queue(&shop, &node, &channel, report).await;
    gone_exchange(ground, &shop, &node, &consumer, report).await;
    let told = load.end().await;
    report.note(format!("calls: {}", told.statuses()));
    let charged = charged(&node).await;
    report.must(charged == 0.0, format!("charged {charged}"));
    // What nobody was bound for while the exchange was new was returned and counted; of that, what
    // is published again after a lost connection may arrive all the same.
    let unrouted = node.metric("outbox_unrouted_total").await as i64;
    let written = shop.database.count("SELECT count(*) FROM outbox_events").await;
    let arrived = arrived(&consumer, written - unrouted).await as i64;
    report.must(
        written - arrived <= unrouted,
        format!("{written} written, {arrived} arrived, {unrouted} returned as nobody was bound: lost 0 besides"),
    );
    let inversions = inversions(&consumer);
    report.must(inversions == 0, format!("inversions {inversions}"));
    consumer.close().await;
}

/// Distinct messages that came, once there are so many.
pub async fn arrived(consumer: &Consumer, expected: i64) -> usize {
    arrived_within(consumer, expected, Duration::from_secs(30)).await
}

async fn arrived_within(consumer: &Consumer, expected: i64, limit: Duration) -> usize {
    let began = Instant::now();
    loop {
        let ids: std::collections::HashSet<String> =
            consumer.received().into_iter().map(|message| message.id).collect();
        if ids.len() as i64 >= expected || began.elapsed() > limit {
            return ids.len();
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// First deliveries behind a later message of their customer.
pub fn inversions(consumer: &Consumer) -> usize {
    let mut seen = std::collections::HashSet::new();
    let mut last = std::collections::HashMap::new();
    let mut inversions = 0;
    for message in consumer.received() {
        if seen.insert(message.id) {
            let last = last.entry(message.customer_id).or_insert(0);
            inversions += usize::from(message.sequence < *last);
            *last = message.sequence.max(*last);
        }
    }
    inversions
}

/// A second queue that holds ten messages and refuses more.
async fn full_queue(shop: &Shop, node: &Node, channel: &Channel, report: &mut Report) {
    let name = unique("it.full");
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments.insert("x-expires".into(), AMQPValue::LongInt(300_000));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();
    let (exchange, none) = (shop.exchange.as_str(), FieldTable::default());
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(name.as_str().into(), exchange.into(), "#".into(), bind, none)
        .await
        .unwrap();
    sleep(Duration::from_secs(3)).await;
    let before = published(node).await;
    sleep(Duration::from_secs(1)).await;
    let held = published(node).await - before;
    let refused = node.metric("outbox_refused_total").await;
    report.must(
        held == 0.0 && refused > 0.0,
        format!("queue full: {refused} refusals seen, {held} confirmed in a second"),
    );
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let took = publishes(node, published(node).await, Duration::from_secs(30)).await;
    report
        .must(within(took, Duration::from_secs(5)), format!("room again: healed after {took:.1?}"));
}

async fn gone_exchange(
    ground: &Ground,
    shop: &Shop,
    node: &Node,
    consumer: &Consumer,
    report: &mut Report,
) {
    let (_connection, channel) = channel(&ground.rabbit.url).await;
    let exchange = shop.exchange.as_str();
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    let began = Instant::now();
    // Asking for what is not there costs the channel.
    while !exists(&ground.rabbit.url, exchange).await {
        assert!(began.elapsed() < Duration::from_secs(30), "the exchange does not come back");
        sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    report
        .must(took <= Duration::from_secs(5), format!("exchange declared again after {took:.1?}"));
    // Bound to the new exchange by nobody: each message is returned.
    sleep(Duration::from_secs(1)).await;
    let returned = node.metric("outbox_unrouted_total").await;
    report.note(format!("{returned} returned and counted while nobody was bound"));
    // The subscriber does so itself only when it connects.
    let (none, bind) = (FieldTable::default(), QueueBindOptions::default());
    let queue = consumer.queue.as_str().into();
    channel.queue_bind(queue, exchange.into(), "#".into(), bind, none).await.unwrap();
    let before = consumer.received().len();
    let bound = Instant::now();
    while consumer.received().len() == before && bound.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(20)).await;
    }
    let took = bound.elapsed();
    report.must(took <= Duration::from_secs(5), format!("bound again: delivered after {took:.1?}"));
}

async fn exists(url: &str, exchange: &str) -> bool {
    let (_connection, channel) = channel(url).await;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
    channel.exchange_declare(exchange.into(), kind, passive, none).await.is_ok()
}

async fn silent(ground: &Ground, report: &mut Report) {
    let proxy = Proxy::to(&ground.rabbit.url).await;
    let shop = ground.shop(&[]).await;
    let consumer = shop.consumer().await;
    let node = shop.node_with(&[("RABBIT__URL", &proxy.url)]).await;
    let shopper = Shopper::new(&shop, &node).await;
    publishes(&node, 0.0, Duration::from_secs(10)).await.expect("it publishes");
    sleep(Duration::from_secs(1)).await;
    proxy.black_hole();
    let began = Instant::now();
    shopper.add_address(&node, "Huế").await;
    let lost = async || node.metric("rabbit_connections_lost_total").await;
    while lost().await == 0.0 && began.elapsed() < Duration::from_secs(40) {
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    report.must(took <= Duration::from_secs(15), format!("noticed after {took:.1?}"));
    let before = published(&node).await;
    proxy.mend();
    proxy.reset();
    let back = publishes(&node, before, Duration::from_secs(30)).await;
    report.must(back.is_some(), format!("publishes {back:.1?} after it was mended"));
    let expected = shop.messages(&shopper.id).await;
    let kinds = consumer.kinds(&shopper.id, expected.len()).await;
    report.must(kinds == expected, format!("{} messages in order", kinds.len()));
    consumer.close().await;
}
