//! `/health/live` and `/health/ready`: for the machines that watch this one.

use super::readiness::Report;
use super::services::Services;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(live).service(livez).service(ready).service(readyz);
}

/// What a living process answers.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
    /// The version of the service.
    version: &'static str,
}

fn alive() -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    uncached().json(Alive { status: "alive", version })
}

/// Whether the process lives; asks nothing else.
#[utoipa::path(tag = "operators", responses((status = 200, body = Alive)))]
#[get("/health/live")]
async fn live() -> HttpResponse {
    alive()
}

/// As `/health/live`.
#[utoipa::path(tag = "operators", responses((status = 200, body = Alive)))]
#[get("/livez")]
async fn livez() -> HttpResponse {
    alive()
}

async fn readiness(services: &Services) -> HttpResponse {
    let report = services.readiness.report().await;
    if report.status.takes_requests() {
        return uncached().json(report);
    }
    HttpResponse::ServiceUnavailable()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::RETRY_AFTER, "1"))
        .json(report)
}

/// Whether requests should be sent here: each dependency, its state and latency. Without the
/// database or the actors, and while stopping, 503; Redis and RabbitMQ only degrade.
#[utoipa::path(
    tag = "operators",
    responses((status = 200, body = Report), (status = 503, body = Report, description = "Not ready"))
)]
#[get("/health/ready")]
async fn ready(services: Data<Services>) -> HttpResponse {
    readiness(&services).await
}

/// As `/health/ready`.
#[utoipa::path(
    tag = "operators",
    responses((status = 200, body = Report), (status = 503, body = Report, description = "Not ready"))
)]
#[get("/readyz")]
async fn readyz(services: Data<Services>) -> HttpResponse {
    readiness(&services).await
}

fn uncached() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}
