DROP TABLE order_statistics;
DROP TABLE order_items;
DROP TABLE order_facts;
