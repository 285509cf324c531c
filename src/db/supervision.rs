//! What operators see of the installation and no process knows by itself: who relays which messages and
//! how late they are, what waits, what is locked.
//!
//! Every question costs a bounded number of steps into an index, however much there is: what is counted
//! is counted up to a limit, and what cannot be counted so is looked for among the latest rows.

use super::outbox::{self, GROUP_SHARDS, Place};
use super::schema::{outbox_parked, segment_builds};
use super::{Connection, deliveries, order_intake, outbox_parked as parked};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Rows are counted up to here: beyond it their exact number helps nobody.
pub const COUNTED_MAX: i64 = 1_000;

/// Buckets of sign-ins that are looked at for locks: those that were tried last.
pub const THROTTLES_LOOKED_AT: i64 = 2_000;

/// Rows that are about to be due are counted up to here in each logical shard.
const FLIPS_OF_SHARD_MAX: i64 = 100;

/// A group of shards of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub group: i16,
    /// Which process relays it, or did last.
    pub owner: Option<String>,
    /// Since its cursor was written; one that does not move is not written.
    pub idle_seconds: Option<f64>,
    /// When the oldest message was written that no cursor has passed; `None`: all are published.
    pub oldest: Option<DateTime<Utc>>,
}

/// Who relays each group, and the oldest message of it that waits. The cursors are the truth, whoever
/// moves them, and whether or not anybody does.
///
/// # Errors
/// Those of the queries.
pub async fn groups(conn: &Connection) -> QueryResult<Vec<Group>> {
    let owners = outbox::owners(conn).await?;
    let cursors = outbox::cursors(conn).await?;
    let places = cursors.iter().flat_map(|cursor| {
        let shards = cursor.group * GROUP_SHARDS..(cursor.group + 1) * GROUP_SHARDS;
        let bucket = (cursor.bucket - 1).max(0);
        shards.zip(&cursor.positions).map(move |(shard, after)| Place {
            shard,
            after: *after,
            bucket,
        })
    });
    let places: Vec<Place> = places.collect();
    let mut oldest = first_after(conn, &places).await?;
    // A group that nobody relays has its cursor where it was hours ago, and each read looks into two
    // hours: what was written since is looked for in the latest two. Its age may be told too low then,
    // and never as nothing.
    let hour = outbox::hour(conn).await?;
    let unseen = |place: &&Place| {
        let group = place.shard / GROUP_SHARDS;
        place.bucket + 1 < hour && !oldest.iter().any(|(of, _)| *of == group)
    };
    let latest: Vec<Place> =
        places.iter().filter(unseen).map(|place| Place { bucket: hour - 1, ..*place }).collect();
    if !latest.is_empty() {
        oldest.extend(first_after(conn, &latest).await?);
    }
    let group = |owner: outbox::Owner| {
        let of_group = oldest.iter().filter(|(group, _)| *group == owner.relay_group);
        Group {
            group: owner.relay_group,
            oldest: of_group.map(|(_, at)| *at).min(),
            owner: owner.owner,
            idle_seconds: owner.idle_seconds,
        }
    };
    Ok(owners.into_iter().map(group).collect())
}

/// The first message after each place, by its group.
async fn first_after(
    conn: &Connection,
    places: &[Place],
) -> QueryResult<Vec<(i16, DateTime<Utc>)>> {
    let rows = outbox::next(conn, places, 1).await?;
    Ok(rows.into_iter().map(|row| (row.shard / GROUP_SHARDS, row.occurred_at)).collect())
}

/// Messages that could not be published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetters {
    /// How many are in each state that is not the end.
    pub counts: Vec<(parked::State, i64)>,
    /// Since when the first that waits for staff is parked.
    pub oldest: Option<DateTime<Utc>>,
}

/// What is kept of messages that could not be published.
///
/// # Errors
/// Those of the queries.
pub async fn dead_letters(mut conn: &Connection) -> QueryResult<DeadLetters> {
    let counts = parked::counts(conn).await?;
    let oldest = outbox_parked::table
        .filter(outbox_parked::state.eq(parked::State::Parked.as_str()))
        .order(outbox_parked::id)
        .select(outbox_parked::parked_at)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(DeadLetters { counts, oldest })
}

/// Customers whose segments time alone may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Flips {
    /// When the next is due; in the past: the evaluator is behind.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next: Option<DateTime<Utc>>,
    /// How many are due within an hour, each logical shard's up to a hundred.
    #[diesel(sql_type = BigInt)]
    pub within_hour: i64,
}

/// When time will turn somebody's segments.
///
/// # Errors
/// Those of the query.
pub async fn flips(mut conn: &Connection, now: DateTime<Utc>) -> QueryResult<Flips> {
    diesel::sql_query(
        "SELECT (SELECT min(f.due_at) FROM generate_series(0, 63) AS s CROSS JOIN LATERAL \
         (SELECT due_at FROM segment_flips WHERE shard = s::smallint ORDER BY due_at LIMIT 1) AS f) AS next, \
         (SELECT count(*) FROM generate_series(0, 63) AS s CROSS JOIN LATERAL \
         (SELECT FROM segment_flips WHERE shard = s::smallint AND due_at <= $1 LIMIT $2) AS f) AS within_hour",
    )
    .bind::<Timestamptz, _>(now + TimeDelta::hours(1))
    .bind::<BigInt, _>(FLIPS_OF_SHARD_MAX)
    .get_result(&mut conn)
    .await
}

/// Walks that carry a segment's new revision to all customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walks {
    pub open: i64,
    pub looked_at: i64,
    /// How many customers there were when they began, about.
    pub total: i64,
}

/// The walks that are under way, at most a hundred.
///
/// # Errors
/// Those of the query.
pub async fn walks(mut conn: &Connection) -> QueryResult<Walks> {
    let rows: Vec<(i64, i64)> = segment_builds::table
        .filter(segment_builds::finished_at.is_null())
        .order(segment_builds::started_at)
        .limit(100)
        .select((segment_builds::looked_at, segment_builds::total))
        .load(&mut conn)
        .await?;
    let add = |sum: Walks, (looked_at, total): &(i64, i64)| Walks {
        open: sum.open + 1,
        looked_at: sum.looked_at + looked_at,
        total: sum.total + total,
    };
    Ok(rows.iter().fold(Walks::default(), add))
}

/// Deletions by where they are.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct ErasureStep {
    /// `scheduled`, or the name of a step that is not done.
    #[diesel(sql_type = Text)]
    pub step: String,
    /// `waiting`, `sent`, `failed`.
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// When the first of them is looked at, or was commanded.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub first: Option<DateTime<Utc>>,
}

/// Deletions in their grace, and the steps of those under way that are not done; each counted up to
/// [`COUNTED_MAX`].
///
/// # Errors
/// Those of the query.
pub async fn erasures(mut conn: &Connection) -> QueryResult<Vec<ErasureStep>> {
    diesel::sql_query(
        "SELECT 'scheduled' AS step, 'waiting' AS state, count(*) AS count, min(look_at) AS first FROM \
         (SELECT look_at FROM erasures WHERE state = 'scheduled' ORDER BY look_at LIMIT $1) AS waiting \
         HAVING count(*) > 0 UNION ALL \
         (SELECT name, state, count(*), min(sent_at) FROM (SELECT name, state, sent_at FROM erasure_steps \
         WHERE state <> 'done' LIMIT $1) AS open GROUP BY name, state ORDER BY name, state)",
    )
    .bind::<BigInt, _>(COUNTED_MAX)
    .load(&mut conn)
    .await
}

/// Locks against guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Locks {
    /// Of those looked at, how many are locked now.
    #[diesel(sql_type = BigInt)]
    pub locked: i64,
    #[diesel(sql_type = BigInt)]
    pub looked_at: i64,
}

/// How many of the buckets that were tried last are locked.
///
/// # Errors
/// Those of the query.
pub async fn locks(mut conn: &Connection, now: DateTime<Utc>) -> QueryResult<Locks> {
    diesel::sql_query(
        "SELECT count(*) FILTER (WHERE locked_until > $1) AS locked, count(*) AS looked_at FROM \
         (SELECT locked_until FROM sign_in_throttles ORDER BY updated_at DESC LIMIT $2) AS latest",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(THROTTLES_LOOKED_AT)
    .get_result(&mut conn)
    .await
}

/// All of it, at one moment.
#[derive(Clone, Debug)]
pub struct Installation {
    pub groups: Vec<Group>,
    pub dead_letters: DeadLetters,
    pub mails: deliveries::Backlog,
    pub text_messages: deliveries::Backlog,
    /// By the reason: how many, and since when the oldest.
    pub parked_orders: Vec<(order_intake::ParkReason, i64, Option<DateTime<Utc>>)>,
    pub flips: Flips,
    pub walks: Walks,
    pub erasures: Vec<ErasureStep>,
    pub locks: Locks,
}

/// Asks for all of it.
///
/// # Errors
/// Those of the queries.
pub async fn installation(conn: &Connection, now: DateTime<Utc>) -> QueryResult<Installation> {
    let mut parked_orders = Vec::new();
    for reason in order_intake::ParkReason::ALL {
        let (count, oldest) = order_intake::parked(conn, reason, COUNTED_MAX).await?;
        parked_orders.push((reason, count, oldest));
    }
    Ok(Installation {
        groups: groups(conn).await?,
        dead_letters: dead_letters(conn).await?,
        mails: deliveries::backlog(conn, deliveries::Queue::Mails, now).await?,
        text_messages: deliveries::backlog(conn, deliveries::Queue::TextMessages, now).await?,
        parked_orders,
        flips: flips(conn, now).await?,
        walks: walks(conn).await?,
        erasures: erasures(conn).await?,
        locks: locks(conn, now).await?,
    })
}
