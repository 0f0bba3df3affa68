-- Where status lists tell of access tokens: those of one session, grant and
-- epoch share a place, until no one of them can be alive.
CREATE TABLE status_places (
	place    INTEGER PRIMARY KEY,
	grant_id TEXT NOT NULL,
	sid      TEXT NOT NULL,
	subject  TEXT NOT NULL,
	sev      BIGINT NOT NULL,
	until    BIGINT NOT NULL,
	UNIQUE (grant_id, sid, sev)
);
CREATE INDEX status_places_until ON status_places (until);
