//! A subscriber of the messages: a quorum queue of its own, bound to everything, and a record of
//! what came, in the order in which it came.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use customer_service::clock::{Clock, SystemClock};
use customer_service::config::each_host;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{eventually, unique};

/// For one broker of a cluster.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// One delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: String,
    pub kind: String,
    pub customer_id: String,
    pub sequence: i64,
    pub data: Value,
}

/// What came: the message, its headers, and when.
pub type Received = Arc<Mutex<Vec<(Message, Value, DateTime<Utc>)>>>;

/// A subscriber; see the module. It outlives the broker's restarts.
pub struct Consumer {
    url: String,
    exchange: String,
    pub queue: String,
    pub received: Received,
    reading: JoinHandle<()>,
}

impl Consumer {
    /// Declares exchange and queue, and begins to read.
    pub async fn bind(url: &str, exchange: &str) -> Self {
        let queue = unique("it.queue");
        let received = Arc::new(Mutex::new(Vec::new()));
        // The first binding is awaited: whatever is published from now on must arrive.
        let (connection, channel) = connect(url, exchange, &queue).await.unwrap();
        let reading = tokio::spawn({
            let (url, exchange) = (url.to_owned(), exchange.to_owned());
            let (queue, received) = (queue.clone(), received.clone());
            async move {
                read(&channel, &queue, &received).await.ok();
                drop(connection);
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    if let Ok((_connection, channel)) = connect(&url, &exchange, &queue).await {
                        read(&channel, &queue, &received).await.ok();
                    }
                }
            }
        });
        Self { url: url.to_owned(), exchange: exchange.to_owned(), queue, received, reading }
    }

    /// Every delivery so far, duplicates included, in order of arrival.
    pub fn received(&self) -> Vec<Message> {
        self.delivered().into_iter().map(|(message, _)| message).collect()
    }

    /// The same with their headers, as JSON.
    pub fn delivered(&self) -> Vec<(Message, Value)> {
        let received = self.received.lock().unwrap();
        received.iter().map(|(message, headers, _)| (message.clone(), headers.clone())).collect()
    }

    /// The first deliveries of one customer's messages, in order of arrival.
    pub fn of(&self, customer: &str) -> Vec<Message> {
        let mut seen = HashSet::new();
        let all = self.received().into_iter();
        all.filter(|message| message.customer_id == customer && seen.insert(message.id.clone()))
            .collect()
    }

    /// Waits until that many messages of a customer came; answers with their kinds.
    pub async fn kinds(&self, customer: &str, count: usize) -> Vec<String> {
        let what = format!("{count} messages of one customer");
        let messages = eventually(&what, Duration::from_secs(20), async || {
            Some(self.of(customer)).filter(|messages| messages.len() >= count)
        });
        messages.await.into_iter().map(|message| message.kind).collect()
    }

    /// Takes queue and exchange away from the shared broker.
    pub async fn close(self) {
        self.reading.abort();
        if let Ok((connection, channel)) = connect(&self.url, &self.exchange, &self.queue).await {
            let queue = self.queue.as_str().into();
            channel.queue_delete(queue, QueueDeleteOptions::default()).await.ok();
            let exchange = self.exchange.as_str().into();
            channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await.ok();
            let commands = commands_of(&self.exchange).into();
            channel.exchange_delete(commands, ExchangeDeleteOptions::default()).await.ok();
            connection.close(200, "done".into()).await.ok();
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Where a shop whose events go to this exchange sends its commands.
pub fn commands_of(exchange: &str) -> String {
    format!("{exchange}.commands")
}

/// To one of the brokers that the address lists.
async fn connect(url: &str, exchange: &str, queue: &str) -> lapin::Result<(Connection, Channel)> {
    let mut last = None;
    for broker in each_host(url) {
        let connecting = connect_to(&broker, exchange, queue);
        match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

async fn connect_to(
    url: &str,
    exchange: &str,
    queue: &str,
) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let topic = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let none = FieldTable::default;
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, topic, none()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    // What a broken-off test leaves behind goes by itself.
    arguments.insert("x-expires".into(), AMQPValue::LongInt(900_000));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), durable, arguments).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), "#".into(), bind, none()).await?;
    // Commands to other services are messages as well, and have an exchange of their own.
    let commands = commands_of(exchange);
    channel.exchange_declare(commands.as_str().into(), ExchangeKind::Topic, topic, none()).await?;
    channel.queue_bind(queue.into(), commands.into(), "#".into(), bind, none()).await?;
    Ok((connection, channel))
}

async fn read(
    channel: &Channel,
    queue: &str,
    received: &Mutex<Vec<(Message, Value, DateTime<Utc>)>>,
) -> lapin::Result<()> {
    channel.basic_qos(200, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries =
        channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let came = (message(&delivery), headers(&delivery), SystemClock.now());
        received.lock().unwrap().push(came);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// Reads a delivery as the contract (CloudEvents over AMQP) has it.
fn message(delivery: &Delivery) -> Message {
    let properties = &delivery.properties;
    let headers = properties.headers().clone().unwrap_or_default();
    let header = |name: &str| headers.inner().get(name).cloned();
    let text = |name: &str| match header(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    };
    let Some(AMQPValue::LongLongInt(sequence)) = header("cloudEvents:sequence") else {
        panic!("no sequence in {headers:?}");
    };
    let id = text("cloudEvents:id");
    let kind = text("cloudEvents:type");
    let customer_id = text("cloudEvents:subject");
    assert_eq!(properties.message_id().as_ref().map(|id| id.to_string()), Some(id.clone()));
    assert_eq!(delivery.routing_key.as_str(), kind);
    assert_eq!(text("cloudEvents:source"), "/customer-service");
    assert_eq!(text("cloudEvents:partitionkey"), customer_id);
    assert_eq!(*properties.delivery_mode(), Some(2), "persistent");
    let data = serde_json::from_slice(&delivery.data).expect("the body is JSON");
    Message { id, kind, customer_id, sequence, data }
}

fn headers(delivery: &Delivery) -> Value {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let headers = headers.inner().iter().map(|(name, value)| {
        let value = match value {
            AMQPValue::LongString(text) => Value::from(text.to_string()),
            AMQPValue::LongLongInt(number) => Value::from(*number),
            other => panic!("{name} is {other:?}"),
        };
        (name.to_string(), value)
    });
    headers.collect()
}
