package db

import (
	"time"

	"github.com/admit-auth/admit/provider"
)

const (
	sqlPushed     = "SELECT client_id, digest, at, expires_at, query FROM pushed WHERE id = ?"
	sqlAddPushed  = "INSERT INTO pushed (id, client_id, digest, at, expires_at, query) VALUES (?, ?, ?, ?, ?, ?)"
	sqlDropPushed = "DELETE FROM pushed WHERE id = ?"
)

// Pushed implements provider.Tx.
func (t providerTx) Pushed(selector string) (*provider.Pushed, error) {
	p := &provider.Pushed{Selector: selector}
	var digest []byte
	var at, expires int64
	err := t.row(sqlPushed, selector).Scan(&p.Client, &digest, &at, &expires, &p.Query)
	copy(p.Digest[:], digest)
	p.At, p.Expires = time.UnixMilli(at), time.UnixMilli(expires)
	return found(p, err)
}

// AddPushed implements provider.Tx.
func (t providerTx) AddPushed(p *provider.Pushed) error {
	return t.exec(sqlAddPushed, p.Selector, p.Client, p.Digest[:], p.At.UnixMilli(), p.Expires.UnixMilli(), p.Query)
}

// DropPushed implements provider.Tx.
func (t providerTx) DropPushed(selector string) (bool, error) {
	return t.one(sqlDropPushed, selector)
}
