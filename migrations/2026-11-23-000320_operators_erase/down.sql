ALTER TABLE erasures DROP CONSTRAINT erasures_requested_by_check;
ALTER TABLE erasures ADD CONSTRAINT erasures_requested_by_check CHECK (requested_by IN ('owner', 'staff'));
COMMENT ON COLUMN erasures.requested_by IS 'owner or staff';
