//! The outbox relay against a real PostgreSQL and a real RabbitMQ.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use customer_service::actors::worker::Worker;
use customer_service::actors::workers::outbox_relay::{AfterParking, Dirty, OutboxRelay, Settings};
use customer_service::brokers::rabbit::Rabbit;
use customer_service::clock::{Clock, SystemClock};
use customer_service::db;
use customer_service::domain::CustomerId;
use customer_service::domain::shard::of_customer;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::db::TestDatabase;
use crate::harness::wire::Wire;
use crate::rabbit::{Reader, amqp_url, publisher};

pub fn settings(owner: &str) -> Settings {
    Settings {
        owner: owner.to_owned(),
        schemas: "https://shop.example/schemas".to_owned(),
        read_max: 100,
        window_max: 64,
        poll: Duration::from_millis(20),
        tries: 3,
        after_parking: AfterParking::Wait,
    }
}

fn relay(database: &TestDatabase, rabbit: &Rabbit, dirty: &Dirty, owner: &str) -> OutboxRelay {
    relay_with(database, rabbit, dirty, settings(owner))
}

pub fn relay_with(
    database: &TestDatabase,
    rabbit: &Rabbit,
    dirty: &Dirty,
    settings: Settings,
) -> OutboxRelay {
    OutboxRelay::new(
        database.database(),
        rabbit.clone(),
        Arc::new(SystemClock),
        dirty.clone(),
        settings,
    )
}

/// A customer of which the next message is to be written.
pub struct Author {
    pub id: Uuid,
    pub sequence: i64,
}

impl Author {
    pub fn new() -> Self {
        Self { id: SystemClock.new_id(), sequence: 0 }
    }

    pub fn of_shard(shard: i16) -> Self {
        std::iter::repeat_with(Self::new).find(|author| author.shard() == shard).unwrap()
    }

    fn shard(&self) -> i16 {
        i16::try_from(of_customer(CustomerId(self.id))).unwrap()
    }

    /// The statement that appends its next message, as a batch would at its end.
    pub fn next(&mut self, kind: &str) -> String {
        self.next_padded(kind, 0)
    }

    /// As [`Author::next`], with so many bytes more in it.
    pub fn next_padded(&mut self, kind: &str, bytes: usize) -> String {
        self.sequence += 1;
        let (shard, id, sequence) = (self.shard(), self.id, self.sequence);
        let pad = match bytes {
            0 => String::new(),
            _ => format!(", \"pad\": \"{}\"", "x".repeat(bytes)),
        };
        let message = SystemClock.new_id();
        format!(
            "SELECT outbox_append('{{{shard}}}', '{{{message}}}', '{{{id}}}', '{{{sequence}}}', \
             '{{{kind}}}', ARRAY[clock_timestamp()], '{{null}}', ARRAY['{{\"n\": {sequence}{pad}}}'::jsonb])"
        )
    }

    /// A row as an earlier hour would have left it.
    fn in_bucket(&mut self, bucket: i32) -> String {
        self.sequence += 1;
        let (shard, id, sequence) = (self.shard(), self.id, self.sequence);
        let message = SystemClock.new_id();
        format!(
            "INSERT INTO outbox_events VALUES ({bucket}, {shard}, nextval('outbox_seq'), \
             '{message}', '{id}', {sequence}, 'customer.updated', clock_timestamp(), NULL, '{{}}')"
        )
    }
}

pub async fn run(client: &Client, statement: &str) {
    client.batch_execute(statement).await.unwrap();
}

pub async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(&format!("SELECT ({query})::bigint"), &[]).await.unwrap().get(0)
}

/// Runs the relay until a run finds nothing, at least `runs` times.
async fn settle(relay: &mut OutboxRelay, runs: usize) -> usize {
    let mut handled = 0;
    let mut quiet = 0;
    while quiet < runs {
        let done = relay.run_once().await.unwrap();
        handled += done.handled;
        quiet = if done.handled == 0 && !done.more { quiet + 1 } else { 0 };
        // Longer than the poll, so that each run looks at every shard.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    handled
}

/// Whose message it is, and the how manieth.
pub fn place(delivery: &Delivery) -> (String, i64) {
    let headers = delivery.properties.headers().clone().unwrap();
    match (headers.inner().get("cloudEvents:subject"), headers.inner().get("cloudEvents:sequence"))
    {
        (Some(AMQPValue::LongString(subject)), Some(AMQPValue::LongLongInt(sequence))) => {
            (subject.to_string(), *sequence)
        }
        other => panic!("no subject or sequence: {other:?}"),
    }
}

/// Reads until every author's messages are there. Fails if a first delivery is out of order.
/// Answers with the number of deliveries, repetitions included.
async fn read_all(reader: &mut Reader, authors: &[Author]) -> usize {
    let mut seen: HashMap<String, i64> = HashMap::new();
    let mut deliveries = 0;
    let complete = |seen: &HashMap<String, i64>| {
        authors.iter().all(|a| seen.get(&a.id.to_string()).copied().unwrap_or(0) == a.sequence)
    };
    while !complete(&seen) {
        let (subject, sequence) = place(&reader.next().await);
        let last = seen.entry(subject).or_default();
        assert!(sequence <= *last + 1, "{sequence} came before {}", *last + 1);
        *last = (*last).max(sequence);
        deliveries += 1;
    }
    deliveries
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_messages_go_out_once_in_order_and_the_cursors_say_so() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("relay", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "customer.#").await;
    let (client, dirty) = (database.client().await, Dirty::new());
    let mut relay = relay(&database, &rabbit, &dirty, "one");
    assert_eq!(settle(&mut relay, 1).await, 0);
    assert_eq!(relay.groups(), (0..8).collect::<Vec<_>>());

    let mut authors: Vec<Author> = (0..30).map(|_| Author::new()).collect();
    for round in 0..20 {
        for author in &mut authors {
            run(&client, &author.next("customer.updated")).await;
        }
        if round % 5 == 0 {
            dirty.mark(authors.iter().map(|author| author.shard() as u16));
            relay.run_once().await.unwrap();
        }
    }
    settle(&mut relay, 2).await;
    assert_eq!(read_all(&mut reader, &authors).await, 600, "each once");

    relay.on_stop().await.unwrap();
    let behind = "SELECT count(*) FROM outbox_events e JOIN outbox_cursors c \
                  ON c.relay_group = e.shard / 8 WHERE e.seq > c.positions[e.shard % 8 + 1]";
    assert_eq!(number(&client, behind).await, 0);
    let mut next = self::relay(&database, &rabbit, &dirty, "two");
    assert_eq!(settle(&mut next, 3).await, 0, "the successor takes over at once, and at the end");
    assert_eq!(next.groups().len(), 8);
    assert_eq!(number(&client, "SELECT min(epoch) FROM outbox_cursors").await, 2);
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_what_the_contract_says() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("contract", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "customer.created").await;
    let client = database.client().await;
    let mut author = Author::new();
    run(&client, &author.next("customer.created")).await;
    let row = client.query_one("SELECT id::text FROM outbox_events", &[]).await.unwrap();
    let id: String = row.get(0);
    let mut relay = relay(&database, &rabbit, &Dirty::new(), "one");
    settle(&mut relay, 1).await;

    let got = reader.next().await;
    assert_eq!(got.data, br#"{"n": 1}"#);
    assert_eq!(got.properties.kind().as_ref().unwrap().as_str(), "customer.created");
    let headers = got.properties.headers().clone().unwrap();
    let text = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(text("cloudEvents:id"), id);
    assert_eq!(text("cloudEvents:source"), "/customer-service");
    assert_eq!(text("cloudEvents:subject"), author.id.to_string());
    assert_eq!(text("cloudEvents:partitionkey"), author.id.to_string());
    assert_eq!(
        text("cloudEvents:dataschema"),
        "https://shop.example/schemas/customer.created.json"
    );
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m3_an_outage_of_the_broker_loses_and_reorders_nothing() {
    let (database, wire) = (TestDatabase::new().await, Wire::to_broker().await);
    let rabbit = publisher("outage", &wire.url);
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    let client = database.client().await;
    let mut relay = relay(&database, &rabbit, &Dirty::new(), "one");
    let mut authors: Vec<Author> = (0..40).map(|_| Author::new()).collect();
    let mut failures = 0;
    for round in 0..30 {
        for author in &mut authors {
            run(&client, &author.next("customer.updated")).await;
        }
        if round % 6 == 2 {
            // In the middle of a run, as outages are.
            let (running, ()) = tokio::join!(relay.run_once(), async {
                tokio::time::sleep(Duration::from_millis(3)).await;
                wire.cut();
            });
            failures += usize::from(running.is_err());
            failures += usize::from(relay.run_once().await.is_err());
            wire.mend();
        } else {
            failures += usize::from(relay.run_once().await.is_err());
        }
    }
    assert!(failures >= 5, "the outage was felt: {failures}");
    while relay.run_once().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settle(&mut relay, 2).await;
    let deliveries = read_all(&mut reader, &authors).await;
    assert!(deliveries >= 1_200, "{deliveries}");
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_takes_over_what_the_first_loses_and_the_first_knows() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("nodes", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    let client = database.client().await;
    let mut first = relay(&database, &rabbit, &Dirty::new(), "first");
    let mut second = relay(&database, &rabbit, &Dirty::new(), "second");
    settle(&mut first, 1).await;
    settle(&mut second, 1).await;
    assert_eq!((first.groups().len(), second.groups().len()), (8, 0));

    let mut authors: Vec<Author> = (0..20).map(|_| Author::new()).collect();
    for author in &mut authors {
        run(&client, &author.next("customer.updated")).await;
    }
    settle(&mut first, 1).await;
    // What a frozen owner meets when it thaws: the server has ended its session.
    let end = "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE locktype = 'advisory' \
               AND l.classid = 7262 AND l.objid = 0 AND granted \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    run(&client, end).await;
    for author in &mut authors {
        run(&client, &author.next("customer.updated")).await;
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    settle(&mut second, 1).await;
    assert_eq!(second.groups().len(), 8);
    assert!(first.run_once().await.is_err(), "it must not go on as if nothing had happened");
    assert_eq!(first.groups(), [] as [i16; 0]);
    settle(&mut first, 1).await;
    assert_eq!(first.groups(), [] as [i16; 0]);

    let stale = db::outbox::Cursor { group: 0, epoch: 1, positions: vec![9; 8], bucket: 9 };
    let connection = database.database().get().await.unwrap();
    assert_eq!(db::outbox::flush(&connection, &[stale]).await.unwrap(), [] as [i16; 0]);
    read_all(&mut reader, &authors).await;
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_old_hours_are_found_after_a_long_outage() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("hours", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    let client = database.client().await;
    let hour = number(&client, "SELECT outbox_hour()").await as i32;
    let mut authors: Vec<Author> = (0..40).map(|_| Author::new()).collect();
    for age in [9_000, 500, 100, 99, 7, 3, 2, 1] {
        for (n, author) in authors.iter_mut().enumerate() {
            // Not every shard has rows in every hour.
            if !(n + age as usize).is_multiple_of(3) {
                run(&client, &author.in_bucket(hour - age)).await;
            }
        }
    }
    for author in &mut authors {
        run(&client, &author.next("customer.updated")).await;
    }
    let mut relay = relay(&database, &rabbit, &Dirty::new(), "one");
    settle(&mut relay, 3).await;
    read_all(&mut reader, &authors).await;
    relay.on_stop().await.unwrap();
    let floor = number(&client, "SELECT min(bucket) FROM outbox_cursors").await as i32;
    assert!(floor >= hour, "idle groups follow the hour too: {floor} of {hour}");
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_skipped_when_the_servers_clock_steps_back() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("clock", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    let client = database.client().await;
    let mut relay = relay(&database, &rabbit, &Dirty::new(), "one");
    // The clock was nine hours ahead, and now it is right again.
    let ahead = number(&client, "SELECT setval('outbox_hours', outbox_hour() + 9)").await;
    let mut authors: Vec<Author> = (0..10).map(|_| Author::new()).collect();
    for _ in 0..3 {
        for author in &mut authors {
            run(&client, &author.next("customer.updated")).await;
        }
        settle(&mut relay, 2).await;
    }
    let earliest = number(&client, "SELECT min(bucket) FROM outbox_events").await;
    assert_eq!(earliest, ahead, "no row goes into an earlier hour");
    read_all(&mut reader, &authors).await;
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_is_under_way_while_hours_pass_is_not_skipped() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("slow", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    let (client, slow) = (database.client().await, database.client().await);
    let mut relay = relay(&database, &rabbit, &Dirty::new(), "one");
    let mut authors = [Author::new()];
    run(&client, &authors[0].next("customer.updated")).await;
    settle(&mut relay, 2).await;

    run(&slow, "BEGIN").await;
    run(&slow, &authors[0].next("customer.updated")).await;
    run(&client, "SELECT setval('outbox_hours', outbox_hour() + 6)").await;
    settle(&mut relay, 4).await;
    run(&slow, "COMMIT").await;
    settle(&mut relay, 4).await;
    read_all(&mut reader, &authors).await;

    run(&client, &authors[0].next("customer.updated")).await;
    settle(&mut relay, 4).await;
    assert_eq!(reader.next().await.routing_key.as_str(), "customer.updated");
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_message_that_cannot_be_published_stops_its_own_customer_only() {
    let (database, rabbit) = (TestDatabase::new().await, publisher("poison", &amqp_url()));
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    let client = database.client().await;
    let mut poisoned = Author::of_shard(5);
    let mut neighbours = [Author::of_shard(5), Author::of_shard(6)];
    run(&client, &poisoned.next(&"x".repeat(300))).await;
    for _ in 0..10 {
        run(&client, &poisoned.next("customer.updated")).await;
        for neighbour in &mut neighbours {
            run(&client, &neighbour.next("customer.updated")).await;
        }
    }
    let settings = Settings { tries: 20, ..settings("one") };
    let mut relay = relay_with(&database, &rabbit, &Dirty::new(), settings);
    settle(&mut relay, 2).await;
    assert_eq!(read_all(&mut reader, &neighbours).await, 20);
    relay.on_stop().await.unwrap();
    let position = "SELECT positions[6] FROM outbox_cursors WHERE relay_group = 0";
    assert_eq!(number(&client, position).await, 0, "the cursor waits while it is tried");
    rabbit.close().await;
}
