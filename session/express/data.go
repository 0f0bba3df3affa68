package express

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// Data is what a session holds: JSON members in the order JavaScript keeps them
// in. Members that this program does not know, and the spelling of those it does
// not change, stay as an Express server wrote them.
type Data struct {
	members []member // "cookie" among them, whose value is in cookie
	cookie  []member
	alone   bool // a session in a cookie, whose record has no "cookie" of its own
}

// A member is a name with its value. Both spellings are the record's.
type member struct{ name, quoted, value string }

// What a session cannot hold.
var (
	ErrName  = admit.Invalid.New("session_name", "A session cannot hold a value of that name.").WithHint("Express's session object has a method or field of the name, so that Express drops the value or hangs.")
	ErrValue = admit.Invalid.New("session_value", "This is no JSON value.")
)

// taken are the names that Express's session object has itself, and those of
// every object in JavaScript: at load Express drops members of these names.
var taken = map[string]bool{
	"cookie": true, "id": true, "req": true,
	"touch": true, "resetMaxAge": true, "save": true, "reload": true, "destroy": true, "regenerate": true,
	"constructor": true, "hasOwnProperty": true, "isPrototypeOf": true, "propertyIsEnumerable": true, "toLocaleString": true, "toString": true, "valueOf": true,
	"__defineGetter__": true, "__defineSetter__": true, "__lookupGetter__": true, "__lookupSetter__": true, "__proto__": true,
}

func (d *Data) hides(name string) bool { return name == "cookie" && !d.alone }

// Get decodes the value of a name into v, a pointer. Where there is none, v
// stays as it is.
func (d *Data) Get(name string, v any) error {
	raw := d.Raw(name)
	if raw == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return fmt.Errorf("read %q of a session: %w", name, err)
	}
	return nil
}

// Raw returns the value of a name as it is spelled in the record, or "".
func (d *Data) Raw(name string) string {
	if i := find(d.members, name); i >= 0 && !d.hides(name) {
		return d.members[i].value
	}
	return ""
}

// Set keeps v under a name, in JSON spelled as JavaScript would. A number beyond
// 2^53 reads rounded there.
func (d *Data) Set(name string, v any) error {
	raw, err := stringify(v)
	if err != nil {
		return fmt.Errorf("keep %q in a session: %w", name, err)
	}
	return d.SetRaw(name, raw)
}

// SetRaw keeps a JSON text under a name, byte for byte.
func (d *Data) SetRaw(name, raw string) error {
	switch {
	case d.alone && takenInCookie[name], !d.alone && taken[name]:
		return fmt.Errorf("%q: %w", name, ErrName)
	case !json.Valid([]byte(raw)):
		return fmt.Errorf("%q: %w", name, ErrValue)
	}
	return set(&d.members, name, strings.Trim(raw, space))
}

// Delete removes a name.
func (d *Data) Delete(name string) {
	if i := find(d.members, name); i >= 0 && !d.hides(name) {
		d.members = append(d.members[:i:i], d.members[i+1:]...)
	}
}

// All returns the names and values in their order, without the cookie.
func (d *Data) All() iter.Seq2[string, string] {
	return func(yield func(name, raw string) bool) {
		for _, m := range d.members {
			if !d.hides(m.name) && !yield(m.name, m.value) {
				return
			}
		}
	}
}

// JSON returns the whole record, the cookie's attributes included.
func (d *Data) JSON() string {
	var b strings.Builder
	write(&b, d.members, d.cookie)
	return b.String()
}

// Expires returns when the session ends unless it is used, or the zero time
// where its cookie ends with the browser. An Express server that only reads
// moves that time in the store alone, so it may be over here and the session
// alive.
func (d *Data) Expires() time.Time {
	var text string
	if json.Unmarshal([]byte(value(d.cookie, "expires")), &text) != nil {
		return time.Time{}
	}
	// JavaScript writes the first; others may have written the second.
	for _, layout := range []string{time.RFC3339, time.RFC1123} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	return time.Time{}
}

// MaxAge returns for how long the session waits for its next use, or 0 where
// its cookie ends with the browser.
func (d *Data) MaxAge() time.Duration {
	ms, err := strconv.ParseFloat(value(d.cookie, "originalMaxAge"), 64)
	if err != nil || ms <= 0 {
		return 0
	}
	return time.Duration(math.Min(ms, maxAge)) * time.Millisecond
}

const maxAge = 9e12 // ms, 285 years: a time.Duration holds no more

// SetMaxAge changes that from now on; 0 lets the cookie end with the browser.
func (d *Data) SetMaxAge(age time.Duration) {
	ms := "null"
	if age > 0 {
		ms = strconv.FormatInt(max(age.Milliseconds(), 1), 10)
	}
	set(&d.cookie, "originalMaxAge", ms)
	set(&d.cookie, "expires", "null")
	d.renew(time.Now())
}

// renew begins the session's time anew, as Express's touch does. One whose
// cookie has no age of its own keeps the end that it has.
func (d *Data) renew(now time.Time) {
	if age := d.MaxAge(); age > 0 {
		set(&d.cookie, "expires", now.Add(age).UTC().Format(`"2006-01-02T15:04:05.000Z"`))
	}
}

// parse reads a record. A record without a cookie is none: Express fails on it.
func parse(record string) (Data, error) {
	d := Data{}
	var err error
	if d.members, err = members(record); err != nil {
		return Data{}, err
	}
	d.cookie, err = members(value(d.members, "cookie"))
	return d, err
}

var errRecord = admit.Invalid.New("session_record", "This is no record of an Express session.")

const space = " \t\r\n"

// members returns those of a JSON object. As in JavaScript the last of several
// with one name counts, in the place of the first.
func members(object string) ([]member, error) {
	rest := strings.TrimLeft(object, space)
	if !strings.HasPrefix(rest, "{") || !json.Valid([]byte(object)) {
		return nil, errRecord
	}
	// It is valid, so that each thing can be taken for what it looks like.
	all := make([]member, 0, 8)
	known := map[string]int{} // or many members would take the square of their number
	for rest = strings.TrimLeft(rest[1:], space); rest[0] != '}'; rest = strings.TrimLeft(rest, space+",") {
		m := member{quoted: rest[:valueEnd(rest)]}
		rest = strings.TrimLeft(rest[len(m.quoted):], space+":")
		m.value = rest[:valueEnd(rest)]
		rest = rest[len(m.value):]
		if m.name = m.quoted[1 : len(m.quoted)-1]; strings.IndexByte(m.name, '\\') >= 0 || !utf8.ValidString(m.name) {
			if err := json.Unmarshal([]byte(m.quoted), &m.name); err != nil {
				return nil, errRecord
			}
		}
		if i, twice := known[m.name]; twice {
			all[i].value = m.value
			continue
		}
		known[m.name] = len(all)
		all = append(all, m)
	}
	return all, nil
}

// valueEnd returns where the value ends that valid JSON begins with.
func valueEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

func find(all []member, name string) int {
	for i := range all {
		if all[i].name == name {
			return i
		}
	}
	return -1
}

func value(all []member, name string) string {
	if i := find(all, name); i >= 0 {
		return all[i].value
	}
	return ""
}

// set gives a member a value. A new one gets the place that JavaScript gives it:
// the last, but names that are array indices come first, in their order.
func set(all *[]member, name, raw string) error {
	if i := find(*all, name); i >= 0 {
		changed := append([]member(nil), *all...) // copies of a Data share what they do not change
		changed[i].value = raw
		*all = changed
		return nil
	}
	quoted, err := stringify(name)
	if err != nil {
		return err
	}
	place := len(*all)
	if n, ok := index(name); ok {
		for i, m := range *all {
			if other, ok := index(m.name); !ok || other > n {
				place = i
				break
			}
		}
	}
	added := append(append([]member(nil), (*all)[:place]...), member{name, quoted, raw})
	*all = append(added, (*all)[place:]...)
	return nil
}

// index reports whether a name is an array index (ECMAScript 6.1.7).
func index(name string) (uint32, bool) {
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil && n != math.MaxUint32 && strconv.FormatUint(n, 10) == name
}

// write writes an object, with the members of cookie in its place.
func write(b *strings.Builder, all, cookie []member) {
	b.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.quoted)
		b.WriteByte(':')
		if m.name == "cookie" && cookie != nil {
			write(b, cookie, nil)
		} else {
			b.WriteString(m.value)
		}
	}
	b.WriteByte('}')
}

// stringify is JSON.stringify: neither <, > and & nor U+2028 and U+2029 are
// escaped.
func stringify(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if !strings.Contains(text, `\u202`) {
		return text, nil
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], `\u2028`), strings.HasPrefix(text[i:], `\u2029`):
			out.WriteRune('\u2020' + rune(text[i+5]-'0'))
			i += 6
		case text[i] == '\\':
			out.WriteString(text[i : i+2])
			i += 2
		default:
			_, n := utf8.DecodeRuneInString(text[i:])
			out.WriteString(text[i : i+n])
			i += n
		}
	}
	return out.String(), nil
}

// sameMembers reports whether two cookies are spelled the same.
func sameMembers(a, b []member) bool {
	var x, y strings.Builder
	write(&x, a, nil)
	write(&y, b, nil)
	return x.String() == y.String()
}
