//! What staff does about messages that could not be published, by the routes and at the command
//! line, and what one consumer is told once more.

use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::CustomerId;
use customer_service::domain::shard::of_customer;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::json;
use uuid::Uuid;

use crate::harness::api::Call;
use crate::harness::{Api, Shop, Shopper, eventually, unique};
use crate::rabbit::amqp_url;

const LETTERS: &str = "/v1/admin/events/dead_letters";

/// Messages of one customer, the first of them parked and the others behind it, as a relay leaves
/// them. Answers with the customer's and their ids.
pub async fn parked(shop: &Shop, count: i64) -> (Uuid, Vec<Uuid>) {
    let customer = SystemClock.new_id();
    let shard = of_customer(CustomerId(customer));
    let mut ids = Vec::new();
    for sequence in 1..=count {
        let id = SystemClock.new_id();
        let (state, reason) =
            if sequence == 1 { ("parked", "refused") } else { ("behind", "behind") };
        let insert = format!(
            "INSERT INTO outbox_parked (id, shard, seq, customer_id, customer_sequence, kind, \
             occurred_at, data, state, reason, tries, parked_at) VALUES ('{id}', {shard}, \
             nextval('outbox_seq'), '{customer}', {sequence}, 'customer.updated', now(), \
             '{{\"n\": {sequence}, \"note\": {{\"sealed\": \"secret\"}}}}', '{state}', '{reason}', 3, now())"
        );
        shop.database.execute(&insert).await;
        ids.push(id);
    }
    (customer, ids)
}

struct Staff<'a> {
    shop: &'a Shop,
    node: &'a Api,
}

impl Staff<'_> {
    fn post(&self, path: &str, body: serde_json::Value) -> Call {
        self.node.post(&format!("{LETTERS}{path}"), body).bearer(&self.shop.staff_key)
    }

    fn get(&self, path: &str) -> Call {
        self.node.get(path).bearer(&self.shop.staff_key)
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("{LETTERS}?{query}")).send().await.expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn becomes(&self, message: Uuid, state: &str) {
        eventually(&format!("it is {state}"), Duration::from_secs(30), async || {
            let letter = self.get(&format!("{LETTERS}/{message}")).send().await.expect(200).json();
            (letter["state"] == state && !letter["settled_at"].is_null()).then_some(())
        })
        .await;
    }
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_staff_replays_a_parked_message_once_however_often_it_asks() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let (customer, ids) = parked(&shop, 4).await;
    let node = shop.node().await;
    let staff = Staff { shop: &shop, node: &node };
    assert_eq!(staff.ids("").await, texts(&ids));
    assert_eq!(staff.ids("state=behind&limit=2").await, texts(&ids[1..3]));
    assert_eq!(staff.ids(&format!("customer_id={customer}&type=customer.created")).await, [""; 0]);
    staff.get(&format!("{LETTERS}?state=lost")).send().await.problem(422, "validation_failed");
    let shown = staff.get(&format!("{LETTERS}/{}", ids[0])).send().await.expect(200).json();
    assert_eq!(shown["data"], json!({ "n": 1, "note": {} }), "without what is sealed");
    assert_eq!((&shown["tries"], &shown["reason"]), (&json!(3), &json!("refused")));

    let unknown = SystemClock.new_id();
    for path in [format!("/{unknown}/replay"), "/x/replay".to_owned()] {
        staff.post(&path, json!({})).send().await.problem(404, "not_found");
    }
    let waits = staff.post(&format!("/{}/replay", ids[1]), json!({})).send().await;
    waits.problem(409, "conflict");
    let replay = || staff.post(&format!("/{}/replay", ids[0]), json!({})).send();
    let (one, two, three) = tokio::join!(replay(), replay(), replay());
    for answer in [one, two, three] {
        answer.expect(200);
    }
    for id in &ids {
        staff.becomes(*id, "published").await;
    }
    consumer.kinds(&customer.to_string(), 4).await;
    let received: Vec<_> =
        consumer.received().into_iter().filter(|m| m.customer_id == customer.to_string()).collect();
    assert_eq!(
        received.iter().map(|m| m.sequence).collect::<Vec<_>>(),
        [1, 2, 3, 4],
        "once, in order"
    );
    assert_eq!(received[0].id, ids[0].to_string());
    replay().await.expect(200);
    let discard =
        staff.post(&format!("/{}/discard", ids[0]), json!({ "reason": "late" })).send().await;
    discard.problem(409, "conflict");
    assert_eq!(shop.entries(&customer.to_string()).await, ["message.replayed"]);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_staff_discards_with_a_reason_and_replays_many_with_progress() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let (first, ids) = parked(&shop, 3).await;
    let (second, others) = parked(&shop, 2).await;
    let node = shop.node().await;
    let staff = Staff { shop: &shop, node: &node };
    let path = format!("/{}/discard", ids[0]);
    for body in [json!({}), json!({ "reason": "Jane Doe" }), json!({ "reason": "" })] {
        staff.post(&path, body).send().await.problem(422, "validation_failed");
    }
    for _ in 0..2 {
        let gone =
            staff.post(&path, json!({ "reason": "test_data" })).send().await.expect(200).json();
        assert_eq!(
            (&gone["state"], &gone["discard_reason"]),
            (&json!("discarded"), &json!("test_data"))
        );
    }
    staff.post(&path, json!({ "reason": "other" })).send().await.problem(409, "conflict");
    staff.post(&format!("/{}/replay", ids[0]), json!({})).send().await.problem(409, "conflict");
    staff.becomes(ids[0], "discarded").await;
    staff.becomes(ids[2], "published").await;
    consumer.kinds(&first.to_string(), 2).await;
    let sequences: Vec<i64> = consumer.of(&first.to_string()).iter().map(|m| m.sequence).collect();
    assert_eq!(sequences, [2, 3]);
    assert_eq!(shop.entries(&first.to_string()).await, ["message.discarded"]);

    let none = staff
        .post("/replay", json!({ "type": "customer.created" }))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(none["released"], 0);
    let replay =
        staff.post("/replay", json!({ "customer_id": second })).send().await.expect(200).json();
    assert_eq!((&replay["released"], &replay["more"]), (&json!(1), &json!(false)));
    staff.becomes(others[1], "published").await;
    let path = format!("/v1/admin/events/replays/{}", replay["id"].as_str().unwrap());
    let progress = staff.get(&path).send().await.expect(200).json();
    assert_eq!(progress, json!({ "published": 1, "released": 0, "parked": 0 }));
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_the_command_line_does_the_same() {
    let shop = Shop::new().await;
    let (_, ids) = parked(&shop, 2).await;
    let (_, others) = parked(&shop, 1).await;
    let told = |arguments: &[&str]| {
        let output = shop.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (fine, status) = told(&["outbox", "status"]);
    assert!(fine && status.contains("group 7") && status.contains("parked    2"), "{status}");
    let (fine, list) = told(&["outbox", "parked", "--state", "parked"]);
    assert!(
        fine && list.contains(&ids[0].to_string()) && !list.contains(&ids[1].to_string()),
        "{list}"
    );
    let (fine, shown) = told(&["outbox", "show", &ids[0].to_string()]);
    assert!(fine && shown.contains("\"n\": 1") && !shown.contains("secret"), "{shown}");
    let (fine, refused) = told(&["outbox", "replay", &ids[1].to_string()]);
    assert!(!fine && refused.contains("goes out by itself"), "{refused}");
    let (fine, refused) = told(&["outbox", "discard", &ids[0].to_string(), "--reason", "Jane Doe"]);
    assert!(!fine, "{refused}");
    let (fine, gone) = told(&["outbox", "discard", &ids[0].to_string(), "--reason", "test_data"]);
    assert!(fine && gone.contains("discarded"), "{gone}");
    let consumer = shop.consumer().await;
    let _node = shop.node().await;
    let (fine, replayed) = told(&["outbox", "replay", "--all"]);
    assert!(fine && replayed.contains("1: 1 published"), "{replayed}");
    let left = format!(
        "SELECT count(*) FROM outbox_parked WHERE settled_at IS NULL OR id = '{}' AND state <> 'published'",
        others[0]
    );
    eventually("all is over", Duration::from_secs(20), async || {
        (shop.database.count(&left).await == 0).then_some(())
    })
    .await;
    consumer.close().await;
}

/// A queue of a consumer, to look into.
pub struct Mailbox {
    pub name: String,
    channel: Channel,
    _connection: Connection,
}

impl Mailbox {
    pub async fn new(prefix: &str) -> Self {
        let connection =
            Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let name = unique(prefix);
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongInt(900_000));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();
        Self { name, channel, _connection: connection }
    }

    /// Id, sequence and whether it is told once more, of each message.
    async fn take(&self) -> Vec<(String, i64, bool)> {
        let mut taken = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) =
            self.channel.basic_get(self.name.as_str().into(), options).await.unwrap()
        {
            let id = message.properties.message_id().as_ref().unwrap().to_string();
            let (_, sequence) = crate::outbox::place(&message.delivery);
            let headers = message.properties.headers().clone().unwrap();
            let again =
                headers.inner().get("cloudEvents:replay") == Some(&AMQPValue::Boolean(true));
            taken.push((id, sequence, again));
        }
        taken
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m2_one_consumer_is_told_a_customers_messages_once_more() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for number in 0..6 {
        let body = json!({ "first_name": format!("Anna {number}") });
        shopper.patch(&node, "/v1/me", body).send().await.expect(200);
    }
    let all = shop.messages(&shopper.id).await.len();
    consumer.kinds(&shopper.id, all).await;
    let passed = "SELECT count(*) FROM outbox_events e JOIN outbox_cursors c \
        ON c.relay_group = e.shard / 8 WHERE e.seq > c.positions[e.shard % 8 + 1]";
    eventually("the cursors pass", Duration::from_secs(20), async || {
        (shop.database.count(passed).await == 0).then_some(())
    })
    .await;
    let before = consumer.received().len();

    let mailbox = Mailbox::new("example.it").await;
    let path = format!("/v1/admin/customers/{}/messages/replay", shopper.id);
    let ask = |body| node.post(&path, body).bearer(&shop.staff_key).send();
    let body = |queue: &str| json!({ "from_sequence": 3, "queue": queue });
    for (queue, code) in
        [("example.nobody", "unknown_queue"), ("customer.order-facts", "not_allowed")]
    {
        let refused = ask(body(queue)).await.problem(422, "validation_failed");
        assert!(refused.text().contains(code), "{}", refused.text());
    }
    ask(json!({ "from_sequence": 0, "queue": "example.x" }))
        .await
        .problem(422, "validation_failed");
    ask(json!({ "from_sequence": 4, "to_sequence": 3, "queue": "example.x" }))
        .await
        .problem(422, "validation_failed");

    let told = ask(body(&mailbox.name)).await.expect(200).json();
    let last = i64::try_from(all).unwrap();
    assert_eq!(told["published"], last - 2, "{told}");
    assert_eq!((&told["first_sequence"], &told["last_sequence"]), (&json!(3), &json!(last)));
    assert_eq!(
        (&told["missing"], &told["withheld"], &told["more"]),
        (&json!([]), &json!([]), &json!(false))
    );
    let got = mailbox.take().await;
    let sent: Vec<_> =
        consumer.of(&shopper.id).into_iter().map(|m| (m.id, m.sequence, true)).collect();
    assert_eq!(got, sent[2..], "the same messages in the same order");
    assert_eq!(consumer.received().len(), before, "nobody else is told");

    // A part of them, of which the first are no longer kept.
    shop.database
        .execute(&format!(
            "DELETE FROM outbox_events WHERE customer_id = '{}' AND customer_sequence < 5",
            shopper.id
        ))
        .await;
    let part = json!({ "from_sequence": 2, "to_sequence": 6, "queue": mailbox.name });
    let told = ask(part).await.expect(200).json();
    assert_eq!(told["missing"], json!([{ "first": 2, "last": 4 }]), "{told}");
    assert_eq!((&told["published"], &told["last_sequence"]), (&json!(2), &json!(6)));
    assert_eq!(mailbox.take().await.len(), 2);
    let output = shop.run(&[
        "outbox",
        "replay-customer",
        &shopper.id,
        "--from",
        "5",
        "--to",
        "5",
        "--queue",
        &mailbox.name,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("published 1, from 5 to 5"), "{text}");
    assert_eq!(
        mailbox.take().await.iter().map(|(_, sequence, _)| *sequence).collect::<Vec<_>>(),
        [5]
    );
    let entries = shop.entries(&shopper.id).await;
    assert_eq!(entries.iter().filter(|entry| *entry == "messages.replayed_to_queue").count(), 3);
    consumer.close().await;
}
