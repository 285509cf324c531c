//! Tables `customer_totp` and `backup_codes`.

use super::Connection;
use super::customer_keys::KeptKey;
use super::schema::{backup_codes, customer_totp, data_keys};
use super::sessions::secret_hash;
use super::statements::{DeleteBackupCodes, DeleteTotp, InsertBackupCodes, SaveTotp};
use crate::domain::CustomerId;
use crate::domain::second_factor::Totp;
use crate::domain::session::SecretHash;
use crate::domain::state::State;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_totp, check_for_backend(diesel::pg::Pg))]
struct TotpRow {
    customer_id: Uuid,
    secret: Vec<u8>,
    created_at: DateTime<Utc>,
    confirmed_at: Option<DateTime<Utc>>,
    last_step: Option<i64>,
}

impl From<TotpRow> for (CustomerId, Totp) {
    fn from(row: TotpRow) -> Self {
        let TotpRow { customer_id, secret, created_at, confirmed_at, last_step } = row;
        (CustomerId(customer_id), Totp { secret, created_at, confirmed_at, last_step })
    }
}

/// The authenticators of the customers that have one, also those not confirmed yet.
///
/// # Errors
/// Those of the query.
pub async fn totp_of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Totp)>> {
    let rows: Vec<TotpRow> = customer_totp::table
        .filter(customer_totp::customer_id.eq_any(ids))
        .select(TotpRow::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The unused backup codes of the customers, each with the moment of its issue.
///
/// # Errors
/// Those of the query.
pub async fn backup_codes_of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, (SecretHash, DateTime<Utc>))>> {
    let rows: Vec<(Uuid, Vec<u8>, DateTime<Utc>)> = backup_codes::table
        .filter(backup_codes::customer_id.eq_any(ids))
        .select((backup_codes::customer_id, backup_codes::code_hash, backup_codes::created_at))
        .load(&mut conn)
        .await?;
    rows.into_iter()
        .map(|(id, hash, created_at)| Ok((CustomerId(id), (secret_hash(hash)?, created_at))))
        .collect()
}

/// A customer's authenticator, if it has one, with the key that its secret is sealed by: one
/// statement. Without key are those that were set up before customers had keys.
///
/// # Errors
/// Those of the query.
pub async fn totp(
    mut conn: &Connection,
    customer: CustomerId,
) -> QueryResult<Option<(Totp, Option<KeptKey>)>> {
    let row: Option<(TotpRow, Option<KeptKey>)> = customer_totp::table
        .left_join(data_keys::table.on(data_keys::customer_id.eq(customer_totp::customer_id)))
        .filter(customer_totp::customer_id.eq(customer.0))
        .select((TotpRow::as_select(), Option::<KeptKey>::as_select()))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(|(totp, key)| (<(CustomerId, Totp)>::from(totp).1, key)))
}

/// A customer's second factors and backup codes: the part of its state that tells of them.
///
/// # Errors
/// Those of the queries.
pub async fn of_customer(conn: &Connection, customer: CustomerId) -> QueryResult<State> {
    let ids = [customer.0];
    let (totp, backup_codes, passkeys) = tokio::try_join!(
        totp_of_customers(conn, &ids),
        backup_codes_of_customers(conn, &ids),
        super::passkeys::of_customers(conn, &ids)
    )?;
    Ok(State {
        totp: totp.into_iter().map(|(_, totp)| totp).next(),
        backup_codes: backup_codes.into_iter().map(|(_, code)| code).collect(),
        passkeys: passkeys.into_iter().map(|(_, passkey)| (passkey.id, passkey)).collect(),
        ..State::default()
    })
}

impl SaveTotp {
    pub fn push(&mut self, customer: CustomerId, totp: &Totp) {
        self.customer_id.push(customer.0);
        self.secret.push(totp.secret.clone());
        self.created_at.push(totp.created_at);
        self.confirmed_at.push(totp.confirmed_at);
        self.last_step.push(totp.last_step);
    }
}

impl DeleteTotp {
    pub fn push(&mut self, customer: CustomerId) {
        self.customer_id.push(customer.0);
    }
}

impl InsertBackupCodes {
    pub fn push(&mut self, customer: CustomerId, hash: &SecretHash, created_at: DateTime<Utc>) {
        self.customer_id.push(customer.0);
        self.code_hash.push(hash.to_vec());
        self.created_at.push(created_at);
    }
}

impl DeleteBackupCodes {
    pub fn push(&mut self, customer: CustomerId, hash: &SecretHash) {
        self.customer_id.push(customer.0);
        self.code_hash.push(hash.to_vec());
    }
}
