COMMENT ON TABLE customer_keys.data_keys IS 'The key of each customer of whom something is sealed';
COMMENT ON COLUMN outbox_events.data IS 'The message body; no personal data in the clear';
COMMENT ON COLUMN outbox_parked.data IS 'The message body; no personal data in the clear';
COMMENT ON COLUMN audit_entries.data IS 'Ids, names of fields, non-personal values';
