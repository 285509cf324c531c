ALTER TABLE addresses DROP COLUMN region_code;
COMMENT ON COLUMN addresses.region IS 'State, province or region';
