package express

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"

	"github.com/admit-auth/admit"
)

// A Keygrip signs and verifies as npm's keygrip does: the first key signs, all
// verify. It does not change and is safe for use by several goroutines.
type Keygrip struct {
	hash func() hash.Hash
	keys []string
}

// NewKeygrip returns a Keygrip over a hash, such as sha256.New. Keygrip's own
// default, and so that of most apps, is SHA-1, sha1.New here. An HMAC over it is
// not known to be broken, but no audit lets it pass any more: an app that can
// choose says new Keygrip(keys, 'sha256').
func NewKeygrip(hash func() hash.Hash, keys ...admit.Secret) (*Keygrip, error) {
	if hash == nil || len(keys) == 0 {
		return nil, errors.New("express: a keygrip needs a hash and a key")
	}
	k := &Keygrip{hash: hash}
	for i, key := range keys {
		if key.IsZero() {
			return nil, fmt.Errorf("express: key %d is empty", i+1)
		}
		k.keys = append(k.keys, key.Reveal())
	}
	return k, nil
}

// Sign returns the first key's digest of the data.
func (k *Keygrip) Sign(data string) string { return k.digest(data, k.keys[0]) }

func (k *Keygrip) digest(data, key string) string {
	mac := hmac.New(k.hash, []byte(key))
	mac.Write([]byte(data))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Index returns which key has made the digest of the data, from 0, or -1.
func (k *Keygrip) Index(data, digest string) int {
	for i, key := range k.keys {
		if hmac.Equal([]byte(k.digest(data, key)), []byte(digest)) {
			return i
		}
	}
	return -1
}

// Verify reports whether one of the keys has made the digest of the data.
func (k *Keygrip) Verify(data, digest string) bool { return k.Index(data, digest) >= 0 }
