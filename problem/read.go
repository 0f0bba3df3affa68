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
	if err := exact(body, reflect.TypeOf(v).Elem()); err != nil {
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

// names returns the members that a type has in JSON, or nil where it may have
// any: a map, an interface, or a type that reads itself.
func names(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	known := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-", f.Anonymous && name == "", !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		known[name] = f.Type
	}
	return known
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// element returns what a value of an array or a map is read into, and nil
// where that is not known.
func element(t reflect.Type) reflect.Type {
	if t != nil && !reflect.PointerTo(t).Implements(unmarshaler) {
		switch t.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map:
			return t.Elem()
		}
	}
	return nil
}

// A level is an object or array that is open.
type level struct {
	of    reflect.Type            // what it is read into; nil if unknown
	known map[string]reflect.Type // its names; nil if any will do
	seen  map[string]bool         // nil in an array
	name  bool                    // a name comes next
	next  reflect.Type            // what the next value is read into
}

// exact walks the text once and refuses what encoding/json would let pass: a
// name twice, a name that is no field's to the letter, both at any depth; text
// after the value; depth.
func exact(body []byte, t reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
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
		if first && t.Kind() == reflect.Struct && tok != json.Delim('{') {
			return fmt.Errorf("%w: no object", ErrMalformed)
		}
		into := t
		if len(open) > 0 {
			top := &open[len(open)-1]
			if name, ok := tok.(string); ok && top.name {
				if top.seen[name] {
					return &admit.FieldError{Field: name, Err: fmt.Errorf("%w: a name twice", ErrMalformed)}
				}
				if _, ok := top.known[name]; !ok && top.known != nil {
					return &admit.FieldError{Field: name, Err: ErrUnknown}
				}
				top.seen[name], top.name, top.next = true, false, element(top.of)
				if top.known != nil {
					top.next = top.known[name]
				}
				continue
			}
			if tok == json.Delim('}') || tok == json.Delim(']') {
				open = open[:len(open)-1]
				continue
			}
			into = top.next
			top.name = top.seen != nil // after this value
		}
		for into != nil && into.Kind() == reflect.Pointer {
			into = into.Elem()
		}
		switch tok {
		case json.Delim('{'):
			open = append(open, level{of: into, known: names(into), seen: map[string]bool{}, name: true})
		case json.Delim('['):
			open = append(open, level{of: into, next: element(into)})
		}
		if len(open) > maxDepth {
			return fmt.Errorf("%w: too deep", ErrMalformed)
		}
	}
}
