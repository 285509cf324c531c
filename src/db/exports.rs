//! Customers as an export reads them: page by page over the key, so that each page costs the same
//! and every customer that is there all the time is met exactly once.

use super::customers::CustomerRow;
use super::schema::customers;
use super::whole::Whole;
use super::{Connection, addresses};
use crate::domain::customer::Customer;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::collections::HashMap;
use uuid::Uuid;

/// The living customers behind `after` in the order of their ids, with their parts.
///
/// # Errors
/// Those of the queries.
pub async fn page(
    mut conn: &Connection,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Whole>> {
    let rows: Vec<CustomerRow> = customers::table
        .filter(customers::id.gt(after.unwrap_or(Uuid::nil())))
        .filter(customers::deleted_at.is_null())
        .order(customers::id)
        .limit(limit)
        .select(CustomerRow::as_select())
        .load(&mut conn)
        .await?;
    let customers =
        rows.into_iter().map(Customer::try_from).collect::<QueryResult<Vec<Customer>>>()?;
    let ids: Vec<Uuid> = customers.iter().map(|customer| customer.id.0).collect();
    let (profiles, preferences, mut books) = tokio::try_join!(
        super::customers::profiles(conn, &ids),
        super::customers::preferences(conn, &ids),
        addresses::of_customers(conn, &ids),
    )?;
    // in the order of their creation, which is that of their ids
    books.sort_by_key(|(_, address)| address.id);
    let mut profiles: HashMap<_, _> = profiles.into_iter().collect();
    let mut preferences: HashMap<_, _> = preferences.into_iter().collect();
    let mut addresses: HashMap<_, Vec<_>> = HashMap::new();
    for (id, address) in books {
        addresses.entry(id).or_default().push(address);
    }
    let whole = |customer: Customer| Whole {
        profile: profiles.remove(&customer.id),
        preferences: preferences.remove(&customer.id),
        addresses: Some(addresses.remove(&customer.id).unwrap_or_default()),
        ..Whole::of(customer)
    };
    Ok(customers.into_iter().map(whole).collect())
}
