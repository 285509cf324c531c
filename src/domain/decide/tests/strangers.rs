//! Other customers beside the one that these tests are about, to be merged with it.

use super::*;
use crate::domain::handle::Handle;
use crate::domain::identity::Identity;
use crate::domain::note::{Note, NoteText};
use crate::domain::preferences::Topics;
use crate::domain::profile::date;
use crate::domain::wishlist::{Quantity, Share, Sku, Wishlist, WishlistItem};
use crate::domain::{WishlistId, WishlistItemId};
use serde_json::json;

pub(super) fn stranger_id(n: u128) -> CustomerId {
    CustomerId(Uuid::from_u128(50_000 + n))
}

pub(super) fn merge_of(from: CustomerId, dry_run: bool) -> Command {
    let (phone, identity, farewell) = (mail_id(90), mail_id(91), mail_id(92));
    let mails = MergeMails { phone, identity, farewell };
    Command::Merge(MergeCommand { from, dry_run, if_match: None, mails })
}

/// The same customer under other ids: another one, who shares nothing with it.
pub(super) fn relabelled(mut state: State, id: CustomerId) -> State {
    let n = id.0.as_u128();
    let renamed = |id: Uuid| Uuid::from_u128(id.as_u128() + (n << 64));
    let customer = state.customer.as_mut().expect("a living customer");
    customer.id = id;
    customer.email = email(&format!("zmail{n}@example.org"));
    if customer.phone_verified_at.is_some() {
        let number = format!("+84 912 {:06}", n % 1_000_000);
        customer.phone = Some(PhoneNumber::parse(&number).unwrap());
    }
    let mut handles = vec![Handle::email(&customer.email)];
    let verified = customer.phone.as_ref().filter(|_| customer.phone_verified_at.is_some());
    handles.extend(verified.map(Handle::phone));
    for identity in state.identities.values_mut() {
        identity.account.subject = format!("{}-{n}", identity.account.subject);
        handles.push(identity.account.handle());
    }
    state.handles = handles.into_iter().map(|handle| (handle, None)).collect();
    let addresses = std::mem::take(&mut state.addresses).into_values().map(|mut address| {
        address.id = AddressId(renamed(address.id.0));
        (address.id, address)
    });
    state.addresses = addresses.collect();
    let lists = std::mem::take(&mut state.wishlists.lists).into_values().map(|mut list| {
        list.id = WishlistId(renamed(list.id.0));
        if let Some(share) = &mut list.share {
            share.hash.iter_mut().zip(n.to_be_bytes()).for_each(|(byte, id)| *byte ^= id);
        }
        (list.id, list)
    });
    state.wishlists.lists = lists.collect();
    let items = std::mem::take(&mut state.wishlists.items).into_values().map(|mut item| {
        item.wishlist_id = WishlistId(renamed(item.wishlist_id.0));
        item.id = WishlistItemId(renamed(item.id.0));
        ((item.wishlist_id, item.id), item)
    });
    state.wishlists.items = items.collect();
    let notes = std::mem::take(&mut state.notes.named).into_values().map(|mut note| {
        note.id = NoteId(renamed(note.id.0));
        (note.id, note)
    });
    state.notes.named = notes.collect();
    state
}

/// Somebody with something of everything, a verified phone and an account at Google.
pub(super) fn stranger(id: CustomerId, seconds: i64) -> State {
    let mut state = with_addresses(2);
    let customer = state.customer.as_mut().unwrap();
    customer.phone = Some(phone());
    customer.phone_verified_at = Some(at(30));
    customer.tags = Tags::parse(&["Ztag".into(), "Ztag of the other".into()]).unwrap();
    customer.created_at = at(-500);
    customer.last_sign_in_at = Some(at(seconds + 5_000));
    let profile = state.profile.as_mut().unwrap();
    profile.date_of_birth = Some(date("1987-06-05").unwrap());
    profile.company = Some(line("Zcompany"));
    profile.custom = custom(&[("size", json!("Zvalue")), ("pet", json!("Zvalue"))]);
    let preferences = state.preferences.as_mut().unwrap();
    preferences.topics = Topics::parse(&["Ztopic".into()]).unwrap();
    let identity = Identity { account: account("google", "9"), linked_at: at(40) };
    state.identities.insert("google".into(), identity);
    let list = Wishlist {
        id: WishlistId(Uuid::from_u128(6_001)),
        name: Label::parse("Zlist").unwrap(),
        share: Some(Share { nonce: [9; 32], hash: [9; 32] }),
        item_count: 1,
        created_at: at(50),
        version: 4,
    };
    let item = WishlistItem {
        id: WishlistItemId(Uuid::from_u128(7_001)),
        wishlist_id: list.id,
        sku: Sku::parse("SKU-1").unwrap(),
        quantity: Quantity::ONE,
        note: None,
        price_seen: None,
        added_at: at(51),
        version: 2,
    };
    state.wishlists.items.insert((list.id, item.id), item);
    state.wishlists.lists.insert(list.id, list);
    let text = NoteText::parse("Znote").unwrap();
    let note =
        Note { id: NoteId(Uuid::from_u128(8_001)), text, author: "b".into(), created_at: at(60) };
    state.notes.named.insert(note.id, note);
    state.notes.count = 1;
    state.orders = super::orders::three();
    state.backup_codes.insert(hash(9), at(0));
    relabelled(state, id)
}
