//! The bulk statements of the tables `consent_entries` and `consents`. The ledger has no other
//! statement that writes.

use super::*;

bulk! {
    InsertConsentEntries [
        "INSERT INTO consent_entries (customer_id, number, purpose, channel, granted, text_version, locale, source, \
         reference, actor_kind, actor_id, request_id, occurred_at) SELECT * FROM unnest(",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
        number: BigInt = i64,
        purpose: Text = String,
        channel: Text = String,
        granted: Bool = bool,
        text_version: Nullable<Text> = Option<String>,
        locale: Nullable<Text> = Option<String>,
        source: Text = String,
        reference: Nullable<Text> = Option<String>,
        actor_kind: Text = String,
        actor_id: Nullable<Text> = Option<String>,
        request_id: Text = String,
        occurred_at: Timestamptz = DateTime<Utc>,
    }

    /// What holds only moves on: the count of rows tells.
    SaveConsents [
        "INSERT INTO consents AS t (customer_id, purpose, channel, granted, text_version, locale, source, number, \
         decided_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, purpose, channel) DO UPDATE SET granted = excluded.granted, \
         text_version = excluded.text_version, locale = excluded.locale, source = excluded.source, \
         number = excluded.number, decided_at = excluded.decided_at WHERE t.number < excluded.number"
    ] {
        customer_id: SqlUuid = Uuid,
        purpose: Text = String,
        channel: Text = String,
        granted: Bool = bool,
        text_version: Nullable<Text> = Option<String>,
        locale: Nullable<Text> = Option<String>,
        source: Text = String,
        number: BigInt = i64,
        decided_at: Timestamptz = DateTime<Utc>,
    }
}
