CREATE TABLE devices (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, id)
);
-- Not unique: a table distributed by customer can only be unique together with the customer.
CREATE INDEX devices_id ON devices (id);
COMMENT ON TABLE devices IS 'Devices that signed in before and count their failures apart (rule A4)';
COMMENT ON COLUMN devices.id IS 'UUIDv7, part of the device token';
COMMENT ON COLUMN devices.customer_id IS 'Whose';
COMMENT ON COLUMN devices.secret_hash IS 'SHA-256 of the device token';
COMMENT ON COLUMN devices.created_at IS 'First sign-in from it';
COMMENT ON COLUMN devices.last_used_at IS 'Latest sign-in from it';

CREATE TABLE sessions (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    method text NOT NULL CHECK (method IN ('password', 'email_verification')),
    device_id uuid,
    device_name text CHECK (char_length(device_name) <= 80),
    user_agent text CHECK (char_length(user_agent) <= 300),
    client_address inet,
    refresh_hash bytea NOT NULL CHECK (octet_length(refresh_hash) = 32),
    generation integer NOT NULL CHECK (generation >= 0),
    previous_hash bytea CHECK (octet_length(previous_hash) = 32),
    rotated_at timestamptz,
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (customer_id, id),
    CONSTRAINT sessions_rotation CHECK ((previous_hash IS NULL) = (rotated_at IS NULL)),
    CONSTRAINT sessions_expiry CHECK (expires_at <= absolute_expires_at)
) WITH (fillfactor = 85);
CREATE INDEX sessions_id ON sessions (id);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_absolute_expiry ON sessions (absolute_expires_at);
COMMENT ON TABLE sessions IS 'Signed-in devices and their rotating refresh tokens (rule A7)';
COMMENT ON COLUMN sessions.id IS 'UUIDv7; the sid of its access tokens';
COMMENT ON COLUMN sessions.customer_id IS 'Whose';
COMMENT ON COLUMN sessions.method IS 'How its owner proved who it is';
COMMENT ON COLUMN sessions.device_id IS 'The known device it was opened from';
COMMENT ON COLUMN sessions.device_name IS 'As the client named it';
COMMENT ON COLUMN sessions.user_agent IS 'As the client named itself';
COMMENT ON COLUMN sessions.client_address IS 'Where the sign-in came from';
COMMENT ON COLUMN sessions.refresh_hash IS 'SHA-256 of the refresh token that is good now';
COMMENT ON COLUMN sessions.generation IS 'Number of that token; the first is 0';
COMMENT ON COLUMN sessions.previous_hash IS 'SHA-256 of the token before it, good for a short grace';
COMMENT ON COLUMN sessions.rotated_at IS 'When it took its place';
COMMENT ON COLUMN sessions.created_at IS 'Sign-in';
COMMENT ON COLUMN sessions.last_seen_at IS 'Latest refresh';
COMMENT ON COLUMN sessions.expires_at IS 'End unless refreshed';
COMMENT ON COLUMN sessions.absolute_expires_at IS 'End in any case';
COMMENT ON COLUMN sessions.revoked_at IS 'When it was ended before its time';

CREATE TABLE one_time_tokens (
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    purpose text NOT NULL CHECK (purpose IN ('verify_email')),
    password_hash text CHECK (octet_length(password_hash) BETWEEN 20 AND 500),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    voided_at timestamptz,
    PRIMARY KEY (customer_id, token_hash),
    CONSTRAINT one_time_tokens_one_end CHECK (used_at IS NULL OR voided_at IS NULL)
);
CREATE INDEX one_time_tokens_hash ON one_time_tokens (token_hash);
CREATE INDEX one_time_tokens_expiry ON one_time_tokens (expires_at);
-- A newer token voids the older ones of its purpose (rule A8), whoever forgets to.
ALTER TABLE one_time_tokens ADD CONSTRAINT one_time_tokens_newest_only
    EXCLUDE USING btree (customer_id WITH =, purpose WITH =) WHERE (used_at IS NULL AND voided_at IS NULL) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON TABLE one_time_tokens IS 'Single-use tokens from mails, found by the hash of the token (rule A8)';
COMMENT ON COLUMN one_time_tokens.token_hash IS 'SHA-256 of the token';
COMMENT ON COLUMN one_time_tokens.customer_id IS 'Whose';
COMMENT ON COLUMN one_time_tokens.purpose IS 'What it may be used for';
COMMENT ON COLUMN one_time_tokens.password_hash IS 'The password of the registration that sent it; confirming makes it the account''s';
COMMENT ON COLUMN one_time_tokens.created_at IS 'Issue';
COMMENT ON COLUMN one_time_tokens.expires_at IS 'End of its life';
COMMENT ON COLUMN one_time_tokens.used_at IS 'When it was used';
COMMENT ON COLUMN one_time_tokens.voided_at IS 'When a newer one took its place';

CREATE TABLE sign_in_throttles (
    bucket bytea PRIMARY KEY CHECK (octet_length(bucket) = 32),
    state jsonb NOT NULL,
    locked_until timestamptz,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX sign_in_throttles_age ON sign_in_throttles (updated_at);
COMMENT ON TABLE sign_in_throttles IS 'Failed and running sign-in attempts per bucket (rule A3); durable, so that no restart forgets a failure';
COMMENT ON COLUMN sign_in_throttles.bucket IS 'Keyed hash of an identifier or a device';
COMMENT ON COLUMN sign_in_throttles.state IS 'Failures, running claims, lock and number of locks, as the domain keeps them';
COMMENT ON COLUMN sign_in_throttles.locked_until IS 'End of the lock, for people and metrics';
COMMENT ON COLUMN sign_in_throttles.updated_at IS 'Latest attempt, for the janitor';
