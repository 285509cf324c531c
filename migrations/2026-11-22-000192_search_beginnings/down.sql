DROP INDEX customers_beginnings;
DROP FUNCTION word_beginnings(text);
