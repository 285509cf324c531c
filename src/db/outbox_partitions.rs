//! The partitions of `outbox_events`: one an hour, made ahead of time and dropped as a whole, so
//! that the outbox never deletes row by row and never bloats.
//!
//! Rows of an hour without a partition lie in the default one. That costs nothing but the
//! cheapness of getting rid of them, so each step here may fail and be tried again later. Nor does
//! any step wait long for a lock on the outbox (200 ms): writers queue up behind one that waits.

use super::Connection;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Timestamptz};
use diesel_async::RunQueryDsl;

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
/// Those of the function: a lock that could not be had soon, an hour that has rows in the
/// default partition, or another node that made it first. Nothing is left behind.
pub async fn create(conn: &Connection, bucket: i32) -> QueryResult<()> {
    by_owner(conn, "SELECT outbox_partition_make($1)", bucket).await
}

/// Drops the partition of an hour with all its rows. The caller has made sure that nobody needs
/// them.
///
/// # Errors
/// Those of the function: messages that no cursor has passed; mostly a lock that could not be had
/// soon. (`DETACH … CONCURRENTLY` is refused where a default partition exists (PostgreSQL 15), so
/// the parent is locked for the moment that it takes to forget a table.)
pub async fn drop(conn: &Connection, bucket: i32) -> QueryResult<()> {
    by_owner(conn, "SELECT outbox_partition_drop($1)", bucket).await
}

/// What only the owner of the tables may do is done by functions of the migrations, as their owner.
async fn by_owner(mut conn: &Connection, call: &str, bucket: i32) -> QueryResult<()> {
    let calling = diesel::sql_query(call).bind::<Integer, _>(bucket);
    calling.execute(&mut conn).await.map(|_| ())
}

#[derive(QueryableByName)]
struct Deleted {
    #[diesel(sql_type = BigInt)]
    count: i64,
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
    let deleted: Deleted = diesel::sql_query("SELECT outbox_default_clear($1, $2) AS count")
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(limit)
        .get_result(&mut conn)
        .await?;
    Ok(usize::try_from(deleted.count).unwrap_or_default())
}
