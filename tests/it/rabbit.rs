//! The publisher against a real RabbitMQ (`TEST_AMQP_URL`).

use std::collections::HashSet;
use std::time::Duration;

use chrono::DateTime;
use customer_service::brokers::rabbit::{
    Delivery, FaultClass, OutgoingMessage, PublishFault, Rabbit, Settings, State, Unrouted,
};
use customer_service::clock::{Clock, SystemClock};
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub fn amqp_url() -> String {
    std::env::var("TEST_AMQP_URL")
        .expect("set TEST_AMQP_URL to a RabbitMQ for tests, as `make test` does")
}

/// A publisher with exchanges of its own, named after the test.
pub fn publisher(test: &str, url: &str) -> Rabbit {
    Rabbit::new(Settings {
        url: url.to_owned().into(),
        exchange: format!("test.{test}.{}", SystemClock.new_id()),
        notifications_exchange: format!("test.{test}.mail.{}", SystemClock.new_id()),
        commands_exchange: format!("test.{test}.commands.{}", SystemClock.new_id()),
        connect_timeout: Duration::from_secs(5),
        confirm_timeout: Duration::from_secs(5),
        heartbeat_seconds: 10,
        unrouted: Unrouted::Drop,
        connection_name: format!("test {test}"),
    })
    .unwrap()
}

/// A consumer's side: a channel, and an exclusive queue bound as asked.
pub struct Reader {
    pub channel: Channel,
    pub consumer: Consumer,
    _connection: Connection,
}

impl Reader {
    pub async fn bind(exchange: &str, routing_key: &str) -> Self {
        Self::bind_at(&amqp_url(), exchange, routing_key).await
    }

    pub async fn bind_at(url: &str, exchange: &str, routing_key: &str) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(url, properties).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let table = FieldTable::default;
        let queue = channel.queue_declare("".into(), options, table()).await.unwrap();
        let name = queue.name().clone();
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(name.clone(), exchange.into(), routing_key.into(), bind, table())
            .await
            .unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumer = channel.basic_consume(name, "".into(), options, table()).await.unwrap();
        Self { channel, consumer, _connection: connection }
    }

    pub async fn next(&mut self) -> lapin::message::Delivery {
        let next = tokio::time::timeout(Duration::from_secs(5), self.consumer.next());
        next.await.expect("a message within 5 s").expect("the consumer lives").unwrap()
    }
}

fn event(rabbit: &Rabbit, routing_key: &str) -> OutgoingMessage {
    OutgoingMessage {
        exchange: rabbit.exchange().to_owned(),
        routing_key: routing_key.to_owned(),
        id: SystemClock.new_id(),
        message_type: routing_key.to_owned(),
        time: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        subject: Some("01920000-0000-7000-8000-000000000001".to_owned()),
        sequence: Some(1),
        schema: Some("https://shop.example/schemas/customer.created.json".to_owned()),
        traceparent: None,
        body: br#"{"customer_id":"x"}"#.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_persistent_and_as_described() {
    let rabbit = publisher("arrives", &amqp_url());
    assert!(matches!(rabbit.state(), State::Down(_)));
    rabbit.connect().await.unwrap();
    assert_eq!(rabbit.state(), State::Connected);
    let mut reader = Reader::bind(rabbit.exchange(), "customer.#").await;

    let sent = event(&rabbit, "customer.created");
    rabbit.publish_one(sent.clone()).await.unwrap();

    let got = reader.next().await;
    assert_eq!(got.data, sent.body);
    assert_eq!(got.routing_key.as_str(), "customer.created");
    let properties = &got.properties;
    assert_eq!(*properties.delivery_mode(), Some(2), "persistent");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), sent.id.to_string());
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "customer.created");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(*properties.timestamp(), Some(1_800_000_000));
    let headers = properties.headers().clone().unwrap();
    let header = |name: &str| headers.inner().get(name).cloned();
    let text = |text: &str| Some(AMQPValue::LongString(text.into()));
    assert_eq!(header("cloudEvents:specversion"), text("1.0"));
    assert_eq!(header("cloudEvents:id"), text(&sent.id.to_string()));
    assert_eq!(header("cloudEvents:sequence"), Some(AMQPValue::LongLongInt(1)));
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_subscribes_to_is_returned_and_counted_by_policy() {
    let rabbit = publisher("unrouted", &amqp_url());
    let fault = rabbit.publish_one(event(&rabbit, "customer.created")).await.unwrap_err();
    assert_eq!(fault, PublishFault::Returned);
    assert_eq!(fault.class(), FaultClass::Topology);
    let pending = rabbit.publish(event(&rabbit, "customer.created")).await.unwrap();
    assert_eq!(pending.confirm_event().await, Ok(Delivery::Unrouted));
    assert_eq!(rabbit.state(), State::Connected, "a return costs no connection");
    rabbit.close().await;
}

/// lapin attaches a return to whichever confirmation it settles next; in a pipelined window the
/// verdicts must still be those of each message.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_window_each_message_gets_its_own_verdict() {
    let rabbit = publisher("window", &amqp_url());
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "wanted").await;
    let mut routed = HashSet::new();
    for round in 0..20_u32 {
        let mut window = Vec::new();
        for number in 0..400_u32 {
            let wanted = (number * 7 + round) % 3 != 0;
            let message = event(&rabbit, if wanted { "wanted" } else { "unwanted" });
            if wanted {
                routed.insert(message.id.to_string());
            }
            window.push((wanted, rabbit.publish(message).await.unwrap()));
        }
        for (wanted, pending) in window {
            let expected = if wanted { Ok(()) } else { Err(PublishFault::Returned) };
            assert_eq!(pending.confirm().await, expected);
        }
    }
    while !routed.is_empty() {
        let id = reader.next().await.properties.message_id().as_ref().unwrap().to_string();
        assert!(routed.remove(&id), "delivered once and wanted");
    }
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_deleted_in_mid_run_is_declared_again() {
    let rabbit = publisher("deleted", &amqp_url());
    rabbit.connect().await.unwrap();
    let reader = Reader::bind(rabbit.exchange(), "#").await;
    rabbit.publish_one(event(&rabbit, "customer.created")).await.unwrap();
    let exchange = rabbit.exchange().to_owned();
    let options = ExchangeDeleteOptions::default();
    reader.channel.exchange_delete(exchange.as_str().into(), options).await.unwrap();

    let mut window = Vec::new();
    for _ in 0..10 {
        window.push(rabbit.publish(event(&rabbit, "customer.created")).await);
    }
    for pending in window {
        let fault = match pending {
            Ok(pending) => pending.confirm().await.unwrap_err(),
            Err(fault) => fault,
        };
        // Those that were published on the next link find an exchange without a binding.
        assert_eq!(fault.class(), FaultClass::Topology, "{fault}");
    }
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(&exchange, "#").await;
    rabbit.publish_one(event(&rabbit, "customer.created")).await.unwrap();
    reader.next().await;
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_kind_is_a_topology_fault() {
    let first = publisher("kind", &amqp_url());
    first.connect().await.unwrap();
    let settings = Settings {
        url: amqp_url().into(),
        exchange: first.notifications_exchange().to_owned(),
        notifications_exchange: first.exchange().to_owned(),
        commands_exchange: first.commands_exchange().to_owned(),
        connect_timeout: Duration::from_secs(5),
        confirm_timeout: Duration::from_secs(5),
        heartbeat_seconds: 10,
        unrouted: Unrouted::Wait,
        connection_name: "test kind".to_owned(),
    };
    let swapped = Rabbit::new(settings).unwrap();
    let fault = swapped.connect().await.unwrap_err();
    assert!(matches!(fault, PublishFault::Topology(_)), "{fault}");
    assert!(matches!(swapped.state(), State::Down(_)));
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_faults_nor_state_tell_the_password() {
    let rabbit = publisher("secret", "amqp://hawk:s3cr3t-word@127.0.0.1:1/%2f");
    let fault = rabbit.publish_one(event(&rabbit, "customer.created")).await.unwrap_err();
    assert_eq!(fault.class(), FaultClass::Broker);
    let url = amqp_url();
    let (_, host) = url.rsplit_once('@').unwrap_or(("", url.trim_start_matches("amqp://")));
    let refused = publisher("secret", &format!("amqp://hawk:s3cr3t-word@{host}"));
    let refusal = refused.connect().await.unwrap_err();
    let told = format!("{fault} {fault:?} {refusal} {refusal:?} {rabbit:?} {:?}", refused.state());
    assert!(!told.contains("s3cr3t-word"), "{told}");
}

/// A wire that can be cut, or held so that nothing passes in either direction.
struct Wire {
    address: String,
    open: watch::Sender<bool>,
}

impl Wire {
    async fn to_broker() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url::Url::parse(&amqp_url()).unwrap();
        let broker = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672));
        let mut address = url.clone();
        address.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (broker, mut state) = (broker.clone(), state.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(broker).await.unwrap();
                    let ended = tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => true,
                        _ = async { state.wait_for(|open| !open).await.is_ok() } => false,
                    };
                    if !ended {
                        drop(state.wait_for(|open| *open).await);
                    }
                });
            }
        });
        Self { address: address.into(), open }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_costs_one_deadline_and_the_next_connection_works() {
    let wire = Wire::to_broker().await;
    let rabbit = publisher("silent", &wire.address);
    rabbit.connect().await.unwrap();
    let mut reader = Reader::bind(rabbit.exchange(), "#").await;
    rabbit.publish_one(event(&rabbit, "customer.created")).await.unwrap();

    wire.open.send(false).unwrap();
    let mut window = Vec::new();
    for _ in 0..50 {
        window.push(rabbit.publish(event(&rabbit, "customer.created")).await.unwrap());
    }
    let started = std::time::Instant::now();
    for pending in window {
        let fault = pending.confirm().await.unwrap_err();
        assert_eq!(fault.class(), FaultClass::Broker, "{fault}");
    }
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    assert!(matches!(rabbit.state(), State::Down(_)));

    wire.open.send(true).unwrap();
    reader.next().await;
    rabbit.publish_one(event(&rabbit, "customer.created")).await.unwrap();
    assert_eq!(rabbit.state(), State::Connected);
    rabbit.close().await;
}
