COMMENT ON COLUMN customer_profiles.custom IS 'Custom attributes: scalars by key';
COMMENT ON COLUMN customer_preferences.custom IS 'Custom preferences: scalars by key';
ALTER TABLE customer_profiles ALTER COLUMN custom SET STATISTICS -1;
ALTER TABLE customer_preferences ALTER COLUMN custom SET STATISTICS -1;
DROP INDEX customer_preferences_custom;
DROP INDEX customer_profiles_custom;
DROP TABLE attribute_definitions;
