CREATE TABLE customer_notes (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    text text NOT NULL CHECK (char_length(text) BETWEEN 1 AND 4000),
    author text NOT NULL CHECK (char_length(author) BETWEEN 1 AND 64),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, id)
);
COMMENT ON TABLE customer_notes IS 'What staff wrote down about customers; for staff alone, and never changed';
COMMENT ON COLUMN customer_notes.id IS 'UUIDv7';
COMMENT ON COLUMN customer_notes.customer_id IS 'About whom';
COMMENT ON COLUMN customer_notes.text IS 'In the words of its author';
COMMENT ON COLUMN customer_notes.author IS 'The id of the staff key that wrote it';
COMMENT ON COLUMN customer_notes.created_at IS 'When it was written';

-- The two halves of a customer's timeline, each in the order in which it is read. The ids of entries
-- are made when a command is decided, after its instant: their order is nearly that of time, and
-- nearly is not enough for pages.
DROP INDEX audit_entries_customer;
CREATE INDEX audit_entries_customer ON audit_entries (customer_id, occurred_at, id);
CREATE INDEX outbox_events_customer ON outbox_events (customer_id, occurred_at, id);
