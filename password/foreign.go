package password

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// Forms of single programs, and those in which a password was hashed once.

// A digest is a hash function by its name in our forms and in those of LDAP.
type digest struct {
	name string
	size int
	sum  func() hash.Hash
}

var digests = []digest{
	{"md5", md5.Size, md5.New},
	{"sha1", sha1.Size, sha1.New},
	{"sha256", sha256.Size, sha256.New},
	{"sha384", sha512.Size384, sha512.New384},
	{"sha512", sha512.Size, sha512.New},
}

const insecurePrefix = "insecure-"

// The orders of a password and its salt under one digest.
const (
	passwordFirst = 1 + iota
	saltFirst
)

var orders = []string{passwordFirst: "o=ps", saltFirst: "o=sp"}

// digestOf returns the function of a scheme such as "insecure-sha1".
func digestOf(scheme string) *digest {
	name, ok := strings.CutPrefix(scheme, insecurePrefix)
	i := slices.IndexFunc(digests, func(d digest) bool { return d.name == name })
	if !ok || i < 0 {
		return nil
	}
	return &digests[i]
}

// insecure reads our form of what was hashed once: $insecure-sha1$o=sp$salt$key,
// where sp says that the salt stood before the password, and ps after it.
func (h *Hash) insecure(parts []string) bool {
	d := digestOf(h.scheme)
	if d == nil || len(parts) != 3 {
		return false
	}
	h.params[0] = slices.Index(orders, parts[0])
	return h.params[0] > 0 && h.saltAndKey(parts[1], parts[2], b64) && len(h.key) == d.size &&
		(len(h.salt) > 0 || h.params[0] == passwordFirst) // of no salt there is one spelling
}

// ldap reads RFC 2307's {SHA} and its like, where the salt follows the digest.
func (h *Hash) ldap(text string) bool {
	name, rest, ok := strings.Cut(text[1:], "}")
	if name == "CRYPT" || name == "ARGON2" {
		inner, err := Parse(rest)
		if err != nil || !strings.HasPrefix(rest, "$") || inner.inner != nil || strings.HasPrefix(inner.scheme, "argon2") != (name == "ARGON2") {
			return false
		}
		*h = inner
		h.text = text
		return true
	}
	salted := true
	switch {
	case name == "SMD5":
		name = "MD5"
	case strings.HasPrefix(name, "SSHA"):
		name = name[1:]
	default:
		salted = false
	}
	if name == "SHA" {
		name = "SHA1"
	} else if name == "SHA1" {
		return false
	}
	if name != strings.ToUpper(name) {
		return false
	}
	h.scheme = insecurePrefix + strings.ToLower(name)
	d := digestOf(h.scheme)
	both, err := base64.StdEncoding.Strict().DecodeString(rest)
	if !ok || d == nil || err != nil || strings.ContainsAny(rest, "\r\n") || len(both) < d.size || salted != (len(both) > d.size) || len(both)-d.size > maxSaltLen {
		return false
	}
	h.params[0] = passwordFirst
	h.key, h.salt = both[:d.size], both[d.size:]
	return true
}

// firebase reads our form of Firebase's scrypt, which holds what belongs to the
// whole project too: $firebase-scrypt$ln=14,r=8,p=1$salt$separator$signer$key.
func (h *Hash) firebase(parts []string) bool {
	if len(parts) != 5 || !h.scrypt([]string{parts[0], parts[1], parts[4]}) {
		return false
	}
	var bad error
	for i, text := range parts[2:4] {
		b, err := b64.DecodeString(text)
		if err != nil || strings.ContainsAny(text, "\r\n") || len(b) > maxKeyLen {
			bad = ErrFormat
		}
		h.more[i] = b
	}
	return bad == nil && len(h.more[1]) == len(h.key)
}

// firebaseKey is github.com/firebase/scrypt: the derived key encrypts the
// project's signer key.
func firebaseKey(h *Hash, pw string) ([]byte, error) {
	key, err := scrypt.Key([]byte(pw), slices.Concat(h.salt, h.more[0]), 1<<h.params[0], h.params[1], h.params[2], 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(h.more[1]))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(out, h.more[1])
	return out, nil
}

// djangoScrypt reads scrypt$N$salt$r$p$key.
func (h *Hash) djangoScrypt(rest string) bool {
	parts := strings.Split(rest, "$")
	if len(parts) != 5 || parts[1] == "" || len(parts[1]) > maxSaltLen {
		return false
	}
	n, ok := number(parts[0], 2, 1<<maxScryptLn)
	r, ok2 := number(parts[2], 1, maxScryptRP)
	p, ok3 := number(parts[3], 1, maxScryptRP)
	if !ok || !ok2 || !ok3 || n&(n-1) != 0 {
		return false
	}
	h.scheme, h.params = "scrypt", [3]int{bits.TrailingZeros(uint(n)), r, p}
	h.salt = []byte(parts[1])
	return h.scryptBounded() && h.paddedKey(parts[4])
}

// paddedKey reads a key in base64 with padding.
func (h *Hash) paddedKey(text string) bool {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	h.key = key
	return err == nil && !strings.ContainsAny(text, "\r\n") && len(key) >= minKeyLen && len(key) <= maxKeyLen
}

// bcryptInput is what bcrypt is given in place of the password, which it would
// cut at 72 bytes.
func bcryptInput(scheme, pw string) []byte {
	switch scheme {
	case "wordpress-bcrypt": // wp_hash_password of WordPress 6.8, which trims as PHP does
		mac := hmac.New(sha512.New384, []byte("wp-sha384"))
		mac.Write([]byte(strings.Trim(pw, " \n\r\t\v\x00")))
		return []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	case "bcrypt-sha256": // Django's
		sum := sha256.Sum256([]byte(pw))
		return []byte(hex.EncodeToString(sum[:]))
	}
	// Other programs cut without a word, and what they hashed must still
	// match; a new hash has no such end.
	return []byte(pw[:min(len(pw), bcryptMax)])
}
