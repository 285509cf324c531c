//! `/metrics`: what was counted as it happened, and what is looked up now that somebody asks: queues,
//! pools, dependencies. So who works pays for none of it.

use super::readiness::{Report, State};
use super::services::Services;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use metrics::gauge;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(prometheus);
}

/// All metrics, in the text format of Prometheus.
#[utoipa::path(
    tag = "operators",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
#[get("/metrics")]
async fn prometheus(services: Data<Services>) -> HttpResponse {
    measure(&services).await;
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(services.prometheus.render())
}

/// Looks up what is not counted as it happens; answers with what readiness is told.
pub(super) async fn measure(services: &Services) -> Report {
    // The pools before the probes, which borrow a connection.
    services.lists.measure("writes", "lists_replica");
    services.reports.measure("reports", "reports_replica");
    services.registry.measure();
    services.hashing.measure();
    services.admission.measure();
    // This also asks for the notes: what ends by time alone is noticed when somebody looks.
    let report = services.readiness.report().await;
    tell(&report);
    gauge!("service_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    report
}

fn tell(report: &Report) {
    gauge!("service_ready").set(u8::from(report.status.takes_requests()));
    for (name, dependency) in &report.dependencies {
        let up = match dependency.state {
            State::Up => 1,
            State::Down => 0,
            State::NotConfigured => continue,
        };
        gauge!("dependency_up", "dependency" => *name).set(up);
        let seconds = dependency.latency_ms / 1000.0;
        gauge!("dependency_probe_seconds", "dependency" => *name).set(seconds);
    }
}
