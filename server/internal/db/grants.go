package db

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/token"
)

// What applications were allowed, and what came of it. Columns are what is looked for
// and what is changed; the rest is JSON, in rows that convert to what they are of.

const (
	sqlCode      = "SELECT digest, grant_id, expires_at, data FROM codes WHERE id = ?"
	sqlAddCode   = "INSERT INTO codes (id, client_id, grant_id, digest, expires_at, data) VALUES (?, ?, '', ?, ?, ?)"
	sqlSpendCode = "UPDATE codes SET grant_id = ? WHERE id = ? AND grant_id = ''"

	grantColumns = "SELECT id, client_id, subject, sid, offline, ended, expires_at, n, current, previous, rotated_at, data FROM grants "
	sqlGrant     = grantColumns + "WHERE id = ?"
	sqlAddGrant  = `INSERT INTO grants (id, client_id, subject, sid, offline, ended, expires_at, n, current, previous, rotated_at, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlRotateGrant = `UPDATE grants SET n = n + 1, previous = current, current = ?, rotated_at = ?
		WHERE id = ? AND n = ? AND ended = ''`
	sqlEndGrant = "UPDATE grants SET ended = ? WHERE id = ? AND ended = ''"

	sqlToken    = "SELECT digest, grant_id, expires_at, data FROM access_tokens WHERE id = ?"
	sqlAddToken = "INSERT INTO access_tokens (id, grant_id, digest, expires_at, data) VALUES " + aToken
	aToken      = "(?, ?, ?, ?, ?)"

	sqlSpend = "INSERT INTO spent (purpose, id, until) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

	// Each says all that the index of it does, for one that is partial is passed over
	// otherwise.
	behindSession = "sid = ? AND sid <> ''"
	ofSubject     = "subject = ? AND subject <> ''"

	// Where its session lives, a grant that has ended has a client that is not told yet.
	notOver = " AND (ended = '' OR sid <> '')"

	// Apps ask again, but for those that live behind a session that is spared.
	sqlForgetConsents = `DELETE FROM consents WHERE user_id = ? AND client_id NOT IN
		(SELECT client_id FROM grants WHERE subject = ? AND subject <> '' AND sid = ? AND sid <> '' AND ended = '')`

	consentColumns = "SELECT user_id, client_id, scopes, audiences, created_at, used_at FROM consents "
)

type askedRow struct {
	Client      string                  `json:"client"`
	RedirectURI string                  `json:"redirect_uri"`
	Scopes      []string                `json:"scopes,omitempty"`
	Audiences   []string                `json:"audiences,omitempty"`
	Challenge   string                  `json:"challenge,omitempty"`
	Nonce       string                  `json:"nonce,omitempty"`
	Claims      *provider.ClaimsRequest `json:"claims,omitempty"`
	JKT         string                  `json:"jkt,omitempty"`
	At          time.Time               `json:"at,omitzero"`
}

type sessionRow struct {
	SID      string    `json:"sid"`
	Subject  string    `json:"subject"`
	AuthTime time.Time `json:"auth_time"`
	ACR      string    `json:"acr,omitempty"`
	AMR      []string  `json:"amr,omitempty"`
	Expires  time.Time `json:"expires"`
}

type codeRow struct {
	Asked   askedRow   `json:"asked"`
	Session sessionRow `json:"session"`
}

type grantRow struct {
	Scopes   []string  `json:"scopes,omitempty"`
	Asked    *askedRow `json:"asked,omitempty"` // nil of a client's own
	AuthTime time.Time `json:"auth_time,omitzero"`
	ACR      string    `json:"acr,omitempty"`
	AMR      []string  `json:"amr,omitempty"`
	BegunAt  time.Time `json:"begun_at"`
	JKT      string    `json:"jkt,omitempty"`
}

type tokenRow struct {
	Selector string       `json:"-"`
	Digest   token.Digest `json:"-"`
	Grant    string       `json:"-"`
	Client   string       `json:"client"`
	Subject  string       `json:"subject,omitempty"`
	SID      string       `json:"sid,omitempty"`
	SEV      uint64       `json:"sev,omitempty"`
	Scopes   []string     `json:"scopes,omitempty"`
	Audience []string     `json:"audience,omitempty"`
	JKT      string       `json:"jkt,omitempty"`
	AuthTime time.Time    `json:"auth_time,omitzero"`
	ACR      string       `json:"acr,omitempty"`
	AMR      []string     `json:"amr,omitempty"`
	Issued   time.Time    `json:"issued"`
	Expires  time.Time    `json:"-"`
	Actors   []string     `json:"actors,omitempty"`
}

// text is a row as JSON.
func text(row any) (string, error) {
	b, err := json.Marshal(row)
	if err != nil {
		return "", fmt.Errorf("write a row: %w", err)
	}
	return string(b), nil
}

// parse reads a row.
func parse(data string, row any) error {
	if err := json.Unmarshal([]byte(data), row); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// found makes a row that is not there none.
func found[T any](v *T, err error) (*T, error) {
	switch {
	case noRows(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return v, nil
}

// Consent implements provider.Tx.
func (t providerTx) Consent(subject, client string) (*provider.Consent, error) {
	return found(scanConsent(t.row(consentColumns+"WHERE user_id = ? AND client_id = ?", subject, client)))
}

// Consents implements provider.Tx.
func (t providerTx) Consents(subject string) (all []*provider.Consent, err error) {
	return all, t.query(func(rows *sql.Rows) error {
		c, err := scanConsent(rows)
		all = append(all, c)
		return err
	}, consentColumns+"WHERE user_id = ? ORDER BY client_id", subject)
}

func scanConsent(row interface{ Scan(...any) error }) (*provider.Consent, error) {
	c := &provider.Consent{}
	var scopes, audiences string
	var given, used int64
	err := row.Scan(&c.Subject, &c.Client, &scopes, &audiences, &given, &used)
	c.Scopes, c.Audiences, c.GivenAt, c.LastUsed = strings.Fields(scopes), strings.Fields(audiences), when(given), when(used)
	return c, err
}

// PutConsent implements provider.Tx.
func (t providerTx) PutConsent(c *provider.Consent) error {
	return t.exec(`INSERT INTO consents (user_id, client_id, scopes, audiences, created_at, used_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (user_id, client_id) DO UPDATE SET scopes = excluded.scopes, audiences = excluded.audiences,
			created_at = excluded.created_at, used_at = excluded.used_at`,
		c.Subject, c.Client, strings.Join(c.Scopes, " "), strings.Join(c.Audiences, " "), since(c.GivenAt), since(c.LastUsed))
}

// EndConsent implements provider.Tx.
func (t providerTx) EndConsent(subject, client string) (bool, error) {
	return t.one("DELETE FROM consents WHERE user_id = ? AND client_id = ?", subject, client)
}

// Code implements provider.Tx.
func (t providerTx) Code(selector string) (*provider.Code, error) {
	c := &provider.Code{Selector: selector}
	var digest []byte
	var expires int64
	var data string
	err := t.row(sqlCode, selector).Scan(&digest, &c.Grant, &expires, &data)
	if err == nil {
		var row codeRow
		err = parse(data, &row)
		copy(c.Digest[:], digest)
		c.Expires, c.Asked, c.Session = time.UnixMilli(expires), provider.Asked(row.Asked), provider.Session(row.Session)
	}
	return found(c, err)
}

// AddCode implements provider.Tx.
func (t providerTx) AddCode(c *provider.Code) error {
	data, err := text(codeRow{askedRow(c.Asked), sessionRow(c.Session)})
	if err != nil {
		return err
	}
	return t.exec(sqlAddCode, c.Selector, c.Asked.Client, c.Digest[:], c.Expires.UnixMilli(), data)
}

// SpendCode implements provider.Tx.
func (t providerTx) SpendCode(selector, grant string) (bool, error) {
	return t.one(sqlSpendCode, grant, selector)
}

// Grant implements provider.Tx.
func (t providerTx) Grant(id string) (*provider.Grant, error) {
	return copied(t, nearRow{ofGrant, id}, func() (*provider.Grant, error) { return found(scanGrant(t.row(sqlGrant, id))) })
}

func scanGrant(row interface{ Scan(...any) error }) (*provider.Grant, error) {
	g := &provider.Grant{}
	var current, previous []byte
	var expires, rotated int64
	var data string
	if err := row.Scan(&g.ID, &g.Client, &g.Subject, &g.SID, &g.Offline, &g.Ended, &expires, &g.N, &current, &previous, &rotated, &data); err != nil {
		return nil, err
	}
	copy(g.Current[:], current)
	copy(g.Previous[:], previous)
	g.Expires, g.RotatedAt = time.UnixMilli(expires), when(rotated)
	var r grantRow
	err := parse(data, &r)
	g.Scopes, g.AuthTime, g.ACR, g.AMR, g.BegunAt, g.JKT = r.Scopes, r.AuthTime, r.ACR, r.AMR, r.BegunAt, r.JKT
	if r.Asked != nil {
		g.Asked = provider.Asked(*r.Asked)
	}
	return g, err
}

// AddGrant implements provider.Tx.
func (t providerTx) AddGrant(g *provider.Grant) error {
	row := grantRow{Scopes: g.Scopes, AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, BegunAt: g.BegunAt, JKT: g.JKT}
	if g.Asked.Client != "" {
		asked := askedRow(g.Asked)
		row.Asked = &asked
	}
	data, err := text(row)
	if err != nil {
		return err
	}
	return t.exec(sqlAddGrant, g.ID, g.Client, g.Subject, g.SID, g.Offline, g.Ended, g.Expires.UnixMilli(), g.N, g.Current[:], g.Previous[:], since(g.RotatedAt), data)
}

// RotateGrant implements provider.Tx.
func (t providerTx) RotateGrant(id string, n uint64, next token.Digest, now time.Time) error {
	t.tx().wrote(nearRow{ofGrant, id})
	rotated, err := changed(t.run(sqlRotateGrant, next[:], now.UnixMilli(), id, n))
	if err == nil && rotated == 0 {
		err = errOutdated
	}
	return err
}

// EndGrant implements provider.Tx.
func (t providerTx) EndGrant(id, reason string, _ time.Time) (bool, error) {
	t.tx().wrote(nearRow{ofGrant, id})
	return t.one(sqlEndGrant, reason, id)
}

// Outlive implements provider.Tx.
func (t providerTx) Outlive(id string) error {
	t.tx().wrote(nearRow{ofGrant, id})
	return t.exec("UPDATE grants SET sid = '' WHERE id = ?", id)
}

// GrantsOf implements provider.Tx.
func (t providerTx) GrantsOf(subject, client string) ([]*provider.Grant, error) {
	if client == "" {
		return t.grants("WHERE "+ofSubject+notOver, subject)
	}
	return t.grants("WHERE "+ofSubject+" AND client_id = ?"+notOver, subject, client)
}

// GrantsBehind implements provider.Tx.
func (t providerTx) GrantsBehind(sid string) ([]*provider.Grant, error) {
	return t.grants("WHERE "+behindSession, sid)
}

func (t providerTx) grants(where string, args ...any) (all []*provider.Grant, err error) {
	return all, t.query(func(rows *sql.Rows) error {
		g, err := scanGrant(rows)
		all = append(all, g)
		return err
	}, grantColumns+where+" ORDER BY id", args...)
}

// Token implements provider.Tx.
func (t providerTx) Token(selector string) (*provider.Token, error) {
	return copied(t, nearRow{ofToken, selector}, func() (*provider.Token, error) { return t.token(selector) })
}

func (t providerTx) token(selector string) (*provider.Token, error) {
	if err := t.flushTokens(); err != nil {
		return nil, err
	}
	var row tokenRow
	var digest []byte
	var expires int64
	var data string
	err := t.row(sqlToken, selector).Scan(&digest, &row.Grant, &expires, &data)
	if err == nil {
		err = parse(data, &row)
		copy(row.Digest[:], digest)
		row.Selector, row.Expires = selector, time.UnixMilli(expires)
	}
	return found((*provider.Token)(&row), err)
}

// AddToken implements provider.Tx.
func (t providerTx) AddToken(a *provider.Token) error {
	if !t.writes {
		return provider.ErrReadOnly
	}
	data, err := text((*tokenRow)(a))
	if err != nil {
		return err
	}
	t.closing.tokens = append(t.closing.tokens, a.Selector, a.Grant, a.Digest[:], a.Expires.UnixMilli(), data)
	return nil
}

// Tokens are added at the end of the transaction, those of all who share it together:
// that halves what one costs, and who adds nothing else needs no savepoint.
var sqlAddTokens = func() (all [3]string) {
	for i, n := range addedTokens {
		all[i] = sqlAddToken + strings.Repeat(", "+aToken, n-1)
	}
	return all
}()

// addedTokens is how many each of sqlAddTokens adds.
var addedTokens = [...]int{16, 4, 1}

func (t *tx) addTokens(ctx context.Context, values []any) error {
	const each = 5
	for i, n := range addedTokens {
		for ; len(values) >= n*each; values = values[n*each:] {
			if _, err := t.ExecContext(ctx, sqlAddTokens[i], values[:n*each]...); err != nil {
				return fmt.Errorf("add access tokens: %w", err)
			}
		}
	}
	return nil
}

// flushTokens adds what is to be added at the end, for who looks at one before.
func (t *txn) flushTokens() error {
	var values []any
	if t.before != nil {
		values, t.before.tokens = t.before.tokens, nil
	}
	values = slices.Concat(values, t.closing.tokens)
	t.closing.tokens = nil
	if len(values) == 0 {
		return nil
	}
	return t.tx().addTokens(t.ctx, values)
}

// EndToken implements provider.Tx.
func (t providerTx) EndToken(selector string) error {
	if err := t.flushTokens(); err != nil {
		return err
	}
	t.tx().wrote(nearRow{ofToken, selector})
	return t.exec("DELETE FROM access_tokens WHERE id = ?", selector)
}

// Spend implements provider.Tx.
func (t providerTx) Spend(purpose, id string, until time.Time) (bool, error) {
	t.tx().wrote(spentRow(purpose, id))
	return t.one(sqlSpend, purpose, id, until.UnixMilli())
}

func spentRow(purpose, id string) nearRow { return nearRow{ofSpent, purpose + " " + id} }

// Spent implements provider.Tx.
func (t providerTx) Spent(purpose, id string) (bool, error) {
	spent, err := copied(t, spentRow(purpose, id), func() (*bool, error) {
		spent := new(bool)
		return spent, t.row("SELECT EXISTS (SELECT 1 FROM spent WHERE purpose = ? AND id = ?)", purpose, id).Scan(spent)
	})
	return err == nil && *spent, err
}

// Deliveries implements provider.Tx.
func (t providerTx) Deliveries(now time.Time, most int) (due []*provider.Delivery, err error) {
	return due, t.query(func(rows *sql.Rows) error {
		d := &provider.Delivery{}
		var at, dueAt int64
		err := rows.Scan(&d.ID, &d.Client, &d.Subject, &d.SID, &at, &d.Tries, &dueAt)
		d.At, d.Due = time.UnixMilli(at), time.UnixMilli(dueAt)
		due = append(due, d)
		return err
	}, "SELECT id, client_id, subject, sid, at, tries, due_at FROM deliveries WHERE due_at <= ? ORDER BY due_at, id LIMIT ?", now.UnixMilli(), most)
}

// PutDelivery implements provider.Tx.
func (t providerTx) PutDelivery(d *provider.Delivery) error { return t.tx().putDelivery(t.ctx, d) }

func (t *tx) putDelivery(ctx context.Context, d *provider.Delivery) error {
	_, err := t.ExecContext(ctx, `INSERT INTO deliveries (id, client_id, subject, sid, at, tries, due_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET client_id = excluded.client_id, subject = excluded.subject, sid = excluded.sid, at = excluded.at,
			tries = excluded.tries, due_at = excluded.due_at`,
		d.ID, d.Client, d.Subject, d.SID, d.At.UnixMilli(), d.Tries, d.Due.UnixMilli())
	return err
}

// DropDelivery implements provider.Tx.
func (t providerTx) DropDelivery(id string) error {
	return t.exec("DELETE FROM deliveries WHERE id = ?", id)
}

// What ends beside a session or a user ends in the same transaction, and there it is
// told and its clients are noted down. A worker that did it later, behind the feed, would
// have to be waited for: until then the tokens of the grant count wherever nobody asks.
// And the feed forgets after minutes, so that a server which is down for longer would
// tell no client. It costs one look at an index of grants that live behind sessions.

// endGrantsBehind ends the grants that end with a session. Those for offline access
// outlive it.
func (t *tx) endGrantsBehind(ctx context.Context, sid, reason string, now time.Time) ([]feed.Event, error) {
	gone, err := t.changeGrants(ctx, "ended = ?, sid = ''", behindSession+" AND offline = 0 AND ended = ''", reason, sid)
	if err != nil {
		return nil, err
	}
	// Those that have ended before are of clients where the person is signed in still.
	parted, err := t.changeGrants(ctx, "sid = ''", behindSession, sid)
	if err != nil {
		return nil, err
	}
	all := append(gone, parted...)
	for i := range all {
		all[i].sid, all[i].known = sid, i >= len(gone)
	}
	return t.tellOf(ctx, all, reason, now)
}

// endGrantsOf ends those of a subject whose sessions all end but one, offline access too:
// whoever signs out everywhere, or sets a new password, may do so because of what a thief
// has allowed. For that reason each app asks again, too. It is what
// [provider.Provider.SubjectEnded] does.
func (t *tx) endGrantsOf(ctx context.Context, subject, spared, reason string, now time.Time) ([]feed.Event, error) {
	before, err := t.goneGrants(ctx, "SELECT "+goneColumns+" FROM grants WHERE "+ofSubject+" AND ended <> '' AND sid <> '' AND sid <> ?", subject, spared)
	if err != nil {
		return nil, err
	}
	for i := range before {
		before[i].known = true
	}
	gone, err := t.changeGrants(ctx, "ended = ?", ofSubject+" AND (sid = '' OR sid <> ?) AND ended = ''", reason, subject, spared)
	if err != nil {
		return nil, err
	}
	if _, err := t.changeGrants(ctx, "sid = ''", ofSubject+" AND sid <> '' AND sid <> ?", subject, spared); err != nil {
		return nil, err
	}
	if _, err := t.ExecContext(ctx, sqlForgetConsents, subject, subject, spared); err != nil {
		return nil, fmt.Errorf("forget consents: %w", err)
	}
	return t.tellOf(ctx, append(gone, before...), reason, now)
}

// A goneGrant is one that has ended, or lost its session.
type goneGrant struct {
	gid, client, subject, sid string
	known                     bool // nothing of it ends now, or verifiers have heard that it has
	expires                   time.Time
	life                      time.Duration // of the client's access tokens
	hears                     bool          // the client wants to be told
}

// goneColumns are what is known of a grant to tell of its end.
const goneColumns = `id, client_id, subject, sid, expires_at,
	COALESCE((SELECT c.access_life FROM clients c WHERE c.id = grants.client_id), 0),
	COALESCE((SELECT c.hears FROM clients c WHERE c.id = grants.client_id), 0)`

// changeGrants changes grants, and returns them as they are then.
func (t *tx) changeGrants(ctx context.Context, how, which string, args ...any) ([]goneGrant, error) {
	return t.goneGrants(ctx, "UPDATE grants SET "+how+" WHERE "+which+" RETURNING "+goneColumns, args...)
}

func (t *tx) goneGrants(ctx context.Context, query string, args ...any) (gone []goneGrant, err error) {
	rows, err := t.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("end grants: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var g goneGrant
		var expires, life int64
		if err := rows.Scan(&g.gid, &g.client, &g.subject, &g.sid, &expires, &life, &g.hears); err != nil {
			return nil, fmt.Errorf("end grants: %w", err)
		}
		g.expires, g.life = time.UnixMilli(expires), time.Duration(life)*time.Millisecond
		gone = append(gone, g)
		t.wrote(nearRow{ofGrant, g.gid})
	}
	return gone, rows.Err()
}

// tellOf returns what verifiers must hear, and notes which clients must be told, each
// once of a session.
func (t *tx) tellOf(ctx context.Context, gone []goneGrant, reason string, now time.Time) (told []feed.Event, err error) {
	type place struct{ client, sid string }
	noted := map[place]bool{}
	for _, g := range gone {
		// What came of one that has expired has expired as well.
		if !g.known && now.Before(g.expires) {
			told = append(told, feed.GrantEnded(g.gid, g.subject, reason, now.Add(max(account.ToldFor, g.life+account.ToldAfter))))
		}
		// Of one that had outlived its session the client was told then.
		at := place{g.client, g.sid}
		if !g.hears || g.sid == "" || noted[at] {
			continue
		}
		noted[at] = true
		if err := t.putDelivery(ctx, &provider.Delivery{ID: rand.Text(), Client: g.client, Subject: g.subject, SID: g.sid, At: now, Due: now}); err != nil {
			return nil, fmt.Errorf("note a delivery: %w", err)
		}
	}
	return told, nil
}

func (t *txn) tellEnded(told []feed.Event, err error) error {
	if err != nil {
		return err
	}
	return t.Tell(told...)
}

// forgetGrants removes what a user was behind, who is deleted.
func (t *txn) forgetGrants(user string) error {
	if err := t.tellEnded(t.tx().endGrantsOf(t.ctx, user, "", "account_deleted", t.now)); err != nil {
		return err
	}
	return t.exec("DELETE FROM grants WHERE "+ofSubject, user)
}

var sqlSweepProvider = [...]string{
	"DELETE FROM access_tokens WHERE id IN (SELECT id FROM access_tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
	"DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
	"DELETE FROM codes WHERE id IN (SELECT id FROM codes WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
	"DELETE FROM spent WHERE (purpose, id) IN (SELECT purpose, id FROM spent WHERE until <= ? ORDER BY until LIMIT ?)",
	"DELETE FROM pushed WHERE id IN (SELECT id FROM pushed WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
	sqlSweepDevices,
	sqlSweepInvite,
}

// SweepProvider removes up to limit of each sort that have expired, and reports whether
// there may be more.
func (db *DB) SweepProvider(ctx context.Context, now time.Time, limit int) (more bool, err error) {
	for _, query := range sqlSweepProvider {
		n, err := changed(db.write.ExecContext(ctx, query, now.UnixMilli(), limit))
		if err != nil {
			return false, classify(err)
		}
		more = more || n == limit
	}
	return more, nil
}
