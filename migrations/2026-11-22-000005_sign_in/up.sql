ALTER TABLE sessions
    DROP CONSTRAINT sessions_method_check,
    ADD CONSTRAINT sessions_method_check
        CHECK (method IN ('password', 'email_verification', 'passkey', 'social')),
    ADD COLUMN second_factor text CONSTRAINT sessions_second_factor_check
        CHECK (second_factor IN ('totp', 'backup_code', 'passkey'));
COMMENT ON COLUMN sessions.second_factor IS 'What was shown after the first factor, where one was asked for';

ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_purpose_check,
    ADD CONSTRAINT one_time_tokens_purpose_check
        CHECK (purpose IN ('verify_email', 'reset_password', 'change_email', 'undo_email_change')),
    ADD COLUMN email text CHECK (octet_length(email) <= 254),
    ADD CONSTRAINT one_time_tokens_email
        CHECK ((purpose IN ('change_email', 'undo_email_change')) = (email IS NOT NULL));
COMMENT ON COLUMN one_time_tokens.email IS 'The address it is about: the new one to confirm, or the old one to bring back';

CREATE TABLE sign_in_flows (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    kind text NOT NULL CONSTRAINT sign_in_flows_kind_check
        CHECK (kind IN ('second_factor', 'passkey_sign_in', 'passkey_registration', 'social', 'spent')),
    customer_id uuid REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    payload bytea NOT NULL CHECK (octet_length(payload) <= 32768),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    failures integer NOT NULL CHECK (failures >= 0),
    used_at timestamptz,
    CONSTRAINT sign_in_flows_spent CHECK (kind <> 'spent' OR used_at IS NOT NULL)
) WITH (fillfactor = 85);
CREATE INDEX sign_in_flows_customer ON sign_in_flows (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX sign_in_flows_expiry ON sign_in_flows (expires_at);
COMMENT ON TABLE sign_in_flows IS 'Ceremonies that a client begins here and finishes later, once';
COMMENT ON COLUMN sign_in_flows.token_hash IS 'SHA-256 of the token that its holder finishes it with';
COMMENT ON COLUMN sign_in_flows.kind IS 'What it may be finished as';
COMMENT ON COLUMN sign_in_flows.customer_id IS 'Whose, where that is known from the beginning';
COMMENT ON COLUMN sign_in_flows.payload IS 'What the service needs to finish it, sealed';
COMMENT ON COLUMN sign_in_flows.created_at IS 'When it was begun';
COMMENT ON COLUMN sign_in_flows.expires_at IS 'From when on it cannot be finished';
COMMENT ON COLUMN sign_in_flows.failures IS 'Wrong tries to finish it';
COMMENT ON COLUMN sign_in_flows.used_at IS 'When it was finished or given up';

ALTER TABLE customer_identifiers
    DROP CONSTRAINT customer_identifiers_kind_check,
    ADD CONSTRAINT customer_identifiers_kind_check
        CHECK (kind ~ '^(email|phone|social:[a-z0-9_-]{1,32})$'),
    ADD COLUMN held_until timestamptz;
CREATE INDEX customer_identifiers_held ON customer_identifiers (held_until) WHERE held_until IS NOT NULL;
COMMENT ON COLUMN customer_identifiers.kind IS 'email, phone, or social: and the name of an identity provider';
COMMENT ON COLUMN customer_identifiers.value IS 'Canonical e-mail address, E.164 number, or the provider''s name for the person';
COMMENT ON COLUMN customer_identifiers.held_until IS 'Given up, but kept for its owner until then; nobody signs in by it';

ALTER TABLE mails ADD COLUMN address text CHECK (octet_length(address) <= 254);
COMMENT ON COLUMN mails.address IS 'Where to, when not to the customer''s own address; forgotten once the mail is sent or given up';
