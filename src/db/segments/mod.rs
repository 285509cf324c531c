//! Segments over the rows: a condition as SQL for many customers at once, and the facts of a few for
//! evaluation in memory. Both must come to the same (rule S4).

mod compile;
mod facts;
mod functions;
pub mod preview;
mod sql;
mod tiers;

pub use compile::{Named, NotInSql, Rfm, Surroundings, clauses, compile};
pub use facts::{Needs, of};
pub use sql::Sql;
pub use tiers::{Tiers, tiers, tiers_between};

use super::Connection;
use super::schema::customers;
use crate::domain::ids::SegmentId;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Living customers that fulfil a condition, by their ids.
struct Members<'a> {
    condition: &'a Sql,
    of: Of<'a>,
}

/// Which customers are asked.
enum Of<'a> {
    /// Those after one, until so many were found.
    After(Uuid, i64),
    These(&'a [Uuid]),
}

// Conditions are of endless variety, and plans depend on their values: none is kept.
impl QueryId for Members<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Members<'_> {
    type SqlType = SqlUuid;
}

impl QueryFragment<Pg> for Members<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("SELECT c.id FROM customers AS c WHERE c.deleted_at IS NULL AND ");
        self.condition.walk_ast(out.reborrow())?;
        match &self.of {
            Of::After(after, limit) => {
                out.push_sql(" AND c.id > ");
                out.push_bind_param::<SqlUuid, _>(after)?;
                out.push_sql(" ORDER BY c.id LIMIT ");
                out.push_bind_param::<BigInt, _>(limit)
            }
            Of::These(ids) => {
                out.push_sql(" AND c.id = ANY (");
                out.push_bind_param::<Array<SqlUuid>, _>(*ids)?;
                out.push_sql(") ORDER BY c.id");
                Ok(())
            }
        }
    }
}

/// The next living customers after one that fulfil a condition, at most `limit`.
///
/// # Errors
/// Those of the query.
pub async fn members(
    mut conn: &Connection,
    condition: &Sql,
    after: Uuid,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    Members { condition, of: Of::After(after, limit) }.load(&mut conn).await
}

/// Those of these customers that live and fulfil a condition, in the order of their ids.
///
/// # Errors
/// Those of the query.
pub async fn members_among(
    mut conn: &Connection,
    condition: &Sql,
    customers: &[Uuid],
) -> QueryResult<Vec<Uuid>> {
    Members { condition, of: Of::These(customers) }.load(&mut conn).await
}

/// Customers whose membership is not what a condition says.
struct Differing<'a> {
    condition: &'a Sql,
    segment: Uuid,
    of: Among<'a>,
}

/// Whose memberships are compared.
enum Among<'a> {
    /// Of those after one, up to another and that included, the first so many that differ.
    Between(Uuid, Uuid, i64),
    These(&'a [Uuid]),
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct Differs {
    pub customer: Uuid,
    /// Whether it belongs to the segment now, and should not; otherwise it is to join.
    pub belongs: bool,
}

impl QueryId for Differing<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Differing<'_> {
    type SqlType = (SqlUuid, Bool);
}

impl QueryFragment<Pg> for Differing<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql(
            "SELECT c.id, m.customer_id IS NOT NULL FROM customers AS c LEFT JOIN segment_members AS m \
             ON m.customer_id = c.id AND m.segment_id = ",
        );
        out.push_bind_param::<SqlUuid, _>(&self.segment)?;
        out.push_sql(" WHERE c.deleted_at IS NULL AND ");
        match &self.of {
            Among::Between(after, to, _) => {
                out.push_sql("c.id > ");
                out.push_bind_param::<SqlUuid, _>(after)?;
                out.push_sql(" AND c.id <= ");
                out.push_bind_param::<SqlUuid, _>(to)?;
            }
            Among::These(ids) => {
                out.push_sql("c.id = ANY (");
                out.push_bind_param::<Array<SqlUuid>, _>(*ids)?;
                out.push_sql(")");
            }
        }
        // Whose deletion is scheduled belongs to none (rule P1).
        out.push_sql(" AND (c.status <> 'deletion_scheduled' AND (");
        self.condition.walk_ast(out.reborrow())?;
        out.push_sql(") IS TRUE) <> (m.customer_id IS NOT NULL) ORDER BY c.id");
        if let Among::Between(_, _, limit) = &self.of {
            out.push_sql(" LIMIT ");
            out.push_bind_param::<BigInt, _>(limit)?;
        }
        Ok(())
    }
}

/// The living customers after one, up to another and that included, who belong to a segment and do not
/// fulfil its condition, or the other way round: the first `limit` of them.
///
/// # Errors
/// Those of the query.
pub async fn differing(
    mut conn: &Connection,
    condition: &Sql,
    segment: SegmentId,
    (after, to): (Uuid, Uuid),
    limit: i64,
) -> QueryResult<Vec<Differs>> {
    let of = Among::Between(after, to, limit);
    Differing { condition, segment: segment.0, of }.load(&mut conn).await
}

/// Those of these customers who live and belong to a segment and do not fulfil its condition, or the other
/// way round, in the order of their ids.
///
/// # Errors
/// Those of the query.
pub async fn differing_among(
    mut conn: &Connection,
    condition: &Sql,
    segment: SegmentId,
    customers: &[Uuid],
) -> QueryResult<Vec<Differs>> {
    let of = Among::These(customers);
    Differing { condition, segment: segment.0, of }.load(&mut conn).await
}

/// The next living customers after one, at most `limit`.
///
/// # Errors
/// Those of the query.
pub async fn next_customers(
    mut conn: &Connection,
    after: Uuid,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    customers::table
        .filter(customers::deleted_at.is_null())
        .filter(customers::id.gt(after))
        .order(customers::id)
        .limit(limit)
        .select(customers::id)
        .load(&mut conn)
        .await
}

/// The next living customers after one, at most `limit` of them, as a stretch: the last one, and how many
/// they are. `None`: there is nobody.
///
/// # Errors
/// Those of the query.
pub async fn next_stretch(
    mut conn: &Connection,
    after: Uuid,
    limit: i64,
) -> QueryResult<Option<(Uuid, i64)>> {
    #[derive(QueryableByName)]
    struct Stretch {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let last: Option<Stretch> = diesel::sql_query(
        "SELECT id, number FROM (
             SELECT id, row_number() OVER (ORDER BY id) AS number FROM customers
             WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2
         ) AS stretch ORDER BY id DESC LIMIT 1",
    )
    .bind::<SqlUuid, _>(after)
    .bind::<BigInt, _>(limit)
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(last.map(|last| (last.id, last.number)))
}

/// How many living customers there are after one, up to another and that included.
///
/// # Errors
/// Those of the query.
pub async fn living_between(mut conn: &Connection, after: Uuid, to: Uuid) -> QueryResult<i64> {
    customers::table
        .filter(customers::deleted_at.is_null())
        .filter(customers::id.gt(after))
        .filter(customers::id.le(to))
        .count()
        .get_result(&mut conn)
        .await
}
