//! A message as RabbitMQ sees it: CloudEvents 1.0 in binary mode, so the body stays the bare
//! `data` document and a consumer can route, deduplicate and order by headers alone.

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use uuid::Uuid;

use super::PublishFault;

/// `cloudEvents:source` of everything this service publishes.
pub const SOURCE: &str = "/customer-service";

/// The largest body that is handed to the broker, in bytes. The outbox refuses more than 256 KiB,
/// brokers of today more than 16 MiB by closing the channel, which would hit innocent messages.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// W3C says 55 bytes; what is longer was not written by us.
const TRACEPARENT_BYTES_MAX: usize = 255;

pub(super) const PERSISTENT: u8 = 2;

/// One message to publish. Everything a consumer may rely on is set by the caller, nothing is
/// made up here: a second publish of the same outbox row is the same message.
#[derive(Clone)]
pub struct OutgoingMessage {
    /// Exchange to publish to; declared by [`super::Rabbit`] when it is one of its own.
    pub exchange: String,
    /// At most 255 bytes; for events the type.
    pub routing_key: String,
    /// The stable message id; consumers deduplicate by it.
    pub id: Uuid,
    /// For example `customer.created`.
    pub message_type: String,
    /// When it happened (not when it is published).
    pub time: DateTime<Utc>,
    /// The customer's id, also the partition key. `None` for commands that belong to no customer.
    pub subject: Option<String>,
    /// Gap-free per subject, from 1; written as an AMQP integer so that consumers compare numbers.
    pub sequence: Option<i64>,
    /// Address of the JSON Schema of the body.
    pub schema: Option<String>,
    /// W3C trace context of the request that caused the message.
    pub traceparent: Option<String>,
    /// The `data` as JSON; at most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// The parts of a publish in lapin's types, proven to fit into AMQP's limits.
pub(super) struct Envelope {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl OutgoingMessage {
    /// Checks the limits of AMQP locally: a message that the broker could only answer by closing
    /// the channel is a fault of this message and must not cost its neighbours anything.
    pub(super) fn into_envelope(self) -> Result<Envelope, PublishFault> {
        if self.body.len() > BODY_BYTES_MAX {
            return Err(PublishFault::Message("the body is larger than 1 MiB"));
        }
        // The headers go in one frame, of which the others take less than 2 KiB.
        if self.traceparent.as_ref().is_some_and(|text| text.len() > TRACEPARENT_BYTES_MAX) {
            return Err(PublishFault::Message("the trace context is over 255 bytes"));
        }
        Ok(Envelope {
            exchange: short(&self.exchange, "the exchange's name is over 255 bytes")?,
            routing_key: short(&self.routing_key, "the routing key is over 255 bytes")?,
            properties: self.properties()?,
            body: self.body,
        })
    }

    fn properties(&self) -> Result<BasicProperties, PublishFault> {
        let seconds = u64::try_from(self.time.timestamp())
            .map_err(|_| PublishFault::Message("the time is before 1970"))?;
        Ok(BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short(&self.id.to_string(), "unreachable: a UUID has 36 bytes")?)
            .with_type(short(&self.message_type, "the type is over 255 bytes")?)
            .with_content_type(ShortString::from("application/json"))
            .with_timestamp(seconds)
            .with_headers(self.headers()))
    }

    fn headers(&self) -> FieldTable {
        let time = self.time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let texts = [
            ("cloudEvents:specversion", Some("1.0".to_owned())),
            ("cloudEvents:id", Some(self.id.to_string())),
            ("cloudEvents:type", Some(self.message_type.clone())),
            ("cloudEvents:source", Some(SOURCE.to_owned())),
            ("cloudEvents:time", Some(time)),
            ("cloudEvents:subject", self.subject.clone()),
            ("cloudEvents:partitionkey", self.subject.clone()),
            ("cloudEvents:dataschema", self.schema.clone()),
            ("cloudEvents:traceparent", self.traceparent.clone()),
        ];
        let mut headers = FieldTable::default();
        for (name, text) in texts {
            if let Some(text) = text {
                headers.insert(name.into(), AMQPValue::LongString(LongString::from(text)));
            }
        }
        if let Some(sequence) = self.sequence {
            headers.insert("cloudEvents:sequence".into(), AMQPValue::LongLongInt(sequence));
        }
        headers
    }
}

pub(super) fn short(text: &str, fault: &'static str) -> Result<ShortString, PublishFault> {
    ShortString::try_new(text).map_err(|_| PublishFault::Message(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> OutgoingMessage {
        OutgoingMessage {
            exchange: "customer.events".into(),
            routing_key: "customer.created".into(),
            id: Uuid::from_u128(7),
            message_type: "customer.created".into(),
            time: DateTime::from_timestamp(1_800_000_000, 5_000).unwrap(),
            subject: Some("0192".into()),
            sequence: Some(3),
            schema: None,
            traceparent: None,
            body: b"{}".to_vec(),
        }
    }

    #[test]
    fn headers_follow_the_binary_mode_of_cloudevents() {
        let envelope = message().into_envelope().unwrap();
        let headers = envelope.properties.headers().clone().unwrap();
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(text("cloudEvents:specversion"), "1.0");
        assert_eq!(text("cloudEvents:id"), Uuid::from_u128(7).to_string());
        assert_eq!(text("cloudEvents:source"), "/customer-service");
        assert_eq!(text("cloudEvents:time"), "2027-01-15T08:00:00.000005Z");
        assert_eq!(text("cloudEvents:subject"), text("cloudEvents:partitionkey"));
        assert_eq!(headers.inner().get("cloudEvents:sequence"), Some(&AMQPValue::LongLongInt(3)));
        assert!(!headers.inner().contains_key("cloudEvents:dataschema"));
        assert_eq!(*envelope.properties.delivery_mode(), Some(2));
    }

    #[test]
    fn what_amqp_cannot_carry_is_the_messages_own_fault() {
        let long_key = OutgoingMessage { routing_key: "x".repeat(256), ..message() };
        assert!(matches!(long_key.into_envelope(), Err(PublishFault::Message(_))));
        let long_body = OutgoingMessage { body: vec![b' '; BODY_BYTES_MAX + 1], ..message() };
        assert!(matches!(long_body.into_envelope(), Err(PublishFault::Message(_))));
        let long_trace = OutgoingMessage { traceparent: Some("x".repeat(256)), ..message() };
        assert!(matches!(long_trace.into_envelope(), Err(PublishFault::Message(_))));
    }
}
