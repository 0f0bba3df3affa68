package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// A Codec turns a program's data into bytes and back. The default is JSON.
type Codec interface {
	// Encode returns v, a pointer to the data, as bytes. Old is what v was
	// decoded from, empty for new data: a codec may keep parts of it that
	// this version of the program does not know.
	Encode(v any, old string) ([]byte, error)
	// Decode fills v, a pointer to zero data.
	Decode(data string, v any) error
}

// jsonCodec is JSON whose unknown members survive: two versions of a program
// may share sessions during a deployment, and the older one must not drop
// what the newer one wrote.
type jsonCodec struct {
	known map[string]bool // lower-case names of the members of D; nil if D is not a struct
	plain plain           // nil if D is not so plain
}

func newJSONCodec(d reflect.Type) jsonCodec {
	if d.Kind() != reflect.Struct {
		return jsonCodec{}
	}
	c := jsonCodec{known: map[string]bool{}, plain: newPlain(d)}
	for _, f := range reflect.VisibleFields(d) {
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		c.known[strings.ToLower(name)] = true // encoding/json folds case
	}
	return c
}

func (c jsonCodec) Decode(data string, v any) error {
	if data == "" || data == "{}" && c.known != nil {
		return nil // a struct without members set: 0.7 µs saved
	}
	if c.plain != nil {
		to := reflect.ValueOf(v).Elem()
		if c.plain.read(data, to) {
			return nil
		}
		to.SetZero()
	}
	return json.Unmarshal([]byte(data), v)
}

func (c jsonCodec) Encode(v any, old string) ([]byte, error) {
	b, err := c.marshal(v, len(old))
	if err != nil || c.known == nil || old == "" || len(b) == 0 || b[len(b)-1] != '}' || c.knowsAll(old) {
		return b, err
	}
	dec := json.NewDecoder(strings.NewReader(old))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read the old data: %w", err)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read the old data: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("read the old data: %w", err)
		}
		if s, ok := name.(string); ok && !c.known[strings.ToLower(s)] {
			b = appendMember(b, s, value)
		}
	}
	return b, nil
}

// marshal is json.Marshal for what had so many bytes before.
func (c jsonCodec) marshal(v any, before int) ([]byte, error) {
	if c.plain != nil {
		if b, ok := c.plain.append(make([]byte, 0, max(before, 48)+16), reflect.ValueOf(v).Elem()); ok {
			return b, nil
		}
	}
	return json.Marshal(v)
}

func appendMember(object []byte, name string, value json.RawMessage) []byte {
	object = bytes.TrimSuffix(object, []byte("}"))
	if len(object) > 1 {
		object = append(object, ',')
	}
	quoted, _ := json.Marshal(name) // a string always marshals
	object = append(append(object, quoted...), ':')
	return append(append(object, value...), '}')
}

// knowsAll reports whether every member of a JSON object of ours is known. It
// reads only as far as it is sure: anything unusual is left to the decoder.
func (c jsonCodec) knowsAll(object string) bool {
	depth, start := 0, -1
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			start = i + 1
			for i++; i < len(object) && object[i] != '"'; i++ {
				if object[i] == '\\' {
					i++
				}
			}
			if i+1 < len(object) && depth == 1 && object[i+1] == ':' {
				name := object[start:i]
				if !c.known[name] && !c.known[strings.ToLower(name)] {
					return false
				}
			}
		}
	}
	return true
}
