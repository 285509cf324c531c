//! Wishlists: limits, a product once on a list, exact counts, links that are withdrawn for ever;
//! and that the few items which a command names are all that deciding needs.

use super::*;
use crate::domain::ids::{WishlistId, WishlistItemId};
use crate::domain::money::Money;
use crate::domain::wishlist::{
    ItemChange, ItemPlace, ItemSought, Note, Quantity, Share, Sharing, Sku, Wishlist,
    WishlistAnswer, WishlistCommand, WishlistItem, Wishlists,
};
use proptest::prelude::*;
use serde_json::json;

const LISTS_MAX: usize = 3;
const ITEMS_MAX: usize = 3;

fn list_id(n: u128) -> WishlistId {
    WishlistId(Uuid::from_u128(6_000 + n))
}

fn item_id(n: u128) -> WishlistItemId {
    WishlistItemId(Uuid::from_u128(7_000 + n))
}

fn sku(n: u8) -> Sku {
    Sku::parse(&format!("SKU-{n}")).unwrap()
}

fn share(n: u8) -> Share {
    Share { nonce: [n; 32], hash: hash(n) }
}

fn of(quantity: i64) -> ItemChange {
    ItemChange { quantity: Some(Quantity::new(quantity).unwrap()), ..Default::default() }
}

fn noted(quantity: i64, note: &str) -> ItemChange {
    ItemChange { note: Change::Set(Note::parse(note).unwrap()), ..of(quantity) }
}

fn price(amount: i64) -> Money {
    Money::new(amount, Currency::parse("VND").unwrap()).unwrap()
}

fn wishlist(command: WishlistCommand) -> Command {
    Command::Wishlist(Box::new(command))
}

fn create(n: u128, shared: Option<u8>) -> Command {
    let (name, share) = (Label::parse("Zlist").unwrap(), shared.map(share));
    wishlist(WishlistCommand::Create { id: list_id(n), name, share, limit: LISTS_MAX })
}

fn rename(n: u128, name: &str) -> Command {
    let name = Some(Label::parse(name).unwrap());
    let (sharing, if_match) = (Sharing::Keep, None);
    wishlist(WishlistCommand::Change { id: list_id(n), name, sharing, if_match })
}

fn sharing(n: u128, sharing: Sharing) -> Command {
    wishlist(WishlistCommand::Change { id: list_id(n), name: None, sharing, if_match: None })
}

fn delete(n: u128) -> Command {
    wishlist(WishlistCommand::Delete { id: list_id(n), if_match: None })
}

fn add(list: u128, item: u128, product: u8, wish: ItemChange) -> Command {
    let (list, id, sku) = (list_id(list), item_id(item), sku(product));
    wishlist(WishlistCommand::AddItem { list, id, sku, wish, limit: ITEMS_MAX })
}

fn change_item(place: (u128, u128), change: ItemChange) -> Command {
    let place = (list_id(place.0), item_id(place.1));
    wishlist(WishlistCommand::ChangeItem { place, change, if_match: None })
}

fn remove_item(list: u128, item: u128) -> Command {
    let place = (list_id(list), item_id(item));
    wishlist(WishlistCommand::RemoveItem { place, if_match: None })
}

fn move_item(from: u128, item: u128, to: u128) -> Command {
    let (place, to) = ((list_id(from), item_id(item)), list_id(to));
    wishlist(WishlistCommand::MoveItem { place, to, limit: ITEMS_MAX, if_match: None })
}

/// Lists 1 and 2, of which 1 holds items 1 to `count` of as many products.
fn with_items(count: u8) -> State {
    let mut state = [create(1, None), create(2, None)]
        .into_iter()
        .fold(active(), |state, command| given(state).when(command).after);
    for n in 1..=count {
        state = given(state).when(add(1, n.into(), n, noted(2, "Znote"))).after;
    }
    state
}

fn list(state: &State, n: u128) -> &Wishlist {
    &state.wishlists.lists[&list_id(n)]
}

fn item(state: &State, list: u128, n: u128) -> &WishlistItem {
    &state.wishlists.items[&(list_id(list), item_id(n))]
}

/// How many items stand on a list, by its head; and its version.
fn head(state: &State, n: u128) -> (u32, i64) {
    (list(state, n).item_count, list(state, n).version)
}

// --- lists ------------------------------------------------------------------------------------

#[test]
fn a_list_begins_empty_and_is_shared_only_when_asked_to() {
    for shared in [None, Some(9)] {
        let then = given(active()).when(create(1, shared)).tells(&["wishlist.created"]);
        let Outcome::Wishlist(answer) = then.outcome() else { panic!("no list") };
        let WishlistAnswer::List(list) = *answer else { panic!("no list") };
        assert_eq!((list.item_count, list.version), (0, 1));
        assert_eq!(list.share, shared.map(share));
        assert_eq!(
            then.messages()[0].1,
            json!({ "customer_id": customer_id(), "wishlist_id": list_id(1),
                    "shared": shared.is_some(), "version": 1 })
        );
    }
}

#[test]
fn a_customer_has_a_limited_number_of_lists() {
    let full = (1..=3).fold(active(), |state, n| given(state).when(create(n, None)).after);
    let limit = LISTS_MAX;
    given(full.clone()).when(create(4, None)).refused(Rejection::WishlistLimitReached { limit });
    let room = given(full).when(delete(2)).tells(&["wishlist.deleted"]).after;
    given(room).when(create(4, None)).tells(&["wishlist.created"]);
}

#[test]
fn a_link_that_was_withdrawn_never_comes_back() {
    let shared = given(with_items(1)).when(sharing(1, Sharing::By(share(1)))).after;
    assert_eq!(list(&shared, 1).share, Some(share(1)));
    // Asked for again, it stays the one it is.
    given(shared.clone()).when(sharing(1, Sharing::By(share(2)))).changes_nothing();
    let then = given(shared).when(sharing(1, Sharing::Withdraw)).tells(&["wishlist.updated"]);
    assert_eq!(then.messages()[0].1["changed"], json!(["shared"]));
    assert_eq!(then.messages()[0].1["shared"], json!(false));
    assert_eq!(list(&then.after, 1).share, None);
    given(then.after.clone()).when(sharing(1, Sharing::Withdraw)).changes_nothing();
    let again = given(then.after).when(sharing(1, Sharing::By(share(3)))).after;
    assert_eq!(list(&again, 1).share, Some(share(3)));
}

#[test]
fn a_change_of_a_list_names_what_changed_and_the_same_again_changes_nothing() {
    let then = given(with_items(0)).when(rename(1, "Zlist2")).tells(&["wishlist.updated"]);
    assert_eq!(then.messages()[0].1["changed"], json!(["name"]));
    assert_eq!(list(&then.after, 1).version, 2);
    given(then.after).when(rename(1, "Zlist2")).changes_nothing();
}

#[test]
fn a_deleted_list_takes_its_items_with_it_and_no_other() {
    let state = given(with_items(2)).when(add(2, 9, 1, of(1))).after;
    let then = given(state).when(delete(1)).tells(&["wishlist.deleted"]);
    let left: Vec<_> = then.after.wishlists.items.keys().copied().collect();
    assert_eq!(left, [(list_id(2), item_id(9))]);
    given(then.after).when(add(1, 10, 1, of(1))).refused(Rejection::NotFound);
}

// --- items ------------------------------------------------------------------------------------

#[test]
fn a_product_added_again_says_anew_how_many_and_nothing_is_counted_twice() {
    let state = with_items(1);
    let then = given(state.clone()).when(add(1, 8, 1, of(5))).tells(&["wishlist.item_changed"]);
    assert_eq!(then.messages()[0].1["changed"], json!(["quantity"]));
    assert_eq!(then.messages()[0].1["item_id"], json!(item_id(1)));
    let after = item(&then.after, 1, 1);
    assert_eq!((after.quantity.get(), after.version), (5, 2));
    assert_eq!(after.note.as_ref().unwrap().as_str(), "Znote", "what is not said stays");
    assert_eq!(head(&then.after, 1), head(&state, 1));
    let Outcome::Wishlist(answer) = then.outcome() else { panic!("no item") };
    assert!(matches!(*answer, WishlistAnswer::Item { added: false, .. }));
    given(then.after).when(add(1, 8, 1, of(5))).changes_nothing();
    // Without a word about it, one is wished for at first, and as many as before later.
    let first = given(state).when(add(1, 8, 2, ItemChange::default())).after;
    assert_eq!(item(&first, 1, 8).quantity, Quantity::ONE);
    given(first).when(add(1, 9, 2, ItemChange::default())).changes_nothing();
}

#[test]
fn a_full_list_takes_what_stands_on_it_and_nothing_else() {
    let full = with_items(3);
    assert_eq!(head(&full, 1), (3, 4));
    let limit = ITEMS_MAX;
    given(full.clone()).when(add(1, 8, 4, of(1))).refused(Rejection::WishlistFull { limit });
    given(full.clone()).when(add(1, 8, 3, of(9))).tells(&["wishlist.item_changed"]);
    let room = given(full).when(remove_item(1, 2)).tells(&["wishlist.item_removed"]).after;
    assert_eq!(head(&room, 1), (2, 5));
    given(room).when(add(1, 8, 4, of(1))).tells(&["wishlist.item_added"]);
}

#[test]
fn an_item_changes_field_by_field() {
    let change = ItemChange { note: Change::Clear, price_seen: Change::Set(price(5)), ..of(2) };
    let then = given(with_items(1)).when(change_item((1, 1), change.clone()));
    let then = then.tells(&["wishlist.item_changed"]);
    assert_eq!(
        then.messages()[0].1,
        json!({ "customer_id": customer_id(), "wishlist_id": list_id(1), "item_id": item_id(1),
                "sku": "SKU-1", "quantity": 2, "changed": ["note", "price_seen"], "version": 2 })
    );
    given(then.after).when(change_item((1, 1), change)).changes_nothing();
}

#[test]
fn an_item_moves_as_it_is() {
    let before = with_items(2);
    let then = given(before.clone()).when(move_item(1, 2, 2));
    let then = then.tells(&["wishlist.item_removed", "wishlist.item_added"]);
    let (old, new) = (item(&before, 1, 2), item(&then.after, 2, 2));
    let expected = WishlistItem { wishlist_id: list_id(2), version: 2, ..old.clone() };
    assert_eq!(*new, expected);
    assert_eq!((head(&then.after, 1), head(&then.after, 2)), ((1, 4), (1, 2)));
    given(then.after).when(move_item(1, 2, 2)).refused(Rejection::NotFound);
}

#[test]
fn where_the_product_stands_already_both_become_one() {
    let change = ItemChange { price_seen: Change::Set(price(7)), ..of(9_998) };
    let state = given(with_items(1)).when(add(2, 5, 1, change)).after;
    let then = given(state).when(move_item(1, 1, 2));
    let then = then.tells(&["wishlist.item_removed", "wishlist.item_changed"]);
    let one = item(&then.after, 2, 5);
    assert_eq!(one.quantity.get(), 9_999, "as many as can be wished for");
    assert_eq!(one.note.as_ref().unwrap().as_str(), "Znote", "a note is not lost");
    assert_eq!(one.price_seen, Some(price(7)), "nor a price");
    assert_eq!((head(&then.after, 1), head(&then.after, 2)), ((0, 3), (1, 2)));
}

#[test]
fn a_move_asks_for_a_list_and_for_room() {
    let state = with_items(1);
    given(state.clone()).when(move_item(1, 1, 1)).changes_nothing();
    let then = given(state.clone()).when(move_item(1, 1, 9));
    let Err(Rejection::Invalid { pointer, fault }) = &then.decision else { panic!("not refused") };
    assert_eq!((*pointer, fault.code), ("#/to", "unknown_wishlist"));
    given(state.clone()).when(move_item(2, 1, 1)).refused(Rejection::NotFound);
    let full = [5, 6, 7]
        .into_iter()
        .fold(state, |state, n| given(state).when(add(2, u128::from(n), n, of(1))).after);
    let limit = ITEMS_MAX;
    given(full.clone()).when(move_item(1, 1, 2)).refused(Rejection::WishlistFull { limit });
    // What becomes one with another takes no room.
    let twin = given(full).when(remove_item(2, 7)).after;
    let twin = given(twin).when(add(2, 7, 1, of(1))).after;
    given(twin).when(move_item(1, 1, 2)).tells(&["wishlist.item_removed", "wishlist.item_changed"]);
}

// --- who may, and when ------------------------------------------------------------------------

fn writes(if_match: Option<i64>) -> Vec<WishlistCommand> {
    let (id, place) = (list_id(1), (list_id(1), item_id(1)));
    let name = Some(Label::parse("Zlist2").unwrap());
    vec![
        WishlistCommand::Change { id, name, sharing: Sharing::Keep, if_match },
        WishlistCommand::ChangeItem { place, change: of(9), if_match },
        WishlistCommand::RemoveItem { place, if_match },
        WishlistCommand::MoveItem { place, to: list_id(2), limit: 3, if_match },
        WishlistCommand::Delete { id, if_match },
    ]
}

#[test]
fn if_match_of_another_version_refuses_every_write() {
    let state = with_items(1);
    for command in writes(Some(99)) {
        given(state.clone()).when(wishlist(command)).refused(Rejection::VersionMismatch);
    }
    for (command, version) in writes(None).into_iter().zip([2, 1, 1, 1, 2]) {
        let mut command = command;
        match &mut command {
            WishlistCommand::Change { if_match, .. }
            | WishlistCommand::Delete { if_match, .. }
            | WishlistCommand::ChangeItem { if_match, .. }
            | WishlistCommand::RemoveItem { if_match, .. }
            | WishlistCommand::MoveItem { if_match, .. } => *if_match = Some(version),
            WishlistCommand::Create { .. } | WishlistCommand::AddItem { .. } => {}
        }
        assert!(!given(state.clone()).when(wishlist(command)).events().is_empty());
    }
}

#[test]
fn l3_an_owner_writes_only_while_active() {
    for status in Status::ALL {
        let own = [create(3, None), add(1, 9, 9, of(1))];
        for command in writes(None).into_iter().map(wishlist).chain(own) {
            let mut state = with_status(status);
            state.wishlists = with_items(1).wishlists;
            let then = given(state).by(owner()).when(command);
            match status {
                Status::Active => assert!(!then.events().is_empty()),
                Status::Erased => then.refused(Rejection::NotFound),
                other => then.refused(Rejection::NotActive(other)),
            }
        }
    }
}

// --- what always holds ------------------------------------------------------------------------

/// One of each that happens to wishlists.
pub fn script() -> [Command; 7] {
    [
        create(1, Some(1)),
        create(2, None),
        add(1, 1, 1, noted(1, "Znote")),
        change_item((1, 1), of(2)),
        move_item(1, 1, 2),
        rename(1, "Zlist2"),
        delete(1),
    ]
}

/// All that happens in it.
pub fn events() -> Vec<Event> {
    let (mut state, mut events) = (active(), Vec::new());
    for command in script() {
        let then = given(state).when(command);
        events.extend(then.events().to_vec());
        state = then.after;
    }
    events
}

/// Some command about a few lists, products and items, so that they meet each other.
pub fn random((which, a, b): (u8, u8, u8), unique: u128, state: &State) -> Command {
    let lists: Vec<_> = state.wishlists.lists.keys().copied().collect();
    let some = |n: u8| lists.get(usize::from(n % 4)).copied().unwrap_or(list_id(n.into()));
    let places = state.wishlists.items.keys().copied();
    let place = places.clone().nth((a + b).into()).unwrap_or((some(a), item_id(b.into())));
    let if_match = (b == 5).then_some(2);
    let fresh = share(unique.to_le_bytes()[0]);
    wishlist(match (which, b) {
        (41, _) => {
            let (name, share) = (Label::parse("Zlist").unwrap(), (b == 1).then_some(fresh));
            WishlistCommand::Create { id: list_id(unique), name, share, limit: LISTS_MAX }
        }
        (42, 0..=3) => {
            let name = (a < 3).then(|| Label::parse(["Zlist", "Zlist2"][usize::from(b % 2)]));
            let name = name.map(Result::unwrap);
            let sharing = match b {
                0 => Sharing::Withdraw,
                1 => Sharing::By(fresh),
                _ => Sharing::Keep,
            };
            WishlistCommand::Change { id: some(a), name, sharing, if_match }
        }
        (42, 4) => WishlistCommand::Delete { id: some(a), if_match },
        (42, _) => WishlistCommand::RemoveItem { place, if_match },
        (43 | 44, _) => WishlistCommand::AddItem {
            list: some(a),
            id: item_id(unique),
            sku: sku(b % 4),
            wish: if a < 3 { noted((1 + b).into(), "Znote") } else { ItemChange::default() },
            limit: ITEMS_MAX,
        },
        (_, 0..=3) => WishlistCommand::MoveItem { place, to: some(b), limit: ITEMS_MAX, if_match },
        _ => {
            let change = ItemChange { note: Change::Clear, ..of((1 + a).into()) };
            WishlistCommand::ChangeItem { place, change, if_match }
        }
    })
}

/// What the tables demand of every commit.
pub fn sound(wishlists: &Wishlists) {
    for list in wishlists.lists.values() {
        let items: Vec<_> =
            wishlists.items.values().filter(|item| item.wishlist_id == list.id).collect();
        assert_eq!(items.len(), list.item_count as usize, "counted exactly");
        let mut products: Vec<_> = items.iter().map(|item| &item.sku).collect();
        products.sort();
        products.dedup();
        assert_eq!(products.len(), items.len(), "a product stands twice");
    }
    for ((list, id), item) in &wishlists.items {
        assert_eq!((*list, *id), (item.wishlist_id, item.id));
        assert!(wishlists.lists.contains_key(list), "an item without its list");
    }
    let mut links: Vec<_> = wishlists.lists.values().filter_map(|l| l.share.as_ref()).collect();
    let shared = links.len();
    links.sort_by_key(|share| share.hash);
    links.dedup();
    assert_eq!(links.len(), shared);
}

/// What comes along with another customer may pass the limits; what is added may not.
fn within_limits(wishlists: &Wishlists) -> bool {
    let full = |list: &Wishlist| list.item_count as usize > ITEMS_MAX;
    wishlists.lists.len() <= LISTS_MAX && !wishlists.lists.values().any(full)
}

/// The wishlists as a batch of this one command loads them.
fn loaded_for(command: &Command, all: &Wishlists) -> Wishlists {
    assert!(command.needs().wishlists);
    let sku_at = |place: &ItemPlace| all.items.get(place).map(|item| &item.sku);
    let sought = |place: &ItemPlace, item: &WishlistItem| match command.wishlist_item() {
        None => false,
        Some(ItemSought::Product { list, sku }) => item.wishlist_id == list && item.sku == sku,
        Some(ItemSought::At(at)) => *place == at,
        Some(ItemSought::Both { place: at, list }) => {
            *place == at || (item.wishlist_id == list && sku_at(&at) == Some(&item.sku))
        }
    };
    let items = all.items.iter().filter(|(place, item)| sought(place, item));
    Wishlists {
        lists: all.lists.clone(),
        items: items.map(|(place, item)| (*place, item.clone())).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn heads_and_the_items_that_are_named_are_all_that_deciding_needs(
        steps in prop::collection::vec((41..46_u8, 0..6_u8, 0..6_u8), 1..60)
    ) {
        let mut state = active();
        for (n, step) in steps.into_iter().enumerate() {
            let command = random(step, 100 + n as u128, &state);
            let wishlists = loaded_for(&command, &state.wishlists);
            prop_assert!(wishlists.items.len() <= 2);
            let part = given(State { wishlists, ..state.clone() }).when(command.clone());
            let then = given(state).when(command);
            prop_assert_eq!(&part.decision, &then.decision);
            if part.decision.is_ok() {
                prop_assert_eq!(part.outcome(), then.outcome());
                prop_assert_eq!(&part.after.wishlists.lists, &then.after.wishlists.lists);
            }
            sound(&then.after.wishlists);
            prop_assert!(within_limits(&then.after.wishlists));
            state = then.after;
        }
    }
}
