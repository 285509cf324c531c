//! `/v1/wishlists/shared/{token}`: a wishlist for whoever has its link.
//!
//! It shows what its owner wanted shown: the list's name and what stands on it. Not who the owner
//! is; nor the notes, which were written for oneself; nor the prices seen, which may tell of a
//! group that buys cheaper; nor ids and times, which nobody needs to buy a present.

use super::super::catalogue::Code;
use super::super::client_address::ClientAddress;
use super::super::pages::PageRequest;
use super::super::problem::{Problem, ProblemDocument};
use super::super::query::Query;
use super::super::rate_limit::{tell, tell_refused};
use super::super::services::Services;
use super::super::values::PageParams;
use crate::actors::allowance::Counted;
use crate::actors::sharing::SharedError;
use crate::domain::wishlist::WishlistItem;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show);
}

/// A wishlist for whoever has its link, with a page of what stands on it.
#[derive(Serialize, ToSchema)]
struct SharedWishlist {
    #[schema(example = "Birthday")]
    name: String,
    /// How many items stand on it.
    item_count: u32,
    /// In the order in which they were wished for.
    items: Vec<SharedItem>,
    /// Send it as `cursor` for the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// A product that is wished for.
#[derive(Serialize, ToSchema)]
struct SharedItem {
    /// The shop's name for the product.
    #[schema(example = "LAMP-7/red")]
    sku: String,
    #[schema(minimum = 1, maximum = 9999)]
    quantity: u16,
}

impl From<WishlistItem> for SharedItem {
    fn from(item: WishlistItem) -> SharedItem {
        SharedItem { sku: item.sku.as_str().to_owned(), quantity: item.quantity.get() }
    }
}

impl From<SharedError> for Problem {
    fn from(error: SharedError) -> Problem {
        match error {
            SharedError::RateLimited { retry_after } => {
                Problem::new(Code::RateLimited).retry_after(retry_after)
            }
            SharedError::Database(error) => error.into(),
        }
    }
}

/// A wishlist by its link. 404 alike where there never was such a link, where it was withdrawn, and
/// where its owner is gone or may not sign in.
#[utoipa::path(
    tag = "wishlists",
    params(("token" = String, Path, description = "the list's `share_token`"), PageParams),
    responses(
        (status = 200, body = SharedWishlist),
        (status = 429, body = ProblemDocument, content_type = "application/problem+json")
    )
)]
#[get("/v1/wishlists/shared/{token}")]
async fn show(
    token: web::Path<String>,
    address: ClientAddress,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "shared_wishlist")
    })?;
    let (after, limit) = (page.after, page.fetch());
    let followed = services.sharing.follow(&token, after, limit, address.limit_key()).await;
    let Counted { standing, result } = followed;
    let found = result.map_err(Problem::from).and_then(|found| found.ok_or(not_found()));
    let (list, items) = found.map_err(|problem| tell_refused(problem, standing.as_ref()))?;
    let page = page.page(items, |item| item.id.0, SharedItem::from);
    let mut response = HttpResponse::Ok();
    tell(&mut response, standing.as_ref());
    Ok(response.json(SharedWishlist {
        name: list.name.as_str().to_owned(),
        item_count: list.item_count,
        items: page.items,
        next_cursor: page.next_cursor,
    }))
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}
