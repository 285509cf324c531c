//! `/ops/log_levels`: what this node logs, by module. For a while; then, and with every start, it is what
//! is configured again. Each node has its own.

use super::body::JsonBody;
use super::field::FieldFault;
use super::form::Form;
use super::principal::{OpsRead, OpsWrite, Staff};
use super::problem::Problem;
use super::request_id::RequestIdentity;
use super::services::{Principal, Services};
use crate::db::{self, audit};
use crate::telemetry::levels::{Levels, parse};
use actix_web::web::{self, Data};
use actix_web::{delete, get, put};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// For how long levels are changed, unless it is said.
const MINUTES: i64 = 60;
const MINUTES_MAX: i64 = 1_440;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show).service(change).service(reset);
}

/// What a node logs.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLevels)]
pub struct LogLevelsView {
    /// In effect: a level for everything, and `module=level` for what differs.
    #[schema(example = "info,customer_service::actors::shard=debug")]
    levels: String,
    #[schema(example = "info")]
    configured: String,
    /// When the configured ones come back. Null: they are in effect.
    until: Option<DateTime<Utc>>,
}

impl LogLevelsView {
    fn of(levels: &Levels) -> Self {
        let (now, until) = levels.current();
        Self { levels: now, configured: levels.configured().to_owned(), until }
    }
}

/// Other levels, for a while.
#[derive(ToSchema)]
pub struct LogLevelsChange {
    /// `off`, `error`, `warn`, `info`, or `module=level`, separated by commas. Modules of the service
    /// (`customer_service::…`) may be set to `debug` and `trace`, too; libraries tell there what passes
    /// through them.
    #[schema(example = "info,customer_service::actors::shard=debug")]
    levels: String,
    /// After how many minutes the configured ones come back.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1440, default = 60)]
    minutes: i64,
}

impl LogLevelsChange {
    pub(super) fn read(form: &mut Form<'_>) -> Option<LogLevelsChange> {
        let levels = form.required("levels", |raw| {
            parse(raw.text()?)
                .map_err(|faults| FieldFault::new("invalid_levels", faults.to_string()))
        });
        let minutes = form.optional("minutes", |raw| raw.bounded_integer(1, MINUTES_MAX));
        Some(LogLevelsChange { levels: levels?, minutes: minutes.unwrap_or(MINUTES) })
    }
}

/// What this node logs.
#[utoipa::path(
    tag = "operators",
    operation_id = "get_log_levels",
    security(("staff" = ["ops:read"])),
    responses((status = 200, body = LogLevelsView))
)]
#[get("/ops/log_levels")]
async fn show(_staff: Staff<OpsRead>, services: Data<Services>) -> web::Json<LogLevelsView> {
    web::Json(LogLevelsView::of(&services.levels))
}

/// Has this node log more or less, for a while. Sending it again begins the while anew.
#[utoipa::path(
    tag = "operators",
    operation_id = "change_log_levels",
    security(("staff" = ["ops:write"])),
    request_body = LogLevelsChange,
    responses((status = 200, body = LogLevelsView))
)]
#[put("/ops/log_levels")]
async fn change(
    staff: Staff<OpsWrite>,
    identity: RequestIdentity,
    body: JsonBody,
    services: Data<Services>,
) -> Result<web::Json<LogLevelsView>, Problem> {
    let LogLevelsChange { levels, minutes } = body.read(LogLevelsChange::read)?;
    let data = json!({ "levels": levels, "minutes": minutes });
    note(&services, &staff, &identity, "log_levels.changed", data).await?;
    let until = services.clock.now() + TimeDelta::minutes(minutes);
    // Before it is done: `off` would leave this out.
    tracing::warn!(levels, minutes, key = staff.key_id(), "log levels are to change");
    let changed = services.levels.change(&levels, until).map_err(|faults| {
        let fault = FieldFault::new("invalid_levels", faults.to_string());
        Problem::invalid(vec![fault.at("#/levels")])
    })?;
    // lossless: from 1 to 1440
    let rest = Duration::from_secs(60 * minutes.unsigned_abs());
    services.database.spawn(services.levels.clone().undo_after(rest, changed));
    Ok(web::Json(LogLevelsView::of(&services.levels)))
}

/// Has this node log what is configured, at once.
#[utoipa::path(
    tag = "operators",
    operation_id = "reset_log_levels",
    security(("staff" = ["ops:write"])),
    responses((status = 200, body = LogLevelsView))
)]
#[delete("/ops/log_levels")]
async fn reset(
    staff: Staff<OpsWrite>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<LogLevelsView>, Problem> {
    note(&services, &staff, &identity, "log_levels.reset", json!({})).await?;
    services.levels.reset();
    tracing::warn!(key = staff.key_id(), "log levels are those of the configuration again");
    Ok(web::Json(LogLevelsView::of(&services.levels)))
}

/// The entry of the audit trail, before it is done.
async fn note(
    services: &Services,
    staff: &Staff<OpsWrite>,
    identity: &RequestIdentity,
    action: &'static str,
    data: Value,
) -> Result<(), Problem> {
    let (actor, request_id) = (staff.actor(), identity.id().to_owned());
    let (id, occurred_at) = (services.clock.new_id(), services.clock.now());
    let database = services.database.clone();
    let written = services.database.spawn(async move {
        let request_id = request_id.as_str();
        let deed = audit::Deed { id, actor: &actor, action, data, request_id, occurred_at };
        let mut connection = database.get().await?;
        Ok::<_, db::Error>(audit::append_deed(&mut connection, &deed, None).await?)
    });
    let written = written.await.map_err(|error| db::Error::Internal(error.to_string()))?;
    Ok(written?)
}
