COMMENT ON COLUMN mails.created_at IS 'When it was decided on';
ALTER TABLE mails DROP COLUMN step;
COMMENT ON COLUMN customers.accepts_marketing IS 'Whether advertising may be sent';
DROP TABLE consents;
DROP TABLE consent_entries;
DROP FUNCTION consent_entries_stay();
