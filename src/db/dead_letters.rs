//! Table `outbox_parked`, as staff sees it and decides about it. A decision is a change of state;
//! the relay that owns the shard carries it out (`db::outbox_parked`). Each decision and its audit
//! entry are one transaction, and holds once, however often it is asked for.

use super::Connection;
use super::audit::{self, Deed};
use super::outbox_parked::State;
use super::schema::outbox_parked;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

/// What staff sees of a message that is kept.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = outbox_parked, check_for_backend(Pg))]
pub struct DeadLetter {
    /// The message id.
    pub id: Uuid,
    pub customer_id: Uuid,
    pub customer_sequence: i64,
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    pub state: String,
    pub reason: String,
    pub detail: Option<String>,
    pub tries: i32,
    pub parked_at: DateTime<Utc>,
    pub replay_id: Option<Uuid>,
    pub discard_reason: Option<String>,
    pub settled_at: Option<DateTime<Utc>>,
}

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub state: Option<State>,
    pub kind: Option<String>,
    pub customer: Option<Uuid>,
}

/// A page of them in the order of their message ids, which is about that of their time.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<DeadLetter>> {
    use outbox_parked::{customer_id, id, kind, state, table};
    let mut some = table.filter(id.gt(after.unwrap_or(Uuid::nil()))).into_boxed();
    if let Some(wanted) = filter.state {
        some = some.filter(state.eq(wanted.as_str()));
    }
    if let Some(wanted) = &filter.kind {
        some = some.filter(kind.eq(wanted));
    }
    if let Some(wanted) = filter.customer {
        some = some.filter(customer_id.eq(wanted));
    }
    some.order(id).limit(limit).select(DeadLetter::as_select()).load(&mut conn).await
}

/// One of them, with the body of the message.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    message: Uuid,
) -> QueryResult<Option<(DeadLetter, Value)>> {
    outbox_parked::table
        .find(message)
        .select((DeadLetter::as_select(), outbox_parked::data))
        .first(&mut conn)
        .await
        .optional()
}

/// Releases a parked message, to be published. `None`: there is none of this id that is parked.
///
/// # Errors
/// Those of the queries.
#[expect(clippy::disallowed_methods, reason = "asking again is answered alike")]
pub async fn release(
    conn: &mut Connection,
    message: Uuid,
    replay: Uuid,
    deed: &Deed<'_>,
) -> QueryResult<Option<DeadLetter>> {
    use outbox_parked::{replay_id, state, table, tries};
    conn.transaction(async |conn| {
        let parked = table.find(message).filter(state.eq(State::Parked.as_str()));
        let released = diesel::update(parked)
            .set((state.eq(State::Released.as_str()), tries.eq(0), replay_id.eq(replay)))
            .returning(DeadLetter::as_returning())
            .get_result(conn)
            .await
            .optional()?;
        if let Some(row) = &released {
            audit::append_deed(conn, deed, Some(row.customer_id)).await?;
        }
        Ok(released)
    })
    .await
}

/// Discards a message that is parked or waits behind one. `None`: there is none of this id that
/// may be discarded.
///
/// # Errors
/// Those of the queries.
#[expect(clippy::disallowed_methods, reason = "asking again is answered alike")]
pub async fn discard(
    conn: &mut Connection,
    message: Uuid,
    reason: &str,
    deed: &Deed<'_>,
) -> QueryResult<Option<DeadLetter>> {
    use outbox_parked::{discard_reason, state, table};
    conn.transaction(async |conn| {
        let open = [State::Parked.as_str(), State::Behind.as_str()];
        let discarded = diesel::update(table.find(message).filter(state.eq_any(open)))
            .set((state.eq(State::Discarded.as_str()), discard_reason.eq(reason)))
            .returning(DeadLetter::as_returning())
            .get_result(conn)
            .await
            .optional()?;
        if let Some(row) = &discarded {
            audit::append_deed(conn, deed, Some(row.customer_id)).await?;
        }
        Ok(discarded)
    })
    .await
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Releases parked messages, at most `limit`, under the name of one replay. Answers with their
/// number.
///
/// # Errors
/// Those of the queries.
#[expect(clippy::disallowed_methods, reason = "asking again releases what is left")]
pub async fn release_many(
    conn: &mut Connection,
    filter: &Filter,
    replay: Uuid,
    limit: i64,
    deed: &Deed<'_>,
) -> QueryResult<i64> {
    conn.transaction(async |conn| {
        let released: Count = diesel::sql_query(
            "WITH released AS (UPDATE outbox_parked SET state = 'released', tries = 0, replay_id = $1 \
             WHERE id = ANY (ARRAY(SELECT p.id FROM outbox_parked AS p WHERE p.state = 'parked' \
             AND ($2 IS NULL OR p.kind = $2) AND ($3 IS NULL OR p.customer_id = $3) \
             ORDER BY p.id LIMIT $4 FOR UPDATE SKIP LOCKED)) RETURNING 1) \
             SELECT count(*) AS count FROM released",
        )
        .bind::<SqlUuid, _>(replay)
        .bind::<Nullable<Text>, _>(&filter.kind)
        .bind::<Nullable<SqlUuid>, _>(filter.customer)
        .bind::<BigInt, _>(limit)
        .get_result(conn)
        .await?;
        if released.count > 0 {
            audit::append_deed(conn, deed, filter.customer).await?;
        }
        Ok(released.count)
    })
    .await
}

#[derive(QueryableByName)]
struct StateCount {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Integer)]
    count: i32,
}

/// How far a replay has come: its messages by state. One that was released again by another replay
/// counts there.
///
/// # Errors
/// Those of the query.
pub async fn progress(mut conn: &Connection, replay: Uuid) -> QueryResult<Vec<(State, i32)>> {
    let rows: Vec<StateCount> = diesel::sql_query(
        "SELECT state, count(*)::integer AS count FROM outbox_parked WHERE replay_id = $1 GROUP BY state",
    )
    .bind::<SqlUuid, _>(replay)
    .load(&mut conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((State::parse(&row.state)?, row.count))).collect())
}
