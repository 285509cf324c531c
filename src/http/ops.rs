//! `/ops`: the supervision page, and the numbers that it shows as JSON and as a stream.

pub mod actions;
pub mod board;
mod page;

use super::catalogue::Code;
use super::principal::{OpsRead, Staff};
use super::services::Services;
use crate::actors::operators::last_hour::{Point, SERIES, STEP};
use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{HttpResponse, get};
use board::Overview;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use utoipa_actix_web::service_config::ServiceConfig;

/// How often the stream tells everything anew.
const EVERY: Duration = Duration::from_secs(1);

/// How long an event waits to know that its reader's key is still good.
const PROOF: Duration = Duration::from_millis(100);

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show_page).service(actors).service(watch).configure(actions::routes);
}

/// The supervision page. It asks for an API key with `ops:read` and keeps it in the tab only.
#[utoipa::path(tag = "operators", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/ops")]
async fn show_page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, page::PAGE.policy.as_str()))
        .body(page::PAGE.html.as_str())
}

/// All actors and their numbers, and what else the page shows, as it was within the last second.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    responses((status = 200, body = Overview))
)]
#[get("/ops/actors")]
async fn actors(_staff: Staff<OpsRead>, services: Data<Services>) -> HttpResponse {
    let json = services.board.overview(&services).await;
    HttpResponse::Ok().content_type("application/json").body(json)
}

/// The same every second, as server-sent events named `overview`; before the first, `hour` with the
/// series of the last hour (`series` names the values of each of `points` after its instant), and then
/// `points` with those that are new. It ends when the key is revoked or the process stops.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    responses((status = 200, body = String, content_type = "text/event-stream",
        description = "Each event's data is one line of JSON; of `overview` it is what `/ops/actors` answers"))
)]
#[get("/ops/stream")]
async fn watch(staff: Staff<OpsRead>, services: Data<Services>) -> HttpResponse {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { staff, services, ticks, points: None, proof: None };
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

/// The series of the last hour.
#[derive(Serialize)]
struct Hour {
    step_seconds: u64,
    series: [&'static str; SERIES.len()],
    points: Vec<Point>,
}

/// Somebody who watches.
struct Watch {
    staff: Staff<OpsRead>,
    services: Data<Services>,
    ticks: Interval,
    /// How many points of the last hour were told; `None`: not yet any.
    points: Option<u64>,
    /// Whether the key was refused, as soon as it is known.
    proof: Option<LocalBoxFuture<'static, bool>>,
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        self.ticks.tick().await;
        if self.services.readiness.is_stopping() || self.is_refused().await {
            return None;
        }
        let mut events = BytesMut::new();
        if let Some((name, json)) = self.new_points() {
            push(&mut events, name, json.as_bytes());
        }
        push(&mut events, "overview", &self.services.board.overview(&self.services).await);
        Some(events.freeze())
    }

    /// What is new of the last hour: all of it at first.
    fn new_points(&mut self) -> Option<(&'static str, String)> {
        let (count, points) = self.services.board.hour().after(self.points.unwrap_or(0));
        let told = match self.points.replace(count) {
            None => {
                let hour = Hour { step_seconds: STEP.as_secs(), series: SERIES, points };
                ("hour", serde_json::to_string(&hour))
            }
            Some(_) if points.is_empty() => return None,
            Some(_) => ("points", serde_json::to_string(&points)),
        };
        Some((told.0, told.1.expect("numbers always serialise")))
    }

    /// A key that cannot be asked for stays good, and nobody waits for a database that does not answer:
    /// the page is wanted most while that is down.
    async fn is_refused(&mut self) -> bool {
        let proof = self.proof.get_or_insert_with(|| {
            let (staff, services) = (self.staff.clone(), self.services.clone());
            let proving = async move {
                let proven = staff.prove_again(&services).await;
                proven.is_err_and(|problem| {
                    matches!(problem.code(), Code::Unauthorized | Code::InsufficientScope)
                })
            };
            proving.boxed_local()
        });
        match timeout(PROOF, proof).await {
            Ok(refused) => {
                self.proof = None;
                refused
            }
            Err(_) => false,
        }
    }
}

/// One event, whose data is one line.
fn push(events: &mut BytesMut, name: &str, json: &[u8]) {
    for part in [b"event: ".as_slice(), name.as_bytes(), b"\ndata: ", json, b"\n\n"] {
        events.extend_from_slice(part);
    }
}
