package db

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

const (
	// A copy that is the row still need not be read again.
	sqlClient      = "SELECT version, CASE WHEN version = ? THEN '' ELSE data END FROM clients WHERE id = ?"
	sqlFindClients = "SELECT data FROM clients WHERE id > ? ORDER BY id LIMIT ?"
	sqlPutClient   = `INSERT INTO clients (id, version, access_life, hears, stranger_since, data) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, access_life = excluded.access_life, hears = excluded.hears,
		stranger_since = excluded.stranger_since, data = excluded.data`
	// Each JWT has a place, for as long as any verifier may take it.
	sqlClientJWTs = "SELECT EXISTS (SELECT 1 FROM status_places WHERE client_id = ? AND client_id <> '' AND until > ?)"
)

// sqlForgetClient removes what names a client; its consents go with it. What was made
// of its grants is refused for want of them, also where another client gets the id.
var sqlForgetClient = []string{"DELETE FROM grants WHERE client_id = ?", "DELETE FROM codes WHERE client_id = ?", sqlForgetDevices, "DELETE FROM pushed WHERE client_id = ?", "DELETE FROM clients WHERE id = ?"}

// maxCopies bounds how many clients are kept at hand: some 2 KB each.
const maxCopies = 4096

// Copies of clients spare reading the same text at each request. The row says
// whether one is good. Its version is a random number: one that was put and undone, or
// was in a database before a backup was restored, has it alone.
type clientCopies struct {
	mu  sync.Mutex
	all map[string]clientCopy // guarded by mu
}

type clientCopy struct {
	version int64
	client  *provider.Client
}

func (c *clientCopies) get(id string) clientCopy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[id]
}

func (c *clientCopies) put(id string, one clientCopy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxCopies {
		c.all = map[string]clientCopy{}
	}
	c.all[id] = one
}

// Client implements account.Clients and provider.Tx.
func (t *txn) Client(id string) (*provider.Client, error) {
	copies := &t.tx().pool.clients
	known := copies.get(id)
	var text string
	now := clientCopy{}
	err := t.row(sqlClient, known.version, id).Scan(&now.version, &text)
	switch {
	case noRows(err):
		return nil, nil
	case err != nil || now.version == known.version:
		return known.client, err
	}
	if now.client, err = parseClient(text); err != nil {
		return nil, err
	}
	copies.put(id, now)
	return now.client, nil
}

// FindClients implements account.Clients.
func (t *txn) FindClients(after string, limit int) (all []*provider.Client, err error) {
	return t.clientsOf(sqlFindClients, after, limit)
}

func (t *txn) clientsOf(query string, args ...any) (all []*provider.Client, err error) {
	return all, t.query(func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		c, err := parseClient(text)
		all = append(all, c)
		return err
	}, query, args...)
}

// PutClient implements account.Clients.
func (t *txn) PutClient(c *provider.Client) error {
	text, err := formatClient(c)
	if err != nil {
		return err
	}
	t.tx().wrote(nearRow{ofClient, c.ID})
	return t.exec(sqlPutClient, c.ID, rand.Int64N(1<<62)+1, c.AccessLife.Milliseconds(), c.BackchannelLogoutURI != "" && !c.Disabled, strangerSince(c), text)
}

// DeleteClient implements account.Clients.
func (t *txn) DeleteClient(id string) error {
	t.tx().all = true // copies of grants that another client of the id would find
	for _, query := range sqlForgetClient {
		if err := t.exec(query, id); err != nil {
			return err
		}
	}
	return nil
}

// ClientJWTs implements account.Clients.
func (t *txn) ClientJWTs(id string, now time.Time) (live bool, err error) {
	return live, t.row(sqlClientJWTs, id, now.UnixMilli()).Scan(&live)
}

// ClientTold implements account.Clients.
func (t *txn) ClientTold(id string, now time.Time) (until time.Time, err error) {
	told, err := t.Told(now)
	for _, e := range told {
		if e.Kind == feed.Client && e.Target == id && e.Until.After(until) {
			until = e.Until
		}
	}
	return until, err
}

// A clientRow is a client as JSON. That one converts to the other says that no field is
// forgotten.
type clientRow struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	URI  string `json:"uri,omitempty"`

	Auth    provider.AuthMethod     `json:"auth,omitempty"`
	Secrets []provider.ClientSecret `json:"-"`
	Keys    *jose.KeySet            `json:"-"`
	KeysURI string                  `json:"keys_uri,omitempty"`

	RedirectURIs          []string `json:"redirect_uris,omitempty"`
	Native                bool     `json:"native,omitempty"`
	PostLogoutURIs        []string `json:"post_logout_uris,omitempty"`
	BackchannelLogoutURI  string   `json:"backchannel_logout_uri,omitempty"`
	FrontchannelLogoutURI string   `json:"frontchannel_logout_uri,omitempty"`

	Grants        []provider.GrantType `json:"grants,omitempty"`
	Scopes        []string             `json:"scopes,omitempty"`
	Audiences     []string             `json:"audiences,omitempty"`
	Resources     []string             `json:"resources,omitempty"`
	FirstParty    bool                 `json:"first_party,omitempty"`
	DPoP          bool                 `json:"dpop,omitempty"`
	RequirePushed bool                 `json:"require_pushed,omitempty"`
	RequireSigned bool                 `json:"require_signed,omitempty"`
	FAPI          bool                 `json:"fapi,omitempty"`

	JWT        bool           `json:"jwt,omitempty"`
	Signs      jose.Algorithm `json:"signs,omitempty"`
	Sector     string         `json:"sector,omitempty"`
	CodeLife   time.Duration  `json:"code_life,omitempty"`
	AccessLife time.Duration  `json:"access_life,omitempty"`
	GrantLife  time.Duration  `json:"grant_life,omitempty"`

	CreatedAt  time.Time            `json:"created_at"`
	Disabled   bool                 `json:"disabled,omitempty"`
	Registered *provider.Registered `json:"registered,omitempty"`
}

type secretRow struct {
	Selector string       `json:"selector"`
	Digest   token.Digest `json:"digest"`
	Expires  time.Time    `json:"expires,omitzero"`
}

// A clientText is a row with what is written in another way than it is kept.
type clientText struct {
	clientRow
	Secrets []secretRow     `json:"secrets,omitempty"`
	Keys    json.RawMessage `json:"keys,omitempty"`
}

func formatClient(c *provider.Client) (string, error) {
	row := clientText{clientRow: clientRow(*c)}
	for _, s := range c.Secrets {
		row.Secrets = append(row.Secrets, secretRow(s))
	}
	var err error
	if c.Keys != nil {
		if row.Keys, err = json.Marshal(c.Keys); err != nil {
			return "", fmt.Errorf("write a client: %w", err)
		}
	}
	text, err := json.Marshal(row)
	if err != nil {
		return "", fmt.Errorf("write a client: %w", err)
	}
	return string(text), nil
}

func parseClient(text string) (*provider.Client, error) {
	var row clientText
	if err := json.Unmarshal([]byte(text), &row); err != nil {
		return nil, fmt.Errorf("%w: a client: %w", ErrCorrupt, err)
	}
	c := provider.Client(row.clientRow)
	for _, s := range row.Secrets {
		c.Secrets = append(c.Secrets, provider.ClientSecret(s))
	}
	if row.Keys != nil {
		var err error
		if c.Keys, _, err = jose.ParseKeySet(row.Keys); err != nil {
			return nil, fmt.Errorf("%w: keys of a client: %w", ErrCorrupt, err)
		}
	}
	return &c, nil
}
