package session

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A plain is the members of a struct that are all texts, integers, booleans and times,
// in their order. Its JSON is that of encoding/json, byte for byte, in a quarter of the
// time; what it cannot be sure of it leaves to encoding/json.
type plain []member

type member struct {
	name  string // quoted, with the colon behind it
	index int
	kind  reflect.Kind // reflect.Struct is a time.Time
	bits  int          // of an integer
	omit  bool         // where it is zero
}

var timeType = reflect.TypeFor[time.Time]()

// newPlain returns the members of D where it is plain. Nil where it is not: where a
// member is of another kind, or has a way of its own into JSON.
func newPlain(d reflect.Type) plain {
	if d.Kind() != reflect.Struct || hasOwnForm(d) {
		return nil
	}
	p := plain{}
	names := map[string]bool{} // encoding/json folds case
	for i := range d.NumField() {
		f := d.Field(i)
		tag := f.Tag.Get("json")
		name, option, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous:
			return nil
		case !f.IsExported() || tag == "-":
			continue
		case name == "":
			name = f.Name
		}
		m := member{name: `"` + name + `":`, index: i, kind: f.Type.Kind()}
		switch option {
		case "":
		case "omitempty":
			m.omit = m.kind != reflect.Struct // which is never empty
		case "omitzero":
			if _, own := reflect.PointerTo(f.Type).MethodByName("IsZero"); own && f.Type != timeType {
				return nil // it says itself when it is zero
			}
			m.omit = true
		default:
			return nil
		}
		switch {
		case f.Type == timeType:
		case hasOwnForm(f.Type), f.Type == reflect.TypeFor[json.Number]():
			return nil
		case m.kind == reflect.String, m.kind == reflect.Bool:
		case f.Type.Kind() >= reflect.Int && f.Type.Kind() <= reflect.Uint64:
			m.bits = f.Type.Bits()
		default:
			return nil
		}
		folded := strings.ToLower(name)
		if names[folded] || strings.ContainsFunc(name, unusual) {
			return nil
		}
		names[folded] = true
		p = append(p, m)
	}
	return p
}

// unusual reports whether a member's name is more than letters, digits and underscores.
func unusual(c rune) bool {
	return c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}

// hasOwnForm reports whether a type says itself what it is in JSON, or what it is to be
// from it.
func hasOwnForm(t reflect.Type) bool {
	t = reflect.PointerTo(t)
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// append writes v behind b. It reports false for a time that has no JSON.
func (p plain) append(b []byte, v reflect.Value) ([]byte, bool) {
	b = append(b, '{')
	empty := len(b)
	for i := range p {
		m, f := &p[i], v.Field(p[i].index)
		if m.omit && m.zero(f) {
			continue
		}
		if len(b) > empty {
			b = append(b, ',')
		}
		b = append(b, m.name...)
		switch m.kind {
		case reflect.String:
			b = appendText(b, f.String())
		case reflect.Bool:
			b = strconv.AppendBool(b, f.Bool())
		case reflect.Struct:
			var err error
			if b, err = f.Addr().Interface().(*time.Time).AppendText(append(b, '"')); err != nil {
				return nil, false
			}
			b = append(b, '"')
		default:
			if f.CanInt() {
				b = strconv.AppendInt(b, f.Int(), 10)
			} else {
				b = strconv.AppendUint(b, f.Uint(), 10)
			}
		}
	}
	return append(b, '}'), true
}

// zero is as encoding/json sees it: a time in another zone may be, too.
func (m *member) zero(f reflect.Value) bool {
	if m.kind == reflect.Struct {
		return f.Addr().Interface().(*time.Time).IsZero()
	}
	return f.IsZero()
}

func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// read fills v, which is zero, and reports whether it could: the members stand in their
// order, without space between them, as append writes them. Texts share data's memory.
func (p plain) read(data string, v reflect.Value) bool {
	rest, ok := strings.CutPrefix(data, "{")
	if !ok {
		return false
	}
	for i := range p {
		text := rest
		if len(rest) < len(data)-1 { // behind another
			if text, ok = strings.CutPrefix(rest, ","); !ok {
				break
			}
		}
		if text, ok = strings.CutPrefix(text, p[i].name); !ok {
			continue // it was left out
		}
		if rest, ok = p[i].read(text, v.Field(p[i].index)); !ok {
			return false
		}
	}
	return rest == "}"
}

// read fills v from the begin of a text, and returns the rest of it.
func (m *member) read(text string, v reflect.Value) (rest string, ok bool) {
	switch m.kind {
	case reflect.Bool:
		if rest, ok = strings.CutPrefix(text, "true"); ok {
			v.SetBool(true)
			return rest, true
		}
		return strings.CutPrefix(text, "false")
	case reflect.String, reflect.Struct:
		if text, ok = strings.CutPrefix(text, `"`); !ok {
			return "", false
		}
		if text, rest, ok = strings.Cut(text, `"`); !ok {
			return "", false
		}
		if m.kind == reflect.Struct {
			return rest, v.Addr().Interface().(*time.Time).UnmarshalText([]byte(text)) == nil
		}
		v.SetString(text)
		return rest, literal(text)
	}
	n := 0
	for n < len(text) && (text[n] >= '0' && text[n] <= '9' || n == 0 && text[n] == '-') {
		n++
	}
	text, rest = text[:n], text[n:]
	if digits := strings.TrimPrefix(text, "-"); len(digits) > 1 && digits[0] == '0' {
		return "", false
	}
	var err error
	if v.CanInt() {
		var n int64
		n, err = strconv.ParseInt(text, 10, m.bits)
		v.SetInt(n)
	} else {
		var n uint64
		n, err = strconv.ParseUint(text, 10, m.bits)
		v.SetUint(n)
	}
	return rest, err == nil
}

// literal reports whether what stands between two quotes means itself.
func literal(s string) bool {
	ascii := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '\\' {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(s)
}
