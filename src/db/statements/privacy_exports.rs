//! The bulk statements of the table `privacy_exports`.

use super::*;

bulk! {
    InsertPrivacyExports [
        "INSERT INTO privacy_exports (id, customer_id, actor_kind, actor_id, session_id, created_at, \
         state, attempt, tables_done, tables_total, row_count, bytes, pieces) \
         SELECT *, 'queued', 0, 0, 0, 0, 0, 0 FROM unnest(",
        ")"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        actor_kind: Text = String,
        actor_id: Text = String,
        session_id: Nullable<SqlUuid> = Option<Uuid>,
        created_at: Timestamptz = DateTime<Utc>,
    }

    /// Only of the attempt that was decided about: who began it anew meanwhile goes on.
    EndPrivacyExports [
        "UPDATE privacy_exports AS t SET state = u.state, reason = u.reason, row_count = u.row_count, \
         bytes = u.bytes, pieces = u.pieces, finished_at = u.finished_at, expires_at = u.expires_at, \
         leased_until = NULL FROM unnest(",
        ") AS u (customer_id, id, attempt, state, reason, row_count, bytes, pieces, finished_at, expires_at) \
         WHERE t.customer_id = u.customer_id AND t.id = u.id AND t.attempt = u.attempt AND t.finished_at IS NULL"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
        attempt: Integer = i32,
        state: Text = String,
        reason: Nullable<Text> = Option<String>,
        row_count: BigInt = i64,
        bytes: BigInt = i64,
        pieces: Integer = i32,
        finished_at: Timestamptz = DateTime<Utc>,
        expires_at: Timestamptz = DateTime<Utc>,
    }

    NotePrivacyDownloads [
        "UPDATE privacy_exports AS t SET downloaded_at = u.downloaded_at FROM unnest(",
        ") AS u (customer_id, id, downloaded_at) WHERE t.customer_id = u.customer_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
        downloaded_at: Timestamptz = DateTime<Utc>,
    }
}
