//! Table `sessions`.

use super::Connection;
use super::schema::sessions;
use super::statements::SaveSessions;
use crate::domain::session::{Client, SecondFactor, SecretHash, Session, SignInMethod};
use crate::domain::{CustomerId, DeviceId, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use ipnet::IpNet;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    method: String,
    second_factor: Option<String>,
    device_id: Option<Uuid>,
    device_name: Option<String>,
    user_agent: Option<String>,
    client_address: Option<IpNet>,
    refresh_hash: Vec<u8>,
    generation: i32,
    previous_hash: Option<Vec<u8>>,
    rotated_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    absolute_expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

/// A hash column's CHECK says that it has 32 bytes.
pub(super) fn secret_hash(bytes: Vec<u8>) -> QueryResult<SecretHash> {
    bytes
        .try_into()
        .map_err(|_| diesel::result::Error::DeserializationError("a hash has 32 bytes".into()))
}

impl TryFrom<Row> for (CustomerId, Session) {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let session = Session {
            id: SessionId(row.id),
            method: SignInMethod::parse(&row.method).ok_or_else(|| {
                diesel::result::Error::DeserializationError("unknown sessions.method".into())
            })?,
            second_factor: row
                .second_factor
                .map(|name| {
                    SecondFactor::parse(&name).ok_or_else(|| {
                        diesel::result::Error::DeserializationError(
                            "unknown sessions.second_factor".into(),
                        )
                    })
                })
                .transpose()?,
            client: Client {
                device_name: row.device_name,
                user_agent: row.user_agent,
                address: row.client_address.map(|net| net.addr()),
            },
            device_id: row.device_id.map(DeviceId),
            refresh_hash: secret_hash(row.refresh_hash)?,
            generation: row.generation,
            previous_hash: row.previous_hash.map(secret_hash).transpose()?,
            rotated_at: row.rotated_at,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.expires_at,
            absolute_expires_at: row.absolute_expires_at,
            revoked_at: row.revoked_at,
        };
        Ok((CustomerId(row.customer_id), session))
    }
}

/// The sessions of the customers that are not revoked; whether they expired is for the caller to
/// see, whose clock decides.
///
/// # Errors
/// Those of the query.
pub async fn unrevoked(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Session)>> {
    let rows: Vec<Row> = sessions::table
        .filter(sessions::customer_id.eq_any(ids))
        .filter(sessions::revoked_at.is_null())
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A page of a customer's live sessions, newest first.
///
/// # Errors
/// Those of the query.
pub async fn list_live(
    mut conn: &Connection,
    customer: CustomerId,
    now: DateTime<Utc>,
    before: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Session>> {
    let rows: Vec<Row> = sessions::table
        .filter(sessions::customer_id.eq(customer.0))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now))
        .filter(sessions::id.lt(before.unwrap_or(Uuid::max())))
        .order(sessions::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(|row| <(CustomerId, Session)>::try_from(row).map(|(_, s)| s)).collect()
}

/// When a session began.
///
/// # Errors
/// Those of the query.
pub async fn began(mut conn: &Connection, id: SessionId) -> QueryResult<Option<DateTime<Utc>>> {
    sessions::table
        .filter(sessions::id.eq(id.0))
        .select(sessions::created_at)
        .first(&mut conn)
        .await
        .optional()
}

/// Whose session this is; for the refresh token, which names only the session.
///
/// # Errors
/// Those of the query.
pub async fn owner(mut conn: &Connection, id: SessionId) -> QueryResult<Option<CustomerId>> {
    let owner: Option<Uuid> = sessions::table
        .filter(sessions::id.eq(id.0))
        .select(sessions::customer_id)
        .first(&mut conn)
        .await
        .optional()?;
    Ok(owner.map(CustomerId))
}

impl SaveSessions {
    pub fn push(&mut self, customer: CustomerId, session: &Session) {
        self.id.push(session.id.0);
        self.customer_id.push(customer.0);
        self.method.push(session.method.as_str().to_owned());
        self.second_factor.push(session.second_factor.map(|factor| factor.as_str().to_owned()));
        self.device_id.push(session.device_id.map(|id| id.0));
        self.device_name.push(session.client.device_name.clone());
        self.user_agent.push(session.client.user_agent.clone());
        self.client_address.push(session.client.address.map(IpNet::from));
        self.refresh_hash.push(session.refresh_hash.to_vec());
        self.generation.push(session.generation);
        self.previous_hash.push(session.previous_hash.map(|hash| hash.to_vec()));
        self.rotated_at.push(session.rotated_at);
        self.created_at.push(session.created_at);
        self.last_seen_at.push(session.last_seen_at);
        self.expires_at.push(session.expires_at);
        self.absolute_expires_at.push(session.absolute_expires_at);
        self.revoked_at.push(session.revoked_at);
    }
}
