//! What happens to orders and their statistics. Neither what was bought nor for how much is told:
//! whoever may know asks for it.

use super::Trace;
use crate::domain::CustomerId;
use crate::domain::message::{FieldNames, Message, StatisticsUpdated};
use crate::domain::order::{Counted, Order, Orders};
use serde_json::json;

#[derive(Debug, Clone, PartialEq)]
pub enum OrderEvent {
    /// A version of an order that was not known, nor any later one.
    Recorded {
        order: Box<Order>,
        /// What it changed of the statistics in its currency, if anything.
        counted: Option<Box<Counted>>,
    },
    /// Statistics changed otherwise: an order came along with another customer, or is in another
    /// currency than before, or they had not been what the facts come to.
    Counted(Box<Counted>),
}

impl OrderEvent {
    /// The orders after this event.
    pub(in crate::domain) fn apply(&self, orders: &mut Orders) {
        let counted = match self {
            Self::Recorded { order, counted } => {
                orders.facts.insert(order.fact.order_id.clone(), (**order).clone());
                counted.as_ref()
            }
            Self::Counted(counted) => Some(counted),
        };
        if let Some(counted) = counted {
            orders.statistics.insert(counted.currency.clone(), counted.statistics.clone());
        }
    }

    /// One for each change of statistics.
    pub(super) fn message(&self, customer_id: CustomerId) -> Option<Message> {
        let counted = match self {
            Self::Recorded { counted, .. } => counted.as_ref()?,
            Self::Counted(counted) => counted,
        };
        let told = StatisticsUpdated {
            customer_id,
            order_id: counted.order_id.clone(),
            currency: counted.currency.as_str().to_owned(),
            changed: FieldNames::from(counted.changed.as_slice()),
            cause: counted.cause,
            version: counted.statistics.version,
        };
        Some(told.into())
    }

    pub(super) fn trace(&self) -> Trace {
        let (action, data) = match self {
            Self::Recorded { order, counted } => (
                "order.recorded",
                json!({ "order_id": order.fact.order_id, "status": order.fact.status,
                        "version": order.fact.version,
                        "changed": counted.as_ref().map_or(&[][..], |counted| &counted.changed) }),
            ),
            Self::Counted(counted) => (
                "statistics.updated",
                json!({ "currency": counted.currency, "changed": counted.changed,
                        "cause": counted.cause, "version": counted.statistics.version }),
            ),
        };
        Trace { action, data }
    }
}
