-- An export tells both, so that its reader knows which item stands on which list.
COMMENT ON COLUMN wishlists.id IS 'UUIDv7; each item that stands on it names it';
COMMENT ON COLUMN wishlist_items.wishlist_id IS 'On which list it stands, by its id';
