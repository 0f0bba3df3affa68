CREATE TABLE users (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL,
	locale     TEXT NOT NULL,
	disabled   INTEGER NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE TABLE user_roles (
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	role    TEXT NOT NULL,
	PRIMARY KEY (user_id, role)
);
CREATE TABLE identifiers (
	value      TEXT PRIMARY KEY,
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	kind       TEXT NOT NULL,
	verified   INTEGER NOT NULL,
	is_primary INTEGER NOT NULL,
	position   INTEGER NOT NULL
);
CREATE INDEX identifiers_user ON identifiers (user_id);
CREATE TABLE credentials (
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	kind       TEXT NOT NULL,
	value      TEXT NOT NULL,
	changed_at BIGINT NOT NULL,
	PRIMARY KEY (user_id, kind)
);
CREATE TABLE challenges (
	id         TEXT PRIMARY KEY,
	asker      BLOB NOT NULL,
	link       BLOB NOT NULL,
	purpose    TEXT NOT NULL,
	target     TEXT NOT NULL,
	tries      INTEGER NOT NULL,
	expires_at BIGINT NOT NULL,
	sealed     TEXT NOT NULL
);
CREATE INDEX challenges_target ON challenges (purpose, target);
CREATE INDEX challenges_expires ON challenges (expires_at);
CREATE TABLE audit (
	id         INTEGER PRIMARY KEY,
	at         BIGINT NOT NULL,
	subject    TEXT NOT NULL,
	actor      TEXT NOT NULL,
	event      TEXT NOT NULL,
	detail     TEXT NOT NULL,
	sid        TEXT NOT NULL,
	address    TEXT NOT NULL,
	user_agent TEXT NOT NULL,
	request_id TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);
CREATE TABLE outbox (
	id     INTEGER PRIMARY KEY,
	sealed TEXT NOT NULL,
	tries  INTEGER NOT NULL,
	at     BIGINT NOT NULL,
	due_at BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_at);
