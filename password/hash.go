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
	"slices"
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
	params    [3]int // memory, passes, lanes; cost; ln, r, p; iterations; rounds
	salt, key []byte
	more      [2][]byte // what Firebase's projects have: salt separator, signer key
	inner     *Hash     // what Argon2id is over, in a wrapped one
}

// bcryptMax is where bcrypt stops reading a password.
const bcryptMax = 72

// Parse reads a hash of any known form. It is strict: every hash has one
// spelling. ErrFormat otherwise, and where a parameter is beyond what is safe to
// compute.
func Parse(text string) (Hash, error) {
	h := Hash{text: text}
	if len(text) > maxHashLen || !h.parse(text) {
		return Hash{}, ErrFormat
	}
	return h, nil
}

func (h *Hash) parse(text string) bool {
	if strings.HasPrefix(text, "{") {
		return h.ldap(text)
	}
	if parts := strings.Split(text, "$"); len(parts) > 2 && parts[0] == "" {
		return h.modular(parts[1], parts[2:])
	}
	program, rest, _ := strings.Cut(text, "$")
	switch program { // Django's
	case "pbkdf2_sha256", "pbkdf2_sha1":
		return h.django(strings.TrimPrefix(program, "pbkdf2_"), rest)
	case "scrypt":
		return h.djangoScrypt(rest)
	case "bcrypt", "bcrypt_sha256":
		h.scheme = strings.ReplaceAll(program, "_", "-")
		return h.bcrypt(rest)
	case "argon2":
		parts := strings.Split("$"+rest, "$")
		return len(parts) > 2 && strings.HasPrefix(parts[1], "argon2") && h.modular(parts[1], parts[2:])
	}
	return false
}

// modular reads what begins with a dollar and a name.
func (h *Hash) modular(name string, parts []string) bool {
	h.scheme = name
	switch name {
	case "argon2id", "argon2i", "argon2d":
		return h.argon2(parts)
	case wrappedScheme:
		return h.wrapped(parts)
	case "2a", "2b", "2y":
		h.scheme = "bcrypt"
		return h.bcrypt(h.text)
	case "wp": // before a whole bcrypt hash
		h.scheme = "wordpress-bcrypt"
		return h.bcrypt(strings.TrimPrefix(h.text, "$wp"))
	case "scrypt":
		return h.scrypt(parts)
	case "firebase-scrypt":
		return h.firebase(parts)
	case "pbkdf2", "pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512":
		if name == "pbkdf2" {
			h.scheme = "pbkdf2-sha1" // as passlib writes it
		}
		return h.pbkdf2(parts)
	case "5":
		h.scheme = "sha256-crypt"
		return h.shaCrypt(parts, 43)
	case "6":
		h.scheme = "sha512-crypt"
		return h.shaCrypt(parts, 86)
	case "1", "apr1":
		h.scheme, h.params[0] = "md5-crypt", md5Rounds
		if name == "apr1" {
			h.scheme = "apr1"
		}
		return h.cryptParts(parts, 8, 22)
	case "P", "H":
		h.scheme = "phpass"
		return h.phpass(parts)
	}
	return h.insecure(parts)
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

// bcrypt reads $2b$12$ and 53 characters. Cost takes "+5" for "05".
func (h *Hash) bcrypt(text string) bool {
	if len(text) != 60 || !slices.Contains([]string{"$2a$", "$2b$", "$2y$"}, text[:4]) || text[4] == '+' || text[6] != '$' {
		return false
	}
	cost, err := bcrypt.Cost([]byte(text))
	h.params[0], h.key = cost, []byte(text)
	return err == nil && cost <= maxBcryptCost &&
		strings.Trim(text[7:], "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func (h *Hash) scrypt(parts []string) bool {
	return len(parts) == 3 &&
		h.numbers(parts[0], [3]string{"ln", "r", "p"}, [3]int{1, 1, 1}, [3]int{maxScryptLn, maxScryptRP, maxScryptRP}) &&
		h.scryptBounded() && h.saltAndKey(parts[1], parts[2], b64)
}

func (h *Hash) scryptBounded() bool {
	return h.params[1]*h.params[2] <= maxScryptRP && h.params[1]<<h.params[0] <= maxMemoryKiB*8
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
func (h *Hash) django(name, rest string) bool {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 || parts[1] == "" || len(parts[1]) > maxSaltLen {
		return false
	}
	h.scheme = "pbkdf2-" + name
	n, ok := number(parts[0], 1, maxIterations)
	h.params[0], h.salt = n, []byte(parts[1])
	return ok && h.paddedKey(parts[2])
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
	for _, w := range stored.works() {
		h.did(w)
	}
	if stored.bcrypts() {
		return bcrypt.CompareHashAndPassword(stored.key, bcryptInput(stored.scheme, pw)) == nil
	}
	key, err := h.derive(stored, pw)
	return err == nil && subtle.ConstantTimeCompare(key, stored.key) == 1
}

func (h *Hash) bcrypts() bool {
	return h.scheme == "bcrypt" || h.scheme == "bcrypt-sha256" || h.scheme == "wordpress-bcrypt"
}

// derive computes what a stored hash has as its key.
func (h *Hasher) derive(stored *Hash, pw string) ([]byte, error) {
	size, n := len(stored.key), stored.params
	text := []byte(pw)
	switch stored.scheme {
	case "argon2id":
		return h.argon(text, stored.salt, uint32(n[1]), uint32(n[0]), uint8(n[2]), uint32(size)), nil
	case "argon2i":
		return argon2.Key(text, stored.salt, uint32(n[1]), uint32(n[0]), uint8(n[2]), uint32(size)), nil
	case "argon2d":
		return argon2d(text, stored.salt, uint32(n[1]), uint32(n[0]), uint32(n[2]), uint32(size)), nil
	case wrappedScheme:
		under, err := h.derive(stored.inner, pw)
		if err != nil {
			return nil, err
		}
		return h.argon(under, stored.salt, uint32(n[1]), uint32(n[0]), uint8(n[2]), uint32(size)), nil
	case "scrypt":
		return scrypt.Key(text, stored.salt, 1<<n[0], n[1], n[2], size)
	case "firebase-scrypt":
		return firebaseKey(stored, pw)
	case "pbkdf2-sha1":
		return pbkdf2.Key(sha1.New, pw, stored.salt, n[0], size)
	case "pbkdf2-sha256":
		return pbkdf2.Key(sha256.New, pw, stored.salt, n[0], size)
	case "pbkdf2-sha512":
		return pbkdf2.Key(sha512.New, pw, stored.salt, n[0], size)
	case "sha256-crypt":
		return crypted(text, func(text []byte) []byte { return sha256Crypt(text, stored.salt, n[0]) })
	case "sha512-crypt":
		return crypted(text, func(text []byte) []byte { return sha512Crypt(text, stored.salt, n[0]) })
	case "md5-crypt":
		return crypted(text, func(text []byte) []byte { return md5Crypt(text, stored.salt, "$1$", n[0]) })
	case "apr1":
		return crypted(text, func(text []byte) []byte { return md5Crypt(text, stored.salt, "$apr1$", n[0]) })
	case "phpass":
		return crypted(text, func(text []byte) []byte { return phpassKey(text, stored.salt, 1<<n[0]) })
	}
	d := digestOf(stored.scheme)
	if d == nil {
		return nil, ErrFormat
	}
	if n[0] == saltFirst {
		return sum(d.sum(), stored.salt, text), nil
	}
	return sum(d.sum(), text, stored.salt), nil
}

// current reports whether the hash is as a new one would be.
func (h *Hash) current() bool {
	return strings.HasPrefix(h.text, "$argon2id$") && h.params == [3]int{memoryKiB, passes, lanes} && len(h.salt) == saltLen && len(h.key) == keyLen
}
