-- What customers are given of all that is kept of them (rule P3).

CREATE TABLE privacy_exports (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'ready', 'failed')),
    reason text CHECK (reason IN ('too_large', 'interrupted')),
    actor_kind text NOT NULL CHECK (actor_kind IN ('customer', 'staff')),
    actor_id text NOT NULL CHECK (char_length(actor_id) BETWEEN 1 AND 64),
    session_id uuid,
    attempt integer NOT NULL CHECK (attempt >= 0),
    leased_until timestamptz,
    tables_done integer NOT NULL CHECK (tables_done >= 0),
    tables_total integer NOT NULL CHECK (tables_total >= tables_done),
    row_count bigint NOT NULL CHECK (row_count >= 0),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    pieces integer NOT NULL CHECK (pieces >= 0),
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    downloaded_at timestamptz,
    PRIMARY KEY (customer_id, id),
    CONSTRAINT privacy_exports_end CHECK ((finished_at IS NOT NULL) = (state IN ('ready', 'failed'))),
    CONSTRAINT privacy_exports_expiry CHECK ((expires_at IS NOT NULL) = (finished_at IS NOT NULL) AND expires_at >= finished_at),
    CONSTRAINT privacy_exports_reason CHECK ((reason IS NOT NULL) = (state = 'failed')),
    CONSTRAINT privacy_exports_session CHECK (actor_kind = 'customer' OR session_id IS NULL),
    CONSTRAINT privacy_exports_content CHECK (state <> 'ready' OR (bytes > 0 AND pieces > 0)),
    CONSTRAINT privacy_exports_downloaded CHECK (downloaded_at IS NULL OR state = 'ready')
);
-- One at a time, whoever asked.
CREATE UNIQUE INDEX privacy_exports_one_at_a_time ON privacy_exports (customer_id) WHERE finished_at IS NULL;
CREATE INDEX privacy_exports_waiting ON privacy_exports (created_at) WHERE finished_at IS NULL;
CREATE INDEX privacy_exports_expires ON privacy_exports (expires_at);
COMMENT ON TABLE privacy_exports IS 'Copies of all that is kept of customers, made for them: who asked, and how far each is';
COMMENT ON COLUMN privacy_exports.id IS 'UUIDv7';
COMMENT ON COLUMN privacy_exports.customer_id IS 'Of whom';
COMMENT ON COLUMN privacy_exports.state IS 'queued, running, ready or failed';
COMMENT ON COLUMN privacy_exports.reason IS 'Why it failed: too_large or interrupted';
COMMENT ON COLUMN privacy_exports.actor_kind IS 'Who asked: customer or staff';
COMMENT ON COLUMN privacy_exports.actor_id IS 'The customer''s or the staff key''s id';
COMMENT ON COLUMN privacy_exports.session_id IS 'The session that asked, which may download it however old it is by then';
COMMENT ON COLUMN privacy_exports.attempt IS 'How often it was begun; whoever began an earlier one writes nothing more';
COMMENT ON COLUMN privacy_exports.leased_until IS 'Until when nobody else begins it anew';
COMMENT ON COLUMN privacy_exports.tables_done IS 'Tables that are read; each is read twice';
COMMENT ON COLUMN privacy_exports.tables_total IS 'Tables to read, likewise';
COMMENT ON COLUMN privacy_exports.row_count IS 'Rows told so far, and in the end';
COMMENT ON COLUMN privacy_exports.bytes IS 'Length of the archive so far, and in the end';
COMMENT ON COLUMN privacy_exports.pieces IS 'Its pieces, likewise';
COMMENT ON COLUMN privacy_exports.created_at IS 'When it was asked for';
COMMENT ON COLUMN privacy_exports.started_at IS 'When it was first begun';
COMMENT ON COLUMN privacy_exports.finished_at IS 'When it was ready, or given up';
COMMENT ON COLUMN privacy_exports.expires_at IS 'From when on nobody can download it';
COMMENT ON COLUMN privacy_exports.downloaded_at IS 'When it was last downloaded';

-- Refers to the export alone: whoever writes a piece locks no customer.
CREATE TABLE privacy_export_pieces (
    customer_id uuid NOT NULL,
    export_id uuid NOT NULL,
    number integer NOT NULL CHECK (number >= 0),
    data bytea NOT NULL CHECK (octet_length(data) BETWEEN 30 AND 1048576),
    PRIMARY KEY (customer_id, export_id, number),
    FOREIGN KEY (customer_id, export_id) REFERENCES privacy_exports (customer_id, id) ON DELETE CASCADE
);
-- Sealed, so it cannot be compressed.
ALTER TABLE privacy_export_pieces ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE privacy_export_pieces IS 'Archives of exports in pieces, sealed by their customers'' own keys; gone with the expiry';
COMMENT ON COLUMN privacy_export_pieces.customer_id IS 'Of whom';
COMMENT ON COLUMN privacy_export_pieces.export_id IS 'Of which export';
COMMENT ON COLUMN privacy_export_pieces.number IS 'Its place in the archive, from 0';
COMMENT ON COLUMN privacy_export_pieces.data IS 'A piece of the archive, sealed for its place by the customer''s own key';
