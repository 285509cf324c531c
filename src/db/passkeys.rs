//! Table `passkeys`.

use super::Connection;
use super::schema::passkeys;
use super::statements::{DeletePasskeys, SavePasskeys};
use crate::domain::passkey::Passkey;
use crate::domain::text::Label;
use crate::domain::{CustomerId, PasskeyId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = passkeys, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    credential_id: Vec<u8>,
    user_handle: Uuid,
    credential: Value,
    counter: i64,
    name: String,
    second_factor: bool,
    backup_eligible: bool,
    backed_up: bool,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    version: i64,
}

impl TryFrom<Row> for (CustomerId, Passkey) {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let passkey = Passkey {
            id: PasskeyId(row.id),
            credential_id: row.credential_id,
            user_handle: row.user_handle,
            credential: row.credential,
            counter: u32::try_from(row.counter).map_err(|_| {
                diesel::result::Error::DeserializationError("a counter has 32 bits".into())
            })?,
            name: Label::from_stored(row.name),
            second_factor: row.second_factor,
            backup_eligible: row.backup_eligible,
            backed_up: row.backed_up,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            version: row.version,
        };
        Ok((CustomerId(row.customer_id), passkey))
    }
}

/// The passkeys of the customers.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Passkey)>> {
    let rows: Vec<Row> = passkeys::table
        .filter(passkeys::customer_id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A passkey by the authenticator's name for it, with its owner.
///
/// # Errors
/// Those of the query.
pub async fn by_credential(
    mut conn: &Connection,
    credential_id: &[u8],
) -> QueryResult<Option<(CustomerId, Passkey)>> {
    let row: Option<Row> = passkeys::table
        .filter(passkeys::credential_id.eq(credential_id))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(TryInto::try_into).transpose()
}

/// One passkey of a customer.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    customer: CustomerId,
    id: PasskeyId,
) -> QueryResult<Option<Passkey>> {
    let row: Option<Row> = passkeys::table
        .find((customer.0, id.0))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(|row| <(CustomerId, Passkey)>::try_from(row).map(|(_, passkey)| passkey)).transpose()
}

/// A page of a customer's passkeys in the order of their ids, which is that of their registration.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    customer: CustomerId,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Passkey>> {
    let rows: Vec<Row> = passkeys::table
        .filter(passkeys::customer_id.eq(customer.0))
        .filter(passkeys::id.gt(after.unwrap_or(Uuid::nil())))
        .order(passkeys::id)
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    let passkey = |row| <(CustomerId, Passkey)>::try_from(row).map(|(_, passkey)| passkey);
    rows.into_iter().map(passkey).collect()
}

/// Customers whose passkeys no browser offers any more, because the shop's domain for passkeys is
/// another one now, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Stranded {
    /// Who has neither a usable passkey nor a password nor a linked account: the way back is a new
    /// password by mail.
    #[diesel(sql_type = BigInt)]
    pub without_way_in: i64,
    /// Who is asked for a passkey after the password and has nothing else to answer with: the way
    /// back is staff, who takes the factor away.
    #[diesel(sql_type = BigInt)]
    pub without_second_factor: i64,
}

/// Counts them; `rp_id` is the shop's domain for passkeys. A look at every passkey, once a start.
///
/// # Errors
/// Those of the query.
pub async fn stranded(mut conn: &Connection, rp_id: Option<&str>) -> QueryResult<Stranded> {
    diesel::sql_query(
        "WITH owners AS (SELECT customer_id, \
         bool_or($1 IS NULL OR credential ->> 'rp_id' <> $1) AS hit, \
         bool_or($1 IS NOT NULL AND coalesce(credential ->> 'rp_id', $1) = $1) AS usable, \
         bool_or(second_factor) AS asked FROM passkeys GROUP BY customer_id), \
         lost AS (SELECT o.customer_id, o.asked FROM owners AS o JOIN customers AS c \
         ON c.id = o.customer_id AND c.deleted_at IS NULL AND c.status <> 'erased' \
         WHERE o.hit AND NOT o.usable) \
         SELECT count(*) FILTER (WHERE \
         NOT EXISTS (SELECT FROM passwords AS p WHERE p.customer_id = l.customer_id) \
         AND NOT EXISTS (SELECT FROM identities AS i WHERE i.customer_id = l.customer_id)) \
         AS without_way_in, \
         count(*) FILTER (WHERE l.asked AND NOT EXISTS (SELECT FROM customer_totp AS t \
         WHERE t.customer_id = l.customer_id AND t.confirmed_at IS NOT NULL) \
         AND NOT EXISTS (SELECT FROM backup_codes AS b WHERE b.customer_id = l.customer_id)) \
         AS without_second_factor FROM lost AS l",
    )
    .bind::<Nullable<Text>, _>(rp_id)
    .get_result(&mut conn)
    .await
}

impl SavePasskeys {
    pub fn push(&mut self, customer: CustomerId, passkey: &Passkey) {
        self.id.push(passkey.id.0);
        self.customer_id.push(customer.0);
        self.credential_id.push(passkey.credential_id.clone());
        self.user_handle.push(passkey.user_handle);
        self.credential.push(passkey.credential.clone());
        self.counter.push(i64::from(passkey.counter));
        self.name.push(passkey.name.as_str().to_owned());
        self.second_factor.push(passkey.second_factor);
        self.backup_eligible.push(passkey.backup_eligible);
        self.backed_up.push(passkey.backed_up);
        self.created_at.push(passkey.created_at);
        self.last_used_at.push(passkey.last_used_at);
        self.version.push(passkey.version);
    }
}

impl DeletePasskeys {
    pub fn push(&mut self, customer: CustomerId, id: PasskeyId) {
        self.customer_id.push(customer.0);
        self.id.push(id.0);
    }
}
