ALTER TABLE customer_groups DROP COLUMN version, DROP COLUMN updated_at;
