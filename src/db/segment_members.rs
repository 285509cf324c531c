//! Tables `segment_members` and `segment_flips`: who belongs to which segment, and when time alone may
//! change that.

use super::Connection;
use super::schema::{segment_flips, segment_members, segments};
use super::statements::{
    DeleteSegmentFlips, DeleteSegmentMembers, SaveSegmentFlips, SaveSegmentMembers,
};
use crate::domain::ids::{CustomerId, SegmentId};
use crate::domain::message::MembershipCause;
use crate::domain::segment::membership::Held;
use crate::domain::segment::record::SegmentCode;
use crate::domain::shard;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A membership.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub customer_id: CustomerId,
    pub segment_id: SegmentId,
    /// What the segment is called.
    pub code: SegmentCode,
    pub held: Held,
}

/// When a verdict may change by time alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Flip {
    pub customer_id: CustomerId,
    pub segment_id: SegmentId,
    pub due_at: DateTime<Utc>,
}

type MemberRow = (Uuid, Uuid, String, DateTime<Utc>, String);

fn member((customer, segment, code, since, cause): MemberRow) -> QueryResult<Member> {
    let cause = MembershipCause::ALL.iter().find(|(word, _)| *word == cause);
    let (_, cause) = cause.ok_or_else(|| {
        diesel::result::Error::DeserializationError("unknown value in segment_members.cause".into())
    })?;
    Ok(Member {
        customer_id: CustomerId(customer),
        segment_id: SegmentId(segment),
        code: SegmentCode::from_stored(code),
        held: Held { since, cause: *cause },
    })
}

/// The memberships of customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(mut conn: &Connection, customers: &[Uuid]) -> QueryResult<Vec<Member>> {
    let rows: Vec<MemberRow> = segment_members::table
        .inner_join(segments::table.on(segments::id.eq(segment_members::segment_id)))
        .filter(segment_members::customer_id.eq_any(customers))
        .select((
            segment_members::customer_id,
            segment_members::segment_id,
            segments::code,
            segment_members::since,
            segment_members::cause,
        ))
        .load(&mut conn)
        .await?;
    rows.into_iter().map(member).collect()
}

/// When the customers may flip, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn flips(mut conn: &Connection, customers: &[Uuid]) -> QueryResult<Vec<Flip>> {
    let rows: Vec<(Uuid, Uuid, DateTime<Utc>)> = segment_flips::table
        .filter(segment_flips::customer_id.eq_any(customers))
        .select((segment_flips::customer_id, segment_flips::segment_id, segment_flips::due_at))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(flip).collect())
}

fn flip((customer, segment, due_at): (Uuid, Uuid, DateTime<Utc>)) -> Flip {
    Flip { customer_id: CustomerId(customer), segment_id: SegmentId(segment), due_at }
}

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    segment_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    due_at: DateTime<Utc>,
}

/// What is due in some shards by `now`, the longest due of each shard first, at most `limit` of each.
/// One step into an index for each shard and row, however many customers there are.
///
/// # Errors
/// Those of the query.
pub async fn due(
    mut conn: &Connection,
    shards: &[i16],
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Flip>> {
    let rows: Vec<DueRow> = diesel::sql_query(
        "SELECT f.customer_id, f.segment_id, f.due_at FROM unnest($1) AS s (shard) \
         CROSS JOIN LATERAL (SELECT * FROM segment_flips AS f WHERE f.shard = s.shard AND f.due_at <= $2 \
         ORDER BY f.due_at LIMIT $3) AS f",
    )
    .bind::<Array<SmallInt>, _>(shards)
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| flip((row.customer_id, row.segment_id, row.due_at))).collect())
}

/// A page of a segment's members in the order of their ids.
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    segment: SegmentId,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Member>> {
    let rows: Vec<MemberRow> = segment_members::table
        .inner_join(segments::table.on(segments::id.eq(segment_members::segment_id)))
        .filter(segment_members::segment_id.eq(segment.0))
        .filter(segment_members::customer_id.gt(after.unwrap_or(Uuid::nil())))
        .order(segment_members::customer_id)
        .limit(limit)
        .select((
            segment_members::customer_id,
            segment_members::segment_id,
            segments::code,
            segment_members::since,
            segment_members::cause,
        ))
        .load(&mut conn)
        .await?;
    rows.into_iter().map(member).collect()
}

/// How many belong to a segment now. Reads them all: a short range of an index for most segments.
///
/// # Errors
/// Those of the query.
pub async fn count(mut conn: &Connection, segment: SegmentId) -> QueryResult<i64> {
    segment_members::table
        .filter(segment_members::segment_id.eq(segment.0))
        .count()
        .get_result(&mut conn)
        .await
}

/// Whether a customer belongs to a segment.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    segment: SegmentId,
    customer: CustomerId,
) -> QueryResult<Option<Member>> {
    let row: Option<MemberRow> = segment_members::table
        .inner_join(segments::table.on(segments::id.eq(segment_members::segment_id)))
        .filter(segment_members::customer_id.eq(customer.0))
        .filter(segment_members::segment_id.eq(segment.0))
        .select((
            segment_members::customer_id,
            segment_members::segment_id,
            segments::code,
            segment_members::since,
            segment_members::cause,
        ))
        .first(&mut conn)
        .await
        .optional()?;
    row.map(member).transpose()
}

/// Forgets when time would change the verdicts of a segment that is not in force any more, at most
/// `limit` of them. Answers with how many they were.
///
/// # Errors
/// Those of the query.
pub async fn forget_flips(
    mut conn: &Connection,
    segment: SegmentId,
    limit: i64,
) -> QueryResult<usize> {
    diesel::sql_query(
        "DELETE FROM segment_flips WHERE segment_id = $1 AND customer_id = ANY (ARRAY(\
         SELECT customer_id FROM segment_flips WHERE segment_id = $1 ORDER BY customer_id LIMIT $2))",
    )
    .bind::<SqlUuid, _>(segment.0)
    .bind::<BigInt, _>(limit)
    .execute(&mut conn)
    .await
}

/// Forgets these, if they are still due when they were.
///
/// # Errors
/// Those of the query.
pub async fn forget_these(mut conn: &Connection, flips: &[Flip]) -> QueryResult<usize> {
    let customers: Vec<Uuid> = flips.iter().map(|flip| flip.customer_id.0).collect();
    let segments: Vec<Uuid> = flips.iter().map(|flip| flip.segment_id.0).collect();
    let due: Vec<DateTime<Utc>> = flips.iter().map(|flip| flip.due_at).collect();
    diesel::sql_query(
        "DELETE FROM segment_flips AS t USING unnest($1, $2, $3) AS u (customer_id, segment_id, due_at) \
         WHERE t.customer_id = u.customer_id AND t.segment_id = u.segment_id AND t.due_at = u.due_at",
    )
    .bind::<Array<SqlUuid>, _>(customers)
    .bind::<Array<SqlUuid>, _>(segments)
    .bind::<Array<Timestamptz>, _>(due)
    .execute(&mut conn)
    .await
}

impl SaveSegmentMembers {
    pub fn push(&mut self, customer: CustomerId, segment: SegmentId, held: &Held) {
        self.customer_id.push(customer.0);
        self.segment_id.push(segment.0);
        self.since.push(held.since);
        self.cause.push(held.cause.as_str().to_owned());
    }
}

impl DeleteSegmentMembers {
    pub fn push(&mut self, customer: CustomerId, segment: SegmentId) {
        self.customer_id.push(customer.0);
        self.segment_id.push(segment.0);
    }
}

impl SaveSegmentFlips {
    pub fn push(&mut self, customer: CustomerId, segment: SegmentId, due_at: DateTime<Utc>) {
        self.customer_id.push(customer.0);
        self.segment_id.push(segment.0);
        self.shard.push(i16::try_from(shard::of_customer(customer)).unwrap_or(0));
        self.due_at.push(due_at);
    }
}

impl DeleteSegmentFlips {
    pub fn push(&mut self, customer: CustomerId, segment: SegmentId) {
        self.customer_id.push(customer.0);
        self.segment_id.push(segment.0);
    }
}
