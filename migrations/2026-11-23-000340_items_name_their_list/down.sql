COMMENT ON COLUMN wishlists.id IS 'UUIDv7';
COMMENT ON COLUMN wishlist_items.wishlist_id IS 'On which list it stands';
