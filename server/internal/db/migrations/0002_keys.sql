CREATE TABLE keys (
	id         TEXT PRIMARY KEY,
	purpose    TEXT NOT NULL,
	state      TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	not_after  BIGINT NOT NULL,
	sealed     TEXT NOT NULL
);
CREATE UNIQUE INDEX keys_active ON keys (purpose) WHERE state = 'active';
