//! Table `segment_cursors`: how far the outbox was looked at for changes of membership, and by whom. As
//! the relay's cursors are kept (`outbox`): the lock says who owns a group, the epoch refuses what an
//! earlier owner still writes.

use super::Connection;
use super::outbox::Cursor;
use super::schema::segment_cursors;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, SmallInt};
use diesel_async::RunQueryDsl;

/// Namespace of the advisory locks.
const GROUP_LOCKS: i32 = 7263;

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = SmallInt)]
    shard_group: i16,
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
    // Once a second at most. Locked first and read in a second statement: its snapshot must be later
    // than the last flush of the owner before.
    let locked: Vec<GroupRow> = diesel::sql_query(
        "SELECT g AS shard_group FROM unnest($1) AS g WHERE pg_try_advisory_lock($2, g)",
    )
    .bind::<Array<SmallInt>, _>(groups)
    .bind::<Integer, _>(GROUP_LOCKS)
    .load(&mut conn)
    .await?;
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    let locked: Vec<i16> = locked.into_iter().map(|row| row.shard_group).collect();
    diesel::update(segment_cursors::table.filter(segment_cursors::shard_group.eq_any(locked)))
        .set((
            segment_cursors::epoch.eq(segment_cursors::epoch + 1),
            segment_cursors::owner.eq(owner),
        ))
        .returning((
            segment_cursors::shard_group,
            segment_cursors::epoch,
            segment_cursors::positions,
            segment_cursors::bucket,
        ))
        .get_results(&mut conn)
        .await
}

/// Gives groups back, so that another node need not wait for the end of the session.
///
/// # Errors
/// Those of the query.
pub async fn release(mut conn: &Connection, groups: &[i16]) -> QueryResult<()> {
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
    let positions: Vec<i64> =
        cursors.iter().flat_map(|cursor| cursor.positions.iter().copied()).collect();
    let written: Vec<GroupRow> = diesel::sql_query(
        "UPDATE segment_cursors AS c SET positions = ($4::bigint[])[u.n * 8 - 7 : u.n * 8], \
         bucket = u.bucket, flushed_at = now() \
         FROM unnest($1, $2, $3) WITH ORDINALITY AS u (shard_group, epoch, bucket, n) \
         WHERE c.shard_group = u.shard_group AND c.epoch = u.epoch RETURNING c.shard_group",
    )
    .bind::<Array<SmallInt>, _>(cursors.iter().map(|cursor| cursor.group).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(cursors.iter().map(|cursor| cursor.epoch).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(cursors.iter().map(|cursor| cursor.bucket).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(positions)
    .load(&mut conn)
    .await?;
    Ok(written.into_iter().map(|row| row.shard_group).collect())
}

/// All cursors, for operators and the janitor.
///
/// # Errors
/// Those of the query.
pub async fn cursors(mut conn: &Connection) -> QueryResult<Vec<Cursor>> {
    segment_cursors::table
        .select((
            segment_cursors::shard_group,
            segment_cursors::epoch,
            segment_cursors::positions,
            segment_cursors::bucket,
        ))
        .order(segment_cursors::shard_group)
        .load(&mut conn)
        .await
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// Whether a bucket of the outbox has a row that lies after its shard's cursor.
///
/// # Errors
/// Those of the query.
pub async fn has_unseen(mut conn: &Connection, bucket: i32) -> QueryResult<bool> {
    // As `outbox::has_unpublished`.
    let row: Found = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM segment_cursors AS c CROSS JOIN generate_series(1, 8) AS n \
         CROSS JOIN LATERAL (SELECT o.seq FROM outbox_events AS o WHERE o.bucket = $1 \
         AND o.shard = (c.shard_group * 8 + n - 1)::smallint ORDER BY o.seq DESC LIMIT 1) AS newest \
         WHERE newest.seq > c.positions[n]) AS found",
    )
    .bind::<Integer, _>(bucket)
    .get_result(&mut conn)
    .await?;
    Ok(row.found)
}
