//! The data of messages about copies of all that is kept of a customer, made for it.

use super::Data;
use crate::domain::ids::{CustomerId, PrivacyExportId};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ExportReady {
    /// The customer.
    pub customer_id: CustomerId,
    /// The export.
    pub export_id: PrivacyExportId,
    /// Until when the customer may download it.
    pub expires_at: DateTime<Utc>,
}

impl Data for ExportReady {
    fn example() -> Self {
        Self {
            customer_id: CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801)),
            export_id: PrivacyExportId(Uuid::from_u128(0x01a2_02f4_6c20_7d18_a6b3_91e4_0c5d_2207)),
            expires_at: DateTime::from_timestamp(1_796_000_000, 0).unwrap_or_default(),
        }
    }
}
