//! Table `segment_counts`: how many members each segment had, at full hours.

use super::Connection;
use super::schema::{segment_counts, segments};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Segments that were not counted at an hour yet, at most `limit`.
///
/// # Errors
/// Those of the query.
pub async fn uncounted(
    mut conn: &Connection,
    hour: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    let counted = segment_counts::table
        .filter(segment_counts::segment_id.eq(segments::id))
        .filter(segment_counts::counted_at.eq(hour));
    segments::table
        .filter(diesel::dsl::not(diesel::dsl::exists(counted)))
        .order(segments::code)
        .limit(limit)
        .select(segments::id)
        .load(&mut conn)
        .await
}

/// Counts the members of a segment, as those of an hour. Reads them all: a range of an index.
///
/// # Errors
/// Those of the statement.
pub async fn count(mut conn: &Connection, segment: Uuid, hour: DateTime<Utc>) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO segment_counts (segment_id, counted_at, members) \
         SELECT s.id, $2, (SELECT count(*) FROM segment_members AS m WHERE m.segment_id = s.id) \
         FROM segments AS s WHERE s.id = $1 ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid, _>(segment)
    .bind::<Timestamptz, _>(hour)
    .execute(&mut conn)
    .await
    .map(|_| ())
}

/// The last count of a segment within a piece of time.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Count {
    #[diesel(sql_type = SqlUuid)]
    pub segment_id: Uuid,
    /// The number of the piece, from 0.
    #[diesel(sql_type = Integer)]
    pub piece: i32,
    #[diesel(sql_type = Timestamptz)]
    pub counted_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub members: i64,
}

/// The last counts of segments within each piece, from one bound to the next one; pieces without a count
/// are left out.
///
/// # Errors
/// Those of the query.
pub async fn last_of_each(
    mut conn: &Connection,
    segments: &[Uuid],
    bounds: &[DateTime<Utc>],
) -> QueryResult<Vec<Count>> {
    let from: Vec<_> = bounds.iter().take(bounds.len().saturating_sub(1)).copied().collect();
    let to: Vec<_> = bounds.iter().skip(1).copied().collect();
    diesel::sql_query(
        "SELECT s.id AS segment_id, (p.number - 1)::integer AS piece, k.counted_at, k.members \
         FROM unnest($1) AS s (id) \
         CROSS JOIN unnest($2, $3) WITH ORDINALITY AS p (since, until, number) \
         CROSS JOIN LATERAL (SELECT counted_at, members FROM segment_counts AS k \
         WHERE k.segment_id = s.id AND k.counted_at >= p.since AND k.counted_at < p.until \
         ORDER BY k.counted_at DESC LIMIT 1) AS k ORDER BY p.number",
    )
    .bind::<Array<SqlUuid>, _>(segments)
    .bind::<Array<Timestamptz>, _>(from)
    .bind::<Array<Timestamptz>, _>(to)
    .load(&mut conn)
    .await
}

/// The segments that had the most members when they were counted last, at most `limit`.
///
/// # Errors
/// Those of the query.
pub async fn largest(mut conn: &Connection, limit: i64) -> QueryResult<Vec<(Uuid, String)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = diesel::sql_types::Text)]
        code: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT s.id, s.code FROM (SELECT id, code FROM segments ORDER BY code) AS s \
         CROSS JOIN LATERAL (SELECT members FROM segment_counts AS k WHERE k.segment_id = s.id ORDER BY k.counted_at DESC LIMIT 1) AS k \
         ORDER BY k.members DESC, s.code LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.code)).collect())
}
