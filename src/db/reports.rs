//! Figures about all customers, counted where the rows are: registrations, sign-ins, orders, consents,
//! cohorts, scores.
//!
//! Which day an instant is in is not this file's matter: it is given where the pieces begin, and the
//! server looks each instant up among them (`width_bucket`). Statements are made for each call: their
//! plans depend on how long the range is.

use super::Connection;
use crate::domain::analytics::cohorts::Cell;
use crate::domain::analytics::rfm::{CutPoints, Score};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Which rows are counted.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Where the pieces begin, and where the last one ends; at least two, ascending.
    pub bounds: Vec<DateTime<Utc>>,
    /// Of this customer group alone.
    pub group: Option<String>,
}

impl Slice {
    fn ends(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        match self.bounds[..] {
            [first, .., last] => (first, last),
            _ => Default::default(),
        }
    }
}

/// Registrations of a piece (from 0) and a group.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Registrations {
    #[diesel(sql_type = Integer)]
    pub piece: i32,
    #[diesel(sql_type = Text)]
    pub group_code: String,
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
    /// With a verified address by now.
    #[diesel(sql_type = BigInt)]
    pub verified: i64,
}

/// Living customers by when they came to be.
///
/// # Errors
/// Those of the query.
pub async fn registrations(
    mut conn: &Connection,
    slice: &Slice,
) -> QueryResult<Vec<Registrations>> {
    let (from, to) = slice.ends();
    diesel::sql_query(
        "SELECT width_bucket(created_at, $1) - 1 AS piece, group_code, count(*) AS customers, \
         count(email_verified_at) AS verified FROM customers \
         WHERE deleted_at IS NULL AND created_at >= $2 AND created_at < $3 \
         AND ($4 IS NULL OR group_code = $4) GROUP BY 1, 2",
    )
    .bind::<Array<Timestamptz>, _>(&slice.bounds)
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .bind::<Nullable<Text>, _>(&slice.group)
    .load(&mut conn)
    .await
}

/// Sign-ins of a piece and a group; of the whole range where `piece` is empty.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct SignIns {
    #[diesel(sql_type = Nullable<Integer>)]
    pub piece: Option<i32>,
    #[diesel(sql_type = Text)]
    pub group_code: String,
    #[diesel(sql_type = BigInt)]
    pub sign_ins: i64,
    /// Different customers among them.
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
}

/// Sessions that began, by the audit trail.
///
/// # Errors
/// Those of the query.
pub async fn sign_ins(mut conn: &Connection, slice: &Slice) -> QueryResult<Vec<SignIns>> {
    let (from, to) = slice.ends();
    diesel::sql_query(
        "SELECT piece, group_code, count(*) AS sign_ins, count(DISTINCT customer_id) AS customers \
         FROM (SELECT width_bucket(a.occurred_at, $1) - 1 AS piece, c.group_code, a.customer_id \
         FROM audit_entries AS a JOIN customers AS c ON c.id = a.customer_id \
         WHERE a.action = 'sign_in.succeeded' AND a.occurred_at >= $2 AND a.occurred_at < $3 \
         AND ($4 IS NULL OR c.group_code = $4)) AS s \
         GROUP BY GROUPING SETS ((piece, group_code), (group_code))",
    )
    .bind::<Array<Timestamptz>, _>(&slice.bounds)
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .bind::<Nullable<Text>, _>(&slice.group)
    .load(&mut conn)
    .await
}

/// Orders of a piece and a group; of the whole range where `piece` is empty. Amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Orders {
    #[diesel(sql_type = Nullable<Integer>)]
    pub piece: Option<i32>,
    #[diesel(sql_type = Text)]
    pub group_code: String,
    /// Not cancelled.
    #[diesel(sql_type = BigInt)]
    pub orders: i64,
    #[diesel(sql_type = BigInt)]
    pub cancelled: i64,
    /// Different ones among those whose orders were not cancelled.
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
    #[diesel(sql_type = BigInt)]
    pub revenue: i64,
    #[diesel(sql_type = BigInt)]
    pub refunded: i64,
}

/// Orders in one currency by when they were placed, whatever became of the customer.
///
/// # Errors
/// Those of the query.
pub async fn orders(
    mut conn: &Connection,
    slice: &Slice,
    currency: &str,
) -> QueryResult<Vec<Orders>> {
    let (from, to) = slice.ends();
    diesel::sql_query(
        "SELECT piece, group_code, count(*) FILTER (WHERE counts) AS orders, \
         count(*) FILTER (WHERE NOT counts) AS cancelled, \
         count(DISTINCT customer_id) FILTER (WHERE counts) AS customers, \
         least(coalesce(sum(total - refunded) FILTER (WHERE counts), 0), 9223372036854775807)::bigint AS revenue, \
         least(coalesce(sum(refunded) FILTER (WHERE counts), 0), 9223372036854775807)::bigint AS refunded \
         FROM (SELECT width_bucket(f.placed_at, $1) - 1 AS piece, c.group_code, f.customer_id, \
         f.status <> 'cancelled' AS counts, f.total_amount AS total, \
         least(f.refunded_amount, f.total_amount) AS refunded \
         FROM order_facts AS f JOIN customers AS c ON c.id = f.customer_id \
         WHERE f.placed_at >= $2 AND f.placed_at < $3 AND f.currency = $5 \
         AND ($4 IS NULL OR c.group_code = $4)) AS o \
         GROUP BY GROUPING SETS ((piece, group_code), (group_code))",
    )
    .bind::<Array<Timestamptz>, _>(&slice.bounds)
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .bind::<Nullable<Text>, _>(&slice.group)
    .bind::<Text, _>(currency)
    .load(&mut conn)
    .await
}

/// Declarations of a piece about a purpose.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Consents {
    #[diesel(sql_type = Integer)]
    pub piece: i32,
    #[diesel(sql_type = Text)]
    pub purpose: String,
    #[diesel(sql_type = Text)]
    pub channel: String,
    #[diesel(sql_type = Bool)]
    pub granted: bool,
    #[diesel(sql_type = BigInt)]
    pub entries: i64,
}

/// Grants and withdrawals by the ledger.
///
/// # Errors
/// Those of the query.
pub async fn consents(mut conn: &Connection, slice: &Slice) -> QueryResult<Vec<Consents>> {
    let (from, to) = slice.ends();
    diesel::sql_query(
        "SELECT width_bucket(e.occurred_at, $1) - 1 AS piece, e.purpose, e.channel, e.granted, \
         count(*) AS entries FROM consent_entries AS e JOIN customers AS c ON c.id = e.customer_id \
         WHERE e.occurred_at >= $2 AND e.occurred_at < $3 AND ($4 IS NULL OR c.group_code = $4) \
         GROUP BY 1, 2, 3, 4",
    )
    .bind::<Array<Timestamptz>, _>(&slice.bounds)
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .bind::<Nullable<Text>, _>(&slice.group)
    .load(&mut conn)
    .await
}

/// Living customers who agree to a purpose now.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct ConsentsHeld {
    #[diesel(sql_type = Text)]
    pub purpose: String,
    #[diesel(sql_type = Text)]
    pub channel: String,
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
}

/// By purpose and channel.
///
/// # Errors
/// Those of the query.
pub async fn consents_held(
    mut conn: &Connection,
    group: Option<&str>,
) -> QueryResult<Vec<ConsentsHeld>> {
    diesel::sql_query(
        "SELECT h.purpose, h.channel, count(*) AS customers \
         FROM consents AS h JOIN customers AS c ON c.id = h.customer_id \
         WHERE h.granted AND c.deleted_at IS NULL AND ($1 IS NULL OR c.group_code = $1) \
         GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind::<Nullable<Text>, _>(group)
    .load(&mut conn)
    .await
}

#[derive(QueryableByName)]
struct CellRow {
    #[diesel(sql_type = Integer)]
    cohort: i32,
    #[diesel(sql_type = Integer)]
    since: i32,
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = BigInt)]
    revenue: i64,
}

/// Customers by the piece of their first order in a currency, and what they ordered in which piece.
///
/// # Errors
/// Those of the query.
pub async fn cohorts(
    mut conn: &Connection,
    slice: &Slice,
    currency: &str,
) -> QueryResult<Vec<Cell>> {
    let (from, to) = slice.ends();
    let rows: Vec<CellRow> = diesel::sql_query(
        "WITH members AS MATERIALIZED (SELECT s.customer_id, width_bucket(s.first_order_at, $1) AS cohort \
         FROM order_statistics AS s JOIN customers AS c ON c.id = s.customer_id \
         WHERE s.currency = $5 AND s.first_order_at >= $2 AND s.first_order_at < $3 \
         AND ($4 IS NULL OR c.group_code = $4)), \
         bought AS (SELECT m.cohort, m.customer_id, width_bucket(f.placed_at, $1) AS piece, \
         f.total_amount - least(f.refunded_amount, f.total_amount) AS paid \
         FROM members AS m JOIN order_facts AS f ON f.customer_id = m.customer_id \
         AND f.currency = $5 AND f.status <> 'cancelled' AND f.placed_at >= $2 AND f.placed_at < $3) \
         SELECT cohort - 1 AS cohort, piece - cohort AS since, count(DISTINCT customer_id) AS customers, \
         least(sum(paid), 9223372036854775807)::bigint AS revenue \
         FROM bought WHERE piece >= cohort GROUP BY 1, 2",
    )
    .bind::<Array<Timestamptz>, _>(&slice.bounds)
    .bind::<Timestamptz, _>(from)
    .bind::<Timestamptz, _>(to)
    .bind::<Nullable<Text>, _>(&slice.group)
    .bind::<Text, _>(currency)
    .load(&mut conn)
    .await?;
    let place = |number: i32| usize::try_from(number).unwrap_or_default();
    let cell = |row: CellRow| Cell {
        cohort: place(row.cohort),
        since: place(row.since),
        customers: row.customers,
        revenue: row.revenue,
    };
    Ok(rows.into_iter().map(cell).collect())
}

/// Living customers of one score, and what they have spent, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    pub score: Score,
    pub customers: i64,
    pub spent: i64,
    pub orders: i64,
}

#[derive(QueryableByName)]
struct ScoredRow {
    #[diesel(sql_type = Integer)]
    recency: i32,
    #[diesel(sql_type = Integer)]
    frequency: i32,
    #[diesel(sql_type = Integer)]
    monetary: i32,
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = BigInt)]
    spent: i64,
    #[diesel(sql_type = BigInt)]
    orders: i64,
}

/// How many customers have which score now. That a value is above a cut point is, in whole numbers,
/// that the one before it is not below.
///
/// # Errors
/// Those of the query.
pub async fn scores(
    mut conn: &Connection,
    cuts: &CutPoints,
    (now, zone): (DateTime<Utc>, Tz),
    currency: &str,
    group: Option<&str>,
) -> QueryResult<Vec<Scored>> {
    let rows: Vec<ScoredRow> = diesel::sql_query(
        "SELECT width_bucket(s.last_order_at, $1) AS recency, \
         width_bucket((s.placed + s.completed + s.refunded)::bigint - 1, $2) AS frequency, \
         width_bucket(s.spent_amount - 1, $3) AS monetary, count(*) AS customers, \
         least(sum(s.spent_amount), 9223372036854775807)::bigint AS spent, \
         sum(s.placed + s.completed + s.refunded)::bigint AS orders \
         FROM order_statistics AS s JOIN customers AS c ON c.id = s.customer_id \
         WHERE s.currency = $4 AND s.first_order_at IS NOT NULL AND c.deleted_at IS NULL \
         AND ($5 IS NULL OR c.group_code = $5) GROUP BY 1, 2, 3",
    )
    .bind::<Array<Timestamptz>, _>(cuts.recency_bounds(now, zone).to_vec())
    .bind::<Array<BigInt>, _>(cuts.orders.to_vec())
    .bind::<Array<BigInt>, _>(cuts.spent.to_vec())
    .bind::<Text, _>(currency)
    .bind::<Nullable<Text>, _>(group)
    .load(&mut conn)
    .await?;
    let scored = |row: ScoredRow| Scored {
        score: Score::from_passed(row.recency, row.frequency, row.monetary),
        customers: row.customers,
        spent: row.spent,
        orders: row.orders,
    };
    Ok(rows.into_iter().map(scored).collect())
}
