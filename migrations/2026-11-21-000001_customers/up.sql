CREATE TABLE customer_groups (
    code text PRIMARY KEY CHECK (code ~ '^[a-z0-9_-]{1,64}$'),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE customer_groups IS 'The groups a customer may belong to';
COMMENT ON COLUMN customer_groups.code IS 'What requests and messages name it by';
COMMENT ON COLUMN customer_groups.name IS 'What people read';
COMMENT ON COLUMN customer_groups.created_at IS 'When it came to be';
INSERT INTO customer_groups (code, name) VALUES ('individual', 'Individual'), ('business', 'Business');

CREATE TABLE customers (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (octet_length(email) <= 254),
    email_canonical text NOT NULL CHECK (octet_length(email_canonical) <= 320),
    email_verified_at timestamptz,
    phone text CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    phone_verified_at timestamptz,
    first_name text NOT NULL CHECK (char_length(first_name) BETWEEN 1 AND 100),
    last_name text NOT NULL CHECK (char_length(last_name) BETWEEN 1 AND 100),
    customer_type text NOT NULL CHECK (customer_type IN ('individual', 'business')),
    group_code text NOT NULL CONSTRAINT customers_group_fkey REFERENCES customer_groups (code),
    status text NOT NULL CONSTRAINT customers_status_check
        CHECK (status IN ('pending', 'active', 'inactive', 'suspended', 'deletion_scheduled', 'erased')),
    status_before_deletion text CHECK (status_before_deletion IN ('pending', 'active', 'inactive', 'suspended')),
    tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 50),
    accepts_marketing boolean NOT NULL,
    last_sign_in_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    deleted_at timestamptz,
    CONSTRAINT customers_deletion_remembers CHECK ((status = 'deletion_scheduled') = (status_before_deletion IS NOT NULL)),
    CONSTRAINT customers_phone_verified CHECK (phone_verified_at IS NULL OR phone IS NOT NULL)
-- Room on each page, so that an update of a row need not touch the indexes.
) WITH (fillfactor = 85);
CREATE INDEX customers_created ON customers (created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX customers_group ON customers (group_code);
COMMENT ON TABLE customers IS 'A customer: what identifies it, what it is called, where it stands';
COMMENT ON COLUMN customers.id IS 'UUIDv7, never reused';
COMMENT ON COLUMN customers.email IS 'As its owner wrote it (NFC), for sending and showing';
COMMENT ON COLUMN customers.email_canonical IS 'The form to compare: NFKC, case folded, domain in ASCII';
COMMENT ON COLUMN customers.email_verified_at IS 'When its owner proved to receive mail there';
COMMENT ON COLUMN customers.phone IS 'E.164';
COMMENT ON COLUMN customers.phone_verified_at IS 'When its owner proved to receive codes there';
COMMENT ON COLUMN customers.first_name IS 'In the person''s own spelling';
COMMENT ON COLUMN customers.last_name IS 'In the person''s own spelling';
COMMENT ON COLUMN customers.customer_type IS 'individual or business';
COMMENT ON COLUMN customers.group_code IS 'The group it belongs to';
COMMENT ON COLUMN customers.status IS 'Where it stands in its life (rule L3)';
COMMENT ON COLUMN customers.status_before_deletion IS 'What cancelling a scheduled deletion restores';
COMMENT ON COLUMN customers.tags IS 'Staff''s labels, sorted, without doubles';
COMMENT ON COLUMN customers.accepts_marketing IS 'Whether advertising may be sent';
COMMENT ON COLUMN customers.last_sign_in_at IS 'When its newest session began';
COMMENT ON COLUMN customers.created_at IS 'When it came to be';
COMMENT ON COLUMN customers.updated_at IS 'When it, its profile or its preferences last changed';
COMMENT ON COLUMN customers.version IS 'Rises by one with each such change; the ETag';
COMMENT ON COLUMN customers.sequence IS 'Messages written for it so far';
COMMENT ON COLUMN customers.deleted_at IS 'When staff deleted it; it is then absent for every read but audit';

CREATE TABLE customer_identifiers (
    kind text NOT NULL CHECK (kind IN ('email', 'phone')),
    value text NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (kind, value)
);
CREATE INDEX customer_identifiers_customer ON customer_identifiers (customer_id);
COMMENT ON TABLE customer_identifiers IS 'Who owns an address or a number among living customers: keyed by the identifier, so that uniqueness survives distribution';
COMMENT ON COLUMN customer_identifiers.kind IS 'email or phone';
COMMENT ON COLUMN customer_identifiers.value IS 'Canonical e-mail address, or E.164 number';
COMMENT ON COLUMN customer_identifiers.customer_id IS 'Its owner';

CREATE TABLE customer_profiles (
    customer_id uuid PRIMARY KEY REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    date_of_birth date,
    gender text CHECK (char_length(gender) <= 40),
    avatar_url text CHECK (char_length(avatar_url) <= 2000),
    company text CHECK (char_length(company) <= 200),
    tax_id text CHECK (char_length(tax_id) <= 40),
    bio text CHECK (char_length(bio) <= 1000),
    custom jsonb NOT NULL CHECK (jsonb_typeof(custom) = 'object'),
    version bigint NOT NULL CHECK (version >= 1)
) WITH (fillfactor = 85);
COMMENT ON TABLE customer_profiles IS 'Optional particulars of a customer';
COMMENT ON COLUMN customer_profiles.customer_id IS 'Whose';
COMMENT ON COLUMN customer_profiles.date_of_birth IS 'Day of birth';
COMMENT ON COLUMN customer_profiles.gender IS 'In the person''s own words';
COMMENT ON COLUMN customer_profiles.avatar_url IS 'https address of a picture';
COMMENT ON COLUMN customer_profiles.company IS 'Company name';
COMMENT ON COLUMN customer_profiles.tax_id IS 'Tax number as its country writes it';
COMMENT ON COLUMN customer_profiles.bio IS 'A few lines about oneself';
COMMENT ON COLUMN customer_profiles.custom IS 'Custom attributes: scalars by key';
COMMENT ON COLUMN customer_profiles.version IS 'Rises by one with each change; the ETag';

CREATE TABLE customer_preferences (
    customer_id uuid PRIMARY KEY REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    locale text NOT NULL CHECK (char_length(locale) BETWEEN 2 AND 35),
    timezone text NOT NULL CHECK (char_length(timezone) BETWEEN 1 AND 64),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    channel_email boolean NOT NULL,
    channel_sms boolean NOT NULL,
    channel_push boolean NOT NULL,
    topics text[] NOT NULL CHECK (cardinality(topics) <= 50),
    custom jsonb NOT NULL CHECK (jsonb_typeof(custom) = 'object'),
    version bigint NOT NULL CHECK (version >= 1)
) WITH (fillfactor = 85);
COMMENT ON TABLE customer_preferences IS 'How a customer wants to be spoken to';
COMMENT ON COLUMN customer_preferences.customer_id IS 'Whose';
COMMENT ON COLUMN customer_preferences.locale IS 'BCP 47 language tag';
COMMENT ON COLUMN customer_preferences.timezone IS 'IANA time zone';
COMMENT ON COLUMN customer_preferences.currency IS 'ISO 4217 code';
COMMENT ON COLUMN customer_preferences.channel_email IS 'May be contacted by e-mail';
COMMENT ON COLUMN customer_preferences.channel_sms IS 'May be contacted by SMS';
COMMENT ON COLUMN customer_preferences.channel_push IS 'May be contacted by push notification';
COMMENT ON COLUMN customer_preferences.topics IS 'Topics followed, sorted, without doubles';
COMMENT ON COLUMN customer_preferences.custom IS 'Custom preferences: scalars by key';
COMMENT ON COLUMN customer_preferences.version IS 'Rises by one with each change; the ETag';

CREATE TABLE addresses (
    id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    label text CHECK (char_length(label) <= 80),
    recipient text NOT NULL CHECK (char_length(recipient) BETWEEN 1 AND 200),
    company text CHECK (char_length(company) <= 200),
    line1 text NOT NULL CHECK (char_length(line1) BETWEEN 1 AND 200),
    line2 text CHECK (char_length(line2) <= 200),
    city text NOT NULL CHECK (char_length(city) BETWEEN 1 AND 200),
    region text CHECK (char_length(region) <= 200),
    postal_code text CHECK (char_length(postal_code) <= 16),
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    phone text CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    default_shipping boolean NOT NULL,
    default_billing boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (customer_id, id),
    -- At most one default per kind (rule D1), checked at commit: within a transaction the hand-over
    -- may pass through a moment with two. A partial unique index cannot be deferred; this can.
    CONSTRAINT addresses_one_default_shipping EXCLUDE USING btree (customer_id WITH =) WHERE (default_shipping) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT addresses_one_default_billing EXCLUDE USING btree (customer_id WITH =) WHERE (default_billing) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE addresses IS 'Address books';
COMMENT ON COLUMN addresses.id IS 'UUIDv7';
COMMENT ON COLUMN addresses.customer_id IS 'Whose';
COMMENT ON COLUMN addresses.label IS 'The owner''s name for it';
COMMENT ON COLUMN addresses.recipient IS 'Who receives there';
COMMENT ON COLUMN addresses.company IS 'Company';
COMMENT ON COLUMN addresses.line1 IS 'Street and number';
COMMENT ON COLUMN addresses.line2 IS 'Second line';
COMMENT ON COLUMN addresses.city IS 'City';
COMMENT ON COLUMN addresses.region IS 'State, province or region';
COMMENT ON COLUMN addresses.postal_code IS 'In the spelling of its country';
COMMENT ON COLUMN addresses.country IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN addresses.phone IS 'E.164, for the carrier';
COMMENT ON COLUMN addresses.default_shipping IS 'Whether parcels go there unless said otherwise';
COMMENT ON COLUMN addresses.default_billing IS 'Whether invoices go there unless said otherwise';
COMMENT ON COLUMN addresses.created_at IS 'When it was added';
COMMENT ON COLUMN addresses.updated_at IS 'When it last changed';
COMMENT ON COLUMN addresses.last_used_at IS 'When it was last added, changed or made a default: who inherits a deleted default';
COMMENT ON COLUMN addresses.version IS 'Rises by one with each change; the ETag';

CREATE TABLE passwords (
    customer_id uuid PRIMARY KEY REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    hash text NOT NULL CHECK (octet_length(hash) BETWEEN 20 AND 500),
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE passwords IS 'Password hashes; no row for who never set one';
COMMENT ON COLUMN passwords.customer_id IS 'Whose';
COMMENT ON COLUMN passwords.hash IS 'PHC string';
COMMENT ON COLUMN passwords.changed_at IS 'When the hash was written';
