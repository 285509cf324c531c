//! The data of what is told of deletions, and of the commands to other services to forget.

use super::Data;
use crate::domain::erasure::Requester;
use crate::domain::ids::{CustomerId, ErasureId, StepId};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

/// Who asked for a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum RequestedBy {
    Owner,
    Staff,
}

impl From<&Requester> for RequestedBy {
    fn from(requester: &Requester) -> Self {
        match requester {
            Requester::Owner => Self::Owner,
            // To the other services both are the shop.
            Requester::Staff(_) | Requester::Operator => Self::Staff,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeletionRequested {
    /// The customer.
    pub customer_id: CustomerId,
    /// The deletion.
    pub erasure_id: ErasureId,
    /// Who asked for it.
    pub requested_by: RequestedBy,
    /// When its grace is over. It may wait longer, or be hastened.
    pub due_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeletionCancelled {
    /// The customer.
    pub customer_id: CustomerId,
    /// The deletion.
    pub erasure_id: ErasureId,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ErasureStarted {
    /// The customer.
    pub customer_id: CustomerId,
    /// The deletion.
    pub erasure_id: ErasureId,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ErasureCompleted {
    /// The customer.
    pub customer_id: CustomerId,
    /// The deletion.
    pub erasure_id: ErasureId,
}

/// A command to another service, answered into the queue of answers with the two ids.
macro_rules! commands {
    ($($name:ident)+) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            /// The deletion; the answer bears it.
            pub erasure_id: ErasureId,
            /// The step of it, the same however often it is commanded; the answer bears it.
            pub step_id: StepId,
            /// Who is to be forgotten.
            pub customer_id: CustomerId,
        }

        impl Data for $name {
            fn example() -> Self {
                Self { erasure_id: ERASURE, step_id: STEP, customer_id: CUSTOMER }
            }
        }
    )+};
}
commands! { OrderAnonymize PaymentDeleteMethods NotificationForget }

const CUSTOMER: CustomerId = CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801));
const ERASURE: ErasureId = ErasureId(Uuid::from_u128(0x01a2_0290_5e10_7b43_8f02_6d1c_e7a9_3301));
const STEP: StepId = StepId(Uuid::from_u128(0x01a2_0290_5e10_7d91_a6c8_40b2_915f_7702));

impl Data for DeletionRequested {
    fn example() -> Self {
        let due_at = DateTime::from_timestamp(1_798_000_000, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let requested_by = RequestedBy::Owner;
        Self { customer_id: CUSTOMER, erasure_id: ERASURE, requested_by, due_at }
    }
}

impl Data for DeletionCancelled {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, erasure_id: ERASURE }
    }
}

impl Data for ErasureStarted {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, erasure_id: ERASURE }
    }
}

impl Data for ErasureCompleted {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, erasure_id: ERASURE }
    }
}
