//! Table `segment_builds`: the walk over all customers for each segment whose revision rose, and how
//! far it is.

use super::Connection;
use super::schema::segment_builds;
use super::statements::BeginSegmentBuilds;
use crate::domain::ids::SegmentId;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A walk.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = segment_builds, check_for_backend(diesel::pg::Pg))]
pub struct Build {
    pub segment_id: Uuid,
    /// To which revision of the segment.
    pub revision: i64,
    /// Customers up to this one are done; `None`: none yet.
    pub after_id: Option<Uuid>,
    /// Customers looked at.
    pub looked_at: i64,
    pub joined: i64,
    pub parted: i64,
    /// How many there were when it began, about.
    pub total: i64,
    pub started_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// `None`: it is under way.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Build {
    pub fn segment(&self) -> SegmentId {
        SegmentId(self.segment_id)
    }
}

/// Key of the advisory lock that whoever carries out walks holds.
const LOCK: i64 = 0x6373_7365_6762_6c64;

/// Takes the lock for as long as the session lives; false when somebody else has it.
///
/// # Errors
/// Those of the query.
pub async fn try_lock(mut conn: &Connection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Lock {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        had: bool,
    }
    let lock: Lock = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS had")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}

/// What a page adds to a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The last customer that is done by it; `None` moves nothing.
    pub to: Option<Uuid>,
    pub looked_at: i64,
    pub joined: i64,
    pub parted: i64,
    pub at: DateTime<Utc>,
    /// Whether nobody comes after it.
    pub last: bool,
}

/// The latest walk of a segment.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, segment: SegmentId) -> QueryResult<Option<Build>> {
    let query = segment_builds::table.find(segment.0).select(Build::as_select());
    query.first(&mut conn).await.optional()
}

/// The walks that are under way, the longest first.
///
/// # Errors
/// Those of the query.
pub async fn open(mut conn: &Connection, limit: i64) -> QueryResult<Vec<Build>> {
    segment_builds::table
        .filter(segment_builds::finished_at.is_null())
        .order((segment_builds::started_at, segment_builds::segment_id))
        .limit(limit)
        .select(Build::as_select())
        .load(&mut conn)
        .await
}

/// Moves a walk on from where the caller took it to be. False where it is elsewhere by now: somebody
/// else goes on with it, or it began again. The caller then does nothing of what it was about to do.
///
/// # Errors
/// Those of the query.
pub async fn advance(mut conn: &Connection, from: &Build, step: &Step) -> QueryResult<bool> {
    use segment_builds::dsl;
    let here = dsl::segment_builds
        .filter(dsl::segment_id.eq(from.segment_id))
        .filter(dsl::revision.eq(from.revision))
        .filter(dsl::started_at.eq(from.started_at))
        .filter(dsl::after_id.is_not_distinct_from(from.after_id))
        .filter(dsl::looked_at.eq(from.looked_at))
        .filter(dsl::finished_at.is_null());
    let moved = diesel::update(here)
        .set((
            dsl::after_id.eq(step.to.or(from.after_id)),
            dsl::looked_at.eq(dsl::looked_at + step.looked_at),
            dsl::joined.eq(dsl::joined + step.joined),
            dsl::parted.eq(dsl::parted + step.parted),
            dsl::updated_at.eq(step.at),
            dsl::finished_at.eq(step.last.then_some(step.at)),
        ))
        .execute(&mut conn)
        .await?;
    Ok(moved == 1)
}

/// Begins the walks of segments anew, in the caller's transaction.
///
/// # Errors
/// Those of the statement.
pub async fn begin_anew(
    conn: &Connection,
    segments: &[(SegmentId, i64)],
    at: DateTime<Utc>,
) -> QueryResult<()> {
    let mut begun = BeginSegmentBuilds::default();
    for (segment, revision) in segments {
        begun.segment_id.push(segment.0);
        begun.revision.push(*revision);
        begun.at.push(at);
    }
    BeginSegmentBuilds::execute(&begun, conn).await.map(|_| ())
}
