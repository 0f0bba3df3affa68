package jose

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Claims are those of one token: the registered ones (RFC 7519 section 4.1),
// typed, and your own.
//
// Claims that a Verifier returns may share Audience, and what Data refers to,
// with other callers that present the same token: read them, do not write.
type Claims[D any] struct {
	Issuer    string    // iss
	Subject   string    // sub
	Audience  []string  // aud
	Expires   time.Time // exp, in seconds
	NotBefore time.Time // nbf
	IssuedAt  time.Time // iat
	ID        string    // jti

	Data   D      // all others that D names
	Header Header // of a verified token
}

// registered are the claims that Claims holds itself.
var registered = [...]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// maxDate is the last second of the year 9999, the last that RFC 3339 can say.
const maxDate = 253402300799

func (c *Claims[D]) appendRegistered(b []byte, issued time.Time) ([]byte, error) {
	good := true
	text := func(name, value string) {
		if value != "" {
			ok := false
			b = append(b, name...)
			b, ok = appendString(b, value)
			good = good && ok
		}
	}
	date := func(name string, t time.Time) {
		if !t.IsZero() {
			b = strconv.AppendInt(append(b, name...), t.Unix(), 10)
			good = good && t.Unix() >= 0 && t.Unix() <= maxDate
		}
	}
	// iat comes first, for it is always there: no other comma needs a thought.
	b = append(b, `{"iat":`...)
	b = strconv.AppendInt(b, issued.Unix(), 10)
	good = issued.Unix() >= 0 && issued.Unix() <= maxDate
	text(`,"iss":`, c.Issuer)
	text(`,"sub":`, c.Subject)
	switch len(c.Audience) {
	case 0:
	case 1:
		text(`,"aud":`, c.Audience[0])
	default:
		b = append(b, `,"aud":[`...)
		for i, a := range c.Audience {
			if i > 0 {
				b = append(b, ',')
			}
			ok := false
			b, ok = appendString(b, a)
			good = good && ok
		}
		b = append(b, ']')
	}
	date(`,"exp":`, c.Expires)
	date(`,"nbf":`, c.NotBefore)
	text(`,"jti":`, c.ID)
	if !good {
		return nil, errors.New("a claim that is not UTF-8, or a date before 1970 or after 9999")
	}
	return b, nil
}

// parse reads a token's payload.
func (c *Claims[D]) parse(payload string, p *plan) error {
	var o object
	if err := o.open(payload); err != nil {
		return fmt.Errorf("%w: %w", err, ErrClaims)
	}
	for {
		name, raw, ok, err := o.next()
		if err != nil {
			return fmt.Errorf("%w: %w", err, ErrClaims)
		}
		if !ok {
			break
		}
		switch name {
		case "iss":
			c.Issuer, ok = stringValue(raw)
		case "sub":
			c.Subject, ok = stringValue(raw)
		case "jti":
			c.ID, ok = stringValue(raw)
		case "aud":
			if raw[0] == '[' {
				c.Audience, ok = stringsValue(nil, raw)
			} else {
				c.Audience = make([]string, 1)
				c.Audience[0], ok = stringValue(raw)
			}
		case "exp":
			c.Expires, ok = dateValue(raw)
		case "nbf":
			c.NotBefore, ok = dateValue(raw)
		case "iat":
			c.IssuedAt, ok = dateValue(raw)
		default:
			ok = p.set(&c.Data, name, raw)
		}
		if !ok {
			return fmt.Errorf("claim %q: %w", name, ErrClaims)
		}
	}
	if p.whole {
		if err := json.Unmarshal([]byte(payload), &c.Data); err != nil {
			return fmt.Errorf("%w: %w", err, ErrClaims)
		}
	}
	return nil
}

// dateValue reads a NumericDate (RFC 7519 section 2): seconds since 1970, with
// or without a fraction, up to the year 9999. Strings, exponents, negative ones
// and null are refused, and a fraction counts: what expired in a fraction of a
// second has expired.
func dateValue(raw string) (time.Time, bool) {
	seconds, n := digits(raw)
	if n == 0 || n > 12 || seconds > maxDate {
		return time.Time{}, false
	}
	if n == len(raw) {
		return time.Unix(seconds, 0), true
	}
	fraction := raw[n+1:]
	if _, n := digits(fraction); raw[len(raw)-len(fraction)-1] != '.' || n == 0 || n > 18 || n < len(fraction) {
		return time.Time{}, false
	}
	nanos, n := digits(fraction[:min(len(fraction), 9)])
	for ; n < 9; n++ {
		nanos *= 10
	}
	return time.Unix(seconds, nanos), true
}

// digits returns the number that s begins with and how many digits write it.
func digits(s string) (number int64, n int) {
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		number = number*10 + int64(s[n]-'0')
		n++
	}
	return number, n
}

// A plan is how the fields of a D are read and written, made once: reflection
// on the type at each token, and the many allocations of encoding/json, would
// cost more than the MAC. What is no string, bool, integer or []string is left
// to encoding/json, field by field.
type plan struct {
	fields []field
	names  []string // of the fields, and the registered ones
	whole  bool     // D is no plain struct: encoding/json reads and writes all of it
}

type field struct {
	name      string
	key       string // ,"name":
	index     int
	kind      reflect.Kind // as plainKind says
	omitEmpty bool
	omitZero  bool
}

func planFor[D any]() (*plan, error) {
	t := reflect.TypeFor[D]()
	p := &plan{names: registered[:]}
	p.names = slices.Clone(p.names)
	if t.Kind() != reflect.Struct || speaksForItself(t) {
		p.whole = true
		if t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
			return nil, fmt.Errorf("jose: claims of type %v, which is neither struct nor map", t)
		}
		return p, nil
	}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			p.whole = true // the fields in it are visible too, for their names
			continue
		case !f.IsExported() || name == "-" && options == "":
			continue
		case slices.Contains(strings.Split(options, ","), "string"):
			p.whole = true
		}
		if name == "" {
			name = f.Name
		}
		if taken(p.names, name) {
			return nil, fmt.Errorf("jose: %v has a claim %q of its own", t, name)
		}
		key, _ := appendString([]byte{','}, name)
		p.names = append(p.names, name)
		p.fields = append(p.fields, field{
			name: name, key: string(key) + ":", index: f.Index[0], kind: plainKind(f.Type),
			omitEmpty: slices.Contains(strings.Split(options, ","), "omitempty"),
			omitZero:  slices.Contains(strings.Split(options, ","), "omitzero"),
		})
	}
	return p, nil
}

// plain reports whether no code of others reads a D.
func (p *plan) plain() bool {
	return !p.whole && !slices.ContainsFunc(p.fields, func(f field) bool { return f.kind == reflect.Invalid })
}

// plainKind returns which of the kinds that a plan reads and writes itself a
// type is of: String, Bool, Int64, Uint64, or Slice, of strings. All others are
// Invalid.
func plainKind(t reflect.Type) reflect.Kind {
	switch k := t.Kind(); {
	case speaksForItself(t):
	case k == reflect.String || k == reflect.Bool:
		return k
	case k >= reflect.Int && k <= reflect.Int64:
		return reflect.Int64
	case k >= reflect.Uint && k <= reflect.Uint64:
		return reflect.Uint64
	case t == reflect.TypeFor[[]string]():
		return k
	}
	return reflect.Invalid
}

// speaksForItself reports whether encoding/json asks the type how it is read
// or written.
func speaksForItself(t reflect.Type) bool {
	for _, i := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// taken reports whether a name is among names when case is folded.
func taken(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// set gives the field of this name the value that the token has. Claims that D
// does not name are passed over (RFC 7519 section 4), but not one whose name
// differs from a known one by its case alone: it is there to be mistaken.
func (p *plan) set(data any, name, raw string) bool {
	if p.whole {
		return !taken(p.names, name) || slices.Contains(p.names, name)
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.name == name {
			return f.set(reflect.ValueOf(data).Elem().Field(f.index), raw)
		}
	}
	return !taken(p.names, name)
}

func (f *field) set(v reflect.Value, raw string) bool {
	switch f.kind {
	case reflect.String:
		s, ok := stringValue(raw)
		v.SetString(s)
		return ok
	case reflect.Bool:
		v.SetBool(raw == "true")
		return raw == "true" || raw == "false"
	case reflect.Int64:
		n, err := strconv.ParseInt(raw, 10, v.Type().Bits())
		v.SetInt(n)
		return err == nil
	case reflect.Uint64:
		n, err := strconv.ParseUint(raw, 10, v.Type().Bits())
		v.SetUint(n)
		return err == nil
	case reflect.Slice:
		all, ok := stringsValue([]string{}, raw)
		v.Set(reflect.ValueOf(all))
		return ok
	}
	if k := v.Kind(); raw == "null" && k != reflect.Pointer && k != reflect.Map && k != reflect.Slice && k != reflect.Interface {
		return false
	}
	return json.Unmarshal([]byte(raw), v.Addr().Interface()) == nil
}

// append appends the members of a D, each with a comma before it.
func (p *plan) append(b []byte, data any) ([]byte, error) {
	v := reflect.ValueOf(data).Elem()
	if p.whole {
		return p.appendWhole(b, v)
	}
	for i := range p.fields {
		f := &p.fields[i]
		value := v.Field(f.index)
		if f.omitZero && value.IsZero() || f.omitEmpty && empty(value) {
			continue
		}
		b = append(b, f.key...)
		var err error
		if b, err = f.append(b, value); err != nil {
			return nil, fmt.Errorf("claim %q: %w", f.name, err)
		}
	}
	return b, nil
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func (f *field) append(b []byte, v reflect.Value) ([]byte, error) {
	ok := true
	switch f.kind {
	case reflect.String:
		b, ok = appendString(b, v.String())
	case reflect.Bool:
		b = strconv.AppendBool(b, v.Bool())
	case reflect.Int64:
		b = strconv.AppendInt(b, v.Int(), 10)
	case reflect.Uint64:
		b = strconv.AppendUint(b, v.Uint(), 10)
	case reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			good := false
			b, good = appendString(b, v.Index(i).String())
			ok = ok && good
		}
		b = append(b, ']')
	default:
		text, err := marshal(v)
		if err != nil {
			return nil, err
		}
		b, ok = append(b, text...), utf8.Valid(text)
	}
	if !ok {
		return nil, errors.New("not UTF-8")
	}
	return b, nil
}

// marshal is json.Marshal, but for what is JSON already: that is looked at, and not
// written anew.
func marshal(v reflect.Value) ([]byte, error) {
	if v.Type() == reflect.TypeFor[json.RawMessage]() && json.Valid(v.Bytes()) {
		return v.Bytes(), nil
	}
	return json.Marshal(v.Interface())
}

func (p *plan) appendWhole(b []byte, v reflect.Value) ([]byte, error) {
	text, err := json.Marshal(v.Addr().Interface())
	if err != nil {
		return nil, err
	}
	var o object
	if err := o.open(string(text)); err != nil {
		return nil, fmt.Errorf("claims that are no JSON object: %w", err)
	}
	for {
		name, raw, ok, err := o.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return b, nil
		}
		if taken(registered[:], name) {
			return nil, fmt.Errorf("a claim %q of their own", name)
		}
		b, _ = appendString(append(b, ','), name)
		b = append(append(b, ':'), raw...)
	}
}
