//! Orders, as the order service tells of them: each fact is all of one version of an order.
//!
//! A fact replaces whatever was known of its order before, unless that was of the same or a later
//! version. So facts may come twice, late and in any order, and end in the same.

mod reading;
mod reconciliation;
mod schema;
mod statistics;

pub use reading::FactFault;
pub use reconciliation::Difference;
pub use statistics::{Cause, Counted, Span, Statistics};

use super::fault::Fault;
use super::ids::CustomerId;
use super::money::Money;
use super::place::Currency;
use super::wishlist::Sku;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The order service's name for an order: one of everywhere, not of a customer's.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[!-~]{1,64}$"))]
pub struct OrderId(String);

impl OrderId {
    pub const MAX: usize = 64;

    /// # Errors
    /// `invalid_order_id` unless 1–64 visible characters of ASCII.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let bytes = raw.as_bytes();
        if (1..=Self::MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
            Ok(Self(raw.to_owned()))
        } else {
            let detail = "must be 1 to 64 visible characters of ASCII";
            Err(Fault::new("invalid_order_id", detail))
        }
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an order stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Ordered, and neither completed nor given up: an active order.
    Placed,
    Completed,
    /// Counts as cancelled, and for nothing else.
    Cancelled,
    Refunded,
}

impl OrderStatus {
    pub const ALL: [Self; 4] = [Self::Placed, Self::Completed, Self::Cancelled, Self::Refunded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// How much of a product was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub sku: Sku,
    pub quantity: u32,
}

impl Item {
    /// Most of one product in an order.
    pub const QUANTITY_MAX: u32 = 1_000_000;
}

/// All of one version of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFact {
    pub order_id: OrderId,
    /// Whose, as the order service says: somebody who was merged since is meant as whom it became.
    pub customer_id: CustomerId,
    /// From 1.
    pub version: i64,
    pub status: OrderStatus,
    pub placed_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub total: Money,
    /// What was paid back, in minor units of the total's currency; may be more than the total.
    pub refunded: i64,
    /// By their skus, each once.
    pub items: Vec<Item>,
}

impl OrderFact {
    /// Most items of an order, those that name one product apart included.
    pub const ITEMS_MAX: usize = 500;

    /// Whether it is an order of the customer's, as far as numbers, sums and dates go.
    pub fn counts(&self) -> bool {
        self.status != OrderStatus::Cancelled
    }
}

/// What is kept of an order: the fact of its latest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub fact: OrderFact,
    /// When this version was heard of.
    pub recorded_at: DateTime<Utc>,
}

/// The orders of a customer, as much of them as the commands of a batch need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Those that commands name.
    pub facts: BTreeMap<OrderId, Order>,
    /// Those that commands name and that are another customer's.
    pub elsewhere: BTreeSet<OrderId>,
    /// All of them, by currency.
    pub statistics: BTreeMap<Currency, Statistics>,
    /// From the first to the last order that counts, of those that no command names.
    pub others: BTreeMap<Currency, Span>,
    /// What the kept facts come to, counted anew. Known only to a reconciliation.
    pub recounted: BTreeMap<Currency, Statistics>,
    /// How many orders there are. Known only to a merge.
    pub count: usize,
    /// Why there is no customer any more. Known only to a command that names an order.
    pub gone: Option<Gone>,
}

impl Orders {
    /// How many wait to be completed, cancelled or refunded; as far as the statistics are loaded.
    /// Who has any cannot ask to be deleted (rule P1).
    pub fn active(&self) -> u32 {
        self.statistics.values().map(|statistics| statistics.placed).sum()
    }
}

/// How a customer ended, whom a fact still names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    Deleted,
    /// It became one with another.
    Merged {
        into: CustomerId,
    },
}

/// What the order service has to say, and whether what was made of it is right.
#[derive(Debug, Clone)]
pub enum OrderCommand {
    Record(Box<OrderFact>),
    /// The statistics become what the facts come to.
    Reconcile,
}

impl OrderCommand {
    /// The order that is looked at.
    pub fn order(&self) -> Option<&OrderId> {
        match self {
            Self::Record(fact) => Some(&fact.order_id),
            Self::Reconcile => None,
        }
    }

    /// Whether all facts are counted anew.
    pub fn recounts(&self) -> bool {
        matches!(self, Self::Reconcile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_are_visible_ascii() {
        for id in ["1", "ORD-2026/000017", "#4711!", &"x".repeat(64)] {
            assert_eq!(OrderId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", " ", "a b", "a\n", "\u{7f}", "é", "a\u{0}", &"x".repeat(65)] {
            assert_eq!(OrderId::parse(id).unwrap_err().code, "invalid_order_id", "{id:?}");
        }
    }

    #[test]
    fn a_status_is_found_by_its_name() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::from_name(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for name in ["", "Placed", "PLACED", "shipped", "placed "] {
            assert_eq!(OrderStatus::from_name(name), None, "{name:?}");
        }
    }
}
