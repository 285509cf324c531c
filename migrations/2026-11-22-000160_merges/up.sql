CREATE TABLE customer_merges (
    from_id uuid PRIMARY KEY REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    into_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    report jsonb NOT NULL CHECK (jsonb_typeof(report) = 'object'),
    merged_at timestamptz NOT NULL,
    CONSTRAINT customer_merges_two CHECK (from_id <> into_id)
);
CREATE INDEX customer_merges_into ON customer_merges (into_id);
COMMENT ON TABLE customer_merges IS 'Customers that became one with another (rule L10); whoever erases a customer erases those that were merged into it';
COMMENT ON COLUMN customer_merges.from_id IS 'Who departed';
COMMENT ON COLUMN customer_merges.into_id IS 'Who went on; may itself have been merged later';
COMMENT ON COLUMN customer_merges.report IS 'What moved, gave way and ended, in ids, counts and names of fields: the answer, should it be asked for again';
COMMENT ON COLUMN customer_merges.merged_at IS 'When';
