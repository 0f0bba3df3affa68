-- Clients that register themselves: those of strangers go when nobody uses them, and
-- others come with an invite. A program that does not know of it would show a stranger's
-- as if somebody had looked at it: none that is older may run beside it.
ALTER TABLE clients ADD COLUMN stranger_since BIGINT NOT NULL DEFAULT 0;
CREATE INDEX clients_strangers ON clients (stranger_since) WHERE stranger_since > 0;
CREATE INDEX clients_known ON clients (id) WHERE stranger_since = 0;
CREATE TABLE invites (
	id         TEXT PRIMARY KEY,
	digest     BLOB NOT NULL,
	uses       BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX invites_expires ON invites (expires_at);
