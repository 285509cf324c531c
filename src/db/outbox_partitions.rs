//! The partitions of `outbox_events`: one an hour, made ahead of time and dropped as a whole, so
//! that the outbox never deletes row by row and never bloats.
//!
//! Rows of an hour without a partition lie in the default one. That costs nothing but the
//! cheapness of getting rid of them, so each step here may fail and be tried again later.

use super::Connection;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Timestamptz};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

/// Longest wait for a lock on the outbox. Writers queue up behind a waiting one, so it is short.
const LOCK_TIMEOUT_MS: u32 = 200;

#[derive(QueryableByName)]
struct Bucket {
    #[diesel(sql_type = Integer)]
    bucket: i32,
}

/// The hours that have a partition of their own, ascending.
///
/// # Errors
/// Those of the query.
pub async fn list(mut conn: &Connection) -> QueryResult<Vec<i32>> {
    // Reads the catalogue, once a minute.
    let rows: Vec<Bucket> = diesel::sql_query(
        "SELECT substring(c.relname FROM '^outbox_events_([0-9]+)$')::integer AS bucket \
         FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'outbox_events'::regclass AND c.relname ~ '^outbox_events_[0-9]+$' \
         ORDER BY 1",
    )
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.bucket).collect())
}

/// The hours of which rows lie in the default partition: no partition can be made for them.
///
/// # Errors
/// Those of the query.
pub async fn strays(mut conn: &Connection) -> QueryResult<Vec<i32>> {
    // Once a minute, on a table that is empty as long as the janitor works. The recursion steps
    // from hour to hour over the index instead of reading every row.
    let rows: Vec<Bucket> = diesel::sql_query(
        "WITH RECURSIVE hours AS (\
         SELECT min(bucket) AS bucket FROM outbox_events_default UNION ALL \
         SELECT (SELECT min(d.bucket) FROM outbox_events_default AS d WHERE d.bucket > hours.bucket) \
         FROM hours WHERE hours.bucket IS NOT NULL) \
         SELECT bucket FROM hours WHERE bucket IS NOT NULL",
    )
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.bucket).collect())
}

/// Makes the partition of an hour.
///
/// # Errors
/// Those of the statements: a lock that could not be had soon, an hour that has rows in the
/// default partition, or another node that made it first. Nothing is left behind.
pub async fn create(conn: &mut Connection, bucket: i32) -> QueryResult<()> {
    let until = bucket + 1;
    // Built apart and attached, which locks writers out of nothing; several statements in one
    // message are one transaction.
    conn.batch_execute(&format!(
        "SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; \
         CREATE TABLE outbox_events_{bucket} (LIKE outbox_events INCLUDING ALL); \
         ALTER TABLE outbox_events ATTACH PARTITION outbox_events_{bucket} \
         FOR VALUES FROM ({bucket}) TO ({until})"
    ))
    .await
}

/// Drops the partition of an hour with all its rows. The caller has made sure that nobody needs
/// them.
///
/// # Errors
/// Those of the statements, mostly a lock that could not be had soon.
pub async fn drop(conn: &mut Connection, bucket: i32) -> QueryResult<()> {
    // DETACH … CONCURRENTLY is refused where a default partition exists (PostgreSQL 15), so the
    // parent is locked for the moment that it takes to forget a table.
    conn.batch_execute(&format!(
        "SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; DROP TABLE IF EXISTS outbox_events_{bucket}"
    ))
    .await
}

/// Deletes published rows of the default partition that were decided before `before`, at most
/// `limit`. Answers with their number.
///
/// # Errors
/// Those of the query.
pub async fn clear_default(
    mut conn: &Connection,
    before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    diesel::sql_query(
        "DELETE FROM outbox_events_default WHERE ctid = ANY (ARRAY(\
         SELECT d.ctid FROM outbox_events_default AS d \
         JOIN outbox_cursors AS c ON c.relay_group = d.shard / 8 \
         WHERE d.occurred_at < $1 AND d.seq <= c.positions[d.shard % 8 + 1] \
         AND d.bucket < c.bucket - 1 LIMIT $2 FOR UPDATE OF d SKIP LOCKED))",
    )
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(limit)
    .execute(&mut conn)
    .await
}
