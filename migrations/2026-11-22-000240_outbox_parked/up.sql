CREATE TABLE outbox_parked (
    id uuid PRIMARY KEY,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    seq bigint NOT NULL,
    customer_id uuid NOT NULL,
    customer_sequence bigint NOT NULL CHECK (customer_sequence >= 1),
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    traceparent text,
    data jsonb NOT NULL CHECK (octet_length(data::text) <= 262144),
    state text NOT NULL CHECK (state IN ('trying', 'parked', 'behind', 'released', 'published', 'discarded')),
    reason text NOT NULL CHECK (reason IN ('refused', 'not_encodable', 'behind')),
    detail text,
    tries integer NOT NULL CHECK (tries >= 0),
    parked_at timestamptz NOT NULL,
    replay_id uuid,
    discard_reason text CHECK (char_length(discard_reason) <= 500),
    settled_at timestamptz,
    CONSTRAINT outbox_parked_settled CHECK (settled_at IS NULL OR state IN ('published', 'discarded')),
    CONSTRAINT outbox_parked_discarded CHECK ((state = 'discarded') = (discard_reason IS NOT NULL))
);
-- What an owner of shards must know when it begins: which rows beyond its position are here, and
-- which customers have something waiting.
CREATE UNIQUE INDEX outbox_parked_place ON outbox_parked (shard, seq);
CREATE INDEX outbox_parked_waiting ON outbox_parked (shard, customer_id, customer_sequence) WHERE settled_at IS NULL;
-- What staff has decided and the owner has not carried out.
CREATE INDEX outbox_parked_decided ON outbox_parked (shard, customer_id) WHERE settled_at IS NULL AND state IN ('released', 'discarded');
CREATE INDEX outbox_parked_customer ON outbox_parked (customer_id, customer_sequence);
CREATE INDEX outbox_parked_state ON outbox_parked (state, id);
CREATE INDEX outbox_parked_replay ON outbox_parked (replay_id) WHERE replay_id IS NOT NULL;
CREATE INDEX outbox_parked_age ON outbox_parked (settled_at) WHERE settled_at IS NOT NULL;
COMMENT ON TABLE outbox_parked IS 'Messages that could not be published by their own fault, and those of the same customer that wait behind them';
COMMENT ON COLUMN outbox_parked.id IS 'The message id';
COMMENT ON COLUMN outbox_parked.shard IS 'The customer''s logical shard';
COMMENT ON COLUMN outbox_parked.seq IS 'Its place in the outbox';
COMMENT ON COLUMN outbox_parked.customer_id IS 'Whom it is about';
COMMENT ON COLUMN outbox_parked.customer_sequence IS 'Gap-free per customer, from 1';
COMMENT ON COLUMN outbox_parked.kind IS 'Message type of the contract';
COMMENT ON COLUMN outbox_parked.occurred_at IS 'When it was decided';
COMMENT ON COLUMN outbox_parked.traceparent IS 'W3C trace context of the request';
COMMENT ON COLUMN outbox_parked.data IS 'The message body; no personal data in the clear';
COMMENT ON COLUMN outbox_parked.state IS 'trying: it failed and is tried again, its row in the outbox is not passed; parked: given up until staff decides; behind: waits for one before it; released: to be published; published, discarded: over';
COMMENT ON COLUMN outbox_parked.reason IS 'refused: by the broker; not_encodable: AMQP cannot carry it; behind: of itself nothing is wrong with it';
COMMENT ON COLUMN outbox_parked.detail IS 'The broker''s words; without personal data';
COMMENT ON COLUMN outbox_parked.tries IS 'How often it failed by its own fault, since it was released last';
COMMENT ON COLUMN outbox_parked.parked_at IS 'When it failed last, or came to wait';
COMMENT ON COLUMN outbox_parked.replay_id IS 'By which replay it was released last';
COMMENT ON COLUMN outbox_parked.discard_reason IS 'Why staff discarded it';
COMMENT ON COLUMN outbox_parked.settled_at IS 'When the relay was done with it; NULL: later messages of the customer may wait for it';
