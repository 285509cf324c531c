DROP TABLE wishlist_items;
DROP TABLE wishlists;
