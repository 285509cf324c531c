//! What an erasure takes: one statement, made from the map of personal data, so that a column on the
//! map is a column that goes. Within one statement references between rows are checked at its end, so
//! the order of tables does not matter. And the ledger of who was erased, kept apart from the backups.

use super::Connection;
use super::merges::{self, WHOLE};
use super::schema::{customers, erasures};
use super::statements::EnterIntoLedger;
use crate::domain::personal::{self, Care, Column, Erasure, Fate, Rows, Table};
use crate::domain::throttle::Bucket;
use crate::domain::{CustomerId, ErasureId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use uuid::Uuid;

/// Of whom nothing is to be left, by which erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    pub customer: CustomerId,
    pub erasure: ErasureId,
    pub at: DateTime<Utc>,
}

/// The table whose rows bear no id of a customer and are found by keyed hashes.
const THROTTLES: &str = "sign_in_throttles";

/// `$1`: the customers; `$2`: their buckets. Answers with how many rows of whom went, by table.
static STATEMENT: LazyLock<String> = LazyLock::new(|| {
    let (mut parts, mut counts) = (Vec::new(), Vec::new());
    for (number, table) in personal::tables().enumerate() {
        let Some(part) = part(table) else { continue };
        parts.push(format!("t{number} AS ({part})"));
        counts.push(format!(
            "SELECT '{}' AS place, id, count(*) AS number FROM t{number} GROUP BY id",
            table.name
        ));
    }
    format!("WITH {} {}", parts.join(", "), counts.join(" UNION ALL "))
});

/// What is done to a table; `None`: nothing.
fn part(table: &Table) -> Option<String> {
    let name = table.name;
    match table.rows {
        Rows::OfCustomer { by, fate } => {
            let whose: Vec<_> = by.iter().map(|column| format!("{column} = ANY ($1)")).collect();
            let (whose, id) = (whose.join(" OR "), by.first()?);
            match fate {
                Fate::Deleted => {
                    Some(format!("DELETE FROM {name} WHERE {whose} RETURNING {id} AS id"))
                }
                Fate::Kept(_) => {
                    let left = left(table)?;
                    Some(format!("UPDATE {name} SET {left} WHERE {whose} RETURNING {id} AS id"))
                }
            }
        }
        Rows::Found(_) if name == THROTTLES => {
            Some(format!("DELETE FROM {name} WHERE bucket = ANY ($2) RETURNING NULL::uuid AS id"))
        }
        Rows::Found(_) | Rows::Passing(_) | Rows::Installation => None,
    }
}

/// What stands in a row that stays; `None`: what stood there before.
fn left(table: &Table) -> Option<String> {
    let set: Vec<_> = table
        .each()
        .filter_map(|(column, what)| match what {
            Column::Personal(Care { erasure: Erasure::Set(value), .. }) => {
                Some(format!("{column} = {}", value.as_sql()))
            }
            _ => None,
        })
        .collect();
    (!set.is_empty()).then(|| set.join(", "))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Text)]
    place: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Takes all that is kept of these customers and of everybody who became one with them, writes the
/// ledger, and how much it was. Within the caller's transaction, after all that it writes about them.
///
/// # Errors
/// Those of the queries.
pub async fn erase(mut conn: &Connection, gone: &[Gone], buckets: &[Bucket]) -> QueryResult<()> {
    let roots: Vec<Uuid> = gone.iter().map(|one| one.customer.0).collect();
    let whole = merges::whole(conn, &roots).await?;
    let ids: Vec<Uuid> = whole.iter().map(|one| one.id).collect();
    permit(&ids, conn).await?;
    let buckets: Vec<Vec<u8>> = buckets.iter().map(|bucket| bucket.to_vec()).collect();
    let counts: Vec<Count> = diesel::sql_query(STATEMENT.as_str())
        .bind::<Array<SqlUuid>, _>(&ids)
        .bind::<Array<Bytea>, _>(buckets)
        .load(&mut conn)
        .await?;
    let by_customer: HashMap<Uuid, &Gone> = gone.iter().map(|one| (one.customer.0, one)).collect();
    let root: HashMap<Uuid, Uuid> = whole.iter().map(|one| (one.id, one.root)).collect();
    let mut ledger = EnterIntoLedger::default();
    for one in &whole {
        if let Some(gone) = by_customer.get(&one.root) {
            ledger.customer_id.push(one.id);
            ledger.erasure_id.push(gone.erasure.0);
            ledger.erased_at.push(gone.at);
        }
    }
    EnterIntoLedger::execute(&ledger, conn).await?;
    let mut removed: BTreeMap<Uuid, Map<String, Value>> = BTreeMap::new();
    for Count { place, id, number } in counts {
        let of = id.and_then(|id| root.get(&id)).and_then(|root| by_customer.get(root));
        if let Some(gone) = of {
            let entry = removed.entry(gone.erasure.0).or_default().entry(place).or_insert(json!(0));
            *entry = json!(entry.as_i64().unwrap_or(0) + number);
        }
    }
    for (erasure, removed) in removed {
        diesel::update(erasures::table.find(erasure))
            .set(erasures::removed.eq(Value::Object(removed)))
            .execute(&mut conn)
            .await?;
    }
    Ok(())
}

/// Tells the ledger of consents, which is append-only, whom this transaction erases.
async fn permit(ids: &[Uuid], mut conn: &Connection) -> QueryResult<()> {
    let whom: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    diesel::sql_query("SELECT set_config('customer_service.erasing', $1, true)")
        .bind::<Text, _>(whom.join(","))
        .execute(&mut conn)
        .await
        .map(drop)
}

/// Something that a customer signs in by, as it is counted under.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Trace {
    /// `email`, `phone`, `device`, or `customer` for what is counted by its id.
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Text)]
    pub value: String,
}

/// All that these customers, and everybody who became one with them, sign in or signed in by.
///
/// # Errors
/// Those of the query.
pub async fn traces(mut conn: &Connection, customers: &[CustomerId]) -> QueryResult<Vec<Trace>> {
    let ids: Vec<Uuid> = customers.iter().map(|id| id.0).collect();
    diesel::sql_query(format!(
        "{WHOLE} SELECT 'customer' AS kind, id::text AS value FROM whole \
         UNION SELECT 'email', c.email_canonical FROM whole JOIN customers AS c USING (id) \
         WHERE c.email_canonical <> '' \
         UNION SELECT 'phone', c.phone FROM whole JOIN customers AS c USING (id) WHERE c.phone IS NOT NULL \
         UNION SELECT i.kind, i.value FROM whole JOIN customer_identifiers AS i ON i.customer_id = whole.id \
         WHERE i.kind IN ('email', 'phone') \
         UNION SELECT 'device', d.id::text FROM whole JOIN devices AS d ON d.customer_id = whole.id",
    ))
    .bind::<Array<SqlUuid>, _>(ids)
    .load(&mut conn)
    .await
}

/// Who was erased, by which erasure, and when.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    #[diesel(sql_type = SqlUuid)]
    pub customer_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub erasure_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    pub erased_at: DateTime<Utc>,
}

/// Those of these customers that there are or were, and whether each is erased.
///
/// # Errors
/// Those of the query.
pub async fn known(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<HashMap<Uuid, bool>> {
    let rows: Vec<(Uuid, String)> = customers::table
        .filter(customers::id.eq_any(ids))
        .select((customers::id, customers::status))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|(id, status)| (id, status == "erased")).collect())
}

/// A page of the ledger, in the order of time, after an entry.
///
/// # Errors
/// Those of the query.
pub async fn ledger(
    mut conn: &Connection,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> QueryResult<Vec<LedgerEntry>> {
    let (at, id) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    diesel::sql_query(
        "SELECT customer_id, erasure_id, erased_at FROM erasure_ledger.erased_customers \
         WHERE (erased_at, customer_id) > ($1, $2) ORDER BY erased_at, customer_id LIMIT $3",
    )
    .bind::<Timestamptz, _>(at)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await
}

/// Enters what a ledger that was kept elsewhere says; what is there stays.
///
/// # Errors
/// Those of the statement.
pub async fn write_ledger(conn: &Connection, entries: &[LedgerEntry]) -> QueryResult<usize> {
    let mut ledger = EnterIntoLedger::default();
    for entry in entries {
        ledger.customer_id.push(entry.customer_id);
        ledger.erasure_id.push(entry.erasure_id);
        ledger.erased_at.push(entry.erased_at);
    }
    EnterIntoLedger::execute(&ledger, conn).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P2: rows that are found otherwise than by an id are found by somebody.
    #[test]
    fn p2_every_table_of_the_map_has_its_part() {
        for table in personal::tables() {
            let part = part(table);
            match table.rows {
                Rows::OfCustomer { fate: Fate::Deleted, .. } | Rows::Found(_) => {
                    assert!(part.is_some_and(|it| it.starts_with("DELETE")), "{}", table.name);
                }
                Rows::OfCustomer { fate: Fate::Kept(_), .. } => {
                    assert_eq!(part.is_some(), left(table).is_some(), "{}", table.name);
                }
                Rows::Passing(_) | Rows::Installation => assert_eq!(part, None, "{}", table.name),
            }
        }
        assert!(STATEMENT.contains("DELETE FROM customer_keys.data_keys"));
        assert!(STATEMENT.contains("UPDATE customers SET email = ''"));
    }
}
