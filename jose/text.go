package jose

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// digits64 says what a character of base64url stands for in each place of four:
// six of 24 bits. One of another alphabet stands for the bit beyond them.
var digits64 = func() (t [4][256]uint32) {
	for place := range t {
		for c := range t[place] {
			t[place][c] = 1 << 24
		}
		for n, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
			t[place][c] = uint32(n) << (18 - 6*place)
		}
	}
	return t
}()

// decode64 appends what src encodes to dst. Every value has one spelling:
// padding, other alphabets and spare bits are refused, and line breaks too, which
// encoding/base64 skips even when it is strict. This takes two thirds of its time.
func decode64(dst, src []byte) ([]byte, bool) {
	n := len(dst)
	dst = slices.Grow(dst, len(src)/4*3+4)
	seen := uint32(0)
	for ; len(src) >= 4; src = src[4:] {
		bits := digits64[0][src[0]] | digits64[1][src[1]] | digits64[2][src[2]] | digits64[3][src[3]]
		binary.BigEndian.PutUint32(dst[n:n+4], bits<<8) // the fourth byte is overwritten
		n += 3
		seen |= bits
	}
	bits := uint32(0)
	for place, c := range src {
		bits |= digits64[place][c]
	}
	seen |= bits
	switch dst = dst[:n]; len(src) {
	case 1:
		return dst, false
	case 2:
		return append(dst, byte(bits>>16)), seen>>24 == 0 && bits&0xffff == 0
	case 3:
		return append(dst, byte(bits>>16), byte(bits>>8)), seen>>24 == 0 && bits&0xff == 0
	}
	return dst, seen>>24 == 0
}

// errJSON is why JSON text is refused. Which of the reasons it was helps
// nobody but the attacker who tries them.
var errJSON = errors.New("not strict JSON")

// maxDepth of JSON values within each other, which bounds the recursion.
const maxDepth = 32

// An object reads the members of one JSON object (RFC 8259), strictly: UTF-8
// and nothing after it, and no two names that are equal when case is folded.
// Readers differ in which of two they take: encoding/json lets SUB win over sub
// (RFC 8725 section 2.4 and 3.10).
type object struct {
	s     string
	i     int
	plain bool // as plain says
	begun bool
	n     int
	few   [16]name
	many  map[string]bool // folded, of all names where there are more than few
}

// A name is one that was seen. Its hash does not depend on case; it is 0 where
// there are letters beyond ASCII, which may fold into others of another length.
type name struct {
	text string
	hash uint32
}

// open starts to read text that must be one object.
func (o *object) open(s string) error {
	o.s, o.plain = s, plain(s)
	if !o.plain && !utf8.ValidString(s) {
		return errJSON
	}
	o.space()
	if !o.take('{') {
		return errJSON
	}
	return nil
}

// next returns the next member, its value as it stands. After the last one it
// returns false.
func (o *object) next() (key, value string, ok bool, err error) {
	o.space()
	if o.take('}') {
		o.space()
		if o.i < len(o.s) {
			return "", "", false, errJSON
		}
		return "", "", false, nil
	}
	if o.begun {
		if !o.take(',') {
			return "", "", false, errJSON
		}
		o.space()
	}
	o.begun = true
	if key, ok = o.string(); !ok || o.seen(key) {
		return "", "", false, errJSON
	}
	o.space()
	if !o.take(':') {
		return "", "", false, errJSON
	}
	o.space()
	from := o.i
	if !o.skip(0) {
		return "", "", false, errJSON
	}
	return key, o.s[from:o.i], true, nil
}

// seen notes a name and reports whether one that folds to it came before.
func (o *object) seen(text string) bool {
	if o.many != nil {
		return o.seenMany(text)
	}
	hash := uint32(0)
	if n := len(text); n > 0 && (o.plain || ascii(text)) {
		hash = uint32(n)<<24 | uint32(text[0]|0x20)<<16 | uint32(text[n/2]|0x20)<<8 | uint32(text[n-1]|0x20)
	}
	for i := range o.few[:o.n] {
		n := &o.few[i]
		if (n.hash == hash || n.hash == 0 || hash == 0) && strings.EqualFold(n.text, text) {
			return true
		}
	}
	if o.n < len(o.few) {
		o.few[o.n] = name{text, hash}
		o.n++
		return false
	}
	return o.seenMany(text)
}

// seenMany is seen for an object of so many names that to compare each with
// each would be what a stranger wants: 12 KiB of header took 40 ms.
func (o *object) seenMany(text string) bool {
	if o.many == nil {
		o.many = map[string]bool{}
		for _, n := range o.few {
			o.many[fold(n.text)] = true
		}
	}
	folded := fold(text)
	if o.many[folded] {
		return true
	}
	o.many[folded] = true
	return false
}

// fold returns what all texts have in common that strings.EqualFold finds
// equal.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

func (o *object) space() {
	for o.i < len(o.s) && (o.s[o.i] == ' ' || o.s[o.i] == '\t' || o.s[o.i] == '\n' || o.s[o.i] == '\r') {
		o.i++
	}
}

func (o *object) take(c byte) bool {
	if o.i < len(o.s) && o.s[o.i] == c {
		o.i++
		return true
	}
	return false
}

// string reads a string and returns what it says.
func (o *object) string() (string, bool) {
	from := o.i
	escaped, ok := o.skipString()
	if !ok {
		return "", false
	}
	text := o.s[from+1 : o.i-1]
	if escaped {
		return unescape(text)
	}
	return text, true
}

func (o *object) skipString() (escaped, ok bool) {
	if !o.take('"') {
		return false, false
	}
	if o.plain {
		n := strings.IndexByte(o.s[o.i:], '"')
		o.i += n + 1
		return false, n >= 0
	}
	for ; o.i < len(o.s); o.i++ {
		switch c := o.s[o.i]; {
		case c == '"':
			o.i++
			return escaped, true
		case c == '\\':
			escaped = true
			o.i++
		case c < ' ':
			return false, false
		}
	}
	return false, false
}

// skip moves past one value that stands depth deep in others.
func (o *object) skip(depth int) bool {
	if o.i == len(o.s) || depth > maxDepth {
		return false
	}
	switch c := o.s[o.i]; c {
	case '"':
		_, ok := o.string()
		return ok
	case '{':
		inner := object{s: o.s, i: o.i + 1, plain: o.plain}
		return inner.skipObject(depth) && o.move(inner.i)
	case '[':
		o.i++
		o.space()
		if o.take(']') {
			return true
		}
		for {
			o.space()
			if !o.skip(depth + 1) {
				return false
			}
			o.space()
			if o.take(']') {
				return true
			}
			if !o.take(',') {
				return false
			}
		}
	case 't':
		return o.word("true")
	case 'f':
		return o.word("false")
	case 'n':
		return o.word("null")
	default:
		n := numberLen(o.s[o.i:])
		return n > 0 && o.move(o.i+n)
	}
}

// skipObject moves past an object whose brace has been read.
func (o *object) skipObject(depth int) bool {
	for ; ; o.begun = true {
		o.space()
		if o.take('}') {
			return true
		}
		if o.begun {
			if !o.take(',') {
				return false
			}
			o.space()
		}
		key, ok := o.string()
		if !ok || o.seen(key) {
			return false
		}
		o.space()
		if !o.take(':') {
			return false
		}
		o.space()
		if !o.skip(depth + 1) {
			return false
		}
	}
}

// plain reports whether the strings in s are what stands between quotes, in
// ASCII: there is no escape in it and no control character. It looks at eight
// bytes at a time, which is a tenth of the cost of looking at each in each string.
func plain(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		const each = 0x0101010101010101
		// The high bit of a byte is set where it was, where the byte is less than
		// a space, and where it is a backslash.
		if (x|(x-each*' ')|((x^each*'\\')-each))&(each<<7) != 0 {
			return false
		}
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (o *object) move(to int) bool { o.i = to; return true }

func (o *object) word(w string) bool {
	return strings.HasPrefix(o.s[o.i:], w) && o.move(o.i+len(w))
}

// numberLen is the length of the number at the start of s, 0 if there is none.
func numberLen(s string) int {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// unescape returns what the inside of a JSON string says. Half a surrogate pair
// stands for no character and is refused.
func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for {
		plain, rest, more := strings.Cut(s, `\`)
		b = append(b, plain...)
		if !more {
			return string(b), true
		}
		if rest == "" {
			return "", false
		}
		c := rest[0]
		s = rest[1:]
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, ok := hex4(s)
			if !ok {
				return "", false
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				if !strings.HasPrefix(s, `\u`) {
					return "", false
				}
				low, ok := hex4(s[2:])
				if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
					return "", false
				}
				s = s[6:]
			}
			b = utf8.AppendRune(b, r)
		default:
			return "", false
		}
	}
}

func hex4(s string) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for _, c := range []byte(s[:4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// stringValue returns what a member's value says, if it is a string.
func stringValue(raw string) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if raw = raw[1 : len(raw)-1]; strings.IndexByte(raw, '\\') >= 0 {
		return unescape(raw)
	}
	return raw, true
}

// stringsValue returns what an array of strings says, without room to append
// to: the array may be shared.
func stringsValue(dst []string, raw string) ([]string, bool) {
	o := object{s: raw}
	if !o.take('[') {
		return nil, false
	}
	for o.space(); !o.take(']'); o.space() {
		if len(dst) > 0 && !o.take(',') {
			return nil, false
		}
		o.space()
		s, ok := o.string()
		if !ok {
			return nil, false
		}
		dst = append(dst, s)
	}
	return slices.Clip(dst), true
}

// appendString appends s as a JSON string. What is not UTF-8 is refused.
func appendString(dst []byte, s string) ([]byte, bool) {
	dst = append(dst, '"')
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		return append(append(dst, s...), '"'), true
	}
	if !utf8.ValidString(s) {
		return dst, false
	}
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"'), true
}
