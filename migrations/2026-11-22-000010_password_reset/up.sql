-- A link to a new password is good only while the mailbox that it was sent to is the customer's.
ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_email,
    ADD CONSTRAINT one_time_tokens_email
        CHECK ((purpose IN ('change_email', 'undo_email_change', 'reset_password'))
            = (email IS NOT NULL));
COMMENT ON COLUMN one_time_tokens.email IS 'The address it is about: the new one to confirm, the old one to bring back, or the one that a link to a new password was sent to';

-- The kinds are the templates that the service has: a list here would be a second one to keep.
ALTER TABLE mails
    DROP CONSTRAINT mails_kind_check,
    ADD CONSTRAINT mails_kind_check CHECK (kind ~ '^[a-z_]{1,64}$');
