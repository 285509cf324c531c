DROP INDEX outbox_events_customer;
DROP INDEX audit_entries_customer;
CREATE INDEX audit_entries_customer ON audit_entries (customer_id, id);
DROP TABLE customer_notes;
