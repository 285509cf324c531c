//! `/v1/me/privacy/export`: a copy of all that is kept of a customer, for its owner (rule P3). Asking
//! for one takes a fresh proof. So does downloading it, in effect: by the session that asked, or by one
//! that began just now; whoever took over an old session gets nothing. All of it is open to its owner
//! until nothing is kept any more, also while a deletion is scheduled: hence [`Leaving`].

use super::auth::{origin, passed_gate};
use super::body::MaybeJsonBody;
use super::catalogue::Code;
use super::client_address::ClientAddress;
use super::customer_parts::of_living;
use super::idempotency::IdempotencyHeader;
use super::mfa::{ProofBody, evidence};
use super::pages::{Page, PageRequest};
use super::principal::{Leaving, Owner, PrivacyWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, PageParams, PathId};
use crate::actors::gate::Evidence;
use crate::actors::privacy_exports::{MEDIA_TYPE, Reader};
use crate::db;
use crate::db::privacy_exports::Row;
use crate::domain::command::{Command, PrivacyExportCommand};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::privacy_export::{Asker, ExportEnd, PrivacyExport};
use crate::domain::{CustomerId, PrivacyExportId};
use crate::security::revoked::Liveness;
use actix_web::body::SizedStream;
use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, get, post};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(ask).service(list).service(show).service(download);
    cfg.service(ask_for).service(show_to_staff);
}

/// A copy of all that is kept of a customer, or one in the making.
#[derive(Serialize, ToSchema)]
#[schema(as = PrivacyExport)]
pub struct PrivacyExportView {
    pub id: Uuid,
    /// `queued`, `running`, `ready` or `failed`.
    #[schema(example = "running")]
    pub state: String,
    /// Why it failed: `too_large` or `interrupted`; another one may be asked for.
    pub reason: Option<String>,
    /// `customer` or `staff`.
    #[schema(example = "customer")]
    pub asked_by: &'static str,
    pub progress: PrivacyExportProgress,
    pub created_at: DateTime<Utc>,
    /// When it was ready, or given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// Until when it can be downloaded.
    pub expires_at: Option<DateTime<Utc>>,
    pub downloaded_at: Option<DateTime<Utc>>,
}

/// How far it is.
#[derive(Serialize, ToSchema)]
pub struct PrivacyExportProgress {
    /// Parts that are written, of `parts_total`; 0 of 0 before it begins.
    #[schema(example = 12)]
    pub parts_done: i32,
    #[schema(example = 60)]
    pub parts_total: i32,
    /// What is told so far, in rows.
    pub rows: i64,
    /// The length of the archive so far.
    pub bytes: i64,
}

impl From<Row> for PrivacyExportView {
    fn from(row: Row) -> Self {
        let asked_by = if row.is_by_staff() { "staff" } else { "customer" };
        Self {
            id: row.id,
            state: row.state,
            reason: row.reason,
            asked_by,
            progress: PrivacyExportProgress {
                parts_done: row.tables_done,
                parts_total: row.tables_total,
                rows: row.row_count,
                bytes: row.bytes,
            },
            created_at: row.created_at,
            finished_at: row.finished_at,
            expires_at: row.expires_at,
            downloaded_at: row.downloaded_at,
        }
    }
}

/// As it was just asked for.
impl From<PrivacyExport> for PrivacyExportView {
    fn from(export: PrivacyExport) -> Self {
        Self {
            id: export.id.0,
            state: "queued".to_owned(),
            reason: None,
            asked_by: match export.asked_by {
                Asker::Owner { .. } => "customer",
                Asker::Staff(_) => "staff",
            },
            progress: PrivacyExportProgress { parts_done: 0, parts_total: 0, rows: 0, bytes: 0 },
            created_at: export.created_at,
            finished_at: None,
            expires_at: None,
            downloaded_at: None,
        }
    }
}

/// Asks for a copy of all that is kept of me, as a ZIP with JSON, a page to read and a list of what is
/// in it. Asks for the password or a code, or without either for a session that began just now where
/// there is neither. It is made meanwhile: look at it for how far it is; a mail tells when it is ready.
/// One at a time, and as many within a day as the shop allows; one that failed does not count.
#[utoipa::path(
    tag = "privacy",
    security(("customer" = [])),
    request_body = ProofBody,
    responses(
        (status = 202, body = PrivacyExportView, headers(("Location" = String))),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 409, body = ProblemDocument, description = "`export_running`: the detail names it"),
        (status = 429, body = ProblemDocument,
            description = "`export_limit_reached`, `login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/privacy/export")]
async fn ask(
    Leaving(owner): Leaving,
    identity: RequestIdentity,
    address: ClientAddress,
    MaybeJsonBody(body): MaybeJsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(body.as_ref())?.unwrap_or(Evidence::RecentSession);
    let origin = origin(&identity, address);
    let asked = services.privacy_exports.ask(owner.into(), evidence, &origin).await;
    let (export, mut response) = passed_gate(asked)?;
    response.status(actix_web::http::StatusCode::ACCEPTED);
    response.insert_header((header::LOCATION, format!("/v1/me/privacy/export/{}", export.id)));
    Ok(response.json(PrivacyExportView::from(export)))
}

/// The copies that were asked for within the last month, newest first.
#[utoipa::path(
    tag = "privacy",
    operation_id = "list_privacy_exports",
    security(("customer" = [])),
    params(PageParams),
    responses((status = 200, body = Page<PrivacyExportView>))
)]
#[get("/v1/me/privacy/export")]
async fn list(
    Leaving(owner): Leaving,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<PrivacyExportView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "privacy_exports")
    })?;
    let (id, before, limit) = (owner.customer_id, page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::privacy_exports::list(connection, id, before, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |row| row.id, PrivacyExportView::from)))
}

/// One copy: how far it is, and until when it can be downloaded.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_privacy_export",
    security(("customer" = [])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = PrivacyExportView))
)]
#[get("/v1/me/privacy/export/{id}")]
async fn show(
    Leaving(owner): Leaving,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<PrivacyExportView>, Problem> {
    let (customer, id) = (owner.customer_id, PrivacyExportId(id.0));
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::privacy_exports::find(connection, customer, id).await })
    });
    Ok(web::Json(read.await?.ok_or(Rejection::NotFound)?.into()))
}

/// Downloads a copy that is ready: by the session that asked for it, or by one that began just now
/// (`sign_in.recent_minutes`). Each time is noted in `/v1/me/activity`.
#[utoipa::path(
    tag = "privacy",
    operation_id = "download_privacy_export",
    security(("customer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, content_type = "application/zip", body = String),
        (status = 403, body = ProblemDocument, description = "`proof_needed`: sign in anew"),
        (status = 404, body = ProblemDocument, description = "`export_expired`, `not_found`"),
        (status = 409, body = ProblemDocument, description = "`export_not_ready`")
    )
)]
#[get("/v1/me/privacy/export/{id}/download")]
async fn download(
    Leaving(owner): Leaving,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (customer, session) = (owner.customer_id, owner.session_id);
    let id = PrivacyExportId(id.0);
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let connection = &*connection;
            tokio::try_join!(
                db::privacy_exports::find(connection, customer, id),
                db::sessions::began(connection, session),
            )
        })
    });
    let (row, began) = read.await?;
    let row = row.ok_or(Rejection::NotFound)?;
    let now = services.clock.now();
    let recent = services.config.sign_in.recent_minutes.delta();
    let asked = row.session_id == Some(session.0);
    if !asked && began.is_none_or(|began| began + recent <= now) {
        return Err(Problem::new(Code::ProofNeeded).detail(
            "Sign in anew: this session began too long ago and did not ask for the export.",
        ));
    }
    // Noted before the first byte leaves; what cannot be noted is not handed out.
    let command = Command::PrivacyExport(Box::new(PrivacyExportCommand::HandOut { id }));
    let noted = services.submit(&owner, &identity, customer, command, None).await?;
    let Outcome::PrivacyExport(export) = noted.outcome else {
        return Err(unexpected(&noted.outcome));
    };
    let Some(ExportEnd::Ready { archive, .. }) = export.end else {
        return Err(Rejection::ExportNotReady.into());
    };
    let reader = services.privacy_exports.reader(customer).await?.ok_or(Rejection::NotFound)?;
    let handing = Handing { reader, owner, services, id, number: 0, pieces: archive.pieces };
    let pieces = stream::try_unfold(handing, |mut handing| async move {
        Ok::<_, Problem>(handing.next().await?.map(|piece| (piece, handing)))
    });
    let bytes = archive.bytes.unsigned_abs();
    Ok(HttpResponse::Ok()
        .content_type(MEDIA_TYPE)
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.zip\""))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(ContentEncoding::Identity)
        .body(SizedStream::new(bytes, Box::pin(pieces))))
}

/// An archive on its way out.
struct Handing {
    reader: Reader,
    owner: Owner,
    services: Data<Services>,
    id: PrivacyExportId,
    number: i32,
    pieces: i32,
}

impl Handing {
    /// The next piece, to a session that is still alive.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.number == self.pieces {
            return Ok(None);
        }
        let now = self.services.clock.now();
        let Owner { customer_id, session_id, .. } = self.owner;
        let live = self.services.revoked.check(session_id.0, customer_id.0, now);
        if live == Liveness::Revoked || self.services.readiness.is_stopping() {
            return Err(Problem::new(Code::Unavailable));
        }
        let piece = self.reader.piece(self.id, self.number).await?;
        let piece = piece.ok_or(Rejection::ExportExpired)?;
        self.number += 1;
        Ok(Some(Bytes::copy_from_slice(&piece)))
    }
}

// --- staff ------------------------------------------------------------------------------------

/// Asks for a copy of all that is kept of a customer, for the customer: it alone can download it, and
/// is told by mail when it is ready.
#[utoipa::path(
    tag = "privacy",
    operation_id = "ask_for_privacy_export",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    responses(
        (status = 202, body = PrivacyExportView, headers(("Location" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`export_running`: the detail names it; `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/privacy/export")]
async fn ask_for(
    staff: Staff<PrivacyWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let key = IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let (customer, id) = (CustomerId(id.0), services.privacy_exports.new_id());
    let command = Command::PrivacyExport(Box::new(PrivacyExportCommand::AskFor { id }));
    let answered = services.submit(&staff, &identity, customer, command, key).await?;
    let mut response = HttpResponse::Accepted();
    note_replay(&mut response, &answered);
    let Outcome::PrivacyExport(export) = answered.outcome else {
        return Err(unexpected(&answered.outcome));
    };
    services.privacy_exports.wake();
    let location = format!("/v1/admin/customers/{customer}/privacy/export/{}", export.id);
    response.insert_header((header::LOCATION, location));
    Ok(response.json(PrivacyExportView::from(*export)))
}

/// How far a customer's copy is. Nobody of the staff can download it.
#[utoipa::path(
    tag = "privacy",
    operation_id = "show_privacy_export_to_staff",
    security(("staff" = ["privacy:write"])),
    params(("id" = Uuid, Path), ("export_id" = Uuid, Path)),
    responses((status = 200, body = PrivacyExportView))
)]
#[get("/v1/admin/customers/{id}/privacy/export/{export_id}")]
async fn show_to_staff(
    _staff: Staff<PrivacyWrite>,
    ids: web::Path<(PathId, PathId)>,
    services: Data<Services>,
) -> Result<web::Json<PrivacyExportView>, Problem> {
    let (customer, id) = (CustomerId(ids.0.0), PrivacyExportId(ids.1.0));
    let read = of_living(&services, customer, move |connection| {
        Box::pin(db::privacy_exports::find(connection, customer, id))
    });
    Ok(web::Json(read.await?.ok_or(Rejection::NotFound)?.into()))
}
