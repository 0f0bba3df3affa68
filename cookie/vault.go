package cookie

import (
	"errors"
	"net/http"
	"time"
)

// A Vault is a cookie whose value is protected by keys: sealed, or only signed.
type Vault struct {
	cookie *Cookie
	keys   *Keys
	maxAge time.Duration
	signed bool
}

// NewSealed returns a cookie whose values are encrypted and live for maxAge, at
// most [MaxAge]; the age is checked here, whatever the browser does. A value
// can be replayed until then: what must be spent once belongs on the server.
func NewSealed(c *Cookie, k *Keys, maxAge time.Duration) *Vault {
	return &Vault{cookie: c, keys: k, maxAge: maxAge}
}

// NewSigned returns a cookie whose values are readable and tamper-evident.
func NewSigned(c *Cookie, k *Keys, maxAge time.Duration) *Vault {
	return &Vault{cookie: c, keys: k, maxAge: maxAge, signed: true}
}

// Set protects the value and sets the cookie.
func (v *Vault) Set(w http.ResponseWriter, value []byte) error {
	now := time.Now()
	if v.signed {
		return v.cookie.SetRaw(w, string(v.keys.Sign(nil, v.cookie.name, value, now)), v.maxAge)
	}
	return v.cookie.SetRaw(w, string(v.keys.Seal(nil, v.cookie.name, value, now)), v.maxAge)
}

// Get returns the value. Every cookie of the name is tried, so that a planted
// one that is no good cannot hide the good one; two good ones with different
// values are ErrAmbiguous. A value made with an older key is set anew with the
// newest, unless w is nil. ErrMissing, ErrTampered and ErrExpired say why
// there is none.
func (v *Vault) Get(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	all, old, err := v.All(r)
	if err != nil {
		return nil, err
	}
	for _, other := range all[1:] {
		if string(other) != string(all[0]) {
			return nil, ErrAmbiguous
		}
	}
	if old && w != nil {
		if err := v.Set(w, all[0]); err != nil {
			return nil, err
		}
	}
	return all[0], nil
}

// All returns every good value that the browser sent, at most four, for a
// caller who can tell which one counts; old reports that the first was made
// with an older key. At least one is returned, or an error.
func (v *Vault) All(r *http.Request) (values [][]byte, old bool, err error) {
	now := time.Now()
	var buf [maxValues]string
	err = ErrMissing
	for _, raw := range Values(r.Header, v.cookie.name, buf[:0]) {
		open := v.keys.Open
		if v.signed {
			open = v.keys.Verify
		}
		value, older, e := open(nil, v.cookie.name, raw, v.maxAge, now)
		if e != nil {
			if !errors.Is(err, ErrExpired) {
				err = e
			}
			continue
		}
		if len(values) == 0 {
			old = older
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		return nil, false, err
	}
	return values, old, nil
}

// Delete tells the browser to forget the cookie.
func (v *Vault) Delete(w http.ResponseWriter) { v.cookie.Delete(w) }
