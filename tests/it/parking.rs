//! Messages that fail by their own fault (rule M4), against a real PostgreSQL and a RabbitMQ that
//! takes no body over 64 KiB: it closes the channel on which it is given one, and every message on
//! its way fails alike.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use customer_service::actors::worker::Worker;
use customer_service::actors::workers::outbox_relay::{AfterParking, Dirty, OutboxRelay, Settings};
use customer_service::brokers::rabbit::Rabbit;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::outbox::{Author, number, place, relay_with, run, settings};
use crate::rabbit::{Reader, amqp_url, publisher};

const BODY_MAX: usize = 64 * 1024;
const TOO_LARGE: usize = BODY_MAX + 1_000;

/// One broker for all tests that run at the same time; it ends with the last of them.
async fn small_broker() -> Arc<PrivateServer> {
    static SHARED: Mutex<Weak<PrivateServer>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(broker) = shared.upgrade() {
        return broker;
    }
    let started = tokio::task::spawn_blocking(|| PrivateServer::small_broker(BODY_MAX));
    let broker = Arc::new(started.await.unwrap());
    *shared = Arc::downgrade(&broker);
    broker
}

/// A database, a publisher to a broker, a relay between the two, and a consumer of everything.
struct Line {
    database: TestDatabase,
    client: Client,
    rabbit: Rabbit,
    relay: OutboxRelay,
    reader: Reader,
}

impl Line {
    async fn new(url: &str, after_parking: AfterParking) -> Self {
        Self::of(TestDatabase::new().await, url, after_parking).await
    }

    async fn of(database: TestDatabase, url: &str, after_parking: AfterParking) -> Self {
        let rabbit = publisher("parking", url);
        rabbit.connect().await.unwrap();
        let reader = Reader::bind_at(url, rabbit.exchange(), "#").await;
        let client = database.client().await;
        let relay = relay(&database, &rabbit, after_parking);
        Self { database, client, rabbit, relay, reader }
    }

    /// The same database with another broker, which takes everything, and another owner.
    async fn moved_to(mut self, url: &str, after_parking: AfterParking) -> Self {
        self.relay.on_stop().await.unwrap();
        self.rabbit.close().await;
        Self::of(self.database, url, after_parking).await
    }

    async fn write(&self, author: &mut Author, count: usize) {
        for _ in 0..count {
            run(&self.client, &author.next("customer.updated")).await;
        }
    }

    /// Writes a message that the broker does not take; answers with its id.
    async fn poison(&self, author: &mut Author) -> String {
        run(&self.client, &author.next_padded("customer.updated", TOO_LARGE)).await;
        let (id, sequence) = (author.id, author.sequence);
        let written = format!(
            "SELECT id::text FROM outbox_events WHERE customer_id = '{id}' \
             AND customer_sequence = {sequence}"
        );
        self.client.query_one(&written, &[]).await.unwrap().get(0)
    }

    /// Runs the relay, failed runs included, until a query answers a number.
    async fn run_until(&mut self, query: &str, expected: i64) {
        let began = Instant::now();
        while number(&self.client, query).await != expected {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{query} does not become {expected}"
            );
            let rest = if self.relay.run_once().await.is_err() { 100 } else { 10 };
            tokio::time::sleep(Duration::from_millis(rest)).await;
        }
    }

    /// The sequences of the next messages of one customer, read past those of others.
    async fn sequences(&mut self, author: &Author, count: usize) -> Vec<i64> {
        let mut found = Vec::new();
        while found.len() < count {
            let (subject, sequence) = place(&self.reader.next().await);
            if subject == author.id.to_string() {
                found.push(sequence);
            }
        }
        found
    }

    async fn decide(&self, message: &str, decision: &str) {
        let set = format!("UPDATE outbox_parked SET {decision} WHERE id = '{message}'");
        run(&self.client, &set).await;
    }
}

const RELEASE: &str = "state = 'released', tries = 0";
const DISCARD: &str = "state = 'discarded', discard_reason = 'test'";
const UNPASSED: &str = "SELECT count(*) FROM outbox_events e JOIN outbox_cursors c \
     ON c.relay_group = e.shard / 8 WHERE e.seq > c.positions[e.shard % 8 + 1]";

fn relay(database: &TestDatabase, rabbit: &Rabbit, after_parking: AfterParking) -> OutboxRelay {
    let settings = Settings { after_parking, ..settings("one") };
    relay_with(database, rabbit, &Dirty::new(), settings)
}

fn in_state(state: &str) -> String {
    format!("SELECT count(*) FROM outbox_parked WHERE state = '{state}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_f15_a_poisoned_message_is_parked_after_three_proven_tries_and_replayed_in_order() {
    let broker = small_broker().await;
    let mut line = Line::new(&broker.url, AfterParking::Wait).await;
    let mut poisoned = Author::of_shard(5);
    let mut neighbours = [Author::of_shard(5), Author::of_shard(6), Author::of_shard(40)];
    line.write(&mut poisoned, 2).await;
    let message = line.poison(&mut poisoned).await;
    line.write(&mut poisoned, 3).await;
    for neighbour in &mut neighbours {
        line.write(neighbour, 20).await;
    }
    let began = Instant::now();
    line.run_until(&in_state("parked"), 1).await;
    println!("parked after {:?}", began.elapsed());
    let row = line
        .client
        .query_one(
            "SELECT id::text, tries, reason, detail FROM outbox_parked WHERE state = 'parked'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, i32>(1)), (message.clone(), 3));
    assert_eq!(row.get::<_, &str>(2), "refused");
    assert!(row.get::<_, &str>(3).contains("PRECONDITION_FAILED"), "{}", row.get::<_, &str>(3));
    line.run_until(&in_state("behind"), 3).await;
    line.run_until(UNPASSED, 0).await;
    let mut seen = HashMap::<String, i64>::new();
    while seen.values().sum::<i64>() < 62 {
        let (subject, sequence) = place(&line.reader.next().await);
        let last = seen.entry(subject).or_default();
        assert!(sequence <= *last + 1, "out of order");
        *last = (*last).max(sequence);
    }
    assert_eq!(seen[&poisoned.id.to_string()], 2, "nothing overtakes it");

    // Its row may go with its partition, and its customer goes on meanwhile.
    run(&line.client, "DELETE FROM outbox_events").await;
    line.write(&mut poisoned, 2).await;
    line.run_until(&in_state("behind"), 5).await;
    let mut line = line.moved_to(&amqp_url(), AfterParking::Wait).await;
    line.write(&mut poisoned, 1).await;
    line.run_until(&in_state("behind"), 6).await;
    line.decide(&message, RELEASE).await;
    line.run_until(&in_state("published"), 7).await;
    line.write(&mut poisoned, 1).await;
    line.run_until(UNPASSED, 0).await;
    assert_eq!(line.sequences(&poisoned, 8).await, [3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(number(&line.client, &in_state("published")).await, 7, "the last one went directly");
    line.rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_discarded_message_lets_later_ones_go_and_the_next_poisoned_one_stops_them_again() {
    let broker = small_broker().await;
    let mut line = Line::new(&broker.url, AfterParking::Wait).await;
    let mut author = Author::new();
    let first = line.poison(&mut author).await;
    line.write(&mut author, 2).await;
    let second = line.poison(&mut author).await;
    line.write(&mut author, 2).await;
    line.run_until(&in_state("parked"), 1).await;
    line.run_until(&in_state("behind"), 5).await;
    line.decide(&first, DISCARD).await;
    line.run_until(&in_state("parked"), 1).await;
    assert_eq!(line.sequences(&author, 2).await, [2, 3]);
    let of_second =
        format!("SELECT tries FROM outbox_parked WHERE id = '{second}' AND state = 'parked'");
    line.run_until(&format!("SELECT coalesce(({of_second}), 0)"), 3).await;
    assert_eq!(number(&line.client, &in_state("behind")).await, 2);
    // Released while nothing has changed, it fails as before, and what is behind it waits on.
    line.decide(&second, RELEASE).await;
    line.run_until(&in_state("released"), 0).await;
    assert_eq!(number(&line.client, &in_state("parked")).await, 1);
    line.decide(&second, DISCARD).await;
    line.run_until(&in_state("published"), 4).await;
    assert_eq!(line.sequences(&author, 2).await, [5, 6]);
    let open = "SELECT count(*) FROM outbox_parked WHERE settled_at IS NULL";
    assert_eq!(number(&line.client, open).await, 0);
    line.rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_where_it_is_configured_later_messages_pass_a_parked_one() {
    let broker = small_broker().await;
    let mut line = Line::new(&broker.url, AfterParking::Pass).await;
    let mut author = Author::new();
    let message = line.poison(&mut author).await;
    line.write(&mut author, 3).await;
    line.run_until(&in_state("parked"), 1).await;
    line.run_until(UNPASSED, 0).await;
    assert_eq!(line.sequences(&author, 3).await, [2, 3, 4]);
    let mut line = line.moved_to(&amqp_url(), AfterParking::Pass).await;
    line.write(&mut author, 1).await;
    line.run_until(UNPASSED, 0).await;
    line.decide(&message, RELEASE).await;
    line.run_until(&in_state("published"), 1).await;
    assert_eq!(line.sequences(&author, 2).await, [5, 1]);
    assert_eq!(number(&line.client, "SELECT count(*) FROM outbox_parked").await, 1);
    line.rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m3_a_broker_killed_during_the_tries_costs_none() {
    let broker =
        tokio::task::spawn_blocking(|| PrivateServer::small_broker(BODY_MAX)).await.unwrap();
    let mut line = Line::new(&broker.url, AfterParking::Wait).await;
    let (mut author, mut neighbour) = (Author::new(), Author::new());
    line.poison(&mut author).await;
    line.write(&mut neighbour, 1).await;
    let tries = "SELECT coalesce(max(tries), 0) FROM outbox_parked";
    line.run_until(tries, 1).await;
    broker.stop("KILL").await;
    let until = Instant::now() + Duration::from_secs(6);
    let mut failures = 0;
    while Instant::now() < until {
        failures += usize::from(line.relay.run_once().await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(failures > 5, "the outage was felt: {failures}");
    assert_eq!(number(&line.client, tries).await, 1, "an outage costs no try");
    tokio::task::block_in_place(|| broker.start_again());
    line.run_until(&in_state("parked"), 1).await;
    assert_eq!(number(&line.client, tries).await, 3);
    line.run_until(UNPASSED, 0).await;
    line.rabbit.close().await;
}

/// What an owner leaves behind that ends, or is frozen, when a message is parked and its cursor is
/// not written down.
async fn ends_after_parking(action: &str) {
    let broker = small_broker().await;
    let line = Line::new(&broker.url, AfterParking::Wait).await;
    let (mut author, mut neighbour) = (Author::of_shard(5), Author::of_shard(5));
    let message = line.poison(&mut author).await;
    line.write(&mut author, 2).await;
    line.write(&mut neighbour, 3).await;
    let point = format!("outbox_relay.parked.{message}");
    fail::cfg(&point, action).unwrap();
    let Line { database, client, rabbit, reader, .. } = line;
    // A process of its own, as far as it goes: what is frozen there must not freeze the test.
    let process = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut first = {
        let _inside = process.enter();
        relay(&database, &rabbit, AfterParking::Wait)
    };
    let running = process.spawn(async move {
        while first.run_once().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        first.groups()
    });
    let began = Instant::now();
    while number(&client, &in_state("parked")).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "not parked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let position = "SELECT positions[6] FROM outbox_cursors WHERE relay_group = 0";
    let before = number(&client, position).await;
    let second = relay(&database, &rabbit, AfterParking::Wait);
    let mut line = Line { database, client, rabbit, relay: second, reader };
    line.run_until(UNPASSED, 0).await;
    println!("{action}: passed after {:?}", began.elapsed());
    assert!(before < number(&line.client, position).await, "the first had not written it down");
    fail::remove(&point);
    let left = tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    assert_eq!(left, [] as [i16; 0], "it must not go on as if it were the owner");
    process.shutdown_background();
    let row = line
        .client
        .query_one("SELECT tries, state FROM outbox_parked WHERE customer_sequence = 1", &[])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, i32>(0), row.get::<_, &str>(1)),
        (3, "parked"),
        "once, and not tried again"
    );
    assert_eq!(number(&line.client, &in_state("behind")).await, 2);
    assert_eq!(number(&line.client, "SELECT count(*) FROM outbox_parked").await, 3);
    line.write(&mut author, 1).await;
    line.run_until(&in_state("behind"), 3).await;
    line.decide(&message, DISCARD).await;
    line.run_until(&in_state("published"), 3).await;
    assert_eq!(line.sequences(&author, 3).await, [2, 3, 4]);
    line.rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m4_an_owner_that_ends_after_parking_leaves_nothing_lost_and_nothing_twice() {
    ends_after_parking("return").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m4_an_owner_that_freezes_after_parking_leaves_nothing_lost_and_nothing_twice() {
    ends_after_parking("pause").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_successor_counts_on_and_closes_no_channel_again() {
    let broker = small_broker().await;
    let mut line = Line::new(&broker.url, AfterParking::Wait).await;
    let mut author = Author::new();
    line.poison(&mut author).await;
    line.run_until("SELECT coalesce(max(tries), 0) FROM outbox_parked", 2).await;
    let closures = || broker.log().matches("larger than configured max size").count();
    let before = closures();
    let mut line = line.moved_to(&broker.url, AfterParking::Wait).await;
    line.run_until(&in_state("parked"), 1).await;
    println!("{before} closures before, {} after", closures());
    assert_eq!(number(&line.client, "SELECT max(tries) FROM outbox_parked").await, 3);
    line.rabbit.close().await;
}

/// Writes messages of many customers, one every few milliseconds, and reads them: from the begin of
/// the append to the consumer, ascending.
async fn latencies(client: &Client, reader: &mut Reader, authors: &mut [Author]) -> Vec<Duration> {
    const MESSAGES: usize = 500;
    let begun = std::sync::Mutex::new(HashMap::new());
    let writing = async {
        for number in 0..MESSAGES {
            let author = &mut authors[number % 40];
            let statement = author.next("customer.updated");
            let key = (author.id.to_string(), author.sequence);
            begun.lock().unwrap().insert(key, Instant::now());
            run(client, &statement).await;
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
    };
    let reading = async {
        let mut took = Vec::new();
        while took.len() < MESSAGES {
            let key = place(&reader.next().await);
            // A copy has been taken out before.
            if let Some(began) = begun.lock().unwrap().remove(&key) {
                took.push(began.elapsed());
            }
        }
        took
    };
    let ((), mut took) = tokio::join!(writing, reading);
    took.sort();
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_others_hardly_feel_a_poisoned_message() {
    let broker = small_broker().await;
    let line = Line::new(&broker.url, AfterParking::Wait).await;
    let mut poisoned = Author::new();
    let mut authors: Vec<Author> = std::iter::repeat_with(Author::new).take(40).collect();
    let Line { client, mut relay, mut reader, database, rabbit } = line;
    let relaying = tokio::spawn(async move {
        loop {
            let done = relay.run_once().await.unwrap();
            if !done.more {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let quiet = latencies(&client, &mut reader, &mut authors).await;
    run(&client, &poisoned.next_padded("customer.updated", TOO_LARGE)).await;
    let disturbed = latencies(&client, &mut reader, &mut authors).await;
    let at = |took: &[Duration], percent: usize| took[took.len() * percent / 100 - 1];
    for (what, took) in [("quiet", &quiet), ("while one is tried and parked", &disturbed)] {
        println!("{what}: p50 {:?} p99 {:?} max {:?}", at(took, 50), at(took, 99), at(took, 100));
    }
    let began = Instant::now();
    while number(&client, &in_state("parked")).await != 1 {
        assert!(began.elapsed() < Duration::from_secs(30), "not parked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    relaying.abort();
    // Two connections are replaced, and machines of tests are busy.
    assert!(at(&disturbed, 99) <= at(&quiet, 99) * 2 + Duration::from_millis(250));
    rabbit.close().await;
    drop(database);
}
