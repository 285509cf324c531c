//! What is told of a consent: purpose, channel and wording, never who vouches for it.

use crate::domain::consent::Entry;
use crate::domain::ids::CustomerId;
use serde_json::{Value, json};

/// The type of its message, and the action of its audit entry.
pub(super) fn kind(entry: &Entry) -> &'static str {
    if entry.granted { "consent.granted" } else { "consent.withdrawn" }
}

/// The message's `data`.
pub(super) fn data(id: CustomerId, entry: &Entry) -> Value {
    let mut data = noted(entry);
    data["customer_id"] = json!(id);
    data
}

/// What the audit trail keeps.
pub(super) fn noted(entry: &Entry) -> Value {
    json!({
        "purpose": entry.purpose,
        "channel": entry.channel,
        "text_version": entry.text_version,
        "locale": entry.locale,
        "source": entry.source,
        "entry": entry.number,
    })
}
