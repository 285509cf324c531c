-- What the application role may do, in the schema that the tables are in; run by `customer-service
-- migrate` as the owner, as often as it likes. The role's name is in customer_service.application_role.
DO $$
DECLARE
    role text := current_setting('customer_service.application_role');
    home text := current_schema();
    thing record;
    rights text;
BEGIN
    -- Else whoever may make things there could have ours find his own by their names.
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', home);
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', home, role);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', home, role);
    FOR thing IN
        SELECT relname, relispartition, CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
        FROM pg_class WHERE relnamespace = home::regnamespace AND relkind IN ('r', 'p', 'S')
    LOOP
        rights := CASE
            -- written by outbox_append alone, and by the functions around it
            WHEN thing.relname IN ('outbox_events', 'outbox_events_default') THEN 'SELECT'
            WHEN thing.relname IN ('outbox_seq', 'outbox_hours') THEN NULL
            -- through the table that they are of
            WHEN thing.relispartition THEN NULL
            -- append-only
            WHEN thing.relname IN ('audit_entries', 'audit_blocks', 'audit_checkpoints') THEN 'SELECT, INSERT'
            -- migrate's own
            WHEN thing.relname = '__diesel_schema_migrations' THEN 'SELECT'
            WHEN thing.kind = 'SEQUENCE' THEN 'USAGE, SELECT'
            ELSE 'SELECT, INSERT, UPDATE, DELETE'
        END;
        EXECUTE format('REVOKE ALL ON %s %I FROM %I', thing.kind, thing.relname, role);
        IF rights IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s %I TO %I', rights, thing.kind, thing.relname, role);
        END IF;
    END LOOP;
    -- keys of customers: made, wrapped anew, and gone with whom they are of
    EXECUTE format('REVOKE ALL ON SCHEMA customer_keys FROM %I', role);
    EXECUTE format('GRANT USAGE ON SCHEMA customer_keys TO %I', role);
    EXECUTE format('REVOKE ALL ON customer_keys.data_keys FROM %I', role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON customer_keys.data_keys TO %I', role);
    -- who was erased: entered once, and for good
    EXECUTE format('REVOKE ALL ON SCHEMA erasure_ledger FROM %I', role);
    EXECUTE format('GRANT USAGE ON SCHEMA erasure_ledger TO %I', role);
    EXECUTE format('REVOKE ALL ON erasure_ledger.erased_customers FROM %I', role);
    EXECUTE format('GRANT SELECT, INSERT ON erasure_ledger.erased_customers TO %I', role);
    -- the doors: what runs as its owner
    FOR thing IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = home::regnamespace AND prosecdef
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', thing.name, role);
    END LOOP;
    -- for tables that come later, until the next migrate looks at each
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', home, role);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO %I', home, role);
END
$$
