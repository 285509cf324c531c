ALTER TABLE mails DROP COLUMN tells_of;
DROP SCHEMA erasure_ledger CASCADE;
DROP TABLE legal_holds, erasure_steps, erasures;

CREATE OR REPLACE FUNCTION consent_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('customer_service.erasing', true) = OLD.customer_id::text THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the ledger of consents is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
