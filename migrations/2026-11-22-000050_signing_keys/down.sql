-- Entries that are there stay, whoever made them.
ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_actor_kind_check;
ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_actor_kind_check
    CHECK (actor_kind IN ('anonymous', 'customer', 'staff')) NOT VALID;
COMMENT ON COLUMN audit_entries.actor_kind IS 'anonymous, customer or staff';

-- Without the column a revoked key would count again.
DELETE FROM signing_keys WHERE revoked_at IS NOT NULL;
DROP INDEX signing_keys_one_last;
ALTER TABLE signing_keys DROP CONSTRAINT signing_keys_in_order;
ALTER TABLE signing_keys DROP COLUMN revoked_at;
ALTER TABLE signing_keys DROP COLUMN signs_from;
COMMENT ON TABLE signing_keys IS 'Ed25519 keys that sign access tokens; the newest that is not retired signs';
COMMENT ON COLUMN signing_keys.created_at IS 'When it was made';
COMMENT ON COLUMN signing_keys.retired_at IS 'Since when it only verifies';
