//! The bulk statements of the table `customer_keys.data_keys`.

use super::*;

bulk! {
    /// Whoever has a key keeps it: the count of rows tells.
    InsertDataKeys [
        "INSERT INTO customer_keys.data_keys (customer_id, wrapped, wrapped_by, created_at, wrapped_at) \
         SELECT customer_id, wrapped, wrapped_by, created_at, created_at FROM unnest(",
        ") AS u (customer_id, wrapped, wrapped_by, created_at) ORDER BY customer_id \
         ON CONFLICT (customer_id) DO NOTHING"
    ] {
        customer_id: SqlUuid = Uuid,
        wrapped: Bytea = Vec<u8>,
        wrapped_by: Text = String,
        created_at: Timestamptz = DateTime<Utc>,
    }

    /// Only what is still as it was read: a row that went, or was wrapped by somebody else, stays so.
    RewrapDataKeys [
        "UPDATE customer_keys.data_keys AS t SET wrapped = u.wrapped, wrapped_by = u.wrapped_by, \
         wrapped_at = u.wrapped_at FROM unnest(",
        ") AS u (customer_id, before, wrapped, wrapped_by, wrapped_at) \
         WHERE t.customer_id = u.customer_id AND t.wrapped = u.before"
    ] {
        customer_id: SqlUuid = Uuid,
        before: Bytea = Vec<u8>,
        wrapped: Bytea = Vec<u8>,
        wrapped_by: Text = String,
        wrapped_at: Timestamptz = DateTime<Utc>,
    }
}
