//! `/v1/admin/segments/{id}/members`: who is in a segment; by hand in and out of a static one.

use super::{find, named};
use crate::actors::customers::SubmitError;
use crate::db;
use crate::db::segment_members::Member;
use crate::domain::command::{Command, MembershipCommand, Subject};
use crate::domain::ids::CustomerId;
use crate::domain::message::MembershipCause;
use crate::domain::outcome::Rejection;
use crate::domain::segment::record::{Membership, Segment};
use crate::http::body::JsonBody;
use crate::http::catalogue::Code;
use crate::http::form::Form;
use crate::http::idempotency::IdempotencyHeader;
use crate::http::pages::{Page, PageRequest};
use crate::http::principal::{SegmentsRead, SegmentsWrite, Staff};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::query::Query;
use crate::http::request_id::RequestIdentity;
use crate::http::services::{Services, note_replay};
use crate::http::values::{IdempotencyParam, PageParams, PathId};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

/// Most customers of one request.
const MANY_MAX: usize = 500;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(many).service(put).service(take);
}

/// A member of a segment.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentMember)]
pub struct MemberView {
    pub customer_id: Uuid,
    /// Since when without a break.
    pub since: DateTime<Utc>,
    /// Why: `change` of the customer, `time`, `definition` of the segment, or `manual`.
    #[schema(example = "change")]
    pub cause: &'static str,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            customer_id: member.customer_id.0,
            since: member.held.since,
            cause: member.held.cause.as_str(),
        }
    }
}

/// Who belongs to a segment, in the order of their ids.
#[utoipa::path(
    tag = "segments",
    operation_id = "list_segment_members",
    security(("staff" = ["segments:read"])),
    params(("id" = String, Path, description = "The segment's id, or its code."), PageParams),
    responses((status = 200, body = Page<MemberView>))
)]
#[get("/v1/admin/segments/{id}/members")]
async fn list(
    _staff: Staff<SegmentsRead>,
    id: web::Path<String>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<MemberView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "segment_members")
    })?;
    let segment = find(&services, &named(&id)?).await?.id;
    let (after, limit) = (page.after, page.fetch());
    let read = services.lists.read(move |connection| {
        Box::pin(async move { db::segment_members::page(connection, segment, after, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |member| member.customer_id.0, MemberView::from)))
}

/// Puts a customer into a static segment. One that is in it already stays.
#[utoipa::path(
    tag = "segments",
    operation_id = "add_segment_member",
    security(("staff" = ["segments:write"])),
    params(
        ("id" = String, Path, description = "The segment's id, or its code."),
        ("customer_id" = Uuid, Path),
        IdempotencyParam
    ),
    responses(
        (status = 204, description = "The customer is in it"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`segment_not_static`")
    )
)]
#[post("/v1/admin/segments/{id}/members/{customer_id}")]
async fn put(
    staff: Staff<SegmentsWrite>,
    path: web::Path<(String, PathId)>,
    request: HttpRequest,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, customer) = path.into_inner();
    let key = IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let segment = by_hand(&services, &id).await?;
    let command =
        Command::Membership(MembershipCommand::Put { segment: segment.id, code: segment.code });
    let customer = CustomerId(customer.0);
    let answered = services.submit(&staff, &identity, customer, command, key).await?;
    let mut response = HttpResponse::NoContent();
    note_replay(&mut response, &answered);
    Ok(response.finish())
}

/// Takes a customer out of a static segment. One that is not in it stays out.
#[utoipa::path(
    tag = "segments",
    operation_id = "remove_segment_member",
    security(("staff" = ["segments:write"])),
    params(
        ("id" = String, Path, description = "The segment's id, or its code."),
        ("customer_id" = Uuid, Path)
    ),
    responses(
        (status = 204, description = "The customer is not in it"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`segment_not_static`")
    )
)]
#[delete("/v1/admin/segments/{id}/members/{customer_id}")]
async fn take(
    staff: Staff<SegmentsWrite>,
    path: web::Path<(String, PathId)>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, customer) = path.into_inner();
    let segment = by_hand(&services, &id).await?;
    let command = taken(&segment);
    services.submit(&staff, &identity, CustomerId(customer.0), command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Customers to put into a static segment and to take out of it.
#[derive(ToSchema)]
#[schema(as = SegmentMembersChange)]
pub struct ManyForm {
    /// Ids of customers; with those of `remove` at most 500.
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 500)]
    add: Vec<Uuid>,
    #[schema(value_type = Option<Vec<Uuid>>, max_items = 500)]
    remove: Vec<Uuid>,
}

impl ManyForm {
    pub fn read(form: &mut Form<'_>) -> Option<Self> {
        let add = form.optional_list("add", MANY_MAX, |raw| raw.uuid()).unwrap_or_default();
        let room = MANY_MAX - add.len().min(MANY_MAX);
        let remove = form.optional_list("remove", room, |raw| raw.uuid()).unwrap_or_default();
        Some(Self { add, remove })
    }
}

/// What came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentMembersChanged)]
pub struct ManyView {
    /// How many are in it now of those that were to be.
    added: usize,
    /// How many are not in it now of those that were not to be.
    removed: usize,
    /// Those of whom there is no customer.
    unknown: Vec<Uuid>,
}

/// Puts many customers into a static segment and takes many out of it: for lists, page by page. Each is
/// a change of its own; what broke off is sent again as it was, and changes nothing where it was done.
#[utoipa::path(
    tag = "segments",
    operation_id = "change_segment_members",
    security(("staff" = ["segments:write"])),
    params(("id" = String, Path, description = "The segment's id, or its code.")),
    request_body = ManyForm,
    responses(
        (status = 200, body = ManyView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`segment_not_static`")
    )
)]
#[post("/v1/admin/segments/{id}/members")]
async fn many(
    staff: Staff<SegmentsWrite>,
    id: web::Path<String>,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<ManyView>, Problem> {
    let segment = by_hand(&services, &id).await?;
    let form = body.read(ManyForm::read)?;
    let joining = || MembershipCommand::Put { segment: segment.id, code: segment.code.clone() };
    let added = form.add.iter().map(|id| (*id, Command::Membership(joining())));
    let removed = form.remove.iter().map(|id| (*id, taken(&segment)));
    let submitted = added.chain(removed).map(|(customer, command)| {
        let subject = Subject::Customer(CustomerId(customer));
        let submission = services.submission(subject, &staff, &identity, command, None);
        async { services.customers.submit(submission).await }
    });
    let answers = join_all(submitted).await;
    let mut view = ManyView { added: 0, removed: 0, unknown: Vec::new() };
    for (at, answer) in answers.into_iter().enumerate() {
        let customer = form.add.iter().chain(&form.remove).nth(at);
        match answer {
            Ok(_) if at < form.add.len() => view.added += 1,
            Ok(_) => view.removed += 1,
            Err(SubmitError::Rejected(Rejection::NotFound)) => view.unknown.extend(customer),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(web::Json(view))
}

/// A segment that somebody may be put into by hand.
async fn by_hand(services: &Services, name: &str) -> Result<Segment, Problem> {
    let segment = find(services, &named(name)?).await?;
    match segment.membership {
        Membership::Static => Ok(segment),
        Membership::Rule(_) => Err(Problem::new(Code::SegmentNotStatic)),
    }
}

fn taken(segment: &Segment) -> Command {
    Command::Membership(MembershipCommand::Take {
        segment: segment.id,
        code: segment.code.clone(),
        cause: MembershipCause::Manual,
    })
}
