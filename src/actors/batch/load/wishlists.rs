//! The wishlists that commands need: all heads, which are few, and of the items, which may be
//! thousands, those that are named; all of them only where they move with their customer.

use super::{Wanted, unless_empty};
use crate::db;
use crate::db::transactions::QueryError;
use crate::domain::wishlist::{Wishlist, WishlistItem};
use crate::domain::{CustomerId, State};
use std::collections::HashMap;

pub(super) struct Found {
    lists: Vec<(CustomerId, Wishlist)>,
    items: Vec<(CustomerId, WishlistItem)>,
}

pub(super) async fn load(
    connection: &db::Connection,
    wanted: &Wanted,
) -> Result<Found, QueryError> {
    let (customers, sought) = (&wanted.wishlists, &wanted.wishlist_items);
    let all = &wanted.all_wishlist_items;
    let (lists, mut items, every) = tokio::try_join!(
        unless_empty(customers, db::wishlists::of_customers(connection, customers)),
        unless_empty(sought, db::wishlists::items_sought(connection, sought)),
        unless_empty(all, db::wishlists::items_of_customers(connection, all)),
    )?;
    items.extend(every);
    Ok(Found { lists, items })
}

impl Found {
    pub(super) fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        for (id, list) in self.lists {
            states.entry(id).or_default().wishlists.lists.insert(list.id, list);
        }
        for (id, item) in self.items {
            let place = (item.wishlist_id, item.id);
            states.entry(id).or_default().wishlists.items.insert(place, item);
        }
    }
}
