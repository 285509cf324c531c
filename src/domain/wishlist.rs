//! Wishlists: what stands on them, how much may, and the link by which others may look at one.
//!
//! A list knows how many items stand on it, and a product stands on a list once. So a command needs
//! the heads of a customer's lists and the one or two items that it names, never a whole list.

use super::command::Change;
use super::fault::Fault;
use super::ids::{WishlistId, WishlistItemId};
use super::money::Money;
use super::session::SecretHash;
use super::text::{Label, never_printed, paragraph};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shop's name for a product, in the shop's own spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}$"))]
pub struct Sku(String);

impl Sku {
    pub const MAX: usize = 64;

    /// # Errors
    /// `invalid_sku` unless 1–64 of `A-Z a-z 0-9 . _ : / + -`, the first a letter or digit.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let bytes = raw.as_bytes();
        let ok = (1..=Self::MAX).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._:/+-".contains(b));
        if ok {
            Ok(Self(raw.to_owned()))
        } else {
            let detail = "must be 1 to 64 of A-Z, a-z, 0-9 and . _ : / + -, and begin with a letter \
                 or digit";
            Err(Fault::new("invalid_sku", detail))
        }
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many of a product are wished for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("minimum" = 1, "maximum" = 9_999))]
pub struct Quantity(u16);

impl Quantity {
    pub const ONE: Self = Self(1);
    pub const MAX: i64 = 9_999;

    /// # Errors
    /// `out_of_range` unless from 1 to [`Quantity::MAX`].
    pub fn new(number: i64) -> Result<Self, Fault> {
        u16::try_from(number)
            .ok()
            .filter(|number| (1..=Self::MAX).contains(&i64::from(*number)))
            .map(Self)
            .ok_or_else(|| Fault::new("out_of_range", format!("must be from 1 to {}", Self::MAX)))
    }

    pub fn get(self) -> u16 {
        self.0
    }

    /// Both together, as far as that can be wished for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = i64::from(self.0) + i64::from(other.0);
        Self::new(sum.min(Self::MAX)).unwrap_or(self)
    }
}

/// What its owner wrote to an item.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Note(String);

never_printed!(Note);

impl Note {
    /// Most characters it may have.
    pub const MAX: usize = 1_000;

    /// # Errors
    /// Those of [`paragraph`].
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        paragraph(raw, Self::MAX).map(Self)
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By what a shared list is found. The token itself is kept nowhere: it is derived from the nonce,
/// so that its owner can be shown the link again, while who reads the database cannot follow it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub nonce: [u8; 32],
    /// SHA-256 of the token.
    pub hash: SecretHash,
}

never_printed!(Share);

/// The head of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishlist {
    pub id: WishlistId,
    pub name: Label,
    /// `None`: nobody but its owner sees it.
    pub share: Option<Share>,
    /// How many items stand on it.
    pub item_count: u32,
    pub created_at: DateTime<Utc>,
    /// Rises by one with each change, items that come and go included.
    pub version: i64,
}

/// A product on a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishlistItem {
    pub id: WishlistItemId,
    pub wishlist_id: WishlistId,
    pub sku: Sku,
    pub quantity: Quantity,
    pub note: Option<Note>,
    /// The price that its owner saw.
    pub price_seen: Option<Money>,
    pub added_at: DateTime<Utc>,
    /// Rises by one with each change.
    pub version: i64,
}

/// Where an item stands.
pub type ItemPlace = (WishlistId, WishlistItemId);

/// The wishlists of a customer, as much of them as the commands of a batch need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishlists {
    /// All heads.
    pub lists: BTreeMap<WishlistId, Wishlist>,
    /// The items that are [`ItemSought`].
    pub items: BTreeMap<ItemPlace, WishlistItem>,
}

impl Wishlists {
    /// The item of a product on a list.
    pub fn item_of(&self, list: WishlistId, sku: &Sku) -> Option<&WishlistItem> {
        self.items.values().find(|item| item.wishlist_id == list && item.sku == *sku)
    }
}

/// The items that a command looks at: none else are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemSought {
    /// That of a product on a list, if it stands there.
    Product { list: WishlistId, sku: Sku },
    /// The one at this place.
    At(ItemPlace),
    /// The one at this place, and that of the same product on another list.
    Both { place: ItemPlace, list: WishlistId },
}

// --- what is asked for ------------------------------------------------------------------------

/// What an owner does with its wishlists.
#[derive(Debug, Clone)]
pub enum WishlistCommand {
    Create {
        id: WishlistId,
        name: Label,
        /// Shared from the beginning, by this.
        share: Option<Share>,
        /// Lists that a customer may have.
        limit: usize,
    },
    Change {
        id: WishlistId,
        name: Option<Label>,
        sharing: Sharing,
        if_match: Option<i64>,
    },
    Delete {
        id: WishlistId,
        if_match: Option<i64>,
    },
    /// Puts a product on a list; where it stands already, its item takes what is said here.
    AddItem {
        list: WishlistId,
        /// A fresh id.
        id: WishlistItemId,
        sku: Sku,
        wish: ItemChange,
        /// Items that a list may have.
        limit: usize,
    },
    ChangeItem {
        place: ItemPlace,
        change: ItemChange,
        if_match: Option<i64>,
    },
    RemoveItem {
        place: ItemPlace,
        if_match: Option<i64>,
    },
    /// Takes an item from its list and puts it on another.
    MoveItem {
        place: ItemPlace,
        to: WishlistId,
        limit: usize,
        if_match: Option<i64>,
    },
}

/// What becomes of a list's public link.
#[derive(Debug, Clone)]
pub enum Sharing {
    Keep,
    /// Nobody follows it any more.
    Withdraw,
    /// By this, where it is not shared yet.
    By(Share),
}

/// What is said of an item.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemChange {
    pub quantity: Option<Quantity>,
    pub note: Change<Note>,
    pub price_seen: Change<Money>,
}

impl WishlistCommand {
    /// The items that must be loaded with the heads.
    pub fn item_sought(&self) -> Option<ItemSought> {
        match self {
            Self::Create { .. } | Self::Change { .. } | Self::Delete { .. } => None,
            Self::AddItem { list, sku, .. } => {
                Some(ItemSought::Product { list: *list, sku: sku.clone() })
            }
            Self::ChangeItem { place, .. } | Self::RemoveItem { place, .. } => {
                Some(ItemSought::At(*place))
            }
            Self::MoveItem { place, to, .. } => Some(ItemSought::Both { place: *place, list: *to }),
        }
    }
}

/// What its caller is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishlistAnswer {
    List(Wishlist),
    Item {
        item: WishlistItem,
        /// Whether it was not on the list before.
        added: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skus_are_the_shops_own_spelling() {
        for sku in ["A", "0", "ABC-123/xl", "urn:x+y.z_1", &"x".repeat(64)] {
            assert_eq!(Sku::parse(sku).unwrap().as_str(), sku);
        }
        for sku in ["", " ", " A", "A ", "-a", "/a", "ä", "a\u{0}", "a'b", "a\n", &"x".repeat(65)]
        {
            assert_eq!(Sku::parse(sku).unwrap_err().code, "invalid_sku", "{sku:?}");
        }
    }

    #[test]
    fn quantities_have_bounds_and_never_leave_them() {
        let of = |number| Quantity::new(number).unwrap();
        for number in [0, -1, 10_000, 65_536, 65_537, i64::MAX, i64::MIN] {
            assert_eq!(Quantity::new(number).unwrap_err().code, "out_of_range", "{number}");
        }
        assert_eq!(of(2).and(of(3)), of(5));
        assert_eq!(of(9_999).and(of(1)), of(9_999));
        assert_eq!(of(9_999).and(of(9_999)), of(9_999));
    }

    #[test]
    fn notes_have_lines_and_an_end() {
        assert_eq!(Note::parse(" for Ánh\r\nred ").unwrap().as_str(), "for Ánh\nred");
        assert!(Note::parse(&"é".repeat(1_000)).is_ok());
        assert_eq!(Note::parse(&"é".repeat(1_001)).unwrap_err().code, "too_long");
        assert_eq!(Note::parse("").unwrap_err().code, "required");
        assert_eq!(format!("{:?}", Note::parse("secret").unwrap()), "Note(..)");
    }
}
