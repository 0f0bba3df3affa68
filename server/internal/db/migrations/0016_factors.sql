CREATE TABLE factors (
	id         TEXT PRIMARY KEY,
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	kind       TEXT NOT NULL,
	name       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	counter    BIGINT NOT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX factors_user ON factors (user_id, kind);
CREATE TABLE factor_tries (
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	device  TEXT NOT NULL,
	full_at BIGINT NOT NULL,
	PRIMARY KEY (user_id, device)
);
CREATE TABLE factor_losses (
	user_id  TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	begun_at BIGINT NOT NULL,
	due_at   BIGINT NOT NULL,
	told     INTEGER NOT NULL
);
