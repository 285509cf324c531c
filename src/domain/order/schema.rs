//! What a fact must look like, for whoever writes facts: a JSON Schema beside the reader that
//! judges them. A schema cannot say all that the reader asks for (that a currency exists, that an
//! amount is written without a point); whatever it can say, the two say alike, which the reader's
//! own table of broken facts shows.

use super::{Item, OrderFact, OrderStatus};
use crate::domain::money::Money;
use serde_json::{Value, json};

impl OrderFact {
    /// The JSON Schema (2020-12) of a fact, whole in itself. Further members are ignored.
    #[must_use]
    pub fn schema() -> Value {
        let mut refunded =
            money("What was paid back, in the currency of the total; left out, nothing.");
        refunded["type"] = json!(["object", "null"]);
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "OrderFact",
            "description": "All of one version of an order, never a change of it.",
            "type": "object",
            "properties": {
                "order_id": {
                    "type": "string",
                    "pattern": "^[!-~]{1,64}$",
                    "description": "One order of that name in the whole shop.",
                },
                "customer_id": {
                    "type": "string",
                    "format": "uuid",
                    "description": "Whose. An order never changes its customer.",
                },
                "version": whole(1, i64::MAX, "Rises with each change of the order."),
                "status": {
                    "enum": OrderStatus::ALL.map(OrderStatus::as_str),
                    "description": "Where it stands.",
                },
                "placed_at": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When it was placed, from 1970 on.",
                },
                "completed_at": {
                    "type": ["string", "null"],
                    "format": "date-time",
                    "description": "When it was completed, if it is.",
                },
                "total": money("What it costs."),
                "refunded": refunded,
                "items": {
                    "type": "array",
                    "maxItems": Self::ITEMS_MAX,
                    "items": item(),
                    "description": "What was ordered; a product that stands twice is added up.",
                },
            },
            "required": ["order_id", "customer_id", "version", "status", "placed_at", "total", "items"],
        })
    }

    /// A fact as the order service could tell it.
    #[must_use]
    pub fn example() -> Value {
        json!({
            "order_id": "ORD-2026-000017",
            "customer_id": "01a2027b-d680-7c3a-9d41-5b0e2f7a8801",
            "version": 3,
            "status": "completed",
            "placed_at": "2026-03-01T10:00:00+07:00",
            "completed_at": "2026-03-04T00:00:00Z",
            "total": { "amount": 250_000, "currency": "VND" },
            "refunded": { "amount": 50_000, "currency": "VND" },
            "items": [{ "sku": "LAMP-7/red", "quantity": 2 }],
        })
    }
}

fn whole(least: i64, most: i64, about: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": about })
}

fn money(about: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            "amount": whole(0, Money::MAX, "In minor units of the currency."),
            "currency": {
                "type": "string",
                "pattern": "^[A-Z]{3}$",
                "description": "Of ISO 4217.",
            },
        },
        "required": ["amount", "currency"],
        "description": about,
    })
}

fn item() -> Value {
    json!({
        "type": "object",
        "properties": {
            "sku": {
                "type": "string",
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}$",
                "description": "The product.",
            },
            "quantity": whole(1, Item::QUANTITY_MAX.into(), "How many of it."),
        },
        "required": ["sku", "quantity"],
    })
}
