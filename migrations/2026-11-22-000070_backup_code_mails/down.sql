DELETE FROM mails WHERE kind IN ('backup_code_used', 'email_change_undone');
ALTER TABLE mails DROP COLUMN codes_left;
