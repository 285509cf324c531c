//! One life of a connection: connection, channel in confirm mode, topology, and the three tasks
//! that serve them. A link is never repaired, only dropped and replaced.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::confirms::{self, InFlight, Reply};
use super::message::Envelope;
use super::{PublishFault, Rabbit};

/// Messages that may wait in front of the socket. The relay's window is smaller; the bound is
/// there for the day when it is not.
const JOBS_MAX: usize = 1024;

/// How long the writer lets the collector speak first about a closed channel.
const CAUSE_WAIT: Duration = Duration::from_millis(50);

/// A message to write to the socket.
pub(super) struct Job {
    pub id: Uuid,
    pub envelope: Envelope,
    pub reply: Reply,
}

pub(super) struct Link {
    pub jobs: mpsc::Sender<Job>,
    pub health: Arc<Health>,
    connection: Connection,
    /// Aborted when the link is dropped.
    _tasks: JoinSet<()>,
}

/// What the tasks of a link have learned.
pub(super) struct Health {
    /// Tells this link from its successors.
    pub generation: u64,
    /// The broker's words while it takes no messages.
    blocked: watch::Sender<Option<String>>,
    cause: OnceLock<PublishFault>,
}

impl Link {
    /// Connects, turns on confirms, declares the exchanges. The caller sets the deadline.
    pub async fn open(
        rabbit: &Rabbit,
        uri: AMQPUri,
        generation: u64,
    ) -> Result<Self, PublishFault> {
        let settings = &rabbit.shared.settings;
        let properties = ConnectionProperties::default()
            .with_connection_name(settings.connection_name.as_str().into());
        let connection =
            Connection::connect_uri(uri, properties).await.map_err(|error| classify(&error))?;
        // Before anything can be published: an alarm raised now must not be missed.
        let events = connection.events_listener();
        let channel = connection.create_channel().await.map_err(|error| classify(&error))?;
        declare_topology(rabbit, &channel).await.map_err(|error| classify(&error))?;

        let (blocked, cause) = (watch::Sender::new(None), OnceLock::new());
        let health = Arc::new(Health { generation, blocked, cause });
        let (jobs, job_queue) = mpsc::channel(JOBS_MAX);
        let (in_flight, arrivals) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let end = Ending { rabbit: rabbit.clone(), health: health.clone() };
        tasks.spawn(watch(events, end.clone()));
        tasks.spawn(write(channel, job_queue, in_flight, end.clone()));
        tasks.spawn(confirms::collect(arrivals, move |error| end.with(error)));
        Ok(Self { jobs, health, connection, _tasks: tasks })
    }

    pub async fn close(&self) {
        drop(self.connection.close(200, "OK".into()).await);
    }
}

impl Health {
    /// The broker's words while it takes no messages.
    pub fn blocked_reason(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// Waits while the broker's alarm lasts; the end of the link ends it too.
    pub async fn alarm_over(&self) {
        // The sender lives in `self`, so waiting for it cannot fail.
        let _ = self.blocked.subscribe().wait_for(Option::is_none).await;
    }

    /// Notes why the link ended, unless that is known, and tells the first cause.
    pub fn end(&self, fault: PublishFault) -> PublishFault {
        let cause = self.cause.get_or_init(|| fault).clone();
        self.blocked.send_replace(None);
        cause
    }

    pub fn ended(&self) -> Option<&PublishFault> {
        self.cause.get()
    }
}

/// What a task does when it meets the end of the link.
#[derive(Clone)]
struct Ending {
    rabbit: Rabbit,
    health: Arc<Health>,
}

impl Ending {
    /// Notes the first cause and drops the link. Dropping it aborts the task that calls this, at
    /// its next await; nothing may be left to do after it.
    fn with(&self, error: &lapin::Error) {
        let fault = self.health.end(cause(error));
        self.rabbit.discard(self.health.generation, &fault);
    }
}

/// Durable and idempotent: the same declaration again changes nothing, a broker that lost its
/// data gets its exchanges back.
async fn declare_topology(rabbit: &Rabbit, channel: &Channel) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for (name, kind) in rabbit.shared.exchanges() {
        channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?;
    }
    Ok(())
}

/// Follows the connection's events: alarms of the broker and the connection's end.
async fn watch(events: impl Stream<Item = Event>, end: Ending) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(broker.reason = %reason, "RabbitMQ blocks publishing: {reason}");
                end.health.blocked.send_replace(Some(reason));
            }
            Event::ConnectionUnblocked => {
                tracing::info!("RabbitMQ takes messages again");
                end.health.blocked.send_replace(None);
            }
            Event::Error(error) => {
                end.with(&error);
                return;
            }
            _ => {}
        }
    }
}

/// Writes jobs to the socket, one after another. Only one task may publish on a channel: lapin
/// numbers a message and queues its frames in two steps, so two writers could swap numbers. And
/// it must not be cancelled in between, or a confirmation would go unread.
async fn write(
    channel: Channel,
    mut jobs: mpsc::Receiver<Job>,
    in_flight: mpsc::UnboundedSender<InFlight>,
    end: Ending,
) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    while let Some(Job { id, envelope, reply }) = jobs.recv().await {
        // Its caller gave up while the broker was blocked and will publish it again.
        if reply.is_closed() {
            continue;
        }
        let Envelope { exchange, routing_key, properties, body } = envelope;
        let published =
            channel.basic_publish(exchange, routing_key, options, &body, properties).await;
        match published {
            Ok(confirm) => {
                if in_flight.send(InFlight { id, confirm, reply }).is_err() {
                    return;
                }
            }
            Err(error) => {
                // A channel that is closed does not say why; the messages in flight on it know.
                if matches!(error.kind(), ErrorKind::InvalidChannelState(..)) {
                    tokio::time::sleep(CAUSE_WAIT).await;
                }
                end.with(&error);
                return;
            }
        }
    }
}

/// What ended a channel whose topology stood and that did nothing but publish. These refusals are
/// answers to something that was sent: a body over `max_message_size`, a frame that cannot be read.
fn cause(error: &lapin::Error) -> PublishFault {
    if let ErrorKind::ProtocolError(protocol) = error.kind()
        && let AMQPErrorKind::Soft(
            AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::CONTENTTOOLARGE,
        )
        | AMQPErrorKind::Hard(AMQPHardError::FRAMEERROR | AMQPHardError::SYNTAXERROR) =
            protocol.kind()
    {
        return PublishFault::Provoked(protocol.get_message().to_string());
    }
    classify(error)
}

/// Sorts lapin's errors into ours. Their texts name exchanges and addresses, never credentials.
pub(super) fn classify(error: &lapin::Error) -> PublishFault {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) => match protocol.kind() {
            AMQPErrorKind::Soft(
                AMQPSoftError::NOTFOUND
                | AMQPSoftError::PRECONDITIONFAILED
                | AMQPSoftError::ACCESSREFUSED,
            ) => PublishFault::Topology(protocol.get_message().to_string()),
            _ => PublishFault::Down(protocol.get_message().to_string()),
        },
        _ => PublishFault::Down(error.to_string()),
    }
}
