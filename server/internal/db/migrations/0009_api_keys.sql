CREATE TABLE api_keys (
	id           TEXT PRIMARY KEY,
	user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	digest       BLOB NOT NULL,
	name         TEXT NOT NULL,
	scopes       TEXT NOT NULL,
	audiences    TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	ended_at     BIGINT NOT NULL
);
CREATE INDEX api_keys_user ON api_keys (user_id);
