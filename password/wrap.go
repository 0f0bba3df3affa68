package password

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/admit-auth/admit"
)

// ErrInsecure refuses a hash that costs nothing to guess at, where the program has
// not said that it takes those.
var ErrInsecure = admit.Invalid.New("hash_insecure", "This hash costs nothing to guess at.").WithHint("Wrap it, or say that you take it as it is.")

// Insecure reports whether a stored hash is one of MD5, or of any function that
// hashed the password once: who steals it tries millions of passwords and more a
// second. See [Hasher.Wrap].
func Insecure(hash string) bool {
	h, err := Parse(hash)
	return err == nil && h.fast()
}

func (h *Hash) fast() bool {
	switch h.scheme {
	case "md5-crypt", "apr1", "phpass":
		return true
	}
	return digestOf(h.scheme) != nil
}

const wrappedScheme = "argon2id-over"

// Wrap returns Argon2id over an insecure hash, so that the hash itself need not be
// kept while its password is not at hand: Verify computes the one and then the
// other. ErrFormat where the hash is none that is insecure; ErrBusy as Hash.
func (h *Hasher) Wrap(ctx context.Context, hash string, prio Priority) (string, error) {
	inner, err := Parse(hash)
	if err != nil || !inner.fast() {
		return "", ErrFormat
	}
	if err := h.enter(ctx, prio); err != nil {
		return "", err
	}
	defer h.leave(prio)
	salt := make([]byte, saltLen)
	rand.Read(salt)
	key := h.argon(inner.key, salt, passes, memoryKiB, lanes, keyLen)
	return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s%s", wrappedScheme, memoryKiB, passes, lanes, b64.EncodeToString(salt), b64.EncodeToString(key), inner.setting()), nil
}

// setting is a fast hash without its key, in its one spelling.
func (h *Hash) setting() string {
	if digestOf(h.scheme) != nil {
		return fmt.Sprintf("$%s$%s$%s$", h.scheme, orders[h.params[0]], b64.EncodeToString(h.salt))
	}
	text := h.text
	if strings.HasPrefix(text, "{") {
		_, text, _ = strings.Cut(text, "}")
	}
	return strings.TrimSuffix(text, string(h.key))
}

// wrapped reads Argon2id over what would be a hash if it had a key.
func (h *Hash) wrapped(parts []string) bool {
	if len(parts) < 6 || !h.argon2(parts[:4]) {
		return false
	}
	setting := "$" + strings.Join(parts[4:], "$")
	key := strings.Repeat(cryptAlphabet[:1], 22)
	if d := digestOf(parts[4]); d != nil {
		key = b64.EncodeToString(make([]byte, d.size))
	}
	inner, err := Parse(setting + key)
	if err != nil || !inner.fast() {
		return false
	}
	h.inner = &inner
	return true
}
