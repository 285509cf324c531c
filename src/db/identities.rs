//! Table `identities`.

use super::Connection;
use super::schema::identities;
use super::statements::{DeleteIdentities, SaveIdentities};
use crate::domain::CustomerId;
use crate::domain::email::EmailAddress;
use crate::domain::identity::{Account, Identity};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = identities, check_for_backend(diesel::pg::Pg))]
struct Row {
    customer_id: Uuid,
    provider: String,
    subject: String,
    email: Option<String>,
    linked_at: DateTime<Utc>,
}

impl From<Row> for (CustomerId, Identity) {
    fn from(row: Row) -> Self {
        // it was parsed before it was stored; one that no longer is an address is left out
        let email = row.email.and_then(|email| EmailAddress::parse(&email).ok());
        let account = Account { provider: row.provider, subject: row.subject, email };
        (CustomerId(row.customer_id), Identity { account, linked_at: row.linked_at })
    }
}

/// The linked accounts of the customers, by provider.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Identity)>> {
    let rows: Vec<Row> = identities::table
        .filter(identities::customer_id.eq_any(ids))
        .order(identities::provider)
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

impl SaveIdentities {
    pub fn push(&mut self, customer: CustomerId, identity: &Identity) {
        let Account { provider, subject, email } = &identity.account;
        self.customer_id.push(customer.0);
        self.provider.push(provider.clone());
        self.subject.push(subject.clone());
        self.email.push(email.as_ref().map(|email| email.as_str().to_owned()));
        self.linked_at.push(identity.linked_at);
    }
}

impl DeleteIdentities {
    pub fn push(&mut self, customer: CustomerId, provider: &str) {
        self.customer_id.push(customer.0);
        self.provider.push(provider.to_owned());
    }
}
