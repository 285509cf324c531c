ALTER TABLE mails DROP COLUMN address;
DELETE FROM customer_identifiers WHERE held_until IS NOT NULL OR kind NOT IN ('email', 'phone');
ALTER TABLE customer_identifiers
    DROP COLUMN held_until,
    DROP CONSTRAINT customer_identifiers_kind_check,
    ADD CONSTRAINT customer_identifiers_kind_check CHECK (kind IN ('email', 'phone'));
DROP TABLE sign_in_flows;
DELETE FROM one_time_tokens WHERE purpose <> 'verify_email';
ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_email,
    DROP COLUMN email,
    DROP CONSTRAINT one_time_tokens_purpose_check,
    ADD CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN ('verify_email'));
DELETE FROM sessions WHERE method NOT IN ('password', 'email_verification');
ALTER TABLE sessions
    DROP COLUMN second_factor,
    DROP CONSTRAINT sessions_method_check,
    ADD CONSTRAINT sessions_method_check CHECK (method IN ('password', 'email_verification'));
