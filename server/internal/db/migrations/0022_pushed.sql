-- oldest: 0020
-- Authorization requests that clients have sent ahead, until they are answered.
CREATE TABLE pushed (
	id         TEXT PRIMARY KEY,
	client_id  TEXT NOT NULL,
	digest     BLOB NOT NULL,
	at         BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	query      TEXT NOT NULL
);
CREATE INDEX pushed_expires ON pushed (expires_at);
