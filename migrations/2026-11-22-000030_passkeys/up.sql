CREATE TABLE passkeys (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    credential_id bytea NOT NULL CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    user_handle uuid NOT NULL,
    credential jsonb NOT NULL CHECK (jsonb_typeof(credential) = 'object'),
    counter bigint NOT NULL CHECK (counter BETWEEN 0 AND 4294967295),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    second_factor boolean NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up boolean NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (customer_id, id),
    CONSTRAINT passkeys_credential_id UNIQUE (credential_id),
    CONSTRAINT passkeys_backup CHECK (backup_eligible OR NOT backed_up)
) WITH (fillfactor = 85);
COMMENT ON TABLE passkeys IS 'Passkeys (WebAuthn credentials) of customers; nothing here is secret, for the private key never leaves its authenticator';
COMMENT ON COLUMN passkeys.id IS 'UUIDv7';
COMMENT ON COLUMN passkeys.customer_id IS 'Whose';
COMMENT ON COLUMN passkeys.credential_id IS 'The authenticator''s name for it';
COMMENT ON COLUMN passkeys.user_handle IS 'The name under which the authenticator keeps its owner';
COMMENT ON COLUMN passkeys.credential IS 'Public key and what else verifying needs; its own counter is always 0';
COMMENT ON COLUMN passkeys.counter IS 'Signatures that the authenticator counted at the latest use; 0 where it does not count';
COMMENT ON COLUMN passkeys.name IS 'As its owner calls it';
COMMENT ON COLUMN passkeys.second_factor IS 'Asked for after a password';
COMMENT ON COLUMN passkeys.backup_eligible IS 'May leave its device: synchronised, or backed up';
COMMENT ON COLUMN passkeys.backed_up IS 'Had left its device at the latest use';
COMMENT ON COLUMN passkeys.created_at IS 'Registration';
COMMENT ON COLUMN passkeys.last_used_at IS 'Latest sign-in with it';
COMMENT ON COLUMN passkeys.version IS 'Rises with each change by its owner';
