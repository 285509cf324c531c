//! What a soft deletion writes beyond what other changes do (rule L4).

use super::*;

bulk! {
    /// The row stays, for the audit and for erasure; every read of the living passes it by.
    DeleteCustomers [
        "UPDATE customers AS t SET deleted_at = u.deleted_at, updated_at = u.deleted_at, \
         version = u.version, sequence = u.sequence FROM unnest(",
        ") AS u (id, deleted_at, version, sequence) WHERE t.id = u.id AND t.deleted_at IS NULL"
    ] {
        id: SqlUuid = Uuid,
        deleted_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
        sequence: BigInt = i64,
    }
}
