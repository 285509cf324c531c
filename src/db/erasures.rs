//! Tables `erasures`, `erasure_steps` and `legal_holds`; and what an erasure takes, as the map of
//! personal data says ([`erasing`](super::erasing)).

use super::Connection;
use super::merges::WHOLE;
use super::schema::{erasure_steps, erasures, segments};
use super::statements::{SaveErasureSteps, SaveErasures, SaveLegalHolds};
use crate::domain::erasure::{
    Erasure, ErasureState, LeftSegment, LegalHold, Obstacle, Release, Requester, Step, StepName,
    StepState,
};
use crate::domain::segment::record::SegmentCode;
use crate::domain::status::{ReasonCode, Status};
use crate::domain::{CustomerId, ErasureId, HoldId, MessageId, SegmentId, StepId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

pub use super::erasing::{Gone, LedgerEntry, erase, known, ledger, write_ledger};

#[derive(Queryable, Selectable)]
#[diesel(table_name = erasures, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    state: String,
    requested_by: String,
    staff_key: Option<String>,
    status_before: String,
    segments: Value,
    requested_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    legal_due_at: DateTime<Utc>,
    look_at: DateTime<Utc>,
    put_off: Option<String>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    cancelled_at: Option<DateTime<Utc>>,
    commands: i64,
    removed: Option<Value>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = erasure_steps, check_for_backend(diesel::pg::Pg))]
struct StepRow {
    id: Uuid,
    erasure_id: Uuid,
    name: String,
    state: String,
    tries: i32,
    message_id: Option<Uuid>,
    last_error: Option<String>,
    sent_at: DateTime<Utc>,
    next_try_at: Option<DateTime<Utc>>,
    done_at: Option<DateTime<Utc>>,
}

/// A deletion as it is kept, with what only those who look at it want to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub erasure: Erasure,
    /// How many rows of each table went or were emptied; of one that has begun.
    pub removed: Option<Value>,
}

/// A stored word that this version does not know: only a newer version can have written it.
fn unknown(column: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(format!("unknown value in {column}").into())
}

impl Row {
    fn kept(self, steps: Vec<Step>) -> QueryResult<Kept> {
        let segments: Vec<LeftSegment> =
            serde_json::from_value(self.segments).map_err(|_| unknown("erasures.segments"))?;
        let put_off = match self.put_off.as_deref() {
            None => None,
            Some(word) => Some(Obstacle::parse(word).ok_or_else(|| unknown("erasures.put_off"))?),
        };
        let erasure = Erasure {
            id: ErasureId(self.id),
            customer_id: CustomerId(self.customer_id),
            state: ErasureState::parse(&self.state).ok_or_else(|| unknown("erasures.state"))?,
            requested_by: match (self.requested_by.as_str(), self.staff_key) {
                ("owner", None) => Requester::Owner,
                ("staff", Some(key)) => Requester::Staff(key),
                ("operator", None) => Requester::Operator,
                _ => return Err(unknown("erasures.requested_by")),
            },
            status_before: Status::parse(&self.status_before)
                .ok_or_else(|| unknown("erasures.status_before"))?,
            segments,
            requested_at: self.requested_at,
            due_at: self.due_at,
            legal_due_at: self.legal_due_at,
            look_at: self.look_at,
            put_off,
            started_at: self.started_at,
            completed_at: self.completed_at,
            cancelled_at: self.cancelled_at,
            commands: self.commands,
            steps,
        };
        Ok(Kept { erasure, removed: self.removed })
    }
}

impl StepRow {
    fn step(self) -> QueryResult<Step> {
        Ok(Step {
            id: StepId(self.id),
            name: StepName::parse(&self.name).ok_or_else(|| unknown("erasure_steps.name"))?,
            state: StepState::parse(&self.state).ok_or_else(|| unknown("erasure_steps.state"))?,
            tries: self.tries,
            message: self.message_id.map(MessageId),
            last_error: self.last_error,
            sent_at: self.sent_at,
            next_try_at: self.next_try_at,
            done_at: self.done_at,
        })
    }
}

/// The rows with their steps, in the order given.
async fn with_steps(mut conn: &Connection, rows: Vec<Row>) -> QueryResult<Vec<Kept>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut steps: HashMap<Uuid, Vec<Step>> = HashMap::new();
    if !ids.is_empty() {
        let found: Vec<StepRow> = erasure_steps::table
            .filter(erasure_steps::erasure_id.eq_any(ids))
            .order(erasure_steps::id)
            .select(StepRow::as_select())
            .load(&mut conn)
            .await?;
        for row in found {
            steps.entry(row.erasure_id).or_default().push(row.step()?);
        }
    }
    rows.into_iter()
        .map(|row| {
            let steps = steps.remove(&row.id).unwrap_or_default();
            row.kept(steps)
        })
        .collect()
}

// --- the write path -------------------------------------------------------------------------

/// The open deletions of these customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the queries.
pub async fn open(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<Erasure>> {
    let rows: Vec<Row> = erasures::table
        .filter(erasures::customer_id.eq_any(ids))
        .filter(erasures::state.eq_any(["scheduled", "running"]))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(with_steps(conn, rows).await?.into_iter().map(|kept| kept.erasure).collect())
}

/// A duty to keep that stands, and against whose erasure.
pub struct Held {
    pub of: CustomerId,
    pub hold: LegalHold,
}

#[derive(QueryableByName)]
struct HeldRow {
    #[diesel(sql_type = SqlUuid)]
    root: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Text)]
    placed_by: String,
    #[diesel(sql_type = Timestamptz)]
    placed_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    released_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    released_at: Option<DateTime<Utc>>,
}

/// The duties to keep these customers, or anybody who became one with them.
///
/// # Errors
/// Those of the query.
pub async fn held(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<Held>> {
    // A few times in the life of a customer.
    let rows: Vec<HeldRow> = diesel::sql_query(format!(
        "{WHOLE} SELECT whole.root, h.id, h.customer_id, h.reason, h.placed_by, h.placed_at, h.released_by, \
         h.released_at FROM whole JOIN legal_holds AS h ON h.customer_id = whole.id \
         WHERE h.released_at IS NULL",
    ))
    .bind::<Array<SqlUuid>, _>(ids)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| Held { of: CustomerId(row.root), hold: row.hold() }).collect())
}

impl HeldRow {
    fn hold(self) -> LegalHold {
        LegalHold {
            id: HoldId(self.id),
            customer_id: CustomerId(self.customer_id),
            reason: ReasonCode::from_stored(self.reason),
            placed_by: self.placed_by,
            placed_at: self.placed_at,
            released: self.released_by.zip(self.released_at).map(|(by, at)| Release { by, at }),
        }
    }
}

/// What those of these segments are called that are there and filled by hand. Held as they are until
/// the transaction ends.
///
/// # Errors
/// Those of the query.
pub async fn static_segments(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(SegmentId, SegmentCode)>> {
    let rows: Vec<(Uuid, String)> = segments::table
        .filter(segments::id.eq_any(ids))
        .filter(segments::kind.eq("static"))
        .filter(segments::state.eq("active"))
        .select((segments::id, segments::code))
        .for_share()
        .load(&mut conn)
        .await?;
    let named = |(id, code)| (SegmentId(id), SegmentCode::from_stored(code));
    Ok(rows.into_iter().map(named).collect())
}

impl SaveErasures {
    pub fn push(&mut self, erasure: &Erasure) {
        let (requested_by, staff_key) = match &erasure.requested_by {
            Requester::Owner => ("owner", None),
            Requester::Staff(key) => ("staff", Some(key.clone())),
            Requester::Operator => ("operator", None),
        };
        self.id.push(erasure.id.0);
        self.customer_id.push(erasure.customer_id.0);
        self.state.push(erasure.state.as_str().to_owned());
        self.requested_by.push(requested_by.to_owned());
        self.staff_key.push(staff_key);
        self.status_before.push(erasure.status_before.as_str().to_owned());
        self.segments.push(json!(erasure.segments));
        self.requested_at.push(erasure.requested_at);
        self.due_at.push(erasure.due_at);
        self.legal_due_at.push(erasure.legal_due_at);
        self.look_at.push(erasure.look_at);
        self.put_off.push(erasure.put_off.map(|obstacle| obstacle.as_str().to_owned()));
        self.started_at.push(erasure.started_at);
        self.completed_at.push(erasure.completed_at);
        self.cancelled_at.push(erasure.cancelled_at);
        self.commands.push(erasure.commands);
    }
}

impl SaveErasureSteps {
    pub fn push(&mut self, erasure: &Erasure, step: &Step) {
        self.id.push(step.id.0);
        self.erasure_id.push(erasure.id.0);
        self.customer_id.push(erasure.customer_id.0);
        self.name.push(step.name.as_str().to_owned());
        self.state.push(step.state.as_str().to_owned());
        self.tries.push(step.tries);
        self.message_id.push(step.message.map(|id| id.0));
        self.last_error.push(step.last_error.clone());
        self.sent_at.push(step.sent_at);
        self.next_try_at.push(step.next_try_at);
        self.done_at.push(step.done_at);
    }
}

impl SaveLegalHolds {
    pub fn push(&mut self, hold: &LegalHold) {
        self.id.push(hold.id.0);
        self.customer_id.push(hold.customer_id.0);
        self.reason.push(hold.reason.as_str().to_owned());
        self.placed_by.push(hold.placed_by.clone());
        self.placed_at.push(hold.placed_at);
        self.released_by.push(hold.released.as_ref().map(|release| release.by.clone()));
        self.released_at.push(hold.released.as_ref().map(|release| release.at));
    }
}

// --- reads ----------------------------------------------------------------------------------

/// One deletion.
///
/// # Errors
/// Those of the queries.
pub async fn find(mut conn: &Connection, id: ErasureId) -> QueryResult<Option<Kept>> {
    let row = erasures::table.find(id.0).select(Row::as_select());
    let row: Option<Row> = row.first(&mut conn).await.optional()?;
    Ok(with_steps(conn, row.into_iter().collect()).await?.pop())
}

/// The latest deletion of a customer that was not cancelled.
///
/// # Errors
/// Those of the queries.
pub async fn of_customer(mut conn: &Connection, id: CustomerId) -> QueryResult<Option<Kept>> {
    let row: Option<Row> = erasures::table
        .filter(erasures::customer_id.eq(id.0))
        .filter(erasures::state.ne("cancelled"))
        .order(erasures::id.desc())
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    Ok(with_steps(conn, row.into_iter().collect()).await?.pop())
}

/// Deletions, the latest first.
///
/// # Errors
/// Those of the queries.
pub async fn list(
    mut conn: &Connection,
    state: Option<ErasureState>,
    before: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Kept>> {
    let mut found = erasures::table.order(erasures::id.desc()).limit(limit).into_boxed();
    if let Some(state) = state {
        found = found.filter(erasures::state.eq(state.as_str()));
    }
    if let Some(before) = before {
        found = found.filter(erasures::id.lt(before));
    }
    let rows: Vec<Row> = found.select(Row::as_select()).load(&mut conn).await?;
    with_steps(conn, rows).await
}

/// A deletion that is to be looked at, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueErasure {
    pub customer: CustomerId,
    pub erasure: ErasureId,
    pub look_at: DateTime<Utc>,
}

/// Deletions that are to be looked at by now, the longest due first, from behind the one named.
///
/// # Errors
/// Those of the query.
pub async fn due(
    mut conn: &Connection,
    now: DateTime<Utc>,
    behind: Option<DueErasure>,
    limit: i64,
) -> QueryResult<Vec<DueErasure>> {
    #[derive(QueryableByName)]
    struct Due {
        #[diesel(sql_type = SqlUuid)]
        customer_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        look_at: DateTime<Utc>,
    }
    let behind = behind.map(|it| (it.look_at, it.erasure.0));
    let (since, id) = behind.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    let rows: Vec<Due> = diesel::sql_query(
        "SELECT customer_id, id, look_at FROM erasures WHERE state = 'scheduled' AND look_at <= $1 \
         AND (look_at, id) > ($2, $3) ORDER BY look_at, id LIMIT $4",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(since)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    let due = |row: Due| DueErasure {
        customer: CustomerId(row.customer_id),
        erasure: ErasureId(row.id),
        look_at: row.look_at,
    };
    Ok(rows.into_iter().map(due).collect())
}

/// Erasures of which a step is to be commanded again by now.
///
/// # Errors
/// Those of the query.
pub async fn silent(
    mut conn: &Connection,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<(CustomerId, ErasureId)>> {
    #[derive(QueryableByName)]
    struct Silent {
        #[diesel(sql_type = SqlUuid)]
        customer_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let rows: Vec<Silent> = diesel::sql_query(
        "SELECT customer_id, erasure_id AS id FROM erasure_steps WHERE state <> 'done' AND next_try_at <= $1 \
         GROUP BY customer_id, erasure_id ORDER BY min(next_try_at), erasure_id LIMIT $2",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().map(|row| (CustomerId(row.customer_id), ErasureId(row.id))).collect())
}

/// What should be over by now and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Overdue {
    /// Of these something is kept still.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Of these another service has not answered that it forgot.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
}

/// How many deletions were due, or begun, before `since` and are not over. Counts up to a thousand.
///
/// # Errors
/// Those of the query.
pub async fn overdue(mut conn: &Connection, since: DateTime<Utc>) -> QueryResult<Overdue> {
    diesel::sql_query(
        "SELECT (SELECT count(*) FROM (SELECT FROM erasures WHERE state = 'scheduled' AND due_at < $1 \
         AND put_off IS DISTINCT FROM 'legal_hold' LIMIT 1000) AS w) AS waiting, (SELECT count(*) FROM (SELECT FROM erasures \
         WHERE state = 'running' AND started_at < $1 LIMIT 1000) AS r) AS running",
    )
    .bind::<Timestamptz, _>(since)
    .get_result(&mut conn)
    .await
}

/// Whose step this is, of which erasure, and whether it is done.
///
/// # Errors
/// Those of the query.
pub async fn step(
    mut conn: &Connection,
    id: StepId,
) -> QueryResult<Option<(CustomerId, ErasureId, bool)>> {
    let found: Option<(Uuid, Uuid, String)> = erasure_steps::table
        .find(id.0)
        .select((erasure_steps::customer_id, erasure_steps::erasure_id, erasure_steps::state))
        .first(&mut conn)
        .await
        .optional()?;
    let done = |state: String| state == StepState::Done.as_str();
    Ok(found
        .map(|(customer, erasure, state)| (CustomerId(customer), ErasureId(erasure), done(state))))
}
