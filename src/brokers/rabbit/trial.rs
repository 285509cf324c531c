//! Whose fault is it? A broker that is given something it will not take closes the channel, and
//! every message that was under way on it fails alike. So a message under suspicion is published
//! again on a connection on which nothing else is: it is guilty when the broker refuses that too,
//! and takes a probe right afterwards. Whatever else happens proves nothing against it.

use chrono::DateTime;
use uuid::Uuid;

use super::{Delivery, FaultClass, OutgoingMessage, PublishFault, Rabbit, Settings};

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The broker has it.
    Delivered(Delivery),
    /// The fault is proven to be the message's own.
    Guilty(PublishFault),
    /// Broker or topology are at fault, or it cannot be told: to be tried again, at no charge.
    Unproven(PublishFault),
}

impl Rabbit {
    /// A publisher with the same settings and a connection of its own, opened with the first
    /// message. `purpose` is shown in the broker's list of connections.
    #[must_use]
    pub fn apart(&self, purpose: &str) -> Rabbit {
        let shared = &self.shared;
        let connection_name = format!("{} {purpose}", shared.settings.connection_name);
        let settings = Settings { connection_name, ..shared.settings.clone() };
        Rabbit::of(settings, shared.brokers.clone(), shared.runtime.clone())
    }

    /// Publishes a message and finds out whether a fault is its own. Only one at a time on this
    /// publisher, and nothing else ([`Rabbit::apart`]): else the verdict may hit the wrong one.
    pub async fn try_alone(&self, message: OutgoingMessage) -> Verdict {
        let probe_id = message.id;
        let sent = match self.publish(message).await {
            Ok(pending) => pending.confirm_event().await,
            Err(fault) => Err(fault),
        };
        let fault = match sent {
            Ok(delivery) => return Verdict::Delivered(delivery),
            Err(fault) => fault,
        };
        match fault.class() {
            FaultClass::Message => Verdict::Guilty(fault),
            FaultClass::Broker | FaultClass::Topology => Verdict::Unproven(fault),
            FaultClass::Suspect => match self.probe(probe_id).await {
                Ok(()) => Verdict::Guilty(fault),
                Err(its_own) => Verdict::Unproven(its_own),
            },
        }
    }

    /// Whether the broker takes messages: one for which no queue is ever bound, by the exchange of
    /// mails, which routes by whole keys only. It is confirmed and returned.
    async fn probe(&self, id: Uuid) -> Result<(), PublishFault> {
        let probe = OutgoingMessage {
            exchange: self.notifications_exchange().to_owned(),
            routing_key: format!("probe.{id}"),
            id,
            message_type: "probe".to_owned(),
            time: DateTime::UNIX_EPOCH,
            subject: None,
            sequence: None,
            schema: None,
            traceparent: None,
            body: Vec::new(),
        };
        match self.publish(probe).await?.confirm().await {
            Ok(()) | Err(PublishFault::Returned) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}
