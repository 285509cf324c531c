CREATE TABLE outbox_events (
    bucket integer NOT NULL,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    seq bigint NOT NULL,
    id uuid NOT NULL,
    customer_id uuid NOT NULL,
    customer_sequence bigint NOT NULL CHECK (customer_sequence >= 1),
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    traceparent text,
    data jsonb NOT NULL CHECK (octet_length(data::text) <= 262144),
    PRIMARY KEY (bucket, shard, seq)
) PARTITION BY RANGE (bucket);
COMMENT ON TABLE outbox_events IS 'Messages on their way to the broker: insert-only, in commit order within a shard, dropped by partition';
COMMENT ON COLUMN outbox_events.bucket IS 'Hour since 1970, by the database''s clock, never falling within a shard: the partition';
COMMENT ON COLUMN outbox_events.shard IS 'The customer''s logical shard';
COMMENT ON COLUMN outbox_events.seq IS 'Rises with commit order within a shard; gaps mean nothing';
COMMENT ON COLUMN outbox_events.id IS 'The message id; stable over redelivery';
COMMENT ON COLUMN outbox_events.customer_id IS 'Whom it is about';
COMMENT ON COLUMN outbox_events.customer_sequence IS 'Gap-free per customer, from 1';
COMMENT ON COLUMN outbox_events.kind IS 'Message type of the contract, e.g. customer.created';
COMMENT ON COLUMN outbox_events.occurred_at IS 'When it was decided';
COMMENT ON COLUMN outbox_events.traceparent IS 'W3C trace context of the request';
COMMENT ON COLUMN outbox_events.data IS 'The message body; no personal data in the clear';

-- CACHE 1: a session that kept numbers back would break commit order.
CREATE SEQUENCE outbox_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE outbox_seq IS 'Numbers outbox_events.seq; drawn under the shard''s lock only';

-- The last partition catches what no hourly one takes: appending never fails for want of a janitor.
CREATE TABLE outbox_events_default PARTITION OF outbox_events DEFAULT;
COMMENT ON TABLE outbox_events_default IS 'Catches rows of hours whose partition does not exist';

-- The relay looks for rows from one hour on and no earlier. So no row may ever be written into an
-- hour before the newest one in use, also when the server's clock steps back.
CREATE SEQUENCE outbox_hours AS integer MINVALUE 0 START 0;
COMMENT ON SEQUENCE outbox_hours IS 'The newest bucket in use: not a counter, it only never falls';
CREATE FUNCTION outbox_hour() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    present integer := floor(extract(epoch FROM clock_timestamp()) / 3600);
    newest integer := (SELECT last_value FROM outbox_hours);
BEGIN
    IF present <= newest THEN
        RETURN newest;
    END IF;
    -- Not undone by a rollback, which is right: it is a fact about the clock.
    PERFORM setval('outbox_hours', present);
    RETURN present;
END
$$;
COMMENT ON FUNCTION outbox_hour IS 'The bucket to write into now: hours since 1970, never falling';

-- Commit order is made, not detected: the shard's lock is taken before its rows are numbered and
-- is held until the transaction ends. Must be the last statement before COMMIT. The arrays are
-- parallel; rows of one customer are in order.
CREATE FUNCTION outbox_append(
    shards smallint[], ids uuid[], customer_ids uuid[], customer_sequences bigint[], kinds text[],
    occurred_ats timestamptz[], traceparents text[], datas jsonb[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    locked smallint;
    hour integer;
BEGIN
    -- Ascending, so that two transactions never wait for each other.
    FOR locked IN SELECT DISTINCT s FROM unnest(shards) AS s ORDER BY s LOOP
        PERFORM pg_advisory_xact_lock(7261, locked);
    END LOOP;
    -- Read under the locks: within a shard, later rows never lie in an earlier hour.
    hour := outbox_hour();
    INSERT INTO outbox_events
        (bucket, shard, seq, id, customer_id, customer_sequence, kind, occurred_at, traceparent, data)
    SELECT hour, e.shard, nextval('outbox_seq'),
        e.id, e.customer_id, e.customer_sequence, e.kind, e.occurred_at, e.traceparent, e.data
    FROM (
        SELECT * FROM unnest(shards, ids, customer_ids, customer_sequences, kinds, occurred_ats, traceparents, datas)
            WITH ORDINALITY AS u (shard, id, customer_id, customer_sequence, kind, occurred_at, traceparent, data, n)
        ORDER BY n
    ) AS e;
END
$$;
COMMENT ON FUNCTION outbox_append IS 'The only door into outbox_events';

CREATE TABLE outbox_cursors (
    relay_group smallint PRIMARY KEY CHECK (relay_group BETWEEN 0 AND 7),
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    positions bigint[] NOT NULL CHECK (cardinality(positions) = 8),
    bucket integer NOT NULL DEFAULT 0,
    flushed_at timestamptz
) WITH (fillfactor = 20);
COMMENT ON TABLE outbox_cursors IS 'How far each group of eight shards has been published';
COMMENT ON COLUMN outbox_cursors.relay_group IS 'Shards 8g to 8g+7';
COMMENT ON COLUMN outbox_cursors.epoch IS 'Rises with each change of owner; an older owner''s writes are refused';
COMMENT ON COLUMN outbox_cursors.owner IS 'Who relays the group now';
COMMENT ON COLUMN outbox_cursors.positions IS 'Last confirmed seq of each shard of the group';
COMMENT ON COLUMN outbox_cursors.bucket IS 'No unpublished row of the group lies in an earlier bucket less one';
COMMENT ON COLUMN outbox_cursors.flushed_at IS 'When the positions were written';
INSERT INTO outbox_cursors (relay_group, positions)
    SELECT g, array_fill(0::bigint, ARRAY[8]) FROM generate_series(0, 7) AS g;
