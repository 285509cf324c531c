CREATE TABLE text_messages (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    kind text NOT NULL CHECK (kind IN ('phone_code')),
    locale text NOT NULL,
    nonce bytea CHECK (octet_length(nonce) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    last_error text,
    sent_at timestamptz,
    given_up_at timestamptz,
    CONSTRAINT text_messages_one_end CHECK (sent_at IS NULL OR given_up_at IS NULL)
) WITH (fillfactor = 70);
CREATE INDEX text_messages_due ON text_messages (due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX text_messages_customer ON text_messages (customer_id);
CREATE INDEX text_messages_created ON text_messages (created_at);
COMMENT ON TABLE text_messages IS 'Text messages to send: written in the transaction that decided on them, sent by a worker; they name no number';
COMMENT ON COLUMN text_messages.id IS 'UUIDv7; also names the message to the gateway, so that a repetition is recognised';
COMMENT ON COLUMN text_messages.customer_id IS 'To whom; the number is that of the open confirmation which names this message';
COMMENT ON COLUMN text_messages.kind IS 'What it says';
COMMENT ON COLUMN text_messages.locale IS 'In which language';
COMMENT ON COLUMN text_messages.nonce IS 'What the code is derived from, with a key that is not in the database; cleared once the message was sent or given up';
COMMENT ON COLUMN text_messages.created_at IS 'When it was decided on';
COMMENT ON COLUMN text_messages.expires_at IS 'From then on it is not sent: its code is no longer good';
COMMENT ON COLUMN text_messages.due_at IS 'Not before';
COMMENT ON COLUMN text_messages.tries IS 'Failed tries so far';
COMMENT ON COLUMN text_messages.last_error IS 'Why the last try failed; without the number';
COMMENT ON COLUMN text_messages.sent_at IS 'When the gateway took it';
COMMENT ON COLUMN text_messages.given_up_at IS 'When it was given up';

CREATE TABLE phone_confirmations (
    customer_id uuid PRIMARY KEY REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    text_message_id uuid NOT NULL,
    phone text NOT NULL CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    tries smallint NOT NULL CHECK (tries BETWEEN 0 AND 5),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX phone_confirmations_expiry ON phone_confirmations (expires_at);
COMMENT ON TABLE phone_confirmations IS 'Phone numbers that wait for the code sent to them (rules A8, L7): one a customer, so that a newer one voids the older';
COMMENT ON COLUMN phone_confirmations.customer_id IS 'Whose';
COMMENT ON COLUMN phone_confirmations.text_message_id IS 'The message that carries the code';
COMMENT ON COLUMN phone_confirmations.phone IS 'E.164; the number that becomes the customer''s';
COMMENT ON COLUMN phone_confirmations.code_hash IS 'Keyed hash of the code, bound to customer and number';
COMMENT ON COLUMN phone_confirmations.tries IS 'Wrong codes so far; five are allowed';
COMMENT ON COLUMN phone_confirmations.created_at IS 'When it was asked for';
COMMENT ON COLUMN phone_confirmations.expires_at IS 'End of the code''s life';
