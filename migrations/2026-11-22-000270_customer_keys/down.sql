-- Secrets that these keys sealed do not open any more: their owners set authenticators up anew.
COMMENT ON COLUMN customer_totp.secret IS 'The shared secret, sealed for this customer';
DROP TABLE customer_keys.data_keys;
DROP SCHEMA customer_keys;
