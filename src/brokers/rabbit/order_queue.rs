//! What the intake of orders has on RabbitMQ: the order service's exchange, the queue that collects
//! its facts, and where a message goes that nobody can use. Declared whenever a connection is made and
//! now and then while it lives, so that a broker that lost any of it has it back.
//!
//! The queue is bound to the four types of facts by name: the order service may publish whatever
//! else it likes (`order.shipped`), and none of it comes here, neither to be refused nor to be kept.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::PublishFault;

/// The broker itself shall never give a message up: it counts deliveries, and so would blame every
/// message that a killed process held for the one that killed it. RabbitMQ 4 counts to 20 unless it
/// is told otherwise, and its word for "never" (-1) is an error to 3.10, so the limit is a number
/// that is not reached.
const DELIVERY_LIMIT: i32 = i32::MAX;

/// The most that dead letters may take, whatever their number.
const DEAD_LETTER_BYTES_MAX: i64 = 1 << 30;

/// Names on the broker. 1–255 bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderQueue {
    /// Durable topic exchange of the order service.
    pub exchange: String,
    /// Quorum queue bound to it.
    pub queue: String,
    /// The types of messages to be had, which are their routing keys.
    pub routing_keys: Vec<String>,
    /// Durable topic exchange.
    pub dead_letter_exchange: String,
    /// Quorum queue bound to all of it.
    pub dead_letter_queue: String,
    /// Messages that it holds at most; then it refuses more, and keeps what it has.
    pub dead_letters_max: u32,
}

/// Declares all of it; the same again changes nothing.
pub(super) async fn declare(channel: &Channel, names: &OrderQueue) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default;
    for exchange in [&names.exchange, &names.dead_letter_exchange] {
        let name = exchange.as_str().into();
        channel.exchange_declare(name, ExchangeKind::Topic, durable, none()).await?;
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let bind = QueueBindOptions::default;
    let (graveyard, queue) = (names.dead_letter_queue.as_str(), names.queue.as_str());
    channel.queue_declare(graveyard.into(), durable, dead_letter_queue(names)).await?;
    let from = names.dead_letter_exchange.as_str();
    channel.queue_bind(graveyard.into(), from.into(), "#".into(), bind(), none()).await?;
    channel.queue_declare(queue.into(), durable, fact_queue(names)).await?;
    for key in &names.routing_keys {
        let (from, key) = (names.exchange.as_str().into(), key.as_str().into());
        channel.queue_bind(queue.into(), from, key, bind(), none()).await?;
    }
    Ok(())
}

/// At-least-once is for what an operator's policy may yet let die here: the broker then keeps a
/// message until the other queue has confirmed it, which asks for `reject-publish`.
fn fact_queue(names: &OrderQueue) -> FieldTable {
    let dead_letter_exchange = names.dead_letter_exchange.as_str();
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(dead_letter_exchange)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

/// Bounded, so that a producer gone mad fills a queue and not the broker's disk. Full, it refuses:
/// dropping the oldest would drop the cause of what came after it.
fn dead_letter_queue(names: &OrderQueue) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongLongInt(names.dead_letters_max.into())),
        ("x-max-length-bytes", AMQPValue::LongLongInt(DEAD_LETTER_BYTES_MAX)),
        ("x-overflow", text("reject-publish")),
    ])
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

/// A text that came from outside, as AMQP's short kind.
pub(super) fn short(value: &str) -> Result<ShortString, PublishFault> {
    let fault = PublishFault::Message("a property is over 255 bytes");
    ShortString::try_new(value).map_err(|_| fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_of_deliveries_ends_a_message() {
        let names = OrderQueue {
            exchange: "order.events".into(),
            queue: "customer.order-facts".into(),
            routing_keys: vec!["order.placed".into()],
            dead_letter_exchange: "customer.dead-letters".into(),
            dead_letter_queue: "customer.dead-letters".into(),
            dead_letters_max: 7,
        };
        let facts = fact_queue(&names);
        // Absent would mean 20 to RabbitMQ 4, and -1 an error to 3.10.
        let limit = facts.inner().get("x-delivery-limit");
        assert_eq!(limit, Some(&AMQPValue::LongInt(2_147_483_647)));
        assert_eq!(facts.inner().get("x-overflow"), Some(&text("reject-publish")));
        let dead = dead_letter_queue(&names);
        assert!(!dead.inner().contains_key("x-dead-letter-exchange"), "it ends there");
        assert_eq!(dead.inner().get("x-max-length"), Some(&AMQPValue::LongLongInt(7)));
    }
}
