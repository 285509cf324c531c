//! Table `audit_entries`: append-only.

use super::Connection;
use super::schema::audit_entries;
use super::statements::InsertAuditEntries;
use super::timeline::{self, Place};
use crate::domain::activity::KEPT_FROM_OWNERS;
use crate::domain::command::{Actor, Context};
use crate::domain::event::Trace;
use crate::domain::{CustomerId, EntryId, shard};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// The shard of entries that are about no customer.
const NO_SHARD: i16 = 0;

/// Who acts where no request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnActor {
    /// Somebody at the command line.
    Operator,
    /// The service, by its configuration.
    Service,
}

/// An entry about the installation itself and not about a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnEntry {
    pub id: Uuid,
    pub actor: OwnActor,
    /// What, such as `staff_key.created`.
    pub action: &'static str,
    /// Without secrets and personal values.
    pub data: Value,
    pub occurred_at: DateTime<Utc>,
}

/// Writes an entry; in the transaction of what it tells of.
///
/// # Errors
/// Those of the query.
pub async fn append(conn: &mut Connection, entry: &OwnEntry) -> QueryResult<()> {
    let actor = match entry.actor {
        OwnActor::Operator => "operator",
        OwnActor::Service => "service",
    };
    diesel::insert_into(audit_entries::table)
        .values((
            audit_entries::id.eq(entry.id),
            audit_entries::shard.eq(NO_SHARD),
            audit_entries::actor_kind.eq(actor),
            audit_entries::action.eq(entry.action),
            audit_entries::data.eq(&entry.data),
            // There was no request; the entry's own id finds the entry just as well.
            audit_entries::request_id.eq(entry.id.to_string()),
            audit_entries::occurred_at.eq(entry.occurred_at),
        ))
        .execute(conn)
        .await
        .map(drop)
}

/// What somebody did outside of a command.
#[derive(Clone, Debug)]
pub struct Deed<'a> {
    pub id: Uuid,
    pub actor: &'a Actor,
    /// What, such as `message.discarded`.
    pub action: &'static str,
    /// Without secrets and personal values.
    pub data: Value,
    pub request_id: &'a str,
    pub occurred_at: DateTime<Utc>,
}

/// Writes what somebody did; in the transaction of the deed.
///
/// # Errors
/// Those of the query.
pub async fn append_deed(
    conn: &mut Connection,
    deed: &Deed<'_>,
    customer: Option<Uuid>,
) -> QueryResult<()> {
    let (kind, actor_id) = actor(deed.actor);
    let shard = customer.map_or(NO_SHARD, |id| shard::of_customer(CustomerId(id)) as i16);
    diesel::insert_into(audit_entries::table)
        .values((
            audit_entries::id.eq(deed.id),
            audit_entries::shard.eq(shard),
            audit_entries::customer_id.eq(customer),
            audit_entries::actor_kind.eq(kind),
            audit_entries::actor_id.eq(actor_id),
            audit_entries::action.eq(deed.action),
            audit_entries::data.eq(&deed.data),
            audit_entries::request_id.eq(deed.request_id),
            audit_entries::occurred_at.eq(deed.occurred_at),
        ))
        .execute(conn)
        .await
        .map(drop)
}

/// An entry about a customer, as it is read.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_entries, check_for_backend(diesel::pg::Pg))]
pub struct Entry {
    pub id: Uuid,
    /// `anonymous`, `customer` or `staff`.
    pub actor_kind: String,
    /// The customer's or staff key's id.
    pub actor_id: Option<String>,
    pub action: String,
    /// Ids, names of fields, non-personal values.
    pub data: Value,
    pub request_id: String,
    pub occurred_at: DateTime<Utc>,
}

/// The latest entries about a customer before a place, latest first.
///
/// # Errors
/// Those of the query.
pub async fn of_customer(
    mut conn: &Connection,
    customer: CustomerId,
    before: Option<Place>,
    limit: i64,
) -> QueryResult<Vec<Entry>> {
    let (time, id) = timeline::from_the_end(before);
    // The first condition, which the second one implies, is what the index is entered by.
    audit_entries::table
        .filter(audit_entries::customer_id.eq(customer.0))
        .filter(audit_entries::occurred_at.le(time))
        .filter(audit_entries::occurred_at.lt(time).or(audit_entries::id.lt(id)))
        .order((audit_entries::occurred_at.desc(), audit_entries::id.desc()))
        .limit(limit)
        .select(Entry::as_select())
        .load(&mut conn)
        .await
}

/// The same for the customer itself: without what staff keeps for itself.
///
/// # Errors
/// Those of the query.
pub async fn for_owner(
    mut conn: &Connection,
    customer: CustomerId,
    before: Option<Place>,
    limit: i64,
) -> QueryResult<Vec<Entry>> {
    let (time, id) = timeline::from_the_end(before);
    audit_entries::table
        .filter(audit_entries::customer_id.eq(customer.0))
        .filter(audit_entries::occurred_at.le(time))
        .filter(audit_entries::occurred_at.lt(time).or(audit_entries::id.lt(id)))
        .filter(audit_entries::action.not_like(format!("{KEPT_FROM_OWNERS}%")))
        .order((audit_entries::occurred_at.desc(), audit_entries::id.desc()))
        .limit(limit)
        .select(Entry::as_select())
        .load(&mut conn)
        .await
}

/// Kind and id of an actor, as every record of who did something has them.
pub(super) fn actor(actor: &Actor) -> (&'static str, Option<String>) {
    match actor {
        Actor::Anonymous => ("anonymous", None),
        Actor::Customer(id) => ("customer", Some(id.to_string())),
        Actor::Staff(id) => ("staff", Some(id.clone())),
        Actor::Operator => ("operator", None),
        Actor::Service => ("service", None),
    }
}

impl InsertAuditEntries {
    pub fn push(
        &mut self,
        id: EntryId,
        shard: u16,
        customer: Option<CustomerId>,
        context: &Context,
        trace: Trace,
    ) {
        let (kind, actor) = actor(&context.actor);
        self.id.push(id.0);
        self.shard.push(shard as i16);
        self.customer_id.push(customer.map(|id| id.0));
        self.actor_kind.push(kind.to_owned());
        self.actor_id.push(actor);
        self.action.push(trace.action.to_owned());
        self.data.push(trace.data);
        self.request_id.push(context.request_id.clone());
        self.occurred_at.push(context.now);
    }
}
