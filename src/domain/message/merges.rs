//! The data of `customer.merged`. What came along is told by messages of its own before it; here are
//! the counts.

use super::Data;
use crate::domain::ids::CustomerId;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CustomerMerged {
    /// The customer.
    pub customer_id: CustomerId,
    /// The customer that it took in, whose last message is `customer.deleted`.
    pub from: CustomerId,
    /// How many addresses came along, each with an `address.created`.
    pub addresses: usize,
    /// How many wishlists came along, each with a `wishlist.created`.
    pub wishlists: usize,
    /// How many items stand on these, each with a `wishlist.item_added`.
    pub wishlist_items: usize,
    /// How many orders came along; what they come to is told by a `statistics.updated` of each
    /// currency.
    pub orders: usize,
    /// The providers whose accounts came along, each with a `customer.identity_linked`.
    #[schemars(inner(regex(pattern = "^[a-z0-9_-]{1,32}$")))]
    pub identities: Vec<String>,
    /// How many tags came along.
    pub tags: usize,
    /// The fields that took a value of the other, each told by a `customer.updated` as well.
    #[schemars(inner(regex(pattern = r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")))]
    pub changed: Vec<String>,
    /// The customer's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

impl Data for CustomerMerged {
    fn example() -> Self {
        Self {
            customer_id: CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801)),
            from: CustomerId(Uuid::from_u128(0x01a2_0288_4b90_7c51_b0d7_2e68_f39a_5c08)),
            addresses: 2,
            wishlists: 1,
            wishlist_items: 3,
            orders: 4,
            identities: vec!["google".to_owned()],
            tags: 0,
            changed: vec!["phone".to_owned(), "profile.company".to_owned()],
            version: 6,
        }
    }
}
