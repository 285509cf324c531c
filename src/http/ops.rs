//! `/ops`: the supervision page, and the numbers that it shows as JSON and as a stream.

use super::catalogue::Code;
use super::principal::{OpsRead, Staff};
use super::readiness::Report;
use super::services::Services;
use crate::actors::runtime::Snapshot;
use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpResponse, get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// How often the stream tells everything anew.
const EVERY: Duration = Duration::from_secs(1);

static PAGE: &str = include_str!("ops.html");

/// Only the page's own script and style run, by their hashes; it talks to nobody but us.
static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let text = between(PAGE, &format!("<{tag}>"), &format!("</{tag}>"));
        STANDARD.encode(Sha256::digest(text.as_bytes()))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    )
});

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let inner = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    inner.map_or("", |(inner, _)| inner)
}

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(page).service(actors).service(watch);
}

/// Everything that the page shows, at one moment.
#[derive(Serialize, ToSchema)]
struct Overview {
    at: DateTime<Utc>,
    version: &'static str,
    readiness: Report,
    /// Each actor with its state, restarts, panics, queue, batches, pace and last error.
    #[schema(value_type = Vec<Object>)]
    actors: Vec<Snapshot>,
}

async fn overview(services: &Services) -> Overview {
    Overview {
        at: services.clock.now(),
        version: env!("CARGO_PKG_VERSION"),
        readiness: services.readiness.report().await,
        actors: services.registry.snapshots(),
    }
}

/// The supervision page. It asks for an API key with `ops:read` and keeps it in the tab only.
#[utoipa::path(tag = "operators", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/ops")]
async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY.as_str()))
        .body(PAGE)
}

/// All actors and their numbers.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    responses((status = 200, body = Overview))
)]
#[get("/ops/actors")]
async fn actors(_staff: Staff<OpsRead>, services: Data<Services>) -> web::Json<Overview> {
    web::Json(overview(&services).await)
}

/// The same every second, as server-sent events named `overview`. It ends when the key is revoked
/// or the process stops.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    responses((status = 200, body = String, content_type = "text/event-stream",
        description = "Each event's data is what `/ops/actors` answers"))
)]
#[get("/ops/stream")]
async fn watch(staff: Staff<OpsRead>, services: Data<Services>) -> HttpResponse {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { staff, services, ticks };
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // neither we nor a proxy in front may gather events to compress or to buffer them
        .insert_header(ContentEncoding::Identity)
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events)
}

/// Somebody who watches.
struct Watch {
    staff: Staff<OpsRead>,
    services: Data<Services>,
    ticks: Interval,
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        self.ticks.tick().await;
        if self.services.readiness.is_stopping() || self.is_refused().await {
            return None;
        }
        let json = serde_json::to_string(&overview(&self.services).await)
            .inspect_err(|error| tracing::error!(%error, "the overview cannot be written"))
            .ok()?;
        Some(Bytes::from(format!("event: overview\ndata: {json}\n\n")))
    }

    /// A key that cannot be asked for stays good: the page is wanted most while the database is
    /// down.
    async fn is_refused(&self) -> bool {
        let proven = self.staff.prove_again(&self.services).await;
        proven.is_err_and(|problem| {
            matches!(problem.code(), Code::Unauthorized | Code::InsufficientScope)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1, "{tag}");
            assert!(!between(PAGE, &format!("<{tag}>"), &format!("</{tag}>")).is_empty(), "{tag}");
        }
        for foreign in ["http://", "https://", "//cdn", " src=", "@import", "style=", "onclick="] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        assert!(PAGE.contains("prefers-color-scheme") && PAGE.contains("width=device-width"));
        // what comes from the service is text, never markup
        assert!(!PAGE.contains("innerHTML") && !PAGE.contains("localStorage"));
    }
}
