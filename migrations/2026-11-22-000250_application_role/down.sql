DROP FUNCTION outbox_default_clear(timestamptz, bigint);
DROP FUNCTION outbox_partition_drop(integer);
DROP FUNCTION outbox_partition_make(integer);
DO $$
DECLARE
    door regprocedure;
BEGIN
    FOR door IN
        SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
            AND proname IN ('outbox_append', 'outbox_hour')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER', door);
        EXECUTE format('ALTER FUNCTION %s RESET search_path', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', door);
    END LOOP;
END
$$;
