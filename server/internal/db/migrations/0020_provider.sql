-- Applications that people let in, and what came of it. A program that does not
-- know of it would sign people out everywhere and leave grants alive: none that is
-- older may run beside it.
CREATE TABLE clients (
	id          TEXT PRIMARY KEY,
	version     BIGINT NOT NULL,
	access_life BIGINT NOT NULL,
	hears       INTEGER NOT NULL,
	data        TEXT NOT NULL
);
CREATE TABLE consents (
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	client_id  TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
	scopes     TEXT NOT NULL,
	audiences  TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL,
	PRIMARY KEY (user_id, client_id)
);
CREATE INDEX consents_client ON consents (client_id);
-- A code and an access token are good only with the session or the grant that they
-- name: those end, and these go when they expire.
CREATE TABLE codes (
	id         TEXT PRIMARY KEY,
	client_id  TEXT NOT NULL,
	grant_id   TEXT NOT NULL,
	digest     BLOB NOT NULL,
	expires_at BIGINT NOT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX codes_expires ON codes (expires_at);
CREATE TABLE grants (
	id         TEXT PRIMARY KEY,
	client_id  TEXT NOT NULL,
	subject    TEXT NOT NULL,
	sid        TEXT NOT NULL,
	offline    INTEGER NOT NULL,
	ended      TEXT NOT NULL,
	expires_at BIGINT NOT NULL,
	n          BIGINT NOT NULL,
	current    BLOB NOT NULL,
	previous   BLOB NOT NULL,
	rotated_at BIGINT NOT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX grants_subject ON grants (subject) WHERE subject <> '';
CREATE INDEX grants_sid ON grants (sid) WHERE sid <> '' AND ended = '';
CREATE INDEX grants_client ON grants (client_id);
CREATE INDEX grants_expires ON grants (expires_at);
CREATE TABLE access_tokens (
	id         TEXT PRIMARY KEY,
	grant_id   TEXT NOT NULL,
	digest     BLOB NOT NULL,
	expires_at BIGINT NOT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX access_tokens_expires ON access_tokens (expires_at);
-- Clients that must be told that a session has ended.
CREATE TABLE deliveries (
	id        TEXT PRIMARY KEY,
	client_id TEXT NOT NULL,
	subject   TEXT NOT NULL,
	sid       TEXT NOT NULL,
	at        BIGINT NOT NULL,
	tries     BIGINT NOT NULL,
	due_at    BIGINT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (due_at);
-- What is good once: client assertions, and JWTs that were revoked.
CREATE TABLE spent (
	purpose TEXT NOT NULL,
	id      TEXT NOT NULL,
	until   BIGINT NOT NULL,
	PRIMARY KEY (purpose, id)
);
CREATE INDEX spent_until ON spent (until);
