//! `/v1/admin/groups`: the groups that customers may belong to (rule L6).

use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch, etag};
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{GroupsWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, parsed};
use crate::actors::customers::Answered;
use crate::db;
use crate::domain::command::{Command, GroupCommand};
use crate::domain::customer::GroupCode;
use crate::domain::group::{Group, SUBJECT};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::text::Label;
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, patch, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(create).service(show).service(rename).service(remove);
}

/// A group.
#[derive(Serialize, ToSchema)]
#[schema(as = Group)]
pub struct GroupView {
    /// What requests and messages name it by; never another one.
    #[schema(example = "vip")]
    pub code: String,
    #[schema(example = "Very important")]
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises with each change; the `ETag`.
    pub version: i64,
}

impl From<Group> for GroupView {
    fn from(group: Group) -> GroupView {
        GroupView {
            code: group.code.as_str().to_owned(),
            name: group.name.as_str().to_owned(),
            created_at: group.created_at,
            updated_at: group.updated_at,
            version: group.version,
        }
    }
}

/// A group with its size.
#[derive(Serialize, ToSchema)]
pub struct CountedGroup {
    #[serde(flatten)]
    pub group: GroupView,
    /// How many customers belong to it now.
    pub customers: i64,
}

/// What a new group is made from.
#[derive(ToSchema)]
pub struct NewGroup {
    /// 1 to 64 of `a-z`, `0-9`, `_` and `-`.
    #[schema(value_type = String, max_length = 64, example = "vip")]
    code: GroupCode,
    #[schema(value_type = String, max_length = 80, example = "Very important")]
    name: Label,
}

impl NewGroup {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewGroup> {
        let code = form.required("code", |raw| parsed(raw, GroupCode::parse));
        let name = form.required("name", |raw| parsed(raw, Label::parse));
        Some(NewGroup { code: code?, name: name? })
    }
}

/// A change of a group.
#[derive(ToSchema)]
pub struct GroupPatch {
    #[schema(value_type = String, max_length = 80)]
    name: Label,
}

impl GroupPatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<GroupPatch> {
        let name = form.required("name", |raw| parsed(raw, Label::parse));
        Some(GroupPatch { name: name? })
    }
}

/// The groups in the order of their codes, each with the number of its customers.
#[utoipa::path(
    tag = "groups",
    security(("staff" = ["groups:write"])),
    params(PageParams),
    responses((status = 200, body = Page<CountedGroup>))
)]
#[get("/v1/admin/groups")]
async fn list(
    _staff: Staff<GroupsWrite>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<CountedGroup>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<String>::read(query, "groups"))?;
    let (after, limit) = (page.after.clone(), page.fetch());
    let read = services.database.read(move |connection| {
        let after = after.clone();
        Box::pin(async move {
            let groups = db::groups::page(connection, after.as_deref(), limit).await?;
            let codes: Vec<_> = groups.iter().map(|group| group.code.as_str().to_owned()).collect();
            let members = db::groups::members(connection, &codes).await?;
            Ok((groups, members))
        })
    });
    let (groups, members) = read.await?;
    let position = |group: &Group| group.code.as_str().to_owned();
    let counted = |group: Group| CountedGroup {
        customers: members.get(group.code.as_str()).copied().unwrap_or_default(),
        group: group.into(),
    };
    Ok(web::Json(page.page(groups, position, counted)))
}

/// A new group.
#[utoipa::path(
    tag = "groups",
    security(("staff" = ["groups:write"])),
    params(IdempotencyParam),
    request_body = NewGroup,
    responses(
        (status = 201, body = GroupView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`group_exists`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/groups")]
async fn create(
    staff: Staff<GroupsWrite>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let NewGroup { code, name } = body.read(NewGroup::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let location = format!("/v1/admin/groups/{}", code.as_str());
    let command = Command::Group(GroupCommand::Create { code, name });
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, key).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    answer(response, answered)
}

/// One group.
#[utoipa::path(
    tag = "groups",
    security(("staff" = ["groups:write"])),
    params(("code" = String, Path), IfNoneMatchParam),
    responses((status = 200, body = GroupView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/groups/{code}")]
async fn show(
    _staff: Staff<GroupsWrite>,
    code: web::Path<String>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let code = named(&code)?;
    let read = services.database.read(move |connection| {
        let code = code.clone();
        Box::pin(async move { db::groups::find(connection, code.as_str()).await })
    });
    let group = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(group.version, &GroupView::from(group)))
}

/// Renames a group. Its code stays.
#[utoipa::path(
    tag = "groups",
    security(("staff" = ["groups:write"])),
    params(("code" = String, Path), IfMatchParam),
    request_body = GroupPatch,
    responses((status = 200, body = GroupView))
)]
#[patch("/v1/admin/groups/{code}")]
async fn rename(
    staff: Staff<GroupsWrite>,
    code: web::Path<String>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (code, name) = (named(&code)?, body.read(GroupPatch::read)?.name);
    let command = Command::Group(GroupCommand::Rename { code, name, if_match: on.version()? });
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, None).await?;
    answer(HttpResponse::Ok(), answered)
}

/// Deletes a group that nobody belongs to.
#[utoipa::path(
    tag = "groups",
    security(("staff" = ["groups:write"])),
    params(("code" = String, Path), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`group_in_use`, `group_is_default`")
    )
)]
#[delete("/v1/admin/groups/{code}")]
async fn remove(
    staff: Staff<GroupsWrite>,
    code: web::Path<String>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let customers = &services.config.customers;
    let defaults = [&customers.default_group_individual, &customers.default_group_business];
    let defaults = defaults.map(|code| GroupCode::from_stored(code.clone())).to_vec();
    let (code, if_match) = (named(&code)?, on.version()?);
    let command = Command::Group(GroupCommand::Delete { code, if_match, defaults });
    services.submit_about(SUBJECT, &staff, &identity, command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The code in a path. What cannot be one names nothing: 404.
fn named(code: &str) -> Result<GroupCode, Problem> {
    GroupCode::parse(code).map_err(|_| Rejection::NotFound.into())
}

fn answer(mut response: HttpResponseBuilder, answered: Answered) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Group(group) => {
            response.insert_header(etag(group.version));
            Ok(response.json(GroupView::from(*group)))
        }
        other => Err(unexpected(&other)),
    }
}
