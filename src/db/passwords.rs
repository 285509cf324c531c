//! Table `passwords`.

use super::Connection;
use super::schema::passwords;
use super::statements::{DeletePasswords, SavePasswords};
use crate::domain::CustomerId;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// The password hashes of the customers that have one.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, String)>> {
    let rows: Vec<(Uuid, String)> = passwords::table
        .filter(passwords::customer_id.eq_any(ids))
        .select((passwords::customer_id, passwords::hash))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|(id, hash)| (CustomerId(id), hash)).collect())
}

/// A customer's password hash, if it has one.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, customer: CustomerId) -> QueryResult<Option<String>> {
    passwords::table
        .filter(passwords::customer_id.eq(customer.0))
        .select(passwords::hash)
        .first(&mut conn)
        .await
        .optional()
}

impl DeletePasswords {
    pub fn push(&mut self, customer: CustomerId) {
        self.customer_id.push(customer.0);
    }
}

impl SavePasswords {
    pub fn push(&mut self, customer: CustomerId, hash: &str, changed_at: DateTime<Utc>) {
        self.customer_id.push(customer.0);
        self.hash.push(hash.to_owned());
        self.changed_at.push(changed_at);
    }
}
