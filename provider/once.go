package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// A once is by what something is good once that is not kept here: an assertion, a proof, a
// request. Without an id it is good as often as it comes.
type once struct {
	purpose, id string
	until       time.Time // when it may be forgotten
	used        error
}

// once is that of what a client has signed, by its jti.
func (c *Client) once(purpose, jti string, until time.Time, used error) once {
	// A digest: whatever the client's ids look like, a store has them of one length.
	sum := sha256.Sum256([]byte(c.ID + "\x00" + jti))
	return once{purpose, base64.RawURLEncoding.EncodeToString(sum[:]), until, used}
}

// check refuses what was used, before anybody is asked.
func (o once) check(tx Tx) error {
	if o.id == "" {
		return nil
	}
	spent, err := tx.Spent(o.purpose, o.id)
	if err == nil && spent {
		err = o.used
	}
	return err
}

// spend uses it.
func (o once) spend(tx Tx) error {
	if o.id == "" {
		return nil
	}
	first, err := tx.Spend(o.purpose, o.id, o.until)
	if err == nil && !first {
		err = o.used
	}
	return err
}
