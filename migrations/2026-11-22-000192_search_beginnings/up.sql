-- A beginning was looked up by its trigrams, all of which had to be met with each other: where most
-- addresses begin alike, 30 ms for one customer among a million. Now by itself.
CREATE FUNCTION word_beginnings(text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 1000
    AS $$ SELECT array_agg(DISTINCT left(word, length)) FROM unnest(string_to_array($1, ' ')) AS word
        CROSS JOIN LATERAL generate_series(1, least(16, char_length(word))) AS length $$;
COMMENT ON FUNCTION word_beginnings(text) IS 'The beginnings of words, of one to sixteen characters';
CREATE INDEX customers_beginnings ON customers USING gin (word_beginnings(search_text)) WHERE deleted_at IS NULL;
-- Whoever asks does not weigh it against other ways, so nobody needs to know how frequent each is.
ALTER INDEX customers_beginnings ALTER COLUMN 1 SET STATISTICS 0;
