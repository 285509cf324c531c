//! A message on its way: a row of the outbox, or one that is parked.

use chrono::{DateTime, Utc};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use uuid::Uuid;

use super::window::Entry;
use crate::brokers::rabbit::{OutgoingMessage, Rabbit};
use crate::db::outbox::Row;
use crate::domain::erasure::is_command;
use crate::faults;
use crate::traces::Span;

#[derive(Clone, Debug)]
pub struct Letter {
    pub row: Row,
    /// It comes from what is parked: the cursor has passed it.
    pub stored: bool,
}

impl Letter {
    /// The message as the contract describes it.
    pub fn outgoing(&self, rabbit: &Rabbit, schemas: &str) -> OutgoingMessage {
        outgoing(&self.row, rabbit, schemas)
    }
}

/// The message of a row as the contract describes it.
pub fn outgoing(row: &Row, rabbit: &Rabbit, schemas: &str) -> OutgoingMessage {
    let exchange = match is_command(&row.kind) {
        true => rabbit.commands_exchange(),
        false => rabbit.exchange(),
    };
    OutgoingMessage {
        exchange: exchange.to_owned(),
        routing_key: row.kind.clone(),
        id: row.id,
        message_type: row.kind.clone(),
        time: row.occurred_at,
        subject: Some(row.customer_id.to_string()),
        sequence: Some(row.customer_sequence),
        schema: Some(format!("{schemas}/{}.json", row.kind)),
        traceparent: row.traceparent.clone(),
        body: row.data.clone().into_bytes(),
    }
}

/// The sending of a message, from here to the broker's confirmation, as a step of the trace that it is of.
pub fn step(message: &OutgoingMessage) -> Option<Span> {
    Span::within(message.traceparent.as_deref(), SpanKind::Producer, || {
        let attributes = vec![
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.operation.name", "publish"),
            KeyValue::new("messaging.destination.name", message.exchange.clone()),
            KeyValue::new(
                "messaging.rabbitmq.destination.routing_key",
                message.routing_key.clone(),
            ),
            KeyValue::new("messaging.message.id", message.id.to_string()),
        ];
        (format!("publish {}", message.exchange).into(), attributes)
    })
}

impl Entry for Letter {
    fn shard(&self) -> i16 {
        self.row.shard
    }
    fn seq(&self) -> i64 {
        self.row.seq
    }
    fn bucket(&self) -> i32 {
        self.row.bucket
    }
    fn customer(&self) -> Uuid {
        if faults::many_in_flight() { self.row.id } else { self.row.customer_id }
    }
    fn occurred_at(&self) -> DateTime<Utc> {
        self.row.occurred_at
    }
    fn stored(&self) -> bool {
        self.stored
    }
}
