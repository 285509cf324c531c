//! What is kept of orders, held against where it comes from (rule O4).
//!
//! A comparison is one statement, which sees one moment: a fact and the statistics that it changed
//! are committed together, so what goes on meanwhile never looks like a difference. No row is
//! locked by it.

use super::Connection;
use super::schema::order_facts;
use crate::domain::CustomerId;
use crate::domain::order::{OrderId, Span, Statistics};
use crate::domain::place::Currency;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Statistics with the kept facts.
    Facts,
    /// The kept facts with what the order service says.
    OrderService,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Facts, Self::OrderService];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::OrderService => "order_service",
        }
    }
}

// --- counted anew -----------------------------------------------------------------------------

/// What facts `f` come to; sums end where those of the statistics do.
macro_rules! counted {
    () => {
        "f.customer_id, f.currency, \
         (count(*) FILTER (WHERE f.status = 'placed'))::integer AS placed, \
         (count(*) FILTER (WHERE f.status = 'completed'))::integer AS completed, \
         (count(*) FILTER (WHERE f.status = 'cancelled'))::integer AS cancelled, \
         (count(*) FILTER (WHERE f.status = 'refunded'))::integer AS refunded, \
         least(coalesce(sum(greatest(f.total_amount - f.refunded_amount, 0)) \
         FILTER (WHERE f.status <> 'cancelled'), 0), 999999999999999)::bigint AS spent_amount, \
         least(coalesce(sum(least(f.refunded_amount, f.total_amount)) \
         FILTER (WHERE f.status <> 'cancelled'), 0), 999999999999999)::bigint AS refunded_amount, \
         min(f.placed_at) FILTER (WHERE f.status <> 'cancelled') AS first_order_at, \
         max(f.placed_at) FILTER (WHERE f.status <> 'cancelled') AS last_order_at"
    };
}

/// Numbers of statistics, without what tells when they changed.
#[derive(QueryableByName)]
struct CountedRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Integer)]
    placed: i32,
    #[diesel(sql_type = Integer)]
    completed: i32,
    #[diesel(sql_type = Integer)]
    cancelled: i32,
    #[diesel(sql_type = Integer)]
    refunded: i32,
    #[diesel(sql_type = BigInt)]
    spent_amount: i64,
    #[diesel(sql_type = BigInt)]
    refunded_amount: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_order_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_order_at: Option<DateTime<Utc>>,
}

impl From<CountedRow> for (CustomerId, Currency, Statistics) {
    fn from(row: CountedRow) -> Self {
        // Counts are no fewer than none.
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        let span = row.first_order_at.zip(row.last_order_at);
        let statistics = Statistics {
            placed: number(row.placed),
            completed: number(row.completed),
            cancelled: number(row.cancelled),
            refunded: number(row.refunded),
            spent: row.spent_amount,
            paid_back: row.refunded_amount,
            span: span.map(|(first, last)| Span { first, last }),
            ..Statistics::default()
        };
        (CustomerId(row.customer_id), Currency::from_stored(row.currency), statistics)
    }
}

/// What the facts of these customers come to, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn recount(
    mut conn: &Connection,
    customers: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Currency, Statistics)>> {
    let rows: Vec<CountedRow> = diesel::sql_query(concat!(
        "SELECT ",
        counted!(),
        " FROM order_facts AS f WHERE f.customer_id = ANY ($1) GROUP BY f.customer_id, f.currency"
    ))
    .bind::<Array<SqlUuid>, _>(customers)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

// --- compared ---------------------------------------------------------------------------------

/// What some customers' statistics and facts say of each other.
#[derive(Debug, Default)]
pub struct Compared {
    /// Customers that were looked at.
    pub customers: usize,
    /// The last of them; `None`: there are no more.
    pub last: Option<Uuid>,
    pub differing: Vec<Differing>,
}

/// Statistics that are not what the facts come to.
#[derive(Debug)]
pub struct Differing {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub kept: Statistics,
    pub counted: Statistics,
}

/// Where nothing differs there is one row without a customer.
#[derive(QueryableByName)]
struct ComparedRow {
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    last: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    customer_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    /// Placed, completed, cancelled, refunded, spent, paid back.
    #[diesel(sql_type = Array<BigInt>)]
    kept: Vec<i64>,
    #[diesel(sql_type = Array<BigInt>)]
    counted: Vec<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    kept_first: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    kept_last: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    counted_first: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    counted_last: Option<DateTime<Utc>>,
}

/// Statistics of numbers in the order of [`ComparedRow::kept`].
fn statistics(
    numbers: &[i64],
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
) -> Statistics {
    let sum = |at: usize| numbers.get(at).copied().unwrap_or(0);
    let count = |at| u32::try_from(sum(at)).unwrap_or(0);
    Statistics {
        placed: count(0),
        completed: count(1),
        cancelled: count(2),
        refunded: count(3),
        spent: sum(4),
        paid_back: sum(5),
        span: first.zip(last).map(|(first, last)| Span { first, last }),
        ..Statistics::default()
    }
}

/// Compares the statistics of the next `limit` customers after `after` who have any, or facts, with
/// what the facts come to; of `only`, if given, and of nobody else.
///
/// # Errors
/// Those of the query; [`super::Error::Transient`] where it takes too long for so many.
pub async fn compare(
    mut conn: &Connection,
    after: Uuid,
    only: Option<CustomerId>,
    limit: i64,
) -> QueryResult<Compared> {
    const EVERYBODY: &str = "SELECT customer_id FROM (\
         (SELECT DISTINCT customer_id FROM order_statistics WHERE customer_id > $1 ORDER BY customer_id LIMIT $2) \
         UNION \
         (SELECT DISTINCT customer_id FROM order_facts WHERE customer_id > $1 ORDER BY customer_id LIMIT $2)) AS people \
         WHERE $3::uuid IS NULL ORDER BY customer_id LIMIT $2";
    const ONE: &str = "SELECT $3::uuid AS customer_id WHERE $3::uuid > $1 AND $2 > 0";
    let page = if only.is_some() { ONE } else { EVERYBODY };
    // Statistics of who is gone are out of everybody's reach, and of the repair's.
    let rows: Vec<ComparedRow> = diesel::sql_query(format!(
        "WITH page AS MATERIALIZED ({page}), \
         living AS MATERIALIZED (SELECT page.customer_id FROM page JOIN customers AS c ON c.id = page.customer_id \
         WHERE c.deleted_at IS NULL), \
         counted AS (SELECT {counted} FROM living JOIN order_facts AS f ON f.customer_id = living.customer_id \
         GROUP BY f.customer_id, f.currency), \
         kept AS (SELECT s.* FROM living JOIN order_statistics AS s ON s.customer_id = living.customer_id), \
         differing AS (SELECT customer_id, currency, \
         ARRAY[coalesce(k.placed, 0), coalesce(k.completed, 0), coalesce(k.cancelled, 0), coalesce(k.refunded, 0), \
         coalesce(k.spent_amount, 0), coalesce(k.refunded_amount, 0)]::bigint[] AS kept, \
         ARRAY[coalesce(c.placed, 0), coalesce(c.completed, 0), coalesce(c.cancelled, 0), coalesce(c.refunded, 0), \
         coalesce(c.spent_amount, 0), coalesce(c.refunded_amount, 0)]::bigint[] AS counted, \
         k.first_order_at AS kept_first, k.last_order_at AS kept_last, \
         c.first_order_at AS counted_first, c.last_order_at AS counted_last \
         FROM counted AS c FULL JOIN kept AS k USING (customer_id, currency)), \
         told AS (SELECT * FROM differing WHERE (kept, kept_first, kept_last) \
         IS DISTINCT FROM (counted, counted_first, counted_last)), \
         whole AS (SELECT count(*) AS customers, (array_agg(customer_id ORDER BY customer_id DESC))[1] AS last FROM page) \
         SELECT whole.customers, whole.last, told.customer_id, told.currency, \
         coalesce(told.kept, '{{}}') AS kept, coalesce(told.counted, '{{}}') AS counted, \
         told.kept_first, told.kept_last, told.counted_first, told.counted_last \
         FROM whole LEFT JOIN told ON true ORDER BY told.customer_id, told.currency",
        counted = counted!(),
    ))
    .bind::<SqlUuid, _>(after)
    .bind::<BigInt, _>(limit)
    .bind::<Nullable<SqlUuid>, _>(only.map(|customer| customer.0))
    .load(&mut conn)
    .await?;
    let mut compared = Compared::default();
    for row in rows {
        compared.customers = usize::try_from(row.customers).unwrap_or(0);
        compared.last = row.last;
        if let (Some(customer), Some(currency)) = (row.customer_id, row.currency) {
            compared.differing.push(Differing {
                customer_id: CustomerId(customer),
                currency: Currency::from_stored(currency),
                kept: statistics(&row.kept, row.kept_first, row.kept_last),
                counted: statistics(&row.counted, row.counted_first, row.counted_last),
            });
        }
    }
    Ok(compared)
}

/// The next `limit` customers after `after` of whom the order service may know orders: who lives, and
/// who became one with somebody, whom it may still know by the old id.
///
/// # Errors
/// Those of the query.
pub async fn orderers(
    mut conn: &Connection,
    after: Uuid,
    limit: i64,
) -> QueryResult<Vec<CustomerId>> {
    #[derive(QueryableByName)]
    struct Orderer {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let some: Vec<Orderer> = diesel::sql_query(
        "SELECT c.id FROM customers AS c WHERE c.id > $1 AND (c.deleted_at IS NULL \
         OR EXISTS (SELECT FROM customer_merges AS m WHERE m.from_id = c.id)) ORDER BY c.id LIMIT $2",
    )
    .bind::<SqlUuid, _>(after)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(some.into_iter().map(|one| CustomerId(one.id)).collect())
}

/// Which version is kept of each of these orders; one that is not known is missing.
///
/// # Errors
/// Those of the query.
pub async fn versions(mut conn: &Connection, orders: &[&str]) -> QueryResult<Vec<(OrderId, i64)>> {
    let kept: Vec<(String, i64)> = order_facts::table
        .filter(order_facts::order_id.eq_any(orders))
        .select((order_facts::order_id, order_facts::version))
        .load(&mut conn)
        .await?;
    Ok(kept.into_iter().map(|(order, version)| (OrderId::from_stored(order), version)).collect())
}

/// About how many customers there are to compare, by the statistics of the planner: for a bar that
/// fills. `None`: nobody knows yet.
///
/// # Errors
/// Those of the query.
pub async fn about(mut conn: &Connection, source: Source) -> QueryResult<Option<u64>> {
    #[derive(QueryableByName)]
    struct About {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let table = match source {
        Source::Facts => "order_statistics",
        Source::OrderService => "customers",
    };
    let about: About = diesel::sql_query(
        "SELECT reltuples::bigint AS rows FROM pg_class WHERE oid = $1::regclass",
    )
    .bind::<Text, _>(table)
    .get_result(&mut conn)
    .await?;
    // -1 of a table that was never looked at.
    Ok(u64::try_from(about.rows).ok().filter(|rows| *rows > 0))
}
