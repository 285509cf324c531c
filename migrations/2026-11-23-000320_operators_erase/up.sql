-- Whoever restored a backup erases again whom the ledger names.
ALTER TABLE erasures DROP CONSTRAINT erasures_requested_by_check;
ALTER TABLE erasures ADD CONSTRAINT erasures_requested_by_check
    CHECK (requested_by IN ('owner', 'staff', 'operator'));
COMMENT ON COLUMN erasures.requested_by IS 'owner, staff, or operator: by the ledger, after a backup was restored';
