-- Consent may be withdrawn while a deletion is scheduled, so what was accepted before says nothing: whether
-- advertising comes back with a cancellation is read off the ledger of consents. The column stays for the
-- nodes of the version before, which name it while the new version is rolled out.
ALTER TABLE erasures ALTER COLUMN accepted_marketing SET DEFAULT false;
COMMENT ON COLUMN erasures.accepted_marketing IS 'Of the version before; false since the ledger of consents says it';
