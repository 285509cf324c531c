-- Who signed in when: the entries are there, this finds them by their time. Written with the entry,
-- without a statement of its own, and at the end of the index.
CREATE INDEX audit_entries_sign_ins ON audit_entries (occurred_at) INCLUDE (customer_id)
    WHERE action = 'sign_in.succeeded';
-- Grants and withdrawals by their time.
CREATE INDEX consent_entries_time ON consent_entries (occurred_at);
CREATE INDEX consents_held ON consents (purpose, channel, customer_id) WHERE granted;
-- Cohorts. The first order hardly ever moves, so that an update of the statistics need not touch it.
CREATE INDEX order_statistics_first ON order_statistics (currency, first_order_at)
    WHERE first_order_at IS NOT NULL;

CREATE TABLE rfm_cut_points (
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    version bigint NOT NULL CHECK (version >= 1),
    computed_at timestamptz NOT NULL,
    as_of timestamptz NOT NULL,
    customers bigint NOT NULL CHECK (customers >= 1),
    recency_days bigint[] NOT NULL CHECK (cardinality(recency_days) = 4),
    orders bigint[] NOT NULL CHECK (cardinality(orders) = 4),
    spent bigint[] NOT NULL CHECK (cardinality(spent) = 4),
    PRIMARY KEY (currency, version)
);
COMMENT ON TABLE rfm_cut_points IS 'Where the fifths of all customers end; scores are computed against the newest when they are looked at';
COMMENT ON COLUMN rfm_cut_points.currency IS 'Of the orders that are looked at, ISO 4217';
COMMENT ON COLUMN rfm_cut_points.version IS 'From 1, per currency';
COMMENT ON COLUMN rfm_cut_points.computed_at IS 'When it was done';
COMMENT ON COLUMN rfm_cut_points.as_of IS 'The time from which days since the last order were counted';
COMMENT ON COLUMN rfm_cut_points.customers IS 'How many customers with orders there were';
COMMENT ON COLUMN rfm_cut_points.recency_days IS 'Days since the last order that one, two, three and four fifths do not exceed';
COMMENT ON COLUMN rfm_cut_points.orders IS 'The same of the number of orders';
COMMENT ON COLUMN rfm_cut_points.spent IS 'The same of what was spent, in minor units';

CREATE TABLE prediction_models (
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    version bigint NOT NULL CHECK (version >= 1),
    fitted_at timestamptz NOT NULL,
    as_of timestamptz NOT NULL,
    seconds double precision NOT NULL CHECK (seconds >= 0),
    time_zone text NOT NULL,
    horizon_months integer NOT NULL CHECK (horizon_months >= 1),
    discount_rate double precision NOT NULL CHECK (discount_rate >= 0),
    customers bigint NOT NULL CHECK (customers >= 1),
    repeaters bigint NOT NULL CHECK (repeaters >= 0),
    purchases double precision[] NOT NULL CHECK (cardinality(purchases) = 4),
    purchases_log_likelihood double precision NOT NULL,
    evaluations bigint NOT NULL,
    value double precision[] CHECK (cardinality(value) = 3),
    value_log_likelihood double precision,
    value_customers bigint,
    value_correlation double precision,
    value_fault text,
    tier_cuts double precision[] CHECK (cardinality(tier_cuts) = 3),
    tiers jsonb NOT NULL CHECK (jsonb_typeof(tiers) = 'array'),
    total jsonb NOT NULL CHECK (jsonb_typeof(total) = 'object'),
    PRIMARY KEY (currency, version),
    CONSTRAINT prediction_models_value_or_fault CHECK (
        (value IS NULL) = (value_fault IS NOT NULL) AND (value IS NULL) = (tier_cuts IS NULL)
        AND (value IS NULL) = (value_log_likelihood IS NULL)
        AND (value IS NULL) = (value_customers IS NULL) AND (value IS NULL) = (value_correlation IS NULL))
);
COMMENT ON TABLE prediction_models IS 'Fitted models of purchases (BG/NBD) and of their value (Gamma-Gamma); a customer''s prediction is computed by the newest when it is looked at';
COMMENT ON COLUMN prediction_models.currency IS 'Of the orders that it was fitted to, ISO 4217';
COMMENT ON COLUMN prediction_models.version IS 'From 1, per currency';
COMMENT ON COLUMN prediction_models.fitted_at IS 'When the fit was done';
COMMENT ON COLUMN prediction_models.as_of IS 'Orders up to then were looked at';
COMMENT ON COLUMN prediction_models.seconds IS 'How long it took';
COMMENT ON COLUMN prediction_models.time_zone IS 'Whose days were counted';
COMMENT ON COLUMN prediction_models.horizon_months IS 'How far the totals look ahead';
COMMENT ON COLUMN prediction_models.discount_rate IS 'By which money that comes a year later is worth less';
COMMENT ON COLUMN prediction_models.customers IS 'How many customers it was fitted to';
COMMENT ON COLUMN prediction_models.repeaters IS 'How many of them bought on a second day';
COMMENT ON COLUMN prediction_models.purchases IS 'r, alpha (in weeks), a, b of BG/NBD';
COMMENT ON COLUMN prediction_models.purchases_log_likelihood IS 'Its logarithm of the likelihood';
COMMENT ON COLUMN prediction_models.evaluations IS 'How often that was computed';
COMMENT ON COLUMN prediction_models.value IS 'p, q, gamma (in minor units) of Gamma-Gamma; NULL where the data do not determine them';
COMMENT ON COLUMN prediction_models.value_log_likelihood IS 'Its logarithm of the likelihood';
COMMENT ON COLUMN prediction_models.value_customers IS 'How many customers it was fitted to';
COMMENT ON COLUMN prediction_models.value_correlation IS 'Between number and mean value of their purchases; the model takes it for 0';
COMMENT ON COLUMN prediction_models.value_fault IS 'Why there is no model of values';
COMMENT ON COLUMN prediction_models.tier_cuts IS 'Lifetime values above which the top, the high and the middle tier begin, in minor units';
COMMENT ON COLUMN prediction_models.tiers IS 'What the customers of each tier come to, best tier first';
COMMENT ON COLUMN prediction_models.total IS 'What all customers come to';

CREATE TABLE analytics_runs (
    kind text NOT NULL CHECK (kind IN ('rfm', 'predictions')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    started_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    stage text NOT NULL CHECK (stage IN ('reading', 'fitting', 'done', 'failed')),
    customers bigint NOT NULL CHECK (customers >= 0),
    evaluations bigint NOT NULL CHECK (evaluations >= 0),
    finished_at timestamptz,
    fault text,
    PRIMARY KEY (kind, currency),
    CONSTRAINT analytics_runs_end CHECK ((finished_at IS NOT NULL) = (stage IN ('done', 'failed'))),
    CONSTRAINT analytics_runs_fault CHECK ((fault IS NOT NULL) = (stage = 'failed'))
) WITH (fillfactor = 70);
COMMENT ON TABLE analytics_runs IS 'How far the latest computation of each kind is, or how it ended';
COMMENT ON COLUMN analytics_runs.kind IS 'rfm (cut points) or predictions (models)';
COMMENT ON COLUMN analytics_runs.currency IS 'Of the orders that are looked at';
COMMENT ON COLUMN analytics_runs.started_at IS 'When it began';
COMMENT ON COLUMN analytics_runs.touched_at IS 'Its latest sign of life';
COMMENT ON COLUMN analytics_runs.stage IS 'reading, fitting, done or failed';
COMMENT ON COLUMN analytics_runs.customers IS 'Customers read so far';
COMMENT ON COLUMN analytics_runs.evaluations IS 'How often the likelihood was computed so far';
COMMENT ON COLUMN analytics_runs.finished_at IS 'When it ended';
COMMENT ON COLUMN analytics_runs.fault IS 'Why it failed, by name';
