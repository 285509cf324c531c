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
        SELECT FROM outbox_cursors AS c CROSS JOIN generate_series(1, 8) AS n
        CROSS JOIN LATERAL (
            SELECT o.seq FROM outbox_events AS o
            WHERE o.bucket = hour AND o.shard = (c.relay_group * 8 + n - 1)::smallint
            ORDER BY o.seq DESC LIMIT 1
        ) AS newest
        WHERE newest.seq > c.positions[n]
    ) THEN
        RAISE EXCEPTION 'hour % holds messages that are not published', hour USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('DROP TABLE %I', partition);
END
$$;
COMMENT ON FUNCTION outbox_partition_drop IS 'Drops the partition of an hour whose messages are all published';

CREATE OR REPLACE FUNCTION outbox_default_clear(before timestamptz, most bigint) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM outbox_events_default WHERE ctid = ANY (ARRAY(
            SELECT d.ctid FROM outbox_events_default AS d
            JOIN outbox_cursors AS c ON c.relay_group = d.shard / 8
            WHERE d.occurred_at < before AND d.seq <= c.positions[d.shard % 8 + 1]
                AND d.bucket < c.bucket - 1
            LIMIT most FOR UPDATE OF d SKIP LOCKED))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION outbox_default_clear IS 'Deletes published rows of hours without a partition; tells how many';

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

DROP TABLE segment_counts, segment_builds, segment_cursors, segment_flips, segment_members, segment_attributes,
    segment_uses, segment_revisions, segment_book, segments;
