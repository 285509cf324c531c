//! Tables `privacy_exports` and `privacy_export_pieces`: what was asked for and how far it is, and the
//! sealed archives. What rules decide is written by batches; what making takes (the lease, progress,
//! pieces) is written here, by whoever has the lease and as long as it has it.

use super::Connection;
use super::schema::{privacy_export_pieces, privacy_exports};
use super::statements::{EndPrivacyExports, InsertPrivacyExports, NotePrivacyDownloads};
use crate::domain::privacy_export::{Archive, Asker, ExportEnd, ExportFault, PrivacyExport};
use crate::domain::{CustomerId, PrivacyExportId, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// An export, as it is kept.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = privacy_exports, check_for_backend(diesel::pg::Pg))]
pub struct Row {
    pub id: Uuid,
    customer_id: Uuid,
    /// `queued`, `running`, `ready` or `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    actor_kind: String,
    actor_id: String,
    pub session_id: Option<Uuid>,
    attempt: i32,
    pub tables_done: i32,
    pub tables_total: i32,
    pub row_count: i64,
    pub bytes: i64,
    pub pieces: i32,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub downloaded_at: Option<DateTime<Utc>>,
}

impl Row {
    /// Whether staff asked for it.
    pub fn is_by_staff(&self) -> bool {
        self.actor_kind == "staff"
    }
}

fn unreadable(what: &str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(format!("privacy_exports.{what}").into())
}

impl TryFrom<Row> for (CustomerId, PrivacyExport) {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> QueryResult<Self> {
        let asked_by = match (row.is_by_staff(), row.session_id) {
            (true, _) => Asker::Staff(row.actor_id),
            (false, Some(session)) => Asker::Owner { session: SessionId(session) },
            (false, None) => return Err(unreadable("session_id")),
        };
        let end = match (row.state.as_str(), row.finished_at, row.expires_at) {
            ("ready", Some(at), Some(expires_at)) => {
                let (rows, bytes, pieces) = (row.row_count, row.bytes, row.pieces);
                Some(ExportEnd::Ready { at, expires_at, archive: Archive { rows, bytes, pieces } })
            }
            ("failed", Some(at), _) => {
                let fault = row.reason.as_deref().and_then(ExportFault::parse);
                let fault = fault.ok_or_else(|| unreadable("reason"))?;
                Some(ExportEnd::Failed { at, fault })
            }
            ("queued" | "running", None, _) => None,
            _ => return Err(unreadable("state")),
        };
        let export = PrivacyExport {
            id: PrivacyExportId(row.id),
            asked_by,
            created_at: row.created_at,
            attempt: row.attempt,
            end,
            downloaded_at: row.downloaded_at,
        };
        Ok((CustomerId(row.customer_id), export))
    }
}

/// All exports of the customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    customers: &[Uuid],
) -> QueryResult<Vec<(CustomerId, PrivacyExport)>> {
    let rows: Vec<Row> = privacy_exports::table
        .filter(privacy_exports::customer_id.eq_any(customers))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// One export of a customer.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    customer: CustomerId,
    id: PrivacyExportId,
) -> QueryResult<Option<Row>> {
    privacy_exports::table
        .find((customer.0, id.0))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()
}

/// A page of a customer's exports, newest first.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    customer: CustomerId,
    before: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    privacy_exports::table
        .filter(privacy_exports::customer_id.eq(customer.0))
        .filter(privacy_exports::id.lt(before.unwrap_or(Uuid::max())))
        .order(privacy_exports::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await
}

/// An export to be made, and the right to make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Lease {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// Which attempt it is, from 1.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
}

impl Lease {
    pub fn customer(&self) -> CustomerId {
        CustomerId(self.customer_id)
    }

    pub fn export(&self) -> PrivacyExportId {
        PrivacyExportId(self.id)
    }
}

/// Takes the oldest export that waits, or that whoever was at it has left behind: until `until` nobody
/// else does. What was made of it before counts for nothing.
///
/// # Errors
/// Those of the query.
pub async fn claim(
    mut conn: &Connection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Option<Lease>> {
    diesel::sql_query(
        "UPDATE privacy_exports SET state = 'running', attempt = attempt + 1, leased_until = $2, \
         started_at = coalesce(started_at, $1), tables_done = 0, tables_total = 0, row_count = 0, \
         bytes = 0, pieces = 0 \
         WHERE (customer_id, id) = (SELECT w.customer_id, w.id FROM privacy_exports AS w \
         WHERE w.finished_at IS NULL AND (w.leased_until IS NULL OR w.leased_until < $1) \
         ORDER BY w.created_at LIMIT 1 FOR UPDATE SKIP LOCKED) \
         RETURNING customer_id, id, attempt",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(until)
    .get_result(&mut conn)
    .await
    .optional()
}

/// How far an export is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub tables_done: i32,
    pub tables_total: i32,
    pub rows: i64,
    pub bytes: i64,
    pub pieces: i32,
}

const STILL_OURS: &str = "customer_id = $1 AND id = $2 AND attempt = $3 AND finished_at IS NULL";

/// Says how far the export is, and keeps the lease. False when it is lost.
///
/// # Errors
/// Those of the query.
pub async fn keep(
    mut conn: &Connection,
    lease: &Lease,
    until: DateTime<Utc>,
    progress: &Progress,
) -> QueryResult<bool> {
    let text = format!(
        "UPDATE privacy_exports SET leased_until = $4, tables_done = $5, tables_total = $6, \
         row_count = $7, bytes = $8, pieces = $9 WHERE {STILL_OURS}"
    );
    let kept = diesel::sql_query(text)
        .bind::<SqlUuid, _>(lease.customer_id)
        .bind::<SqlUuid, _>(lease.id)
        .bind::<Integer, _>(lease.attempt)
        .bind::<Timestamptz, _>(until)
        .bind::<Integer, _>(progress.tables_done)
        .bind::<Integer, _>(progress.tables_total)
        .bind::<BigInt, _>(progress.rows)
        .bind::<BigInt, _>(progress.bytes)
        .bind::<Integer, _>(progress.pieces)
        .execute(&mut conn)
        .await?;
    Ok(kept == 1)
}

/// Adds a piece in place of whatever an earlier attempt left there. False when the lease is lost.
///
/// # Errors
/// Those of the query.
pub async fn put_piece(
    mut conn: &Connection,
    lease: &Lease,
    number: i32,
    data: &[u8],
) -> QueryResult<bool> {
    // The row is locked until the piece is there: who begins the export anew waits for it.
    let text = format!(
        "WITH ours AS (SELECT customer_id, id FROM privacy_exports WHERE {STILL_OURS} FOR UPDATE) \
         INSERT INTO privacy_export_pieces (customer_id, export_id, number, data) \
         SELECT customer_id, id, $4, $5 FROM ours \
         ON CONFLICT (customer_id, export_id, number) DO UPDATE SET data = EXCLUDED.data"
    );
    let put = diesel::sql_query(text)
        .bind::<SqlUuid, _>(lease.customer_id)
        .bind::<SqlUuid, _>(lease.id)
        .bind::<Integer, _>(lease.attempt)
        .bind::<Integer, _>(number)
        .bind::<Bytea, _>(data)
        .execute(&mut conn)
        .await?;
    Ok(put == 1)
}

/// Lets go of an export that could not be finished now, for whoever comes next.
///
/// # Errors
/// Those of the query.
pub async fn let_go(mut conn: &Connection, lease: &Lease) -> QueryResult<()> {
    let text = format!("UPDATE privacy_exports SET leased_until = NULL WHERE {STILL_OURS}");
    diesel::sql_query(text)
        .bind::<SqlUuid, _>(lease.customer_id)
        .bind::<SqlUuid, _>(lease.id)
        .bind::<Integer, _>(lease.attempt)
        .execute(&mut conn)
        .await
        .map(drop)
}

/// Deletes an export whose customer is gone: nobody could get it.
///
/// # Errors
/// Those of the query.
pub async fn discard(mut conn: &Connection, lease: &Lease) -> QueryResult<()> {
    let row = privacy_exports::table.find((lease.customer_id, lease.id));
    diesel::delete(row).execute(&mut conn).await.map(drop)
}

/// Deletes the pieces that a larger earlier attempt left behind the last one.
///
/// # Errors
/// Those of the query.
pub async fn cut_off(mut conn: &Connection, lease: &Lease, pieces: i32) -> QueryResult<()> {
    let behind = privacy_export_pieces::table
        .filter(privacy_export_pieces::customer_id.eq(lease.customer_id))
        .filter(privacy_export_pieces::export_id.eq(lease.id))
        .filter(privacy_export_pieces::number.ge(pieces));
    diesel::delete(behind).execute(&mut conn).await.map(drop)
}

/// A piece of an archive, sealed.
///
/// # Errors
/// Those of the query.
pub async fn piece(
    mut conn: &Connection,
    customer: CustomerId,
    id: PrivacyExportId,
    number: i32,
) -> QueryResult<Option<Vec<u8>>> {
    privacy_export_pieces::table
        .find((customer.0, id.0, number))
        .select(privacy_export_pieces::data)
        .first(&mut conn)
        .await
        .optional()
}

impl InsertPrivacyExports {
    pub fn push(&mut self, customer: CustomerId, export: &PrivacyExport) {
        let (kind, id) = super::audit::actor(&export.asked_by.actor(customer));
        self.id.push(export.id.0);
        self.customer_id.push(customer.0);
        self.actor_kind.push(kind.to_owned());
        self.actor_id.push(id.unwrap_or_default());
        self.session_id.push(export.asked_by.session().map(|session| session.0));
        self.created_at.push(export.created_at);
    }
}

impl EndPrivacyExports {
    /// What came of an export, at its end.
    pub fn push(&mut self, customer: CustomerId, export: &PrivacyExport, end: &ExportEnd) {
        let (state, reason, archive, at, expires_at) = match end {
            ExportEnd::Ready { at, expires_at, archive } => {
                ("ready", None, *archive, *at, *expires_at)
            }
            ExportEnd::Failed { at, fault } => {
                let nothing = Archive { rows: 0, bytes: 0, pieces: 0 };
                ("failed", Some(fault.as_str().to_owned()), nothing, *at, *at)
            }
        };
        self.customer_id.push(customer.0);
        self.id.push(export.id.0);
        self.attempt.push(export.attempt);
        self.state.push(state.to_owned());
        self.reason.push(reason);
        self.row_count.push(archive.rows);
        self.bytes.push(archive.bytes);
        self.pieces.push(archive.pieces);
        self.finished_at.push(at);
        self.expires_at.push(expires_at);
    }
}

impl NotePrivacyDownloads {
    pub fn push(&mut self, customer: CustomerId, export: &PrivacyExport, at: DateTime<Utc>) {
        self.customer_id.push(customer.0);
        self.id.push(export.id.0);
        self.downloaded_at.push(at);
    }
}
