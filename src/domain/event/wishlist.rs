//! What happens to wishlists. A list's name and a note are their owner's words and travel sealed alone;
//! what the shop calls a product is not personal.

use super::Trace;
use crate::domain::CustomerId;
use crate::domain::ids::{WishlistId, WishlistItemId};
use crate::domain::message::{
    Message, WishlistCreated, WishlistDeleted, WishlistItemAdded, WishlistItemChanged,
    WishlistItemRemoved, WishlistUpdated,
};
use crate::domain::wishlist::{Sku, Wishlist, WishlistItem};
use serde_json::json;

#[derive(Debug, Clone, PartialEq)]
pub enum WishlistEvent {
    Created(Box<Wishlist>),
    /// Holds the list as it then is.
    Updated {
        list: Box<Wishlist>,
        changed: Vec<String>,
    },
    /// Gone, with all that stood on it.
    Deleted {
        id: WishlistId,
    },
    /// A product is on a list where it was not.
    ItemAdded(Box<WishlistItem>),
    /// Holds the item as it then is.
    ItemChanged {
        item: Box<WishlistItem>,
        changed: Vec<String>,
    },
    ItemRemoved {
        list: WishlistId,
        id: WishlistItemId,
        sku: Sku,
    },
}

impl WishlistEvent {
    /// Every event is a message.
    pub(super) fn message(&self, customer_id: CustomerId) -> Message {
        match self {
            Self::Created(list) => {
                let (wishlist_id, shared, version) = (list.id, list.share.is_some(), list.version);
                WishlistCreated { customer_id, wishlist_id, shared, version }.into()
            }
            Self::Updated { list, changed } => WishlistUpdated {
                customer_id,
                wishlist_id: list.id,
                changed: changed.as_slice().into(),
                shared: list.share.is_some(),
                version: list.version,
            }
            .into(),
            Self::Deleted { id } => WishlistDeleted { customer_id, wishlist_id: *id }.into(),
            Self::ItemAdded(item) => WishlistItemAdded {
                customer_id,
                wishlist_id: item.wishlist_id,
                item_id: item.id,
                sku: item.sku.clone(),
                quantity: item.quantity,
                version: item.version,
            }
            .into(),
            Self::ItemChanged { item, changed } => WishlistItemChanged {
                customer_id,
                wishlist_id: item.wishlist_id,
                item_id: item.id,
                sku: item.sku.clone(),
                quantity: item.quantity,
                changed: changed.as_slice().into(),
                version: item.version,
            }
            .into(),
            Self::ItemRemoved { list, id, sku } => {
                let (wishlist_id, item_id, sku) = (*list, *id, sku.clone());
                WishlistItemRemoved { customer_id, wishlist_id, item_id, sku }.into()
            }
        }
    }

    pub(super) fn trace(&self) -> Trace {
        let (action, data) = match self {
            Self::Created(list) => {
                ("wishlist.created", json!({ "wishlist_id": list.id, "version": list.version }))
            }
            Self::Updated { list, changed } => (
                "wishlist.updated",
                json!({ "wishlist_id": list.id, "changed": changed,
                        "shared": list.share.is_some(), "version": list.version }),
            ),
            Self::Deleted { id } => ("wishlist.deleted", json!({ "wishlist_id": id })),
            Self::ItemAdded(item) => (
                "wishlist.item_added",
                json!({ "wishlist_id": item.wishlist_id, "item_id": item.id,
                        "version": item.version }),
            ),
            Self::ItemChanged { item, changed } => (
                "wishlist.item_changed",
                json!({ "wishlist_id": item.wishlist_id, "item_id": item.id,
                        "changed": changed, "version": item.version }),
            ),
            Self::ItemRemoved { list, id, .. } => {
                ("wishlist.item_removed", json!({ "wishlist_id": list, "item_id": id }))
            }
        };
        Trace { action, data }
    }
}
