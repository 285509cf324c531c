//! What this service hears, for those who tell it: facts of orders, by the routing keys that its queue
//! is bound to.

use super::Names;
use crate::domain::order::{OrderFact, OrderStatus};
use serde_json::{Map, Value, json};

const SCHEMA: &str = "order.fact";

/// Adds to each part of the document what is heard.
pub fn add(
    names: &Names<'_>,
    channels: &mut Map<String, Value>,
    operations: &mut Map<String, Value>,
    messages: &mut Map<String, Value>,
    schemas: &mut Map<String, Value>,
) {
    for status in OrderStatus::ALL {
        let key = format!("order.{}", status.as_str());
        channels.insert(key.clone(), channel(&key, names.orders));
        operations.insert(key.clone(), operation(&key, names.order_queue));
        messages.insert(key.clone(), message(&key, status));
    }
    schemas.insert(SCHEMA.to_owned(), OrderFact::schema());
}

fn channel(key: &str, exchange: &str) -> Value {
    let exchange =
        json!({ "name": exchange, "type": "topic", "durable": true, "autoDelete": false });
    json!({
        "address": key,
        "messages": { key: { "$ref": format!("#/components/messages/{key}") } },
        "bindings": {
            "amqp": { "is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0" },
        },
    })
}

fn operation(key: &str, queue: &str) -> Value {
    json!({
        "action": "receive",
        "channel": { "$ref": format!("#/channels/{key}") },
        "summary": format!("A fact of an order, from the order service; read from the queue `{queue}`."),
        "bindings": { "amqp": { "ack": true, "bindingVersion": "0.3.0" } },
    })
}

fn message(key: &str, status: OrderStatus) -> Value {
    let mut example = OrderFact::example();
    example["status"] = status.as_str().into();
    json!({
        "name": key,
        "summary": "All of one version of an order. It may come twice, late and in any order.",
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {
                "cloudEvents:traceparent": {
                    "type": "string",
                    "description": "A W3C trace context; it travels on with the messages that follow.",
                },
            },
        },
        "payload": { "$ref": format!("#/components/schemas/{SCHEMA}") },
        "bindings": { "amqp": { "messageType": key, "bindingVersion": "0.3.0" } },
        "examples": [{ "headers": {}, "payload": example }],
    })
}
