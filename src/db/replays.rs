//! Messages of one customer that were published and are still here, to be published once more to
//! one consumer. The body of a message is one step into an index away.

use super::Connection;
use super::outbox::Row;
use crate::domain::CustomerId;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use super::outbox_parked::Head;

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Kept {
    #[diesel(sql_type = Integer)]
    pub bucket: i32,
    #[diesel(sql_type = SmallInt)]
    pub shard: i16,
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = BigInt)]
    pub customer_sequence: i64,
}

/// The messages about a customer that a cursor has passed and that are not kept back, by their
/// sequence, from `first` to `last`, both included.
///
/// # Errors
/// Those of the query.
pub async fn kept(
    mut conn: &Connection,
    customer: CustomerId,
    first: i64,
    last: i64,
    limit: i64,
) -> QueryResult<Vec<Kept>> {
    diesel::sql_query(
        "SELECT e.bucket, e.shard, e.seq, e.customer_sequence FROM outbox_events AS e \
         JOIN outbox_cursors AS c ON c.relay_group = e.shard / 8 \
         WHERE e.customer_id = $1 AND e.customer_sequence BETWEEN $2 AND $3 \
         AND e.seq <= c.positions[e.shard % 8 + 1] AND NOT EXISTS (SELECT FROM outbox_parked AS p \
         WHERE p.id = e.id AND p.state <> 'published') \
         ORDER BY e.customer_sequence LIMIT $4",
    )
    .bind::<SqlUuid, _>(customer.0)
    .bind::<BigInt, _>(first)
    .bind::<BigInt, _>(last)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await
}

#[derive(QueryableByName)]
struct Sequence {
    #[diesel(sql_type = BigInt)]
    customer_sequence: i64,
}

/// The sequences of the customer's messages that are kept back or were discarded, ascending.
///
/// # Errors
/// Those of the query.
pub async fn withheld(
    mut conn: &Connection,
    customer: CustomerId,
    first: i64,
    last: i64,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    let rows: Vec<Sequence> = diesel::sql_query(
        "SELECT customer_sequence FROM outbox_parked WHERE customer_id = $1 \
         AND customer_sequence BETWEEN $2 AND $3 AND state <> 'published' \
         ORDER BY customer_sequence LIMIT $4",
    )
    .bind::<SqlUuid, _>(customer.0)
    .bind::<BigInt, _>(first)
    .bind::<BigInt, _>(last)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.customer_sequence).collect())
}

/// The messages at these places, in the order of their customer's sequence. One whose partition
/// was dropped meanwhile is missing.
///
/// # Errors
/// Those of the query.
pub async fn bodies(mut conn: &Connection, places: &[Kept]) -> QueryResult<Vec<Row>> {
    let first = places.iter().map(|place| place.bucket).min().unwrap_or(0);
    let last = places.iter().map(|place| place.bucket).max().unwrap_or(0);
    let rows: Vec<Head> = diesel::sql_query(format!(
        "SELECT e.id, e.shard, e.seq, e.customer_id, e.customer_sequence, e.kind, e.occurred_at, \
         e.traceparent, e.data::text AS data, 'published' AS state, 0 AS tries \
         FROM unnest($1, $2, $3) AS k (bucket, shard, seq) \
         CROSS JOIN LATERAL (SELECT * FROM outbox_events AS o WHERE o.bucket = k.bucket \
         AND o.shard = k.shard AND o.seq = k.seq AND o.bucket BETWEEN {first} AND {last} LIMIT 1) AS e \
         ORDER BY e.customer_sequence"
    ))
    .bind::<Array<Integer>, _>(places.iter().map(|place| place.bucket).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(places.iter().map(|place| place.shard).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(places.iter().map(|place| place.seq).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(Row::from).collect())
}
