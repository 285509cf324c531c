//! `/v1/admin/customers/{id}/notes`: what staff writes down about a customer. No route of the
//! customer's own leads to it. A note is written and deleted, never changed; so it has no version.

use super::body::JsonBody;
use super::customer_parts::of_living;
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{CustomersRead, CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, PageParams, PathId, parsed};
use crate::db;
use crate::domain::command::{Command, NoteCommand};
use crate::domain::note::{Note, NoteText};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{CustomerId, NoteId};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(create).service(show).service(remove);
}

/// A note of staff about a customer.
#[derive(Serialize, ToSchema)]
#[schema(as = Note)]
pub struct NoteView {
    pub id: Uuid,
    #[schema(example = "Asked twice about the lamp.\nPrefers to be called in the evening.")]
    pub text: String,
    /// The id of the key that wrote it.
    pub author: String,
    pub created_at: DateTime<Utc>,
}

impl From<Note> for NoteView {
    fn from(note: Note) -> NoteView {
        NoteView {
            id: note.id.0,
            text: note.text.as_str().to_owned(),
            author: note.author,
            created_at: note.created_at,
        }
    }
}

/// What a new note is made from.
#[derive(ToSchema)]
pub struct NewNote {
    /// Lines are kept.
    #[schema(value_type = String, min_length = 1, max_length = 4000)]
    text: NoteText,
}

impl NewNote {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewNote> {
        let text = form.required("text", |raw| parsed(raw, NoteText::parse));
        Some(NewNote { text: text? })
    }
}

/// The notes about a customer, newest first.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<NoteView>))
)]
#[get("/v1/admin/customers/{id}/notes")]
async fn list(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<NoteView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "customer_notes")
    })?;
    let (id, before, limit) = (CustomerId(id.0), page.after, page.fetch());
    let read = of_living(&services, id, move |connection| {
        Box::pin(db::notes::list(connection, id, before, limit))
    });
    Ok(web::Json(page.page(read.await?, |note| note.id.0, NoteView::from)))
}

/// Writes a note about a customer. Its author is the key that writes it.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = NewNote,
    responses(
        (status = 201, body = NoteView, headers(("Location" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`note_limit_reached`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/notes")]
async fn create(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let NewNote { text } = body.read(NewNote::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let (id, note) = (CustomerId(id.0), NoteId(services.clock.new_id()));
    // lossless: the range of the key ends at 10 000
    let limit = services.config.customers.note_limit as usize;
    let command = Command::Note(NoteCommand::Add { id: note, text, limit });
    let answered = services.submit(&staff, &identity, id, command, key).await?;
    let mut response = HttpResponse::Created();
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Note(note) => {
            let location = format!("/v1/admin/customers/{id}/notes/{}", note.id);
            response.insert_header((header::LOCATION, location));
            Ok(response.json(NoteView::from(*note)))
        }
        other => Err(unexpected(&other)),
    }
}

/// One note about a customer.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ("note_id" = Uuid, Path)),
    responses((status = 200, body = NoteView))
)]
#[get("/v1/admin/customers/{id}/notes/{note_id}")]
async fn show(
    _staff: Staff<CustomersRead>,
    ids: web::Path<(PathId, PathId)>,
    services: Data<Services>,
) -> Result<web::Json<NoteView>, Problem> {
    let (id, note) = (CustomerId(ids.0.0), NoteId(ids.1.0));
    let read =
        of_living(&services, id, move |connection| Box::pin(db::notes::find(connection, id, note)));
    let note = read.await?.ok_or(Rejection::NotFound)?;
    Ok(web::Json(note.into()))
}

/// Deletes a note, whoever wrote it.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), ("note_id" = Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`account_frozen`")
    )
)]
#[delete("/v1/admin/customers/{id}/notes/{note_id}")]
async fn remove(
    staff: Staff<CustomersWrite>,
    ids: web::Path<(PathId, PathId)>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::Note(NoteCommand::Remove { id: NoteId(ids.1.0) });
    services.submit(&staff, &identity, CustomerId(ids.0.0), command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}
