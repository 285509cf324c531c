//! What this service publishes, for those who consume it, and what it hears from others: the
//! AsyncAPI document, and the schema of each message where its header `cloudEvents:dataschema` says.
//! Both are made from the list that the messages are written by (`domain::message`).

mod incoming;
mod mails;

use super::catalogue::Code;
use super::problem::Problem;
use crate::config::Config;
use crate::domain::erasure::is_command;
use crate::domain::message::{MessageType, TYPES};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpResponse, get};
use serde_json::{Map, Value, json};
use utoipa_actix_web::service_config::ServiceConfig;

const ABOUT: &str = "What a shop's customer service tells. Bind a queue to the exchange by the types \
     that you want. Messages are CloudEvents 1.0 in AMQP binary mode: the body is the data, the \
     attributes are headers. Each arrives at least once with a stable id; `cloudEvents:sequence` \
     counts the messages about one subject (a customer, the definition of an attribute, a segment; for the \
     commands of an erasure: that erasure) from 1 \
     without a gap, and first deliveries arrive in that order. No message to all holds personal data in the clear: read the customer by its id, or open what is `sealed`, by its key. The command `mail.send`, to the \
     one service that sends mails, does. \
     Later versions may add types, fields, and words where a schema leaves room for them (`anyOf` with any \
     text); nothing that a schema promises is taken back. What the service receives is told as well: facts of orders.";

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(asyncapi_json).service(message_schema);
}

/// The documents, rendered once.
pub struct Contract {
    document: Bytes,
    schemas: Vec<(&'static str, Bytes)>,
}

impl Contract {
    pub fn new(config: &Config) -> Self {
        let render = |value: Value| Bytes::from(value.to_string());
        Self {
            document: render(document(&Names::of(config))),
            schemas: TYPES.iter().map(|known| (known.kind, render((known.schema)()))).collect(),
        }
    }
}

/// Every message that this service publishes: an AsyncAPI 3.0 document.
#[utoipa::path(
    tag = "documentation",
    responses((status = 200, body = Object, content_type = "application/json"))
)]
#[get("/asyncapi.json")]
async fn asyncapi_json(contract: Data<Contract>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(contract.document.clone())
}

/// The JSON Schema of a message's body.
#[utoipa::path(
    tag = "documentation",
    params(("kind" = String, Path, description = "the message's type", example = "customer.created")),
    responses(
        (status = 200, body = Object, content_type = "application/schema+json"),
        (status = 404, description = "No message is of this type")
    )
)]
#[get("/schemas/{kind}.json")]
async fn message_schema(
    kind: web::Path<String>,
    contract: Data<Contract>,
) -> Result<HttpResponse, Problem> {
    let found = contract.schemas.iter().find(|(known, _)| *known == kind.as_str());
    let (_, schema) = found.ok_or(Problem::new(Code::NotFound))?;
    let content_type = (CONTENT_TYPE, "application/schema+json");
    Ok(HttpResponse::Ok().insert_header(content_type).body(schema.clone()))
}

/// What things are called on the broker.
struct Names<'a> {
    /// Where messages go.
    exchange: &'a str,
    /// Where commands to other services go.
    commands: &'a str,
    /// Where mails go that another service sends.
    mails: &'a str,
    /// Where facts of orders come from.
    orders: &'a str,
    order_queue: &'a str,
}

impl<'a> Names<'a> {
    fn of(config: &'a Config) -> Self {
        let intake = &config.orders.intake;
        Self {
            exchange: &config.rabbit.exchange,
            commands: &config.privacy.exchange,
            mails: &config.rabbit.notifications_exchange,
            orders: &intake.exchange,
            order_queue: &intake.queue,
        }
    }
}

/// The AsyncAPI document.
fn document(names: &Names<'_>) -> Value {
    let by_kind = |part: &dyn Fn(&MessageType) -> Value| {
        TYPES.iter().map(|known| (known.kind.to_owned(), part(known))).collect::<Map<_, _>>()
    };
    let mut schemas = by_kind(&|known| (known.schema)());
    schemas.insert("cloudevents.headers".to_owned(), headers());
    let exchange = |kind| if is_command(kind) { names.commands } else { names.exchange };
    let mut channels = by_kind(&|known| channel(known.kind, exchange(known.kind)));
    let mut operations = by_kind(&operation);
    let mut messages = by_kind(&message);
    mails::add(names, &mut channels, &mut operations, &mut messages, &mut schemas);
    incoming::add(names, &mut channels, &mut operations, &mut messages, &mut schemas);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "customer-service",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// One routing key.
fn channel(kind: &str, exchange: &str) -> Value {
    let exchange =
        json!({ "name": exchange, "type": "topic", "durable": true, "autoDelete": false });
    json!({
        "address": kind,
        "messages": { kind: { "$ref": format!("#/components/messages/{kind}") } },
        "bindings": {
            "amqp": { "is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0" },
        },
    })
}

fn operation(known: &MessageType) -> Value {
    json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{}", known.kind) },
        "summary": known.when,
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

fn message(known: &MessageType) -> Value {
    let kind = known.kind;
    json!({
        "name": kind,
        "summary": known.when,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "allOf": [
                { "$ref": "#/components/schemas/cloudevents.headers" },
                { "properties": { "cloudEvents:type": { "const": kind } } },
            ],
        },
        "payload": { "$ref": format!("#/components/schemas/{kind}") },
        "bindings": { "amqp": { "messageType": kind, "bindingVersion": "0.3.0" } },
        "examples": [{
            "headers": example_headers(kind, &(known.example)()),
            "payload": (known.example)(),
        }],
    })
}

/// The attributes of CloudEvents, as AMQP headers.
fn headers() -> Value {
    let uuid = |about: &str| json!({ "type": "string", "format": "uuid", "description": about });
    json!({
        "type": "object",
        "properties": {
            "cloudEvents:specversion": { "const": "1.0" },
            "cloudEvents:id": uuid("The message: the same at each of its deliveries. Also the AMQP property `message_id`."),
            "cloudEvents:type": { "type": "string", "description": "Also the routing key." },
            "cloudEvents:source": { "const": "/customer-service" },
            "cloudEvents:subject": uuid("The customer, or the definition of an attribute or the segment where the message is about one; the erasure of a command."),
            "cloudEvents:partitionkey": uuid("The same."),
            "cloudEvents:time": {
                "type": "string",
                "format": "date-time",
                "description": "When it happened, not when it was sent.",
            },
            "cloudEvents:sequence": {
                "type": "integer",
                "minimum": 1,
                "description": "Counts the messages about this subject without a gap.",
            },
            "cloudEvents:dataschema": {
                "type": "string",
                "format": "uri",
                "description": "Where this service tells the schema of the body.",
            },
            "cloudEvents:traceparent": {
                "type": "string",
                "description": "The W3C trace context of the request that caused it, if it had one.",
            },
        },
        "required": [
            "cloudEvents:specversion",
            "cloudEvents:id",
            "cloudEvents:type",
            "cloudEvents:source",
            "cloudEvents:subject",
            "cloudEvents:partitionkey",
            "cloudEvents:time",
            "cloudEvents:sequence",
            "cloudEvents:dataschema",
        ],
    })
}

fn example_headers(kind: &str, data: &Value) -> Value {
    let subject = match is_command(kind) {
        true => &data["erasure_id"],
        false => {
            data.get("customer_id").or(data.get("attribute_id")).unwrap_or(&data["segment_id"])
        }
    };
    json!({
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": "01a2027b-d6a4-7e19-b0f3-6d5c21d7a906",
        "cloudEvents:type": kind,
        "cloudEvents:source": "/customer-service",
        "cloudEvents:subject": subject,
        "cloudEvents:partitionkey": subject,
        "cloudEvents:time": "2026-11-22T09:00:00.164000Z",
        "cloudEvents:sequence": 1,
        "cloudEvents:dataschema": format!("https://customers.shop.example/schemas/{kind}.json"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const NAMES: Names<'static> = Names {
        exchange: "customer.events",
        commands: "customer.commands",
        mails: "customer.notifications",
        orders: "order.events",
        order_queue: "customer.order-facts",
    };

    /// The document stands in the repository, so that a change of the contract shows in review.
    #[test]
    fn m4_the_contract_is_the_one_in_the_repository() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi.json");
        let served = document(&NAMES);
        if std::env::var_os("UPDATE_ASYNCAPI").is_some() {
            std::fs::write(&path, format!("{served:#}\n")).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        let kept: Value = serde_json::from_str(&kept).unwrap();
        assert!(
            kept == served,
            "docs/asyncapi.json is not what is served: look whether consumers can bear the change, \
             then write it anew by UPDATE_ASYNCAPI=1 cargo test --lib asyncapi"
        );
    }

    #[test]
    fn m4_examples_follow_their_schemas() {
        let document = document(&NAMES);
        for (kind, message) in document["components"]["messages"].as_object().unwrap() {
            let schemas = &document["components"]["schemas"];
            let (payload, headers) = match message["payload"]["$ref"].as_str() {
                Some("#/components/schemas/order.fact") => {
                    (&schemas["order.fact"], &message["headers"])
                }
                Some("#/components/schemas/mail.send") => (&schemas[kind], &message["headers"]),
                _ => (&schemas[kind], &schemas["cloudevents.headers"]),
            };
            let example = &message["examples"][0];
            for (schema, part) in [(payload, "payload"), (headers, "headers")] {
                let formats = jsonschema::options().should_validate_formats(true);
                let validator = formats.build(schema).unwrap();
                if let Err(error) = validator.validate(&example[part]) {
                    panic!("{kind}: {part}: {error}");
                }
            }
        }
    }

    /// The README tells the types, each once.
    #[test]
    fn m4_the_readme_lists_every_type() {
        let readme = include_str!("../../README.md");
        let (_, types) = readme.split_once("\nTypes:\n").expect("the list of types");
        let (types, _) = types.split_once("\n## ").expect("a heading after the list");
        let mut told: Vec<_> =
            types.split('`').skip(1).step_by(2).filter(|text| text.contains('.')).collect();
        told.sort_unstable();
        let mut known: Vec<_> = TYPES.iter().map(|known| known.kind).collect();
        known.sort_unstable();
        assert_eq!(told, known);
    }
}
