//! Table `sign_in_flows`.

use super::Connection;
use super::schema::sign_in_flows;
use super::sessions::secret_hash;
use super::statements::SaveFlows;
use crate::domain::CustomerId;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::session::SecretHash;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = sign_in_flows, check_for_backend(diesel::pg::Pg))]
struct Row {
    token_hash: Vec<u8>,
    kind: String,
    customer_id: Option<Uuid>,
    payload: Vec<u8>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    failures: i32,
    used_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Flow {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Flow {
            hash: secret_hash(row.token_hash)?,
            kind: FlowKind::parse(&row.kind).ok_or_else(|| {
                diesel::result::Error::DeserializationError("unknown sign_in_flows.kind".into())
            })?,
            customer_id: row.customer_id.map(CustomerId),
            payload: row.payload,
            created_at: row.created_at,
            expires_at: row.expires_at,
            failures: row.failures,
            used_at: row.used_at,
        })
    }
}

/// Loads and locks flows in the order of their keys.
///
/// # Errors
/// Those of the query.
pub async fn lock_many(mut conn: &Connection, hashes: &[Vec<u8>]) -> QueryResult<Vec<Flow>> {
    let rows: Vec<Row> = sign_in_flows::table
        .filter(sign_in_flows::token_hash.eq_any(hashes))
        .order(sign_in_flows::token_hash)
        .select(Row::as_select())
        .for_update()
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A flow as it is, without a lock: to prepare finishing it. What is decided is decided on the
/// locked row.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, hash: &SecretHash) -> QueryResult<Option<Flow>> {
    let row: Option<Row> = sign_in_flows::table
        .filter(sign_in_flows::token_hash.eq(hash.as_slice()))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(TryInto::try_into).transpose()
}

impl SaveFlows {
    pub fn push(&mut self, flow: &Flow) {
        self.token_hash.push(flow.hash.to_vec());
        self.kind.push(flow.kind.as_str().to_owned());
        self.customer_id.push(flow.customer_id.map(|id| id.0));
        self.payload.push(flow.payload.clone());
        self.created_at.push(flow.created_at);
        self.expires_at.push(flow.expires_at);
        self.failures.push(flow.failures);
        self.used_at.push(flow.used_at);
    }
}
