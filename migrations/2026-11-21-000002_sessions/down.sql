DROP TABLE sign_in_throttles;
DROP TABLE one_time_tokens;
DROP TABLE sessions;
DROP TABLE devices;
