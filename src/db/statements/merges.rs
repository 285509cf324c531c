//! What a merge writes beyond what other changes do (rule L10).

use super::*;

bulk! {
    InsertMerges [
        "INSERT INTO customer_merges (from_id, into_id, report, merged_at) SELECT * FROM unnest(",
        ")"
    ] {
        from_id: SqlUuid = Uuid,
        into_id: SqlUuid = Uuid,
        report: Jsonb = Value,
        merged_at: Timestamptz = DateTime<Utc>,
    }

    /// From one owner to the other without a moment in which it is free.
    MoveIdentifiers [
        "UPDATE customer_identifiers AS t SET customer_id = u.new_owner FROM unnest(",
        ") AS u (kind, value, customer_id, new_owner) WHERE t.kind = u.kind AND t.value = u.value \
         AND t.customer_id = u.customer_id AND t.held_until IS NULL"
    ] {
        kind: Text = String,
        value: Text = String,
        customer_id: SqlUuid = Uuid,
        new_owner: SqlUuid = Uuid,
    }

    /// Who takes in a customer that was here before is here since then.
    BackdateCustomers [
        "UPDATE customers AS t SET created_at = u.created_at FROM unnest(",
        ") AS u (id, created_at) WHERE t.id = u.id"
    ] {
        id: SqlUuid = Uuid,
        created_at: Timestamptz = DateTime<Utc>,
    }
}
