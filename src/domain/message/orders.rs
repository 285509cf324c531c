//! The data of messages about what a customer's orders come to. What changed is told by name, never
//! how much it is.

use super::{Data, FieldNames};
use crate::domain::ids::CustomerId;
use crate::domain::order::{Cause, OrderId};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StatisticsUpdated {
    /// The customer.
    pub customer_id: CustomerId,
    /// The order that they changed by, in the order service's words; null where it was not one.
    pub order_id: Option<OrderId>,
    /// The currency whose statistics they are.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// What changed, by the names that `/stats` has for it; `orders` alone: an order among them is of
    /// another date, amount or of other products, and comes to the same.
    pub changed: FieldNames,
    /// Why.
    pub cause: Cause,
    /// The version of the statistics in this currency from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

impl Data for StatisticsUpdated {
    fn example() -> Self {
        let changed = ["orders.placed", "orders.completed"].map(str::to_owned);
        Self {
            customer_id: CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801)),
            order_id: Some(OrderId::from_stored("ORD-2026-000017".to_owned())),
            currency: "VND".to_owned(),
            changed: FieldNames(changed.into()),
            cause: Cause::Fact,
            version: 3,
        }
    }
}
