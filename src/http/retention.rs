//! `GET /v1/admin/retention`: how long rows of each table are kept, by which setting, and whether any have
//! outlived it.

use super::principal::{PrivacyWrite, Staff};
use super::problem::Problem;
use super::services::Services;
use crate::actors::retention::Term;
use crate::db;
use crate::db::retention::Perishable;
use actix_web::get;
use actix_web::web::{self, Data};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// The janitor comes each minute; what is there an hour later was left behind.
const LEFT_BEHIND_AFTER: TimeDelta = TimeDelta::hours(1);

/// So far is counted: whoever is so far behind need not know it more exactly.
const COUNT_MAX: i64 = 1_000;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show);
}

/// How long rows are kept that end of themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = Retention)]
struct RetentionView {
    at: DateTime<Utc>,
    tables: Vec<RetainedView>,
}

/// The rows of a table that end together.
#[derive(Serialize, ToSchema)]
#[schema(as = Retained)]
struct RetainedView {
    #[schema(example = "mails")]
    table: &'static str,
    /// Which of its rows, and after what the time begins.
    #[schema(example = "mails, after they were sent or given up")]
    rows: &'static str,
    /// In seconds; `null`: for good.
    #[schema(example = 2_592_000)]
    kept_seconds: Option<i64>,
    /// The key of the configuration; `null`: it follows from what the rows are.
    #[schema(example = "retention.mails_days")]
    setting: Option<&'static str>,
    /// Rows that should have gone an hour ago and are there still, counted up to 1000: the janitor is
    /// behind or fails. `null`: not counted, for no index finds them.
    outlived: Option<i64>,
}

/// How long rows of each table are kept, by which setting, and whether any have outlived it. All other
/// rows of a customer are kept until it is erased.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_retention",
    security(("staff" = ["privacy:write"])),
    responses((status = 200, body = RetentionView))
)]
#[get("/v1/admin/retention")]
async fn show(
    _staff: Staff<PrivacyWrite>,
    services: Data<Services>,
) -> Result<web::Json<RetentionView>, Problem> {
    let (at, retention) = (services.clock.now(), services.retention.clone());
    let connection = services.database.get().await?;
    let mut tables = Vec::new();
    for what in Perishable::ALL {
        let term = retention.of(what);
        let before = at - term.kept - LEFT_BEHIND_AFTER;
        let outlived = db::retention::outlived(&connection, what, before, COUNT_MAX).await;
        let outlived = Some(outlived.map_err(db::Error::from)?);
        tables.push(RetainedView::new(what.table(), what.rows(), Some(term), outlived));
    }
    let messages = Some(retention.of_messages());
    let sessions = Some(retention.of_sessions());
    tables.extend([
        RetainedView::new("outbox_events", "messages, after they were written", messages, None),
        RetainedView::new("sessions", "sessions, after their end", sessions, None),
        RetainedView::new(
            "audit_entries",
            "the audit trail, after its checkpoint",
            retention.of_audit_entries(),
            None,
        ),
    ]);
    Ok(web::Json(RetentionView { at, tables }))
}

impl RetainedView {
    fn new(
        table: &'static str,
        rows: &'static str,
        term: Option<Term>,
        outlived: Option<i64>,
    ) -> Self {
        Self {
            table,
            rows,
            kept_seconds: term.map(|term| term.kept.num_seconds()),
            setting: term.map_or(Some("audit.keep_days"), |term| term.setting),
            outlived,
        }
    }
}
