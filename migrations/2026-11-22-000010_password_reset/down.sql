DELETE FROM mails
    WHERE kind NOT IN ('verify_email', 'already_registered', 'already_registered_pending');
ALTER TABLE mails
    DROP CONSTRAINT mails_kind_check,
    ADD CONSTRAINT mails_kind_check
        CHECK (kind IN ('verify_email', 'already_registered', 'already_registered_pending'));

DELETE FROM one_time_tokens WHERE purpose = 'reset_password';
ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_email,
    ADD CONSTRAINT one_time_tokens_email
        CHECK ((purpose IN ('change_email', 'undo_email_change')) = (email IS NOT NULL));
COMMENT ON COLUMN one_time_tokens.email IS 'The address it is about: the new one to confirm, or the old one to bring back';
