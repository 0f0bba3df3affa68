package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/bcrypt"
)

// A work is what one hash costs. Where time grows with a number, as iterations
// do, that is its amount: the kind is the same, and what a hash lacks to the most
// that is stored can be made up for. Where memory counts, another size is another
// kind. What is hashed once costs nothing beside 25 ms, and is none.
type work struct {
	kind   string
	like   Hash // does it
	amount int
}

// works are what computing a hash costs.
func (h *Hash) works() []work {
	n := h.params
	linear := func(kind string, amount int) []work { return []work{{kind, *h, amount}} }
	switch h.scheme {
	case "argon2id", "argon2i", "argon2d":
		return linear(fmt.Sprint(h.scheme, n), 1)
	case wrappedScheme:
		outer := *h
		outer.scheme, outer.inner = "argon2id", nil
		return append(outer.works(), h.inner.works()...)
	case "scrypt", "firebase-scrypt":
		return linear(fmt.Sprint("scrypt", n), 1)
	case "bcrypt", "bcrypt-sha256", "wordpress-bcrypt":
		return linear("bcrypt", 1<<n[0])
	case "pbkdf2-sha1":
		return linear(h.scheme, n[0]*blocks(len(h.key), sha1.Size))
	case "pbkdf2-sha256":
		return linear(h.scheme, n[0]*blocks(len(h.key), sha256.Size))
	case "pbkdf2-sha512":
		return linear(h.scheme, n[0]*blocks(len(h.key), sha512.Size))
	case "md5-crypt", "apr1":
		return linear("md5-crypt", n[0])
	case "sha256-crypt", "sha512-crypt":
		return linear(h.scheme, n[0])
	case "phpass":
		return linear(h.scheme, 1<<n[0])
	}
	return nil
}

// blocks are those of a PBKDF2 key: it runs again for each.
func blocks(key, size int) int { return (key + size - 1) / size }

// do does an amount of a work with a password, and forgets what comes out.
func (h *Hasher) do(w *work, amount int, pw string) {
	h.did(work{kind: w.kind, amount: amount})
	like, text := w.like, []byte(pw)
	switch w.kind {
	case "bcrypt":
		// Costs are powers of two, and what is lacking is a sum of them.
		for left := amount; left > 0; left &= left - 1 {
			cost := bits.TrailingZeros(uint(left))
			dummy := fmt.Sprintf("$2a$%02d$%053d", max(cost, bcrypt.MinCost), 0)
			_ = bcrypt.CompareHashAndPassword([]byte(dummy), bcryptInput("bcrypt", pw))
		}
	case "pbkdf2-sha1":
		_, _ = pbkdf2.Key(sha1.New, pw, like.salt, amount, sha1.Size)
	case "pbkdf2-sha256":
		_, _ = pbkdf2.Key(sha256.New, pw, like.salt, amount, sha256.Size)
	case "pbkdf2-sha512":
		_, _ = pbkdf2.Key(sha512.New, pw, like.salt, amount, sha512.Size)
	case "md5-crypt", "sha256-crypt", "sha512-crypt":
		like.params[0] = amount
		_, _ = h.derive(&like, pw)
	case "phpass":
		_, _ = crypted(text, func(text []byte) []byte { return phpassKey(text, like.salt, amount) })
	default:
		like.inner = nil
		_, _ = h.derive(&like, pw)
	}
}

// did counts work where a test asks for it.
func (h *Hasher) did(w work) {
	if h.tally != nil {
		h.tally(w.kind, w.amount)
	}
}
