DROP TABLE outbox_cursors;
DROP FUNCTION outbox_append;
DROP TABLE outbox_events;
DROP SEQUENCE outbox_seq;
