//! The bulk statements of deletions.

use super::*;

bulk! {
    SaveErasures [
        "INSERT INTO erasures (id, customer_id, state, requested_by, staff_key, status_before, \
         segments, requested_at, due_at, legal_due_at, look_at, put_off, started_at, \
         completed_at, cancelled_at, commands) SELECT * FROM unnest(",
        ") AS u (id, customer_id, state, requested_by, staff_key, status_before, \
         segments, requested_at, due_at, legal_due_at, look_at, put_off, started_at, completed_at, \
         cancelled_at, commands) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
         segments = excluded.segments, \
         due_at = excluded.due_at, look_at = excluded.look_at, put_off = excluded.put_off, \
         started_at = excluded.started_at, completed_at = excluded.completed_at, \
         cancelled_at = excluded.cancelled_at, commands = excluded.commands"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        state: Text = String,
        requested_by: Text = String,
        staff_key: Nullable<Text> = Option<String>,
        status_before: Text = String,
        segments: Jsonb = Value,
        requested_at: Timestamptz = DateTime<Utc>,
        due_at: Timestamptz = DateTime<Utc>,
        legal_due_at: Timestamptz = DateTime<Utc>,
        look_at: Timestamptz = DateTime<Utc>,
        put_off: Nullable<Text> = Option<String>,
        started_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        completed_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        cancelled_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        commands: BigInt = i64,
    }

    SaveErasureSteps [
        "INSERT INTO erasure_steps (id, erasure_id, customer_id, name, state, tries, message_id, last_error, \
         sent_at, next_try_at, done_at) SELECT * FROM unnest(",
        ") AS u (id, erasure_id, customer_id, name, state, tries, message_id, last_error, sent_at, \
         next_try_at, done_at) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
         tries = excluded.tries, message_id = excluded.message_id, last_error = excluded.last_error, \
         sent_at = excluded.sent_at, next_try_at = excluded.next_try_at, done_at = excluded.done_at"
    ] {
        id: SqlUuid = Uuid,
        erasure_id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        name: Text = String,
        state: Text = String,
        tries: Integer = i32,
        message_id: Nullable<SqlUuid> = Option<Uuid>,
        last_error: Nullable<Text> = Option<String>,
        sent_at: Timestamptz = DateTime<Utc>,
        next_try_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        done_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
    }

    SaveLegalHolds [
        "INSERT INTO legal_holds (id, customer_id, reason, placed_by, placed_at, released_by, released_at) \
         SELECT * FROM unnest(",
        ") AS u (id, customer_id, reason, placed_by, placed_at, released_by, released_at) \
         ON CONFLICT (id) DO UPDATE SET released_by = excluded.released_by, released_at = excluded.released_at"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        reason: Text = String,
        placed_by: Text = String,
        placed_at: Timestamptz = DateTime<Utc>,
        released_by: Nullable<Text> = Option<String>,
        released_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
    }

    /// One row a customer that is gone: the first erasure stays.
    EnterIntoLedger [
        "INSERT INTO erasure_ledger.erased_customers (customer_id, erasure_id, erased_at) SELECT * FROM unnest(",
        ") AS u (customer_id, erasure_id, erased_at) ON CONFLICT (customer_id) DO NOTHING"
    ] {
        customer_id: SqlUuid = Uuid,
        erasure_id: SqlUuid = Uuid,
        erased_at: Timestamptz = DateTime<Utc>,
    }
}
