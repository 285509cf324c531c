//! Table `customer_keys.data_keys`: a key for each customer, made with it, wrapped by one
//! that the database does not hold. In a schema of its own, so that its backups can be kept apart and
//! for a shorter time: with the last copy of a row, what it sealed is gone from every backup.

use super::Connection;
use super::audit::{self, Deed};
use super::schema::data_keys;
use super::statements::{InsertDataKeys, RewrapDataKeys};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bytea, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

/// A data key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = data_keys, check_for_backend(diesel::pg::Pg))]
pub struct KeptKey {
    /// Encrypted.
    pub wrapped: Vec<u8>,
    /// The name of the key that wraps it.
    pub wrapped_by: String,
}

diesel::define_sql_function! {
    /// The bytes that a text writes.
    fn decode(text: Text, format: Text) -> Bytea;
}

impl KeptKey {
    /// From one column: the eight bytes that the name writes in hexadecimal digits, then the key.
    pub(super) fn from_packed(packed: Vec<u8>) -> Option<Self> {
        let (name, wrapped) = packed.split_at_checked(8)?;
        let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or_default();
        let wrapped_by =
            name.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        Some(Self { wrapped: wrapped.to_vec(), wrapped_by })
    }
}

/// The key of a customer, if it has one.
///
/// # Errors
/// Those of the query.
pub async fn of(mut conn: &Connection, customer: Uuid) -> QueryResult<Option<KeptKey>> {
    data_keys::table.find(customer).select(KeptKey::as_select()).first(&mut conn).await.optional()
}

/// Gives a living customer this key unless it has one, and answers with the one that it has then.
/// `None`: there is no such customer.
///
/// # Errors
/// Those of the queries.
pub async fn keep(
    mut conn: &Connection,
    customer: Uuid,
    key: &KeptKey,
    now: DateTime<Utc>,
) -> QueryResult<Option<KeptKey>> {
    // Once in the life of a customer.
    diesel::sql_query(
        "INSERT INTO customer_keys.data_keys (customer_id, wrapped, wrapped_by, created_at, wrapped_at) \
         SELECT id, $2, $3, $4, $4 FROM customers \
         WHERE id = $1 AND deleted_at IS NULL AND status <> 'erased' \
         ON CONFLICT (customer_id) DO NOTHING",
    )
    .bind::<SqlUuid, _>(customer)
    .bind::<Bytea, _>(&key.wrapped)
    .bind::<Text, _>(&key.wrapped_by)
    .bind::<Timestamptz, _>(now)
    .execute(&mut conn)
    .await?;
    of(conn, customer).await
}

/// The key of a customer, if it has one; then this deed stands in the audit trail.
///
/// # Errors
/// Those of the queries.
#[expect(clippy::disallowed_methods, reason = "asking again is answered alike")]
pub async fn tell(
    conn: &mut Connection,
    customer: Uuid,
    deed: &Deed<'_>,
) -> QueryResult<Option<KeptKey>> {
    conn.transaction(async |conn| {
        let key = of(conn, customer).await?;
        if key.is_some() {
            audit::append_deed(conn, deed, Some(customer)).await?;
        }
        Ok(key)
    })
    .await
}

/// The names of the keys that wrap any, each once: from one to the next over the index, however many
/// rows there are.
///
/// # Errors
/// Those of the query.
pub async fn wrapping(mut conn: &Connection) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let names: Vec<Name> = diesel::sql_query(
        "WITH RECURSIVE names AS (SELECT min(wrapped_by) AS name FROM customer_keys.data_keys \
         UNION ALL SELECT (SELECT min(wrapped_by) FROM customer_keys.data_keys WHERE wrapped_by > n.name) \
         FROM names AS n WHERE n.name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL",
    )
    .load(&mut conn)
    .await?;
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// How many keys the one of this name wraps.
///
/// # Errors
/// Those of the query.
pub async fn count(mut conn: &Connection, wrapped_by: &str) -> QueryResult<i64> {
    data_keys::table
        .filter(data_keys::wrapped_by.eq(wrapped_by))
        .count()
        .get_result(&mut conn)
        .await
}

/// The keys that the one of this name wraps, of the next customers after this one.
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    wrapped_by: &str,
    after: Uuid,
    limit: i64,
) -> QueryResult<Vec<(Uuid, KeptKey)>> {
    data_keys::table
        .filter(data_keys::wrapped_by.eq(wrapped_by).and(data_keys::customer_id.gt(after)))
        .order(data_keys::customer_id)
        .limit(limit)
        .select((data_keys::customer_id, KeptKey::as_select()))
        .load(&mut conn)
        .await
}

impl InsertDataKeys {
    pub fn push(&mut self, customer: Uuid, key: &KeptKey, now: DateTime<Utc>) {
        self.customer_id.push(customer);
        self.wrapped.push(key.wrapped.clone());
        self.wrapped_by.push(key.wrapped_by.clone());
        self.created_at.push(now);
    }
}

impl RewrapDataKeys {
    /// One customer's key, as it was read and as it is to be.
    pub fn push(&mut self, customer: Uuid, before: KeptKey, after: KeptKey, now: DateTime<Utc>) {
        self.customer_id.push(customer);
        self.before.push(before.wrapped);
        self.wrapped.push(after.wrapped);
        self.wrapped_by.push(after.wrapped_by);
        self.wrapped_at.push(now);
    }
}
