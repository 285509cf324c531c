-- Keys of customers, in a schema of their own: its backups can be kept apart from all others, and for
-- a shorter time (pg_dump --schema=customer_keys, --exclude-schema=customer_keys). No reference to
-- customers, so that either can be restored without the other.
CREATE SCHEMA customer_keys;
COMMENT ON SCHEMA customer_keys IS 'What opens what is sealed of customers; to be backed up apart, and briefly';

CREATE TABLE customer_keys.data_keys (
    customer_id uuid PRIMARY KEY,
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) = 61),
    wrapped_by text NOT NULL CHECK (wrapped_by ~ '^[0-9a-f]{16}$'),
    created_at timestamptz NOT NULL,
    wrapped_at timestamptz NOT NULL
);
-- In pages, what a key wraps that is to wrap nothing any more.
CREATE INDEX data_keys_wrapped_by ON customer_keys.data_keys (wrapped_by, customer_id);
COMMENT ON TABLE customer_keys.data_keys IS 'The key of each customer of whom something is sealed';
COMMENT ON COLUMN customer_keys.data_keys.customer_id IS 'Whose';
COMMENT ON COLUMN customer_keys.data_keys.wrapped IS 'AES-256-GCM under a key that is not in the database, bound to the customer';
COMMENT ON COLUMN customer_keys.data_keys.wrapped_by IS 'The name of that key';
COMMENT ON COLUMN customer_keys.data_keys.created_at IS 'When it was made';
COMMENT ON COLUMN customer_keys.data_keys.wrapped_at IS 'When it was last wrapped';
COMMENT ON COLUMN customer_totp.secret IS 'The shared secret, sealed by the customer''s own key';
