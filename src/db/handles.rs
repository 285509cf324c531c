//! Table `customer_identifiers`: who owns an address, a number or an account elsewhere.

use super::Connection;
use super::schema::customer_identifiers;
use super::statements::{ClaimIdentifiers, HoldIdentifiers, ReleaseIdentifiers};
use crate::domain::CustomerId;
use crate::domain::handle::{Handle, HandleKind};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// The handles of the customers, with the end of their keeping where they were given up.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, (Handle, Option<DateTime<Utc>>))>> {
    let rows: Vec<(Uuid, String, String, Option<DateTime<Utc>>)> = customer_identifiers::table
        .filter(customer_identifiers::customer_id.eq_any(ids))
        .select((
            customer_identifiers::customer_id,
            customer_identifiers::kind,
            customer_identifiers::value,
            customer_identifiers::held_until,
        ))
        .load(&mut conn)
        .await?;
    rows.into_iter()
        .map(|(id, kind, value, held_until)| {
            let kind = HandleKind::parse(&kind).ok_or_else(|| {
                diesel::result::Error::DeserializationError("unknown kind of identifier".into())
            })?;
            Ok((CustomerId(id), (Handle { kind, value }, held_until)))
        })
        .collect()
}

/// Whose handle this is; one that was given up is nobody's to sign in by, though nobody else's.
///
/// # Errors
/// Those of the query.
pub async fn owner(mut conn: &Connection, handle: &Handle) -> QueryResult<Option<CustomerId>> {
    let id: Option<Uuid> = customer_identifiers::table
        .filter(customer_identifiers::kind.eq(handle.kind.name()))
        .filter(customer_identifiers::value.eq(&handle.value))
        .filter(customer_identifiers::held_until.is_null())
        .select(customer_identifiers::customer_id)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(id.map(CustomerId))
}

/// Whose handle this is or was; with an instant: given up, and kept for that customer until then.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    handle: &Handle,
) -> QueryResult<Option<(CustomerId, Option<DateTime<Utc>>)>> {
    let found: Option<(Uuid, Option<DateTime<Utc>>)> = customer_identifiers::table
        .filter(customer_identifiers::kind.eq(handle.kind.name()))
        .filter(customer_identifiers::value.eq(&handle.value))
        .select((customer_identifiers::customer_id, customer_identifiers::held_until))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(found.map(|(id, held_until)| (CustomerId(id), held_until)))
}

impl ClaimIdentifiers {
    pub fn push(&mut self, owner: CustomerId, handle: &Handle) {
        self.kind.push(handle.kind.name());
        self.value.push(handle.value.clone());
        self.customer_id.push(owner.0);
    }

    /// Runs the statement. Answers with the first of the handles that somebody else has.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn claim(&self, mut conn: &Connection) -> QueryResult<Option<HandleKind>> {
        if self.is_empty() {
            return Ok(None);
        }
        let had: Vec<(String, String)> = self.load(&mut conn).await?;
        let asked = self.kind.iter().zip(&self.value);
        let lost = asked.into_iter().find(|(kind, value)| {
            !had.iter().any(|(had_kind, had_value)| had_kind == *kind && had_value == *value)
        });
        Ok(lost.and_then(|(kind, _)| HandleKind::parse(kind)))
    }
}

impl HoldIdentifiers {
    pub fn push(&mut self, owner: CustomerId, handle: &Handle, until: DateTime<Utc>) {
        self.kind.push(handle.kind.name());
        self.value.push(handle.value.clone());
        self.customer_id.push(owner.0);
        self.held_until.push(until);
    }
}

impl ReleaseIdentifiers {
    pub fn push(&mut self, owner: CustomerId, handle: &Handle) {
        self.kind.push(handle.kind.name());
        self.value.push(handle.value.clone());
        self.customer_id.push(owner.0);
    }
}
