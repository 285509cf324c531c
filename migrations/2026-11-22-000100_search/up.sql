-- Both come with PostgreSQL (package postgresql-contrib, part of the server on Debian) and are
-- trusted: the owner of a database may add them.
CREATE EXTENSION IF NOT EXISTS unaccent WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

-- PostgreSQL calls unaccent() merely stable, because its dictionary could be replaced; whoever does
-- that must rewrite customers.search_text.
CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    AS $$ SELECT lower(public.unaccent('public.unaccent'::regdictionary, normalize($1, NFKC))) $$;
COMMENT ON FUNCTION folded(text) IS 'Without accents and case: the form in which staff''s search compares';

ALTER TABLE customers ADD COLUMN search_text text NOT NULL
    GENERATED ALWAYS AS (' ' || folded(first_name || ' ' || last_name || ' ' || email_canonical)) STORED;
-- Enough samples to tell a frequent name from a rare one: the planner chooses by it between the
-- index of trigrams and reading newest first.
ALTER TABLE customers ALTER COLUMN search_text SET STATISTICS 1000;
COMMENT ON COLUMN customers.search_text IS 'Names and address folded for search; each word after a space, so that a beginning can be looked for';

CREATE INDEX customers_search ON customers USING gin (search_text gin_trgm_ops) WHERE deleted_at IS NULL;
CREATE INDEX customers_phone ON customers (phone) WHERE deleted_at IS NULL AND phone IS NOT NULL;
CREATE INDEX customers_tags ON customers USING gin (tags) WHERE deleted_at IS NULL;
CREATE INDEX customers_status ON customers (status, created_at DESC, id DESC) WHERE deleted_at IS NULL;
DROP INDEX customers_group;
CREATE INDEX customers_group ON customers (group_code, created_at DESC, id DESC);
