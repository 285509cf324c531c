//! Where messages go that nobody here can use, each with the reason. They are published by us and
//! not rejected to the broker: its own dead-lettering can tell no reason, and takes no message that
//! was kept for a day.
//!
//! One message at a time on a connection of its own, opened with the first: dead letters are rare,
//! and whatever is wrong with one of them must not close the channel that events are published on.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::brokers::Brokers;
use super::consume::{Access, connect};
use super::link::classify;
use super::message::PERSISTENT;
use super::order_queue::{self, OrderQueue, short};
use super::{InvalidUrl, PublishFault};

/// A message and what is wrong with it.
#[derive(Clone)]
pub struct DeadLetter<'a> {
    pub routing_key: &'a str,
    pub body: &'a [u8],
    /// What its sender calls it.
    pub message_id: Option<&'a str>,
    /// Stable code, e.g. `not_json`.
    pub reason: &'a str,
    /// For people; without a value of the message.
    pub detail: &'a str,
    pub first_seen: DateTime<Utc>,
    /// How often it was tried.
    pub tries: u32,
}

/// A handle to the publisher of dead letters; clones share one connection.
#[derive(Clone)]
pub struct DeadLetters(Arc<Shared>);

struct Shared {
    brokers: Brokers,
    access: Access,
    names: OrderQueue,
    /// Taken out while a message is published and put back when that went well: whatever failed or
    /// was broken off costs the connection.
    open: Mutex<Option<Open>>,
}

struct Open {
    channel: Channel,
    /// The channel lives as long.
    _connection: Connection,
}

impl DeadLetters {
    /// Connects with the first dead letter.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(access: Access, names: OrderQueue) -> Result<Self, InvalidUrl> {
        let brokers = Brokers::of(&access.url, access.heartbeat_seconds)?;
        Ok(Self(Arc::new(Shared { brokers, access, names, open: Mutex::new(None) })))
    }

    /// Publishes a message and waits until the queue has it.
    ///
    /// # Errors
    /// It is not known to be there: publish it again. [`PublishFault::Refused`]: the queue is full.
    pub async fn bury(&self, letter: &DeadLetter<'_>) -> Result<(), PublishFault> {
        let routing_key = short(letter.routing_key)?;
        let properties = properties(letter)?;
        let exchange = self.0.names.dead_letter_exchange.as_str().into();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut place = self.0.open.lock().await;
        let open = match place.take() {
            Some(open) if open.channel.status().connected() => open,
            _ => self.0.connect().await?,
        };
        let publishing = async {
            let confirm =
                open.channel.basic_publish(exchange, routing_key, options, letter.body, properties);
            confirm.await?.await
        };
        let verdict = match timeout(self.0.access.confirm_timeout, publishing).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            // The queue is gone, and comes back with the next connection.
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
                return Err(PublishFault::Returned);
            }
            Ok(Ok(Confirmation::Nack(None))) => Err(PublishFault::Refused),
            Ok(Ok(Confirmation::NotRequested)) => {
                return Err(PublishFault::Down("the broker does not confirm".to_owned()));
            }
            Ok(Err(error)) => return Err(classify(&error)),
            Err(_) => return Err(PublishFault::TimedOut("confirming a dead letter")),
        };
        *place = Some(open);
        verdict
    }
}

impl Shared {
    async fn connect(&self) -> Result<Open, PublishFault> {
        let name = format!("{} dead letters", self.access.connection_name);
        let connecting = async |uri: AMQPUri| {
            let connection = connect(uri, &name).await?;
            let channel = async {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                order_queue::declare(&channel, &self.names).await?;
                lapin::Result::Ok(channel)
            };
            let channel = channel.await.map_err(|error| classify(&error))?;
            Ok(Open { channel, _connection: connection })
        };
        self.brokers.open(self.access.connect_timeout, connecting).await
    }
}

/// Not the sender's own: an expiry would have the dead letter vanish, a user's name be refused, and
/// further routing keys take it elsewhere.
fn properties(letter: &DeadLetter<'_>) -> Result<BasicProperties, PublishFault> {
    let first_seen = letter.first_seen.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut headers = FieldTable::default();
    for (name, text) in [
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("first-seen", &first_seen),
        ("original-routing-key", letter.routing_key),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    headers.insert("tries".into(), AMQPValue::LongLongInt(letter.tries.into()));
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_type(short(letter.routing_key)?)
        .with_headers(headers);
    Ok(match letter.message_id {
        Some(id) => properties.with_message_id(short(id)?),
        None => properties,
    })
}
