//! Table `devices`.

use super::Connection;
use super::schema::devices;
use super::sessions::secret_hash;
use super::statements::{DeleteDevices, SaveDevices};
use crate::domain::session::Device;
use crate::domain::{CustomerId, DeviceId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = devices, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    secret_hash: Vec<u8>,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

impl TryFrom<Row> for (CustomerId, Device) {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let device = Device {
            id: DeviceId(row.id),
            secret_hash: secret_hash(row.secret_hash)?,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        };
        Ok((CustomerId(row.customer_id), device))
    }
}

/// The known devices of the customers.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Device)>> {
    let rows: Vec<Row> = devices::table
        .filter(devices::customer_id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A device by its id, with its owner.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    id: DeviceId,
) -> QueryResult<Option<(CustomerId, Device)>> {
    let row: Option<Row> = devices::table
        .filter(devices::id.eq(id.0))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(TryInto::try_into).transpose()
}

impl SaveDevices {
    pub fn push(&mut self, customer: CustomerId, device: &Device) {
        self.id.push(device.id.0);
        self.customer_id.push(customer.0);
        self.secret_hash.push(device.secret_hash.to_vec());
        self.created_at.push(device.created_at);
        self.last_used_at.push(device.last_used_at);
    }
}

impl DeleteDevices {
    pub fn push(&mut self, customer: CustomerId, id: DeviceId) {
        self.customer_id.push(customer.0);
        self.id.push(id.0);
    }
}
