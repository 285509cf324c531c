//! Tables `outbox_events` and `outbox_cursors`, as the relay uses them: who relays which shards,
//! what is to be published next, and from where a successor has to go on.
//!
//! Within a shard, `seq` rises with commit order and `bucket` never falls (`outbox_append` in the
//! migrations). Everything here rests on these two facts.

use super::Connection;
use super::schema::{outbox_cursors, outbox_events};
use super::timeline;
use crate::domain::CustomerId;
use crate::faults;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

/// Groups of shards, the unit of ownership.
pub const GROUPS: i16 = 8;
/// Logical shards of one group: group g has the shards 8g to 8g+7.
pub const GROUP_SHARDS: i16 = 8;

/// Namespaces of advisory locks; the first is also written in `outbox_append`.
const SHARD_LOCKS: i32 = 7261;
const GROUP_LOCKS: i32 = 7262;

/// A message that waits to be published.
#[derive(Clone, Debug, Queryable)]
pub struct Row {
    pub shard: i16,
    pub seq: i64,
    pub bucket: i32,
    /// The message id.
    pub id: Uuid,
    pub customer_id: Uuid,
    /// Gap-free per customer, from 1.
    pub customer_sequence: i64,
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    pub traceparent: Option<String>,
    /// The body: JSON.
    pub data: String,
}

/// Where to read on in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub shard: i16,
    /// Only rows with a greater `seq` are of interest.
    pub after: i64,
    /// The first of the two buckets to look into.
    pub bucket: i32,
}

/// The rows of some shards after their places, at most `limit` of each, out of two buckets each.
/// A fixed text, so that its plan is cached: this is the relay's hot path.
#[derive(QueryId)]
struct Next {
    shards: Vec<i16>,
    after: Vec<i64>,
    buckets: Vec<i32>,
    /// The first and the last bucket that any of the shards asks for.
    first: i32,
    last: i32,
    limit: i64,
}

type RowSql =
    (SmallInt, BigInt, Integer, SqlUuid, SqlUuid, BigInt, Text, Timestamptz, Nullable<Text>, Text);

impl QueryFragment<Pg> for Next {
    /// One bucket is asked for by equality, because only so the key (bucket, shard, seq) is a
    /// range of the index. The bounds, which say nothing new, are known before the plan is set
    /// up: they spare it the other hundred partitions (0.1 ms instead of 1 to 8 ms here).
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT e.shard, e.seq, e.bucket, e.id, e.customer_id, e.customer_sequence, e.kind, \
             e.occurred_at, e.traceparent, e.data::text FROM unnest(",
        );
        out.push_bind_param::<Array<SmallInt>, _>(&self.shards)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.after)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.buckets)?;
        out.push_sql(
            ") AS asked (shard, after, bucket) CROSS JOIN LATERAL (\
             SELECT in_hour.* FROM (VALUES (asked.bucket), (asked.bucket + 1)) AS hours (hour) \
             CROSS JOIN LATERAL (SELECT * FROM outbox_events AS o WHERE o.bucket = hours.hour \
             AND o.shard = asked.shard AND o.seq > asked.after AND o.bucket BETWEEN ",
        );
        out.push_bind_param::<Integer, _>(&self.first)?;
        out.push_sql(" AND ");
        out.push_bind_param::<Integer, _>(&self.last)?;
        out.push_sql(" ORDER BY o.seq LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") AS in_hour ORDER BY in_hour.seq LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") AS e ORDER BY e.shard, e.seq");
        Ok(())
    }
}

impl Query for Next {
    type SqlType = RowSql;
}

/// Rows after the given places, ascending within each shard, at most `limit` of each shard. A
/// shard that yields fewer has no more in its two buckets; later buckets are not looked into.
///
/// # Errors
/// Those of the query.
pub async fn next(mut conn: &Connection, places: &[Place], limit: i64) -> QueryResult<Vec<Row>> {
    let statement = Next {
        shards: places.iter().map(|place| place.shard).collect(),
        after: places.iter().map(|place| place.after).collect(),
        buckets: places.iter().map(|place| place.bucket).collect(),
        first: places.iter().map(|place| place.bucket).min().unwrap_or(0),
        last: places.iter().map(|place| place.bucket + 1).max().unwrap_or(0),
        limit,
    };
    statement.load(&mut conn).await
}

/// What lies after a place of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct Unread {
    pub shard: i16,
    /// Rows, counted up to the limit that was asked for.
    pub count: i64,
    /// When the oldest of them was decided.
    pub oldest: DateTime<Utc>,
}

/// How many rows lie after the places of some shards, in all hours from `first` to `last`.
#[derive(QueryId)]
struct Waiting {
    shards: Vec<i16>,
    after: Vec<i64>,
    buckets: Vec<i32>,
    first: i32,
    last: i32,
    limit: i64,
}

impl QueryFragment<Pg> for Waiting {
    /// As in [`Next`]: equality for the index, bounds for the plan. The limit ends the walk through
    /// the hours, which are taken in their order, so that the oldest is among what was counted.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT asked.shard, waiting.count, waiting.oldest FROM unnest(");
        out.push_bind_param::<Array<SmallInt>, _>(&self.shards)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.after)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.buckets)?;
        out.push_sql(
            ") AS asked (shard, after, bucket) CROSS JOIN LATERAL (SELECT count(*) AS count, \
             min(found.occurred_at) AS oldest FROM (SELECT in_hour.occurred_at \
             FROM generate_series(asked.bucket, ",
        );
        out.push_bind_param::<Integer, _>(&self.last)?;
        out.push_sql(
            ") AS hours (hour) CROSS JOIN LATERAL (SELECT o.occurred_at FROM outbox_events AS o \
             WHERE o.bucket = hours.hour AND o.shard = asked.shard AND o.seq > asked.after \
             AND o.bucket BETWEEN ",
        );
        out.push_bind_param::<Integer, _>(&self.first)?;
        out.push_sql(" AND ");
        out.push_bind_param::<Integer, _>(&self.last)?;
        out.push_sql(" ORDER BY o.seq LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") AS in_hour LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") AS found) AS waiting WHERE waiting.count > 0");
        Ok(())
    }
}

impl Query for Waiting {
    type SqlType = (SmallInt, BigInt, Timestamptz);
}

/// What nobody has read yet after the given places, counted up to `limit` in each shard; shards
/// without such rows are left out.
///
/// # Errors
/// Those of the queries.
pub async fn unread(
    mut conn: &Connection,
    places: &[Place],
    limit: i64,
) -> QueryResult<Vec<Unread>> {
    let last = hour(conn).await?;
    let Some(lowest) = places.iter().map(|place| place.bucket).min() else { return Ok(Vec::new()) };
    // The first hour that has rows at all: the places of a new installation begin in 1970.
    let first = match lowest + 1 >= last {
        true => lowest,
        false => first_bucket(conn, lowest).await?.unwrap_or(last).min(last),
    };
    let statement = Waiting {
        shards: places.iter().map(|place| place.shard).collect(),
        after: places.iter().map(|place| place.after).collect(),
        buckets: places.iter().map(|place| place.bucket.max(first)).collect(),
        first,
        last,
        limit,
    };
    statement.load(&mut conn).await
}

/// A message about a customer, published or not.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = outbox_events, check_for_backend(Pg))]
pub struct Told {
    /// The message id.
    pub id: Uuid,
    /// Gap-free per customer, from 1.
    pub customer_sequence: i64,
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    /// The body.
    pub data: serde_json::Value,
}

/// The latest messages about a customer before a place of its timeline, latest first; those that
/// are still here, for their partitions go with time. One step into an index for each of them.
///
/// # Errors
/// Those of the query.
pub async fn of_customer(
    mut conn: &Connection,
    customer: CustomerId,
    before: Option<timeline::Place>,
    limit: i64,
) -> QueryResult<Vec<Told>> {
    let (time, id) = timeline::from_the_end(before);
    outbox_events::table
        .filter(outbox_events::customer_id.eq(customer.0))
        .filter(outbox_events::occurred_at.le(time))
        .filter(outbox_events::occurred_at.lt(time).or(outbox_events::id.lt(id)))
        .order((outbox_events::occurred_at.desc(), outbox_events::id.desc()))
        .limit(limit)
        .select(Told::as_select())
        .load(&mut conn)
        .await
}

diesel::define_sql_function! {
    /// See the migrations.
    fn outbox_hour() -> Integer;
}

/// The bucket that is written into now. It never falls.
///
/// # Errors
/// Those of the query.
pub async fn hour(mut conn: &Connection) -> QueryResult<i32> {
    diesel::select(outbox_hour()).get_result(&mut conn).await
}

#[derive(QueryableByName)]
struct ShardRow {
    #[diesel(sql_type = SmallInt)]
    shard: i16,
}

/// Those of the shards in which no transaction is appending at this moment. Rows of such a shard
/// that a *later* read does not see will be written into the bucket of this moment or later ones.
///
/// # Errors
/// Those of the query.
pub async fn quiet(mut conn: &Connection, shards: &[i16]) -> QueryResult<Vec<i16>> {
    // Rare (once an hour and shard), so an uncached text does no harm. In autocommit the locks
    // are given back at once.
    let rows: Vec<ShardRow> = diesel::sql_query(
        "SELECT s AS shard FROM unnest($1) AS s WHERE pg_try_advisory_xact_lock_shared($2, s)",
    )
    .bind::<Array<SmallInt>, _>(shards)
    .bind::<Integer, _>(SHARD_LOCKS)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.shard).collect())
}

#[derive(QueryableByName)]
struct BucketRow {
    #[diesel(sql_type = Nullable<Integer>)]
    bucket: Option<i32>,
}

/// The first bucket from `from` on that has rows of any shard, published or not.
///
/// # Errors
/// Those of the query.
pub async fn first_bucket(mut conn: &Connection, from: i32) -> QueryResult<Option<i32>> {
    // Only while catching up. The order lets each partition answer with one step into its index.
    let row: Option<BucketRow> = diesel::sql_query(
        "SELECT bucket FROM outbox_events WHERE bucket >= $1 ORDER BY bucket LIMIT 1",
    )
    .bind::<Integer, _>(from)
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(row.and_then(|row| row.bucket))
}

/// Makes the session one that loses its locks when its process freezes or its host dies: the
/// server ends it after `idle_seconds` without a statement. (A frozen process's kernel still
/// answers keepalives, so these alone would leave the locks with it for ever.)
///
/// # Errors
/// Those of the statement.
pub async fn guard_session(conn: &mut Connection, idle_seconds: u64) -> QueryResult<()> {
    let settings = format!(
        "SET idle_session_timeout = '{idle_seconds}s'; SET tcp_keepalives_idle = 5; \
         SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; \
         SET tcp_user_timeout = 10000; SET plan_cache_mode = force_generic_plan; SET jit = off"
    );
    conn.batch_execute(&settings).await
}

/// A sign of life, which also tells whether the session still exists.
///
/// # Errors
/// Those of the query; after any of them the locks must be taken for lost.
pub async fn touch(mut conn: &Connection) -> QueryResult<()> {
    diesel::select(1.into_sql::<Integer>()).execute(&mut conn).await.map(|_| ())
}

/// What an owner knows of its group when it takes over.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Cursor {
    pub group: i16,
    /// Goes with each [`flush`]: an earlier owner's are refused.
    pub epoch: i64,
    /// Last confirmed `seq` of each of the group's shards, in their order.
    pub positions: Vec<i64>,
    /// No unpublished row of the group lies in a bucket before the one before this.
    pub bucket: i32,
}

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = SmallInt)]
    relay_group: i16,
}

/// Takes over those of `groups` that nobody owns, for as long as the session lasts.
///
/// # Errors
/// Those of the queries; the caller must then close the session, because it may hold locks.
pub async fn take_over(
    mut conn: &Connection,
    groups: &[i16],
    owner: &str,
) -> QueryResult<Vec<Cursor>> {
    // Once a second at most. Locked first and read in a second statement: its snapshot must be
    // later than the last flush of the owner before.
    let locked: Vec<GroupRow> = diesel::sql_query(
        "SELECT g AS relay_group FROM unnest($1) AS g WHERE pg_try_advisory_lock($2, g)",
    )
    .bind::<Array<SmallInt>, _>(groups)
    .bind::<Integer, _>(GROUP_LOCKS)
    .load(&mut conn)
    .await?;
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    let locked: Vec<i16> = locked.into_iter().map(|row| row.relay_group).collect();
    diesel::update(outbox_cursors::table.filter(outbox_cursors::relay_group.eq_any(locked)))
        .set((outbox_cursors::epoch.eq(outbox_cursors::epoch + 1), outbox_cursors::owner.eq(owner)))
        .returning((
            outbox_cursors::relay_group,
            outbox_cursors::epoch,
            outbox_cursors::positions,
            outbox_cursors::bucket,
        ))
        .get_results(&mut conn)
        .await
}

/// Gives groups back, so that another node need not wait for the end of the session.
///
/// # Errors
/// Those of the query.
pub async fn release(mut conn: &Connection, groups: &[i16]) -> QueryResult<()> {
    // Once, at the stop.
    diesel::sql_query("SELECT pg_advisory_unlock($2, g) FROM unnest($1) AS g")
        .bind::<Array<SmallInt>, _>(groups)
        .bind::<Integer, _>(GROUP_LOCKS)
        .execute(&mut conn)
        .await
        .map(|_| ())
}

/// Writes cursors down. Answers with the groups that were written; the others have a newer owner.
///
/// # Errors
/// Those of the query.
pub async fn flush(mut conn: &Connection, cursors: &[Cursor]) -> QueryResult<Vec<i16>> {
    // Once a second at most. The groups' positions follow each other in one flat array, because
    // arrays of arrays cannot be unnested side by side.
    let positions: Vec<i64> =
        cursors.iter().flat_map(|cursor| cursor.positions.iter().copied()).collect();
    let fence = if faults::no_epoch_fence() { "" } else { "AND c.epoch = u.epoch" };
    let written: Vec<GroupRow> = diesel::sql_query(format!(
        "UPDATE outbox_cursors AS c SET positions = ($4::bigint[])[u.n * 8 - 7 : u.n * 8], \
         bucket = u.bucket, flushed_at = now() \
         FROM unnest($1, $2, $3) WITH ORDINALITY AS u (relay_group, epoch, bucket, n) \
         WHERE c.relay_group = u.relay_group {fence} RETURNING c.relay_group"
    ))
    .bind::<Array<SmallInt>, _>(cursors.iter().map(|cursor| cursor.group).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(cursors.iter().map(|cursor| cursor.epoch).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(cursors.iter().map(|cursor| cursor.bucket).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(positions)
    .load(&mut conn)
    .await?;
    Ok(written.into_iter().map(|row| row.relay_group).collect())
}

/// All cursors, for operators and the janitor.
///
/// # Errors
/// Those of the query.
pub async fn cursors(mut conn: &Connection) -> QueryResult<Vec<Cursor>> {
    outbox_cursors::table
        .select((
            outbox_cursors::relay_group,
            outbox_cursors::epoch,
            outbox_cursors::positions,
            outbox_cursors::bucket,
        ))
        .order(outbox_cursors::relay_group)
        .load(&mut conn)
        .await
}

/// Who relays a group.
#[derive(Debug, QueryableByName)]
pub struct Owner {
    #[diesel(sql_type = SmallInt)]
    pub relay_group: i16,
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
    /// Who took it over last.
    #[diesel(sql_type = Nullable<Text>)]
    pub owner: Option<String>,
    /// Since its cursor was written; one that does not move is not written.
    #[diesel(sql_type = Nullable<Double>)]
    pub idle_seconds: Option<f64>,
}

/// All groups with their owners, for operators.
///
/// # Errors
/// Those of the query.
pub async fn owners(mut conn: &Connection) -> QueryResult<Vec<Owner>> {
    diesel::sql_query(
        "SELECT relay_group, epoch, owner, \
         extract(epoch FROM now() - flushed_at)::double precision AS idle_seconds \
         FROM outbox_cursors ORDER BY relay_group",
    )
    .load(&mut conn)
    .await
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// Whether a bucket has a row that lies after its shard's cursor.
///
/// # Errors
/// Those of the query.
pub async fn has_unpublished(mut conn: &Connection, bucket: i32) -> QueryResult<bool> {
    // The janitor's, once per dropped partition. The newest row of each shard decides, found by
    // one step into the index.
    let row: Found = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM outbox_cursors AS c CROSS JOIN generate_series(1, 8) AS n \
         CROSS JOIN LATERAL (SELECT o.seq FROM outbox_events AS o WHERE o.bucket = $1 \
         AND o.shard = (c.relay_group * 8 + n - 1)::smallint ORDER BY o.seq DESC LIMIT 1) AS newest \
         WHERE newest.seq > c.positions[n]) AS found",
    )
    .bind::<Integer, _>(bucket)
    .get_result(&mut conn)
    .await?;
    Ok(row.found)
}
