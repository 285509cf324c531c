//! Tables `reconciliation_runs` and `reconciliation_differences`: how far each reconciliation is, and
//! what it found. Every step of a run is one statement, which does nothing once somebody else has
//! gone on with the run.

use super::Connection;
use super::reconciliation::Source;
use super::schema::{reconciliation_differences, reconciliation_runs};
use crate::domain::CustomerId;
use crate::domain::order::Difference;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Key of the advisory lock that whoever carries out reconciliations holds.
const LOCK: i64 = 0x6373_7265_636f_6e63;

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
