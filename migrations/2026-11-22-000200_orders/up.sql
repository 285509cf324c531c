CREATE TABLE order_facts (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    order_id text NOT NULL CHECK (order_id ~ '^[!-~]{1,64}$'),
    version bigint NOT NULL CHECK (version >= 1),
    status text NOT NULL CHECK (status IN ('placed', 'completed', 'cancelled', 'refunded')),
    placed_at timestamptz NOT NULL,
    completed_at timestamptz,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total_amount bigint NOT NULL CHECK (total_amount BETWEEN 0 AND 999999999999999),
    refunded_amount bigint NOT NULL CHECK (refunded_amount BETWEEN 0 AND 999999999999999),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, order_id)
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX order_facts_order ON order_facts (order_id);
-- The earliest and the latest order of a customer in a currency, each by one look at an end.
CREATE INDEX order_facts_dates ON order_facts (customer_id, currency, placed_at) WHERE status <> 'cancelled';
CREATE INDEX order_facts_placed ON order_facts (placed_at);
COMMENT ON TABLE order_facts IS 'What the order service said last of each order';
COMMENT ON COLUMN order_facts.customer_id IS 'Whose; another one after a merge';
COMMENT ON COLUMN order_facts.order_id IS 'The order service''s name for the order';
COMMENT ON COLUMN order_facts.version IS 'Which version of the order this is, as the order service counts; a lower one changes nothing';
COMMENT ON COLUMN order_facts.status IS 'placed, completed, cancelled or refunded';
COMMENT ON COLUMN order_facts.placed_at IS 'When it was ordered';
COMMENT ON COLUMN order_facts.completed_at IS 'When it was completed';
COMMENT ON COLUMN order_facts.currency IS 'ISO 4217';
COMMENT ON COLUMN order_facts.total_amount IS 'What was to be paid, in minor units of its currency';
COMMENT ON COLUMN order_facts.refunded_amount IS 'What of it was paid back, in the same; may be more';
COMMENT ON COLUMN order_facts.recorded_at IS 'When this version was heard of here';

CREATE TABLE order_items (
    customer_id uuid NOT NULL,
    order_id text NOT NULL,
    sku text NOT NULL CHECK (sku ~ '^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}$'),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    PRIMARY KEY (customer_id, order_id, sku),
    CONSTRAINT order_items_order FOREIGN KEY (customer_id, order_id)
        REFERENCES order_facts (customer_id, order_id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX order_items_sku ON order_items (sku, customer_id);
COMMENT ON TABLE order_items IS 'What was ordered';
COMMENT ON COLUMN order_items.customer_id IS 'By whom; follows the order';
COMMENT ON COLUMN order_items.order_id IS 'With which order';
COMMENT ON COLUMN order_items.sku IS 'The shop''s name for the product; in an order once';
COMMENT ON COLUMN order_items.quantity IS 'How many';

CREATE TABLE order_statistics (
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    placed integer NOT NULL CHECK (placed >= 0),
    completed integer NOT NULL CHECK (completed >= 0),
    cancelled integer NOT NULL CHECK (cancelled >= 0),
    refunded integer NOT NULL CHECK (refunded >= 0),
    spent_amount bigint NOT NULL CHECK (spent_amount >= 0),
    refunded_amount bigint NOT NULL CHECK (refunded_amount >= 0),
    first_order_at timestamptz,
    last_order_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, currency),
    CONSTRAINT order_statistics_dates CHECK (
        (first_order_at IS NULL) = (last_order_at IS NULL)
        AND (first_order_at IS NULL) = (placed + completed + refunded = 0)
        AND first_order_at <= last_order_at)
) WITH (fillfactor = 85);
COMMENT ON TABLE order_statistics IS 'What the facts of a customer''s orders in one currency come to';
COMMENT ON COLUMN order_statistics.customer_id IS 'Whose';
COMMENT ON COLUMN order_statistics.currency IS 'ISO 4217';
COMMENT ON COLUMN order_statistics.placed IS 'Orders that are placed and no more: the active ones';
COMMENT ON COLUMN order_statistics.completed IS 'Orders that are completed';
COMMENT ON COLUMN order_statistics.cancelled IS 'Orders that were cancelled, which count for nothing else here';
COMMENT ON COLUMN order_statistics.refunded IS 'Orders that were refunded';
COMMENT ON COLUMN order_statistics.spent_amount IS 'What of the orders that were not cancelled was paid and kept, in minor units: for none less than nothing';
COMMENT ON COLUMN order_statistics.refunded_amount IS 'What of them was paid back, in the same: for none more than its total';
COMMENT ON COLUMN order_statistics.first_order_at IS 'When the first order that was not cancelled was placed; NULL: there is none';
COMMENT ON COLUMN order_statistics.last_order_at IS 'When the last one was';
COMMENT ON COLUMN order_statistics.version IS 'Rises by one with each change; the ETag';
COMMENT ON COLUMN order_statistics.updated_at IS 'When it last changed';
