CREATE TABLE refresh_families (
	id         TEXT PRIMARY KEY,
	sid        TEXT NOT NULL,
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	client_id  TEXT NOT NULL,
	scope      TEXT NOT NULL,
	jkt        TEXT NOT NULL,
	ended      TEXT NOT NULL,
	expires_at BIGINT NOT NULL,
	n          BIGINT NOT NULL,
	current    BLOB NOT NULL,
	previous   BLOB NOT NULL,
	rotated_at BIGINT NOT NULL
);
CREATE INDEX refresh_families_user ON refresh_families (user_id);
CREATE INDEX refresh_families_expires ON refresh_families (expires_at);
