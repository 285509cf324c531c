//! Tables `imports`, `import_chunks` and `import_errors`.

use super::Connection;
use super::schema::{import_chunks, import_errors, imports};
use super::statements::InsertImportErrors;
use super::timeline::{self, Place};
use crate::domain::ImportId;
use crate::domain::import::RowFault;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use serde_json::Value;
use uuid::Uuid;

/// Key of the advisory lock that whoever carries out imports holds.
const LOCK: i64 = 0x6373_696d_706f_7274;

/// An import, as it is kept.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = imports, check_for_backend(diesel::pg::Pg))]
#[diesel(treat_none_as_default_value = false)]
pub struct Row {
    pub id: Uuid,
    /// `uploading`, `queued`, `running`, `completed`, `cancelled` or `failed`.
    pub state: String,
    /// `upload` or `file`.
    pub source: String,
    pub format: String,
    pub name: Option<String>,
    pub settings: Value,
    pub dry_run: bool,
    pub digest: Option<Vec<u8>>,
    pub bytes: i64,
    pub position: i64,
    pub line: i64,
    pub rows_read: i64,
    pub rows_imported: i64,
    pub rows_failed: i64,
    pub rows_per_minute: i64,
    pub reason: Option<String>,
    /// `staff` or `operator`.
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub idempotency_key: Option<String>,
    pub request_hash: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub touched_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done with, and the line that begins there.
    pub position: i64,
    pub line: i64,
    pub rows_read: i64,
    pub rows_imported: i64,
    pub rows_failed: i64,
    pub rows_per_minute: i64,
}

impl Row {
    pub fn progress(&self) -> Progress {
        Progress {
            position: self.position,
            line: self.line,
            rows_read: self.rows_read,
            rows_imported: self.rows_imported,
            rows_failed: self.rows_failed,
            rows_per_minute: self.rows_per_minute,
        }
    }
}

/// # Errors
/// Those of the query.
pub async fn insert(mut conn: &Connection, row: &Row) -> QueryResult<()> {
    diesel::insert_into(imports::table).values(row).execute(&mut conn).await.map(drop)
}

/// Adds a piece to an upload. False when the upload is not wanted any more.
///
/// # Errors
/// Those of the query.
pub async fn append_chunk(
    mut conn: &Connection,
    id: ImportId,
    number: i32,
    data: &[u8],
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let added = diesel::sql_query(
        "WITH upload AS (UPDATE imports SET touched_at = $4 WHERE id = $1 AND state = 'uploading' RETURNING id) \
         INSERT INTO import_chunks (import_id, number, data) SELECT id, $2, $3 FROM upload",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Integer, _>(number)
    .bind::<Bytea, _>(data)
    .bind::<Timestamptz, _>(now)
    .execute(&mut conn)
    .await?;
    Ok(added == 1)
}

/// What is known of an upload once it is whole.
pub struct Upload {
    pub bytes: i64,
    pub digest: [u8; 32],
    /// The request's key, and what it stands for.
    pub idempotency: Option<(String, [u8; 32])>,
    /// What was read of the file's beginning.
    pub settings: Value,
    pub position: i64,
    pub line: i64,
}

/// Makes a whole upload an import. False when it is not wanted any more.
///
/// # Errors
/// Those of the query; a unique violation where another import has the key.
pub async fn finish_upload(
    mut conn: &Connection,
    id: ImportId,
    upload: &Upload,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let key = upload.idempotency.as_ref();
    let waiting = imports::table.find(id.0).filter(imports::state.eq("uploading"));
    let finished = diesel::update(waiting)
        .set((
            imports::state.eq("queued"),
            imports::bytes.eq(upload.bytes),
            imports::digest.eq(Some(upload.digest.to_vec())),
            imports::settings.eq(&upload.settings),
            imports::position.eq(upload.position),
            imports::line.eq(upload.line),
            imports::idempotency_key.eq(key.map(|(key, _)| key)),
            imports::request_hash.eq(key.map(|(_, hash)| hash.to_vec())),
            imports::touched_at.eq(now),
        ))
        .execute(&mut conn)
        .await?;
    Ok(finished == 1)
}

/// Deletes an upload that never became an import, with its pieces.
///
/// # Errors
/// Those of the query.
pub async fn discard_upload(mut conn: &Connection, id: ImportId) -> QueryResult<()> {
    let upload = imports::table.find(id.0).filter(imports::state.eq("uploading"));
    diesel::delete(upload).execute(&mut conn).await.map(drop)
}

/// An import; an upload that is not whole is none.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, id: ImportId) -> QueryResult<Option<Row>> {
    let import = imports::table.find(id.0).filter(imports::state.ne("uploading"));
    import.select(Row::as_select()).first(&mut conn).await.optional()
}

/// A page of imports, newest first.
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    before: Option<Place>,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    let (at, id) = timeline::from_the_end(before);
    // The first condition, which the second one implies, is what the index is entered by.
    imports::table
        .filter(imports::state.ne("uploading"))
        .filter(imports::created_at.le(at))
        .filter(imports::created_at.lt(at).or(imports::id.lt(id)))
        .order((imports::created_at.desc(), imports::id.desc()))
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await
}

/// The import that a request with this key made.
///
/// # Errors
/// Those of the query.
pub async fn by_key(mut conn: &Connection, actor: &str, key: &str) -> QueryResult<Option<Row>> {
    imports::table
        .filter(imports::actor_id.eq(actor))
        .filter(imports::idempotency_key.eq(key))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()
}

/// The newest import of a file at the command line, by its digest.
///
/// # Errors
/// Those of the query.
pub async fn by_digest(
    mut conn: &Connection,
    digest: &[u8; 32],
    dry_run: bool,
) -> QueryResult<Option<Row>> {
    imports::table
        .filter(imports::digest.eq(digest.to_vec()))
        .filter(imports::source.eq("file"))
        .filter(imports::dry_run.eq(dry_run))
        .order(imports::created_at.desc())
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()
}

/// The oldest import that any node may go on with.
///
/// # Errors
/// Those of the query.
pub async fn next(mut conn: &Connection) -> QueryResult<Option<Row>> {
    imports::table
        .filter(imports::finished_at.is_null())
        .filter(imports::source.eq("upload"))
        .filter(imports::state.ne("uploading"))
        .order(imports::created_at)
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()
}

/// A queued import runs from now on; one that runs, goes on.
///
/// # Errors
/// Those of the query.
pub async fn start(mut conn: &Connection, id: ImportId, now: DateTime<Utc>) -> QueryResult<()> {
    let queued = imports::table.find(id.0).filter(imports::state.eq("queued"));
    let set = (imports::state.eq("running"), imports::started_at.eq(now));
    diesel::update(queued).set(set).execute(&mut conn).await.map(drop)
}

/// Begins a dry run anew: what it remembers of the file is in memory only, and it changes nothing.
///
/// # Errors
/// Those of the query.
pub async fn restart(mut conn: &Connection, id: ImportId, to: Progress) -> QueryResult<()> {
    let errors = import_errors::table.filter(import_errors::import_id.eq(id.0));
    diesel::delete(errors).execute(&mut conn).await?;
    advance(conn, id, to, None).await.map(drop)
}

/// The end of an import that runs or waits. False when it had ended before.
///
/// # Errors
/// Those of the query.
pub async fn end(
    mut conn: &Connection,
    id: ImportId,
    state: &str,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let living = imports::table
        .find(id.0)
        .filter(imports::finished_at.is_null())
        .filter(imports::state.ne("uploading"));
    let set =
        (imports::state.eq(state), imports::reason.eq(reason), imports::finished_at.eq(Some(now)));
    Ok(diesel::update(living).set(set).execute(&mut conn).await? == 1)
}

/// Locks an import that runs and is where the caller takes it to be. Whoever comes second, having
/// been frozen perhaps, finds it elsewhere and does nothing.
///
/// # Errors
/// Those of the query.
pub async fn fence(mut conn: &Connection, id: ImportId, position: i64) -> QueryResult<bool> {
    let there: Option<Uuid> = imports::table
        .find(id.0)
        .filter(imports::state.eq("running"))
        .filter(imports::position.eq(position))
        .select(imports::id)
        .for_update()
        .first(&mut conn)
        .await
        .optional()?;
    Ok(there.is_some())
}

/// Notes how far an import is.
///
/// # Errors
/// Those of the query.
pub async fn advance(
    mut conn: &Connection,
    id: ImportId,
    to: Progress,
    now: Option<DateTime<Utc>>,
) -> QueryResult<()> {
    diesel::update(imports::table.find(id.0))
        .set((
            imports::position.eq(to.position),
            imports::line.eq(to.line),
            imports::rows_read.eq(to.rows_read),
            imports::rows_imported.eq(to.rows_imported),
            imports::rows_failed.eq(to.rows_failed),
            imports::rows_per_minute.eq(to.rows_per_minute),
            now.map(|now| imports::touched_at.eq(now)),
        ))
        .execute(&mut conn)
        .await
        .map(drop)
}

/// One piece of an upload.
///
/// # Errors
/// Those of the query.
pub async fn chunk(
    mut conn: &Connection,
    id: ImportId,
    number: i32,
) -> QueryResult<Option<Vec<u8>>> {
    let chunk = import_chunks::table.find((id.0, number)).select(import_chunks::data);
    chunk.first(&mut conn).await.optional()
}

/// Deletes pieces of an upload that lie before a number, at most `limit`. Answers with how many.
///
/// # Errors
/// Those of the query.
pub async fn drop_chunks(
    mut conn: &Connection,
    id: ImportId,
    before: i32,
    limit: i64,
) -> QueryResult<usize> {
    diesel::sql_query(
        "DELETE FROM import_chunks WHERE import_id = $1 AND number = ANY (ARRAY(\
         SELECT number FROM import_chunks WHERE import_id = $1 AND number < $2 LIMIT $3))",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Integer, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(&mut conn)
    .await
}

/// One error of a row, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = import_errors, check_for_backend(diesel::pg::Pg))]
pub struct RowError {
    pub line: i64,
    pub number: i32,
    pub field: Option<String>,
    pub code: String,
    pub detail: String,
}

/// The errors behind a place, in the order of the file.
///
/// # Errors
/// Those of the query.
pub async fn errors(
    mut conn: &Connection,
    id: ImportId,
    after: (i64, i32),
    limit: i64,
) -> QueryResult<Vec<RowError>> {
    let (line, number) = after;
    import_errors::table
        .filter(import_errors::import_id.eq(id.0))
        .filter(import_errors::line.ge(line))
        .filter(import_errors::line.gt(line).or(import_errors::number.gt(number)))
        .order((import_errors::line, import_errors::number))
        .limit(limit)
        .select(RowError::as_select())
        .load(&mut conn)
        .await
}

impl InsertImportErrors {
    /// Adds all that is wrong with one row.
    pub fn push(&mut self, import: ImportId, line: i64, faults: &[RowFault]) {
        for (number, row) in (0..).zip(faults) {
            self.import_id.push(import.0);
            self.line.push(line);
            self.number.push(number);
            self.field.push(row.field.clone());
            self.code.push(row.fault.code.to_owned());
            self.detail.push(row.fault.detail.clone());
        }
    }
}

/// Who has these addresses, in their canonical form: customers, and who gave one up a while ago.
///
/// # Errors
/// Those of the query.
pub async fn owners(
    mut conn: &Connection,
    addresses: &[String],
) -> QueryResult<Vec<(String, Uuid)>> {
    #[derive(QueryableByName)]
    struct Owner {
        #[diesel(sql_type = Text)]
        value: String,
        #[diesel(sql_type = SqlUuid)]
        customer_id: Uuid,
    }
    let owners: Vec<Owner> = diesel::sql_query(
        "SELECT value, customer_id FROM customer_identifiers WHERE kind = 'email' AND value = ANY ($1) \
         AND (held_until IS NULL OR held_until > now())",
    )
    .bind::<Array<Text>, _>(addresses)
    .load(&mut conn)
    .await?;
    Ok(owners.into_iter().map(|owner| (owner.value, owner.customer_id)).collect())
}

/// By which requests these customers came to be, of requests whose id begins so.
///
/// # Errors
/// Those of the query.
pub async fn origins(
    mut conn: &Connection,
    customers: &[Uuid],
    requests: &str,
) -> QueryResult<Vec<(Uuid, String)>> {
    #[derive(QueryableByName)]
    struct Origin {
        #[diesel(sql_type = SqlUuid)]
        customer_id: Uuid,
        #[diesel(sql_type = Text)]
        request_id: String,
    }
    let origins: Vec<Origin> = diesel::sql_query(
        "SELECT customer_id, request_id FROM audit_entries WHERE customer_id = ANY ($1) \
         AND action = 'customer.created' AND starts_with(request_id, $2)",
    )
    .bind::<Array<SqlUuid>, _>(customers)
    .bind::<Text, _>(requests)
    .load(&mut conn)
    .await?;
    Ok(origins.into_iter().map(|origin| (origin.customer_id, origin.request_id)).collect())
}

/// Checks at once what is otherwise checked at the commit, so that nothing slow is left to be done
/// under the locks that the outbox takes.
///
/// # Errors
/// Those of the checks.
pub async fn check_now(mut conn: &Connection) -> QueryResult<()> {
    conn.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await
}

/// How many other sessions of this database are at work at this moment.
///
/// # Errors
/// Those of the query.
pub async fn busy_sessions(mut conn: &Connection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Busy {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let busy: Busy = diesel::sql_query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND state IN ('active', 'idle in transaction') AND backend_type = 'client backend' \
         AND pid <> pg_backend_pid()",
    )
    .get_result(&mut conn)
    .await?;
    Ok(busy.count)
}

/// Tries to become the one who carries out imports, for as long as the session lives.
///
/// # Errors
/// Those of the query.
pub async fn try_lock(mut conn: &Connection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Lock {
        #[diesel(sql_type = Bool)]
        had: bool,
    }
    let lock: Lock = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS had")
        .bind::<BigInt, _>(LOCK)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}
