//! Publishing to one queue, past the exchanges: what one consumer asks to be told once more. On a
//! connection of its own, so that a queue that is full or gone costs nobody else a channel.
//!
//! Many messages are on their way at once. One channel and one queue keep their order; where one
//! is refused nothing more is sent, and what is reported is the part that arrived without a gap.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Confirmation, Connection, ErrorKind};
use tokio::time::timeout;

use super::consume::connect;
use super::link::classify;
use super::message::short;
use super::{OutgoingMessage, PublishFault, Rabbit};

/// The header of a message that is told once more.
pub const REPLAY_HEADER: &str = "cloudEvents:replay";

/// Why a queue cannot be written to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueFault {
    #[error("there is no queue of this name")]
    Missing,
    #[error("the queue belongs to one connection alone")]
    Exclusive,
    #[error(transparent)]
    Broker(#[from] PublishFault),
}

/// A queue that exists, to be written to.
pub struct OpenQueue {
    name: String,
    channel: Channel,
    connection: Connection,
    rabbit: Rabbit,
}

/// How far a run of messages came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// So many of the first ones are in the queue.
    pub confirmed: usize,
    /// Why no more are.
    pub fault: Option<PublishFault>,
}

impl Rabbit {
    /// Looks whether a queue exists, and opens a connection to write to it. The connection lives on
    /// the runtime of the caller.
    ///
    /// # Errors
    /// Why it cannot be written to.
    pub async fn open_queue(&self, name: &str) -> Result<OpenQueue, QueueFault> {
        short(name, "a queue's name has at most 255 bytes")?;
        let limit = self.shared.settings.connect_timeout;
        let connection_name = format!("{} replay", self.shared.settings.connection_name);
        let connecting = |uri| connect(uri, &connection_name);
        let connection = self.shared.brokers.open(limit, connecting).await?;
        let opening = timeout(limit, self.begin_queue(name, connection));
        opening.await.unwrap_or(Err(PublishFault::TimedOut("connecting").into()))
    }

    async fn begin_queue(
        &self,
        name: &str,
        connection: Connection,
    ) -> Result<OpenQueue, QueueFault> {
        let channel = connection.create_channel().await.map_err(|error| classify(&error))?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(name.into(), passive, FieldTable::default()).await;
        asked.map_err(|error| queue_fault(&error))?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirms.map_err(|error| classify(&error))?;
        Ok(OpenQueue { name: name.to_owned(), channel, connection, rabbit: self.clone() })
    }
}

impl OpenQueue {
    /// Publishes messages in their order, each marked as told once more.
    pub async fn publish(&self, messages: Vec<OutgoingMessage>) -> Run {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let limit = self.rabbit.shared.settings.confirm_timeout;
        let mut pending = Vec::with_capacity(messages.len());
        let mut fault = None;
        for message in messages {
            let envelope = match message.into_envelope() {
                Ok(envelope) => envelope,
                Err(own) => {
                    fault = Some(own);
                    break;
                }
            };
            let mut headers = envelope.properties.headers().clone().unwrap_or_default();
            headers.insert(REPLAY_HEADER.into(), AMQPValue::Boolean(true));
            let properties = envelope.properties.with_headers(headers);
            let key = self.name.as_str().into();
            let publishing =
                self.channel.basic_publish("".into(), key, options, &envelope.body, properties);
            match timeout(limit, publishing).await {
                Ok(Ok(confirm)) => pending.push(confirm),
                Ok(Err(error)) => {
                    fault = Some(classify(&error));
                    break;
                }
                Err(_) => {
                    fault = Some(PublishFault::TimedOut("publishing"));
                    break;
                }
            }
        }
        let mut confirmed = 0;
        for confirm in pending {
            let stopped = match timeout(limit, confirm).await {
                Ok(Ok(Confirmation::Ack(None))) => {
                    confirmed += 1;
                    continue;
                }
                // Some message came back, perhaps an earlier one (see `confirms`): the queue is
                // gone, and what it had with it.
                Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
                    return Run { confirmed: 0, fault: Some(PublishFault::Returned) };
                }
                Ok(Ok(Confirmation::Nack(None))) => PublishFault::Refused,
                Ok(Ok(Confirmation::NotRequested)) => {
                    PublishFault::Down("the broker does not confirm".to_owned())
                }
                Ok(Err(error)) => classify(&error),
                Err(_) => PublishFault::TimedOut("confirming"),
            };
            return Run { confirmed, fault: Some(stopped) };
        }
        Run { confirmed, fault }
    }

    /// Says good-bye.
    pub async fn close(self) {
        let limit = self.rabbit.shared.settings.confirm_timeout;
        drop(timeout(limit, self.connection.close(200, "OK".into())).await);
    }
}

fn queue_fault(error: &lapin::Error) -> QueueFault {
    if let ErrorKind::ProtocolError(protocol) = error.kind() {
        match protocol.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => return QueueFault::Missing,
            AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => return QueueFault::Exclusive,
            _ => {}
        }
    }
    QueueFault::Broker(classify(error))
}
