//! The publisher to RabbitMQ: a message counts as delivered only when the broker has confirmed
//! it *and* did not return it. On any fault of the connection or channel everything is dropped
//! and built anew, topology included; lapin's own recovery is not used.
//!
//! Every await that touches the network has a deadline. Faults come in classes ([`FaultClass`]) so
//! that an outage is never charged to a message; where the broker does not say whose fault it is,
//! `trial` finds out.

mod brokers;
mod confirms;
mod consume;
mod dead_letters;
mod link;
mod mending;
mod message;
mod order_queue;
mod replay;
mod trial;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::ExchangeKind;
use metrics::counter;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use brokers::Brokers;
pub use consume::{Access, Feed, Letter, Source};
pub use dead_letters::{DeadLetter, DeadLetters};
use link::{Health, Job, Link};
pub use message::{BODY_BYTES_MAX, OutgoingMessage, SOURCE};
pub use order_queue::OrderQueue;
pub use replay::{OpenQueue, QueueFault, REPLAY_HEADER};
pub use trial::Verdict;

/// Add this directive to the log filter. lapin logs every returned message as a warning with its
/// whole body, and a mail handed over to [`Settings::notifications_exchange`] has personal data.
pub const LOG_DIRECTIVE: &str = "lapin::returned_messages=off";

/// After a failed attempt to connect, callers get that failure for this long instead of each
/// spending a connect timeout of its own.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// How long [`Rabbit::close`] waits for the broker's good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What [`Rabbit`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`; `host:port,host:port` for a cluster.
    /// Never logged.
    pub url: SecretString,
    /// Durable topic exchange for events.
    pub exchange: String,
    /// Durable direct exchange for mails that another service sends.
    pub notifications_exchange: String,
    /// Durable topic exchange for commands to other services.
    pub commands_exchange: String,
    /// For TCP, TLS, handshake, channel and topology together, at each broker that is tried.
    pub connect_timeout: Duration,
    /// From `publish` to the broker's confirmation.
    pub confirm_timeout: Duration,
    /// Seconds between heartbeats; a silent broker is given up after two.
    pub heartbeat_seconds: u16,
    pub unrouted: Unrouted,
    /// Shown in the broker's list of connections.
    pub connection_name: String,
}

/// What an event is worth for which no queue is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unrouted {
    /// Nobody has subscribed to the type: count it (`outbox_unrouted_total`) and go on. The
    /// outbox keeps its row for the retention time, so a late subscriber can have it replayed.
    #[default]
    Drop,
    /// Keep it and every later event of its customer until a queue is bound.
    Wait,
}

/// What became of a confirmed event, see [`PendingConfirm::confirm_event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In every queue that is bound for it.
    Routed,
    /// No queue is bound and the policy is [`Unrouted::Drop`].
    Unrouted,
}

/// Who is to blame, which decides who pays for the retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The broker is away, blocked, silent or refuses: wait, spend no attempt.
    Broker,
    /// Exchange, binding or permission is missing or differs: alarm, spend no attempt.
    Topology,
    /// One of the messages that were under way made the broker close the channel; it does not say
    /// which. [`Rabbit::try_alone`] finds out.
    Suspect,
    /// This message can never be published.
    Message,
}

impl FaultClass {
    /// The word for it in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Topology => "topology",
            Self::Suspect => "suspect",
            Self::Message => "message",
        }
    }
}

/// Why a message is not (known to be) with the broker. Texts hold no credentials and no data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishFault {
    #[error("RabbitMQ cannot be reached: {0}")]
    Down(String),
    /// The broker has raised a memory or disk alarm; the connection stays and resumes by itself.
    #[error("RabbitMQ has blocked publishing")]
    Blocked,
    #[error("RabbitMQ did not answer in time: {0}")]
    TimedOut(&'static str),
    /// A nack: a queue is full with `reject-publish`, or the broker failed inside.
    #[error("RabbitMQ refused the message")]
    Refused,
    #[error("no queue is bound for the message")]
    Returned,
    #[error("RabbitMQ's topology does not fit: {0}")]
    Topology(String),
    #[error("RabbitMQ closed the channel because of a message: {0}")]
    Provoked(String),
    #[error("the message cannot be published: {0}")]
    Message(&'static str),
}

impl PublishFault {
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Down(_) | Self::Blocked | Self::TimedOut(_) | Self::Refused => FaultClass::Broker,
            Self::Returned | Self::Topology(_) => FaultClass::Topology,
            Self::Provoked(_) => FaultClass::Suspect,
            Self::Message(_) => FaultClass::Message,
        }
    }

    /// Short, stable name for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Down(_) => "down",
            Self::Blocked => "blocked",
            Self::TimedOut(_) => "timed_out",
            Self::Refused => "refused",
            Self::Returned => "returned",
            Self::Topology(_) => "topology",
            Self::Provoked(_) => "provoked",
            Self::Message(_) => "message",
        }
    }
}

/// For readiness and the operators' page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Connected,
    /// Connected, but the broker takes no messages; the broker's reason.
    Blocked(String),
    /// The last failure; free of credentials.
    Down(String),
}

/// The address in [`Settings::url`] is not one of AMQP.
#[derive(Debug, thiserror::Error)]
#[error("rabbit.url is not a valid address (amqp://user:password@host:port/vhost)")]
pub struct InvalidUrl;

/// A handle to the publisher; clones share one connection.
#[derive(Clone)]
pub struct Rabbit {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    brokers: Brokers,
    runtime: Handle,
    /// Held while connecting, so that callers share one attempt.
    connecting: tokio::sync::Mutex<Option<(Instant, PublishFault)>>,
    current: Mutex<Current>,
}

struct Current {
    link: Option<Arc<Link>>,
    /// Tells a link from its successor, so that a late fault cannot tear down the new one.
    generation: u64,
    down: String,
}

impl Rabbit {
    /// Prepares the publisher; connects with the first [`Rabbit::connect`] or publish.
    ///
    /// Must be called inside a tokio runtime: the connection lives on that one, whichever thread
    /// publishes later.
    pub fn new(settings: Settings) -> Result<Self, InvalidUrl> {
        let brokers = Brokers::of(&settings.url, settings.heartbeat_seconds)?;
        Ok(Self::of(settings, brokers, Handle::current()))
    }

    fn of(settings: Settings, brokers: Brokers, runtime: Handle) -> Self {
        let current = Current { link: None, generation: 0, down: "not connected yet".to_owned() };
        let shared = Shared {
            settings,
            brokers,
            runtime,
            connecting: tokio::sync::Mutex::new(None),
            current: Mutex::new(current),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Connects and declares the topology unless that is done. Call it now and then when idle,
    /// so that [`Rabbit::state`] turns healthy without traffic.
    pub async fn connect(&self) -> Result<(), PublishFault> {
        self.link().await.map(|_| ())
    }

    /// The state at this moment, without asking the broker.
    pub fn state(&self) -> State {
        let current = self.shared.current();
        match &current.link {
            Some(link) => match link.health.blocked_reason() {
                Some(reason) => State::Blocked(reason),
                None => State::Connected,
            },
            None => State::Down(current.down.clone()),
        }
    }

    /// Waits while the broker's alarm lasts that [`State::Blocked`] tells of: it says itself when it
    /// takes messages again. At once where there is no alarm, or no connection any more.
    pub async fn alarm_over(&self) {
        let health = self.shared.link().map(|link| link.health.clone());
        if let Some(health) = health {
            health.alarm_over().await;
        }
    }

    /// Where it connected last, or will first, without credentials: for the log.
    pub fn address(&self) -> String {
        self.shared.brokers.address()
    }

    /// The configured policy for events without a subscriber.
    pub fn unrouted(&self) -> Unrouted {
        self.shared.settings.unrouted
    }

    /// Name of the topic exchange for events.
    pub fn exchange(&self) -> &str {
        &self.shared.settings.exchange
    }

    /// Name of the topic exchange for commands to other services.
    pub fn commands_exchange(&self) -> &str {
        &self.shared.settings.commands_exchange
    }

    /// Name of the direct exchange for mail commands.
    pub fn notifications_exchange(&self) -> &str {
        &self.shared.settings.notifications_exchange
    }

    /// Hands a message to the connection, in the order of calls, and returns at once: publish a
    /// whole window, then await the confirmations. Waits only for a connection or when the
    /// window in front of the socket is full.
    ///
    /// # Errors
    /// [`PublishFault`]; the message was not sent.
    pub async fn publish(&self, message: OutgoingMessage) -> Result<PendingConfirm, PublishFault> {
        let id = message.id;
        let envelope = message.into_envelope()?;
        let deadline = Instant::now() + self.shared.settings.confirm_timeout;
        let link = self.link().await?;
        if link.health.blocked_reason().is_some() {
            return Err(PublishFault::Blocked);
        }
        let (reply, verdict) = oneshot::channel();
        let sent = timeout_at(deadline, link.jobs.send(Job { id, envelope, reply })).await;
        let health = link.health.clone();
        match sent {
            Ok(Ok(())) => Ok(PendingConfirm { verdict, deadline, rabbit: self.clone(), health }),
            Ok(Err(_)) => Err(self.lost(&health)),
            Err(_) => Err(self.expired(&health)),
        }
    }

    /// Publishes and awaits the confirmation.
    pub async fn publish_one(&self, message: OutgoingMessage) -> Result<(), PublishFault> {
        self.publish(message).await?.confirm().await
    }

    /// Says good-bye to the broker; used once, at shutdown.
    pub async fn close(&self) {
        self.part("closed".to_owned()).await;
    }

    /// Leaves a broker that goes on to refuse; the next message opens another connection.
    pub async fn renew(&self) {
        let fault = PublishFault::Refused;
        counter!("rabbit_connections_lost_total", "fault" => fault.code()).increment(1);
        self.part(fault.to_string()).await;
    }

    async fn part(&self, down: String) {
        let link = {
            let mut current = self.shared.current();
            current.down = down;
            current.link.take()
        };
        if let Some(link) = link {
            drop(tokio::time::timeout(CLOSE_TIMEOUT, link.close()).await);
        }
    }

    async fn link(&self) -> Result<Arc<Link>, PublishFault> {
        if let Some(link) = self.shared.link() {
            return Ok(link);
        }
        let asked_at = Instant::now();
        let mut last_failure = self.shared.connecting.lock().await;
        if let Some(link) = self.shared.link() {
            return Ok(link);
        }
        if let Some((failed_at, fault)) = &*last_failure
            && asked_at < *failed_at + CONNECT_PAUSE
        {
            return Err(fault.clone());
        }
        let opened = self.open().await;
        *last_failure = match &opened {
            Ok(_) => None,
            Err(fault) => Some((Instant::now(), fault.clone())),
        };
        opened
    }

    /// Opens a link on the publisher's own runtime: an actor's thread may end or be busy.
    async fn open(&self) -> Result<Arc<Link>, PublishFault> {
        let generation = {
            let mut current = self.shared.current();
            current.generation += 1;
            current.generation
        };
        let rabbit = self.clone();
        let limit = self.shared.settings.connect_timeout;
        let opening = self.shared.runtime.spawn(async move {
            let brokers = &rabbit.shared.brokers;
            brokers.open(limit, |uri| Link::open(&rabbit, uri, generation)).await
        });
        let opened = match opening.await {
            Ok(opened) => opened,
            Err(_) => Err(PublishFault::Down("the runtime is shutting down".to_owned())),
        };
        match opened {
            Ok(link) => {
                tracing::info!(broker.address = %self.address(), "connected to RabbitMQ");
                let link = Arc::new(link);
                self.shared.current().link = Some(link.clone());
                // It may have ended before it was registered, when discarding found nothing.
                match link.health.ended() {
                    None => Ok(link),
                    Some(_) => Err(self.lost(&link.health)),
                }
            }
            Err(fault) => {
                counter!("rabbit_connect_failures_total", "fault" => fault.code()).increment(1);
                self.shared.current().down = fault.to_string();
                Err(fault)
            }
        }
    }

    /// Drops the link with all that hangs on it, unless a newer one has taken its place.
    fn discard(&self, generation: u64, fault: &PublishFault) {
        let dropped = {
            let mut current = self.shared.current();
            if current.link.as_ref().is_none_or(|link| link.health.generation != generation) {
                return;
            }
            current.down = fault.to_string();
            current.link.take()
        };
        drop(dropped);
        counter!("rabbit_connections_lost_total", "fault" => fault.code()).increment(1);
        tracing::warn!(broker.fault = %fault, "dropped the connection to RabbitMQ: {fault}");
    }

    /// The link's tasks have ended: the reason is what they noted.
    fn lost(&self, health: &Health) -> PublishFault {
        let fault = health.end(PublishFault::Down("the connection was dropped".to_owned()));
        self.discard(health.generation, &fault);
        fault
    }

    /// A deadline has passed. A blocked connection is alive and must not be replaced: the new
    /// one would not know of the alarm and run into it with its first message.
    fn expired(&self, health: &Health) -> PublishFault {
        if health.blocked_reason().is_some() {
            return PublishFault::Blocked;
        }
        let fault = health.end(PublishFault::TimedOut("confirming"));
        self.discard(health.generation, &fault);
        fault
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.current().link.clone()
    }

    fn exchanges(&self) -> [(&str, ExchangeKind); 3] {
        [
            (&self.settings.exchange, ExchangeKind::Topic),
            (&self.settings.notifications_exchange, ExchangeKind::Direct),
            (&self.settings.commands_exchange, ExchangeKind::Topic),
        ]
    }
}

impl fmt::Debug for Rabbit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rabbit").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// A message on its way; await it with one of the two `confirm` functions. Dropping it means not
/// to know: publish the message again.
#[must_use = "an unconfirmed message may be lost"]
pub struct PendingConfirm {
    verdict: oneshot::Receiver<Result<(), PublishFault>>,
    deadline: Instant,
    rabbit: Rabbit,
    /// Not the link itself: a pending message must not keep a dead connection alive.
    health: Arc<Health>,
}

impl PendingConfirm {
    /// Waits until every bound queue has the message, at most the confirm timeout since publish.
    ///
    /// # Errors
    /// Any [`PublishFault`]; the broker may still have taken the message (at least once).
    pub async fn confirm(self) -> Result<(), PublishFault> {
        match timeout_at(self.deadline, self.verdict).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err(self.rabbit.lost(&self.health)),
            Err(_) => Err(self.rabbit.expired(&self.health)),
        }
    }

    /// Like [`PendingConfirm::confirm`], with the policy [`Settings::unrouted`] applied.
    pub async fn confirm_event(self) -> Result<Delivery, PublishFault> {
        let unrouted = self.rabbit.unrouted();
        match self.confirm().await {
            Ok(()) => Ok(Delivery::Routed),
            Err(PublishFault::Returned) if unrouted == Unrouted::Drop => {
                counter!("outbox_unrouted_total").increment(1);
                Ok(Delivery::Unrouted)
            }
            Err(fault) => Err(fault),
        }
    }
}
