CREATE TABLE consent_entries (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    number bigint NOT NULL CHECK (number >= 1),
    purpose text NOT NULL CHECK (purpose ~ '^[a-z][a-z0-9_-]{0,31}$'),
    channel text NOT NULL CHECK (channel IN ('all', 'email', 'sms', 'push')),
    granted boolean NOT NULL,
    text_version text CHECK (text_version ~ '^[A-Za-z0-9._-]{1,32}$'),
    locale text CHECK (char_length(locale) BETWEEN 2 AND 35),
    source text NOT NULL CHECK (source IN ('self_service', 'staff', 'registration', 'import', 'merge')),
    reference text CHECK (reference ~ '^[A-Za-z0-9._:/-]{1,100}$'),
    actor_kind text NOT NULL CHECK (actor_kind IN ('anonymous', 'customer', 'staff', 'operator', 'service')),
    actor_id text,
    request_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, number),
    CONSTRAINT consent_entries_grants_name_their_text CHECK (granted = (text_version IS NOT NULL))
);
CREATE INDEX consent_entries_purpose ON consent_entries (customer_id, purpose, number);
COMMENT ON TABLE consent_entries IS 'The ledger of consents: each grant and each withdrawal, never changed; a trigger refuses UPDATE, DELETE and TRUNCATE, but for the erasure of one customer (see consent_entries_stay)';
COMMENT ON COLUMN consent_entries.customer_id IS 'Whose';
COMMENT ON COLUMN consent_entries.number IS 'From 1, per customer, without a gap';
COMMENT ON COLUMN consent_entries.purpose IS 'What for, by its name in the configuration';
COMMENT ON COLUMN consent_entries.channel IS 'By which way; all: the purpose knows no channels';
COMMENT ON COLUMN consent_entries.granted IS 'true: granted; false: withdrawn, or refused before it was ever granted';
COMMENT ON COLUMN consent_entries.text_version IS 'Which wording was agreed to; of grants only';
COMMENT ON COLUMN consent_entries.locale IS 'In which language it was read; of grants only';
COMMENT ON COLUMN consent_entries.source IS 'By which door: self_service, staff, registration, import or merge';
COMMENT ON COLUMN consent_entries.reference IS 'Where the proof is kept, such as the number of a form';
COMMENT ON COLUMN consent_entries.actor_kind IS 'Who said so: anonymous (the customer, on becoming one), customer, staff, operator or service';
COMMENT ON COLUMN consent_entries.actor_id IS 'The customer''s or staff key''s id';
COMMENT ON COLUMN consent_entries.request_id IS 'The request that asked for it, which is its proof where there is no reference';
COMMENT ON COLUMN consent_entries.occurred_at IS 'When; never before that of the entry before it';

-- Append-only by construction: the service has no statement that changes an entry, and if ever it
-- had, it would fail here. Erasure says whom it erases, for its transaction only:
-- SELECT set_config('customer_service.erasing', '<customer id>', true).
CREATE FUNCTION consent_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('customer_service.erasing', true) = OLD.customer_id::text THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the ledger of consents is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER consent_entries_stay BEFORE UPDATE OR DELETE ON consent_entries
    FOR EACH ROW EXECUTE FUNCTION consent_entries_stay();
CREATE TRIGGER consent_entries_stay_whole BEFORE TRUNCATE ON consent_entries
    FOR EACH STATEMENT EXECUTE FUNCTION consent_entries_stay();

CREATE TABLE consents (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    purpose text NOT NULL CHECK (purpose ~ '^[a-z][a-z0-9_-]{0,31}$'),
    channel text NOT NULL CHECK (channel IN ('all', 'email', 'sms', 'push')),
    granted boolean NOT NULL,
    text_version text CHECK (text_version ~ '^[A-Za-z0-9._-]{1,32}$'),
    locale text CHECK (char_length(locale) BETWEEN 2 AND 35),
    source text NOT NULL CHECK (source IN ('self_service', 'staff', 'registration', 'import', 'merge')),
    number bigint NOT NULL CHECK (number >= 1),
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, purpose, channel),
    CONSTRAINT consents_grants_name_their_text CHECK (granted = (text_version IS NOT NULL))
) WITH (fillfactor = 85);
COMMENT ON TABLE consents IS 'What holds: the newest entry of each purpose and channel, written in the entry''s transaction, so that a decision, a mail or a segment reads a few rows however long the ledger is';
COMMENT ON COLUMN consents.customer_id IS 'Whose';
COMMENT ON COLUMN consents.purpose IS 'What for';
COMMENT ON COLUMN consents.channel IS 'By which way';
COMMENT ON COLUMN consents.granted IS 'Whether it is granted';
COMMENT ON COLUMN consents.text_version IS 'Which wording was agreed to; of grants only';
COMMENT ON COLUMN consents.locale IS 'In which language it was read; of grants only';
COMMENT ON COLUMN consents.source IS 'By which door the entry came in';
COMMENT ON COLUMN consents.number IS 'The entry''s number in the ledger';
COMMENT ON COLUMN consents.decided_at IS 'The entry''s instant';

-- Who accepted marketing before there was a ledger keeps it: by mail, by a wording that nobody
-- wrote down. When they said so is not known, so the entry is of today.
INSERT INTO consent_entries (customer_id, number, purpose, channel, granted, text_version, source, actor_kind,
    request_id, occurred_at)
SELECT id, 1, 'marketing', 'email', true, 'unrecorded', 'import', 'service', 'migration', now()
FROM customers WHERE accepts_marketing AND deleted_at IS NULL;
INSERT INTO consents (customer_id, purpose, channel, granted, text_version, source, number, decided_at)
SELECT customer_id, purpose, channel, granted, text_version, source, number, occurred_at FROM consent_entries;
COMMENT ON COLUMN customers.accepts_marketing IS 'Whether advertising may be sent: what the consents to marketing come to, never set for itself';

ALTER TABLE mails ADD COLUMN step text CHECK (char_length(step) BETWEEN 1 AND 32);
CREATE UNIQUE INDEX mails_step ON mails (customer_id, step) WHERE step IS NOT NULL;
COMMENT ON COLUMN mails.step IS 'Which mail of the welcome series it is; each customer gets each once';
COMMENT ON COLUMN mails.created_at IS 'When it was decided on; of the welcome series: when it is to be sent, which is also its date';
