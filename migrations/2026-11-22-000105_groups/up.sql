ALTER TABLE customer_groups
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version >= 1);
-- The defaults were for the rows that are there.
ALTER TABLE customer_groups ALTER COLUMN updated_at DROP DEFAULT, ALTER COLUMN version DROP DEFAULT;
COMMENT ON COLUMN customer_groups.updated_at IS 'When it was last renamed';
COMMENT ON COLUMN customer_groups.version IS 'Rises by one with each change; the ETag';
