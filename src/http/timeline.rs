//! `/v1/admin/customers/{id}/timeline`: what happened to a customer, audit entries and messages
//! together, also of one that is deleted: that is what the audit is for.

use super::pages::{Page, PageRequest};
use super::principal::{AuditRead, Staff};
use super::problem::Problem;
use super::query::Query;
use super::services::Services;
use super::values::{PageParams, PathId};
use crate::db;
use crate::db::timeline::{Moment, Place};
use crate::domain::CustomerId;
use crate::domain::outcome::Rejection;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show);
}

/// One thing that happened; `kind` tells which it is.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TimelineMoment {
    Entry(TimelineEntry),
    Message(TimelineMessage),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Entry,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    Message,
}

/// An entry of the audit trail: who did what.
#[derive(Serialize, ToSchema)]
pub struct TimelineEntry {
    pub kind: EntryKind,
    pub id: Uuid,
    pub occurred_at: DateTime<Utc>,
    #[schema(example = "address.created")]
    pub action: String,
    pub actor: TimelineActor,
    /// Ids, names of fields, values that are not personal.
    #[schema(value_type = Object)]
    pub data: Value,
    /// The `x-request-id` of the request that asked for it.
    pub request_id: String,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
pub struct TimelineActor {
    /// `anonymous`, `customer` or `staff`.
    #[schema(example = "staff")]
    pub kind: String,
    /// The customer's or the key's id; `null` for who is anonymous.
    pub id: Option<String>,
}

/// A message to other services.
#[derive(Serialize, ToSchema)]
pub struct TimelineMessage {
    pub kind: MessageKind,
    /// The message id.
    pub id: Uuid,
    pub occurred_at: DateTime<Utc>,
    /// The message type of the contract.
    #[serde(rename = "type")]
    #[schema(example = "customer.updated")]
    pub kind_of_message: String,
    /// Gap-free per customer, from 1.
    pub sequence: i64,
    /// The message's `data`, by the schema of its type.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl From<Moment> for TimelineMoment {
    fn from(moment: Moment) -> TimelineMoment {
        match moment {
            Moment::Entry(entry) => TimelineMoment::Entry(TimelineEntry {
                kind: EntryKind::Entry,
                id: entry.id,
                occurred_at: entry.occurred_at,
                action: entry.action,
                actor: TimelineActor { kind: entry.actor_kind, id: entry.actor_id },
                data: entry.data,
                request_id: entry.request_id,
            }),
            Moment::Message(message) => TimelineMoment::Message(TimelineMessage {
                kind: MessageKind::Message,
                id: message.id,
                occurred_at: message.occurred_at,
                kind_of_message: message.kind,
                sequence: message.customer_sequence,
                data: message.data,
            }),
        }
    }
}

/// What happened to a customer, newest first: the entries of the audit trail and the messages to
/// other services. Messages are there for as long as the outbox keeps them
/// (`outbox.retention_hours`), entries for good. A deleted customer has its timeline still.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["audit:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<TimelineMoment>))
)]
#[get("/v1/admin/customers/{id}/timeline")]
async fn show(
    _staff: Staff<AuditRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<TimelineMoment>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Place>::read(query, "customer_timeline")
    })?;
    let (id, before, limit) = (CustomerId(id.0), page.after, page.fetch());
    let read = services.lists.read(move |connection| {
        Box::pin(async move { db::timeline::page(connection, id, before, limit).await })
    });
    let moments = read.await?.ok_or(Rejection::NotFound)?;
    Ok(web::Json(page.page(moments, Moment::place, TimelineMoment::from)))
}
