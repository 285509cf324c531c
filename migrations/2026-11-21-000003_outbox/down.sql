DROP TABLE outbox_cursors;
DROP FUNCTION outbox_append;
DROP FUNCTION outbox_hour;
DROP SEQUENCE outbox_hours;
DROP TABLE outbox_events;
DROP SEQUENCE outbox_seq;
