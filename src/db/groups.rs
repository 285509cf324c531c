//! Table `customer_groups`.

use super::Connection;
use super::schema::{customer_groups, customers};
use super::statements::{DeleteGroups, InsertGroups, UpdateGroups};
use crate::domain::customer::GroupCode;
use crate::domain::group::{Group, Standing};
use crate::domain::text::Label;
use chrono::{DateTime, Utc};
use diesel::dsl::{self, count_star};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::collections::HashMap;

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_groups, check_for_backend(diesel::pg::Pg))]
struct Row {
    code: String,
    name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl From<Row> for Group {
    fn from(row: Row) -> Self {
        Self {
            code: GroupCode::from_stored(row.code),
            name: Label::from_stored(row.name),
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// Loads and locks groups in the order of their codes. While it is locked nobody joins a group,
/// since who does locks its row as well (by the foreign key).
///
/// # Errors
/// Those of the query.
pub async fn lock_many(mut conn: &Connection, codes: &[String]) -> QueryResult<Vec<Standing>> {
    let locked: Vec<Row> = customer_groups::table
        .filter(customer_groups::code.eq_any(codes))
        .order(customer_groups::code)
        .select(Row::as_select())
        .for_update()
        .load(&mut conn)
        .await?;
    let mut standings = Vec::with_capacity(locked.len());
    for row in locked {
        let members = customers::table.filter(customers::group_code.eq(&row.code));
        // In a statement of its own: it sees what was committed while the lock was waited for.
        let in_use = diesel::select(dsl::exists(members)).get_result(&mut conn).await?;
        standings.push(Standing { group: row.into(), in_use });
    }
    Ok(standings)
}

/// Whether there is a group of this code.
///
/// # Errors
/// Those of the query.
pub async fn exists(mut conn: &Connection, code: &str) -> QueryResult<bool> {
    let found = customer_groups::table.filter(customer_groups::code.eq(code));
    diesel::select(dsl::exists(found)).get_result(&mut conn).await
}

/// Which of these codes are groups.
///
/// # Errors
/// Those of the query.
pub async fn known(mut conn: &Connection, codes: &[String]) -> QueryResult<Vec<String>> {
    let known = customer_groups::table.filter(customer_groups::code.eq_any(codes));
    known.select(customer_groups::code).load(&mut conn).await
}

/// One group.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, code: &str) -> QueryResult<Option<Group>> {
    let row: Option<Row> = customer_groups::table
        .find(code)
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(Into::into))
}

/// A page of groups in the order of their codes.
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    after: Option<&str>,
    limit: i64,
) -> QueryResult<Vec<Group>> {
    let rows: Vec<Row> = customer_groups::table
        .filter(customer_groups::code.gt(after.unwrap_or_default().to_owned()))
        .order(customer_groups::code)
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// How many living customers belong to each of these groups; one without any is missing. Reads one
/// index, as much of it as there are members.
///
/// # Errors
/// Those of the query.
pub async fn members(mut conn: &Connection, codes: &[String]) -> QueryResult<HashMap<String, i64>> {
    let counted: Vec<(String, i64)> = customers::table
        .filter(customers::group_code.eq_any(codes))
        .filter(customers::deleted_at.is_null())
        .group_by(customers::group_code)
        .select((customers::group_code, count_star()))
        .load(&mut conn)
        .await?;
    Ok(counted.into_iter().collect())
}

impl InsertGroups {
    pub fn push(&mut self, group: &Group) {
        self.code.push(group.code.as_str().to_owned());
        self.name.push(group.name.as_str().to_owned());
        self.created_at.push(group.created_at);
        self.updated_at.push(group.updated_at);
        self.version.push(group.version);
    }
}

impl UpdateGroups {
    pub fn push(&mut self, group: &Group) {
        self.code.push(group.code.as_str().to_owned());
        self.name.push(group.name.as_str().to_owned());
        self.updated_at.push(group.updated_at);
        self.version.push(group.version);
    }
}

impl DeleteGroups {
    pub fn push(&mut self, code: &GroupCode) {
        self.code.push(code.as_str().to_owned());
    }
}
