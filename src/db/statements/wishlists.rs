//! The bulk statements of the tables `wishlists` and `wishlist_items`.

use super::*;

bulk! {
    SaveWishlists [
        "INSERT INTO wishlists (id, customer_id, name, share_nonce, share_hash, item_count, created_at, version) \
         SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, id) DO UPDATE SET name = excluded.name, share_nonce = excluded.share_nonce, \
         share_hash = excluded.share_hash, item_count = excluded.item_count, version = excluded.version"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        name: Text = String,
        share_nonce: Nullable<Bytea> = Option<Vec<u8>>,
        share_hash: Nullable<Bytea> = Option<Vec<u8>>,
        item_count: Integer = i32,
        created_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    /// What stands on them goes with them.
    DeleteWishlists [
        "DELETE FROM wishlists AS t USING unnest(",
        ") AS u (customer_id, id) WHERE t.customer_id = u.customer_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
    }

    SaveWishlistItems [
        "INSERT INTO wishlist_items (id, customer_id, wishlist_id, sku, quantity, note, price_amount, price_currency, \
         added_at, version) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, wishlist_id, id) DO UPDATE SET quantity = excluded.quantity, \
         note = excluded.note, price_amount = excluded.price_amount, price_currency = excluded.price_currency, \
         version = excluded.version"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        wishlist_id: SqlUuid = Uuid,
        sku: Text = String,
        quantity: Integer = i32,
        note: Nullable<Text> = Option<String>,
        price_amount: Nullable<BigInt> = Option<i64>,
        price_currency: Nullable<Text> = Option<String>,
        added_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    DeleteWishlistItems [
        "DELETE FROM wishlist_items AS t USING unnest(",
        ") AS u (customer_id, wishlist_id, id) \
         WHERE t.customer_id = u.customer_id AND t.wishlist_id = u.wishlist_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        wishlist_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
    }

    /// The items of products on lists.
    FindItemsOfProducts [
        "SELECT t.id, t.customer_id, t.wishlist_id, t.sku, t.quantity, t.note, t.price_amount, t.price_currency, \
         t.added_at, t.version FROM unnest(",
        ") AS u (customer_id, wishlist_id, sku) JOIN wishlist_items AS t \
         ON t.customer_id = u.customer_id AND t.wishlist_id = u.wishlist_id AND t.sku = u.sku"
    ] {
        customer_id: SqlUuid = Uuid,
        wishlist_id: SqlUuid = Uuid,
        sku: Text = String,
    }

    /// The items at places, and those of the same products on other lists, where one is named.
    FindItemsAt [
        "SELECT t.id, t.customer_id, t.wishlist_id, t.sku, t.quantity, t.note, t.price_amount, t.price_currency, \
         t.added_at, t.version FROM unnest(",
        ") AS u (customer_id, wishlist_id, id, other_id) JOIN wishlist_items AS named \
         ON named.customer_id = u.customer_id AND named.wishlist_id = u.wishlist_id AND named.id = u.id \
         CROSS JOIN LATERAL (VALUES (u.wishlist_id), (u.other_id)) AS list (id) JOIN wishlist_items AS t \
         ON t.customer_id = named.customer_id AND t.wishlist_id = list.id AND t.sku = named.sku"
    ] {
        customer_id: SqlUuid = Uuid,
        wishlist_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
        other_id: Nullable<SqlUuid> = Option<Uuid>,
    }
}

/// A row of `wishlist_items`, in the order of its columns.
pub type ItemColumns = (
    SqlUuid,
    SqlUuid,
    SqlUuid,
    Text,
    Integer,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<Text>,
    Timestamptz,
    BigInt,
);

impl diesel::query_builder::Query for FindItemsOfProducts {
    type SqlType = ItemColumns;
}

impl diesel::query_builder::Query for FindItemsAt {
    type SqlType = ItemColumns;
}
