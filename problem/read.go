package problem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

const (
	maxBody  = 64 << 10 // bytes of a JSON body
	maxDepth = 32
)

// Read decodes a request's JSON body into v, a pointer to a struct. It is
// strict: application/json in UTF-8 or else ErrContentType or ErrMalformed, 64
// KiB or else ErrTooLarge; one value and nothing after it; no name twice, no
// name but the fields of v, spelled exactly (encoding/json would fold case). An
// unknown name is ErrUnknown in a FieldError with the name. No body at all
// leaves v as it is.
func Read(r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return fmt.Errorf("read body: %w: %w", ErrTooLarge, err)
		}
		return fmt.Errorf("read body: %w: %w", ErrMalformed, err)
	}
	if len(body) == 0 {
		return nil
	}
	if t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" || !utf8Charset(params) {
		return ErrContentType
	}
	return decode(body, v)
}

func utf8Charset(params map[string]string) bool {
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return ErrMalformed
	}
	if err := exact(body, names(reflect.TypeOf(v).Elem(), nil)); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return &admit.FieldError{Field: wrong.Field, Err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// names returns the members that a struct has in JSON.
func names(t reflect.Type, known map[string]bool) map[string]bool {
	if known == nil {
		known = map[string]bool{}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if name != "-" {
			known[name] = true
		}
	}
	return known
}

// exact walks the text once and refuses what encoding/json would let pass: a
// name twice, at any depth; at the top another name than the known ones; text
// after the value; depth.
func exact(body []byte, known map[string]bool) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	type level struct {
		seen map[string]bool // nil in an array
		name bool            // a name comes next
	}
	var open []level
	for first := true; ; first = false {
		tok, err := dec.Token()
		if err == io.EOF && !first && len(open) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if !first && len(open) == 0 {
			return fmt.Errorf("%w: more than one value", ErrMalformed)
		}
		if first && known != nil && tok != json.Delim('{') {
			return fmt.Errorf("%w: no object", ErrMalformed)
		}
		var top *level
		if len(open) > 0 {
			top = &open[len(open)-1]
		}
		if name, ok := tok.(string); ok && top != nil && top.name {
			if top.seen[name] {
				return &admit.FieldError{Field: name, Err: fmt.Errorf("%w: a name twice", ErrMalformed)}
			}
			if len(open) == 1 && known != nil && !known[name] {
				return &admit.FieldError{Field: name, Err: ErrUnknown}
			}
			top.seen[name], top.name = true, false
			continue
		}
		if tok == json.Delim('}') || tok == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		if top != nil && top.seen != nil {
			top.name = true // after this value
		}
		switch tok {
		case json.Delim('{'):
			open = append(open, level{seen: map[string]bool{}, name: true})
		case json.Delim('['):
			open = append(open, level{})
		}
		if len(open) > maxDepth {
			return fmt.Errorf("%w: too deep", ErrMalformed)
		}
	}
}
