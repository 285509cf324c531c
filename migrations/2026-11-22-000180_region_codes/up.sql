-- Beside the region as its owner wrote it, its code. Rows from before have none until their region or
-- country changes.
ALTER TABLE addresses ADD COLUMN region_code text;
ALTER TABLE addresses ADD CONSTRAINT addresses_region_code CHECK (
    region_code IS NULL
    OR (region IS NOT NULL AND region_code ~ ('^' || country || '-[A-Z0-9]{1,3}$'))
);
COMMENT ON COLUMN addresses.region IS 'State, province or region, as its owner wrote it';
COMMENT ON COLUMN addresses.region_code IS 'ISO 3166-2, of its country; empty where the region is none that is known';
