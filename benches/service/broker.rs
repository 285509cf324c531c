//! The consumer's side: a durable queue for everything the service publishes, as a shop's other
//! services would have it.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::Value;

/// Exchanges of the bench alone; those of a service on the same broker are left in peace.
pub const EXCHANGE: &str = "customer-bench.events";
pub const NOTIFICATIONS: &str = "customer-bench.notifications";
const QUEUE: &str = "customer-bench.events";

/// A connection to the broker and the queue.
pub struct Broker {
    // Closed when dropped.
    _connection: Connection,
    channel: Channel,
}

/// A message as the consumer sees it.
pub struct Received {
    pub kind: String,
    pub customer_id: String,
    /// When the change was decided, milliseconds since 1970.
    pub decided_ms: Option<f64>,
}

impl Broker {
    /// Connects, and makes the queue anew.
    pub async fn open(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .context("cannot reach RabbitMQ")?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await?;
        channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(QUEUE.into(), EXCHANGE.into(), "#".into(), bind, FieldTable::default())
            .await?;
        Ok(Self { _connection: connection, channel })
    }

    /// Messages in the queue.
    pub async fn waiting(&self) -> Result<u32> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue =
            self.channel.queue_declare(QUEUE.into(), passive, FieldTable::default()).await?;
        Ok(queue.message_count())
    }

    /// Empties the queue.
    pub async fn purge(&self) -> Result<()> {
        self.channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// A consumer of the queue that needs no acknowledgements.
    pub async fn consumer(&self) -> Result<Consumer> {
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let name = "customer-bench".into();
        Ok(self.channel.basic_consume(QUEUE.into(), name, options, FieldTable::default()).await?)
    }

    /// Ends the consumer.
    pub async fn cancel(&self) -> Result<()> {
        self.channel.basic_cancel("customer-bench".into(), Default::default()).await?;
        Ok(())
    }

    /// Removes what was made on the broker.
    pub async fn clean(&self) -> Result<()> {
        self.channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
        for exchange in [EXCHANGE, NOTIFICATIONS] {
            self.channel.exchange_delete(exchange.into(), Default::default()).await?;
        }
        Ok(())
    }
}

/// The next message; `None` at the end of the consumer.
pub async fn next(consumer: &mut Consumer) -> Result<Option<Received>> {
    let Some(delivery) = consumer.next().await else { return Ok(None) };
    let delivery = delivery?;
    let kind = delivery.routing_key.as_str().to_owned();
    let data: Value = serde_json::from_slice(&delivery.data)?;
    let customer_id = data["customer_id"].as_str().unwrap_or_default().to_owned();
    let headers = delivery.properties.headers().as_ref();
    let decided =
        headers.and_then(|headers| headers.inner().get("cloudEvents:time")).and_then(|v| {
            let text =
                v.as_long_string().map(|s| String::from_utf8_lossy(s.as_bytes()).into_owned());
            chrono::DateTime::parse_from_rfc3339(&text?).ok()
        });
    let decided_ms = decided.map(|time| time.timestamp_micros() as f64 / 1000.0);
    Ok(Some(Received { kind, customer_id, decided_ms }))
}
