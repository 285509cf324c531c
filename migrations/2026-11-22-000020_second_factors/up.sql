CREATE TABLE customer_totp (
    customer_id uuid PRIMARY KEY REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    secret bytea NOT NULL CHECK (octet_length(secret) BETWEEN 29 AND 200),
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    last_step bigint CHECK (last_step >= 0),
    CONSTRAINT customer_totp_confirmed CHECK ((confirmed_at IS NULL) = (last_step IS NULL)),
    CONSTRAINT customer_totp_order CHECK (confirmed_at >= created_at)
) WITH (fillfactor = 85);
CREATE INDEX customer_totp_pending ON customer_totp (created_at) WHERE confirmed_at IS NULL;
COMMENT ON TABLE customer_totp IS 'Authenticators that customers set up as a second factor (rule A9)';
COMMENT ON COLUMN customer_totp.customer_id IS 'Whose';
COMMENT ON COLUMN customer_totp.secret IS 'The shared secret, sealed for this customer';
COMMENT ON COLUMN customer_totp.created_at IS 'When it was handed out';
COMMENT ON COLUMN customer_totp.confirmed_at IS 'First valid code; the factor counts from then on';
COMMENT ON COLUMN customer_totp.last_step IS 'Latest time step whose code was accepted; none up to it is accepted again';

CREATE TABLE backup_codes (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, code_hash)
);
COMMENT ON TABLE backup_codes IS 'Codes that stand in for a lost second factor, each good once; a used one is deleted (rule A9)';
COMMENT ON COLUMN backup_codes.customer_id IS 'Whose';
COMMENT ON COLUMN backup_codes.code_hash IS 'Keyed hash of the code and its owner';
COMMENT ON COLUMN backup_codes.created_at IS 'When its set was issued';

-- The kinds are the program's: a list here would have to change with every new mail.
ALTER TABLE mails
    DROP CONSTRAINT mails_kind_check,
    ADD CONSTRAINT mails_kind_check CHECK (kind ~ '^[a-z][a-z_]{1,39}$');
