//! A customer's wishlists as staff sees them: to read, without the links, which are the owner's to
//! hand out.

use super::super::conditional::IfNoneMatch;
use super::super::merges;
use super::super::pages::{Page, PageRequest};
use super::super::principal::{CustomersRead, Staff};
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::services::Services;
use super::super::values::{IfNoneMatchParam, PageParams, PathId};
use super::items;
use super::view::{ItemView, WishlistView};
use crate::db;
use crate::domain::{CustomerId, WishlistId};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get};
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(all).service(show).service(list_items);
}

/// A customer's wishlists, in the order of their making.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<WishlistView>))
)]
#[get("/v1/admin/customers/{id}/wishlists")]
async fn all(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<WishlistView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<Uuid>::read(query, "wishlists"))?;
    let (id, after, limit) = (CustomerId(id.0), page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let lists = db::wishlists::list(connection, id, after, limit);
            tokio::try_join!(db::customers::find(connection, id), lists)
        })
    });
    let (customer, lists) = read.await?;
    if customer.is_none() {
        return Err(merges::absent(&services, id).await);
    }
    Ok(web::Json(page.page(lists, |list| list.id.0, WishlistView::to_staff)))
}

/// One of a customer's wishlists.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ("wishlist_id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = WishlistView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/customers/{id}/wishlists/{wishlist_id}")]
async fn show(
    _staff: Staff<CustomersRead>,
    path: web::Path<(PathId, PathId)>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (customer, id) = (CustomerId(path.0.0), WishlistId(path.1.0));
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let list = db::wishlists::find(connection, customer, id);
            tokio::try_join!(db::customers::find(connection, customer), list)
        })
    });
    let (owner, list) = read.await?;
    let Some((_, list)) = owner.zip(list) else {
        return Err(merges::absent(&services, customer).await);
    };
    Ok(known.answer(list.version, &WishlistView::to_staff(list)))
}

/// What stands on one of a customer's wishlists.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ("wishlist_id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<ItemView>))
)]
#[get("/v1/admin/customers/{id}/wishlists/{wishlist_id}/items")]
async fn list_items(
    _staff: Staff<CustomersRead>,
    path: web::Path<(PathId, PathId)>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ItemView>>, Problem> {
    let customer = CustomerId(path.0.0);
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::customers::find(connection, customer).await })
    });
    if read.await?.is_none() {
        return Err(merges::absent(&services, customer).await);
    }
    items::page(&services, customer, WishlistId(path.1.0), &request).await
}
