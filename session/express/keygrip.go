package express

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"sync/atomic"

	"github.com/admit-auth/admit"
)

// A Keygrip signs and verifies as npm's keygrip does: the first key signs, all
// verify. They may be replaced while they are used.
type Keygrip struct {
	hash func() hash.Hash
	keys atomic.Pointer[[]string]
}

// NewKeygrip returns a Keygrip over a hash, such as sha256.New. Keygrip's own
// default, and so that of most apps, is SHA-1, sha1.New here. An HMAC over it is
// not known to be broken, but no audit lets it pass any more: an app that can
// choose says new Keygrip(keys, 'sha256').
func NewKeygrip(hash func() hash.Hash, keys ...admit.Secret) (*Keygrip, error) {
	if hash == nil {
		return nil, errors.New("express: a keygrip needs a hash")
	}
	list, err := reveal("key", keys)
	if err != nil {
		return nil, err
	}
	k := &Keygrip{hash: hash}
	k.keys.Store(&list)
	return k, nil
}

// Replace takes the keys of another Keygrip from the next call on, and leaves the
// hash. To rotate, do as with [Secrets.Replace].
func (k *Keygrip) Replace(next *Keygrip) { k.keys.Store(next.keys.Load()) }

// String hides the keys.
func (k *Keygrip) String() string { return fmt.Sprintf("express.Keygrip(%d)", len(*k.keys.Load())) }

// GoString hides the keys.
func (k *Keygrip) GoString() string { return k.String() }

// Sign returns the first key's digest of the data.
func (k *Keygrip) Sign(data string) string { return k.digest(data, (*k.keys.Load())[0]) }

func (k *Keygrip) digest(data, key string) string {
	mac := hmac.New(k.hash, []byte(key))
	mac.Write([]byte(data))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Index returns which key has made the digest of the data, from 0, or -1.
func (k *Keygrip) Index(data, digest string) int {
	for i, key := range *k.keys.Load() {
		if hmac.Equal([]byte(k.digest(data, key)), []byte(digest)) {
			return i
		}
	}
	return -1
}

// Verify reports whether one of the keys has made the digest of the data.
func (k *Keygrip) Verify(data, digest string) bool { return k.Index(data, digest) >= 0 }
