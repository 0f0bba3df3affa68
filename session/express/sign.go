package express

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/admit-auth/admit"
)

// Secrets are what Express is given as secret: the first signs, all verify.
// They may be replaced while they are used.
type Secrets struct{ list atomic.Pointer[[]string] }

// NewSecrets returns a list of secrets, the newest first. None may be empty.
func NewSecrets(secrets ...admit.Secret) (*Secrets, error) {
	list, err := reveal("secret", secrets)
	if err != nil {
		return nil, err
	}
	s := &Secrets{}
	s.list.Store(&list)
	return s, nil
}

func reveal(what string, secrets []admit.Secret) ([]string, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("express: no %s", what)
	}
	list := make([]string, len(secrets))
	for i, s := range secrets {
		if list[i] = s.Reveal(); list[i] == "" {
			return nil, fmt.Errorf("express: %s %d of %d is empty", what, i+1, len(secrets))
		}
	}
	return list, nil
}

// Replace takes the secrets of another list from the next call on. To rotate,
// first let all servers, Go and Node, verify the new secret, then let it sign,
// and drop the old one when no cookie of it is left.
func (s *Secrets) Replace(next *Secrets) { s.list.Store(next.list.Load()) }

// String hides the secrets.
func (s *Secrets) String() string { return fmt.Sprintf("express.Secrets(%d)", len(*s.list.Load())) }

// GoString hides the secrets.
func (s *Secrets) GoString() string { return s.String() }

// Sign returns cookie-signature's form of a value with Express's mark before
// it: "s:value.mac". In a cookie it stands percent-encoded.
//
// Neither the cookie's name nor a time is under the signature, for so Express
// has it: whoever has a signed value may move it into a cookie of another name.
func (s *Secrets) Sign(value string) string {
	return "s:" + value + "." + mac((*s.list.Load())[0], value)
}

// Unsign returns the value of "s:value.mac". Old tells that a secret other than
// the first one verified it, so that it is due to be signed anew.
func (s *Secrets) Unsign(signed string) (value string, old, ok bool) {
	signed, marked := strings.CutPrefix(signed, "s:")
	dot := strings.LastIndexByte(signed, '.')
	if !marked || dot < 0 {
		return "", false, false
	}
	// The text of the MAC is compared, so that it has one spelling.
	for i, secret := range *s.list.Load() {
		if hmac.Equal([]byte(mac(secret, signed[:dot])), []byte(signed[dot+1:])) {
			return signed[:dot], i > 0, true
		}
	}
	return "", false, false
}

func mac(secret, value string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(value))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

// encodeURIComponent does as JavaScript's. That of package url differs.
func encodeURIComponent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
