DELETE FROM mails WHERE kind NOT IN ('verify_email', 'already_registered', 'already_registered_pending');
ALTER TABLE mails
    DROP CONSTRAINT mails_kind_check,
    ADD CONSTRAINT mails_kind_check
        CHECK (kind IN ('verify_email', 'already_registered', 'already_registered_pending'));
DROP TABLE backup_codes;
DROP TABLE customer_totp;
