package db

// SDB's rows take the place of this file.

import (
	"database/sql"
	"encoding/json"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
)

type stubClient struct {
	*provider.Client
	Keys json.RawMessage `json:",omitempty"`
}

const sqlStubClients = "CREATE TABLE IF NOT EXISTS stub_clients (id TEXT PRIMARY KEY, client TEXT NOT NULL, told BIGINT NOT NULL)"

func (t *txn) clients(query string, args ...any) (all []*provider.Client, err error) {
	var n int
	if err := t.row("SELECT count(*) FROM sqlite_master WHERE name = 'stub_clients'").Scan(&n); err != nil || n == 0 {
		return nil, err
	}
	err = t.query(func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		c := stubClient{Client: &provider.Client{}}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return err
		}
		if c.Keys != nil {
			set, _, err := jose.ParseKeySet(c.Keys)
			if err != nil {
				return err
			}
			c.Client.Keys = set
		}
		all = append(all, c.Client)
		return nil
	}, query, args...)
	return all, err
}

func (t *txn) Client(id string) (*provider.Client, error) {
	all, err := t.clients("SELECT client FROM stub_clients WHERE id = ? AND client <> ''", id)
	if len(all) == 0 {
		return nil, err
	}
	return all[0], err
}

func (t *txn) FindClients(after string, limit int) ([]*provider.Client, error) {
	return t.clients("SELECT client FROM stub_clients WHERE id > ? AND client <> '' ORDER BY id LIMIT ?", after, limit)
}

func (t *txn) PutClient(c *provider.Client) error {
	t.closing.accounts = true
	s := stubClient{Client: c}
	if c.Keys != nil {
		s.Keys, _ = json.Marshal(c.Keys)
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = t.exec(sqlStubClients)
	}
	if err != nil {
		return err
	}
	return t.exec("INSERT INTO stub_clients (id, client, told) VALUES (?, ?, 0) ON CONFLICT (id) DO UPDATE SET client = excluded.client", c.ID, string(text))
}

func (t *txn) DeleteClient(id, _ string, now time.Time) (bool, error) {
	t.closing.accounts = true
	return false, t.exec("DELETE FROM stub_clients WHERE id = ?", id)
}

func (t *txn) ClientTold(id string, now time.Time) (until time.Time, err error) {
	err = t.query(func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		e, err := feed.ParseEvent([]byte(text))
		if err == nil && e.Kind == feed.Client && e.Target == id && e.Until.After(until) {
			until = e.Until
		}
		return err
	}, "SELECT event FROM feed WHERE until > ?", now.UnixMilli())
	return until, err
}
