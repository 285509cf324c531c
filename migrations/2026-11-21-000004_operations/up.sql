CREATE TABLE audit_entries (
    id uuid NOT NULL,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    customer_id uuid,
    actor_kind text NOT NULL CHECK (actor_kind IN ('anonymous', 'customer', 'staff')),
    actor_id text,
    action text NOT NULL,
    data jsonb NOT NULL,
    request_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX audit_entries_customer ON audit_entries (customer_id, id);
COMMENT ON TABLE audit_entries IS 'Who did what to whom and when; append-only, without personal values';
COMMENT ON COLUMN audit_entries.id IS 'UUIDv7';
COMMENT ON COLUMN audit_entries.shard IS 'The customer''s logical shard';
COMMENT ON COLUMN audit_entries.customer_id IS 'To whom; empty where no customer is known';
COMMENT ON COLUMN audit_entries.actor_kind IS 'anonymous, customer or staff';
COMMENT ON COLUMN audit_entries.actor_id IS 'The customer''s or staff key''s id';
COMMENT ON COLUMN audit_entries.action IS 'What, e.g. address.created';
COMMENT ON COLUMN audit_entries.data IS 'Ids, names of fields, non-personal values';
COMMENT ON COLUMN audit_entries.request_id IS 'The request that asked for it';
COMMENT ON COLUMN audit_entries.occurred_at IS 'When it was decided';

CREATE TABLE mails (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    kind text NOT NULL CHECK (kind IN ('verify_email', 'already_registered', 'already_registered_pending')),
    locale text NOT NULL,
    nonce bytea CHECK (octet_length(nonce) = 32),
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    last_error text,
    sent_at timestamptz,
    given_up_at timestamptz,
    CONSTRAINT mails_one_end CHECK (sent_at IS NULL OR given_up_at IS NULL)
) WITH (fillfactor = 70);
CREATE INDEX mails_due ON mails (due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX mails_customer ON mails (customer_id);
CREATE INDEX mails_created ON mails (created_at);
COMMENT ON TABLE mails IS 'Mails to send: written in the transaction that decided on them, sent by a worker (rule A11)';
COMMENT ON COLUMN mails.id IS 'UUIDv7; also names the mail to the mail server, so that a repetition is recognised';
COMMENT ON COLUMN mails.customer_id IS 'To whom; the address is read when it is sent';
COMMENT ON COLUMN mails.kind IS 'Which templates';
COMMENT ON COLUMN mails.locale IS 'In which language';
COMMENT ON COLUMN mails.nonce IS 'What the link''s token is derived from, with a key that is not in the database';
COMMENT ON COLUMN mails.created_at IS 'When it was decided on';
COMMENT ON COLUMN mails.due_at IS 'Not before';
COMMENT ON COLUMN mails.tries IS 'Failed tries so far';
COMMENT ON COLUMN mails.last_error IS 'Why the last try failed; without the address';
COMMENT ON COLUMN mails.sent_at IS 'When the mail server took it';
COMMENT ON COLUMN mails.given_up_at IS 'When it was given up';

CREATE TABLE idempotency_keys (
    owner text NOT NULL,
    key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    customer_id uuid,
    outcome jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_customer ON idempotency_keys (customer_id);
COMMENT ON TABLE idempotency_keys IS 'Requests already carried out, written in the transaction of their effect';
COMMENT ON COLUMN idempotency_keys.owner IS 'Whose key: keys of different callers never meet';
COMMENT ON COLUMN idempotency_keys.key IS 'As the caller chose it';
COMMENT ON COLUMN idempotency_keys.request_hash IS 'SHA-256 of method, path and body';
COMMENT ON COLUMN idempotency_keys.customer_id IS 'Whose data the outcome shows, for erasure';
COMMENT ON COLUMN idempotency_keys.outcome IS 'What the caller was told';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When; a key is kept for a day';

CREATE TABLE staff_keys (
    id text PRIMARY KEY CHECK (char_length(id) BETWEEN 8 AND 32),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes text[] NOT NULL CHECK (cardinality(scopes) >= 1),
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
COMMENT ON TABLE staff_keys IS 'API keys of staff and services';
COMMENT ON COLUMN staff_keys.id IS 'Public part of the key; also the actor''s id in the audit trail';
COMMENT ON COLUMN staff_keys.name IS 'What people call it';
COMMENT ON COLUMN staff_keys.secret_hash IS 'SHA-256 of the secret part';
COMMENT ON COLUMN staff_keys.scopes IS 'What it may do';
COMMENT ON COLUMN staff_keys.created_at IS 'When it was made';
COMMENT ON COLUMN staff_keys.revoked_at IS 'When it was withdrawn';

CREATE TABLE signing_keys (
    kid text PRIMARY KEY,
    sealed_private_key bytea NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    created_at timestamptz NOT NULL,
    retired_at timestamptz
);
COMMENT ON TABLE signing_keys IS 'Ed25519 keys that sign access tokens; the newest that is not retired signs';
COMMENT ON COLUMN signing_keys.kid IS 'RFC 7638 thumbprint';
COMMENT ON COLUMN signing_keys.sealed_private_key IS 'AES-256-GCM under a key derived from the configured root key';
COMMENT ON COLUMN signing_keys.public_key IS 'For verification, published as JWKS';
COMMENT ON COLUMN signing_keys.created_at IS 'When it was made';
COMMENT ON COLUMN signing_keys.retired_at IS 'Since when it only verifies';
