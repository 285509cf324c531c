//! Tables `audit_blocks` and `audit_checkpoints`: the chain that seals `audit_entries`. The service
//! adds to them and cannot change them; what is too old goes through one function of their owner.

use super::Connection;
use super::schema::{audit_blocks, audit_checkpoints, audit_entries};
use crate::domain::audit_chain::{Block, Checkpoint, Hash, Record};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Bytea, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

/// Key of the advisory lock under which the chain grows or is shortened.
const LOCK: i64 = 0x6175_6469_7463_6861;

/// A moment: what was numbered before it, and which transactions may still have been under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The highest place that was given away.
    pub seq: i64,
    /// Every transaction of a lower number had begun before.
    pub transaction: i64,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The present moment.
///
/// # Errors
/// Those of the queries.
pub async fn horizon(mut conn: &Connection) -> QueryResult<Horizon> {
    // One after the other, and the second takes a number: whoever has a place that is counted has a
    // lower one. (The end of a snapshot would not do: it is behind those that run.)
    let seq: Number = diesel::sql_query(
        "SELECT coalesce(pg_sequence_last_value('audit_entries_seq_seq'), 0)::bigint AS number",
    )
    .get_result(&mut conn)
    .await?;
    let transaction: Number =
        diesel::sql_query("SELECT pg_current_xact_id()::text::bigint AS number")
            .get_result(&mut conn)
            .await?;
    Ok(Horizon { seq: seq.number, transaction: transaction.number })
}

/// Whether every transaction that was under way at that moment has ended: what is not there of the
/// places that were given away by then never will be.
///
/// # Errors
/// Those of the query.
pub async fn is_settled(mut conn: &Connection, horizon: Horizon) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    let answer: Answer = diesel::sql_query(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1 AS yes",
    )
    .bind::<BigInt, _>(horizon.transaction)
    .get_result(&mut conn)
    .await?;
    Ok(answer.yes)
}

/// Keeps everybody else from the chain until the end of the transaction. False: somebody else has it.
///
/// # Errors
/// Those of the query.
pub async fn claim(mut conn: &Connection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    let answer: Answer = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS yes")
        .bind::<BigInt, _>(LOCK)
        .get_result(&mut conn)
        .await?;
    Ok(answer.yes)
}

/// What is read from now on is all of one moment; until the connection is closed.
///
/// # Errors
/// Those of the statement.
pub async fn see_one_moment(mut conn: &Connection) -> QueryResult<()> {
    conn.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

#[derive(QueryableByName)]
struct RecordRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SmallInt)]
    shard: i16,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    customer_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    actor_kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    actor_id: Option<String>,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = Text)]
    request_id: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
}

impl From<RecordRow> for Record {
    fn from(row: RecordRow) -> Self {
        Self {
            seq: row.seq,
            id: row.id,
            shard: row.shard,
            customer_id: row.customer_id,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            action: row.action,
            data: row.data,
            request_id: row.request_id,
            occurred_at: row.occurred_at,
        }
    }
}

const RECORD: &str = "SELECT seq, id, shard, customer_id, actor_kind, actor_id, action, \
    data::text AS data, request_id, occurred_at FROM audit_entries";

/// The entries after one place, up to another, in the order of their places.
///
/// # Errors
/// Those of the query.
pub async fn entries(
    mut conn: &Connection,
    after: i64,
    up_to: i64,
    limit: i64,
) -> QueryResult<Vec<Record>> {
    let text = format!("{RECORD} WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3");
    let rows: Vec<RecordRow> = diesel::sql_query(text)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(up_to)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// One entry.
///
/// # Errors
/// Those of the query.
pub async fn entry(mut conn: &Connection, id: Uuid) -> QueryResult<Option<Record>> {
    let row: Option<RecordRow> = diesel::sql_query(format!("{RECORD} WHERE id = $1"))
        .bind::<SqlUuid, _>(id)
        .get_result(&mut conn)
        .await
        .optional()?;
    Ok(row.map(Into::into))
}

/// How many entries are not sealed yet.
///
/// # Errors
/// Those of the query.
pub async fn unsealed(mut conn: &Connection, after: i64) -> QueryResult<i64> {
    let waiting: Number =
        diesel::sql_query("SELECT count(*) AS number FROM audit_entries WHERE seq > $1")
            .bind::<BigInt, _>(after)
            .get_result(&mut conn)
            .await?;
    Ok(waiting.number)
}

/// When the first entry after this place was decided.
///
/// # Errors
/// Those of the query.
pub async fn first_unsealed(
    mut conn: &Connection,
    after: i64,
) -> QueryResult<Option<DateTime<Utc>>> {
    audit_entries::table
        .filter(audit_entries::seq.gt(after))
        .order(audit_entries::seq)
        .select(audit_entries::occurred_at)
        .first(&mut conn)
        .await
        .optional()
}

#[derive(QueryableByName, Insertable)]
#[diesel(table_name = audit_blocks, check_for_backend(diesel::pg::Pg))]
struct BlockRow {
    #[diesel(sql_type = SmallInt)]
    shard: i16,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    checkpoint: i64,
    #[diesel(sql_type = Integer)]
    size: i32,
    #[diesel(sql_type = Bytea)]
    root: Vec<u8>,
    #[diesel(sql_type = Bytea)]
    previous: Vec<u8>,
    #[diesel(sql_type = Array<BigInt>)]
    entries: Vec<i64>,
    #[diesel(sql_type = Bytea)]
    leaves: Vec<u8>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expired_at: Option<DateTime<Utc>>,
}

const BLOCK: &str = "b.shard, b.number, b.checkpoint, b.size, b.root, b.previous, b.entries, b.leaves, b.expired_at";

impl BlockRow {
    fn of(block: &Block) -> Self {
        Self {
            shard: block.shard,
            number: block.number,
            checkpoint: block.checkpoint,
            size: block.size,
            root: block.root.to_vec(),
            previous: block.previous.to_vec(),
            entries: block.entries.clone(),
            leaves: block.leaves.concat(),
            expired_at: None,
        }
    }

    /// Hashes of a wrong length are none, and so fit nothing.
    fn block(self) -> Block {
        let leaves = self.leaves.chunks(32).map(hash).collect();
        Block {
            shard: self.shard,
            number: self.number,
            checkpoint: self.checkpoint,
            size: self.size,
            root: hash(&self.root),
            previous: hash(&self.previous),
            entries: self.entries,
            leaves,
            expired: self.expired_at.is_some(),
        }
    }
}

fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or([0; 32])
}

/// The last block of each of these shards, as far as it has one.
///
/// # Errors
/// Those of the query.
pub async fn heads(mut conn: &Connection, shards: &[i16]) -> QueryResult<Vec<Block>> {
    let rows: Vec<BlockRow> = diesel::sql_query(format!(
        "SELECT {BLOCK} FROM unnest($1) AS s (shard) CROSS JOIN LATERAL \
         (SELECT * FROM audit_blocks AS b WHERE b.shard = s.shard ORDER BY b.number DESC LIMIT 1) AS b"
    ))
    .bind::<Array<SmallInt>, _>(shards)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(BlockRow::block).collect())
}

/// The blocks of checkpoints from one to another, by checkpoint and shard.
///
/// # Errors
/// Those of the query.
pub async fn blocks(mut conn: &Connection, from: i64, to: i64) -> QueryResult<Vec<Block>> {
    let rows: Vec<BlockRow> = diesel::sql_query(format!(
        "SELECT {BLOCK} FROM audit_blocks AS b WHERE b.checkpoint BETWEEN $1 AND $2 \
         ORDER BY b.checkpoint, b.shard"
    ))
    .bind::<BigInt, _>(from)
    .bind::<BigInt, _>(to)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(BlockRow::block).collect())
}

/// A checkpoint with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    /// The public key by which it was signed, in base64.
    pub key: String,
    pub signature: Vec<u8>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_checkpoints, check_for_backend(diesel::pg::Pg))]
struct CheckpointRow {
    number: i64,
    up_to: i64,
    blocks: i32,
    root: Vec<u8>,
    previous: Vec<u8>,
    sealed_at: DateTime<Utc>,
    key: String,
    signature: Vec<u8>,
}

impl From<CheckpointRow> for Signed {
    fn from(row: CheckpointRow) -> Self {
        let checkpoint = Checkpoint {
            number: row.number,
            up_to: row.up_to,
            blocks: row.blocks,
            root: hash(&row.root),
            previous: hash(&row.previous),
            sealed_at: row.sealed_at,
        };
        Self { checkpoint, key: row.key, signature: row.signature }
    }
}

/// The last checkpoint.
///
/// # Errors
/// Those of the query.
pub async fn last(mut conn: &Connection) -> QueryResult<Option<Signed>> {
    let row: Option<CheckpointRow> = audit_checkpoints::table
        .order(audit_checkpoints::number.desc())
        .select(CheckpointRow::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(Into::into))
}

/// The checkpoints after one, in order.
///
/// # Errors
/// Those of the query.
pub async fn checkpoints(
    mut conn: &Connection,
    after: i64,
    limit: i64,
) -> QueryResult<Vec<Signed>> {
    let rows: Vec<CheckpointRow> = audit_checkpoints::table
        .filter(audit_checkpoints::number.gt(after))
        .order(audit_checkpoints::number)
        .limit(limit)
        .select(CheckpointRow::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The checkpoint that a place falls to.
///
/// # Errors
/// Those of the query.
pub async fn checkpoint_of(mut conn: &Connection, seq: i64) -> QueryResult<Option<Signed>> {
    let row: Option<CheckpointRow> = audit_checkpoints::table
        .filter(audit_checkpoints::up_to.ge(seq))
        .order(audit_checkpoints::up_to)
        .select(CheckpointRow::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(Into::into))
}

/// Writes a checkpoint and its blocks; in the transaction of the claim.
///
/// # Errors
/// Those of the queries; a number that is there already is a unique violation.
pub async fn append(mut conn: &Connection, blocks: &[Block], signed: &Signed) -> QueryResult<()> {
    let Signed { checkpoint, key, signature } = signed;
    let row = CheckpointRow {
        number: checkpoint.number,
        up_to: checkpoint.up_to,
        blocks: checkpoint.blocks,
        root: checkpoint.root.to_vec(),
        previous: checkpoint.previous.to_vec(),
        sealed_at: checkpoint.sealed_at,
        key: key.clone(),
        signature: signature.clone(),
    };
    diesel::insert_into(audit_checkpoints::table).values(&row).execute(&mut conn).await?;
    // Once a minute: their text need not be cached.
    let rows: Vec<_> = blocks.iter().map(BlockRow::of).collect();
    diesel::insert_into(audit_blocks::table).values(rows).execute(&mut conn).await?;
    Ok(())
}

/// The last checkpoint whose entries were deleted for their age, by what the trail says; 0: none was.
///
/// # Errors
/// Those of the query.
pub async fn expired_up_to(mut conn: &Connection) -> QueryResult<i64> {
    let found: Option<Number> = diesel::sql_query(
        "SELECT (data ->> 'up_to')::bigint AS number FROM audit_entries \
         WHERE action = 'audit.expired' AND actor_kind = 'service' AND data ? 'up_to' \
         ORDER BY seq DESC LIMIT 1",
    )
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(found.map_or(0, |row| row.number))
}

/// Deletes the entries of the oldest checkpoints that were sealed before `before`, of a span of at
/// most `places`, and notes in the trail that they went, as the entry `id`. Answers with their number.
///
/// # Errors
/// Those of the query; a time that is less than a month ago is refused.
pub async fn expire(
    mut conn: &Connection,
    before: DateTime<Utc>,
    id: Uuid,
    places: i64,
) -> QueryResult<usize> {
    let gone: Number = diesel::sql_query("SELECT audit_expire($1, $2, $3) AS number")
        .bind::<Timestamptz, _>(before)
        .bind::<SqlUuid, _>(id)
        .bind::<BigInt, _>(places)
        .get_result(&mut conn)
        .await?;
    Ok(usize::try_from(gone.number).unwrap_or(0))
}
