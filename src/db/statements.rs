//! The few hand-written bulk statements of the write path.
//!
//! One fixed text per statement, one array per column: any number of rows is one statement, and
//! its plan is cached (diesel's own multi-row inserts and updates change their text with the number
//! of rows and are planned anew each time). Their texts are pinned by a test in `tests/it`.

pub use idempotency::InsertIdempotencyKeys;

use super::Connection;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{
    Array, BigInt, Bool, Bytea, Date, Inet, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz,
    Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;

use chrono::{DateTime, NaiveDate, Utc};
use ipnet::IpNet;
use serde_json::Value;
use uuid::Uuid;

/// Declares a bulk statement: `before`, the arrays as `$1, $2, …`, `after`.
macro_rules! bulk {
    ($($(#[$doc:meta])* $name:ident [$before:expr, $after:expr] {
        $($field:ident: $sql:ty = $rust:ty),+ $(,)?
    })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, QueryId)]
        pub struct $name {
            $(pub $field: Vec<$rust>,)+
        }

        impl $name {
            /// Whether there is nothing to write.
            pub fn is_empty(&self) -> bool {
                bulk!(@first self $($field)+).is_empty()
            }

            /// Runs the statement, or nothing when there is nothing to write. Answers with the
            /// number of rows written.
            ///
            /// # Errors
            /// Those of the statement.
            pub async fn execute(&self, mut conn: &Connection) -> QueryResult<usize> {
                if self.is_empty() { Ok(0) } else { RunQueryDsl::execute(self, &mut conn).await }
            }

            /// Rows to write.
            pub fn len(&self) -> usize {
                bulk!(@first self $($field)+).len()
            }
        }

        impl QueryFragment<Pg> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql($before);
                let mut separator = "";
                $(
                    out.push_sql(separator);
                    out.push_bind_param::<Array<$sql>, Vec<$rust>>(&self.$field)?;
                    separator = ", ";
                )+
                let _ = separator;
                out.push_sql($after);
                Ok(())
            }
        }
    )+};
    (@first $self:ident $first:ident $($rest:ident)*) => { $self.$first };
}

mod addresses;
mod attributes;
mod consents;
mod customer_keys;
mod deletions;
mod erasures;
mod groups;
mod idempotency;
mod imports;
mod merges;
mod notes;
mod orders;
mod passkeys;
mod privacy_exports;
mod segments;
mod wishlists;
pub use addresses::{DeleteAddresses, SaveAddresses};
pub use attributes::{DeleteAttributes, InsertAttributes, UpdateAttributes};
pub use consents::{InsertConsentEntries, SaveConsents};
pub use customer_keys::{InsertDataKeys, RewrapDataKeys};
pub use deletions::DeleteCustomers;
pub use erasures::*;
pub use groups::{DeleteGroups, InsertGroups, UpdateGroups};
pub use imports::InsertImportErrors;
pub use merges::*;
pub use notes::*;
pub use orders::*;
pub use passkeys::{DeletePasskeys, SavePasskeys};
pub use privacy_exports::*;
pub use segments::*;
pub use wishlists::*;

bulk! {
    InsertCustomers [
        "INSERT INTO customers (id, email, email_canonical, email_verified_at, phone, phone_verified_at, first_name, \
         last_name, customer_type, group_code, status, status_before_deletion, tags, accepts_marketing, \
         last_sign_in_at, created_at, updated_at, version, sequence) \
         SELECT id, email, email_canonical, email_verified_at, phone, phone_verified_at, first_name, last_name, \
         customer_type, group_code, status, status_before_deletion, ARRAY(SELECT jsonb_array_elements_text(tags)), \
         accepts_marketing, last_sign_in_at, created_at, updated_at, version, sequence FROM unnest(",
        ") AS u (id, email, email_canonical, email_verified_at, phone, phone_verified_at, first_name, last_name, \
         customer_type, group_code, status, status_before_deletion, tags, accepts_marketing, last_sign_in_at, \
         created_at, updated_at, version, sequence)"
    ] {
        id: SqlUuid = Uuid,
        email: Text = String,
        email_canonical: Text = String,
        email_verified_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        phone: Nullable<Text> = Option<String>,
        phone_verified_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        first_name: Text = String,
        last_name: Text = String,
        customer_type: Text = String,
        group_code: Text = String,
        status: Text = String,
        status_before_deletion: Nullable<Text> = Option<String>,
        tags: Jsonb = Value,
        accepts_marketing: Bool = bool,
        last_sign_in_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        created_at: Timestamptz = DateTime<Utc>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
        sequence: BigInt = i64,
    }

    /// Every column that may change; identity and creation do not.
    UpdateCustomers [
        "UPDATE customers AS t SET email = u.email, email_canonical = u.email_canonical, \
         email_verified_at = u.email_verified_at, phone = u.phone, \
         phone_verified_at = u.phone_verified_at, first_name = u.first_name, last_name = u.last_name, \
         customer_type = u.customer_type, group_code = u.group_code, status = u.status, \
         status_before_deletion = u.status_before_deletion, \
         tags = ARRAY(SELECT jsonb_array_elements_text(u.tags)), accepts_marketing = u.accepts_marketing, \
         last_sign_in_at = u.last_sign_in_at, updated_at = u.updated_at, version = u.version, \
         sequence = u.sequence FROM unnest(",
        ") AS u (id, email, email_canonical, email_verified_at, phone, phone_verified_at, first_name, last_name, \
         customer_type, group_code, status, status_before_deletion, tags, accepts_marketing, last_sign_in_at, updated_at, version, sequence) \
         WHERE t.id = u.id"
    ] {
        id: SqlUuid = Uuid,
        email: Text = String,
        email_canonical: Text = String,
        email_verified_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        phone: Nullable<Text> = Option<String>,
        phone_verified_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        first_name: Text = String,
        last_name: Text = String,
        customer_type: Text = String,
        group_code: Text = String,
        status: Text = String,
        status_before_deletion: Nullable<Text> = Option<String>,
        tags: Jsonb = Value,
        accepts_marketing: Bool = bool,
        last_sign_in_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
        sequence: BigInt = i64,
    }

    /// The few columns that change with every change of a part: the hot path.
    TouchCustomers [
        "UPDATE customers AS t SET last_sign_in_at = u.last_sign_in_at, updated_at = u.updated_at, \
         version = u.version, sequence = u.sequence FROM unnest(",
        ") AS u (id, last_sign_in_at, updated_at, version, sequence) WHERE t.id = u.id"
    ] {
        id: SqlUuid = Uuid,
        last_sign_in_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
        sequence: BigInt = i64,
    }

    /// The number of the latest message alone.
    NumberCustomers [
        "UPDATE customers AS t SET sequence = u.sequence FROM unnest(",
        ") AS u (id, sequence) WHERE t.id = u.id"
    ] {
        id: SqlUuid = Uuid,
        sequence: BigInt = i64,
    }

    /// Lays claim to identifiers and returns those that were had: one that is missing is somebody
    /// else's. One that was given up is its owner's to take back, and everybody's in the end.
    ClaimIdentifiers [
        "INSERT INTO customer_identifiers AS t (kind, value, customer_id) SELECT * FROM unnest(",
        ") AS u (kind, value, customer_id) ORDER BY kind, value ON CONFLICT (kind, value) DO UPDATE \
         SET customer_id = excluded.customer_id, held_until = NULL WHERE t.held_until IS NOT NULL \
         AND (t.customer_id = excluded.customer_id OR t.held_until <= now()) RETURNING t.kind, t.value"
    ] {
        kind: Text = String,
        value: Text = String,
        customer_id: SqlUuid = Uuid,
    }

    HoldIdentifiers [
        "UPDATE customer_identifiers AS t SET held_until = u.held_until FROM unnest(",
        ") AS u (kind, value, customer_id, held_until) \
         WHERE t.kind = u.kind AND t.value = u.value AND t.customer_id = u.customer_id"
    ] {
        kind: Text = String,
        value: Text = String,
        customer_id: SqlUuid = Uuid,
        held_until: Timestamptz = DateTime<Utc>,
    }

    ReleaseIdentifiers [
        "DELETE FROM customer_identifiers AS t USING unnest(",
        ") AS u (kind, value, customer_id) \
         WHERE t.kind = u.kind AND t.value = u.value AND t.customer_id = u.customer_id"
    ] {
        kind: Text = String,
        value: Text = String,
        customer_id: SqlUuid = Uuid,
    }

    InsertProfiles [
        "INSERT INTO customer_profiles (customer_id, date_of_birth, gender, avatar_url, company, tax_id, bio, custom, \
         version) SELECT * FROM unnest(",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
        date_of_birth: Nullable<Date> = Option<NaiveDate>,
        gender: Nullable<Text> = Option<String>,
        avatar_url: Nullable<Text> = Option<String>,
        company: Nullable<Text> = Option<String>,
        tax_id: Nullable<Text> = Option<String>,
        bio: Nullable<Text> = Option<String>,
        custom: Jsonb = Value,
        version: BigInt = i64,
    }

    UpdateProfiles [
        "UPDATE customer_profiles AS t SET date_of_birth = u.date_of_birth, gender = u.gender, \
         avatar_url = u.avatar_url, company = u.company, tax_id = u.tax_id, bio = u.bio, custom = u.custom, \
         version = u.version FROM unnest(",
        ") AS u (customer_id, date_of_birth, gender, avatar_url, company, tax_id, bio, custom, version) \
         WHERE t.customer_id = u.customer_id"
    ] {
        customer_id: SqlUuid = Uuid,
        date_of_birth: Nullable<Date> = Option<NaiveDate>,
        gender: Nullable<Text> = Option<String>,
        avatar_url: Nullable<Text> = Option<String>,
        company: Nullable<Text> = Option<String>,
        tax_id: Nullable<Text> = Option<String>,
        bio: Nullable<Text> = Option<String>,
        custom: Jsonb = Value,
        version: BigInt = i64,
    }

    InsertPreferences [
        "INSERT INTO customer_preferences (customer_id, locale, timezone, currency, channel_email, channel_sms, \
         channel_push, topics, custom, version) SELECT customer_id, locale, timezone, currency, channel_email, \
         channel_sms, channel_push, ARRAY(SELECT jsonb_array_elements_text(topics)), custom, version FROM unnest(",
        ") AS u (customer_id, locale, timezone, currency, channel_email, channel_sms, channel_push, topics, custom, \
         version)"
    ] {
        customer_id: SqlUuid = Uuid,
        locale: Text = String,
        timezone: Text = String,
        currency: Text = String,
        channel_email: Bool = bool,
        channel_sms: Bool = bool,
        channel_push: Bool = bool,
        topics: Jsonb = Value,
        custom: Jsonb = Value,
        version: BigInt = i64,
    }

    UpdatePreferences [
        "UPDATE customer_preferences AS t SET locale = u.locale, timezone = u.timezone, currency = u.currency, \
         channel_email = u.channel_email, channel_sms = u.channel_sms, channel_push = u.channel_push, \
         topics = ARRAY(SELECT jsonb_array_elements_text(u.topics)), custom = u.custom, version = u.version \
         FROM unnest(",
        ") AS u (customer_id, locale, timezone, currency, channel_email, channel_sms, channel_push, topics, custom, \
         version) WHERE t.customer_id = u.customer_id"
    ] {
        customer_id: SqlUuid = Uuid,
        locale: Text = String,
        timezone: Text = String,
        currency: Text = String,
        channel_email: Bool = bool,
        channel_sms: Bool = bool,
        channel_push: Bool = bool,
        topics: Jsonb = Value,
        custom: Jsonb = Value,
        version: BigInt = i64,
    }

    SavePasswords [
        "INSERT INTO passwords (customer_id, hash, changed_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at"
    ] {
        customer_id: SqlUuid = Uuid,
        hash: Text = String,
        changed_at: Timestamptz = DateTime<Utc>,
    }

    /// A password that is void: nobody signs in by it.
    DeletePasswords [
        "DELETE FROM passwords WHERE customer_id = ANY (",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
    }

    SaveSessions [
        "INSERT INTO sessions (id, customer_id, method, second_factor, device_id, device_name, user_agent, client_address, refresh_hash, \
         generation, previous_hash, rotated_at, created_at, last_seen_at, expires_at, absolute_expires_at, revoked_at) \
         SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, id) DO UPDATE SET refresh_hash = excluded.refresh_hash, \
         generation = excluded.generation, previous_hash = excluded.previous_hash, rotated_at = excluded.rotated_at, \
         last_seen_at = excluded.last_seen_at, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        method: Text = String,
        second_factor: Nullable<Text> = Option<String>,
        device_id: Nullable<SqlUuid> = Option<Uuid>,
        device_name: Nullable<Text> = Option<String>,
        user_agent: Nullable<Text> = Option<String>,
        client_address: Nullable<Inet> = Option<IpNet>,
        refresh_hash: Bytea = Vec<u8>,
        generation: Integer = i32,
        previous_hash: Nullable<Bytea> = Option<Vec<u8>>,
        rotated_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        created_at: Timestamptz = DateTime<Utc>,
        last_seen_at: Timestamptz = DateTime<Utc>,
        expires_at: Timestamptz = DateTime<Utc>,
        absolute_expires_at: Timestamptz = DateTime<Utc>,
        revoked_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
    }

    SaveDevices [
        "INSERT INTO devices (id, customer_id, secret_hash, created_at, last_used_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, id) DO UPDATE SET last_used_at = excluded.last_used_at"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        secret_hash: Bytea = Vec<u8>,
        created_at: Timestamptz = DateTime<Utc>,
        last_used_at: Timestamptz = DateTime<Utc>,
    }

    DeleteDevices [
        "DELETE FROM devices AS t USING unnest(",
        ") AS u (customer_id, id) WHERE t.customer_id = u.customer_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
    }

    SaveIdentities [
        "INSERT INTO identities (customer_id, provider, subject, email, linked_at) SELECT * FROM unnest(",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
        provider: Text = String,
        subject: Text = String,
        email: Nullable<Text> = Option<String>,
        linked_at: Timestamptz = DateTime<Utc>,
    }

    DeleteIdentities [
        "DELETE FROM identities AS t USING unnest(",
        ") AS u (customer_id, provider) WHERE t.customer_id = u.customer_id AND t.provider = u.provider"
    ] {
        customer_id: SqlUuid = Uuid,
        provider: Text = String,
    }

    /// A token that was used or voided meanwhile is not touched: the count of rows tells.
    SaveTokens [
        "INSERT INTO one_time_tokens AS t (token_hash, customer_id, purpose, password_hash, email, \
         created_at, expires_at, used_at, voided_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, token_hash) DO UPDATE SET used_at = excluded.used_at, voided_at = excluded.voided_at \
         WHERE t.used_at IS NULL AND t.voided_at IS NULL"
    ] {
        token_hash: Bytea = Vec<u8>,
        customer_id: SqlUuid = Uuid,
        purpose: Text = String,
        password_hash: Nullable<Text> = Option<String>,
        email: Nullable<Text> = Option<String>,
        created_at: Timestamptz = DateTime<Utc>,
        expires_at: Timestamptz = DateTime<Utc>,
        used_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        voided_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
    }

    /// A flow that was finished meanwhile is not touched: the count of rows tells.
    SaveFlows [
        "INSERT INTO sign_in_flows AS t (token_hash, kind, customer_id, payload, created_at, expires_at, failures, \
         used_at) SELECT * FROM unnest(",
        ") ON CONFLICT (token_hash) DO UPDATE SET failures = excluded.failures, used_at = excluded.used_at \
         WHERE t.used_at IS NULL"
    ] {
        token_hash: Bytea = Vec<u8>,
        kind: Text = String,
        customer_id: Nullable<SqlUuid> = Option<Uuid>,
        payload: Bytea = Vec<u8>,
        created_at: Timestamptz = DateTime<Utc>,
        expires_at: Timestamptz = DateTime<Utc>,
        failures: Integer = i32,
        used_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
    }

    /// A step that was used meanwhile is not used again: the count of rows tells.
    SaveTotp [
        "INSERT INTO customer_totp AS t (customer_id, secret, created_at, confirmed_at, last_step) \
         SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at, \
         confirmed_at = excluded.confirmed_at, last_step = excluded.last_step \
         WHERE t.secret <> excluded.secret OR t.last_step IS NULL OR t.last_step < excluded.last_step"
    ] {
        customer_id: SqlUuid = Uuid,
        secret: Bytea = Vec<u8>,
        created_at: Timestamptz = DateTime<Utc>,
        confirmed_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        last_step: Nullable<BigInt> = Option<i64>,
    }

    DeleteTotp [
        "DELETE FROM customer_totp WHERE customer_id = ANY (",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
    }

    InsertBackupCodes [
        "INSERT INTO backup_codes (customer_id, code_hash, created_at) SELECT * FROM unnest(",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
        code_hash: Bytea = Vec<u8>,
        created_at: Timestamptz = DateTime<Utc>,
    }

    /// A code that was used meanwhile is gone: the count of rows tells.
    DeleteBackupCodes [
        "DELETE FROM backup_codes AS t USING unnest(",
        ") AS u (customer_id, code_hash) WHERE t.customer_id = u.customer_id AND t.code_hash = u.code_hash"
    ] {
        customer_id: SqlUuid = Uuid,
        code_hash: Bytea = Vec<u8>,
    }

    /// Gives every bucket a row where it has none, locks the rows in the order of their keys, and
    /// returns them.
    LockThrottles [
        "INSERT INTO sign_in_throttles AS t (bucket, state, updated_at) SELECT * FROM unnest(",
        ") AS u (bucket, state, updated_at) ORDER BY bucket \
         ON CONFLICT (bucket) DO UPDATE SET updated_at = excluded.updated_at RETURNING t.bucket, t.state"
    ] {
        bucket: Bytea = Vec<u8>,
        state: Jsonb = Value,
        updated_at: Timestamptz = DateTime<Utc>,
    }

    SaveThrottles [
        "INSERT INTO sign_in_throttles (bucket, state, locked_until, updated_at) SELECT * FROM unnest(",
        ") AS u (bucket, state, locked_until, updated_at) ORDER BY bucket ON CONFLICT (bucket) DO UPDATE \
         SET state = excluded.state, locked_until = excluded.locked_until, updated_at = excluded.updated_at"
    ] {
        bucket: Bytea = Vec<u8>,
        state: Jsonb = Value,
        locked_until: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        updated_at: Timestamptz = DateTime<Utc>,
    }

    /// A step of a series that a customer had is not written again.
    InsertMails [
        "INSERT INTO mails (id, customer_id, address, kind, step, locale, nonce, codes_left, tells_of, created_at, due_at) \
         SELECT id, customer_id, address, kind, step, locale, nonce, codes_left, tells_of, created_at, created_at FROM unnest(",
        ") AS u (id, customer_id, address, kind, step, locale, nonce, codes_left, tells_of, created_at) \
         ON CONFLICT (customer_id, step) WHERE step IS NOT NULL DO NOTHING"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        address: Nullable<Text> = Option<String>,
        kind: Text = String,
        step: Nullable<Text> = Option<String>,
        locale: Text = String,
        nonce: Nullable<Bytea> = Option<Vec<u8>>,
        codes_left: Nullable<SmallInt> = Option<i16>,
        tells_of: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        created_at: Timestamptz = DateTime<Utc>,
    }

    InsertTextMessages [
        "INSERT INTO text_messages (id, customer_id, kind, locale, nonce, created_at, expires_at, due_at) \
         SELECT id, customer_id, kind, locale, nonce, created_at, expires_at, created_at FROM unnest(",
        ") AS u (id, customer_id, kind, locale, nonce, created_at, expires_at)"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        kind: Text = String,
        locale: Text = String,
        nonce: Bytea = Vec<u8>,
        created_at: Timestamptz = DateTime<Utc>,
        expires_at: Timestamptz = DateTime<Utc>,
    }

    /// A newer confirmation takes the place of the older one.
    SavePhoneConfirmations [
        "INSERT INTO phone_confirmations (customer_id, text_message_id, phone, code_hash, tries, created_at, expires_at) \
         SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id) DO UPDATE SET text_message_id = excluded.text_message_id, phone = excluded.phone, \
         code_hash = excluded.code_hash, tries = excluded.tries, created_at = excluded.created_at, \
         expires_at = excluded.expires_at"
    ] {
        customer_id: SqlUuid = Uuid,
        text_message_id: SqlUuid = Uuid,
        phone: Text = String,
        code_hash: Bytea = Vec<u8>,
        tries: SmallInt = i16,
        created_at: Timestamptz = DateTime<Utc>,
        expires_at: Timestamptz = DateTime<Utc>,
    }

    DeletePhoneConfirmations [
        "DELETE FROM phone_confirmations WHERE customer_id = ANY (",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
    }

    InsertAuditEntries [
        "INSERT INTO audit_entries (id, shard, customer_id, actor_kind, actor_id, action, data, request_id, \
         occurred_at) SELECT * FROM unnest(",
        ")"
    ] {
        id: SqlUuid = Uuid,
        shard: SmallInt = i16,
        customer_id: Nullable<SqlUuid> = Option<Uuid>,
        actor_kind: Text = String,
        actor_id: Nullable<Text> = Option<String>,
        action: Text = String,
        data: Jsonb = Value,
        request_id: Text = String,
        occurred_at: Timestamptz = DateTime<Utc>,
    }

    /// The rows of [`InsertIdempotencyKeys`], which ends the text.
    IdempotencyRows [
        "INSERT INTO idempotency_keys AS t (owner, key, request_hash, customer_id, outcome, created_at) \
         SELECT * FROM unnest(",
        ") AS u (owner, key, request_hash, customer_id, outcome, created_at) ORDER BY owner, key \
         ON CONFLICT (owner, key) DO UPDATE SET request_hash = excluded.request_hash, \
         customer_id = excluded.customer_id, outcome = excluded.outcome, created_at = excluded.created_at \
         WHERE t.created_at <= "
    ] {
        owner: Text = String,
        key: Text = String,
        request_hash: Bytea = Vec<u8>,
        customer_id: Nullable<SqlUuid> = Option<Uuid>,
        outcome: Jsonb = Value,
        created_at: Timestamptz = DateTime<Utc>,
    }

    /// The last statement before commit: see `outbox_append` in the migrations.
    AppendToOutbox [
        "SELECT outbox_append(",
        ")"
    ] {
        shard: SmallInt = i16,
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        customer_sequence: BigInt = i64,
        kind: Text = String,
        occurred_at: Timestamptz = DateTime<Utc>,
        traceparent: Nullable<Text> = Option<String>,
        data: Jsonb = Value,
    }
}

impl diesel::query_builder::Query for ClaimIdentifiers {
    type SqlType = (Text, Text);
}

impl diesel::query_builder::Query for LockThrottles {
    type SqlType = (Bytea, Jsonb);
}
