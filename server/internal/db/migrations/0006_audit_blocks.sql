-- oldest: 0004
-- What a search of the audit passes over; it is filled in the background.
DROP INDEX IF EXISTS audit_by_subject;
DROP INDEX IF EXISTS audit_by_actor;
DROP INDEX IF EXISTS audit_by_event;
DROP INDEX IF EXISTS audit_by_time;
DROP INDEX IF EXISTS audit_by_request;
CREATE INDEX IF NOT EXISTS audit_subject ON audit (subject, id);
CREATE TABLE audit_blocks (
	block INTEGER PRIMARY KEY,
	first BIGINT NOT NULL,
	last  BIGINT NOT NULL
);
CREATE TABLE audit_filters (
	block  INTEGER PRIMARY KEY,
	filter BLOB NOT NULL
);
