CREATE TABLE segments (
    code text PRIMARY KEY CHECK (code ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    id uuid NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('rule', 'static')),
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 80),
    description text CHECK (char_length(description) <= 500),
    tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 20),
    definition text CHECK (octet_length(definition) BETWEEN 1 AND 65536),
    time_zone text,
    state text NOT NULL CHECK (state IN ('active', 'inactive', 'deleting')),
    revision bigint NOT NULL CHECK (revision >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL CHECK (version >= revision),
    CONSTRAINT segments_defined CHECK ((kind = 'rule') = (definition IS NOT NULL)),
    CONSTRAINT segments_zone CHECK ((kind = 'rule') = (time_zone IS NOT NULL))
);
CREATE INDEX segments_tags ON segments USING gin (tags);
COMMENT ON TABLE segments IS 'Which sets of customers the shop keeps; at most a thousand';
COMMENT ON COLUMN segments.code IS 'What requests, messages and other segments name it by';
COMMENT ON COLUMN segments.id IS 'UUIDv7; another one when the code is used anew: what its messages are about';
COMMENT ON COLUMN segments.kind IS 'rule: whoever the definition is true of; static: whom staff puts in';
COMMENT ON COLUMN segments.title IS 'What people read';
COMMENT ON COLUMN segments.description IS 'What it is for';
COMMENT ON COLUMN segments.tags IS 'Groups of segments that it belongs to';
COMMENT ON COLUMN segments.definition IS 'The condition in its canonical form';
COMMENT ON COLUMN segments.time_zone IS 'Where its days begin and end; IANA name';
COMMENT ON COLUMN segments.state IS 'active: has members; inactive: has none until it is active again; deleting: its last members are leaving';
COMMENT ON COLUMN segments.revision IS 'Rises by one with each change of who belongs: definition, time zone, state';
COMMENT ON COLUMN segments.created_at IS 'When it came to be';
COMMENT ON COLUMN segments.updated_at IS 'When it last changed';
COMMENT ON COLUMN segments.version IS 'Rises by one with each change; the ETag, and the number of its latest message';

-- One row, by which every node learns that it knows an old state of the whole.
CREATE TABLE segment_book (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL CHECK (version >= 0),
    cut_points bigint NOT NULL DEFAULT 0,
    models bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE segment_book IS 'What customers are judged by, taken together: one row';
COMMENT ON COLUMN segment_book.single IS 'There is one row';
COMMENT ON COLUMN segment_book.version IS 'Rises by one with each transaction that changes a segment, the cut points or the models';
COMMENT ON COLUMN segment_book.cut_points IS 'Version of the cut points of RFM scores that are in force; 0: none';
COMMENT ON COLUMN segment_book.models IS 'Version of the models of purchases that are in force; 0: none';
INSERT INTO segment_book (version) VALUES (0);

CREATE TABLE segment_revisions (
    segment_id uuid NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    revision bigint NOT NULL CHECK (revision >= 1),
    definition text,
    time_zone text,
    state text NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (segment_id, revision)
);
COMMENT ON TABLE segment_revisions IS 'What each revision of a segment said';
COMMENT ON COLUMN segment_revisions.segment_id IS 'Of which segment';
COMMENT ON COLUMN segment_revisions.revision IS 'Which one';
COMMENT ON COLUMN segment_revisions.definition IS 'The condition in its canonical form';
COMMENT ON COLUMN segment_revisions.time_zone IS 'Where its days began and ended';
COMMENT ON COLUMN segment_revisions.state IS 'As in segments';
COMMENT ON COLUMN segment_revisions.changed_at IS 'Since when';
COMMENT ON COLUMN segment_revisions.changed_by IS 'Who changed it, as in the audit trail';

CREATE TABLE segment_uses (
    segment_id uuid NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    used_id uuid NOT NULL REFERENCES segments (id),
    PRIMARY KEY (segment_id, used_id),
    CHECK (segment_id <> used_id)
);
CREATE INDEX segment_uses_used ON segment_uses (used_id);
COMMENT ON TABLE segment_uses IS 'Which segments a definition names: they cannot go before it';
COMMENT ON COLUMN segment_uses.segment_id IS 'Whose definition';
COMMENT ON COLUMN segment_uses.used_id IS 'Which other one it names';

CREATE TABLE segment_attributes (
    segment_id uuid NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    key text NOT NULL REFERENCES attribute_definitions (key),
    PRIMARY KEY (segment_id, key)
);
CREATE INDEX segment_attributes_key ON segment_attributes (key);
COMMENT ON TABLE segment_attributes IS 'Which custom attributes a definition reads: they keep their type and stay';
COMMENT ON COLUMN segment_attributes.segment_id IS 'Whose definition';
COMMENT ON COLUMN segment_attributes.key IS 'Which attribute';

CREATE TABLE segment_members (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    segment_id uuid NOT NULL REFERENCES segments (id),
    since timestamptz NOT NULL,
    cause text NOT NULL CHECK (cause IN ('change', 'time', 'definition', 'manual')),
    PRIMARY KEY (customer_id, segment_id)
);
CREATE INDEX segment_members_segment ON segment_members (segment_id, customer_id);
COMMENT ON TABLE segment_members IS 'Who belongs to which segment now';
COMMENT ON COLUMN segment_members.customer_id IS 'Who';
COMMENT ON COLUMN segment_members.segment_id IS 'To which';
COMMENT ON COLUMN segment_members.since IS 'Since when without a break';
COMMENT ON COLUMN segment_members.cause IS 'Why: the customer changed, time passed, the definition changed, or staff said so';

-- What time alone will change, by when: nobody looks for it among the customers.
CREATE TABLE segment_flips (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    segment_id uuid NOT NULL REFERENCES segments (id),
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    due_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, segment_id)
) WITH (fillfactor = 85);
CREATE INDEX segment_flips_due ON segment_flips (shard, due_at);
CREATE INDEX segment_flips_segment ON segment_flips (segment_id, customer_id);
COMMENT ON TABLE segment_flips IS 'When a customer may join or leave a segment although nothing happens';
COMMENT ON COLUMN segment_flips.customer_id IS 'Who';
COMMENT ON COLUMN segment_flips.segment_id IS 'Which segment';
COMMENT ON COLUMN segment_flips.shard IS 'The customer''s logical shard';
COMMENT ON COLUMN segment_flips.due_at IS 'No later than the first instant at which the answer may be another';

CREATE TABLE segment_cursors (
    shard_group smallint PRIMARY KEY CHECK (shard_group BETWEEN 0 AND 7),
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    positions bigint[] NOT NULL CHECK (cardinality(positions) = 8),
    bucket integer NOT NULL DEFAULT 0,
    flushed_at timestamptz
) WITH (fillfactor = 20);
COMMENT ON TABLE segment_cursors IS 'How far the messages of each group of eight shards have been looked at for changes of membership';
COMMENT ON COLUMN segment_cursors.shard_group IS 'Shards 8g to 8g+7';
COMMENT ON COLUMN segment_cursors.epoch IS 'Rises with each change of owner; an older owner''s writes are refused';
COMMENT ON COLUMN segment_cursors.owner IS 'Who looks at the group now';
COMMENT ON COLUMN segment_cursors.positions IS 'Last seq done of each shard of the group';
COMMENT ON COLUMN segment_cursors.bucket IS 'No row to be done lies in an earlier bucket less one';
COMMENT ON COLUMN segment_cursors.flushed_at IS 'When the positions were written';
INSERT INTO segment_cursors (shard_group, positions)
    SELECT g, array_fill(0::bigint, ARRAY[8]) FROM generate_series(0, 7) AS g;

CREATE TABLE segment_builds (
    segment_id uuid PRIMARY KEY REFERENCES segments (id) ON DELETE CASCADE,
    revision bigint NOT NULL,
    after_id uuid,
    looked_at bigint NOT NULL DEFAULT 0 CHECK (looked_at >= 0),
    joined bigint NOT NULL DEFAULT 0 CHECK (joined >= 0),
    parted bigint NOT NULL DEFAULT 0 CHECK (parted >= 0),
    total bigint NOT NULL CHECK (total >= 0),
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX segment_builds_open ON segment_builds (started_at) WHERE finished_at IS NULL;
COMMENT ON TABLE segment_builds IS 'The latest walk over all customers for each segment whose revision rose, and how far it is';
COMMENT ON COLUMN segment_builds.segment_id IS 'Of which segment';
COMMENT ON COLUMN segment_builds.revision IS 'To which revision';
COMMENT ON COLUMN segment_builds.after_id IS 'Customers up to this one are done; NULL: none yet';
COMMENT ON COLUMN segment_builds.looked_at IS 'How many were looked at';
COMMENT ON COLUMN segment_builds.joined IS 'How many joined';
COMMENT ON COLUMN segment_builds.parted IS 'How many left';
COMMENT ON COLUMN segment_builds.total IS 'How many there were when it began, about';
COMMENT ON COLUMN segment_builds.started_at IS 'When it began';
COMMENT ON COLUMN segment_builds.updated_at IS 'When it last came on';
COMMENT ON COLUMN segment_builds.finished_at IS 'When it was done; NULL: it is not';

CREATE TABLE segment_counts (
    segment_id uuid NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    counted_at timestamptz NOT NULL,
    members bigint NOT NULL CHECK (members >= 0),
    PRIMARY KEY (segment_id, counted_at)
);
CREATE INDEX segment_counts_age ON segment_counts (counted_at);
COMMENT ON TABLE segment_counts IS 'How many members a segment had, hour by hour';
COMMENT ON COLUMN segment_counts.segment_id IS 'Which segment';
COMMENT ON COLUMN segment_counts.counted_at IS 'The full hour';
COMMENT ON COLUMN segment_counts.members IS 'How many';

-- Messages are needed until they were looked at, as they are until they are published.
CREATE OR REPLACE FUNCTION outbox_partition_drop(hour integer) RETURNS void LANGUAGE plpgsql
SET lock_timeout = '200ms' AS $$
DECLARE
    partition text := 'outbox_events_' || hour;
BEGIN
    IF to_regclass(partition) IS NULL THEN
        RETURN;
    END IF;
    -- As DROP would take it; whoever is appending has committed then, and shows.
    LOCK TABLE ONLY outbox_events IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (
        SELECT FROM outbox_cursors AS c JOIN segment_cursors AS s ON s.shard_group = c.relay_group
        CROSS JOIN generate_series(1, 8) AS n
        CROSS JOIN LATERAL (
            SELECT o.seq FROM outbox_events AS o
            WHERE o.bucket = hour AND o.shard = (c.relay_group * 8 + n - 1)::smallint
            ORDER BY o.seq DESC LIMIT 1
        ) AS newest
        WHERE newest.seq > least(c.positions[n], s.positions[n])
    ) THEN
        RAISE EXCEPTION 'hour % holds messages that are still needed', hour USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('DROP TABLE %I', partition);
END
$$;
COMMENT ON FUNCTION outbox_partition_drop IS 'Drops the partition of an hour whose messages are all published and looked at for segments';

CREATE OR REPLACE FUNCTION outbox_default_clear(before timestamptz, most bigint) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM outbox_events_default WHERE ctid = ANY (ARRAY(
            SELECT d.ctid FROM outbox_events_default AS d
            JOIN outbox_cursors AS c ON c.relay_group = d.shard / 8
            JOIN segment_cursors AS s ON s.shard_group = c.relay_group
            WHERE d.occurred_at < before
                AND d.seq <= least(c.positions[d.shard % 8 + 1], s.positions[d.shard % 8 + 1])
                AND d.bucket < least(c.bucket, s.bucket) - 1
            LIMIT most FOR UPDATE OF d SKIP LOCKED))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION outbox_default_clear IS 'Deletes rows of hours without a partition that are published and looked at for segments; tells how many';

-- Replaced, they have lost what 000250 said of them.
DO $$
DECLARE
    door regprocedure;
BEGIN
    FOR door IN
        SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname IN
            ('outbox_partition_drop', 'outbox_default_clear')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', door);
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', door, current_schema());
    END LOOP;
END
$$;

-- What was told before there were segments concerns none.
UPDATE segment_cursors AS s SET positions = c.positions, bucket = c.bucket
FROM outbox_cursors AS c WHERE c.relay_group = s.shard_group;
