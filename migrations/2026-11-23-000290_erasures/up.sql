CREATE TABLE erasures (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    state text NOT NULL CHECK (state IN ('scheduled', 'cancelled', 'running', 'completed')),
    requested_by text NOT NULL CHECK (requested_by IN ('owner', 'staff')),
    staff_key text,
    status_before text NOT NULL CHECK (status_before IN ('pending', 'active', 'inactive', 'suspended')),
    accepted_marketing boolean NOT NULL,
    segments jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(segments) = 'array'),
    requested_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    legal_due_at timestamptz NOT NULL,
    look_at timestamptz NOT NULL,
    put_off text CHECK (put_off IN ('legal_hold', 'active_orders')),
    started_at timestamptz,
    completed_at timestamptz,
    cancelled_at timestamptz,
    commands bigint NOT NULL DEFAULT 0 CHECK (commands >= 0),
    removed jsonb CHECK (jsonb_typeof(removed) = 'object'),
    CONSTRAINT erasures_asked_by_somebody CHECK ((requested_by = 'staff') = (staff_key IS NOT NULL)),
    CONSTRAINT erasures_in_order CHECK (due_at >= requested_at AND look_at >= requested_at
        AND started_at >= requested_at AND completed_at >= started_at AND cancelled_at >= requested_at),
    CONSTRAINT erasures_state_has_its_instants CHECK (CASE state
        WHEN 'scheduled' THEN num_nulls(started_at, completed_at, cancelled_at) = 3
        WHEN 'cancelled' THEN cancelled_at IS NOT NULL AND num_nulls(started_at, completed_at) = 2
        WHEN 'running' THEN started_at IS NOT NULL AND num_nulls(completed_at, cancelled_at) = 2
        ELSE num_nulls(started_at, completed_at) = 0 AND cancelled_at IS NULL END),
    CONSTRAINT erasures_waits_only_before CHECK (put_off IS NULL OR state = 'scheduled'),
    CONSTRAINT erasures_of_whom UNIQUE (id, customer_id)
);
-- One deletion of a customer at a time, whoever asks for it.
CREATE UNIQUE INDEX erasures_open ON erasures (customer_id) WHERE state IN ('scheduled', 'running');
CREATE INDEX erasures_customer ON erasures (customer_id);
CREATE INDEX erasures_due ON erasures (look_at) WHERE state = 'scheduled';
CREATE INDEX erasures_running ON erasures (started_at) WHERE state = 'running';
CREATE INDEX erasures_by_state ON erasures (state, id DESC);
COMMENT ON TABLE erasures IS 'Deletions that customers or staff asked for, and how far each has come (rules P1, P2)';
COMMENT ON COLUMN erasures.id IS 'UUIDv7; commands to other services bear it';
COMMENT ON COLUMN erasures.customer_id IS 'Who is to be erased';
COMMENT ON COLUMN erasures.state IS 'scheduled: within its grace, or waiting; running: nothing is kept here any more, others are still asked; completed or cancelled';
COMMENT ON COLUMN erasures.requested_by IS 'owner or staff';
COMMENT ON COLUMN erasures.staff_key IS 'The key of the staff that asked';
COMMENT ON COLUMN erasures.status_before IS 'Where the customer stood; cancelling brings it back';
COMMENT ON COLUMN erasures.accepted_marketing IS 'Whether advertising was accepted; cancelling brings it back';
COMMENT ON COLUMN erasures.segments IS 'The static segments that it was in, each with since when; cancelling brings them back';
COMMENT ON COLUMN erasures.requested_at IS 'When it was asked for';
COMMENT ON COLUMN erasures.due_at IS 'When its grace is over';
COMMENT ON COLUMN erasures.legal_due_at IS 'A month after it was asked for, by when the law wants an answer';
COMMENT ON COLUMN erasures.look_at IS 'When the reaper looks at it; later than its end of grace where something stands against it';
COMMENT ON COLUMN erasures.put_off IS 'What stood against it when it was last looked at';
COMMENT ON COLUMN erasures.started_at IS 'When all that is kept here was erased';
COMMENT ON COLUMN erasures.completed_at IS 'When every other service had answered that it is done';
COMMENT ON COLUMN erasures.cancelled_at IS 'When it was cancelled';
COMMENT ON COLUMN erasures.commands IS 'Commands sent to other services so far, by which they are numbered';
COMMENT ON COLUMN erasures.removed IS 'How many rows of each table were deleted or emptied';

CREATE TABLE erasure_steps (
    id uuid PRIMARY KEY,
    erasure_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    name text NOT NULL CHECK (name IN ('local', 'order.anonymize', 'payment.delete_methods', 'notification.forget')),
    state text NOT NULL CHECK (state IN ('sent', 'failed', 'done')),
    tries integer NOT NULL CHECK (tries >= 1),
    message_id uuid,
    last_error text CHECK (last_error ~ '^[a-z0-9_]{1,64}$'),
    sent_at timestamptz NOT NULL,
    next_try_at timestamptz,
    done_at timestamptz,
    CONSTRAINT erasure_steps_once UNIQUE (erasure_id, name),
    CONSTRAINT erasure_steps_of_erasure FOREIGN KEY (erasure_id, customer_id)
        REFERENCES erasures (id, customer_id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT erasure_steps_end CHECK ((state = 'done') = (done_at IS NOT NULL) AND (state = 'done') = (next_try_at IS NULL)),
    CONSTRAINT erasure_steps_failed_why CHECK (state <> 'failed' OR last_error IS NOT NULL),
    CONSTRAINT erasure_steps_commanded CHECK ((name = 'local') = (message_id IS NULL)),
    CONSTRAINT erasure_steps_here_at_once CHECK (name <> 'local' OR state = 'done')
);
CREATE UNIQUE INDEX erasure_steps_message ON erasure_steps (message_id);
CREATE INDEX erasure_steps_customer ON erasure_steps (customer_id);
CREATE INDEX erasure_steps_due ON erasure_steps (next_try_at) WHERE state <> 'done';
COMMENT ON TABLE erasure_steps IS 'What an erasure consists of: what is kept here, and each other service that is told to forget';
COMMENT ON COLUMN erasure_steps.id IS 'UUIDv7; the command and its answer bear it';
COMMENT ON COLUMN erasure_steps.erasure_id IS 'Which erasure';
COMMENT ON COLUMN erasure_steps.customer_id IS 'Of whom';
COMMENT ON COLUMN erasure_steps.name IS 'local, or the type of the command';
COMMENT ON COLUMN erasure_steps.state IS 'sent: an answer is awaited; failed: the last answer said so; done';
COMMENT ON COLUMN erasure_steps.tries IS 'How often it was commanded';
COMMENT ON COLUMN erasure_steps.message_id IS 'The message of the last command';
COMMENT ON COLUMN erasure_steps.last_error IS 'A code of the service that failed; never its words, which may name somebody';
COMMENT ON COLUMN erasure_steps.sent_at IS 'When it was last commanded';
COMMENT ON COLUMN erasure_steps.next_try_at IS 'When it is commanded again without an answer that it is done';
COMMENT ON COLUMN erasure_steps.done_at IS 'When it was done';

CREATE TABLE legal_holds (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    reason text NOT NULL CHECK (reason ~ '^[a-z0-9_]{1,64}$'),
    placed_by text NOT NULL,
    placed_at timestamptz NOT NULL,
    released_by text,
    released_at timestamptz,
    CONSTRAINT legal_holds_released CHECK ((released_by IS NULL) = (released_at IS NULL) AND released_at >= placed_at)
);
CREATE UNIQUE INDEX legal_holds_open ON legal_holds (customer_id) WHERE released_at IS NULL;
CREATE INDEX legal_holds_customer ON legal_holds (customer_id);
COMMENT ON TABLE legal_holds IS 'Duties to keep that stand against an erasure (rule P4)';
COMMENT ON COLUMN legal_holds.id IS 'UUIDv7';
COMMENT ON COLUMN legal_holds.customer_id IS 'Who must not be erased';
COMMENT ON COLUMN legal_holds.reason IS 'Why: a code, since words would name somebody';
COMMENT ON COLUMN legal_holds.placed_by IS 'The key of the staff that placed it';
COMMENT ON COLUMN legal_holds.placed_at IS 'Since when';
COMMENT ON COLUMN legal_holds.released_by IS 'The key of the staff that released it';
COMMENT ON COLUMN legal_holds.released_at IS 'Until when';

-- In a schema of its own, which is kept out of the backups of all else (pg_dump
-- --exclude-schema=erasure_ledger) and copied apart: it says who must be erased again after a restore.
-- No reference to customers, so that either can be restored without the other.
CREATE SCHEMA erasure_ledger;
COMMENT ON SCHEMA erasure_ledger IS 'Who was erased, to be kept apart from the backups in which they still are';
CREATE TABLE erasure_ledger.erased_customers (
    customer_id uuid PRIMARY KEY,
    erasure_id uuid NOT NULL,
    erased_at timestamptz NOT NULL
);
CREATE INDEX erased_customers_in_order ON erasure_ledger.erased_customers (erased_at, customer_id);
COMMENT ON TABLE erasure_ledger.erased_customers IS 'Each customer that was erased, also those that had become one with it before';
COMMENT ON COLUMN erasure_ledger.erased_customers.customer_id IS 'Who: an id that names nobody any more';
COMMENT ON COLUMN erasure_ledger.erased_customers.erasure_id IS 'By which erasure';
COMMENT ON COLUMN erasure_ledger.erased_customers.erased_at IS 'When';

ALTER TABLE mails ADD COLUMN tells_of timestamptz;
COMMENT ON COLUMN mails.tells_of IS 'The day that the mail names, such as that of a scheduled deletion';

-- Erasures come in batches: whoever erases names all of them, with commas between.
CREATE OR REPLACE FUNCTION consent_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.customer_id::text = ANY (string_to_array(current_setting('customer_service.erasing', true), ',')) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the ledger of consents is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
