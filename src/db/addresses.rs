//! Table `addresses`.

use super::Connection;
use super::schema::addresses;
use super::statements::{DeleteAddresses, SaveAddresses};
use crate::domain::address::{Address, AddressFields};
use crate::domain::phone::PhoneNumber;
use crate::domain::place::Country;
use crate::domain::region::RegionCode;
use crate::domain::text::{Label, Line};
use crate::domain::{AddressId, CustomerId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = addresses, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    label: Option<String>,
    recipient: String,
    company: Option<String>,
    line1: String,
    line2: Option<String>,
    city: String,
    region: Option<String>,
    postal_code: Option<String>,
    country: String,
    phone: Option<String>,
    default_shipping: bool,
    default_billing: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
    version: i64,
    region_code: Option<String>,
}

impl From<Row> for (CustomerId, Address) {
    fn from(row: Row) -> Self {
        let fields = AddressFields {
            label: row.label.map(Label::from_stored),
            recipient: Line::from_stored(row.recipient),
            company: row.company.map(Line::from_stored),
            line1: Line::from_stored(row.line1),
            line2: row.line2.map(Line::from_stored),
            city: Line::from_stored(row.city),
            region: row.region.map(Line::from_stored),
            region_code: row.region_code.map(RegionCode::from_stored),
            postal_code: row.postal_code,
            country: Country::from_stored(row.country),
            phone: row.phone.map(PhoneNumber::from_stored),
        };
        let address = Address {
            id: AddressId(row.id),
            fields,
            default_shipping: row.default_shipping,
            default_billing: row.default_billing,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_used_at: row.last_used_at,
            version: row.version,
        };
        (CustomerId(row.customer_id), address)
    }
}

/// All addresses of the customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Address)>> {
    let rows: Vec<Row> = addresses::table
        .filter(addresses::customer_id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// One address of a customer.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    customer: CustomerId,
    id: AddressId,
) -> QueryResult<Option<Address>> {
    let row: Option<Row> = addresses::table
        .find((customer.0, id.0))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(|row| <(CustomerId, Address)>::from(row).1))
}

/// A page of a customer's addresses in the order of their ids, which is that of their creation.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    customer: CustomerId,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Address>> {
    let rows: Vec<Row> = addresses::table
        .filter(addresses::customer_id.eq(customer.0))
        .filter(addresses::id.gt(after.unwrap_or(Uuid::nil())))
        .order(addresses::id)
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| <(CustomerId, Address)>::from(row).1).collect())
}

impl SaveAddresses {
    pub fn push(&mut self, customer: CustomerId, address: &Address) {
        let text = |line: &Option<Line>| line.as_ref().map(|line| line.as_str().to_owned());
        let fields = &address.fields;
        self.id.push(address.id.0);
        self.customer_id.push(customer.0);
        self.label.push(fields.label.as_ref().map(|label| label.as_str().to_owned()));
        self.recipient.push(fields.recipient.as_str().to_owned());
        self.company.push(text(&fields.company));
        self.line1.push(fields.line1.as_str().to_owned());
        self.line2.push(text(&fields.line2));
        self.city.push(fields.city.as_str().to_owned());
        self.region.push(text(&fields.region));
        self.region_code.push(fields.region_code.as_ref().map(|code| code.as_str().to_owned()));
        self.postal_code.push(fields.postal_code.clone());
        self.country.push(fields.country.as_str().to_owned());
        self.phone.push(fields.phone.as_ref().map(|phone| phone.as_str().to_owned()));
        self.default_shipping.push(address.default_shipping);
        self.default_billing.push(address.default_billing);
        self.created_at.push(address.created_at);
        self.updated_at.push(address.updated_at);
        self.last_used_at.push(address.last_used_at);
        self.version.push(address.version);
    }
}

impl DeleteAddresses {
    pub fn push(&mut self, customer: CustomerId, id: AddressId) {
        self.customer_id.push(customer.0);
        self.id.push(id.0);
    }
}
