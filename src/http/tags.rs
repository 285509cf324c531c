//! `/v1/admin/customers/{id}/tags`: one tag more or less. Who changes the whole list at
//! `/v1/admin/customers/{id}` replaces what others added meanwhile; who adds one here does not.

use super::body::JsonBody;
use super::conditional::IfMatch;
use super::customer_view::{self, CustomerView};
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::merges;
use super::pages::{Page, PageRequest};
use super::principal::{CustomersRead, CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{IdempotencyParam, IfMatchParam, PageParams, PathId, parsed};
use crate::db;
use crate::domain::CustomerId;
use crate::domain::command::{Command, TagCommand};
use crate::domain::outcome::Rejection;
use crate::domain::text::Label;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(add).service(remove);
}

/// A tag to add.
#[derive(ToSchema)]
pub struct NewTag {
    #[schema(value_type = String, min_length = 1, max_length = 80, example = "wholesale")]
    tag: Label,
}

impl NewTag {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewTag> {
        let tag = form.required("tag", |raw| parsed(raw, Label::parse));
        Some(NewTag { tag: tag? })
    }
}

/// A customer's tags, in the order of their letters.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<String>))
)]
#[get("/v1/admin/customers/{id}/tags")]
async fn list(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<String>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<String>::read(query, "customer_tags")
    })?;
    let id = CustomerId(id.0);
    let read = services
        .database
        .read(move |connection| Box::pin(async move { db::customers::find(connection, id).await }));
    let Some(customer) = read.await? else { return Err(merges::absent(&services, id).await) };
    // At most fifty, and all in the customer's own row.
    let after = page.after.as_deref().unwrap_or_default();
    let tags = customer.tags.as_slice().iter().filter(|tag| tag.as_str() > after);
    Ok(web::Json(page.page(tags.cloned().collect(), String::clone, |tag| tag)))
}

/// Adds a tag. One that is there already changes nothing.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = NewTag,
    responses(
        (status = 200, body = CustomerView, headers(("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`tag_limit_reached`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/tags")]
async fn add(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let NewTag { tag } = body.read(NewTag::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let command = Command::Tag(TagCommand::Add { tag });
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, key).await?;
    customer_view::answer(HttpResponse::Ok(), answered)
}

/// Takes a tag away. One that is not there changes nothing.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), ("tag" = String, Path), IfMatchParam),
    responses(
        (status = 204, description = "The customer does not bear it"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`account_frozen`")
    )
)]
#[delete("/v1/admin/customers/{id}/tags/{tag}")]
async fn remove(
    staff: Staff<CustomersWrite>,
    path: web::Path<(PathId, String)>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, tag) = path.into_inner();
    // What cannot be a tag names nothing.
    let tag = Label::parse(&tag).map_err(|_| Rejection::NotFound)?;
    let command = Command::Tag(TagCommand::Remove { tag, if_match: on.version()? });
    services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}
