-- The audit trail, sealed: entries have a place, blocks of them hang together per shard, and signed
-- checkpoints hold the blocks (domain/audit_chain.rs has what is hashed).

-- A transaction has its number before it is given a place: by the numbers of transactions the sealer
-- tells which places may still come. What is there already gets a place, too, which rewrites the table
-- once.
CREATE SEQUENCE audit_entries_seq_seq;
ALTER TABLE audit_entries ADD COLUMN seq bigint NOT NULL
    DEFAULT CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('audit_entries_seq_seq') END;
ALTER SEQUENCE audit_entries_seq_seq OWNED BY audit_entries.seq;
CREATE UNIQUE INDEX audit_entries_seq ON audit_entries (seq);
-- A handful: what was deleted for its age, by the trail's own word.
CREATE INDEX audit_entries_expired ON audit_entries (seq) WHERE action = 'audit.expired';
COMMENT ON COLUMN audit_entries.seq IS 'Its place among all, given before the commit; gaps mean nothing';

CREATE TABLE audit_checkpoints (
    number bigint PRIMARY KEY CHECK (number >= 1),
    up_to bigint NOT NULL,
    blocks integer NOT NULL CHECK (blocks BETWEEN 1 AND 64),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    sealed_at timestamptz NOT NULL,
    key text NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64)
);
CREATE UNIQUE INDEX audit_checkpoints_up_to ON audit_checkpoints (up_to);
COMMENT ON TABLE audit_checkpoints IS 'What the audit trail was at a time, signed: a chain';
COMMENT ON COLUMN audit_checkpoints.number IS 'From 1, without a gap';
COMMENT ON COLUMN audit_checkpoints.up_to IS 'Every entry up to this place is in a block of it or of one before it';
COMMENT ON COLUMN audit_checkpoints.blocks IS 'How many blocks were made with it';
COMMENT ON COLUMN audit_checkpoints.root IS 'SHA-256: the root of the Merkle tree over them, by shard';
COMMENT ON COLUMN audit_checkpoints.previous IS 'SHA-256 of the checkpoint before it; zeros: none';
COMMENT ON COLUMN audit_checkpoints.sealed_at IS 'When it was made';
COMMENT ON COLUMN audit_checkpoints.key IS 'The public key of the signature, Ed25519, base64';
COMMENT ON COLUMN audit_checkpoints.signature IS 'Over the hash of all columns but these two';

CREATE TABLE audit_blocks (
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    number bigint NOT NULL CHECK (number >= 1),
    checkpoint bigint NOT NULL REFERENCES audit_checkpoints (number),
    size integer NOT NULL CHECK (size >= 1),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    entries bigint[] NOT NULL,
    leaves bytea NOT NULL,
    expired_at timestamptz,
    PRIMARY KEY (shard, number),
    CONSTRAINT audit_blocks_leaves CHECK (octet_length(leaves) = 32 * cardinality(entries)),
    CONSTRAINT audit_blocks_size CHECK (cardinality(entries) = CASE WHEN expired_at IS NULL THEN size ELSE 0 END)
);
CREATE UNIQUE INDEX audit_blocks_checkpoint ON audit_blocks (checkpoint, shard);
CREATE INDEX audit_blocks_kept ON audit_blocks (checkpoint) WHERE expired_at IS NULL;
COMMENT ON TABLE audit_blocks IS 'Audit entries of one shard that were sealed together: a chain per shard';
COMMENT ON COLUMN audit_blocks.shard IS 'Of which shard';
COMMENT ON COLUMN audit_blocks.number IS 'From 1, per shard, without a gap';
COMMENT ON COLUMN audit_blocks.checkpoint IS 'The checkpoint that it was made with';
COMMENT ON COLUMN audit_blocks.size IS 'How many entries it is of';
COMMENT ON COLUMN audit_blocks.root IS 'SHA-256: the root of the Merkle tree over their leaves';
COMMENT ON COLUMN audit_blocks.previous IS 'SHA-256 of the shard''s block before it; zeros: none';
COMMENT ON COLUMN audit_blocks.entries IS 'The entries by their places, ascending; empty once they were deleted for their age';
COMMENT ON COLUMN audit_blocks.leaves IS 'SHA-256 of each entry, in the same order; likewise';
COMMENT ON COLUMN audit_blocks.expired_at IS 'When the entries were deleted for their age';

-- The one way for entries to go: whole checkpoints, the oldest first, never in their first month; and
-- the trail says so, in an entry that is sealed as all others.
CREATE FUNCTION audit_expire(before timestamptz, entry uuid, places bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
    last bigint;
    from_place bigint;
    to_place bigint;
    gone bigint;
BEGIN
    IF before > now() - interval '30 days' THEN
        RAISE EXCEPTION 'audit entries stay for 30 days at least' USING ERRCODE = 'restrict_violation';
    END IF;
    -- the sealer's lock: the chain has one hand on it at a time
    PERFORM pg_advisory_xact_lock(7022629598041172065);
    SELECT b.checkpoint INTO first FROM audit_blocks AS b WHERE b.expired_at IS NULL ORDER BY b.checkpoint LIMIT 1;
    SELECT coalesce(max(c.up_to), -9223372036854775808) INTO from_place FROM audit_checkpoints AS c WHERE c.number = first - 1;
    SELECT max(c.number), max(c.up_to) INTO last, to_place FROM audit_checkpoints AS c
    WHERE c.number >= first AND c.number < first + 1000 AND c.sealed_at < before
        AND (c.number = first OR c.up_to - places <= from_place);
    IF last IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM audit_entries AS e WHERE e.seq > from_place AND e.seq <= to_place;
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE audit_blocks AS b SET entries = '{}', leaves = '', expired_at = now()
    WHERE b.checkpoint BETWEEN first AND last;
    INSERT INTO audit_entries (id, shard, actor_kind, action, data, request_id, occurred_at)
    VALUES (entry, 0, 'service', 'audit.expired', jsonb_build_object('up_to', last, 'entries', gone), entry::text, now());
    RETURN gone;
END
$$;
COMMENT ON FUNCTION audit_expire IS 'Deletes the entries of the oldest checkpoints, and says so in the trail';
DO $$
BEGIN
    ALTER FUNCTION audit_expire SECURITY DEFINER;
    EXECUTE format('ALTER FUNCTION audit_expire SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION audit_expire FROM PUBLIC;
END
$$;
