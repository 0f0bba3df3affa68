package cookie

import (
	"encoding/base64"
	"strings"
)

var strict64 = base64.RawURLEncoding.Strict()

// decode64 fills dst with the bytes of s, which has exactly one spelling. The
// standard library's decoder passes over CR and LF, even when it is strict.
func decode64(dst []byte, s string) bool {
	if base64.RawURLEncoding.DecodedLen(len(s)) != len(dst) || strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		return false
	}
	n, err := strict64.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}

// plain holds the bytes that stand for themselves in an encoded value: the
// unreserved characters of RFC 3986 and a few that cookies and readers of
// logs both bear. All else, "%" included, is %XX in upper case.
var plain = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~!*'()/:@+=&$[]{}<>?#^`|") {
		t[c] = true
	}
	return t
}()

const hex = "0123456789ABCDEF"

func appendEscaped(dst, value []byte) []byte {
	for _, c := range value {
		if plain[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// unescape undoes appendEscaped in place and returns the length; false where
// it would not have written these bytes.
func unescape(b []byte) (int, bool) {
	n := 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			if i+2 >= len(b) {
				return 0, false
			}
			hi, ok1 := unhex(b[i+1])
			lo, ok2 := unhex(b[i+2])
			c = hi<<4 | lo
			if !ok1 || !ok2 || plain[c] {
				return 0, false
			}
			i += 2
		} else if !plain[c] {
			return 0, false
		}
		b[n] = c
		n++
	}
	return n, true
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
