ALTER TABLE mails ADD COLUMN codes_left smallint CHECK (codes_left >= 0);
COMMENT ON COLUMN mails.codes_left IS 'How many backup codes are left, in the mail that tells of one';
