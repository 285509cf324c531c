CREATE TABLE parked_order_facts (
    id uuid PRIMARY KEY,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    reason text NOT NULL CHECK (reason IN ('unknown_customer', 'poison')),
    customer_id uuid,
    order_id text,
    order_version bigint,
    routing_key text NOT NULL,
    message_id text,
    body bytea NOT NULL,
    tries integer NOT NULL CHECK (tries >= 0),
    unended integer NOT NULL DEFAULT 0 CHECK (unended >= 0),
    first_seen_at timestamptz NOT NULL,
    next_try_at timestamptz,
    CONSTRAINT parked_order_facts_wait CHECK (reason = 'poison' OR next_try_at IS NOT NULL)
);
-- The same message twice is one row.
CREATE UNIQUE INDEX parked_order_facts_digest ON parked_order_facts (digest);
CREATE INDEX parked_order_facts_due ON parked_order_facts (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX parked_order_facts_age ON parked_order_facts (reason, first_seen_at);
CREATE INDEX parked_order_facts_customer ON parked_order_facts (customer_id);
COMMENT ON TABLE parked_order_facts IS 'Messages of the order service that could not be recorded yet, and those that were given up because trying them came to no end';
COMMENT ON COLUMN parked_order_facts.id IS 'UUIDv7';
COMMENT ON COLUMN parked_order_facts.digest IS 'SHA-256 of routing key and body';
COMMENT ON COLUMN parked_order_facts.reason IS 'unknown_customer: it is tried again; poison: it is not, and lies with the dead letters too';
COMMENT ON COLUMN parked_order_facts.customer_id IS 'Whom it names, who may not exist; NULL: it was not read';
COMMENT ON COLUMN parked_order_facts.order_id IS 'Which order; NULL: it was not read';
COMMENT ON COLUMN parked_order_facts.order_version IS 'Which version of it; NULL: it was not read';
COMMENT ON COLUMN parked_order_facts.routing_key IS 'What it was sent as; empty: as nothing that is known';
COMMENT ON COLUMN parked_order_facts.message_id IS 'What its sender calls it';
COMMENT ON COLUMN parked_order_facts.body IS 'The message';
COMMENT ON COLUMN parked_order_facts.tries IS 'How often it was tried and its customer was not known';
COMMENT ON COLUMN parked_order_facts.unended IS 'Tries in a row that were begun and did not come to an end';
COMMENT ON COLUMN parked_order_facts.first_seen_at IS 'When it was read for the first time';
COMMENT ON COLUMN parked_order_facts.next_try_at IS 'When it is tried next; later than that while it is being tried; NULL: never';

CREATE TABLE order_fact_attempts (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    tries integer NOT NULL CHECK (tries >= 1),
    first_tried_at timestamptz NOT NULL,
    tried_at timestamptz NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX order_fact_attempts_age ON order_fact_attempts (tried_at);
COMMENT ON TABLE order_fact_attempts IS 'Messages of the order service that somebody began to record and perhaps died of; a row goes with the end of a try';
COMMENT ON COLUMN order_fact_attempts.digest IS 'SHA-256 of routing key and body';
COMMENT ON COLUMN order_fact_attempts.tries IS 'How often it was begun since it last came to an end';
COMMENT ON COLUMN order_fact_attempts.first_tried_at IS 'When it was begun for the first time';
COMMENT ON COLUMN order_fact_attempts.tried_at IS 'When it was begun last';
