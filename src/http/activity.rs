//! `/v1/me/activity`: the customer's own audit trail, in plain words.

use super::pages::{Page, PageRequest};
use super::principal::Owner;
use super::problem::Problem;
use super::query::Query;
use super::services::Services;
use super::values::PageParams;
use crate::db;
use crate::db::audit::Entry;
use crate::db::timeline::Place;
use crate::domain::{CustomerId, activity};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list);
}

/// Something that happened to the account.
#[derive(Serialize, ToSchema)]
pub struct Activity {
    pub id: Uuid,
    pub occurred_at: DateTime<Utc>,
    /// What happened, for programs; later versions know more.
    #[schema(example = "address.created")]
    pub action: String,
    /// What happened, for people.
    #[schema(example = "An address was added.")]
    pub text: &'static str,
    pub by: ActivityBy,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivityBy {
    /// The owner of the account, signed in.
    You,
    /// Somebody who was not signed in, such as whoever tried to sign in.
    Anonymous,
    /// Somebody of the shop, or another service of it.
    Shop,
    /// This service by itself.
    Service,
}

impl ActivityBy {
    fn of(entry: &Entry, owner: CustomerId) -> Self {
        match entry.actor_kind.as_str() {
            "customer" if entry.actor_id.as_deref() == Some(&owner.to_string()) => Self::You,
            "anonymous" => Self::Anonymous,
            "service" => Self::Service,
            // which of its keys is the shop's affair
            _ => Self::Shop,
        }
    }
}

/// What happened to my account, newest first: who changed what, signed in or tried to, as the audit
/// trail has it. What a later version of the service wrote is told in general words.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(PageParams),
    responses((status = 200, body = Page<Activity>))
)]
#[get("/v1/me/activity")]
async fn list(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<Activity>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Place>::read(query, "my_activity")
    })?;
    let (id, before, limit) = (owner.customer_id, page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::audit::for_owner(connection, id, before, limit).await })
    });
    let item = |entry: Entry| Activity {
        by: ActivityBy::of(&entry, id),
        text: activity::words(&entry.action, &entry.data).unwrap_or("Something was done."),
        id: entry.id,
        occurred_at: entry.occurred_at,
        action: entry.action,
    };
    Ok(web::Json(page.page(read.await?, |entry| (entry.occurred_at, entry.id), item)))
}
