DROP TABLE passwords;
DROP TABLE addresses;
DROP TABLE customer_preferences;
DROP TABLE customer_profiles;
DROP TABLE customer_identifiers;
DROP TABLE customers;
DROP TABLE customer_groups;
