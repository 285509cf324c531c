//! `/v1/me/wishlists`: lists of what a customer would like to have, and the link by which others
//! may look at one. Their items are in `items`, the link in `shared`, what staff sees in `staff`.

pub(super) mod items;
mod shared;
mod staff;
pub(super) mod view;

use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch};
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::Owner;
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{
    IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, PathId, given, parsed,
};
use crate::actors::sharing::Sharing as Links;
use crate::db;
use crate::domain::WishlistId;
use crate::domain::command::Command;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::text::Label;
use crate::domain::wishlist::{Sharing, WishlistAnswer, WishlistCommand};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;
use view::WishlistView;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(all).service(create).service(show).service(change).service(remove);
    cfg.configure(items::routes).configure(shared::routes).configure(staff::routes);
}

/// A new wishlist.
#[derive(ToSchema)]
pub struct NewWishlist {
    #[schema(value_type = String, max_length = 80, example = "Birthday")]
    name: Label,
    /// `true`: whoever has its link may look at it.
    #[schema(default = false)]
    shared: Option<bool>,
}

impl NewWishlist {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewWishlist> {
        let name = form.required("name", |raw| parsed(raw, Label::parse));
        let shared = form.optional("shared", |raw| raw.boolean());
        Some(NewWishlist { name: name?, shared })
    }
}

/// A change of a wishlist.
#[derive(ToSchema)]
pub struct WishlistPatch {
    #[schema(nullable = false, value_type = Option<String>, max_length = 80)]
    name: Option<Label>,
    /// `false` withdraws the link at once and for ever; `true` after that makes another one.
    #[schema(nullable = false)]
    shared: Option<bool>,
}

impl WishlistPatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<WishlistPatch> {
        let name = given(form.patch_required("name", |raw| parsed(raw, Label::parse)));
        let shared = given(form.patch_required("shared", |raw| raw.boolean()));
        Some(WishlistPatch { name, shared })
    }

    fn sharing(&self, links: &Links) -> Sharing {
        match self.shared {
            None => Sharing::Keep,
            Some(false) => Sharing::Withdraw,
            Some(true) => Sharing::By(links.fresh()),
        }
    }
}

/// My wishlists, in the order of their making.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(PageParams),
    responses((status = 200, body = Page<WishlistView>))
)]
#[get("/v1/me/wishlists")]
async fn all(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<WishlistView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<Uuid>::read(query, "wishlists"))?;
    let (id, after, limit) = (owner.customer_id, page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::wishlists::list(connection, id, after, limit).await })
    });
    let view = |list| WishlistView::to_owner(list, &services.sharing);
    Ok(web::Json(page.page(read.await?, |list| list.id.0, view)))
}

/// Makes a wishlist.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(IdempotencyParam),
    request_body = NewWishlist,
    responses(
        (status = 201, body = WishlistView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`wishlist_limit_reached`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/me/wishlists")]
async fn create(
    owner: Owner,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let NewWishlist { name, shared } = body.read(NewWishlist::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let command = WishlistCommand::Create {
        id: WishlistId(services.clock.new_id()),
        name,
        share: shared.unwrap_or(false).then(|| services.sharing.fresh()),
        // lossless: the range of the key ends at 1000
        limit: services.config.customers.wishlist_limit as usize,
    };
    let command = Command::Wishlist(Box::new(command));
    let answered = services.submit(&owner, &identity, owner.customer_id, command, key).await?;
    let mut response = HttpResponse::Created();
    if let Outcome::Wishlist(answer) = &answered.outcome
        && let WishlistAnswer::List(list) = &**answer
    {
        response.insert_header((header::LOCATION, format!("/v1/me/wishlists/{}", list.id)));
    }
    view::list(response, answered, &services.sharing)
}

/// One of my wishlists.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = WishlistView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/wishlists/{id}")]
async fn show(
    owner: Owner,
    id: web::Path<PathId>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (customer, id) = (owner.customer_id, WishlistId(id.0));
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::wishlists::find(connection, customer, id).await })
    });
    let list = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(list.version, &WishlistView::to_owner(list, &services.sharing)))
}

/// Renames one of my wishlists, shares it, or withdraws its link.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = WishlistPatch,
    responses((status = 200, body = WishlistView))
)]
#[patch("/v1/me/wishlists/{id}")]
async fn change(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let patch = body.read(WishlistPatch::read)?;
    let command = WishlistCommand::Change {
        id: WishlistId(id.0),
        sharing: patch.sharing(&services.sharing),
        name: patch.name,
        if_match: on.version()?,
    };
    let command = Command::Wishlist(Box::new(command));
    let answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    view::list(HttpResponse::Ok(), answered, &services.sharing)
}

/// Deletes one of my wishlists with all that stands on it.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    responses((status = 204, description = "Deleted"))
)]
#[delete("/v1/me/wishlists/{id}")]
async fn remove(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = WishlistCommand::Delete { id: WishlistId(id.0), if_match: on.version()? };
    let command = Command::Wishlist(Box::new(command));
    services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}
