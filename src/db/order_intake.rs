//! Tables `parked_order_facts` and `order_fact_attempts`: what the intake of order facts must not
//! forget when a process ends.

use super::Connection;
use super::schema::{order_fact_attempts, parked_order_facts};
use chrono::{DateTime, Utc};
use diesel::dsl::min;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// SHA-256 of a message's routing key and body: what makes two deliveries one message.
pub type Digest = [u8; 32];

/// Why a fact is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkReason {
    /// Its customer may yet be made.
    UnknownCustomer,
    /// Trying it came to no end too often.
    Poison,
}

impl ParkReason {
    pub const ALL: [Self; 2] = [Self::UnknownCustomer, Self::Poison];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownCustomer => "unknown_customer",
            Self::Poison => "poison",
        }
    }
}

/// A message that is parked.
#[derive(Clone, Queryable, Selectable, QueryableByName, Insertable)]
#[diesel(table_name = parked_order_facts, check_for_backend(diesel::pg::Pg))]
pub struct Parked {
    pub id: Uuid,
    pub digest: Vec<u8>,
    pub reason: String,
    pub customer_id: Option<Uuid>,
    pub order_id: Option<String>,
    pub order_version: Option<i64>,
    pub routing_key: String,
    pub message_id: Option<String>,
    pub body: Vec<u8>,
    /// How often it was tried and its customer was not known.
    pub tries: i32,
    /// Tries in a row that did not come to an end, the present one included.
    pub unended: i32,
    pub first_seen_at: DateTime<Utc>,
    /// `None`: it is not tried again.
    pub next_try_at: Option<DateTime<Utc>>,
}

/// The message itself stays out of logs.
impl std::fmt::Debug for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parked")
            .field("id", &self.id)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// Notes that a message is tried. Answers with how often it was since it last came to an end, this
/// time included, and when it was for the first time.
///
/// # Errors
/// Those of the query.
pub async fn begin_try(
    mut conn: &Connection,
    digest: &[u8],
    now: DateTime<Utc>,
) -> QueryResult<(i32, DateTime<Utc>)> {
    use order_fact_attempts::{first_tried_at, table, tried_at, tries};
    diesel::insert_into(table)
        .values((
            order_fact_attempts::digest.eq(digest),
            tries.eq(1),
            first_tried_at.eq(now),
            tried_at.eq(now),
        ))
        .on_conflict(order_fact_attempts::digest)
        .do_update()
        .set((tries.eq(tries + 1), tried_at.eq(now)))
        .returning((tries, first_tried_at))
        .get_result(&mut conn)
        .await
}

/// Notes that a try came to an end, whatever it was.
///
/// # Errors
/// Those of the query.
pub async fn end_try(mut conn: &Connection, digest: &[u8]) -> QueryResult<()> {
    use order_fact_attempts::table;
    let ended = table.filter(order_fact_attempts::digest.eq(digest));
    diesel::delete(ended).execute(&mut conn).await.map(|_| ())
}

/// Keeps a message whose customer is not known. It may be kept already.
///
/// # Errors
/// Those of the query.
pub async fn park(mut conn: &Connection, fact: &Parked) -> QueryResult<()> {
    diesel::insert_into(parked_order_facts::table)
        .values(fact)
        .on_conflict_do_nothing()
        .execute(&mut conn)
        .await
        .map(|_| ())
}

/// Keeps a message that is not to be tried again; one that was parked becomes such.
///
/// # Errors
/// Those of the query.
pub async fn condemn(mut conn: &Connection, fact: &Parked) -> QueryResult<()> {
    use parked_order_facts::{digest, next_try_at, reason, table};
    diesel::insert_into(table)
        .values(fact)
        .on_conflict(digest)
        .do_update()
        .set((
            reason.eq(ParkReason::Poison.as_str()),
            next_try_at.eq(Option::<DateTime<Utc>>::None),
        ))
        .execute(&mut conn)
        .await
        .map(|_| ())
}

/// Takes facts that are due; until `until` nobody else gets them. Those whose last try came to no
/// end are taken with `suspects`, and they alone.
///
/// # Errors
/// Those of the query.
pub async fn claim(
    mut conn: &Connection,
    suspects: bool,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Vec<Parked>> {
    let whose = if suspects { "unended > 0" } else { "unended = 0" };
    diesel::sql_query(format!(
        "UPDATE parked_order_facts AS p SET next_try_at = $2, unended = unended + 1 \
         FROM (SELECT id FROM parked_order_facts WHERE next_try_at <= $1 AND {whose} \
         ORDER BY next_try_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS due \
         WHERE p.id = due.id RETURNING p.*"
    ))
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(until)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await
}

/// Takes the fact that has waited longest for its customer and is not being tried; until `until` nobody
/// else gets it. `None`: there is none.
///
/// # Errors
/// Those of the query.
pub async fn claim_oldest(
    mut conn: &Connection,
    until: DateTime<Utc>,
) -> QueryResult<Option<Parked>> {
    diesel::sql_query(
        "UPDATE parked_order_facts AS p SET next_try_at = $1, unended = unended + 1 \
         FROM (SELECT id FROM parked_order_facts WHERE reason = 'unknown_customer' AND unended = 0 \
         ORDER BY first_seen_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS oldest \
         WHERE p.id = oldest.id RETURNING p.*",
    )
    .bind::<Timestamptz, _>(until)
    .get_result(&mut conn)
    .await
    .optional()
}

/// Notes that a try found no customer (`tried`), or could not be made, and when the next one is due.
/// What was found has ended well: whatever was held against it before is forgotten. One that was
/// given up and is only that its customer is not known waits like any other.
///
/// # Errors
/// Those of the query.
pub async fn put_off(
    mut conn: &Connection,
    id: Uuid,
    tried: bool,
    due: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::sql_query(
        "WITH ended AS (DELETE FROM order_fact_attempts AS a USING parked_order_facts AS p \
         WHERE $2 AND p.id = $1 AND a.digest = p.digest) \
         UPDATE parked_order_facts SET unended = 0, tries = tries + $2::integer, next_try_at = $3, \
         reason = 'unknown_customer' WHERE id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Bool, _>(tried)
    .bind::<Timestamptz, _>(due)
    .execute(&mut conn)
    .await
    .map(|_| ())
}

/// Forgets a fact: it was recorded, or lies with the dead letters.
///
/// # Errors
/// Those of the query.
pub async fn unpark(mut conn: &Connection, id: Uuid) -> QueryResult<()> {
    diesel::sql_query(
        "WITH ended AS (DELETE FROM order_fact_attempts AS a USING parked_order_facts AS p \
         WHERE p.id = $1 AND a.digest = p.digest) \
         DELETE FROM parked_order_facts WHERE id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .execute(&mut conn)
    .await
    .map(|_| ())
}

/// How many facts are parked for a reason, counted up to `limit`, and since when the oldest is.
///
/// # Errors
/// Those of the query.
pub async fn parked(
    mut conn: &Connection,
    why: ParkReason,
    limit: i64,
) -> QueryResult<(i64, Option<DateTime<Utc>>)> {
    use parked_order_facts::{first_seen_at, reason, table};
    let some = table.filter(reason.eq(why.as_str()));
    let oldest = some.select(min(first_seen_at)).first(&mut conn).await?;
    let counted = diesel::sql_query(
        "SELECT count(*)::integer AS count FROM \
         (SELECT FROM parked_order_facts WHERE reason = $1 LIMIT $2) AS counted",
    )
    .bind::<diesel::sql_types::Text, _>(why.as_str())
    .bind::<BigInt, _>(limit)
    .get_result::<Count>(&mut conn)
    .await?;
    Ok((counted.count.into(), oldest))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Integer)]
    count: i32,
}

/// What staff sees of a parked fact.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = parked_order_facts, check_for_backend(diesel::pg::Pg))]
pub struct ParkedView {
    pub id: Uuid,
    pub reason: String,
    pub customer_id: Option<Uuid>,
    pub order_id: Option<String>,
    pub order_version: Option<i64>,
    pub routing_key: String,
    pub tries: i32,
    pub first_seen_at: DateTime<Utc>,
    pub next_try_at: Option<DateTime<Utc>>,
}

/// A page of what is parked, oldest first, after the fact of an id.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<ParkedView>> {
    use parked_order_facts::{id, table};
    table
        .filter(id.gt(after.unwrap_or(Uuid::nil())))
        .order(id)
        .limit(limit)
        .select(ParkedView::as_select())
        .load(&mut conn)
        .await
}

/// Has a fact tried now; one that was given up gets one more try. `None`: there is no such fact.
///
/// # Errors
/// Those of the query.
pub async fn hasten(
    mut conn: &Connection,
    fact: Uuid,
    now: DateTime<Utc>,
    unended_max: i32,
) -> QueryResult<Option<ParkedView>> {
    use parked_order_facts::{next_try_at, reason, table, unended};
    let poisoned = reason.eq(ParkReason::Poison.as_str());
    let unended_now =
        diesel::dsl::case_when::<_, _, Integer>(poisoned, unended_max - 1).otherwise(unended);
    diesel::update(table.find(fact))
        .set((next_try_at.eq(now), unended.eq(unended_now)))
        .returning(ParkedView::as_returning())
        .get_result(&mut conn)
        .await
        .optional()
}
