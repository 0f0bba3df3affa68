-- oldest: 0025
-- Tokens also end with the client that they were given to: those of a grant that are
-- another client's, by an exchange, have a place of their own.
CREATE TABLE places (
	place     INTEGER PRIMARY KEY,
	grant_id  TEXT NOT NULL,
	sid       TEXT NOT NULL,
	subject   TEXT NOT NULL,
	sev       BIGINT NOT NULL,
	client_id TEXT NOT NULL, -- '' of the server's own
	until     BIGINT NOT NULL,
	UNIQUE (grant_id, sid, sev, client_id)
);
INSERT INTO places (place, grant_id, sid, subject, sev, client_id, until)
	SELECT place, grant_id, sid, subject, sev,
		coalesce((SELECT g.client_id FROM grants g WHERE g.id = s.grant_id), (SELECT c.id FROM clients c WHERE c.id = s.subject), ''), until
	FROM status_places s;
DROP TABLE status_places;
ALTER TABLE places RENAME TO status_places;
CREATE INDEX status_places_until ON status_places (until);
CREATE INDEX status_places_client ON status_places (client_id) WHERE client_id <> '';
