//! Table `phone_confirmations`.

use super::Connection;
use super::schema::phone_confirmations;
use super::sessions::secret_hash;
use super::statements::{DeletePhoneConfirmations, SavePhoneConfirmations};
use crate::domain::phone::PhoneNumber;
use crate::domain::phone_confirmation::PhoneConfirmation;
use crate::domain::{CustomerId, TextMessageId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = phone_confirmations, check_for_backend(diesel::pg::Pg))]
struct Row {
    customer_id: Uuid,
    text_message_id: Uuid,
    phone: String,
    code_hash: Vec<u8>,
    tries: i16,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl TryFrom<Row> for (CustomerId, PhoneConfirmation) {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let confirmation = PhoneConfirmation {
            text_id: TextMessageId(row.text_message_id),
            phone: PhoneNumber::from_stored(row.phone),
            code_hash: secret_hash(row.code_hash)?,
            // The column's CHECK keeps it between 0 and 5; what is out of range is used up.
            tries: u8::try_from(row.tries).unwrap_or(u8::MAX),
            created_at: row.created_at,
            expires_at: row.expires_at,
        };
        Ok((CustomerId(row.customer_id), confirmation))
    }
}

/// The confirmations of these customers, open or not.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, PhoneConfirmation)>> {
    let rows: Vec<Row> = phone_confirmations::table
        .filter(phone_confirmations::customer_id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The number that waits for a code of this customer.
///
/// # Errors
/// Those of the query.
pub async fn pending_phone(
    mut conn: &Connection,
    id: CustomerId,
) -> QueryResult<Option<PhoneNumber>> {
    let phone: Option<String> = phone_confirmations::table
        .filter(phone_confirmations::customer_id.eq(id.0))
        .select(phone_confirmations::phone)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(phone.map(PhoneNumber::from_stored))
}

impl SavePhoneConfirmations {
    pub fn push(&mut self, customer: CustomerId, confirmation: &PhoneConfirmation) {
        self.customer_id.push(customer.0);
        self.text_message_id.push(confirmation.text_id.0);
        self.phone.push(confirmation.phone.as_str().to_owned());
        self.code_hash.push(confirmation.code_hash.to_vec());
        self.tries.push(i16::from(confirmation.tries));
        self.created_at.push(confirmation.created_at);
        self.expires_at.push(confirmation.expires_at);
    }
}

impl DeletePhoneConfirmations {
    pub fn push(&mut self, customer: CustomerId) {
        self.customer_id.push(customer.0);
    }
}
