CREATE TABLE identities (
    customer_id uuid NOT NULL REFERENCES customers (id),
    provider text NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_-]{0,31}$'),
    subject text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    email text CHECK (octet_length(email) <= 254),
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, provider)
);
COMMENT ON TABLE identities IS 'Accounts at identity providers that customers sign in by; whose an account is tells customer_identifiers';
COMMENT ON COLUMN identities.customer_id IS 'Whose';
COMMENT ON COLUMN identities.provider IS 'The provider''s name in the configuration; one account of each';
COMMENT ON COLUMN identities.subject IS 'The provider''s own, unchanging name for the person';
COMMENT ON COLUMN identities.email IS 'The address that the provider told when it was linked';
COMMENT ON COLUMN identities.linked_at IS 'When it was linked';
