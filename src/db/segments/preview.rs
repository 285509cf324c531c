//! What a condition would come to: how many customers, which of them for example, and against the
//! members that a segment has, who would join and leave by which clauses. A stretch of ids at a time,
//! so that however many customers there are, something is known when time is up.

use super::sql::Sql;
use crate::db::Connection;
use crate::db::transactions;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{
    AnsiTransactionManager, RunQueryDsl, SimpleAsyncConnection, TransactionManager,
};
use std::time::Duration;
use uuid::Uuid;

/// What is asked of a stretch.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who fulfils it.
    pub condition: Sql,
    pub against: Option<Against>,
    /// How many of those who are found are named.
    pub sample: i32,
}

/// Members with whom those who fulfil the condition are compared.
#[derive(Debug, Clone)]
pub struct Against {
    pub segment: Uuid,
    /// The condition's clauses: what is told of each customer that makes a difference.
    pub clauses: Vec<Sql>,
}

/// Customers by their ids.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Excluded.
    pub after: Uuid,
    /// Included.
    pub until: Uuid,
}

impl Stretch {
    /// Whether no customer lies behind it.
    pub fn is_last(&self) -> bool {
        self.until.is_max()
    }
}

/// What was found in a stretch.
#[derive(Debug, Default)]
pub struct Found {
    /// Living customers.
    pub looked_at: i64,
    /// Those who fulfil the condition.
    pub fits: i64,
    /// The first of those in the order of [`tail`].
    pub sample: Vec<Uuid>,
    /// Members that the segment has.
    pub members: i64,
    pub differences: Vec<Difference>,
}

/// Customers that would join, or leave, and of whom the same clauses hold.
#[derive(Debug)]
pub struct Difference {
    pub joins: bool,
    /// Which clauses hold, in their order.
    pub clauses: Vec<bool>,
    pub customers: i64,
    /// The first of them in the order of [`tail`].
    pub sample: Vec<Uuid>,
}

/// By what samples are drawn: the last six bytes of an id, which are random in a UUIDv7. So a sample is
/// of customers of all times, and the same one when it is asked again.
pub fn tail(id: Uuid) -> u64 {
    id.as_u64_pair().1 & 0xffff_ffff_ffff
}

/// How many customers there are, about: what the server counted when it last analyzed the table.
///
/// # Errors
/// Those of the query.
pub async fn about_all(mut conn: &Connection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct About {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let about: About = diesel::sql_query(
        "SELECT greatest(reltuples, 0)::bigint AS rows FROM pg_class WHERE oid = 'customers'::regclass",
    )
    .get_result(&mut conn)
    .await?;
    Ok(about.rows)
}

/// The next stretch of about so many customers.
///
/// # Errors
/// Those of the query.
pub async fn stretch(mut conn: &Connection, after: Uuid, customers: i64) -> QueryResult<Stretch> {
    use crate::db::schema::customers;
    let until: Option<Uuid> = customers::table
        .filter(customers::id.gt(after))
        .order(customers::id)
        .offset(customers)
        .select(customers::id)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(Stretch { after, until: until.unwrap_or(Uuid::max()) })
}

/// What is found in a stretch.
///
/// # Errors
/// Those of the query; it is given up after `limit`.
pub async fn found(
    connection: &mut Connection,
    asked: &Asked,
    stretch: Stretch,
    limit: Duration,
) -> QueryResult<Found> {
    let own = begin(connection, limit).await?;
    let rows = Statement { asked, stretch }.load(&mut &*connection).await;
    if own {
        transactions::rollback(connection).await;
    }
    let mut found = Found::default();
    let rows: Vec<Row> = rows?;
    for (what, clauses, customers, sample) in rows {
        match what.as_str() {
            "looked_at" => found.looked_at = customers,
            "fits" => (found.fits, found.sample) = (customers, sample),
            "members" => found.members = customers,
            joins => found.differences.push(Difference {
                joins: joins == "joins",
                clauses: clauses.unwrap_or_default(),
                customers,
                sample,
            }),
        }
    }
    Ok(found)
}

/// A transaction whose statements are given up after a time; unless one is open already, as behind a
/// pooler. True of one that must be ended here.
async fn begin(connection: &mut Connection, limit: Duration) -> QueryResult<bool> {
    let set = format!("SET LOCAL statement_timeout = {}", limit.as_millis().max(1));
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    if status.transaction_depth()?.is_some() {
        connection.batch_execute(&set).await?;
        return Ok(false);
    }
    let begin = format!("BEGIN READ ONLY; {set}");
    AnsiTransactionManager::begin_transaction_sql(connection, &begin).await?;
    Ok(true)
}

/// What is counted, which clauses hold, how many customers, and some of them.
type Row = (String, Option<Vec<bool>>, i64, Vec<Uuid>);

struct Statement<'a> {
    asked: &'a Asked,
    stretch: Stretch,
}

// As of `Members`: none is like another.
impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = (Text, Nullable<Array<Bool>>, BigInt, Array<SqlUuid>);
}

impl QueryFragment<Pg> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql(
            "WITH fits AS MATERIALIZED (SELECT c.id FROM customers AS c WHERE c.deleted_at IS NULL",
        );
        self.range(" AND c.id", &mut out)?;
        out.push_sql(" AND ");
        self.asked.condition.walk_ast(out.reborrow())?;
        out.push_sql(")");
        if let Some(against) = &self.asked.against {
            self.differing(against, &mut out)?;
        }
        out.push_sql(
            " SELECT 'looked_at', NULL::boolean[], count(*), '{}'::uuid[] FROM customers AS c \
             WHERE c.deleted_at IS NULL",
        );
        self.range(" AND c.id", &mut out)?;
        out.push_sql(
            " UNION ALL SELECT 'fits', NULL, (SELECT count(*) FROM fits), \
             ARRAY(SELECT f.id FROM fits AS f ORDER BY right(f.id::text, 12) LIMIT ",
        );
        out.push_bind_param::<Integer, _>(&self.asked.sample)?;
        out.push_sql(")");
        if self.asked.against.is_some() {
            out.push_sql(
                " UNION ALL SELECT 'members', NULL, count(*), '{}' FROM held \
                 UNION ALL SELECT CASE WHEN d.joins THEN 'joins' ELSE 'leaves' END, d.clauses, count(*), \
                 (array_agg(d.id ORDER BY right(d.id::text, 12)))[:",
            );
            out.push_bind_param::<Integer, _>(&self.asked.sample)?;
            out.push_sql("] FROM told AS d GROUP BY d.joins, d.clauses");
        }
        Ok(())
    }
}

impl Statement<'_> {
    fn range<'b>(&'b self, column: &str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (sign, id) in [(" > ", &self.stretch.after), (" <= ", &self.stretch.until)] {
            out.push_sql(column);
            out.push_sql(sign);
            out.push_bind_param::<SqlUuid, _>(id)?;
        }
        Ok(())
    }

    /// Members now, and of whoever would join or leave, what holds.
    fn differing<'b>(
        &'b self,
        against: &'b Against,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql(
            ", held AS MATERIALIZED (SELECT m.customer_id AS id FROM segment_members AS m \
             WHERE m.segment_id = ",
        );
        out.push_bind_param::<SqlUuid, _>(&against.segment)?;
        self.range(" AND m.customer_id", out)?;
        out.push_sql(
            "), differing AS MATERIALIZED (SELECT coalesce(f.id, h.id) AS id, h.id IS NULL AS joins \
             FROM fits AS f FULL JOIN held AS h ON h.id = f.id WHERE f.id IS NULL OR h.id IS NULL), \
             told AS (SELECT d.id, d.joins, ARRAY[",
        );
        for (n, clause) in against.clauses.iter().enumerate() {
            if n > 0 {
                out.push_sql(", ");
            }
            clause.walk_ast(out.reborrow())?;
        }
        out.push_sql(
            "]::boolean[] AS clauses FROM differing AS d JOIN customers AS c ON c.id = d.id)",
        );
        Ok(())
    }
}
