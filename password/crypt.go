package password

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"
)

// The forms of crypt(3) and of phpass, which is PHP's portable one. Their keys
// are compared as they are written, in an alphabet of their own.

const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// maxCryptPassword is where libxcrypt refuses a password. SHA-crypt hashes it in
// every round, so that a book would hold a slot for minutes.
const maxCryptPassword = 512

const (
	shaRounds    = 5000 // where none are written
	minSHARounds = 1000
	maxSHARounds = 1_000_000 // passlib's default is 656,000
	maxPhpass    = 20        // 2^20 rounds
	md5Rounds    = 1000
)

// shaCrypt reads $5$salt$key, or $5$rounds=N$salt$key, and the same of $6$.
func (h *Hash) shaCrypt(parts []string, keyLen int) bool {
	h.params[0] = shaRounds
	if n, ok := strings.CutPrefix(parts[0], "rounds="); ok {
		if h.params[0], ok = number(n, minSHARounds, maxSHARounds); !ok {
			return false
		}
		parts = parts[1:]
	}
	return h.cryptParts(parts, 16, keyLen)
}

// cryptParts reads a salt and a key.
func (h *Hash) cryptParts(parts []string, saltLen, keyLen int) bool {
	if len(parts) != 2 {
		return false
	}
	h.salt, h.key = []byte(parts[0]), []byte(parts[1])
	return len(h.salt) <= saltLen && cryptText(parts[0]) && len(h.key) == keyLen && cryptText(parts[1]) && noSpareBits(parts[1])
}

func cryptText(s string) bool { return strings.Trim(s, cryptAlphabet) == "" }

// noSpareBits reports whether the last character, of which a part is of no use, is
// as crypt writes it: all lengths of keys leave two bits or four in use.
func noSpareBits(key string) bool {
	used := uint(8 * (len(key) * 6 / 8) % 6)
	return used == 0 || strings.IndexByte(cryptAlphabet, key[len(key)-1]) < 1<<used
}

// phpass reads $P$Bsaltsaltkey, whose B is the number of rounds as a power of two.
func (h *Hash) phpass(parts []string) bool {
	if len(parts) != 1 || len(parts[0]) != 31 || !cryptText(parts[0]) {
		return false
	}
	h.params[0] = strings.IndexByte(cryptAlphabet, parts[0][0])
	h.salt, h.key = []byte(parts[0][1:9]), []byte(parts[0][9:])
	return h.params[0] >= 7 && h.params[0] <= maxPhpass && noSpareBits(parts[0])
}

// appendCrypt writes three bytes as n characters, lowest bits first.
func appendCrypt(dst []byte, b2, b1, b0 byte, n int) []byte {
	v := uint(b2)<<16 | uint(b1)<<8 | uint(b0)
	for range n {
		dst = append(dst, cryptAlphabet[v&63])
		v >>= 6
	}
	return dst
}

func sum(h hash.Hash, parts ...[]byte) []byte {
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// repeat returns the first n bytes of one that is repeated.
func repeat(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b))
	for len(out) < n {
		out = append(out, b...)
	}
	return out[:n]
}

// shaCryptKey is Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512".
func shaCryptKey(h hash.Hash, pw, salt []byte, rounds int) []byte {
	b := sum(h, pw, salt, pw)
	h.Reset()
	h.Write(pw)
	h.Write(salt)
	h.Write(repeat(b, len(pw)))
	for n := len(pw); n > 0; n >>= 1 {
		if n&1 == 1 {
			h.Write(b)
		} else {
			h.Write(pw)
		}
	}
	a := h.Sum(nil)
	h.Reset()
	for range pw {
		h.Write(pw)
	}
	p := repeat(h.Sum(nil), len(pw))
	h.Reset()
	for range 16 + int(a[0]) {
		h.Write(salt)
	}
	s := repeat(h.Sum(nil), len(salt))
	for i := range rounds {
		h.Reset()
		if i&1 == 1 {
			h.Write(p)
		} else {
			h.Write(a)
		}
		if i%3 != 0 {
			h.Write(s)
		}
		if i%7 != 0 {
			h.Write(p)
		}
		if i&1 == 1 {
			h.Write(a)
		} else {
			h.Write(p)
		}
		a = h.Sum(a[:0])
	}
	return a
}

func sha512Crypt(pw, salt []byte, rounds int) (out []byte) {
	d := shaCryptKey(sha512.New(), pw, salt, rounds)
	a, b, c := 0, 21, 42
	for range 21 {
		out = appendCrypt(out, d[a], d[b], d[c], 4)
		a, b, c = b+1, c+1, a+1
	}
	return appendCrypt(out, 0, 0, d[63], 2)
}

func sha256Crypt(pw, salt []byte, rounds int) (out []byte) {
	d := shaCryptKey(sha256.New(), pw, salt, rounds)
	a, b, c := 0, 10, 20
	for range 10 {
		out = appendCrypt(out, d[a], d[b], d[c], 4)
		a, b, c = c+1, a+1, b+1
	}
	return appendCrypt(out, 0, d[31], d[30], 3)
}

// md5Crypt is FreeBSD's, and with the magic $apr1$ that of Apache.
func md5Crypt(pw, salt []byte, magic string, rounds int) (out []byte) {
	h := md5.New()
	b := sum(h, pw, salt, pw)
	h.Reset()
	h.Write(pw)
	h.Write([]byte(magic))
	h.Write(salt)
	h.Write(repeat(b, len(pw)))
	for n := len(pw); n > 0; n >>= 1 {
		if n&1 == 1 {
			h.Write([]byte{0})
		} else {
			h.Write(pw[:1])
		}
	}
	d := h.Sum(nil)
	for i := range rounds {
		h.Reset()
		if i&1 == 1 {
			h.Write(pw)
		} else {
			h.Write(d)
		}
		if i%3 != 0 {
			h.Write(salt)
		}
		if i%7 != 0 {
			h.Write(pw)
		}
		if i&1 == 1 {
			h.Write(d)
		} else {
			h.Write(pw)
		}
		d = h.Sum(d[:0])
	}
	for _, g := range [][3]int{{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}} {
		out = appendCrypt(out, d[g[0]], d[g[1]], d[g[2]], 4)
	}
	return appendCrypt(out, 0, 0, d[11], 2)
}

func phpassKey(pw, salt []byte, rounds int) (out []byte) {
	h := md5.New()
	d := sum(h, salt, pw)
	for range rounds {
		h.Reset()
		h.Write(d)
		h.Write(pw)
		d = h.Sum(d[:0])
	}
	for i := 0; i < 15; i += 3 {
		out = appendCrypt(out, d[i+2], d[i+1], d[i], 4)
	}
	return appendCrypt(out, 0, 0, d[15], 2)
}

// crypted computes a key. A password that crypt would not take matches nothing,
// after the same work.
func crypted(pw []byte, key func(pw []byte) []byte) ([]byte, error) {
	if len(pw) > maxCryptPassword {
		key(pw[:maxCryptPassword])
		return nil, ErrFormat
	}
	return key(pw), nil
}
