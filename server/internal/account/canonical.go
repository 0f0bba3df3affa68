package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// ErrParams refuses what has no one spelling.
var ErrParams = admit.Invalid.New("params_malformed", "These parameters cannot be approved.").
	WithHint("An object of texts, booleans, nulls, whole numbers up to 2^53, lists and objects, at most 4 KiB. Write other numbers as texts.")

const (
	maxParams      = 4 << 10
	maxParamsDepth = 16
	maxExact       = 1<<53 - 1 // the greatest whole number that every JSON parser reads exactly
)

// canonical returns the one spelling of a JSON object by RFC 8785: without white
// space, members sorted, texts with the fewest escapes.
//
// It is a strict subset. Numbers are whole, up to 2^53 - 1, and written plainly:
// where programs round differently, one amount would be approved and another
// spent. A name that stands twice is refused, for parsers differ in which counts;
// so is U+FFFD, which Go reads for half a surrogate, and so for any other.
func canonical(text []byte) ([]byte, error) {
	if len(text) > maxParams || !utf8.Valid(text) {
		return nil, ErrParams
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("%w: no object: %w", ErrParams, err)
	}
	out, err := canonicalRest(nil, dec, first, 1)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = fmt.Errorf("%w: something stands behind it", ErrParams)
		}
	}
	return out, err
}

// canonicalRest appends the value that begins with a token.
func canonicalRest(dst []byte, dec *json.Decoder, begin json.Token, depth int) ([]byte, error) {
	if depth > maxParamsDepth {
		return nil, fmt.Errorf("%w: too deep", ErrParams)
	}
	switch v := begin.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return canonicalText(dst, v)
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n > maxExact || n < -maxExact || strconv.FormatInt(n, 10) != string(v) {
			return nil, fmt.Errorf("%w: the number %s", ErrParams, v)
		}
		return append(dst, v...), nil
	case json.Delim:
		if v == '[' {
			return canonicalList(dst, dec, depth)
		}
		return canonicalObject(dst, dec, depth)
	}
	return nil, ErrParams
}

func canonicalList(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	dst = append(dst, '[')
	for n := 0; ; n++ {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrParams, err)
		}
		if t == json.Delim(']') {
			return append(dst, ']'), nil
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		if dst, err = canonicalRest(dst, dec, t, depth+1); err != nil {
			return nil, err
		}
	}
}

func canonicalObject(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	type member struct {
		name  []uint16 // what RFC 8785 sorts by
		value []byte   // with its name
	}
	var all []member
	for {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrParams, err)
		}
		name, ok := t.(string)
		if !ok {
			break // the end, for the decoder lets nothing else stand here
		}
		m := member{name: utf16.Encode([]rune(name))}
		if m.value, err = canonicalText(nil, name); err != nil {
			return nil, err
		}
		if t, err = dec.Token(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrParams, err)
		}
		if m.value, err = canonicalRest(append(m.value, ':'), dec, t, depth+1); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b member) int { return slices.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, m := range all {
		if i > 0 {
			if slices.Equal(m.name, all[i-1].name) {
				return nil, fmt.Errorf("%w: a name stands twice", ErrParams)
			}
			dst = append(dst, ',')
		}
		dst = append(dst, m.value...)
	}
	return append(dst, '}'), nil
}

// canonicalText appends a text as RFC 8785, section 3.2.2.2, has it.
func canonicalText(dst []byte, s string) ([]byte, error) {
	if strings.ContainsRune(s, utf8.RuneError) {
		return nil, fmt.Errorf("%w: a character that cannot be read", ErrParams)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			if c < ' ' {
				dst = fmt.Appendf(dst, `\u%04x`, c)
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"'), nil
}
