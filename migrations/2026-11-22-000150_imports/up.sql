CREATE TABLE imports (
    id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('uploading', 'queued', 'running', 'completed', 'cancelled', 'failed')),
    source text NOT NULL CHECK (source IN ('upload', 'file')),
    format text NOT NULL CHECK (format IN ('csv', 'ndjson')),
    name text CHECK (char_length(name) <= 200),
    settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
    dry_run boolean NOT NULL,
    digest bytea CHECK (octet_length(digest) = 32),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    position bigint NOT NULL CHECK (position >= 0),
    line bigint NOT NULL CHECK (line >= 1),
    rows_read bigint NOT NULL CHECK (rows_read >= 0),
    rows_imported bigint NOT NULL CHECK (rows_imported >= 0),
    rows_failed bigint NOT NULL CHECK (rows_failed >= 0),
    rows_per_minute bigint NOT NULL CHECK (rows_per_minute >= 0),
    reason text,
    actor_kind text NOT NULL CHECK (actor_kind IN ('staff', 'operator')),
    actor_id text,
    idempotency_key text CHECK (char_length(idempotency_key) <= 255),
    request_hash bytea CHECK (octet_length(request_hash) = 32),
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT imports_rows_add_up CHECK (rows_read = rows_imported + rows_failed),
    CONSTRAINT imports_end CHECK ((finished_at IS NOT NULL) = (state IN ('completed', 'cancelled', 'failed')))
-- Rewritten with every block: room on the page, so that no index is touched.
) WITH (fillfactor = 50);
CREATE INDEX imports_created ON imports (created_at, id);
CREATE INDEX imports_unfinished ON imports (created_at) WHERE finished_at IS NULL;
CREATE INDEX imports_finished ON imports (finished_at);
CREATE INDEX imports_digest ON imports (digest);
CREATE UNIQUE INDEX imports_idempotency_key ON imports (actor_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
COMMENT ON TABLE imports IS 'Imports of customers: what each was told, and how far it is; written in the transaction of the rows';
COMMENT ON COLUMN imports.id IS 'UUIDv7; the audit entries of its rows bear it with the line, as import:<id>:<line>';
COMMENT ON COLUMN imports.state IS 'uploading (not yet an import), queued, running, completed, cancelled or failed';
COMMENT ON COLUMN imports.source IS 'upload: the file is in import_chunks, any node goes on; file: whoever runs the command has it';
COMMENT ON COLUMN imports.format IS 'csv or ndjson';
COMMENT ON COLUMN imports.name IS 'What people call it, such as the name of the file';
COMMENT ON COLUMN imports.settings IS 'Columns, mapping, delimiter, parameters of hashes';
COMMENT ON COLUMN imports.dry_run IS 'Whether rows are only judged and nothing is written';
COMMENT ON COLUMN imports.digest IS 'SHA-256 of the content and the settings, by which a command knows its file again';
COMMENT ON COLUMN imports.bytes IS 'Length of the file';
COMMENT ON COLUMN imports.position IS 'Bytes that are done with: the next row begins there';
COMMENT ON COLUMN imports.line IS 'The line, from 1, that begins there';
COMMENT ON COLUMN imports.rows_read IS 'Rows that are done with';
COMMENT ON COLUMN imports.rows_imported IS 'Of these, rows that became customers';
COMMENT ON COLUMN imports.rows_failed IS 'Of these, rows that were refused';
COMMENT ON COLUMN imports.rows_per_minute IS 'The pace of late, pauses included';
COMMENT ON COLUMN imports.reason IS 'Why it failed, for programs';
COMMENT ON COLUMN imports.actor_kind IS 'Who asked for it: staff or operator (the command line)';
COMMENT ON COLUMN imports.actor_id IS 'The staff key''s id';
COMMENT ON COLUMN imports.idempotency_key IS 'The Idempotency-Key of the request; kept as long as the import';
COMMENT ON COLUMN imports.request_hash IS 'What the key stands for: SHA-256 of method, path, query and body';
COMMENT ON COLUMN imports.created_at IS 'When it was asked for';
COMMENT ON COLUMN imports.touched_at IS 'When something last came in, or a block was done';
COMMENT ON COLUMN imports.started_at IS 'When its first block began';
COMMENT ON COLUMN imports.finished_at IS 'When it was over';

CREATE TABLE import_chunks (
    import_id uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number >= 0),
    data bytea NOT NULL,
    PRIMARY KEY (import_id, number)
);
-- Read once and deleted: compressing it would cost more than it saves.
ALTER TABLE import_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON TABLE import_chunks IS 'Uploaded files in pieces of one length, until their rows are imported: any node finds them, and a kill loses none';
COMMENT ON COLUMN import_chunks.import_id IS 'Of which import';
COMMENT ON COLUMN import_chunks.number IS 'Its place in the file, from 0';
COMMENT ON COLUMN import_chunks.data IS 'Bytes as they came; all but the last piece are of one length';

CREATE TABLE import_errors (
    import_id uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    line bigint NOT NULL CHECK (line >= 1),
    number integer NOT NULL CHECK (number >= 0),
    field text,
    code text NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (import_id, line, number)
);
COMMENT ON TABLE import_errors IS 'What kept rows of imports from becoming customers; never the values';
COMMENT ON COLUMN import_errors.import_id IS 'Of which import';
COMMENT ON COLUMN import_errors.line IS 'Where the row begins, from 1';
COMMENT ON COLUMN import_errors.number IS 'Which of the row''s errors, from 0';
COMMENT ON COLUMN import_errors.field IS 'Our name of the field; none where the row as a whole is at fault';
COMMENT ON COLUMN import_errors.code IS 'What is wrong, for programs';
COMMENT ON COLUMN import_errors.detail IS 'What is wrong, for people';
