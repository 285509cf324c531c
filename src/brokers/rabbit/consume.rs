//! The queue of order facts, read: a connection of its own with one channel, which is never
//! repaired, only dropped and opened anew; what was read and not acknowledged then comes again.
//!
//! A message is acknowledged by whoever read it, and never sent back: a message that nobody can
//! use is buried ([`super::dead_letters`]), one whose time has not come is kept by the reader.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Consumer};
use secrecy::SecretString;
use tokio::time::timeout;

use super::brokers::Brokers;
use super::link::classify;
use super::mending;
use super::order_queue::{self, OrderQueue};
use super::{CLOSE_TIMEOUT, InvalidUrl, PublishFault};

/// How long the socket may take to accept an acknowledgement.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach the broker, for a connection beside the publisher's.
#[derive(Clone, Debug)]
pub struct Access {
    /// As [`super::Settings::url`]. Never logged.
    pub url: SecretString,
    /// For TCP, TLS, handshake, channel and topology together, at each broker that is tried.
    pub connect_timeout: Duration,
    /// From a publish to its confirmation.
    pub confirm_timeout: Duration,
    /// Seconds between heartbeats; a silent broker is given up after two.
    pub heartbeat_seconds: u16,
    /// Shown in the broker's list of connections.
    pub connection_name: String,
}

/// Opens feeds of one queue.
#[derive(Clone)]
pub struct Source {
    brokers: Brokers,
    access: Access,
    names: OrderQueue,
    prefetch: u16,
}

impl Source {
    /// Connects with the first [`Source::open`]. `prefetch`: messages that are read and not yet
    /// acknowledged, at most.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(access: Access, names: OrderQueue, prefetch: u16) -> Result<Self, InvalidUrl> {
        let brokers = Brokers::of(&access.url, access.heartbeat_seconds)?;
        Ok(Self { brokers, access, names, prefetch })
    }

    /// Connects, declares everything, and begins to read. The connection lives on the runtime of
    /// the caller.
    ///
    /// # Errors
    /// Why there is no feed: the broker, or a topology that does not fit.
    pub async fn open(&self) -> Result<Feed, PublishFault> {
        let feed = self.brokers.open(self.access.connect_timeout, |uri| self.begin(uri)).await?;
        tracing::info!(queue = self.names.queue, "reads a queue");
        Ok(feed)
    }

    /// Declares everything again, beside what is being read.
    ///
    /// # Errors
    /// The broker, or a topology that does not fit.
    pub async fn declare(&self, feed: &Feed) -> Result<(), PublishFault> {
        // A channel of its own: a fault closes it, and no message is lost with it.
        let declaring = async {
            let channel = feed.connection.create_channel().await?;
            order_queue::declare(&channel, &self.names).await?;
            channel.close(200, "OK".into()).await
        };
        match timeout(self.access.connect_timeout, declaring).await {
            Ok(declared) => declared.map_err(|error| classify(&error)),
            Err(_) => Err(PublishFault::TimedOut("declaring")),
        }
    }

    async fn begin(&self, uri: AMQPUri) -> Result<Feed, PublishFault> {
        let name = self.access.connection_name.as_str().into();
        let properties = ConnectionProperties::default().with_connection_name(name);
        // Anybody may have written what is read here.
        let connecting = mending::connect(uri, properties).await;
        let connection = connecting.map_err(|error| classify(&error))?;
        let consumer = async {
            let channel = connection.create_channel().await?;
            order_queue::declare(&channel, &self.names).await?;
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let (queue, tag) = (self.names.queue.as_str().into(), "".into());
            let options = BasicConsumeOptions::default();
            channel.basic_consume(queue, tag, options, FieldTable::default()).await
        };
        let consumer = consumer.await.map_err(|error| classify(&error))?;
        Ok(Feed { consumer, connection })
    }
}

/// A connection; the caller sets the deadline.
pub(super) async fn connect(uri: AMQPUri, name: &str) -> Result<Connection, PublishFault> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = Connection::connect_uri(uri, properties);
    connecting.await.map_err(|error| classify(&error))
}

/// One life of the connection. After an error there is nothing more to be read from it.
pub struct Feed {
    consumer: Consumer,
    connection: Connection,
}

impl Feed {
    /// The next message. May be dropped while it waits; no message is lost by that.
    ///
    /// # Errors
    /// Why the feed has ended.
    pub async fn next(&mut self) -> Result<Letter, PublishFault> {
        match self.consumer.next().await {
            Some(Ok(delivery)) => Ok(Letter::from(delivery)),
            Some(Err(error)) => Err(classify(&error)),
            None => Err(PublishFault::Down("the broker ended the subscription".to_owned())),
        }
    }

    /// Gives back what was not acknowledged, and says good-bye.
    pub async fn close(self) {
        drop(timeout(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await);
    }
}

/// A message that was read.
pub struct Letter {
    pub routing_key: String,
    /// Whether somebody may have had it before. `false` is certain, `true` is a guess of the
    /// broker's: whoever had it need not have looked at it.
    pub redelivered: bool,
    pub body: Vec<u8>,
    /// What the sender calls it.
    pub message_id: Option<String>,
    /// W3C trace context, as the sender wrote it.
    pub traceparent: Option<String>,
    acker: Acker,
}

impl Letter {
    /// Tells the broker to forget the message.
    ///
    /// # Errors
    /// The feed that it came from has ended, or is to be ended: the message comes again.
    pub async fn acknowledge(&self) -> Result<(), PublishFault> {
        let acknowledging = self.acker.ack(BasicAckOptions::default());
        match timeout(ACKNOWLEDGE_TIMEOUT, acknowledging).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(PublishFault::Down("the subscription has ended".to_owned())),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(PublishFault::TimedOut("acknowledging")),
        }
    }
}

impl From<lapin::message::Delivery> for Letter {
    fn from(delivery: lapin::message::Delivery) -> Self {
        let headers = delivery.properties.headers().as_ref();
        let traceparent = headers
            .and_then(|headers| headers.inner().get("cloudEvents:traceparent"))
            .and_then(AMQPValue::as_long_string)
            .and_then(|text| std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned));
        Self {
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
            traceparent,
            body: delivery.data,
            acker: delivery.acker,
        }
    }
}
