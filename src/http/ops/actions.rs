//! What the page for operators does to the actors of this node: restart one, let a worker rest, have it
//! go on. Each may be asked for again, and each is an entry of the audit trail.

use crate::actors::dead_letters::Asker;
use crate::actors::operators::desk::{PAUSE_MINUTES_MAX, Refused};
use crate::actors::runtime::Snapshot;
use crate::http::body::JsonBody;
use crate::http::catalogue::Code;
use crate::http::form::Form;
use crate::http::idempotency::IdempotencyHeader;
use crate::http::principal::{OpsWrite, Staff};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::request_id::RequestIdentity;
use crate::http::services::{Principal, Services};
use crate::http::values::IdempotencyParam;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, post};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(restart).service(pause).service(resume);
}

/// Which incarnation is to end.
#[derive(ToSchema)]
pub struct RestartOrder {
    /// The actor's `generation`, as it was seen. Where it is a later one by now nothing is done.
    #[schema(minimum = 0, example = 1)]
    generation: i64,
}

impl RestartOrder {
    pub(crate) fn read(form: &mut Form<'_>) -> Option<RestartOrder> {
        let generation = form.required("generation", |raw| raw.bounded_integer(0, i64::MAX));
        Some(RestartOrder { generation: generation? })
    }
}

/// How long a worker is to rest.
#[derive(ToSchema)]
pub struct PauseOrder {
    /// From now on; then it goes on by itself.
    #[schema(minimum = 1, maximum = 60, example = 15)]
    minutes: i64,
}

impl PauseOrder {
    pub(crate) fn read(form: &mut Form<'_>) -> Option<PauseOrder> {
        let minutes = form.required("minutes", |raw| raw.bounded_integer(1, PAUSE_MINUTES_MAX));
        Some(PauseOrder { minutes: minutes? })
    }
}

/// The actor as it is afterwards.
#[derive(Serialize, ToSchema)]
pub struct ActorAfterwards {
    /// As in `actors` of `/ops/actors`.
    #[schema(value_type = Object)]
    actor: Snapshot,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Unknown => Problem::new(Code::NotFound)
                .detail("This node has no actor of this name: GET /ops/actors lists them."),
            Refused::NoWorker => Problem::new(Code::Conflict)
                .detail("A shard answers callers and does not rest: restart it instead."),
            Refused::MustRun(reason) => Problem::new(Code::Conflict)
                .detail(format!("It may not rest: {reason}. Restart it instead.")),
            Refused::Paused => Problem::new(Code::Conflict)
                .detail("It rests: resume it first, which has it run at once."),
            Refused::Ended => Problem::new(Code::Conflict)
                .detail("It has ended or is about to: the process is to be started anew."),
            Refused::NoSuchIncarnation => Problem::new(Code::Conflict)
                .detail("There is no such incarnation yet: look again at the actor's generation."),
            Refused::Database(error) => error.into(),
        }
    }
}

fn asker(staff: &Staff<OpsWrite>, identity: &RequestIdentity) -> Asker {
    Asker { actor: staff.actor(), request_id: identity.id().to_owned() }
}

/// Has an actor of this node begin anew. A worker's run under way is cut off, and a fresh one takes up
/// what is due. Callers in the queue of a shard are answered 503 and may repeat at once; its batch under
/// way goes on. Repeating it changes nothing.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:write"])),
    params(("name" = String, Path, example = "mailer"), IdempotencyParam),
    request_body = RestartOrder,
    responses(
        (status = 200, body = ActorAfterwards),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`conflict`: its state does not allow it; the detail tells why")
    )
)]
#[post("/ops/actors/{name}/restart")]
async fn restart(
    staff: Staff<OpsWrite>,
    name: web::Path<String>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<ActorAfterwards>, Problem> {
    let RestartOrder { generation } = body.read(RestartOrder::read)?;
    // Safe to repeat by the incarnation that it names: the key is judged and not needed.
    IdempotencyHeader::of(&request, &body.sha256)?;
    let asker = asker(&staff, &identity);
    let actor = services.actors.restart(&name, generation.unsigned_abs(), &asker).await?;
    Ok(web::Json(ActorAfterwards { actor }))
}

/// Lets a worker of this node rest, after its present run, for some minutes; then it goes on by itself,
/// as it does in a new process. Other nodes go on. Asked for again it rests for so long from then on.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:write"])),
    params(("name" = String, Path, example = "mailer"), IdempotencyParam),
    request_body = PauseOrder,
    responses(
        (status = 200, body = ActorAfterwards),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`conflict`: it is none that may rest; the detail tells why")
    )
)]
#[post("/ops/actors/{name}/pause")]
async fn pause(
    staff: Staff<OpsWrite>,
    name: web::Path<String>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<ActorAfterwards>, Problem> {
    let PauseOrder { minutes } = body.read(PauseOrder::read)?;
    // Safe to repeat by itself: the key is judged and not needed.
    IdempotencyHeader::of(&request, &body.sha256)?;
    let actor = services.actors.pause(&name, minutes, &asker(&staff, &identity)).await?;
    Ok(web::Json(ActorAfterwards { actor }))
}

/// Ends the rest of a worker of this node. Repeating it changes nothing.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:write"])),
    params(("name" = String, Path, example = "mailer"), IdempotencyParam),
    responses(
        (status = 200, body = ActorAfterwards),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`conflict`: it is no worker, or has ended; the detail tells why")
    )
)]
#[post("/ops/actors/{name}/resume")]
async fn resume(
    staff: Staff<OpsWrite>,
    name: web::Path<String>,
    request: HttpRequest,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<ActorAfterwards>, Problem> {
    // Safe to repeat by itself: the key is judged and not needed.
    IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let actor = services.actors.resume(&name, &asker(&staff, &identity)).await?;
    Ok(web::Json(ActorAfterwards { actor }))
}
