-- The service need not own its tables. What only the owner may do, it does through functions that
-- do one thing each, as their owner: append to the outbox, ask for its hour, make, drop and clear its
-- partitions. `customer-service migrate` gives a role that owns nothing the rights for all else.

CREATE FUNCTION outbox_partition_make(hour integer) RETURNS void LANGUAGE plpgsql
SET lock_timeout = '200ms' AS $$
DECLARE
    partition text := 'outbox_events_' || hour;
    reader oid;
BEGIN
    -- Built apart and attached, which locks writers out of nothing.
    EXECUTE format('CREATE TABLE %I (LIKE outbox_events INCLUDING ALL)', partition);
    -- Default privileges may have let somebody in by the side door: rights are those of the whole.
    FOR reader IN
        SELECT DISTINCT a.grantee FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.oid = partition::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %I FROM %s', partition,
            CASE reader WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(reader)) END);
    END LOOP;
    EXECUTE format('ALTER TABLE outbox_events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        partition, hour, hour + 1);
END
$$;
COMMENT ON FUNCTION outbox_partition_make IS 'Makes the partition of an hour';

CREATE FUNCTION outbox_partition_drop(hour integer) RETURNS void LANGUAGE plpgsql
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

CREATE FUNCTION outbox_default_clear(before timestamptz, most bigint) RETURNS bigint LANGUAGE sql AS $$
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

-- As their owner, with names that nobody else can give another meaning, and for nobody who was not
-- let in.
DO $$
DECLARE
    door regprocedure;
BEGIN
    FOR door IN
        SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname IN
            ('outbox_append', 'outbox_hour', 'outbox_partition_make', 'outbox_partition_drop', 'outbox_default_clear')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', door);
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', door, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', door);
    END LOOP;
END
$$;
