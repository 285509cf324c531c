UPDATE erasures SET accepted_marketing = EXISTS (SELECT FROM consents AS c
    WHERE c.customer_id = erasures.customer_id AND c.purpose = 'marketing' AND c.granted)
    WHERE state = 'scheduled';
ALTER TABLE erasures ALTER COLUMN accepted_marketing DROP DEFAULT;
COMMENT ON COLUMN erasures.accepted_marketing IS 'Whether advertising was accepted; cancelling brings it back';
