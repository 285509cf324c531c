DROP INDEX customers_search;
ALTER TABLE customers DROP COLUMN search_text;
ALTER TABLE customers ADD COLUMN search_text text NOT NULL
    GENERATED ALWAYS AS (' ' || folded(first_name || ' ' || last_name || ' ' || email_canonical)) STORED;
ALTER TABLE customers ALTER COLUMN search_text SET STATISTICS 1000;
COMMENT ON COLUMN customers.search_text IS 'Names and address folded for search; each word after a space, so that a beginning can be looked for';
CREATE INDEX customers_search ON customers USING gin (search_text gin_trgm_ops) WHERE deleted_at IS NULL;
DROP FUNCTION searchable(text);
COMMENT ON FUNCTION folded(text) IS 'Without accents and case: the form in which staff''s search compares';
