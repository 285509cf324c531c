//! The order service, as far as the service hears of it: its exchange, the queue that collects its
//! facts, and the queue of those that nobody could use. Names of the test's own on the broker.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};

use super::amqp::{Properties, Wire};
use super::{eventually, unique};

/// A message that nobody could use.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead {
    pub reason: String,
    pub detail: String,
    pub routing_key: String,
    pub tries: i64,
    pub body: Vec<u8>,
}

/// The order service; see the module. It outlives the broker's restarts.
pub struct OrderService {
    url: String,
    name: String,
    open: tokio::sync::Mutex<Option<(Connection, Channel)>>,
}

impl OrderService {
    /// Has nothing declared: that is the service's to do.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), name: unique("it.orders"), open: Default::default() }
    }

    /// On the tests' broker.
    pub fn shared() -> Self {
        Self::new(&std::env::var("TEST_AMQP_URL").expect("set TEST_AMQP_URL, as `make test` does"))
    }

    /// The settings of a shop that listens to it.
    pub fn settings(&self) -> Vec<(String, String)> {
        let name = |part: &str| format!("{}{part}", self.name);
        [
            ("RABBIT__URL", self.url.clone()),
            ("ORDERS__INTAKE__ENABLED", "on".to_owned()),
            ("ORDERS__INTAKE__EXCHANGE", name("")),
            ("ORDERS__INTAKE__QUEUE", self.queue()),
            ("ORDERS__INTAKE__DEAD_LETTER_EXCHANGE", name(".dead")),
            ("ORDERS__INTAKE__DEAD_LETTER_QUEUE", self.graveyard()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// Where its facts wait.
    pub fn queue(&self) -> String {
        format!("{}.facts", self.name)
    }

    /// Where those wait that nobody could use.
    pub fn graveyard(&self) -> String {
        format!("{}.dead-letters", self.name)
    }

    /// Publishes and waits for the broker's word; again and again while there is none. So a message
    /// may be there twice.
    pub async fn publish(&self, routing_key: &str, body: &[u8]) {
        self.publish_to(&self.name, routing_key, body).await;
    }

    /// As [`OrderService::publish`], to any exchange; "" reaches a queue by its name.
    pub async fn publish_to(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        eventually("the broker takes a message", Duration::from_secs(60), async || {
            self.try_publish(exchange, routing_key, body).await.ok()
        })
        .await;
    }

    /// Publishes with properties that no library would send.
    pub async fn publish_by_hand(&self, routing_key: &str, properties: &Properties, body: &[u8]) {
        let mut wire = Wire::open(&self.url).await;
        wire.publish(&self.name, routing_key.as_bytes(), properties, body).await;
    }

    /// As [`OrderService::publish_by_hand`], by the queue's name through an exchange of the test's own,
    /// which may have any routing key.
    pub async fn publish_with_key(&self, routing_key: &[u8], body: &[u8]) {
        let (_connection, channel) = self.connect().await.unwrap();
        let name = format!("{}.by-hand", self.name);
        let gone_with_us = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        let (exchange, none) = (name.as_str().into(), FieldTable::default());
        let declared = channel.exchange_declare(exchange, ExchangeKind::Fanout, gone_with_us, none);
        declared.await.unwrap();
        let (queue, exchange, none) = (self.queue(), name.as_str().into(), FieldTable::default());
        let bind = QueueBindOptions::default();
        let bound = channel.queue_bind(queue.as_str().into(), exchange, "".into(), bind, none);
        bound.await.unwrap();
        let properties = Properties { flags: 0, values: Vec::new() };
        Wire::open(&self.url).await.publish(&name, routing_key, &properties, body).await;
        channel
            .exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default())
            .await
            .unwrap();
    }

    /// A fact, with the routing key that fits its status.
    pub async fn tell(&self, fact: &Value) {
        let key = format!("order.{}", fact["status"].as_str().expect("a fact has a status"));
        self.publish(&key, fact.to_string().as_bytes()).await;
    }

    /// Tells many facts, all confirmed in the end; after a fault some of them twice.
    pub async fn tell_all(&self, facts: &[Value]) {
        for window in facts.chunks(200) {
            eventually("the broker takes messages", Duration::from_secs(60), async || {
                self.try_tell(window).await.ok()
            })
            .await;
        }
    }

    async fn try_tell(&self, facts: &[Value]) -> lapin::Result<()> {
        let mut open = self.open.lock().await;
        let (connection, channel) = match open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let mut confirms = Vec::with_capacity(facts.len());
        for fact in facts {
            let key = format!("order.{}", fact["status"].as_str().expect("a fact has a status"));
            let properties = BasicProperties::default().with_delivery_mode(2);
            let (exchange, key) = (self.name.as_str().into(), key.as_str().into());
            let (options, body) = (BasicPublishOptions::default(), fact.to_string());
            let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
            confirms.push(sent.await?);
        }
        for confirm in confirms {
            confirm.await?;
        }
        *open = Some((connection, channel));
        Ok(())
    }

    async fn try_publish(&self, exchange: &str, key: &str, body: &[u8]) -> lapin::Result<()> {
        let mut open = self.open.lock().await;
        let (connection, channel) = match open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let publishing =
            channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        publishing.await?.await?;
        *open = Some((connection, channel));
        Ok(())
    }

    async fn connect(&self) -> lapin::Result<(Connection, Channel)> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.url, properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    /// Messages of a queue that nobody has at this moment; `None` while the broker is away.
    pub async fn waiting(&self, queue: &str) -> Option<u32> {
        let (_connection, channel) = self.connect().await.ok()?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        Some(declared.ok()?.message_count())
    }

    /// Readers of the facts; they come when everything is declared. `None` while there is no queue.
    pub async fn readers(&self) -> Option<u32> {
        let (_connection, channel) = self.connect().await.ok()?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.queue();
        let declared = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
        Some(declared.await.ok()?.consumer_count())
    }

    /// Takes what lies with the dead letters.
    pub async fn dead(&self) -> Vec<Dead> {
        let (_connection, channel) = self.connect().await.unwrap();
        let options = BasicGetOptions { no_ack: true };
        let mut dead = Vec::new();
        let queue = self.graveyard();
        while let Some(got) = channel.basic_get(queue.as_str().into(), options).await.unwrap() {
            dead.push(Dead::from(&got.delivery));
        }
        dead
    }

    /// Waits for that many dead letters.
    pub async fn dead_letters(&self, count: usize) -> Vec<Dead> {
        let mut dead = Vec::new();
        let what = format!("{count} dead letters");
        while dead.len() < count {
            // Five tries of a poison with their rests take 15 s, and on a busy machine each panic more.
            let more = eventually(&what, Duration::from_secs(90), async || {
                Some(self.dead().await).filter(|dead| !dead.is_empty())
            });
            dead.extend(more.await);
        }
        dead
    }

    /// Removes everything from the shared broker.
    pub async fn close(self) {
        self.forget().await;
    }

    /// Has the broker lose the exchange, and the bindings with it; the queue is read on.
    pub async fn forget_exchange(&self) {
        let (_connection, channel) = self.connect().await.unwrap();
        let delete = ExchangeDeleteOptions::default();
        channel.exchange_delete(self.name.as_str().into(), delete).await.unwrap();
    }

    /// Has the broker lose everything that was declared.
    pub async fn forget(&self) {
        if let Ok((connection, channel)) = self.connect().await {
            // The queue last: who reads it declares everything again once it is gone.
            for exchange in [self.name.clone(), format!("{}.dead", self.name)] {
                let delete = ExchangeDeleteOptions::default();
                channel.exchange_delete(exchange.as_str().into(), delete).await.ok();
            }
            for queue in [self.graveyard(), self.queue()] {
                let delete = QueueDeleteOptions::default();
                channel.queue_delete(queue.as_str().into(), delete).await.ok();
            }
            connection.close(200, "done".into()).await.ok();
        }
    }
}

impl From<&Delivery> for Dead {
    fn from(delivery: &Delivery) -> Self {
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        let Some(AMQPValue::LongLongInt(tries)) = headers.inner().get("tries") else {
            panic!("no tries in {headers:?}");
        };
        let first_seen = text("first-seen");
        assert!(chrono::DateTime::parse_from_rfc3339(&first_seen).is_ok(), "{first_seen}");
        Self {
            reason: text("reason"),
            detail: text("detail"),
            routing_key: text("original-routing-key"),
            tries: *tries,
            body: delivery.data.clone(),
        }
    }
}

/// A fact of an order over 10.00 EUR, placed on a day of March.
pub fn fact(order: &str, customer: &str, version: i64, status: &str) -> Value {
    json!({
        "order_id": order,
        "customer_id": customer,
        "version": version,
        "status": status,
        "placed_at": "2026-03-07T10:00:00Z",
        "total": { "amount": 1_000, "currency": "EUR" },
        "items": [{ "sku": "LAMP-1", "quantity": 1 }],
    })
}
