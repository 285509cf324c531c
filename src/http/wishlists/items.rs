//! `/v1/me/wishlists/{id}/items`: what stands on a wishlist. A product stands there once.

use super::super::body::JsonBody;
use super::super::conditional::{IfMatch, IfNoneMatch};
use super::super::field::{FieldFault, Raw};
use super::super::form::Form;
use super::super::idempotency::IdempotencyHeader;
use super::super::pages::{Page, PageRequest};
use super::super::principal::Owner;
use super::super::problem::{Problem, ProblemDocument};
use super::super::query::Query;
use super::super::request_id::RequestIdentity;
use super::super::services::Services;
use super::super::values::{
    IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, PathId, change, given, parsed,
};
use super::view::{self, ItemView, MoneyView};
use crate::actors::customers::Answered;
use crate::db;
use crate::domain::command::{Change, Command};
use crate::domain::money::Money;
use crate::domain::outcome::Rejection;
use crate::domain::place::Currency;
use crate::domain::wishlist::{ItemChange, ItemPlace, Note, Quantity, Sku, WishlistCommand};
use crate::domain::{CustomerId, WishlistId, WishlistItemId};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(all).service(add).service(show).service(change_item).service(remove);
    cfg.service(move_item);
}

/// A product for a wishlist. Where it stands already, what is given here takes the place of what
/// was, so that sending it twice is sending it once.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Wish`")]
struct NewWishlistItem {
    /// The shop's name for the product: letters, digits and `. _ : / + -`.
    #[schema(min_length = 1, max_length = 64, example = "LAMP-7/red")]
    sku: String,
    /// How many; 1 where nothing else was said.
    #[schema(minimum = 1, maximum = 9999)]
    quantity: Option<u16>,
    #[schema(max_length = 1000, example = "For the kitchen")]
    note: Option<String>,
    /// What it costs now.
    price_seen: Option<MoneyView>,
}

pub(in crate::http) struct Wish {
    sku: Sku,
    change: ItemChange,
}

impl Wish {
    pub(in crate::http) fn read(form: &mut Form<'_>) -> Option<Wish> {
        let sku = form.required("sku", |raw| parsed(raw, Sku::parse));
        let quantity = form.optional("quantity", quantity);
        let note = form.optional("note", |raw| parsed(raw, Note::parse));
        // As everywhere in what makes something, `null` says as much as leaving out.
        let price_seen = given(form.patch_object("price_seen", read_money));
        let change = ItemChange { quantity, note: said(note), price_seen: said(price_seen) };
        Some(Wish { sku: sku?, change })
    }
}

/// A change of an item; `null` empties an optional field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into an `ItemChange`")]
struct WishlistItemPatch {
    #[schema(nullable = false, minimum = 1, maximum = 9999)]
    quantity: Option<u16>,
    #[schema(max_length = 1000)]
    note: Option<String>,
    /// Always as a whole, amount and currency.
    price_seen: Option<MoneyView>,
}

pub(in crate::http) fn read_patch(form: &mut Form<'_>) -> Option<ItemChange> {
    let quantity = given(form.patch_required("quantity", quantity));
    let note = change(form.patch("note", |raw| parsed(raw, Note::parse)));
    let price_seen = change(form.patch_object("price_seen", read_money));
    Some(ItemChange { quantity, note, price_seen })
}

/// Where an item is to go.
#[derive(ToSchema)]
pub struct WishlistItemMove {
    /// Another of my wishlists.
    #[schema(value_type = Uuid)]
    to: WishlistId,
}

impl WishlistItemMove {
    pub(in crate::http) fn read(form: &mut Form<'_>) -> Option<WishlistItemMove> {
        let to = form.required("to", |raw| raw.uuid().map(WishlistId));
        Some(WishlistItemMove { to: to? })
    }
}

fn said<T>(value: Option<T>) -> Change<T> {
    value.map_or(Change::Keep, Change::Set)
}

fn quantity(raw: Raw<'_>) -> Result<Quantity, FieldFault> {
    Quantity::new(raw.integer()?).map_err(Into::into)
}

fn read_money(form: &mut Form<'_>) -> Option<Money> {
    let amount = form.required("amount", |raw| raw.bounded_integer(0, Money::MAX));
    let currency = form.required("currency", |raw| parsed(raw, Currency::parse));
    Money::new(amount?, currency?).ok()
}

/// The place of an item, as its path names it.
type ItemPath = web::Path<(PathId, PathId)>;

fn place(path: &ItemPath) -> ItemPlace {
    (WishlistId(path.0.0), WishlistItemId(path.1.0))
}

/// What stands on one of my wishlists, in the order in which it was first wished for.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<ItemView>))
)]
#[get("/v1/me/wishlists/{id}/items")]
async fn all(
    owner: Owner,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ItemView>>, Problem> {
    page(&services, owner.customer_id, WishlistId(id.0), &request).await
}

/// A page of what stands on a customer's list.
pub(super) async fn page(
    services: &Services,
    customer: CustomerId,
    list: WishlistId,
    request: &HttpRequest,
) -> Result<web::Json<Page<ItemView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "wishlist_items")
    })?;
    let (after, limit) = (page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(
            async move { db::wishlists::items(connection, customer, list, after, limit).await },
        )
    });
    let items = read.await?.ok_or(Rejection::NotFound)?;
    Ok(web::Json(page.page(items, |item| item.id.0, ItemView::from)))
}

/// Puts a product on one of my wishlists. Where it stands already, its item takes what is given
/// here and is answered with 200.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = NewWishlistItem,
    responses(
        (status = 200, body = ItemView, description = "It stood there already", headers(("ETag" = String))),
        (status = 201, body = ItemView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`wishlist_full`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/me/wishlists/{id}/items")]
async fn add(
    owner: Owner,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Wish { sku, change } = body.read(Wish::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let command = WishlistCommand::AddItem {
        list: WishlistId(id.0),
        id: WishlistItemId(services.clock.new_id()),
        sku,
        wish: change,
        limit: limit(&services),
    };
    view::item(submit(&services, &owner, &identity, command, key).await?)
}

/// One item of one of my wishlists.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), ("item_id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = ItemView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/wishlists/{id}/items/{item_id}")]
async fn show(
    owner: Owner,
    path: ItemPath,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (customer, place) = (owner.customer_id, place(&path));
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::wishlists::find_item(connection, customer, place).await })
    });
    let item = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(item.version, &ItemView::from(item)))
}

/// Changes an item of one of my wishlists.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), ("item_id" = Uuid, Path), IfMatchParam),
    request_body = WishlistItemPatch,
    responses((status = 200, body = ItemView))
)]
#[patch("/v1/me/wishlists/{id}/items/{item_id}")]
async fn change_item(
    owner: Owner,
    path: ItemPath,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = body.read(read_patch)?;
    let command =
        WishlistCommand::ChangeItem { place: place(&path), change, if_match: on.version()? };
    view::item(submit(&services, &owner, &identity, command, None).await?)
}

/// Takes an item off one of my wishlists.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), ("item_id" = Uuid, Path), IfMatchParam),
    responses((status = 204, description = "Taken off"))
)]
#[delete("/v1/me/wishlists/{id}/items/{item_id}")]
async fn remove(
    owner: Owner,
    path: ItemPath,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = WishlistCommand::RemoveItem { place: place(&path), if_match: on.version()? };
    submit(&services, &owner, &identity, command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Moves an item to another of my wishlists, in one step. It keeps its id. Where its product stands
/// there already, both become one: the quantities add up, and of note and price seen those that
/// move count, if any.
#[utoipa::path(
    tag = "wishlists",
    security(("customer" = [])),
    params(("id" = Uuid, Path), ("item_id" = Uuid, Path), IfMatchParam, IdempotencyParam),
    request_body = WishlistItemMove,
    responses(
        (status = 200, body = ItemView, description = "It became one with that which stood there",
            headers(("ETag" = String))),
        (status = 201, body = ItemView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`wishlist_full`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/me/wishlists/{id}/items/{item_id}/move")]
async fn move_item(
    owner: Owner,
    path: ItemPath,
    on: IfMatch,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let WishlistItemMove { to } = body.read(WishlistItemMove::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let command = WishlistCommand::MoveItem {
        place: place(&path),
        to,
        limit: limit(&services),
        if_match: on.version()?,
    };
    view::item(submit(&services, &owner, &identity, command, key).await?)
}

fn limit(services: &Services) -> usize {
    // lossless: the range of the key ends at 10000
    services.config.customers.wishlist_item_limit as usize
}

async fn submit(
    services: &Services,
    owner: &Owner,
    identity: &RequestIdentity,
    command: WishlistCommand,
    key: Option<IdempotencyHeader>,
) -> Result<Answered, Problem> {
    let command = Command::Wishlist(Box::new(command));
    services.submit(owner, identity, owner.customer_id, command, key).await
}
