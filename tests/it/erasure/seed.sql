-- One customer with a value in every personal column: {id} is its id, {m} a mark that nothing else holds,
-- {n} its number, {segment} a segment of the shop, {bytes} 32 bytes that begin with the mark.
INSERT INTO customers (id, email, email_canonical, email_verified_at, phone, phone_verified_at, first_name, last_name,
    customer_type, group_code, status, status_before_deletion, tags, accepts_marketing, last_sign_in_at, created_at,
    updated_at, version, sequence)
VALUES ('{id}', '{m}@people.example', '{m}@people.example', now(), '+8499{n}', now(), '{m} first', '{m} last',
    'individual', 'individual', 'deletion_scheduled', 'active', ARRAY['{m} tag'], true, now(), now(), now(), 1, 0);
INSERT INTO customer_identifiers VALUES ('email', '{m}@people.example', '{id}', NULL),
    ('phone', '+8499{n}', '{id}', now() + interval '1 day'), ('social:google', '{m} subject', '{id}', NULL);
INSERT INTO customer_profiles VALUES
    ('{id}', '1911-11-11', '{m}', 'https://{m}.example/', '{m}', '{m}', '{m}', '{"pet": "{m}"}', 1);
INSERT INTO customer_preferences VALUES
    ('{id}', '{m}', '{m}', 'VND', true, true, true, ARRAY['{m}'], '{"hat": "{m}"}', 1);
INSERT INTO addresses (id, customer_id, label, recipient, company, line1, line2, city, region, postal_code, country,
    phone, default_shipping, default_billing, created_at, updated_at, last_used_at, version, region_code)
VALUES (gen_random_uuid(), '{id}', '{m}', '{m}', '{m}', '{m}', '{m}', '{m}', '{m}', '{m}', 'VN', '+8499{n}', true, true,
    now(), now(), now(), 1, 'VN-SG');
INSERT INTO wishlists VALUES ('{id}', '{id}', '{m}', {bytes}, {bytes}, 1, now(), 1);
INSERT INTO wishlist_items VALUES (gen_random_uuid(), '{id}', '{id}', '{m}', 1, '{m}', 1, 'VND', now(), 1);
INSERT INTO consent_entries VALUES ('{id}', 1, 'marketing', 'email', true, '{m}', '{m}', 'staff', '{m}', 'staff', '{m}',
    '{m}', now());
INSERT INTO consents VALUES ('{id}', 'marketing', 'email', true, '{m}', '{m}', 'staff', 1, now());
INSERT INTO customer_notes VALUES (gen_random_uuid(), '{id}', '{m}', 'somebody', now());
INSERT INTO passwords VALUES ('{id}', '{m} and some more', now());
INSERT INTO customer_totp VALUES ('{id}', {bytes}, now(), now(), 1);
INSERT INTO backup_codes VALUES ('{id}', {bytes}, now());
INSERT INTO passkeys VALUES (gen_random_uuid(), '{id}', {bytes}, gen_random_uuid(), '{"key": "{m}"}', 1, '{m}', true, true,
    true, now(), now(), 1);
INSERT INTO identities VALUES ('{id}', 'google', '{m} subject', '{m}@people.example', now());
INSERT INTO devices VALUES ('{id}', '{id}', {bytes}, now(), now());
INSERT INTO sessions (id, customer_id, method, device_id, device_name, user_agent, client_address, refresh_hash, generation,
    previous_hash, rotated_at, created_at, last_seen_at, expires_at, absolute_expires_at, revoked_at, second_factor)
VALUES (gen_random_uuid(), '{id}', 'password', '{id}', '{m}', '{m}', '203.0.113.77', {bytes}, 1, {bytes}, now(), now(), now(),
    now() + interval '1 day', now() + interval '1 day', now(), 'totp');
INSERT INTO one_time_tokens (token_hash, customer_id, purpose, password_hash, email, created_at, expires_at, used_at, voided_at)
VALUES ({bytes}, '{id}', 'reset_password', '{m} and some more', '{m}@people.example', now(), now() + interval '1 day', now(), NULL);
INSERT INTO one_time_tokens (token_hash, customer_id, purpose, email, created_at, expires_at, voided_at)
VALUES (sha256({bytes}), '{id}', 'change_email', '{m}@people.example', now(), now() + interval '1 day', now());
INSERT INTO phone_confirmations VALUES ('{id}', gen_random_uuid(), '+8499{n}', {bytes}, 1, now(), now() + interval '1 day');
INSERT INTO sign_in_flows VALUES ({bytes}, 'second_factor', '{id}', {bytes}, now(), now() + interval '1 day', 0, NULL);
INSERT INTO mails (id, customer_id, kind, locale, nonce, created_at, due_at, sent_at, address, codes_left, step, tells_of)
VALUES (gen_random_uuid(), '{id}', 'welcome', '{m}', {bytes}, now(), now(), now(), '{m}@people.example', 3, '{m}', now());
INSERT INTO text_messages (id, customer_id, kind, locale, nonce, created_at, expires_at, due_at, sent_at)
VALUES (gen_random_uuid(), '{id}', 'phone_code', '{m}', {bytes}, now(), now() + interval '1 day', now(), now());
INSERT INTO privacy_exports VALUES ('{id}', '{id}', 'ready', NULL, 'customer', '{id}', NULL, 1, NULL, 1, 1, 1, 32, 1,
    now(), now(), now(), now() + interval '1 day', now());
INSERT INTO privacy_export_pieces VALUES ('{id}', '{id}', 0, {bytes});
INSERT INTO idempotency_keys VALUES ('customer:{id}', '{m}', {bytes}, '{id}', '{"told": "{m}"}', now());
INSERT INTO order_facts VALUES ('{id}', '{m}', 1, 'completed', now(), now(), 'VND', 7, 1, now());
INSERT INTO order_items VALUES ('{id}', '{m}', '{m}', 1);
INSERT INTO order_statistics VALUES ('{id}', 'VND', 0, 1, 0, 0, 7, 1, now(), now(), 1, now());
INSERT INTO parked_order_facts VALUES (gen_random_uuid(), {bytes}, 'poison', '{id}', '{m}', 1, 'order.placed', NULL,
    convert_to('{m}', 'UTF8'), 1, 0, now(), NULL);
WITH run AS (INSERT INTO reconciliation_runs VALUES (gen_random_uuid(), 'facts', '{id}', 'node', '{id}', 1, 1, 1, 0, NULL,
    now(), now(), now()) RETURNING id)
INSERT INTO reconciliation_differences SELECT id, '{id}', '{m}', '{m}', '{m}', '{m}', now() FROM run;
INSERT INTO segment_members VALUES ('{id}', '{segment}', now(), 'manual');
INSERT INTO segment_flips VALUES ('{id}', '{segment}', 0, now() + interval '1 year');
INSERT INTO erasures (id, customer_id, state, requested_by, staff_key, status_before, segments,
    requested_at, due_at, legal_due_at, look_at)
VALUES (gen_random_uuid(), '{id}', 'scheduled', 'owner', NULL, 'active',
    '[{"id": "{segment}", "since": "2026-11-23T00:00:00Z"}]', now() - interval '31 days', now() + interval '1 day', now(), now() + interval '1 day');
