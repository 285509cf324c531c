DROP TABLE phone_confirmations;
DROP TABLE text_messages;
