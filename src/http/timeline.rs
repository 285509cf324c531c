//! `/v1/admin/customers/{id}/timeline`: what happened to a customer, audit entries and messages
//! together, also of one that is deleted: that is what the audit is for.

use super::pages::{Page, PageRequest};
use super::principal::{AuditRead, CustomersUnseal, Staff};
use super::problem::Problem;
use super::query::{Parameter, Query};
use super::request_id::RequestIdentity;
use super::services::{Principal, Services};
use super::values::{PageParams, PathId};
use crate::db;
use crate::db::timeline::{Moment, Place};
use crate::domain::CustomerId;
use crate::domain::message::SEALED;
use crate::domain::outcome::Rejection;
use crate::security::customer_keys::DataKey;
use crate::security::envelopes::{self, Envelope};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show);
}

/// Whether to open what is sealed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; the handler reads it")]
pub struct ValuesParam {
    /// Opens the personal values that changed; for keys that carry `customers:unseal` too.
    #[param(required = false, default = false)]
    values: Option<bool>,
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
    /// Ids, names of fields, values that are not personal; personal ones under `sealed`.
    #[schema(value_type = Object)]
    pub data: Value,
    /// What is sealed in `data`, opened, where `values=true` asks for it; `null` otherwise, where nothing
    /// is sealed, and once the customer is erased.
    #[schema(value_type = Option<Object>)]
    pub values: Option<Value>,
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
    /// As of an entry.
    #[schema(value_type = Option<Object>)]
    pub values: Option<Value>,
}

impl TimelineMoment {
    fn of(moment: Moment, customer: CustomerId, key: Option<&DataKey>) -> TimelineMoment {
        let values = key.and_then(|key| opened(&moment, customer, key));
        match moment {
            Moment::Entry(entry) => TimelineMoment::Entry(TimelineEntry {
                kind: EntryKind::Entry,
                id: entry.id,
                occurred_at: entry.occurred_at,
                action: entry.action,
                actor: TimelineActor { kind: entry.actor_kind, id: entry.actor_id },
                data: entry.data,
                values,
                request_id: entry.request_id,
            }),
            Moment::Message(message) => TimelineMoment::Message(TimelineMessage {
                kind: MessageKind::Message,
                id: message.id,
                occurred_at: message.occurred_at,
                kind_of_message: message.kind,
                sequence: message.customer_sequence,
                data: message.data,
                values,
            }),
        }
    }
}

fn sealed(moment: &Moment) -> Option<&Value> {
    match moment {
        Moment::Entry(entry) => entry.data.get(SEALED),
        Moment::Message(message) => message.data.get(SEALED),
    }
}

/// The values that a moment carries sealed; nothing where its key is another.
fn opened(moment: &Moment, customer: CustomerId, key: &DataKey) -> Option<Value> {
    let envelope = Envelope::deserialize(sealed(moment)?).ok()?;
    let customer = customer.0;
    let values = match moment {
        Moment::Entry(entry) => {
            key.entries().open(envelopes::Place::Entry { customer, id: entry.id }, &envelope)
        }
        Moment::Message(message) => {
            key.messages().open(envelopes::Place::Message { customer, id: message.id }, &envelope)
        }
    };
    serde_json::from_slice(&values.ok()?).ok()
}

/// What happened to a customer, newest first: the entries of the audit trail and the messages to
/// other services. Messages are there for as long as the outbox keeps them
/// (`outbox.retention_hours`), entries for good. A deleted customer has its timeline still. With
/// `values=true`, for which the key must carry `customers:unseal` too, the personal values that changed
/// are opened; that is an entry itself.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["audit:read"])),
    params(("id" = Uuid, Path), PageParams, ValuesParam),
    responses((status = 200, body = Page<TimelineMoment>))
)]
#[get("/v1/admin/customers/{id}/timeline")]
async fn show(
    staff: Staff<AuditRead>,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<TimelineMoment>>, Problem> {
    let (page, with_values) = Query::read(request.query_string(), |query| {
        let values = query.optional("values", Parameter::boolean).unwrap_or(false);
        Some((PageRequest::<Place>::read(query, "customer_timeline")?, values))
    })?;
    if with_values {
        staff.with::<CustomersUnseal>(&services).await?;
    }
    let (id, before, limit) = (CustomerId(id.0), page.after, page.fetch());
    let read = services.lists.read(move |connection| {
        Box::pin(async move { db::timeline::page(connection, id, before, limit).await })
    });
    let moments = read.await?.ok_or(Rejection::NotFound)?;
    let mut key = None;
    if with_values && moments.iter().any(|moment| sealed(moment).is_some()) {
        let context = services.context(staff.actor(), &identity);
        key = services.customer_keys.tell(id, "personal_values.opened", &context).await?;
    }
    let shown = |moment| TimelineMoment::of(moment, id, key.as_deref());
    Ok(web::Json(page.page(moments, Moment::place, shown)))
}
