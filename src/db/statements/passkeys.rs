//! The bulk statements of the table `passkeys`.

use super::*;

bulk! {
    /// What an authenticator made once, its key and its name, never changes.
    SavePasskeys [
        "INSERT INTO passkeys (id, customer_id, credential_id, user_handle, credential, counter, name, second_factor, \
         backup_eligible, backed_up, created_at, last_used_at, version) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, id) DO UPDATE SET counter = excluded.counter, name = excluded.name, \
         second_factor = excluded.second_factor, backed_up = excluded.backed_up, \
         last_used_at = excluded.last_used_at, version = excluded.version"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        credential_id: Bytea = Vec<u8>,
        user_handle: SqlUuid = Uuid,
        credential: Jsonb = Value,
        counter: BigInt = i64,
        name: Text = String,
        second_factor: Bool = bool,
        backup_eligible: Bool = bool,
        backed_up: Bool = bool,
        created_at: Timestamptz = DateTime<Utc>,
        last_used_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        version: BigInt = i64,
    }

    DeletePasskeys [
        "DELETE FROM passkeys AS t USING unnest(",
        ") AS u (customer_id, id) WHERE t.customer_id = u.customer_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
    }
}
