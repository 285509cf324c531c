//! `/v1/admin/segments`: which sets of customers the shop keeps, and who is in them.

mod explain;
pub(super) mod forms;
pub(super) mod members;
pub(super) mod preview;

use super::body::JsonBody;
use super::conditional::{IfMatch, etag};
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{SegmentsRead, SegmentsWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, IfMatchParam, PageParams};
use crate::actors::customers::Answered;
use crate::db;
use crate::db::segment_builds::Build;
use crate::domain::command::Command;
use crate::domain::ids::SegmentId;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::Schema;
use crate::domain::segment::record::{SUBJECT, Segment, SegmentCode, SegmentCommand, SegmentName};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, patch, post};
use chrono::{DateTime, Utc};
use forms::{NewSegmentForm, SegmentPatch};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(create).service(show).service(change).service(remove);
    cfg.configure(members::routes);
    cfg.configure(preview::routes).configure(explain::routes);
}

/// A segment.
#[derive(Serialize, ToSchema)]
#[schema(as = Segment)]
pub struct SegmentView {
    pub id: uuid::Uuid,
    /// What requests, messages and other segments name it by; never another one.
    #[schema(example = "regulars")]
    pub code: String,
    /// `rule`: whomever the definition is true of; `static`: whom staff puts in.
    #[schema(example = "rule")]
    pub kind: &'static str,
    #[schema(example = "Regular customers")]
    pub title: String,
    pub description: Option<String>,
    /// Groups of segments that it belongs to.
    pub tags: Vec<String>,
    /// Of a rule: the condition, in its canonical form.
    #[schema(example = "number_of_orders >= 3 AND last_order_date >= -90d")]
    pub definition: Option<String>,
    /// Of a rule: where its days begin and end.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// `active`, `inactive` (has no members), or `deleting`: its last members are leaving.
    #[schema(example = "active")]
    pub state: &'static str,
    /// Rises with each change of who belongs.
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises with each change; the `ETag`.
    pub version: i64,
}

impl From<Segment> for SegmentView {
    fn from(segment: Segment) -> Self {
        let kind = segment.membership.kind().as_str();
        let rule = segment.membership.rule().cloned();
        let (definition, time_zone) = rule.map_or((None, None), |rule| {
            (Some(rule.definition), Some(rule.time_zone.as_str().to_owned()))
        });
        Self {
            id: segment.id.0,
            code: segment.code.as_str().to_owned(),
            kind,
            title: segment.title.as_str().to_owned(),
            description: segment.description,
            tags: segment.tags.as_slice().to_vec(),
            definition,
            time_zone,
            state: segment.force.as_str(),
            revision: segment.revision,
            created_at: segment.created_at,
            updated_at: segment.updated_at,
            version: segment.version,
        }
    }
}

/// A segment with how many belong to it, and how far the walk over all customers is that its latest
/// revision began.
#[derive(Serialize, ToSchema)]
pub struct SegmentDetail {
    #[serde(flatten)]
    segment: SegmentView,
    /// How many belong to it now.
    members: i64,
    /// `null`: there never was one.
    build: Option<BuildView>,
}

/// A walk over all customers, who join or leave as the segment's revision says.
#[derive(Serialize, ToSchema)]
pub struct BuildView {
    revision: i64,
    /// Customers looked at.
    looked_at: i64,
    /// How many there were when it began, about.
    total: i64,
    joined: i64,
    left: i64,
    started_at: DateTime<Utc>,
    /// `null`: it is under way.
    finished_at: Option<DateTime<Utc>>,
}

impl From<Build> for BuildView {
    fn from(build: Build) -> Self {
        Self {
            revision: build.revision,
            looked_at: build.looked_at,
            total: build.total,
            joined: build.joined,
            left: build.parted,
            started_at: build.started_at,
            finished_at: build.finished_at,
        }
    }
}

/// The segments in the order of their codes.
#[utoipa::path(
    tag = "segments",
    operation_id = "list_segments",
    security(("staff" = ["segments:read"])),
    params(PageParams, ("tag" = Option<String>, Query, description = "Only those that bear this tag.")),
    responses((status = 200, body = Page<SegmentView>))
)]
#[get("/v1/admin/segments")]
async fn list(
    _staff: Staff<SegmentsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<SegmentView>>, Problem> {
    let (page, tag) = Query::read(request.query_string(), |query| {
        let page = PageRequest::<String>::read(query, "segments");
        let tag = query.optional("tag", |raw| raw.bounded_text(1, 80));
        Some((page?, tag))
    })?;
    let (after, limit) = (page.after.clone(), page.fetch());
    let read = services.database.read(move |connection| {
        let (after, tag) = (after.clone(), tag.clone());
        Box::pin(async move {
            db::segment_book::page(connection, tag.as_deref(), after.as_deref(), limit).await
        })
    });
    let position = |segment: &Segment| segment.code.as_str().to_owned();
    Ok(web::Json(page.page(read.await?, position, SegmentView::from)))
}

/// A new segment. Whoever belongs to it joins within moments; `GET` tells how far that is.
#[utoipa::path(
    tag = "segments",
    operation_id = "create_segment",
    security(("staff" = ["segments:write"])),
    params(IdempotencyParam),
    request_body = NewSegmentForm,
    responses(
        (status = 201, body = SegmentView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`segment_exists`, `segment_limit_reached`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/segments")]
async fn create(
    staff: Staff<SegmentsWrite>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let schema = schema(&services).await?;
    let new = Box::new(body.read(|form| NewSegmentForm::read(form, &schema))?);
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let id = SegmentId(services.clock.new_id());
    let command = Command::Segment(SegmentCommand::Create { id, new });
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, key).await?;
    let mut response = HttpResponse::Created();
    if let Outcome::Segment(segment) = &answered.outcome {
        // Of a repeated request: the first one's.
        let location = format!("/v1/admin/segments/{}", segment.id.0);
        response.insert_header((header::LOCATION, location));
    }
    answer(response, answered)
}

/// One segment, how many belong to it, and how far its latest change has come. Never 304: members come
/// and go without a new version.
#[utoipa::path(
    tag = "segments",
    operation_id = "show_segment",
    security(("staff" = ["segments:read"])),
    params(("id" = String, Path, description = "The segment's id, or its code.")),
    responses((status = 200, body = SegmentDetail, headers(("ETag" = String))))
)]
#[get("/v1/admin/segments/{id}")]
async fn show(
    _staff: Staff<SegmentsRead>,
    id: web::Path<String>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let name = named(&id)?;
    let read = services.database.read(move |connection| {
        let name = name.clone();
        Box::pin(async move {
            let Some(segment) = db::segment_book::find(connection, &name).await? else {
                return Ok(None);
            };
            let members = db::segment_members::count(connection, segment.id).await?;
            let build = db::segment_builds::find(connection, segment.id).await?;
            Ok(Some((segment, members, build)))
        })
    });
    let (segment, members, build) = read.await?.ok_or(Rejection::NotFound)?;
    let (version, build) = (segment.version, build.map(BuildView::from));
    let detail = SegmentDetail { segment: segment.into(), members, build };
    Ok(HttpResponse::Ok().insert_header(etag(version)).json(detail))
}

/// Changes a segment. Where that changes who belongs, customers join and leave within moments. Code and
/// kind stay for good.
#[utoipa::path(
    tag = "segments",
    operation_id = "change_segment",
    security(("staff" = ["segments:write"])),
    params(("id" = String, Path, description = "The segment's id, or its code."), IfMatchParam),
    request_body = SegmentPatch,
    responses((status = 200, body = SegmentView))
)]
#[patch("/v1/admin/segments/{id}")]
async fn change(
    staff: Staff<SegmentsWrite>,
    id: web::Path<String>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (name, if_match) = (named(&id)?, on.version()?);
    let current = find(&services, &name).await?;
    let (schema, rule) = (schema(&services).await?, current.membership.rule());
    let change = Box::new(body.read(|form| SegmentPatch::read(form, rule, &schema))?);
    // What was not said was read: nobody may have changed it meanwhile.
    let if_match = if_match.or(change.rule.is_some().then_some(current.version));
    let command = Command::Segment(SegmentCommand::Change { name, change, if_match });
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, None).await?;
    answer(HttpResponse::Ok(), answered)
}

/// Deletes a segment that no other one names: its members leave, each with a message; then it is gone.
#[utoipa::path(
    tag = "segments",
    operation_id = "delete_segment",
    security(("staff" = ["segments:write"])),
    params(("id" = String, Path, description = "The segment's id, or its code."), IfMatchParam),
    responses(
        (status = 202, description = "Its members are leaving", body = SegmentView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`segment_in_use`")
    )
)]
#[delete("/v1/admin/segments/{id}")]
async fn remove(
    staff: Staff<SegmentsWrite>,
    id: web::Path<String>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let defaults = services.config.segments.defaults.iter().cloned();
    let command = SegmentCommand::Delete {
        name: named(&id)?,
        if_match: on.version()?,
        defaults: defaults.map(SegmentCode::from_stored).collect(),
    };
    let command = Command::Segment(command);
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, None).await?;
    answer(HttpResponse::Accepted(), answered)
}

/// What a path names. What can be neither id nor code names nothing: 404.
fn named(name: &str) -> Result<SegmentName, Problem> {
    SegmentName::parse(name).ok_or_else(|| Rejection::NotFound.into())
}

async fn find(services: &Services, name: &SegmentName) -> Result<Segment, Problem> {
    let name = name.clone();
    let read = services.database.read(move |connection| {
        let name = name.clone();
        Box::pin(async move { db::segment_book::find(connection, &name).await })
    });
    Ok(read.await?.ok_or(Rejection::NotFound)?)
}

/// What definitions are checked against now.
async fn schema(services: &Services) -> Result<Schema, Problem> {
    let desk = services.segments.clone();
    let read = services.database.read(move |connection| {
        let desk = desk.clone();
        Box::pin(async move { desk.schema(connection).await })
    });
    Ok(read.await?)
}

fn answer(mut response: HttpResponseBuilder, answered: Answered) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Segment(segment) => {
            response.insert_header(etag(segment.version));
            Ok(response.json(SegmentView::from(*segment)))
        }
        other => Err(unexpected(&other)),
    }
}
