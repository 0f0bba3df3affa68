package express

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// decodeURIComponent does as JavaScript's, and gives false where that throws: at a %
// without two hexadecimal digits, and where what comes out is no UTF-8.
func decodeURIComponent(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			high, low := nibble(s[i+1]), nibble(s[i+2])
			if high|low > 15 {
				return "", false
			}
			c, i = high<<4|low, i+2
		}
		b = append(b, c)
	}
	return string(b), utf8.Valid(b)
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// latin1 is how Node reads the bytes of a header: each is a character.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			r := make([]rune, len(s))
			for i := range len(s) {
				r[i] = rune(s[i])
			}
			return string(r)
		}
	}
	return s
}

// find returns the value of the first cookie with this name, as npm's cookie
// parses it: the raw, the encoded and the quoted spelling of a value are all one.
func find(h http.Header, name string) (string, bool) {
	if name == "__proto__" { // which an object of JavaScript does not take
		return "", false
	}
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, ok := strings.Cut(pair, "=")
			if !ok || latin1(strings.Trim(key, " \t")) != name {
				continue
			}
			value = strings.Trim(value, " \t")
			if value == `"` {
				value = ""
			} else if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			value = latin1(value)
			if strings.Contains(value, "%") {
				if decoded, ok := decodeURIComponent(value); ok {
					value = decoded
				}
			}
			return value, true
		}
	}
	return "", false
}
