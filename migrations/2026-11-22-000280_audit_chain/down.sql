DROP FUNCTION audit_expire;
DROP TABLE audit_blocks;
DROP TABLE audit_checkpoints;
ALTER TABLE audit_entries DROP COLUMN seq;
