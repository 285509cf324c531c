//! What differs of wishlists. Items go before others come, so that a product that moves finds its
//! place free, and so do lists, whose links may move to another customer; lists come before their
//! items and go after them.

use super::all_done;
use crate::db::Connection;
use crate::db::statements::{
    DeleteWishlistItems, DeleteWishlists, SaveWishlistItems, SaveWishlists,
};
use crate::db::transactions::QueryError;
use crate::domain::CustomerId;
use crate::domain::wishlist::Wishlists;
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct WishlistRows {
    lists: SaveWishlists,
    deleted_items: DeleteWishlistItems,
    items: SaveWishlistItems,
    deleted_lists: DeleteWishlists,
}

impl WishlistRows {
    /// The rows of one customer that differ.
    pub(super) fn push(&mut self, id: CustomerId, before: &Wishlists, after: &Wishlists) {
        for (key, list) in &after.lists {
            if before.lists.get(key) != Some(list) {
                self.lists.push(id, list);
            }
        }
        for gone in before.items.keys().filter(|place| !after.items.contains_key(place)) {
            self.deleted_items.push(id, *gone);
        }
        for (place, item) in &after.items {
            if before.items.get(place) != Some(item) {
                self.items.push(id, item);
            }
        }
        for gone in before.lists.keys().filter(|key| !after.lists.contains_key(key)) {
            self.deleted_lists.push(id, *gone);
        }
    }

    /// Rows to write; each is there to be written, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.lists.len() + self.deleted_items.len() + self.items.len() + self.deleted_lists.len()
    }

    /// Sends the statements in order, without waiting in between. Answers with the number of rows
    /// written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.deleted_items.execute(connection).boxed(),
            self.deleted_lists.execute(connection).boxed(),
            self.lists.execute(connection).boxed(),
            self.items.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
