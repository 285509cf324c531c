//! Table `customer_groups`.

use super::Connection;
use super::schema::customer_groups;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// A group that customers may belong to.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = customer_groups, check_for_backend(diesel::pg::Pg))]
pub struct Group {
    /// What requests and messages name it by.
    pub code: String,
    /// What people read.
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Whether there is a group of this code.
///
/// # Errors
/// Those of the query.
pub async fn exists(mut conn: &Connection, code: &str) -> QueryResult<bool> {
    let found = customer_groups::table.filter(customer_groups::code.eq(code));
    diesel::select(diesel::dsl::exists(found)).get_result(&mut conn).await
}

/// All groups, by code. They are few.
///
/// # Errors
/// Those of the query.
pub async fn list(mut conn: &Connection) -> QueryResult<Vec<Group>> {
    customer_groups::table
        .order(customer_groups::code)
        .select(Group::as_select())
        .load(&mut conn)
        .await
}
