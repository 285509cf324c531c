//! Wishlists: how many there are, what stands on them, who may look. A product stands on a list
//! once: adding it again says anew how many, and moving it to where it stands makes one of both.

use super::{Answer, Decision, check_version, decided, writable};
use crate::domain::command::{Change, Context};
use crate::domain::event::{Event, WishlistEvent};
use crate::domain::fault::Fault;
use crate::domain::ids::{WishlistId, WishlistItemId};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::state::State;
use crate::domain::text::Label;
use crate::domain::wishlist::{
    ItemChange, ItemPlace, Quantity, Share, Sharing, Sku, Wishlist, WishlistAnswer,
    WishlistCommand, WishlistItem, Wishlists,
};

/// What of the wishlists is shown to the caller, once the events are applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    List(WishlistId),
    Item { place: ItemPlace, added: bool },
}

impl Shown {
    pub(super) fn read(self, wishlists: &Wishlists) -> Option<WishlistAnswer> {
        match self {
            Self::List(id) => wishlists.lists.get(&id).cloned().map(WishlistAnswer::List),
            Self::Item { place, added } => {
                let item = wishlists.items.get(&place).cloned()?;
                Some(WishlistAnswer::Item { item, added })
            }
        }
    }
}

pub fn decide(state: &State, command: &WishlistCommand, context: &Context) -> Decision {
    writable(state, context)?;
    let wishlists = &state.wishlists;
    match command {
        WishlistCommand::Create { id, name, share, limit } => {
            create(wishlists, *id, name, share.as_ref(), *limit, context)
        }
        WishlistCommand::Change { id, name, sharing, if_match } => {
            change(wishlists, *id, name.as_ref(), sharing, *if_match)
        }
        WishlistCommand::Delete { id, if_match } => {
            check_version(*if_match, list(wishlists, *id)?.version)?;
            happened(vec![WishlistEvent::Deleted { id: *id }], Answer::Now(Outcome::Done))
        }
        WishlistCommand::AddItem { list, id, sku, wish, limit } => {
            add_item(wishlists, *list, *id, sku, wish, *limit, context)
        }
        WishlistCommand::ChangeItem { place, change, if_match } => {
            let item = item(wishlists, *place)?;
            check_version(*if_match, item.version)?;
            said(item, change)
        }
        WishlistCommand::RemoveItem { place, if_match } => {
            let item = item(wishlists, *place)?;
            check_version(*if_match, item.version)?;
            happened(vec![removed(item)], Answer::Now(Outcome::Done))
        }
        WishlistCommand::MoveItem { place, to, limit, if_match } => {
            move_item(wishlists, *place, *to, *limit, *if_match)
        }
    }
}

fn create(
    wishlists: &Wishlists,
    id: WishlistId,
    name: &Label,
    share: Option<&Share>,
    limit: usize,
    context: &Context,
) -> Decision {
    if wishlists.lists.len() >= limit {
        return Err(Rejection::WishlistLimitReached { limit });
    }
    let list = Wishlist {
        id,
        name: name.clone(),
        share: share.cloned(),
        item_count: 0,
        created_at: context.now,
        version: 1,
    };
    let shown = Answer::Wishlist(Shown::List(id));
    happened(vec![WishlistEvent::Created(Box::new(list))], shown)
}

/// A link that is withdrawn never works again: sharing anew makes another one.
fn change(
    wishlists: &Wishlists,
    id: WishlistId,
    name: Option<&Label>,
    sharing: &Sharing,
    if_match: Option<i64>,
) -> Decision {
    let current = list(wishlists, id)?;
    check_version(if_match, current.version)?;
    let share = match (sharing, &current.share) {
        (Sharing::Withdraw, _) => None,
        (Sharing::By(fresh), None) => Some(fresh.clone()),
        (Sharing::Keep | Sharing::By(_), kept) => kept.clone(),
    };
    let name = name.unwrap_or(&current.name).clone();
    let changed = names([("name", name != current.name), ("shared", share != current.share)]);
    let mut events = Vec::new();
    if !changed.is_empty() {
        let list = Wishlist { name, share, version: current.version + 1, ..current.clone() };
        events.push(WishlistEvent::Updated { list: Box::new(list), changed });
    }
    happened(events, Answer::Wishlist(Shown::List(id)))
}

fn add_item(
    wishlists: &Wishlists,
    id: WishlistId,
    item: WishlistItemId,
    sku: &Sku,
    wish: &ItemChange,
    limit: usize,
    context: &Context,
) -> Decision {
    let list = list(wishlists, id)?;
    if let Some(present) = wishlists.item_of(id, sku) {
        return said(present, wish);
    }
    room(list, limit)?;
    let added = WishlistItem {
        id: item,
        wishlist_id: id,
        sku: sku.clone(),
        quantity: wish.quantity.unwrap_or(Quantity::ONE),
        note: wish.note.apply(&None),
        price_seen: wish.price_seen.apply(&None),
        added_at: context.now,
        version: 1,
    };
    let shown = Answer::Wishlist(Shown::Item { place: (id, item), added: true });
    happened(vec![WishlistEvent::ItemAdded(Box::new(added))], shown)
}

/// An item as its owner now says.
fn said(item: &WishlistItem, change: &ItemChange) -> Decision {
    let shown = Shown::Item { place: (item.wishlist_id, item.id), added: false };
    happened(changed(item, change).into_iter().collect(), Answer::Wishlist(shown))
}

/// The change of an item, if it is one.
fn changed(item: &WishlistItem, change: &ItemChange) -> Option<WishlistEvent> {
    let mut after = item.clone();
    after.quantity = change.quantity.unwrap_or(item.quantity);
    after.note = change.note.apply(&item.note);
    after.price_seen = change.price_seen.apply(&item.price_seen);
    let changed = names([
        ("quantity", after.quantity != item.quantity),
        ("note", after.note != item.note),
        ("price_seen", after.price_seen != item.price_seen),
    ]);
    if changed.is_empty() {
        return None;
    }
    after.version += 1;
    Some(WishlistEvent::ItemChanged { item: Box::new(after), changed })
}

/// The item keeps its id. Where its product stands on the other list already, both become one
/// there: their quantities add up, and of note and price seen those that moved count, if any.
fn move_item(
    wishlists: &Wishlists,
    place: ItemPlace,
    to: WishlistId,
    limit: usize,
    if_match: Option<i64>,
) -> Decision {
    let item = item(wishlists, place)?;
    check_version(if_match, item.version)?;
    let Ok(target) = list(wishlists, to) else {
        let fault = Fault::new("unknown_wishlist", "there is no wishlist of this id");
        return Err(Rejection::Invalid { pointer: "#/to", fault });
    };
    let shown = |id, added| Answer::Wishlist(Shown::Item { place: (to, id), added });
    if to == item.wishlist_id {
        return happened(Vec::new(), shown(item.id, false));
    }
    if let Some(present) = wishlists.item_of(to, &item.sku) {
        let merged = ItemChange {
            quantity: Some(present.quantity.and(item.quantity)),
            note: item.note.clone().map_or_else(Default::default, Change::Set),
            price_seen: item.price_seen.clone().map_or_else(Default::default, Change::Set),
        };
        let events = [removed(item)].into_iter().chain(changed(present, &merged));
        return happened(events.collect(), shown(present.id, false));
    }
    room(target, limit)?;
    let moved = WishlistItem { wishlist_id: to, version: item.version + 1, ..item.clone() };
    let events = vec![removed(item), WishlistEvent::ItemAdded(Box::new(moved))];
    happened(events, shown(item.id, true))
}

fn removed(item: &WishlistItem) -> WishlistEvent {
    WishlistEvent::ItemRemoved { list: item.wishlist_id, id: item.id, sku: item.sku.clone() }
}

fn room(list: &Wishlist, limit: usize) -> Result<(), Rejection> {
    // lossless: a machine of 16 bits runs no service
    if (list.item_count as usize) < limit { Ok(()) } else { Err(Rejection::WishlistFull { limit }) }
}

fn list(wishlists: &Wishlists, id: WishlistId) -> Result<&Wishlist, Rejection> {
    wishlists.lists.get(&id).ok_or(Rejection::NotFound)
}

fn item(wishlists: &Wishlists, place: ItemPlace) -> Result<&WishlistItem, Rejection> {
    wishlists.items.get(&place).ok_or(Rejection::NotFound)
}

/// The names of the fields that differ.
fn names<const N: usize>(fields: [(&str, bool); N]) -> Vec<String> {
    let differing = fields.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name.to_owned()).collect()
}

fn happened(events: Vec<WishlistEvent>, answer: Answer) -> Decision {
    decided(events.into_iter().map(Event::Wishlist).collect(), answer)
}
