//! Table `customer_merges`: who became one with whom.

use super::Connection;
use super::schema::{customer_merges, customers};
use super::statements::{BackdateCustomers, InsertMerges, MoveIdentifiers};
use crate::domain::CustomerId;
use crate::domain::customer::Customer;
use crate::domain::handle::Handle;
use crate::domain::merge::MergeReport;
use crate::domain::order::Gone;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// What came of the customers that were merged into another. A merge is never undone, so no lock is
/// needed to read it.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, MergeReport)>> {
    let rows: Vec<(Uuid, Value)> = customer_merges::table
        .filter(customer_merges::from_id.eq_any(ids))
        .select((customer_merges::from_id, customer_merges::report))
        .load(&mut conn)
        .await?;
    rows.into_iter()
        .map(|(id, report)| {
            let report = serde_json::from_value(report)
                .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
            Ok((CustomerId(id), report))
        })
        .collect()
}

/// How these customers ended; one that lives, or that there never was, is missing.
///
/// # Errors
/// Those of the query.
pub async fn endings(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<(CustomerId, Gone)>> {
    let rows: Vec<(Uuid, Option<Uuid>)> = customers::table
        .left_join(customer_merges::table.on(customer_merges::from_id.eq(customers::id)))
        .filter(customers::id.eq_any(ids))
        .filter(customers::deleted_at.is_not_null())
        .select((customers::id, customer_merges::into_id.nullable()))
        .load(&mut conn)
        .await?;
    let gone = |into: Option<Uuid>| match into {
        Some(into) => Gone::Merged { into: CustomerId(into) },
        None => Gone::Deleted,
    };
    Ok(rows.into_iter().map(|(id, into)| (CustomerId(id), gone(into))).collect())
}

#[derive(QueryableByName)]
struct Heir {
    #[diesel(sql_type = SqlUuid)]
    into_id: Uuid,
}

/// Who has by now what the customer had: the last of those that were merged one into the other. It
/// may have been deleted since. `None`: the customer was never merged.
///
/// # Errors
/// Those of the query.
pub async fn heir(mut conn: &Connection, id: CustomerId) -> QueryResult<Option<CustomerId>> {
    // Ends, since only who lives takes in, and whoever was merged is dead.
    let heir: Option<Heir> = diesel::sql_query(
        "WITH RECURSIVE chain (into_id, step) AS ( \
         SELECT into_id, 1 FROM customer_merges WHERE from_id = $1 \
         UNION ALL SELECT m.into_id, chain.step + 1 FROM chain \
         JOIN customer_merges AS m ON m.from_id = chain.into_id) \
         SELECT into_id FROM chain ORDER BY step DESC LIMIT 1",
    )
    .bind::<SqlUuid, _>(id.0)
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(heir.map(|heir| CustomerId(heir.into_id)))
}

/// Begins a statement about whole customers. `$1`: ids; `whole`: each of them as `root`, with its own id
/// and that of everybody who became one with it, over however many merges.
pub(super) const WHOLE: &str = "WITH RECURSIVE whole (root, id) AS (SELECT r, r FROM unnest($1) AS r \
    UNION SELECT whole.root, m.from_id FROM whole JOIN customer_merges AS m ON m.into_id = whole.id)";

/// Somebody of a whole customer: it, or who became one with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Part {
    #[diesel(sql_type = SqlUuid)]
    pub root: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
}

/// These customers with everybody who became one with them, in the order of the ids.
///
/// # Errors
/// Those of the query.
pub async fn whole(mut conn: &Connection, roots: &[Uuid]) -> QueryResult<Vec<Part>> {
    diesel::sql_query(format!("{WHOLE} SELECT root, id FROM whole ORDER BY id"))
        .bind::<Array<SqlUuid>, _>(roots)
        .load(&mut conn)
        .await
}

impl InsertMerges {
    pub fn push(&mut self, report: &MergeReport, at: DateTime<Utc>) {
        self.from_id.push(report.from.0);
        self.into_id.push(report.into.0);
        self.report.push(serde_json::json!(report));
        self.merged_at.push(at);
    }
}

impl MoveIdentifiers {
    pub fn push(&mut self, from: CustomerId, into: CustomerId, handle: &Handle) {
        self.kind.push(handle.kind.name());
        self.value.push(handle.value.clone());
        self.customer_id.push(from.0);
        self.new_owner.push(into.0);
    }
}

impl BackdateCustomers {
    pub fn push(&mut self, customer: &Customer) {
        self.id.push(customer.id.0);
        self.created_at.push(customer.created_at);
    }
}
