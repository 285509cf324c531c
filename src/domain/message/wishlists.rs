//! The data of messages about wishlists. A list's name and a note, which are its owner's words, travel
//! sealed alone.

use super::{Data, FieldNames};
use crate::domain::ids::{CustomerId, WishlistId, WishlistItemId};
use crate::domain::wishlist::{Quantity, Sku};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WishlistCreated {
    /// The customer.
    pub customer_id: CustomerId,
    /// The wishlist.
    pub wishlist_id: WishlistId,
    /// Whether whoever has its link may look at it.
    pub shared: bool,
    /// The wishlist's version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WishlistUpdated {
    /// The customer.
    pub customer_id: CustomerId,
    /// The wishlist.
    pub wishlist_id: WishlistId,
    /// What changed.
    pub changed: FieldNames,
    /// Whether whoever has its link may look at it from then on.
    pub shared: bool,
    /// The wishlist's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WishlistDeleted {
    /// The customer.
    pub customer_id: CustomerId,
    /// The wishlist.
    pub wishlist_id: WishlistId,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WishlistItemAdded {
    /// The customer.
    pub customer_id: CustomerId,
    /// The wishlist.
    pub wishlist_id: WishlistId,
    /// The item; it keeps its id when it moves to another list.
    pub item_id: WishlistItemId,
    /// The shop's name for the product.
    pub sku: Sku,
    /// How many are wished for.
    pub quantity: Quantity,
    /// The item's version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WishlistItemChanged {
    /// The customer.
    pub customer_id: CustomerId,
    /// The wishlist.
    pub wishlist_id: WishlistId,
    /// The item.
    pub item_id: WishlistItemId,
    /// The shop's name for the product.
    pub sku: Sku,
    /// How many are wished for from then on.
    pub quantity: Quantity,
    /// What changed.
    pub changed: FieldNames,
    /// The item's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WishlistItemRemoved {
    /// The customer.
    pub customer_id: CustomerId,
    /// The wishlist.
    pub wishlist_id: WishlistId,
    /// The item.
    pub item_id: WishlistItemId,
    /// The shop's name for the product.
    pub sku: Sku,
}

// --- believable ones --------------------------------------------------------------------------

const CUSTOMER: CustomerId = CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801));
const LIST: WishlistId = WishlistId(Uuid::from_u128(0x01a2_0286_3350_7d0c_9a3e_6f15_b8c4_2a06));
const ITEM: WishlistItemId =
    WishlistItemId(Uuid::from_u128(0x01a2_0287_0a60_7e27_8b91_04d3_e75f_6607));

fn lamp() -> Sku {
    Sku::from_stored("LAMP-7/red".to_owned())
}

fn names(names: &[&str]) -> FieldNames {
    FieldNames(names.iter().map(|name| (*name).to_owned()).collect())
}

impl Data for WishlistCreated {
    const SEALS: Option<&'static str> = Some("For who has the customer's key: the list's name.");

    fn example() -> Self {
        Self { customer_id: CUSTOMER, wishlist_id: LIST, shared: false, version: 1 }
    }
}

impl Data for WishlistUpdated {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the list's name, where it changed.");

    fn example() -> Self {
        let changed = names(&["shared"]);
        Self { customer_id: CUSTOMER, wishlist_id: LIST, changed, shared: true, version: 2 }
    }
}

impl Data for WishlistDeleted {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, wishlist_id: LIST }
    }
}

impl Data for WishlistItemAdded {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the note, if one was written.");

    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            wishlist_id: LIST,
            item_id: ITEM,
            sku: lamp(),
            quantity: Quantity::ONE,
            version: 1,
        }
    }
}

impl Data for WishlistItemChanged {
    const SEALS: Option<&'static str> =
        Some("For who has the customer's key: the note, where it changed.");

    fn example() -> Self {
        Self {
            customer_id: CUSTOMER,
            wishlist_id: LIST,
            item_id: ITEM,
            sku: lamp(),
            quantity: Quantity::ONE,
            changed: names(&["note"]),
            version: 2,
        }
    }
}

impl Data for WishlistItemRemoved {
    fn example() -> Self {
        Self { customer_id: CUSTOMER, wishlist_id: LIST, item_id: ITEM, sku: lamp() }
    }
}
