-- Messages and entries carry personal values, sealed; so every customer has a key from the start, made
-- with it. Who is from before gets one when something is first sealed of it.
COMMENT ON TABLE customer_keys.data_keys IS 'The key of each customer, under which what is told of it is sealed';
COMMENT ON COLUMN outbox_events.data IS 'The message body; personal values sealed by the customer''s own key alone';
COMMENT ON COLUMN outbox_parked.data IS 'The message body; personal values sealed by the customer''s own key alone';
COMMENT ON COLUMN audit_entries.data IS 'Ids, names of fields, non-personal values; personal ones sealed by the customer''s own key';
