//! Table `outbox_parked`, as the relay uses it: messages that failed by their own fault, and those
//! of the same customer that wait behind them.
//!
//! A row is written before the cursor passes the message, so it is always in one place or the
//! other. Only the owner of its shard adds rows, publishes them and settles them; staff decides
//! about those that are there (`db::dead_letters`). Every write of an owner carries its epoch and
//! holds the cursor's row while it lasts: a successor reads after it or makes it fail.

use super::Connection;
use super::outbox::Row;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Rows are counted up to here: beyond it their exact number helps nobody.
pub const COUNTED_MAX: i64 = 10_000;

/// Where a message that is kept here stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It failed and is tried again. Its row in the outbox is not passed.
    Trying,
    /// Given up until staff decides.
    Parked,
    /// Of itself it is sound; one before it is not done.
    Behind,
    /// To be published.
    Released,
    Published,
    Discarded,
}

impl State {
    pub const ALL: [Self; 6] = [
        Self::Trying,
        Self::Parked,
        Self::Behind,
        Self::Released,
        Self::Published,
        Self::Discarded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Parked => "parked",
            Self::Behind => "behind",
            Self::Released => "released",
            Self::Published => "published",
            Self::Discarded => "discarded",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a message is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The broker refuses it.
    Refused,
    /// AMQP cannot carry it.
    NotEncodable,
    /// It waits for one before it.
    Behind,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NotEncodable => "not_encodable",
            Self::Behind => "behind",
        }
    }
}

/// By what an owner proves that it still is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    pub groups: Vec<i16>,
    pub epochs: Vec<i64>,
}

impl Fence {
    pub fn push(&mut self, group: i16, epoch: i64) {
        self.groups.push(group);
        self.epochs.push(epoch);
    }
}

/// What is to be noted of a message.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    pub state: State,
    pub reason: Reason,
    /// The broker's words.
    pub detail: Option<&'a str>,
    pub tries: u32,
    pub now: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Ours {
    #[diesel(sql_type = Bool)]
    ours: bool,
}

/// Locks the cursors as far as they still have the owner's epochs. What follows takes $3 and on.
const FENCED: &str = "WITH mine AS MATERIALIZED (SELECT c.relay_group FROM outbox_cursors AS c \
     JOIN unnest($1, $2) AS u (relay_group, epoch) \
     ON c.relay_group = u.relay_group AND c.epoch = u.epoch FOR SHARE OF c)";

/// The last part of a fenced statement: whether all groups were the owner's.
const OURS: &str = "SELECT (SELECT count(*) FROM mine) = cardinality($1) AS ours";

/// Keeps messages out of the outbox, with the same note for each. One that is kept already and is
/// not `trying` stays as it is. False: a group has another owner, and what is kept is its business.
///
/// # Errors
/// Those of the query.
pub async fn keep(
    mut conn: &Connection,
    fence: &Fence,
    rows: &[&Row],
    note: &Note<'_>,
) -> QueryResult<bool> {
    // Rare, so an uncached text does no harm. The bounds spare the plan the other partitions.
    let first = rows.iter().map(|row| row.bucket).min().unwrap_or(0);
    let last = rows.iter().map(|row| row.bucket).max().unwrap_or(0);
    let answer: Ours = diesel::sql_query(format!(
        "{FENCED}, written AS (INSERT INTO outbox_parked AS p (id, shard, seq, customer_id, \
         customer_sequence, kind, occurred_at, traceparent, data, state, reason, detail, tries, parked_at) \
         SELECT e.id, e.shard, e.seq, e.customer_id, e.customer_sequence, e.kind, e.occurred_at, \
         e.traceparent, e.data, $6, $7, $8, $9, $10 \
         FROM unnest($3, $4, $5) AS k (bucket, shard, seq) JOIN mine AS m ON m.relay_group = k.shard / 8 \
         CROSS JOIN LATERAL (SELECT * FROM outbox_events AS o WHERE o.bucket = k.bucket \
         AND o.shard = k.shard AND o.seq = k.seq AND o.bucket BETWEEN {first} AND {last} LIMIT 1) AS e \
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, \
         detail = excluded.detail, tries = excluded.tries, parked_at = excluded.parked_at \
         WHERE p.state = 'trying') {OURS}"
    ))
    .bind::<Array<SmallInt>, _>(&fence.groups)
    .bind::<Array<BigInt>, _>(&fence.epochs)
    .bind::<Array<Integer>, _>(rows.iter().map(|row| row.bucket).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(rows.iter().map(|row| row.shard).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
    .bind::<Text, _>(note.state.as_str())
    .bind::<Text, _>(note.reason.as_str())
    .bind::<Nullable<Text>, _>(note.detail)
    .bind::<Integer, _>(note.tries.try_into().unwrap_or(i32::MAX))
    .bind::<Timestamptz, _>(note.now)
    .get_result(&mut conn)
    .await?;
    Ok(answer.ours)
}

/// Notes a further failure of a message that was released. False: its group has another owner.
///
/// # Errors
/// Those of the query.
pub async fn failed_again(
    mut conn: &Connection,
    fence: &Fence,
    message: Uuid,
    note: &Note<'_>,
) -> QueryResult<bool> {
    let answer: Ours = diesel::sql_query(format!(
        "{FENCED}, written AS (UPDATE outbox_parked AS p SET state = $4, reason = $5, detail = $6, \
         tries = $7, parked_at = $8 FROM mine AS m \
         WHERE p.id = $3 AND p.state = 'released' AND m.relay_group = p.shard / 8) {OURS}"
    ))
    .bind::<Array<SmallInt>, _>(&fence.groups)
    .bind::<Array<BigInt>, _>(&fence.epochs)
    .bind::<SqlUuid, _>(message)
    .bind::<Text, _>(note.state.as_str())
    .bind::<Text, _>(note.reason.as_str())
    .bind::<Nullable<Text>, _>(note.detail)
    .bind::<Integer, _>(note.tries.try_into().unwrap_or(i32::MAX))
    .bind::<Timestamptz, _>(note.now)
    .get_result(&mut conn)
    .await?;
    Ok(answer.ours)
}

/// Notes that released messages are with the broker. False: a group has another owner, who will
/// publish them once more.
///
/// # Errors
/// Those of the query.
pub async fn published(
    mut conn: &Connection,
    fence: &Fence,
    messages: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let answer: Ours = diesel::sql_query(format!(
        "{FENCED}, written AS (UPDATE outbox_parked AS p SET state = 'published', settled_at = $4 \
         FROM mine AS m WHERE p.id = ANY ($3) AND p.state = 'released' \
         AND m.relay_group = p.shard / 8) {OURS}"
    ))
    .bind::<Array<SmallInt>, _>(&fence.groups)
    .bind::<Array<BigInt>, _>(&fence.epochs)
    .bind::<Array<SqlUuid>, _>(messages)
    .bind::<Timestamptz, _>(now)
    .get_result(&mut conn)
    .await?;
    Ok(answer.ours)
}

/// Forgets failures of messages that went out after all.
///
/// # Errors
/// Those of the query.
pub async fn forget_tries(mut conn: &Connection, messages: &[Uuid]) -> QueryResult<()> {
    diesel::sql_query("DELETE FROM outbox_parked WHERE id = ANY ($1) AND state = 'trying'")
        .bind::<Array<SqlUuid>, _>(messages)
        .execute(&mut conn)
        .await
        .map(|_| ())
}

/// Forgets failures of messages that their cursors have passed: who published them ended before it
/// could.
///
/// # Errors
/// Those of the query.
pub async fn forget_passed(
    mut conn: &Connection,
    shards: &[i16],
    positions: &[i64],
) -> QueryResult<()> {
    diesel::sql_query(
        "DELETE FROM outbox_parked AS p USING unnest($1, $2) AS u (shard, position) \
         WHERE p.state = 'trying' AND p.shard = u.shard AND p.seq <= u.position",
    )
    .bind::<Array<SmallInt>, _>(shards)
    .bind::<Array<BigInt>, _>(positions)
    .execute(&mut conn)
    .await
    .map(|_| ())
}

/// What is known of a message beyond a position.
#[derive(Debug, QueryableByName)]
pub struct Beyond {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SmallInt)]
    pub shard: i16,
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = Bool)]
    pub trying: bool,
    #[diesel(sql_type = Integer)]
    pub tries: i32,
}

/// The messages that are kept here and lie beyond their shard's position: the cursor was not
/// written down after them.
///
/// # Errors
/// Those of the query.
pub async fn beyond(
    mut conn: &Connection,
    shards: &[i16],
    positions: &[i64],
) -> QueryResult<Vec<Beyond>> {
    diesel::sql_query(
        "SELECT p.id, p.shard, p.seq, p.state = 'trying' AS trying, p.tries \
         FROM unnest($1, $2) AS u (shard, position) \
         JOIN outbox_parked AS p ON p.shard = u.shard AND p.seq > u.position",
    )
    .bind::<Array<SmallInt>, _>(shards)
    .bind::<Array<BigInt>, _>(positions)
    .load(&mut conn)
    .await
}

/// A customer of whom something waits here.
#[derive(Debug, QueryableByName)]
pub struct WaitingCustomer {
    #[diesel(sql_type = SqlUuid)]
    pub customer_id: Uuid,
    /// Whether the first of it waits for staff.
    #[diesel(sql_type = Bool)]
    pub parked: bool,
}

/// What an owner's eyes pass over when it looks for the next message of a customer.
fn passed_over(pass: bool) -> &'static str {
    match pass {
        false => "p.state <> 'trying'",
        true => "p.state NOT IN ('trying', 'parked')",
    }
}

/// The customers of these shards of whom something waits; with `pass`, something else than what
/// is parked. One step into an index for each.
///
/// # Errors
/// Those of the query.
pub async fn waiting_customers(
    mut conn: &Connection,
    shards: &[i16],
    pass: bool,
) -> QueryResult<Vec<WaitingCustomer>> {
    let open = passed_over(pass);
    let first = |of: &str| {
        format!(
            "CROSS JOIN LATERAL (SELECT p.customer_id, p.state FROM outbox_parked AS p \
             WHERE p.settled_at IS NULL AND {open} AND {of} \
             ORDER BY p.shard, p.customer_id, p.customer_sequence LIMIT 1) AS first"
        )
    };
    diesel::sql_query(format!(
        "WITH RECURSIVE walk AS (\
         SELECT s.shard, first.customer_id, first.state FROM unnest($1) AS s (shard) {} UNION ALL \
         SELECT walk.shard, first.customer_id, first.state FROM walk {}) \
         SELECT customer_id, state = 'parked' AS parked FROM walk",
        first("p.shard = s.shard"),
        first("p.shard = walk.shard AND p.customer_id > walk.customer_id"),
    ))
    .bind::<Array<SmallInt>, _>(shards)
    .load(&mut conn)
    .await
}

#[derive(QueryableByName)]
struct Customer {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
}

/// Customers of these shards about whom staff has decided something that can be carried out, other
/// than those in `except`.
///
/// # Errors
/// Those of the query.
pub async fn decided(
    mut conn: &Connection,
    shards: &[i16],
    except: &[Uuid],
    pass: bool,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    // Once a second. What lies behind something parked has to wait for that.
    let behind = match pass {
        true => "",
        false => {
            "AND NOT EXISTS (SELECT FROM outbox_parked AS e WHERE e.customer_id = p.customer_id \
             AND e.customer_sequence < p.customer_sequence AND e.state = 'parked')"
        }
    };
    let rows: Vec<Customer> = diesel::sql_query(format!(
        "SELECT DISTINCT p.customer_id FROM outbox_parked AS p WHERE p.settled_at IS NULL \
         AND p.state IN ('released', 'discarded') AND p.shard = ANY ($1) \
         AND p.customer_id <> ALL ($2) {behind} LIMIT $3"
    ))
    .bind::<Array<SmallInt>, _>(shards)
    .bind::<Array<SqlUuid>, _>(except)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.customer_id).collect())
}

/// The first message of a customer that waits here.
#[derive(Debug, QueryableByName)]
pub struct Head {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SmallInt)]
    pub shard: i16,
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = SqlUuid)]
    pub customer_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub customer_sequence: i64,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
    #[diesel(sql_type = Text)]
    pub data: String,
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Integer)]
    pub tries: i32,
}

impl From<Head> for Row {
    fn from(head: Head) -> Row {
        Row {
            shard: head.shard,
            seq: head.seq,
            // No cursor waits for it.
            bucket: 0,
            id: head.id,
            customer_id: head.customer_id,
            customer_sequence: head.customer_sequence,
            kind: head.kind,
            occurred_at: head.occurred_at,
            traceparent: head.traceparent,
            data: head.data,
        }
    }
}

/// The first message of each of these customers that waits here, with `pass` other than those that
/// are parked. Customers of whom nothing waits are missing in the answer.
///
/// # Errors
/// Those of the query.
pub async fn heads(
    mut conn: &Connection,
    customers: &[Uuid],
    pass: bool,
) -> QueryResult<Vec<Head>> {
    let open = passed_over(pass);
    diesel::sql_query(format!(
        "SELECT h.id, h.shard, h.seq, h.customer_id, h.customer_sequence, h.kind, h.occurred_at, \
         h.traceparent, h.data::text AS data, h.state, h.tries FROM unnest($1) AS c (id) \
         CROSS JOIN LATERAL (SELECT * FROM outbox_parked AS p WHERE p.customer_id = c.id \
         AND p.settled_at IS NULL AND {open} ORDER BY p.customer_sequence LIMIT 1) AS h"
    ))
    .bind::<Array<SqlUuid>, _>(customers)
    .load(&mut conn)
    .await
}

#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Moves the heads on whose turn it is: what waited behind others is released, so that staff no
/// longer decides about it, and what was discarded is settled. Answers with those that are released.
///
/// # Errors
/// Those of the query.
pub async fn move_on(
    mut conn: &Connection,
    heads: &[Uuid],
    now: DateTime<Utc>,
) -> QueryResult<Vec<Uuid>> {
    let moved: Vec<Moved> = diesel::sql_query(
        "WITH moved AS (UPDATE outbox_parked SET \
         state = CASE state WHEN 'behind' THEN 'released' ELSE state END, \
         settled_at = CASE state WHEN 'discarded' THEN $2 END \
         WHERE id = ANY ($1) AND settled_at IS NULL AND state IN ('behind', 'discarded') \
         RETURNING id, state) SELECT id FROM moved WHERE state = 'released'",
    )
    .bind::<Array<SqlUuid>, _>(heads)
    .bind::<Timestamptz, _>(now)
    .load(&mut conn)
    .await?;
    Ok(moved.into_iter().map(|row| row.id).collect())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many messages of the whole installation are in each state that is not the end, up to
/// [`COUNTED_MAX`].
///
/// # Errors
/// Those of the query.
pub async fn counts(mut conn: &Connection) -> QueryResult<Vec<(State, i64)>> {
    let rows: Vec<Count> = diesel::sql_query(
        "SELECT s.state, (SELECT count(*) FROM (SELECT FROM outbox_parked AS p \
         WHERE p.state = s.state LIMIT $1) AS counted) AS count \
         FROM (VALUES ('trying'), ('parked'), ('behind'), ('released')) AS s (state)",
    )
    .bind::<BigInt, _>(COUNTED_MAX)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((State::parse(&row.state)?, row.count))).collect())
}
