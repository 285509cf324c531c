//! Tables `wishlists` and `wishlist_items`.

use super::Connection;
use super::schema::{customers, wishlist_items, wishlists};
use super::statements::{
    DeleteWishlistItems, DeleteWishlists, FindItemsAt, FindItemsOfProducts, SaveWishlistItems,
    SaveWishlists,
};
use crate::domain::money::Money;
use crate::domain::place::Currency;
use crate::domain::session::SecretHash;
use crate::domain::status::Status;
use crate::domain::text::Label;
use crate::domain::wishlist::{
    ItemPlace, ItemSought, Note, Quantity, Share, Sku, Wishlist, WishlistItem,
};
use crate::domain::{CustomerId, WishlistId, WishlistItemId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tokio::try_join;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = wishlists, check_for_backend(diesel::pg::Pg))]
struct ListRow {
    id: Uuid,
    customer_id: Uuid,
    name: String,
    share_nonce: Option<Vec<u8>>,
    share_hash: Option<Vec<u8>>,
    item_count: i32,
    created_at: DateTime<Utc>,
    version: i64,
}

/// Something that the table's constraints keep out.
fn impossible(what: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(what.into())
}

fn secret(bytes: Vec<u8>) -> QueryResult<[u8; 32]> {
    bytes.try_into().map_err(|_| impossible("a secret of a wishlist has 32 bytes"))
}

impl TryFrom<ListRow> for (CustomerId, Wishlist) {
    type Error = diesel::result::Error;

    fn try_from(row: ListRow) -> Result<Self, Self::Error> {
        let share = match (row.share_nonce, row.share_hash) {
            (Some(nonce), Some(hash)) => Some(Share { nonce: secret(nonce)?, hash: secret(hash)? }),
            _ => None,
        };
        let list = Wishlist {
            id: WishlistId(row.id),
            name: Label::from_stored(row.name),
            share,
            item_count: u32::try_from(row.item_count)
                .map_err(|_| impossible("a list has no fewer than no items"))?,
            created_at: row.created_at,
            version: row.version,
        };
        Ok((CustomerId(row.customer_id), list))
    }
}

/// In the order of the columns, for the statements that are written by hand.
#[derive(Queryable, Selectable)]
#[diesel(table_name = wishlist_items, check_for_backend(diesel::pg::Pg))]
struct ItemRow {
    id: Uuid,
    customer_id: Uuid,
    wishlist_id: Uuid,
    sku: String,
    quantity: i32,
    note: Option<String>,
    price_amount: Option<i64>,
    price_currency: Option<String>,
    added_at: DateTime<Utc>,
    version: i64,
}

impl TryFrom<ItemRow> for (CustomerId, WishlistItem) {
    type Error = diesel::result::Error;

    fn try_from(row: ItemRow) -> Result<Self, Self::Error> {
        let price = row.price_amount.zip(row.price_currency);
        let item = WishlistItem {
            id: WishlistItemId(row.id),
            wishlist_id: WishlistId(row.wishlist_id),
            sku: Sku::from_stored(row.sku),
            quantity: Quantity::new(row.quantity.into())
                .map_err(|_| impossible("unknown value in wishlist_items.quantity"))?,
            note: row.note.map(Note::from_stored),
            price_seen: price.map(|(amount, currency)| {
                Money::from_stored(amount, Currency::from_stored(currency))
            }),
            added_at: row.added_at,
            version: row.version,
        };
        Ok((CustomerId(row.customer_id), item))
    }
}

fn list_of(row: ListRow) -> QueryResult<Wishlist> {
    <(CustomerId, Wishlist)>::try_from(row).map(|(_, list)| list)
}

fn item_of(row: ItemRow) -> QueryResult<WishlistItem> {
    <(CustomerId, WishlistItem)>::try_from(row).map(|(_, item)| item)
}

// --- the write path ---------------------------------------------------------------------------

/// The heads of all lists of the customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Wishlist)>> {
    let rows: Vec<ListRow> = wishlists::table
        .filter(wishlists::customer_id.eq_any(ids))
        .select(ListRow::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The items that commands look at, each of a customer whose row the caller has locked. One may
/// come twice.
///
/// # Errors
/// Those of the queries.
pub async fn items_sought(
    conn: &Connection,
    sought: &[(CustomerId, ItemSought)],
) -> QueryResult<Vec<(CustomerId, WishlistItem)>> {
    let (mut products, mut places) = (FindItemsOfProducts::default(), FindItemsAt::default());
    for (customer, sought) in sought {
        match sought {
            ItemSought::Product { list, sku } => {
                products.customer_id.push(customer.0);
                products.wishlist_id.push(list.0);
                products.sku.push(sku.as_str().to_owned());
            }
            ItemSought::At(place) => places.push(*customer, *place, None),
            ItemSought::Both { place, list } => places.push(*customer, *place, Some(*list)),
        }
    }
    let products = async {
        let mut conn = conn;
        match products.is_empty() {
            true => Ok(Vec::new()),
            false => products.load::<ItemRow>(&mut conn).await,
        }
    };
    let places = async {
        let mut conn = conn;
        match places.is_empty() {
            true => Ok(Vec::new()),
            false => places.load::<ItemRow>(&mut conn).await,
        }
    };
    let (products, places) = try_join!(products, places)?;
    products.into_iter().chain(places).map(TryInto::try_into).collect()
}

/// All items of all lists of the customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn items_of_customers(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, WishlistItem)>> {
    let rows: Vec<ItemRow> = wishlist_items::table
        .filter(wishlist_items::customer_id.eq_any(ids))
        .select(ItemRow::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

impl FindItemsAt {
    fn push(&mut self, customer: CustomerId, (list, id): ItemPlace, other: Option<WishlistId>) {
        self.customer_id.push(customer.0);
        self.wishlist_id.push(list.0);
        self.id.push(id.0);
        self.other_id.push(other.map(|list| list.0));
    }
}

impl SaveWishlists {
    pub fn push(&mut self, customer: CustomerId, list: &Wishlist) {
        self.id.push(list.id.0);
        self.customer_id.push(customer.0);
        self.name.push(list.name.as_str().to_owned());
        self.share_nonce.push(list.share.as_ref().map(|share| share.nonce.to_vec()));
        self.share_hash.push(list.share.as_ref().map(|share| share.hash.to_vec()));
        // The limit of a list lies far below.
        self.item_count.push(i32::try_from(list.item_count).unwrap_or(i32::MAX));
        self.created_at.push(list.created_at);
        self.version.push(list.version);
    }
}

impl DeleteWishlists {
    pub fn push(&mut self, customer: CustomerId, id: WishlistId) {
        self.customer_id.push(customer.0);
        self.id.push(id.0);
    }
}

impl SaveWishlistItems {
    pub fn push(&mut self, customer: CustomerId, item: &WishlistItem) {
        let price = item.price_seen.as_ref();
        self.id.push(item.id.0);
        self.customer_id.push(customer.0);
        self.wishlist_id.push(item.wishlist_id.0);
        self.sku.push(item.sku.as_str().to_owned());
        self.quantity.push(item.quantity.get().into());
        self.note.push(item.note.as_ref().map(|note| note.as_str().to_owned()));
        self.price_amount.push(price.map(Money::amount));
        self.price_currency.push(price.map(|price| price.currency().as_str().to_owned()));
        self.added_at.push(item.added_at);
        self.version.push(item.version);
    }
}

impl DeleteWishlistItems {
    pub fn push(&mut self, customer: CustomerId, (list, id): ItemPlace) {
        self.customer_id.push(customer.0);
        self.wishlist_id.push(list.0);
        self.id.push(id.0);
    }
}

// --- reads ------------------------------------------------------------------------------------

/// One list of a customer.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    customer: CustomerId,
    id: WishlistId,
) -> QueryResult<Option<Wishlist>> {
    let row: Option<ListRow> = wishlists::table
        .find((customer.0, id.0))
        .select(ListRow::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(list_of).transpose()
}

/// A page of a customer's lists in the order of their ids, which is that of their making.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    customer: CustomerId,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Wishlist>> {
    let rows: Vec<ListRow> = wishlists::table
        .filter(wishlists::customer_id.eq(customer.0))
        .filter(wishlists::id.gt(after.unwrap_or(Uuid::nil())))
        .order(wishlists::id)
        .limit(limit)
        .select(ListRow::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(list_of).collect()
}

/// One item on a list of a customer.
///
/// # Errors
/// Those of the query.
pub async fn find_item(
    mut conn: &Connection,
    customer: CustomerId,
    (list, id): ItemPlace,
) -> QueryResult<Option<WishlistItem>> {
    let row: Option<ItemRow> = wishlist_items::table
        .find((customer.0, list.0, id.0))
        .select(ItemRow::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(item_of).transpose()
}

/// A page of what stands on a list, in the order of the items' ids, which is that in which they were
/// first wished for. `None`: the customer has no such list.
///
/// # Errors
/// Those of the queries.
pub async fn items(
    conn: &Connection,
    customer: CustomerId,
    list: WishlistId,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Option<Vec<WishlistItem>>> {
    let (list, items) =
        try_join!(find(conn, customer, list), items_on(conn, customer, list, after, limit))?;
    Ok(list.map(|_| items))
}

async fn items_on(
    mut conn: &Connection,
    customer: CustomerId,
    list: WishlistId,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<WishlistItem>> {
    let rows: Vec<ItemRow> = wishlist_items::table
        .filter(wishlist_items::customer_id.eq(customer.0))
        .filter(wishlist_items::wishlist_id.eq(list.0))
        .filter(wishlist_items::id.gt(after.unwrap_or(Uuid::nil())))
        .order(wishlist_items::id)
        .limit(limit)
        .select(ItemRow::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(item_of).collect()
}

/// The list that is shared by a link, with a page of what stands on it: as long as its owner may
/// sign in.
///
/// # Errors
/// Those of the queries.
pub async fn shared(
    mut conn: &Connection,
    hash: &SecretHash,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Option<(Wishlist, Vec<WishlistItem>)>> {
    let row: Option<ListRow> = wishlists::table
        .inner_join(customers::table.on(customers::id.eq(wishlists::customer_id)))
        .filter(wishlists::share_hash.eq(hash.as_slice()))
        .filter(customers::deleted_at.is_null())
        .filter(customers::status.eq(Status::Active.as_str()))
        .select(ListRow::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    let Some(row) = row else {
        return Ok(None);
    };
    let (customer, list) = row.try_into()?;
    let items = items_on(conn, customer, list.id, after, limit).await?;
    Ok(Some((list, items)))
}
