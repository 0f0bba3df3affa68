package password

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// The parameters of new hashes: OWASP, Password Storage Cheat Sheet.
const (
	memoryKiB = 19 * 1024
	passes    = 2
	lanes     = 1
	saltLen   = 16
	keyLen    = 32
)

// The most that a stored hash may ask for. Whoever can write one into the
// database must not be able to stop the server with it.
const (
	maxMemoryKiB  = 256 << 10
	maxPasses     = 16
	maxLanes      = 16
	maxBcryptCost = 15
	maxScryptLn   = 17
	maxScryptRP   = 64
	maxIterations = 5_000_000
	maxSaltLen    = 64
	maxKeyLen     = 64
	minKeyLen     = 16
	maxHashLen    = 512
)

// A Hash is a stored hash that was read.
type Hash struct {
	scheme    string // "argon2id", "bcrypt", …
	text      string
	params    [3]int // memory, passes, lanes; cost; ln, r, p; iterations
	salt, key []byte
}

// bcryptMax is where bcrypt stops reading a password.
const bcryptMax = 72

// Parse reads a hash of any known form. It is strict: every hash has one
// spelling. ErrFormat otherwise, and where a parameter is beyond what is safe to
// compute.
func Parse(text string) (Hash, error) {
	h := Hash{text: text}
	if len(text) > maxHashLen {
		return Hash{}, ErrFormat
	}
	ok := false
	if rest, django := strings.CutPrefix(text, "pbkdf2_"); django {
		ok = h.django(rest)
	} else if parts := strings.Split(text, "$"); len(parts) > 2 && parts[0] == "" {
		h.scheme = parts[1]
		switch h.scheme {
		case "argon2id", "argon2i":
			ok = h.argon2(parts[2:])
		case "2a", "2b", "2y":
			h.scheme = "bcrypt"
			ok = h.bcrypt()
		case "scrypt":
			ok = h.scrypt(parts[2:])
		case "pbkdf2", "pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512":
			if h.scheme == "pbkdf2" {
				h.scheme = "pbkdf2-sha1" // as passlib writes it
			}
			ok = h.pbkdf2(parts[2:])
		}
	}
	if !ok {
		return Hash{}, ErrFormat
	}
	return h, nil
}

// String returns the scheme, and nothing of the hash.
func (h Hash) String() string { return h.scheme }

// GoString is String.
func (h Hash) GoString() string { return h.scheme }

var b64 = base64.RawStdEncoding.Strict()

// ab64 is passlib's: a dot in place of the plus.
var ab64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding).Strict()

func (h *Hash) saltAndKey(salt, key string, enc *base64.Encoding) bool {
	var err, err2 error
	h.salt, err = enc.DecodeString(salt)
	h.key, err2 = enc.DecodeString(key)
	// DecodeString passes over line breaks.
	return err == nil && err2 == nil && !strings.ContainsAny(salt+key, "\r\n") &&
		len(h.salt) <= maxSaltLen && len(h.key) >= minKeyLen && len(h.key) <= maxKeyLen
}

// number reads a decimal number without a second spelling.
func number(s string, low, high int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high && strconv.Itoa(n) == s
}

// numbers reads "a=1,b=2,c=3" with just these names.
func (h *Hash) numbers(s string, names [3]string, low, high [3]int) bool {
	parts := strings.Split(s, ",")
	if len(parts) != len(names) {
		return false
	}
	for i, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		n, ok := number(value, low[i], high[i])
		if name != names[i] || !ok {
			return false
		}
		h.params[i] = n
	}
	return true
}

func (h *Hash) argon2(parts []string) bool {
	return len(parts) == 4 && parts[0] == "v=19" &&
		h.numbers(parts[1], [3]string{"m", "t", "p"}, [3]int{8, 1, 1}, [3]int{maxMemoryKiB, maxPasses, maxLanes}) &&
		h.params[0] >= 8*h.params[2] &&
		h.saltAndKey(parts[2], parts[3], b64) && len(h.salt) >= 8
}

func (h *Hash) bcrypt() bool {
	// $2b$12$ and 53 characters. Cost takes "+5" for "05".
	if len(h.text) != 60 || h.text[4] == '+' || h.text[6] != '$' {
		return false
	}
	cost, err := bcrypt.Cost([]byte(h.text))
	h.params[0] = cost
	return err == nil && cost <= maxBcryptCost &&
		strings.Trim(h.text[7:], "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func (h *Hash) scrypt(parts []string) bool {
	return len(parts) == 3 &&
		h.numbers(parts[0], [3]string{"ln", "r", "p"}, [3]int{1, 1, 1}, [3]int{maxScryptLn, maxScryptRP, maxScryptRP}) &&
		h.params[1]*h.params[2] <= maxScryptRP && h.params[1]<<h.params[0] <= maxMemoryKiB*8 &&
		h.saltAndKey(parts[1], parts[2], b64)
}

// pbkdf2 reads passlib's form, 1200$salt$key, and the PHC string format's,
// i=1200$salt$key or i=1200,l=32$salt$key.
func (h *Hash) pbkdf2(parts []string) bool {
	if len(parts) != 3 {
		return false
	}
	enc := ab64
	rounds, phc := strings.CutPrefix(parts[0], "i=")
	size, sized := "", false
	if phc {
		enc = b64
		rounds, size, sized = strings.Cut(rounds, ",l=")
	}
	n, ok := number(rounds, 1, maxIterations)
	h.params[0] = n
	return ok && h.saltAndKey(parts[1], parts[2], enc) && (!sized || size == strconv.Itoa(len(h.key)))
}

// django reads pbkdf2_sha256$iterations$salt$key, whose salt is text and whose
// key has padding.
func (h *Hash) django(rest string) bool {
	parts := strings.Split(rest, "$")
	if len(parts) != 4 || parts[0] != "sha256" && parts[0] != "sha1" || parts[2] == "" || len(parts[2]) > maxSaltLen {
		return false
	}
	h.scheme = "pbkdf2-" + parts[0]
	n, ok := number(parts[1], 1, maxIterations)
	h.params[0] = n
	key, err := base64.StdEncoding.Strict().DecodeString(parts[3])
	h.salt, h.key = []byte(parts[2]), key
	return ok && err == nil && !strings.ContainsAny(parts[3], "\r\n") && len(key) >= minKeyLen && len(key) <= maxKeyLen
}

// newHash hashes a password with a fresh salt.
func (h *Hasher) newHash(pw string) string {
	salt := make([]byte, saltLen)
	rand.Read(salt)
	key := h.argon([]byte(pw), salt, passes, memoryKiB, lanes, keyLen)
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memoryKiB, passes, lanes, b64.EncodeToString(salt), b64.EncodeToString(key))
}

// matches computes the hash of a password and compares in constant time.
func (h *Hasher) matches(stored *Hash, pw string) bool {
	var key []byte
	var err error
	size, n := len(stored.key), stored.params
	switch stored.scheme {
	case "argon2id":
		key = h.argon([]byte(pw), stored.salt, uint32(n[1]), uint32(n[0]), uint8(n[2]), uint32(size))
	case "argon2i":
		key = argon2.Key([]byte(pw), stored.salt, uint32(n[1]), uint32(n[0]), uint8(n[2]), uint32(size))
	case "bcrypt":
		// Other programs cut at 72 bytes without a word, and what they hashed
		// must still match; a new hash has no such end.
		return bcrypt.CompareHashAndPassword([]byte(stored.text), []byte(pw[:min(len(pw), bcryptMax)])) == nil
	case "scrypt":
		key, err = scrypt.Key([]byte(pw), stored.salt, 1<<n[0], n[1], n[2], size)
	case "pbkdf2-sha1":
		key, err = pbkdf2.Key(sha1.New, pw, stored.salt, n[0], size)
	case "pbkdf2-sha256":
		key, err = pbkdf2.Key(func() hash.Hash { return sha256.New() }, pw, stored.salt, n[0], size)
	case "pbkdf2-sha512":
		key, err = pbkdf2.Key(func() hash.Hash { return sha512.New() }, pw, stored.salt, n[0], size)
	}
	return err == nil && subtle.ConstantTimeCompare(key, stored.key) == 1
}

// kind tells hashes apart that cost differently. Only PBKDF2 runs again for
// each further block of the key.
func (h *Hash) kind() string {
	if strings.HasPrefix(h.scheme, "pbkdf2-") {
		return fmt.Sprint(h.scheme, h.params, len(h.key))
	}
	return fmt.Sprint(h.scheme, h.params)
}

// current reports whether the hash is as a new one would be.
func (h *Hash) current() bool {
	return h.scheme == "argon2id" && h.params == [3]int{memoryKiB, passes, lanes} && len(h.salt) == saltLen && len(h.key) == keyLen
}
