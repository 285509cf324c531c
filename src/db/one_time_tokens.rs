//! Table `one_time_tokens`.

use super::Connection;
use super::schema::one_time_tokens;
use super::sessions::secret_hash;
use super::statements::SaveTokens;
use crate::domain::CustomerId;
use crate::domain::email::EmailAddress;
use crate::domain::session::SecretHash;
use crate::domain::token::{OneTimeToken, Purpose};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = one_time_tokens, check_for_backend(diesel::pg::Pg))]
struct Row {
    token_hash: Vec<u8>,
    customer_id: Uuid,
    purpose: String,
    password_hash: Option<String>,
    email: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    voided_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for (CustomerId, OneTimeToken) {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let purpose = Purpose::parse(&row.purpose).ok_or_else(|| {
            diesel::result::Error::DeserializationError("unknown one_time_tokens.purpose".into())
        })?;
        let token = OneTimeToken {
            hash: secret_hash(row.token_hash)?,
            purpose,
            password_hash: row.password_hash,
            email: row.email.map(|text| EmailAddress::parse(&text)).transpose().map_err(|_| {
                diesel::result::Error::DeserializationError("one_time_tokens.email".into())
            })?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            used_at: row.used_at,
            voided_at: row.voided_at,
        };
        Ok((CustomerId(row.customer_id), token))
    }
}

/// The tokens of the customers that are neither used nor void.
///
/// # Errors
/// Those of the query.
pub async fn open(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, OneTimeToken)>> {
    let rows: Vec<Row> = one_time_tokens::table
        .filter(one_time_tokens::customer_id.eq_any(ids))
        .filter(one_time_tokens::used_at.is_null())
        .filter(one_time_tokens::voided_at.is_null())
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Whose token this is, by the hash of the token.
///
/// # Errors
/// Those of the query.
pub async fn owner(mut conn: &Connection, hash: &SecretHash) -> QueryResult<Option<CustomerId>> {
    let owner: Option<Uuid> = one_time_tokens::table
        .filter(one_time_tokens::token_hash.eq(hash.as_slice()))
        .select(one_time_tokens::customer_id)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(owner.map(CustomerId))
}

/// Whose token this is, where it is good for this purpose.
///
/// # Errors
/// Those of the query.
pub async fn usable(
    mut conn: &Connection,
    hash: &SecretHash,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> QueryResult<Option<CustomerId>> {
    let owner: Option<Uuid> = one_time_tokens::table
        .filter(one_time_tokens::token_hash.eq(hash.as_slice()))
        .filter(one_time_tokens::purpose.eq(purpose.as_str()))
        .filter(one_time_tokens::used_at.is_null())
        .filter(one_time_tokens::voided_at.is_null())
        .filter(one_time_tokens::expires_at.gt(now))
        .select(one_time_tokens::customer_id)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(owner.map(CustomerId))
}

impl SaveTokens {
    pub fn push(&mut self, customer: CustomerId, token: &OneTimeToken) {
        self.token_hash.push(token.hash.to_vec());
        self.customer_id.push(customer.0);
        self.purpose.push(token.purpose.as_str().to_owned());
        self.password_hash.push(token.password_hash.clone());
        self.email.push(token.email.as_ref().map(|email| email.as_str().to_owned()));
        self.created_at.push(token.created_at);
        self.expires_at.push(token.expires_at);
        self.used_at.push(token.used_at);
        self.voided_at.push(token.voided_at);
    }
}
