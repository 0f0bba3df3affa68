-- oldest: 0020
-- Devices that wait for somebody to type their code, which is kept as a keyed digest.
CREATE TABLE devices (
	id         TEXT PRIMARY KEY,
	client_id  TEXT NOT NULL,
	user_code  TEXT NOT NULL UNIQUE,
	grant_id   TEXT NOT NULL,
	decision   TEXT NOT NULL,
	wait       BIGINT NOT NULL,
	digest     BLOB NOT NULL,
	expires_at BIGINT NOT NULL,
	data       TEXT NOT NULL,
	decided_by TEXT NOT NULL
);
CREATE INDEX devices_expires ON devices (expires_at);
