CREATE TABLE attribute_definitions (
    key text PRIMARY KEY CHECK (key ~ '^[a-z0-9_]{1,64}$'),
    id uuid NOT NULL UNIQUE,
    part text NOT NULL CHECK (part IN ('profile', 'preferences')),
    kind text NOT NULL
        CHECK (kind IN ('text', 'integer', 'decimal', 'boolean', 'date', 'instant', 'choice', 'list')),
    limits jsonb NOT NULL CHECK (jsonb_typeof(limits) = 'object'),
    writer text NOT NULL CHECK (writer IN ('customer', 'staff')),
    reader text NOT NULL CHECK (reader IN ('customer', 'staff')),
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 80),
    description text CHECK (char_length(description) <= 500),
    searchable boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    CONSTRAINT attribute_definitions_written_is_read CHECK (writer = 'staff' OR reader = 'customer')
);
COMMENT ON TABLE attribute_definitions IS 'What the shop keeps of its customers beyond the fields that every shop has; at most a few hundred';
COMMENT ON COLUMN attribute_definitions.key IS 'What requests, messages and conditions name it by';
COMMENT ON COLUMN attribute_definitions.id IS 'UUIDv7; another one when the key is defined anew: what its messages are about';
COMMENT ON COLUMN attribute_definitions.part IS 'Where the values are: profile or preferences';
COMMENT ON COLUMN attribute_definitions.kind IS 'Of which type they are';
COMMENT ON COLUMN attribute_definitions.limits IS 'Within which limits, by name; those that the type knows';
COMMENT ON COLUMN attribute_definitions.writer IS 'Who may write values: customer (the owner, and staff) or staff';
COMMENT ON COLUMN attribute_definitions.reader IS 'Who may read them: likewise';
COMMENT ON COLUMN attribute_definitions.title IS 'What people read';
COMMENT ON COLUMN attribute_definitions.description IS 'What it is for';
COMMENT ON COLUMN attribute_definitions.searchable IS 'Whether staff''s search may ask for it';
COMMENT ON COLUMN attribute_definitions.created_at IS 'When it came to be';
COMMENT ON COLUMN attribute_definitions.updated_at IS 'When it last changed';
COMMENT ON COLUMN attribute_definitions.version IS 'Rises by one with each change; the ETag, and the number of its latest message';

-- Whether anybody holds an attribute, and who holds a value of it. Who holds none (as everybody does
-- who has just registered) is not in the index and costs nothing.
CREATE INDEX customer_profiles_custom ON customer_profiles USING gin (custom) WHERE custom <> '{}';
CREATE INDEX customer_preferences_custom ON customer_preferences USING gin (custom) WHERE custom <> '{}';
-- Enough samples to tell a frequent value from a rare one: the planner chooses by it between these
-- indexes and reading newest first.
ALTER TABLE customer_profiles ALTER COLUMN custom SET STATISTICS 1000;
ALTER TABLE customer_preferences ALTER COLUMN custom SET STATISTICS 1000;
COMMENT ON COLUMN customer_profiles.custom IS 'Custom attributes by key, each as its definition says';
COMMENT ON COLUMN customer_preferences.custom IS 'Custom attributes by key, each as its definition says';
