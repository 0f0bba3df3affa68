package sqlstore

import "github.com/admit-auth/admit/session"

// Schema makes the table and its indexes. It changes nothing where they stand.
const Schema = `CREATE TABLE IF NOT EXISTS sessions (
	id      VARCHAR(200) NOT NULL PRIMARY KEY,
	value   BLOB NOT NULL,
	subject VARCHAR(255) NOT NULL,
	expires BIGINT NOT NULL,
	version BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_by_subject ON sessions (subject, id);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
`

var epochPrefix = session.EpochKey("")

// What the store asks. Expiries are milliseconds since 1970. No statement fails
// in ordinary use: in some databases one that fails takes its transaction along.
var (
	sqlGet = `SELECT value, subject, expires, version FROM sessions WHERE id = ?`

	sqlGetWithEpoch = `SELECT s.value, s.subject, s.expires, s.version, e.value
		FROM sessions s LEFT JOIN sessions e ON e.id = '` + epochPrefix + `' || s.subject WHERE s.id = ?`

	sqlAdd = `INSERT INTO sessions (id, value, subject, expires, version) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`

	sqlSwap = `UPDATE sessions SET value = ?, subject = ?, expires = ?, version = version + 1
		WHERE id = ? AND version = ?`

	// A touch that is not later finds no row, so that it writes nothing: an
	// unchanged expiry would still be written to its index.
	sqlTouch = `UPDATE sessions SET expires = ? WHERE id = ? AND version = ? AND expires < ?`

	sqlVersion = `SELECT version FROM sessions WHERE id = ?`

	sqlDelete = `DELETE FROM sessions WHERE id = ?`

	sqlList = `SELECT id, value, subject, expires, version FROM sessions
		WHERE subject = ? AND id > ? ORDER BY id LIMIT ?`

	sqlListAll = `SELECT id, value, subject, expires, version FROM sessions
		WHERE id > ? ORDER BY id LIMIT ?`

	sqlSweep = `DELETE FROM sessions WHERE expires <= ? AND id IN
		(SELECT id FROM sessions WHERE expires <= ? ORDER BY expires LIMIT ?)`

	sqlRaise = `UPDATE sessions SET value = ?, version = version + 1 WHERE id = ? AND version = ?`
)
