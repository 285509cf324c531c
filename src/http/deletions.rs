//! `/v1/me/privacy/deletion` and `/v1/admin/customers/{id}/deletion`: a customer's deletion, asked for,
//! looked at and cancelled (rule P1); and the legal hold that stands against it (rule P4).

use super::auth::{origin, passed_gate};
use super::body::JsonBody;
use super::client_address::ClientAddress;
use super::erasures::ErasureView;
use super::form::Form;
use super::idempotency::{IdempotencyHeader, REPLAYED};
use super::mfa::read_evidence;
use super::principal::{Leaving, PrivacyWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Principal, Services, note_replay};
use super::values::{IdempotencyParam, PathId, parsed};
use crate::actors::gate::Evidence;
use crate::db;
use crate::domain::command::{Command, DeletionCommand};
use crate::domain::erasure::{Erasure, LegalHold};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::status::ReasonCode;
use crate::domain::{CustomerId, HoldId};
use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(request_by_owner).service(show).service(cancel);
    cfg.service(request_by_staff).service(show_to_staff).service(cancel_by_staff);
    cfg.service(place_hold).service(release_hold);
}

/// The wish to be deleted, and what shows that it is the owner's: `password` or `code`. Without either
/// it is possible only right after signing in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Wish`")]
struct DeletionBody {
    #[schema(format = "password")]
    password: Option<String>,
    /// Of the authenticator, or a backup code.
    #[schema(example = "287082")]
    code: Option<String>,
    /// `true`: now, and for good. Also of a deletion that is scheduled.
    #[schema(value_type = Option<bool>, default = false)]
    at_once: bool,
}

pub(super) struct Wish {
    at_once: bool,
    evidence: Evidence,
}

impl Wish {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Self> {
        let at_once = form.optional("at_once", |raw| raw.boolean()).unwrap_or(false);
        let evidence = read_evidence(form);
        Some(Self { at_once, evidence: evidence?.unwrap_or(Evidence::RecentSession) })
    }
}

/// What staff asks for on behalf of a customer.
#[derive(ToSchema)]
pub struct StaffDeletion {
    /// `true`: now, and for good. Also of a deletion that is scheduled.
    #[schema(value_type = Option<bool>, default = false)]
    at_once: bool,
}

impl StaffDeletion {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Self> {
        let at_once = form.optional("at_once", |raw| raw.boolean()).unwrap_or(false);
        Some(Self { at_once })
    }
}

/// A duty to keep a customer.
#[derive(ToSchema)]
pub struct NewLegalHold {
    /// A code of 1 to 64 of `a-z`, `0-9` and `_`: words would name somebody.
    #[schema(value_type = String, max_length = 64, example = "tax_audit_2026")]
    reason: ReasonCode,
}

impl NewLegalHold {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Self> {
        let reason = form.required("reason", |raw| parsed(raw, ReasonCode::parse));
        Some(Self { reason: reason? })
    }
}

/// A duty to keep, which stands against an erasure.
#[derive(Serialize, ToSchema)]
#[schema(as = LegalHold)]
pub struct LegalHoldView {
    pub id: Uuid,
    pub customer_id: Uuid,
    #[schema(example = "tax_audit_2026")]
    pub reason: String,
    /// The id of the key that placed it.
    pub placed_by: String,
    pub placed_at: DateTime<Utc>,
}

impl From<LegalHold> for LegalHoldView {
    fn from(hold: LegalHold) -> Self {
        Self {
            id: hold.id.0,
            customer_id: hold.customer_id.0,
            reason: hold.reason.as_str().to_owned(),
            placed_by: hold.placed_by,
            placed_at: hold.placed_at,
        }
    }
}

/// Asks for my account and all that is kept about me to be deleted. From then on the account is frozen;
/// until the grace is over I may sign in to see and to cancel it.
#[utoipa::path(
    tag = "privacy",
    operation_id = "request_my_deletion",
    security(("customer" = [])),
    request_body = DeletionBody,
    responses(
        (status = 202, body = ErasureView),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`active_orders`, `deletion_scheduled`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/privacy/deletion")]
async fn request_by_owner(
    Leaving(owner): Leaving,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Wish { at_once, evidence } = body.read(Wish::read)?;
    let origin = origin(&identity, address);
    let asked = services.deletions.request(owner.into(), evidence, at_once, &origin);
    let (erasure, mut response) = passed_gate(Box::pin(asked).await)?;
    response.status(StatusCode::ACCEPTED);
    Ok(response.json(ErasureView::of(erasure, None)))
}

/// How far my deletion is.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_my_deletion",
    security(("customer" = [])),
    responses((status = 200, body = ErasureView), (status = 404, body = ProblemDocument))
)]
#[get("/v1/me/privacy/deletion")]
async fn show(
    Leaving(owner): Leaving,
    services: Data<Services>,
) -> Result<web::Json<ErasureView>, Problem> {
    latest(&services, owner.customer_id).await.map(web::Json)
}

/// Cancels my deletion: all is as it was, and I sign in anew.
#[utoipa::path(
    tag = "privacy",
    operation_id = "cancel_my_deletion",
    security(("customer" = [])),
    responses(
        (status = 204, description = "Cancelled"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`erasure_begun`")
    )
)]
#[delete("/v1/me/privacy/deletion")]
async fn cancel(
    Leaving(owner): Leaving,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    cancelled(&services, &owner, owner.customer_id, &identity).await
}

/// Asks for a customer to be deleted, on its behalf; also one that staff had deleted softly.
#[utoipa::path(
    tag = "privacy",
    operation_id = "request_deletion",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = StaffDeletion,
    responses(
        (status = 202, body = ErasureView, headers(("Location" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`active_orders`, `deletion_scheduled`, `erasure_begun`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/deletion")]
async fn request_by_staff(
    staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let StaffDeletion { at_once } = body.read(StaffDeletion::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let id = CustomerId(id.0);
    let command = services.deletions.requested_by_staff(id, at_once).await?;
    let answered = services.submit(&staff, &identity, id, command, key).await?;
    services.deletions.wake(at_once);
    let mut response = HttpResponse::Accepted();
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Deletion(erasure) => {
            let location = format!("/v1/admin/erasures/{}", erasure.id);
            response.insert_header((header::LOCATION, location));
            Ok(response.json(ErasureView::of(*erasure, None)))
        }
        other => Err(unexpected(&other)),
    }
}

/// How far a customer's deletion is.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_deletion",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ErasureView))
)]
#[get("/v1/admin/customers/{id}/deletion")]
async fn show_to_staff(
    _staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<ErasureView>, Problem> {
    latest(&services, CustomerId(id.0)).await.map(web::Json)
}

/// Cancels a customer's deletion: all is as it was.
#[utoipa::path(
    tag = "privacy",
    operation_id = "cancel_deletion",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Cancelled"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`erasure_begun`")
    )
)]
#[delete("/v1/admin/customers/{id}/deletion")]
async fn cancel_by_staff(
    staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    cancelled(&services, &staff, CustomerId(id.0), &identity).await
}

/// Places a legal hold: while it stands nothing of the customer is erased.
#[utoipa::path(
    tag = "privacy",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = NewLegalHold,
    responses(
        (status = 201, body = LegalHoldView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`legal_hold_exists`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/legal_hold")]
async fn place_hold(
    staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let NewLegalHold { reason } = body.read(NewLegalHold::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let (id, hold) = (CustomerId(id.0), HoldId(services.clock.new_id()));
    let command = Command::Deletion(DeletionCommand::PlaceHold { id: hold, reason });
    let answered = services.submit(&staff, &identity, id, command, key).await?;
    let mut response = HttpResponse::Created();
    if answered.replayed {
        response.insert_header(REPLAYED);
    }
    match answered.outcome {
        Outcome::LegalHold(hold) => Ok(response.json(LegalHoldView::from(*hold))),
        other => Err(unexpected(&other)),
    }
}

/// Releases the legal hold. A deletion that it held up goes on.
#[utoipa::path(
    tag = "privacy",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path)),
    responses((status = 204, description = "Released"))
)]
#[delete("/v1/admin/customers/{id}/legal_hold")]
async fn release_hold(
    staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::Deletion(DeletionCommand::ReleaseHold);
    services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    services.deletions.wake(true);
    Ok(HttpResponse::NoContent().finish())
}

async fn cancelled(
    services: &Services,
    principal: &impl Principal,
    id: CustomerId,
    identity: &RequestIdentity,
) -> Result<HttpResponse, Problem> {
    let command = services.deletions.cancel();
    let answered = services.submit(principal, identity, id, command, None).await?;
    match answered.outcome {
        Outcome::Deletion(_) => Ok(HttpResponse::NoContent().finish()),
        other => Err(unexpected(&other)),
    }
}

/// The latest deletion that was not cancelled, and the hold that stands against it.
async fn latest(services: &Services, id: CustomerId) -> Result<ErasureView, Problem> {
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let kept = db::erasures::of_customer(connection, id).await?;
            Ok((kept, db::erasures::held(connection, &[id.0]).await?))
        })
    });
    let (kept, held) = read.await?;
    let kept = kept.ok_or(Rejection::NotFound)?;
    let erasure: Erasure = kept.erasure;
    Ok(ErasureView { held: !held.is_empty(), ..ErasureView::of(erasure, kept.removed) })
}
