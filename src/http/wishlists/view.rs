//! Wishlists and their items as answers show them, and the answers to commands about them.

use super::super::conditional::etag;
use super::super::problem::Problem;
use super::super::rejections::unexpected;
use super::super::services::note_replay;
use crate::actors::customers::Answered;
use crate::actors::sharing::Sharing;
use crate::domain::money::Money;
use crate::domain::outcome::Outcome;
use crate::domain::wishlist::{Wishlist, WishlistAnswer, WishlistItem};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A wishlist.
#[derive(Serialize, ToSchema)]
#[schema(as = Wishlist)]
pub struct WishlistView {
    pub id: Uuid,
    #[schema(example = "Birthday")]
    pub name: String,
    /// Whether whoever has its link may look at it.
    pub shared: bool,
    /// Of its link, `/v1/wishlists/shared/{token}`. `null` where it is not shared, and to staff.
    pub share_token: Option<String>,
    /// How many items stand on it.
    pub item_count: u32,
    /// Rises with each change of the list, items that come and go included; the `ETag`.
    pub version: i64,
}

impl WishlistView {
    /// As its owner sees it.
    pub fn to_owner(list: Wishlist, sharing: &Sharing) -> WishlistView {
        let token = list.share.as_ref().map(|share| sharing.token(share).as_str().to_owned());
        WishlistView { share_token: token, ..WishlistView::to_staff(list) }
    }

    /// Without the link, which is the owner's to hand out.
    pub fn to_staff(list: Wishlist) -> WishlistView {
        WishlistView {
            id: list.id.0,
            name: list.name.as_str().to_owned(),
            shared: list.share.is_some(),
            share_token: None,
            item_count: list.item_count,
            version: list.version,
        }
    }
}

/// An amount of money.
#[derive(Serialize, ToSchema)]
#[schema(as = Money)]
pub struct MoneyView {
    /// In minor units of the currency.
    #[schema(minimum = 0, maximum = 999_999_999_999_999_i64, example = 1999)]
    pub amount: i64,
    /// ISO 4217.
    #[schema(example = "USD")]
    pub currency: String,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> MoneyView {
        let currency = money.currency().as_str().to_owned();
        MoneyView { amount: money.amount(), currency }
    }
}

/// A product on a wishlist.
#[derive(Serialize, ToSchema)]
#[schema(as = WishlistItem)]
pub struct ItemView {
    pub id: Uuid,
    /// The shop's name for the product; on a list once.
    #[schema(example = "LAMP-7/red")]
    pub sku: String,
    /// How many are wished for.
    #[schema(minimum = 1, maximum = 9999)]
    pub quantity: u16,
    #[schema(example = "For the kitchen")]
    pub note: Option<String>,
    /// What it cost when its owner saw it.
    pub price_seen: Option<MoneyView>,
    pub added_at: DateTime<Utc>,
    /// Rises with each change; the `ETag`.
    pub version: i64,
}

impl From<WishlistItem> for ItemView {
    fn from(item: WishlistItem) -> ItemView {
        ItemView {
            id: item.id.0,
            sku: item.sku.as_str().to_owned(),
            quantity: item.quantity.get(),
            note: item.note.map(|note| note.as_str().to_owned()),
            price_seen: item.price_seen.map(MoneyView::from),
            added_at: item.added_at,
            version: item.version,
        }
    }
}

/// The answer to a command about a list: made just now, or changed.
pub(super) fn list(
    mut response: HttpResponseBuilder,
    answered: Answered,
    sharing: &Sharing,
) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match wishlist_answer(answered.outcome)? {
        WishlistAnswer::List(list) => {
            response.insert_header(etag(list.version));
            Ok(response.json(WishlistView::to_owner(list, sharing)))
        }
        other => Err(unexpected(&Outcome::Wishlist(Box::new(other)))),
    }
}

/// The answer to a command about an item. One that was not on the list before is told with its
/// place: 201.
pub(super) fn item(answered: Answered) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    note_replay(&mut response, &answered);
    match wishlist_answer(answered.outcome)? {
        WishlistAnswer::Item { item, added } => {
            if added {
                let (list, id) = (item.wishlist_id, item.id);
                let location = format!("/v1/me/wishlists/{list}/items/{id}");
                response.status(StatusCode::CREATED).insert_header((header::LOCATION, location));
            }
            response.insert_header(etag(item.version));
            Ok(response.json(ItemView::from(item)))
        }
        other => Err(unexpected(&Outcome::Wishlist(Box::new(other)))),
    }
}

fn wishlist_answer(outcome: Outcome) -> Result<WishlistAnswer, Problem> {
    match outcome {
        Outcome::Wishlist(answer) => Ok(*answer),
        other => Err(unexpected(&other)),
    }
}
