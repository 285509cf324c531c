CREATE TABLE wishlists (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    share_nonce bytea CHECK (octet_length(share_nonce) = 32),
    share_hash bytea CHECK (octet_length(share_hash) = 32),
    item_count integer NOT NULL CHECK (item_count >= 0),
    created_at timestamptz NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (customer_id, id),
    CONSTRAINT wishlists_share CHECK ((share_nonce IS NULL) = (share_hash IS NULL))
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX wishlists_share_hash ON wishlists (share_hash) WHERE share_hash IS NOT NULL;
COMMENT ON TABLE wishlists IS 'Lists of what customers would like to have';
COMMENT ON COLUMN wishlists.id IS 'UUIDv7';
COMMENT ON COLUMN wishlists.customer_id IS 'Whose';
COMMENT ON COLUMN wishlists.name IS 'What its owner calls it';
COMMENT ON COLUMN wishlists.share_nonce IS 'What the token of its public link is derived from, with a key that is not in the database; NULL: it is not shared';
COMMENT ON COLUMN wishlists.share_hash IS 'SHA-256 of that token, which the link is found by';
COMMENT ON COLUMN wishlists.item_count IS 'How many items stand on it';
COMMENT ON COLUMN wishlists.created_at IS 'When it was made';
COMMENT ON COLUMN wishlists.version IS 'Rises by one with each change, items that come and go included; the ETag';

-- One index finds an item and turns the pages of a list, the other keeps a product on a list once.
-- An item that moves to another list is another row.
CREATE TABLE wishlist_items (
    id uuid NOT NULL,
    customer_id uuid NOT NULL,
    wishlist_id uuid NOT NULL,
    sku text NOT NULL CHECK (sku ~ '^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}$'),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 9999),
    note text CHECK (char_length(note) BETWEEN 1 AND 1000),
    price_amount bigint CHECK (price_amount BETWEEN 0 AND 999999999999999),
    price_currency text CHECK (price_currency ~ '^[A-Z]{3}$'),
    added_at timestamptz NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (customer_id, wishlist_id, id),
    CONSTRAINT wishlist_items_sku UNIQUE (customer_id, wishlist_id, sku),
    CONSTRAINT wishlist_items_list FOREIGN KEY (customer_id, wishlist_id)
        REFERENCES wishlists (customer_id, id) ON DELETE CASCADE,
    CONSTRAINT wishlist_items_price CHECK ((price_amount IS NULL) = (price_currency IS NULL))
) WITH (fillfactor = 90);
COMMENT ON TABLE wishlist_items IS 'What stands on wishlists';
COMMENT ON COLUMN wishlist_items.id IS 'UUIDv7';
COMMENT ON COLUMN wishlist_items.customer_id IS 'Whose list it stands on';
COMMENT ON COLUMN wishlist_items.wishlist_id IS 'On which list it stands';
COMMENT ON COLUMN wishlist_items.sku IS 'The shop''s name for the product; on a list once';
COMMENT ON COLUMN wishlist_items.quantity IS 'How many are wished for';
COMMENT ON COLUMN wishlist_items.note IS 'What its owner wrote to it';
COMMENT ON COLUMN wishlist_items.price_amount IS 'The price that its owner saw, in minor units of its currency';
COMMENT ON COLUMN wishlist_items.price_currency IS 'ISO 4217';
COMMENT ON COLUMN wishlist_items.added_at IS 'When it was first wished for';
COMMENT ON COLUMN wishlist_items.version IS 'Rises by one with each change; the ETag';
