//! `/v1/me/sessions`: where a customer is signed in, and signing out elsewhere (rule A7).

use super::pages::{Page, PageRequest};
use super::principal::Owner;
use super::problem::Problem;
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{PageParams, PathId};
use crate::db;
use crate::domain::SessionId;
use crate::domain::command::Command;
use crate::domain::outcome::Outcome;
use crate::domain::session::Session;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::net::IpAddr;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(revoke_others).service(revoke);
}

/// A signed-in device.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    /// The latest use of its refresh token.
    pub last_seen_at: DateTime<Utc>,
    #[schema(example = "Ánh's phone")]
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    /// Where the sign-in came from.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    pub client_address: Option<IpAddr>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl SessionView {
    /// `current` is the one that asks; staff has none.
    pub(super) fn new(session: Session, current: Option<SessionId>) -> SessionView {
        SessionView {
            id: session.id.0,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            device_name: session.client.device_name,
            user_agent: session.client.user_agent,
            client_address: session.client.address,
            current: current == Some(session.id),
        }
    }
}

/// Where I am signed in, newest first.
#[utoipa::path(
    tag = "sessions",
    security(("customer" = [])),
    params(PageParams),
    responses((status = 200, body = Page<SessionView>))
)]
#[get("/v1/me/sessions")]
async fn list(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<SessionView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<Uuid>::read(query, "sessions"))?;
    let (id, now, before) = (owner.customer_id, services.clock.now(), page.after);
    let limit = page.fetch();
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::sessions::list_live(connection, id, now, before, limit).await })
    });
    let view = |session| SessionView::new(session, Some(owner.session_id));
    Ok(web::Json(page.page(read.await?, |session| session.id.0, view)))
}

/// Signs me out on one device.
#[utoipa::path(
    tag = "sessions",
    security(("customer" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 204, description = "Revoked"))
)]
#[delete("/v1/me/sessions/{id}")]
async fn revoke(
    owner: Owner,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::RevokeSession { session_id: SessionId(id.0) };
    carry_out(&services, owner, &identity, command).await
}

/// Signs me out on every other device.
#[utoipa::path(
    tag = "sessions",
    security(("customer" = [])),
    responses((status = 204, description = "Revoked"))
)]
#[delete("/v1/me/sessions")]
async fn revoke_others(
    owner: Owner,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::RevokeOtherSessions { keep: owner.session_id };
    carry_out(&services, owner, &identity, command).await
}

async fn carry_out(
    services: &Services,
    owner: Owner,
    identity: &RequestIdentity,
    command: Command,
) -> Result<HttpResponse, Problem> {
    let answered = services.submit(&owner, identity, owner.customer_id, command, None).await?;
    match answered.outcome {
        Outcome::Revoked { .. } => Ok(HttpResponse::NoContent().finish()),
        other => Err(unexpected(&other)),
    }
}
