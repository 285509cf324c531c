-- Keys are made ahead of their use, take over at an instant that every node knows, and can be revoked.
ALTER TABLE signing_keys ADD COLUMN signs_from timestamptz;
UPDATE signing_keys SET signs_from = created_at;
-- Until now the newest key signed, and whatever was older was retired by that.
UPDATE signing_keys AS older SET retired_at = (
    SELECT min(newer.created_at) FROM signing_keys AS newer WHERE newer.created_at > older.created_at
) WHERE retired_at IS NULL AND created_at < (SELECT max(created_at) FROM signing_keys);
ALTER TABLE signing_keys ALTER COLUMN signs_from SET NOT NULL;
ALTER TABLE signing_keys ADD COLUMN revoked_at timestamptz;
ALTER TABLE signing_keys ADD CONSTRAINT signing_keys_in_order CHECK (created_at <= signs_from AND signs_from <= retired_at);
CREATE UNIQUE INDEX signing_keys_one_last ON signing_keys ((true)) WHERE retired_at IS NULL AND revoked_at IS NULL;
COMMENT ON TABLE signing_keys IS 'Ed25519 keys that sign access tokens; of those whose time has come and that are not revoked, the latest signs';
COMMENT ON COLUMN signing_keys.created_at IS 'When it was made; from then on it is published and verified by';
COMMENT ON COLUMN signing_keys.signs_from IS 'When it takes over from the key before it, on every node';
COMMENT ON COLUMN signing_keys.retired_at IS 'When the key after it takes over; from then on it only verifies, until its last token has expired';
COMMENT ON COLUMN signing_keys.revoked_at IS 'From when on nothing that it signed counts';

-- What people do at the command line, and the service by itself, is written down as well.
ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_actor_kind_check;
ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_actor_kind_check
    CHECK (actor_kind IN ('anonymous', 'customer', 'staff', 'operator', 'service'));
COMMENT ON COLUMN audit_entries.actor_kind IS 'anonymous, customer, staff, operator (at the command line) or service (by itself)';
