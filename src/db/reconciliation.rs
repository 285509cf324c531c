//! Tables `reconciliation_runs` and `reconciliation_differences`, and the comparisons that fill them.
//!
//! A comparison is one statement, which sees one moment: a fact and the statistics that it changed
//! are committed together, so what goes on meanwhile never looks like a difference. And every step
//! of a run is one statement, which does nothing once somebody else has gone on with the run.

use super::Connection;
use super::schema::{order_facts, reconciliation_differences, reconciliation_runs};
use crate::domain::CustomerId;
use crate::domain::order::{Difference, OrderId, Span, Statistics};
use crate::domain::place::Currency;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Key of the advisory lock that whoever carries out reconciliations holds.
const LOCK: i64 = 0x6373_7265_636f_6e63;

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

/// Columns of the kept statistics are named as in their table, those that were counted begin with
/// `c_`. All are NULL where nothing differs.
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
         (SELECT DISTINCT customer_id FROM order_facts WHERE customer_id > $1 ORDER BY customer_id LIMIT $2)) AS some \
         ORDER BY customer_id LIMIT $2";
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
pub async fn versions(
    mut conn: &Connection,
    orders: &[&str],
) -> QueryResult<Vec<(OrderId, i64)>> {
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
    let about: About =
        diesel::sql_query("SELECT reltuples::bigint AS rows FROM pg_class WHERE oid = $1::regclass")
            .bind::<Text, _>(table)
            .get_result(&mut conn)
            .await?;
    // -1 of a table that was never looked at.
    Ok(u64::try_from(about.rows).ok().filter(|rows| *rows > 0))
}

// --- runs -------------------------------------------------------------------------------------

/// A run, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = reconciliation_runs, check_for_backend(diesel::pg::Pg))]
#[diesel(treat_none_as_default_value = false)]
pub struct Row {
    pub id: Uuid,
    pub source: String,
    pub customer_id: Option<Uuid>,
    pub owner: String,
    pub cursor: Uuid,
    pub customers: i64,
    pub differences: i64,
    pub repaired: i64,
    pub refused: i64,
    pub trouble: Option<String>,
    pub started_at: DateTime<Utc>,
    pub touched_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Row {
    /// One of which nothing is done.
    pub fn new(
        id: Uuid,
        source: Source,
        only: Option<CustomerId>,
        owner: &str,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            source: source.as_str().to_owned(),
            customer_id: only.map(|customer| customer.0),
            owner: owner.to_owned(),
            cursor: Uuid::nil(),
            customers: 0,
            differences: 0,
            repaired: 0,
            refused: 0,
            trouble: None,
            started_at: now,
            touched_at: now,
            finished_at: None,
        }
    }
}

/// # Errors
/// Those of the query.
pub async fn begin(mut conn: &Connection, run: &Row) -> QueryResult<()> {
    diesel::insert_into(reconciliation_runs::table).values(run).execute(&mut conn).await.map(drop)
}

/// The run through everybody that began last, over or not.
///
/// # Errors
/// Those of the query.
pub async fn latest(mut conn: &Connection, source: Source) -> QueryResult<Option<Row>> {
    reconciliation_runs::table
        .filter(reconciliation_runs::source.eq(source.as_str()))
        .filter(reconciliation_runs::customer_id.is_null())
        .order(reconciliation_runs::started_at.desc())
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()
}

/// Whoever goes on with a run says so.
///
/// # Errors
/// Those of the query.
pub async fn take_over(
    mut conn: &Connection,
    run: Uuid,
    owner: &str,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let set = (reconciliation_runs::owner.eq(owner), reconciliation_runs::touched_at.eq(now));
    diesel::update(reconciliation_runs::table.find(run)).set(set).execute(&mut conn).await.map(drop)
}

/// A run, and where the caller takes it to be: whoever comes second finds it elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub run: Uuid,
    pub cursor: Uuid,
}

/// Differences about to be written.
#[derive(Debug, Default)]
pub struct Found {
    customer_id: Vec<Uuid>,
    subject: Vec<String>,
    field: Vec<String>,
    kept: Vec<Option<String>>,
    found: Vec<Option<String>>,
}

impl Found {
    pub fn push(&mut self, customer: CustomerId, subject: &str, difference: &Difference) {
        self.customer_id.push(customer.0);
        self.subject.push(subject.to_owned());
        self.field.push(difference.field.to_owned());
        self.kept.push(difference.kept.clone());
        self.found.push(difference.found.clone());
    }

    pub fn is_empty(&self) -> bool {
        self.customer_id.is_empty()
    }
}

/// Writes down what differs, before anything is done about it. What was written down before, by
/// somebody who was killed perhaps, stays as it is. `None`: somebody else has gone on with the run;
/// otherwise how many are new.
///
/// # Errors
/// Those of the query.
pub async fn note(
    mut conn: &Connection,
    at: At,
    found: &Found,
    now: DateTime<Utc>,
) -> QueryResult<Option<usize>> {
    #[derive(QueryableByName)]
    struct Noted {
        #[diesel(sql_type = BigInt)]
        added: i64,
    }
    let noted: Option<Noted> = diesel::sql_query(
        "WITH run AS MATERIALIZED (SELECT id FROM reconciliation_runs \
         WHERE id = $1 AND cursor = $2 AND finished_at IS NULL FOR UPDATE), \
         added AS (INSERT INTO reconciliation_differences (run_id, customer_id, subject, field, kept, found) \
         SELECT run.id, u.* FROM run, unnest($3, $4, $5, $6, $7) AS u (customer_id, subject, field, kept, found) \
         ON CONFLICT DO NOTHING RETURNING run_id), \
         counted AS (SELECT count(*) AS added FROM added) \
         UPDATE reconciliation_runs AS r SET differences = r.differences + counted.added, touched_at = $8 \
         FROM run, counted WHERE r.id = run.id RETURNING counted.added",
    )
    .bind::<SqlUuid, _>(at.run)
    .bind::<SqlUuid, _>(at.cursor)
    .bind::<Array<SqlUuid>, _>(&found.customer_id)
    .bind::<Array<Text>, _>(&found.subject)
    .bind::<Array<Text>, _>(&found.field)
    .bind::<Array<Nullable<Text>>, _>(&found.kept)
    .bind::<Array<Nullable<Text>>, _>(&found.found)
    .bind::<Timestamptz, _>(now)
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(noted.map(|noted| usize::try_from(noted.added).unwrap_or(0)))
}

/// What a step came to.
#[derive(Debug)]
pub struct Stepped<'a> {
    /// The last customer that is done with.
    pub to: Uuid,
    pub customers: usize,
    pub refused: usize,
    /// What was written down of them and is not repaired: of whom, and what.
    pub left: &'a [(CustomerId, String)],
}

/// Moves a run on. What was written down of the customers in between is repaired, but for what is
/// left. False: somebody else has gone on with the run.
///
/// # Errors
/// Those of the query.
pub async fn step(
    mut conn: &Connection,
    at: At,
    stepped: &Stepped<'_>,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let (customers, subjects): (Vec<Uuid>, Vec<&str>) =
        stepped.left.iter().map(|(customer, subject)| (customer.0, subject.as_str())).unzip();
    let moved = diesel::sql_query(
        "WITH run AS MATERIALIZED (SELECT id FROM reconciliation_runs \
         WHERE id = $1 AND cursor = $2 AND finished_at IS NULL FOR UPDATE), \
         mended AS (UPDATE reconciliation_differences AS d SET repaired_at = $6 FROM run \
         WHERE d.run_id = run.id AND d.customer_id > $2 AND d.customer_id <= $3 AND d.repaired_at IS NULL \
         AND NOT EXISTS (SELECT FROM unnest($7, $8) AS u (customer_id, subject) \
         WHERE u.customer_id = d.customer_id AND u.subject = d.subject) RETURNING d.run_id), \
         counted AS (SELECT count(*) AS mended FROM mended) \
         UPDATE reconciliation_runs AS r SET cursor = $3, customers = r.customers + $4, \
         refused = r.refused + $5, repaired = r.repaired + counted.mended, touched_at = $6, trouble = NULL \
         FROM run, counted WHERE r.id = run.id",
    )
    .bind::<SqlUuid, _>(at.run)
    .bind::<SqlUuid, _>(at.cursor)
    .bind::<SqlUuid, _>(stepped.to)
    .bind::<BigInt, _>(stepped.customers as i64)
    .bind::<BigInt, _>(stepped.refused as i64)
    .bind::<Timestamptz, _>(now)
    .bind::<Array<SqlUuid>, _>(customers)
    .bind::<Array<Text>, _>(subjects)
    .execute(&mut conn)
    .await?;
    Ok(moved == 1)
}

/// The run is through. False: somebody else has gone on with it.
///
/// # Errors
/// Those of the query.
pub async fn finish(mut conn: &Connection, at: At, now: DateTime<Utc>) -> QueryResult<bool> {
    use reconciliation_runs::{cursor, finished_at, table, touched_at, trouble};
    let living = table.find(at.run).filter(cursor.eq(at.cursor)).filter(finished_at.is_null());
    let set = (finished_at.eq(Some(now)), touched_at.eq(now), trouble.eq(None::<String>));
    Ok(diesel::update(living).set(set).execute(&mut conn).await? == 1)
}

/// Notes what a run waits for.
///
/// # Errors
/// Those of the query.
pub async fn wait(
    mut conn: &Connection,
    run: Uuid,
    what: &str,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    use reconciliation_runs::{finished_at, table, touched_at, trouble};
    let living = table.find(run).filter(finished_at.is_null());
    let set = (trouble.eq(Some(what)), touched_at.eq(now));
    diesel::update(living).set(set).execute(&mut conn).await.map(drop)
}

// --- reads ------------------------------------------------------------------------------------

/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, run: Uuid) -> QueryResult<Option<Row>> {
    let run = reconciliation_runs::table.find(run).select(Row::as_select());
    run.first(&mut conn).await.optional()
}

/// A page of runs, newest first: their ids begin with their time.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    before: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    reconciliation_runs::table
        .filter(reconciliation_runs::id.lt(before.unwrap_or(Uuid::max())))
        .order(reconciliation_runs::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await
}

/// One difference, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = reconciliation_differences, check_for_backend(diesel::pg::Pg))]
pub struct Kept {
    pub customer_id: Uuid,
    pub subject: String,
    pub field: String,
    pub kept: Option<String>,
    pub found: Option<String>,
    pub repaired_at: Option<DateTime<Utc>>,
}

/// Where a difference stands among those of its run.
pub type Place = (Uuid, String, String);

/// A page of what a run found, by customer.
///
/// # Errors
/// Those of the query.
pub async fn differences(
    mut conn: &Connection,
    run: Uuid,
    after: Option<Place>,
    limit: i64,
) -> QueryResult<Vec<Kept>> {
    use reconciliation_differences::{customer_id, field, run_id, subject, table};
    let (customer, of, name) = after.unwrap_or_default();
    // The first condition on the customer, which the second one implies, is what the key is entered
    // by.
    let behind = customer_id.gt(customer).or(customer_id
        .eq(customer)
        .and(subject.gt(of.clone()).or(subject.eq(of).and(field.gt(name)))));
    table
        .filter(run_id.eq(run))
        .filter(customer_id.ge(customer))
        .filter(behind)
        .order((customer_id, subject, field))
        .limit(limit)
        .select(Kept::as_select())
        .load(&mut conn)
        .await
}

// --- one at a time ----------------------------------------------------------------------------

/// Tries to become the one who carries out reconciliations, for as long as the session lives.
///
/// # Errors
/// Those of the query.
pub async fn try_lock(mut conn: &Connection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Lock {
        #[diesel(sql_type = Bool)]
        had: bool,
    }
    let lock: Lock = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS had")
        .bind::<BigInt, _>(LOCK)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}
