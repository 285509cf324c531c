//! `/v1/admin/events`: messages that could not be published, and what staff decides about them; and
//! `/v1/admin/customers/{id}/messages/replay`: what one consumer is told once more.

use super::body::JsonBody;
use super::catalogue::Code;
use super::field::FieldFault;
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{OpsRead, OpsWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::request_id::RequestIdentity;
use super::services::{Principal, Services};
use super::values::{IdempotencyParam, PageParams, PathId};
use crate::actors::dead_letters::{
    Asker, CustomerReplay, Progress, REASON_MAX, Refused, Told, is_reason,
};
use crate::db::dead_letters::{DeadLetter, Filter};
use crate::db::outbox_parked::State;
use crate::domain::CustomerId;
use crate::domain::outcome::Rejection;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

/// The longest name of a message type that is asked for, in characters.
const KIND_MAX: usize = 100;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(show).service(replay_many).service(replay_one).service(discard);
    cfg.service(show_progress).service(replay_customer);
}

/// A message that could not be published, or waits behind one of its customer.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct DeadLetterView {
    /// The message id.
    pub id: Uuid,
    pub customer_id: Uuid,
    /// Its number among the customer's messages.
    pub customer_sequence: i64,
    #[serde(rename = "type")]
    #[schema(example = "customer.updated")]
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    /// `trying`: it failed and is tried again. `parked`: given up until staff decides. `behind`:
    /// it waits for one before it. `released`: to be published. `published`, `discarded`: over.
    #[schema(example = "parked")]
    pub state: String,
    /// `refused`: by the broker. `not_encodable`: AMQP cannot carry it. `behind`: nothing is wrong
    /// with it.
    #[schema(example = "refused")]
    pub reason: String,
    /// The broker's words.
    pub detail: Option<String>,
    /// How often it failed by its own fault since it was released last.
    pub tries: i32,
    pub parked_at: DateTime<Utc>,
    /// The replay that released it last.
    pub replay_id: Option<Uuid>,
    pub discard_reason: Option<String>,
    /// When the relay was done with it.
    pub settled_at: Option<DateTime<Utc>>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(row: DeadLetter) -> Self {
        Self {
            id: row.id,
            customer_id: row.customer_id,
            customer_sequence: row.customer_sequence,
            kind: row.kind,
            occurred_at: row.occurred_at,
            state: row.state,
            reason: row.reason,
            detail: row.detail,
            tries: row.tries,
            parked_at: row.parked_at,
            replay_id: row.replay_id,
            discard_reason: row.discard_reason,
            settled_at: row.settled_at,
        }
    }
}

/// The same with the body of the message.
#[derive(Serialize, ToSchema)]
pub struct OpenedDeadLetter {
    #[serde(flatten)]
    pub letter: DeadLetterView,
    /// Ids, names of fields, values that are not personal; without what is sealed.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// Which messages are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters; `filter` reads them")]
struct DeadLetterParams {
    /// Only those in this state: `trying`, `parked`, `behind`, `released`, `published`, `discarded`.
    #[param(required = false)]
    state: Option<String>,
    /// Only messages of this type.
    #[param(required = false, max_length = 100)]
    r#type: Option<String>,
    /// Only those about this customer.
    #[param(required = false)]
    customer_id: Option<Uuid>,
}

fn filter(query: &mut Query<'_>) -> Filter {
    let states = State::ALL.map(|state| (state.as_str(), state));
    Filter {
        state: query.optional("state", |raw| raw.one_of(&states)),
        kind: query.optional("type", |raw| raw.bounded_text(1, KIND_MAX)),
        customer: query.optional("customer_id", |raw| raw.uuid()),
    }
}

/// Why a message is given up.
#[derive(ToSchema)]
pub struct DiscardOrder {
    /// 1 to 64 of `a-z`, `0-9`, `_` and `-`; no name of anybody: it stands in the audit.
    #[schema(max_length = 64, example = "test_data")]
    reason: String,
}

impl DiscardOrder {
    pub(super) fn read(form: &mut Form<'_>) -> Option<DiscardOrder> {
        let reason = form.required("reason", |raw| {
            let text = raw.bounded_text(1, REASON_MAX)?;
            match is_reason(&text) {
                true => Ok(text),
                false => Err(FieldFault::new("malformed", "Must be of a-z, 0-9, _ and -.")),
            }
        });
        Some(DiscardOrder { reason: reason? })
    }
}

/// Which parked messages are to be published again; without any of these, all.
#[derive(ToSchema)]
pub struct DeadLetterFilter {
    #[schema(value_type = Option<String>, max_length = 100, example = "customer.updated")]
    r#type: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    customer_id: Option<Uuid>,
}

impl DeadLetterFilter {
    pub(super) fn read(form: &mut Form<'_>) -> Option<DeadLetterFilter> {
        Some(DeadLetterFilter {
            r#type: form.optional("type", |raw| raw.bounded_text(1, KIND_MAX)),
            customer_id: form.optional("customer_id", |raw| raw.uuid()),
        })
    }
}

/// A replay of many messages.
#[derive(Serialize, ToSchema)]
pub struct ReplayView {
    /// Its progress is at `/v1/admin/events/replays/{id}`.
    pub id: Uuid,
    /// How many messages are released, at most 10 000.
    pub released: i64,
    /// More are parked that fit: ask again.
    pub more: bool,
}

/// How far a replay has come.
#[derive(Serialize, ToSchema)]
pub struct ReplayProgress {
    /// With the broker.
    pub published: i32,
    /// On their way.
    pub released: i32,
    /// Failed again, and parked.
    pub parked: i32,
}

impl From<Progress> for ReplayProgress {
    fn from(progress: Progress) -> Self {
        let Progress { published, released, parked } = progress;
        Self { published, released, parked }
    }
}

/// Which messages of a customer a consumer is to be told once more.
#[derive(ToSchema)]
pub struct MessageReplay {
    /// The first one.
    #[schema(minimum = 1)]
    from_sequence: i64,
    /// The last one; otherwise the latest.
    #[schema(value_type = Option<i64>, minimum = 1)]
    to_sequence: Option<i64>,
    /// The consumer's queue, one of those that `outbox.replay_queues` allows.
    #[schema(max_length = 255, example = "shop.mails")]
    queue: String,
}

impl MessageReplay {
    pub(super) fn read(form: &mut Form<'_>) -> Option<MessageReplay> {
        let from = form.required("from_sequence", |raw| raw.bounded_integer(1, i64::MAX));
        let to = form.optional("to_sequence", |raw| raw.bounded_integer(1, i64::MAX));
        let queue = form.required("queue", |raw| raw.bounded_text(1, 255));
        if to.is_some_and(|to| from.is_some_and(|from| to < from)) {
            let detail = "Must not be before from_sequence.";
            form.refuse("to_sequence", FieldFault::new("out_of_range", detail));
        }
        Some(MessageReplay { from_sequence: from?, to_sequence: to, queue: queue? })
    }
}

/// What the queue was told.
#[derive(Serialize, ToSchema)]
pub struct MessageReplayView {
    /// How many messages are in the queue.
    pub published: usize,
    /// Sequence of the first and of the last one.
    pub first_sequence: Option<i64>,
    pub last_sequence: Option<i64>,
    /// What is no longer kept and cannot be told.
    pub missing: Vec<SequenceRange>,
    /// Sequences of messages that are parked, wait behind a parked one, or were discarded.
    pub withheld: Vec<i64>,
    /// It goes on after `last_sequence`: ask again from there.
    pub more: bool,
    /// Why it ended early: `refused` (the queue is full), `returned` (it is gone), `down`, `timed_out`.
    pub fault: Option<&'static str>,
}

/// Sequences from the first to the last, both included.
#[derive(Serialize, ToSchema)]
pub struct SequenceRange {
    pub first: i64,
    pub last: i64,
}

impl From<Told> for MessageReplayView {
    fn from(told: Told) -> Self {
        let missing = told.missing.into_iter().map(|(first, last)| SequenceRange { first, last });
        Self {
            published: told.published,
            first_sequence: told.first_sequence,
            last_sequence: told.last_sequence,
            missing: missing.collect(),
            withheld: told.withheld,
            more: told.more,
            fault: told.fault.map(|fault| fault.code()),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::NotFound => Problem::new(Code::NotFound),
            Refused::State(why) => Problem::new(Code::Conflict).detail(why),
            Refused::QueueNotAllowed => {
                queue_problem("not_allowed", "Must be allowed by outbox.replay_queues.")
            }
            Refused::NoSuchQueue => {
                queue_problem("unknown_queue", "There is no queue of this name.")
            }
            Refused::ExclusiveQueue => {
                queue_problem("exclusive_queue", "The queue belongs to one connection alone.")
            }
            Refused::NoBroker => {
                Problem::new(Code::Conflict).detail("No broker is configured (rabbit.url).")
            }
            Refused::Broker(fault) => {
                tracing::warn!(%fault, "a replay to a queue could not begin");
                Problem::new(Code::Unavailable)
            }
            Refused::Database(error) => error.into(),
        }
    }
}

fn queue_problem(code: &'static str, detail: &'static str) -> Problem {
    Problem::invalid(vec![FieldFault::new(code, detail).at("#/queue")])
}

fn asker(staff: &impl Principal, identity: &RequestIdentity) -> Asker {
    Asker { actor: staff.actor(), request_id: identity.id().to_owned() }
}

/// Messages that could not be published, and those that wait behind them, in the order of their
/// ids. Those that are over stay for 30 days.
#[utoipa::path(
    tag = "operators",
    operation_id = "list_dead_letters",
    security(("staff" = ["ops:read"])),
    params(DeadLetterParams, PageParams),
    responses((status = 200, body = Page<DeadLetterView>))
)]
#[get("/v1/admin/events/dead_letters")]
async fn list(
    _staff: Staff<OpsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<DeadLetterView>>, Problem> {
    let (filter, page) = Query::read(request.query_string(), |query| {
        let filter = filter(query);
        Some((filter, PageRequest::<Uuid>::read(query, "dead_letters")?))
    })?;
    let rows = services.dead_letters.list(filter, page.after, page.fetch()).await?;
    Ok(web::Json(page.page(rows, |row| row.id, DeadLetterView::from)))
}

/// One of them, with the body of the message.
#[utoipa::path(
    tag = "operators",
    operation_id = "show_dead_letter",
    security(("staff" = ["ops:read"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = OpenedDeadLetter))
)]
#[get("/v1/admin/events/dead_letters/{id}")]
async fn show(
    _staff: Staff<OpsRead>,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<OpenedDeadLetter>, Problem> {
    let (row, data) = services.dead_letters.show(id.0).await?;
    Ok(web::Json(OpenedDeadLetter { letter: row.into(), data }))
}

/// Has a parked message published again, and after it those that wait behind it. Repeating it
/// changes nothing.
#[utoipa::path(
    tag = "operators",
    operation_id = "replay_dead_letter",
    security(("staff" = ["ops:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    responses(
        (status = 200, body = DeadLetterView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`conflict`: its state does not allow it; the detail tells why")
    )
)]
#[post("/v1/admin/events/dead_letters/{id}/replay")]
async fn replay_one(
    staff: Staff<OpsWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<DeadLetterView>, Problem> {
    // Safe to repeat by itself: the key is judged and not needed.
    IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let row = services.dead_letters.replay(id.0, &asker(&staff, &identity)).await?;
    Ok(web::Json(row.into()))
}

/// Gives a message up for good: it is never published, and those that wait behind it go on.
/// Repeating it with the same reason changes nothing.
#[utoipa::path(
    tag = "operators",
    operation_id = "discard_dead_letter",
    security(("staff" = ["ops:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = DiscardOrder,
    responses(
        (status = 200, body = DeadLetterView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`conflict`: its state does not allow it; the detail tells why")
    )
)]
#[post("/v1/admin/events/dead_letters/{id}/discard")]
async fn discard(
    staff: Staff<OpsWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<DeadLetterView>, Problem> {
    let DiscardOrder { reason } = body.read(DiscardOrder::read)?;
    IdempotencyHeader::of(&request, &body.sha256)?;
    let row = services.dead_letters.discard(id.0, &reason, &asker(&staff, &identity)).await?;
    Ok(web::Json(row.into()))
}

/// Has all parked messages that fit published again, at most 10 000 at a time.
#[utoipa::path(
    tag = "operators",
    operation_id = "replay_dead_letters",
    security(("staff" = ["ops:write"])),
    params(IdempotencyParam),
    request_body = DeadLetterFilter,
    responses((status = 200, body = ReplayView))
)]
#[post("/v1/admin/events/dead_letters/replay")]
async fn replay_many(
    staff: Staff<OpsWrite>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<ReplayView>, Problem> {
    let DeadLetterFilter { r#type, customer_id } = body.read(DeadLetterFilter::read)?;
    // Safe to repeat by itself: the key is judged and not needed.
    IdempotencyHeader::of(&request, &body.sha256)?;
    let filter = Filter { state: None, kind: r#type, customer: customer_id };
    let replay = services.dead_letters.replay_many(filter, &asker(&staff, &identity)).await?;
    Ok(web::Json(ReplayView { id: replay.id, released: replay.released, more: replay.more }))
}

/// How far a replay has come: one that released something, for as long as its messages are kept.
#[utoipa::path(
    tag = "operators",
    operation_id = "show_replay",
    security(("staff" = ["ops:read"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ReplayProgress))
)]
#[get("/v1/admin/events/replays/{id}")]
async fn show_progress(
    _staff: Staff<OpsRead>,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<ReplayProgress>, Problem> {
    match services.dead_letters.progress(id.0).await? {
        none if none == Progress::default() => Err(Rejection::NotFound.into()),
        progress => Ok(web::Json(progress.into())),
    }
}

/// Publishes messages about a customer once more, to one queue, in their order and with their ids;
/// the header `cloudEvents:replay` is true. At most 10 000 at a time, of those that are still kept
/// (`outbox.retention_hours`). Asked for twice, the queue is told twice.
#[utoipa::path(
    tag = "operators",
    operation_id = "replay_messages",
    security(("staff" = ["ops:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = MessageReplay,
    responses((status = 200, body = MessageReplayView))
)]
#[post("/v1/admin/customers/{id}/messages/replay")]
async fn replay_customer(
    staff: Staff<OpsWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<MessageReplayView>, Problem> {
    let MessageReplay { from_sequence, to_sequence, queue } = body.read(MessageReplay::read)?;
    // Its messages keep their ids, by which consumers drop what they had: the key is judged and not needed.
    IdempotencyHeader::of(&request, &body.sha256)?;
    let customer = CustomerId(id.0);
    let wish = CustomerReplay { customer, from_sequence, to_sequence, queue };
    let told = services.dead_letters.replay_customer(wish, &asker(&staff, &identity)).await?;
    Ok(web::Json(told.into()))
}
