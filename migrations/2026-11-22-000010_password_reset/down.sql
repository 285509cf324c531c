DELETE FROM one_time_tokens WHERE purpose = 'reset_password';
ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_email,
    ADD CONSTRAINT one_time_tokens_email
        CHECK ((purpose IN ('change_email', 'undo_email_change')) = (email IS NOT NULL));
COMMENT ON COLUMN one_time_tokens.email IS 'The address it is about: the new one to confirm, or the old one to bring back';
