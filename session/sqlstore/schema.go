package sqlstore

import (
	"fmt"
	"strings"

	"github.com/admit-auth/admit/session"
)

// Schema makes the table and its indexes in SQLite. It changes nothing where they
// stand.
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

// Text that is compared byte by byte, whatever the database's own order is.
const schemaPostgreSQL = `CREATE TABLE IF NOT EXISTS sessions (
	id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	value   BYTEA NOT NULL,
	subject TEXT COLLATE "C" NOT NULL,
	expires BIGINT NOT NULL,
	version BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_by_subject ON sessions (subject, id);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
`

// Bytes, for most collations take "a" for "A" and "a " for "a", and those that do
// not have other names in MySQL than in MariaDB. One statement, for a connection
// takes no more by default.
const schemaMySQL = `CREATE TABLE IF NOT EXISTS sessions (
	id      VARBINARY(200) NOT NULL PRIMARY KEY,
	value   BLOB NOT NULL,
	subject VARBINARY(255) NOT NULL,
	expires BIGINT NOT NULL,
	version BIGINT NOT NULL,
	INDEX sessions_by_subject (subject, id),
	INDEX sessions_by_expiry (expires)
) ENGINE=InnoDB`

var epochPrefix = session.EpochKey("")

// Texts are what a store asks of its database. Expiries are milliseconds since
// 1970. No statement fails in ordinary use: in some databases one that fails takes
// its transaction along.
type texts struct {
	schema string

	get, getWithEpoch, list, listAll  string
	add, swap, touch, version, remove string
	due, sweep, forget, raise         string

	// Get as a transaction of the caller's does, so that what it decides on
	// stands until its commit: forShare for what it only reads.
	forUpdate, forShare string

	// Turn answers whether it is this replica's turn to sweep; done ends it. They
	// are MySQL's: PostgreSQL asks in sweep, and in SQLite there is one writer.
	turn, done string
}

// spoken is what is asked in each dialect.
var spoken = [...]texts{SQLite: common(), PostgreSQL: postgreSQL(), MySQL: mySQL(), postgreSQLReading: reading(postgreSQL())}

// reading is what locks nothing.
func reading(t texts) texts {
	t.forUpdate, t.forShare = t.get, t.get
	return t
}

// common is what all understand, and what SQLite does.
func common() texts {
	const get = `SELECT value, subject, expires, version FROM sessions WHERE id = ?`
	return texts{
		schema: Schema,
		get:    get,
		getWithEpoch: `SELECT s.value, s.subject, s.expires, s.version, e.value
			FROM sessions s LEFT JOIN sessions e ON e.id = '` + epochPrefix + `' || s.subject WHERE s.id = ?`,
		list: `SELECT id, value, subject, expires, version FROM sessions
			WHERE subject = ? AND id > ? ORDER BY id LIMIT ?`,
		listAll: `SELECT id, value, subject, expires, version FROM sessions
			WHERE id > ? ORDER BY id LIMIT ?`,
		add: `INSERT INTO sessions (id, value, subject, expires, version) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`,
		swap: `UPDATE sessions SET value = ?, subject = ?, expires = ?, version = version + 1
			WHERE id = ? AND version = ?`,
		// A touch that is not later finds no row, so that it writes nothing: an
		// unchanged expiry would still be written to its index.
		touch:   `UPDATE sessions SET expires = ? WHERE id = ? AND version = ? AND expires < ?`,
		version: `SELECT version FROM sessions WHERE id = ?`,
		remove:  `DELETE FROM sessions WHERE id = ?`,
		due: `SELECT COUNT(*), COALESCE(MIN(expires), 0), COALESCE(MAX(expires), 0) FROM
			(SELECT expires FROM sessions WHERE expires >= ? AND expires <= ? ORDER BY expires LIMIT ?) AS due`,
		sweep: `DELETE FROM sessions WHERE id IN
			(SELECT id FROM sessions WHERE expires >= ? AND expires <= ? ORDER BY expires LIMIT ?)`,
		forget:    `DELETE FROM sessions WHERE subject = ?`,
		raise:     `UPDATE sessions SET value = ?, version = version + 1 WHERE id = ? AND version = ?`,
		forUpdate: get,
		forShare:  get,
	}
}

func postgreSQL() texts {
	t := common()
	t.schema = schemaPostgreSQL
	t.forUpdate += ` FOR UPDATE`
	t.forShare += ` FOR SHARE`
	// The array is made once, before anything is deleted; a record that somebody
	// is at work on is left for the next time.
	t.sweep = fmt.Sprintf(`DELETE FROM sessions WHERE id = ANY (ARRAY (
		SELECT id FROM sessions WHERE expires >= ? AND expires <= ? AND (SELECT pg_try_advisory_xact_lock(%d))
		ORDER BY expires LIMIT ? FOR UPDATE SKIP LOCKED))`, sweepLock)
	for _, text := range []*string{&t.get, &t.getWithEpoch, &t.list, &t.listAll, &t.add, &t.swap, &t.touch,
		&t.version, &t.remove, &t.due, &t.sweep, &t.forget, &t.raise, &t.forUpdate, &t.forShare} {
		*text = numbered(*text)
	}
	return t
}

// sweepLock is a number that nobody else is likely to lock: "sessions" in ASCII.
const sweepLock = 0x73657373696f6e73

func mySQL() texts {
	t := common()
	t.schema = schemaMySQL
	t.getWithEpoch = strings.Replace(t.getWithEpoch, `'`+epochPrefix+`' || s.subject`, `CONCAT('`+epochPrefix+`', s.subject)`, 1)
	// It says 0 rows for a key that is taken, whether the connection counts the
	// rows it found or those it changed.
	t.add = `INSERT IGNORE INTO sessions (id, value, subject, expires, version) VALUES (?, ?, ?, ?, ?)`
	t.sweep = `DELETE FROM sessions WHERE expires >= ? AND expires <= ? ORDER BY expires LIMIT ?`
	t.forUpdate += ` FOR UPDATE`
	t.forShare += ` LOCK IN SHARE MODE`
	// Names of locks are the server's, and up to 64 letters.
	t.turn = `SELECT GET_LOCK(MD5(CONCAT(DATABASE(), '.sessions')), 0)`
	t.done = `SELECT RELEASE_LOCK(MD5(CONCAT(DATABASE(), '.sessions')))`
	return t
}

// numbered writes a statement's parameters as $1, $2 and so on.
func numbered(text string) string {
	parts := strings.Split(text, "?")
	for i := range parts[1:] {
		parts[i] += fmt.Sprint("$", i+1)
	}
	return strings.Join(parts, "")
}
