CREATE TABLE reconciliation_runs (
    id uuid PRIMARY KEY,
    source text NOT NULL CHECK (source IN ('facts', 'order_service')),
    customer_id uuid REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    owner text NOT NULL,
    cursor uuid NOT NULL,
    customers bigint NOT NULL CHECK (customers >= 0),
    differences bigint NOT NULL CHECK (differences >= 0),
    repaired bigint NOT NULL CHECK (repaired >= 0),
    refused bigint NOT NULL CHECK (refused >= 0),
    trouble text,
    started_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT reconciliation_runs_repaired CHECK (repaired <= differences)
-- Rewritten with every page: room on the page, so that no index but that of the age is touched.
) WITH (fillfactor = 50);
CREATE INDEX reconciliation_runs_source ON reconciliation_runs (source, started_at) WHERE customer_id IS NULL;
CREATE INDEX reconciliation_runs_customer ON reconciliation_runs (customer_id);
CREATE INDEX reconciliation_runs_touched ON reconciliation_runs (touched_at);
COMMENT ON TABLE reconciliation_runs IS 'Walks through the customers that compare what is kept of their orders with where it comes from (rule O4)';
COMMENT ON COLUMN reconciliation_runs.id IS 'UUIDv7; the audit entries of its repairs bear it, as reconciliation:<id>';
COMMENT ON COLUMN reconciliation_runs.source IS 'facts: statistics are compared with the kept facts; order_service: the facts with what the order service says';
COMMENT ON COLUMN reconciliation_runs.customer_id IS 'The one customer that it is about; NULL: everybody';
COMMENT ON COLUMN reconciliation_runs.owner IS 'The process that carries it out, or did last';
COMMENT ON COLUMN reconciliation_runs.cursor IS 'The last customer that is done with, from which anybody may go on; zeros: none yet';
COMMENT ON COLUMN reconciliation_runs.customers IS 'Customers that are done with';
COMMENT ON COLUMN reconciliation_runs.differences IS 'Rows of reconciliation_differences';
COMMENT ON COLUMN reconciliation_runs.repaired IS 'Of these, repaired';
COMMENT ON COLUMN reconciliation_runs.refused IS 'Facts of the order service that are none, or are not of whom they were asked for';
COMMENT ON COLUMN reconciliation_runs.trouble IS 'What it waits for, such as an order service that cannot be reached; NULL: nothing';
COMMENT ON COLUMN reconciliation_runs.started_at IS 'When it began';
COMMENT ON COLUMN reconciliation_runs.touched_at IS 'When it last did something';
COMMENT ON COLUMN reconciliation_runs.finished_at IS 'When it was over';

CREATE TABLE reconciliation_differences (
    run_id uuid NOT NULL REFERENCES reconciliation_runs (id) ON DELETE CASCADE,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    subject text NOT NULL,
    field text NOT NULL,
    kept text,
    found text,
    repaired_at timestamptz,
    PRIMARY KEY (run_id, customer_id, subject, field)
);
CREATE INDEX reconciliation_differences_customer ON reconciliation_differences (customer_id);
COMMENT ON TABLE reconciliation_differences IS 'What a reconciliation found to differ; written before it is repaired, so that no kill loses it';
COMMENT ON COLUMN reconciliation_differences.run_id IS 'Of which run';
COMMENT ON COLUMN reconciliation_differences.customer_id IS 'Whose';
COMMENT ON COLUMN reconciliation_differences.subject IS 'The currency of the statistics; of the source order_service: the order';
COMMENT ON COLUMN reconciliation_differences.field IS 'What differs, by the name that readers of statistics know, such as orders.placed; of an order: version';
COMMENT ON COLUMN reconciliation_differences.kept IS 'What was kept; NULL: nothing';
COMMENT ON COLUMN reconciliation_differences.found IS 'What it should be; NULL: nothing';
COMMENT ON COLUMN reconciliation_differences.repaired_at IS 'When it was put right; NULL: it was not';
