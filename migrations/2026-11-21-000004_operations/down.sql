DROP TABLE signing_keys;
DROP TABLE staff_keys;
DROP TABLE idempotency_keys;
DROP TABLE mails;
DROP TABLE audit_entries;
