//! `/v1/admin/orders/parked`: what the order service said that could not be recorded yet. The body
//! of a message stays inside; what is shown is what staff needs to find the order or the customer.

use super::catalogue::Code;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{OpsRead, OpsWrite, Staff};
use super::problem::Problem;
use super::query::Query;
use super::services::Services;
use super::values::{IdempotencyParam, PageParams, PathId};
use crate::actors::workers::order_intake::TRIES_MAX;
use crate::db;
use crate::db::order_intake::ParkedView;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(retry);
}

/// A fact of an order that could not be recorded yet.
#[derive(Serialize, ToSchema)]
#[schema(as = ParkedOrder)]
pub struct ParkedOrderView {
    pub id: Uuid,
    /// `unknown_customer`: it is tried again until it is given up. `poison`: trying it came to no
    /// end, it lies with the dead letters too.
    #[schema(example = "unknown_customer")]
    pub reason: String,
    /// Null where the message was not read.
    pub order_id: Option<String>,
    pub order_version: Option<i64>,
    pub customer_id: Option<Uuid>,
    #[schema(example = "order.placed")]
    pub routing_key: String,
    /// How often it was tried and its customer was not known.
    pub tries: i32,
    pub first_seen_at: DateTime<Utc>,
    /// Null: it is not tried again.
    pub next_try_at: Option<DateTime<Utc>>,
}

impl From<ParkedView> for ParkedOrderView {
    fn from(row: ParkedView) -> Self {
        Self {
            id: row.id,
            reason: row.reason,
            order_id: row.order_id,
            order_version: row.order_version,
            customer_id: row.customer_id,
            routing_key: row.routing_key,
            tries: row.tries,
            first_seen_at: row.first_seen_at,
            next_try_at: row.next_try_at,
        }
    }
}

/// Facts of orders that wait for their customer or were given up, oldest first.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    params(PageParams),
    responses((status = 200, body = Page<ParkedOrderView>))
)]
#[get("/v1/admin/orders/parked")]
async fn list(
    _staff: Staff<OpsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ParkedOrderView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "parked_orders")
    })?;
    let (after, limit) = (page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::order_intake::list(connection, after, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |row| row.id, ParkedOrderView::from)))
}

/// Has a parked fact tried now. One that was given up gets one more try.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    responses((status = 200, body = ParkedOrderView))
)]
#[post("/v1/admin/orders/parked/{id}/retry")]
async fn retry(
    staff: Staff<OpsWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<ParkedOrderView>, Problem> {
    // Safe to repeat by itself: the key is judged and not needed.
    IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let (id, now) = (id.0, services.clock.now());
    let database = services.database.clone();
    let hastened = services.database.spawn(async move {
        let connection = database.get().await?;
        Ok::<_, db::Error>(db::order_intake::hasten(&connection, id, now, TRIES_MAX).await?)
    });
    let hastened = hastened.await.map_err(|error| db::Error::Internal(error.to_string()))??;
    let row = hastened.ok_or(Problem::new(Code::NotFound))?;
    tracing::info!(parked.id = %id, key = staff.key_id(), "a parked fact is tried again");
    Ok(web::Json(ParkedOrderView::from(row)))
}
