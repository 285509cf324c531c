//! The wishlists after an event of theirs.

use crate::domain::event::WishlistEvent;
use crate::domain::ids::WishlistId;
use crate::domain::wishlist::Wishlists;

/// Applies one event. How many items stand on a list is counted by those that come and go, since
/// only a few of them are loaded.
pub fn evolve(wishlists: &mut Wishlists, event: &WishlistEvent) {
    match event {
        WishlistEvent::Created(list) | WishlistEvent::Updated { list, .. } => {
            wishlists.lists.insert(list.id, (**list).clone());
        }
        WishlistEvent::Deleted { id } => {
            wishlists.lists.remove(id);
            wishlists.items.retain(|(list, _), _| list != id);
        }
        WishlistEvent::ItemAdded(item) => {
            wishlists.items.insert((item.wishlist_id, item.id), (**item).clone());
            count(wishlists, item.wishlist_id, |items| items + 1);
        }
        WishlistEvent::ItemChanged { item, .. } => {
            wishlists.items.insert((item.wishlist_id, item.id), (**item).clone());
        }
        WishlistEvent::ItemRemoved { list, id, .. } => {
            wishlists.items.remove(&(*list, *id));
            count(wishlists, *list, |items| items.saturating_sub(1));
        }
    }
}

fn count(wishlists: &mut Wishlists, list: WishlistId, change: impl Fn(u32) -> u32) {
    if let Some(list) = wishlists.lists.get_mut(&list) {
        list.item_count = change(list.item_count);
        list.version += 1;
    }
}
