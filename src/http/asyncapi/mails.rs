//! The one command that this service sends: a mail, where another service sends them
//! (`mail.transport = "message"`). Unlike every message to all, it holds personal data.

use super::Names;
use serde_json::{Map, Value, json};

/// Its type and routing key.
const COMMAND: &str = "mail.send";

/// Adds the command to each part of the document.
pub fn add(
    names: &Names<'_>,
    channels: &mut Map<String, Value>,
    operations: &mut Map<String, Value>,
    messages: &mut Map<String, Value>,
    schemas: &mut Map<String, Value>,
) {
    channels.insert(COMMAND.to_owned(), channel(names.mails));
    operations.insert(COMMAND.to_owned(), operation());
    messages.insert(COMMAND.to_owned(), message());
    schemas.insert(COMMAND.to_owned(), schema());
}

fn channel(exchange: &str) -> Value {
    let exchange =
        json!({ "name": exchange, "type": "direct", "durable": true, "autoDelete": false });
    json!({
        "address": COMMAND,
        "messages": { COMMAND: { "$ref": format!("#/components/messages/{COMMAND}") } },
        "bindings": {
            "amqp": { "is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0" },
        },
    })
}

fn operation() -> Value {
    json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{COMMAND}") },
        "summary": "A mail is to be rendered and sent, where mail.transport is \"message\". It waits \
            until a queue is bound. It may come twice, under the same id.",
        "bindings": {
            "amqp": {
                "deliveryMode": 2,
                "mandatory": true,
                "timestamp": true,
                "bindingVersion": "0.3.0",
            },
        },
    })
}

fn message() -> Value {
    let id = "01a2027b-d6a4-7e19-b0f3-6d5c21d7a907";
    json!({
        "name": COMMAND,
        "summary": "A mail to one address. Personal data and links that work once: for the service \
            that sends mails alone.",
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {
                "cloudEvents:specversion": { "const": "1.0" },
                "cloudEvents:id": {
                    "type": "string",
                    "format": "uuid",
                    "description": "The mail: the same at each of its deliveries. Also the AMQP property `message_id`.",
                },
                "cloudEvents:type": { "const": COMMAND },
                "cloudEvents:source": { "const": "/customer-service" },
                "cloudEvents:time": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When it was decided on.",
                },
            },
            "required": [
                "cloudEvents:specversion",
                "cloudEvents:id",
                "cloudEvents:type",
                "cloudEvents:source",
                "cloudEvents:time",
            ],
        },
        "payload": { "$ref": format!("#/components/schemas/{COMMAND}") },
        "bindings": { "amqp": { "messageType": COMMAND, "bindingVersion": "0.3.0" } },
        "examples": [{
            "headers": {
                "cloudEvents:specversion": "1.0",
                "cloudEvents:id": id,
                "cloudEvents:type": COMMAND,
                "cloudEvents:source": "/customer-service",
                "cloudEvents:time": "2026-11-22T09:00:00.164000Z",
            },
            "payload": {
                "mail_id": id,
                "to": "anna@shop.example",
                "template": "verify_email",
                "locale": "vi-VN",
                "values": { "link": "https://shop.example/verify?token=…", "valid_hours": 24 },
                "created_at": "2026-11-22T09:00:00.164000Z",
            },
        }],
    })
}

/// The schema of the command's body.
fn schema() -> Value {
    let whole = |about: &str| json!({ "type": "integer", "minimum": 0, "description": about });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": COMMAND,
        "type": "object",
        "properties": {
            "mail_id": { "type": "string", "format": "uuid" },
            "to": { "type": "string", "format": "email", "description": "The bare address." },
            "template": {
                "type": "string",
                "description": "What the mail is about, such as `verify_email`; later versions add some.",
            },
            "locale": { "type": "string", "description": "BCP 47, such as `vi-VN`." },
            "values": {
                "type": "object",
                "description": "What the template shows. Later versions may add some.",
                "properties": {
                    "link": { "type": "string", "description": "Where the mail leads; it may hold a token that works once." },
                    "valid_hours": whole("How long the link is good, in hours, rounded down."),
                    "valid_minutes": whole("The same in minutes."),
                    "codes_left": whole("Backup codes that are left."),
                    "day": { "type": "string", "format": "date", "description": "The day that the mail is about." },
                },
            },
            "created_at": { "type": "string", "format": "date-time" },
        },
        "required": ["mail_id", "to", "template", "locale", "values", "created_at"],
    })
}
