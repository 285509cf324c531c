//! `/v1/admin/erasures`: every deletion that was asked for, how far each step of it is, and at its end
//! the certificate.

use super::catalogue::Code;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{PrivacyWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, PageParams, PathId};
use crate::db;
use crate::db::erasures::Kept;
use crate::domain::ErasureId;
use crate::domain::erasure::{Erasure, ErasureState, Requester, Step};
use crate::domain::outcome::{Outcome, Rejection};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(show).service(retry).service(certificate);
}

/// A deletion that was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Erasure)]
pub struct ErasureView {
    pub id: Uuid,
    pub customer_id: Uuid,
    /// `scheduled`: within its grace, or something stands against it; `running`: nothing is kept here any
    /// more, and other services are told to forget; `completed`; `cancelled`.
    #[schema(example = "scheduled")]
    pub state: &'static str,
    /// `owner` or `staff`; `operator`: by the ledger, after a backup was restored.
    #[schema(example = "owner")]
    pub requested_by: &'static str,
    pub requested_at: DateTime<Utc>,
    /// When its grace is over.
    pub due_at: DateTime<Utc>,
    /// By when the law wants it done: a month after it was asked for.
    pub legal_due_at: DateTime<Utc>,
    /// `false`: the grace ends after the month that the law gives. Ask for it at once, or sooner.
    pub within_legal_month: bool,
    /// What stood against it when it was due: `legal_hold` or `active_orders`.
    pub put_off: Option<&'static str>,
    /// Whether a legal hold stands against it. Told of one customer's deletion.
    pub held: bool,
    /// When all that was kept here was erased.
    pub started_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    /// How many rows of each table were deleted or emptied.
    #[schema(value_type = Option<Object>)]
    pub removed: Option<Value>,
    /// Of one that has begun.
    pub steps: Vec<ErasureStepView>,
}

/// What a deletion consists of.
#[derive(Serialize, ToSchema)]
#[schema(as = ErasureStep)]
pub struct ErasureStepView {
    pub id: Uuid,
    /// `local`, or the command to another service.
    #[schema(example = "order.anonymize")]
    pub name: &'static str,
    /// `sent`, `failed` or `done`.
    #[schema(example = "sent")]
    pub state: &'static str,
    /// How often it was commanded.
    pub tries: i32,
    /// The message of the last command.
    pub message_id: Option<Uuid>,
    /// The code of the service that failed.
    pub last_error: Option<String>,
    pub sent_at: DateTime<Utc>,
    /// When it is commanded again.
    pub next_try_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
}

impl From<Step> for ErasureStepView {
    fn from(step: Step) -> Self {
        Self {
            id: step.id.0,
            name: step.name.as_str(),
            state: step.state.as_str(),
            tries: step.tries,
            message_id: step.message.map(|id| id.0),
            last_error: step.last_error,
            sent_at: step.sent_at,
            next_try_at: step.next_try_at,
            done_at: step.done_at,
        }
    }
}

impl ErasureView {
    pub(super) fn of(erasure: Erasure, removed: Option<Value>) -> Self {
        Self {
            id: erasure.id.0,
            customer_id: erasure.customer_id.0,
            state: erasure.state.as_str(),
            requested_by: match erasure.requested_by {
                Requester::Owner => "owner",
                Requester::Staff(_) => "staff",
                Requester::Operator => "operator",
            },
            requested_at: erasure.requested_at,
            due_at: erasure.due_at,
            legal_due_at: erasure.legal_due_at,
            within_legal_month: erasure.is_within_legal_month(),
            put_off: erasure.put_off.map(|obstacle| obstacle.as_str()),
            held: false,
            started_at: erasure.started_at,
            completed_at: erasure.completed_at,
            cancelled_at: erasure.cancelled_at,
            removed,
            steps: erasure.steps.into_iter().map(ErasureStepView::from).collect(),
        }
    }
}

impl From<Kept> for ErasureView {
    fn from(kept: Kept) -> Self {
        Self::of(kept.erasure, kept.removed)
    }
}

/// The proof of an erasure.
#[derive(Serialize, ToSchema)]
#[schema(as = ErasureCertificate)]
pub struct CertificateView {
    /// A JWS (EdDSA) of what was erased, when, and which services answered that they forgot.
    pub certificate: String,
    /// What it is checked by, in base64: the key that seals the audit trail.
    pub public_key: String,
}

/// Deletions, the latest first.
#[utoipa::path(
    tag = "privacy",
    operation_id = "list_erasures",
    security(("staff" = ["privacy:write"])),
    params(
        PageParams,
        ("state" = Option<String>, Query, description = "`scheduled`, `running`, `completed` or `cancelled`")
    ),
    responses((status = 200, body = Page<ErasureView>))
)]
#[get("/v1/admin/erasures")]
async fn list(
    _staff: Staff<PrivacyWrite>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ErasureView>>, Problem> {
    let words = ErasureState::ALL.map(|state| (state.as_str(), state));
    let (page, state) = Query::read(request.query_string(), |query| {
        let state = query.optional("state", |raw| raw.one_of(&words));
        let page = PageRequest::<Uuid>::read(query, "erasures");
        Some((page?, state))
    })?;
    let (before, limit) = (page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::erasures::list(connection, state, before, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |kept| kept.erasure.id.0, ErasureView::from)))
}

/// One deletion, with each of its steps.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_erasure",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ErasureView))
)]
#[get("/v1/admin/erasures/{id}")]
async fn show(
    _staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<ErasureView>, Problem> {
    Ok(web::Json(find(&services, ErasureId(id.0)).await?.into()))
}

/// Tells every service again that has not answered that it forgot; they need not wait for their turn.
#[utoipa::path(
    tag = "privacy",
    operation_id = "retry_erasure",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    responses(
        (status = 202, body = ErasureView),
        (status = 404, body = ProblemDocument, description = "No erasure of this id is running")
    )
)]
#[post("/v1/admin/erasures/{id}/retry")]
async fn retry(
    staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = ErasureId(id.0);
    let key = IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let customer = find(&services, id).await?.erasure.customer_id;
    let command = services.deletions.retry(id);
    let answered = services.submit(&staff, &identity, customer, command, key).await?;
    let mut response = HttpResponse::Accepted();
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Deletion(erasure) => Ok(response.json(ErasureView::of(*erasure, None))),
        other => Err(unexpected(&other)),
    }
}

/// The signed certificate of an erasure that is over.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_erasure_certificate",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = CertificateView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`erasure_open`")
    )
)]
#[get("/v1/admin/erasures/{id}/certificate")]
async fn certificate(
    _staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<CertificateView>, Problem> {
    let kept = find(&services, ErasureId(id.0)).await?;
    let certificates = services.deletions.certificates();
    let certificate = certificates.of(&kept).ok_or(Problem::new(Code::ErasureOpen))?;
    Ok(web::Json(CertificateView { certificate, public_key: certificates.public_key() }))
}

async fn find(services: &Services, id: ErasureId) -> Result<Kept, Problem> {
    let read = services
        .database
        .read(move |connection| Box::pin(async move { db::erasures::find(connection, id).await }));
    Ok(read.await?.ok_or(Rejection::NotFound)?)
}
