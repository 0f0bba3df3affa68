-- oldest: 0012
-- Who came from elsewhere: what users were called there, how far each import is,
-- and which of its lines were refused.
CREATE TABLE external_ids (
	external_id TEXT PRIMARY KEY,
	user_id     TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE imports (
	id     TEXT PRIMARY KEY,
	bytes  BIGINT NOT NULL,
	digest TEXT NOT NULL,
	lines  BIGINT NOT NULL,
	made   BIGINT NOT NULL,
	mended BIGINT NOT NULL,
	there  BIGINT NOT NULL,
	at     BIGINT NOT NULL,
	done   INTEGER NOT NULL
);
CREATE TABLE import_refusals (
	import_id TEXT NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
	line      BIGINT NOT NULL,
	code      TEXT NOT NULL,
	detail    TEXT NOT NULL,
	PRIMARY KEY (import_id, line)
);
