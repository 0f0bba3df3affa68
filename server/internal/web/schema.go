package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
)

// A schema is the part of JSON Schema that describes what we read and write.
type schema struct {
	Ref         string    `json:"$ref,omitempty"`
	Type        string    `json:"type,omitempty"`
	Format      string    `json:"format,omitempty"`
	Enum        []string  `json:"enum,omitempty"`
	Items       *schema   `json:"items,omitempty"`
	OneOf       []*schema `json:"oneOf,omitempty"`
	AllOf       []*schema `json:"allOf,omitempty"`
	Properties  members   `json:"properties,omitempty"`
	Required    []string  `json:"required,omitempty"`
	Closed      closed    `json:"additionalProperties,omitzero"`
	Description string    `json:"description,omitempty"`
}

// members are the properties of an object, in the order of the struct.
type members []member

type member struct {
	Name string
	*schema
	optional bool
}

// closed says that an object has no members but those described.
type closed bool

// MarshalJSON writes what JSON Schema calls it.
func (closed) MarshalJSON() ([]byte, error) { return []byte("false"), nil }

// MarshalJSON keeps the order.
func (m members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, each := range m {
		name, _ := json.Marshal(each.Name) // a string always marshals
		value, err := json.Marshal(each.schema)
		if err != nil {
			return nil, err
		}
		b.WriteByte("{,"[min(i, 1)])
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// schemas are those of the named structs, by name.
type schemas map[string]*schema

const schemaPath = "#/components/schemas/"

// of returns the schema of a type as encoding/json and problem.Read know it. A
// member is optional where its tag says omitempty; its tags doc and enum tell
// the rest. A pointer that is not optional may be null.
func (s schemas) of(t reflect.Type) *schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[admit.Secret]():
		return &schema{Type: "string", Format: "password"}
	case reflect.TypeFor[json.RawMessage]():
		return &schema{} // anything
	}
	switch t.Kind() {
	case reflect.Interface:
		return &schema{}
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return &schema{Type: "integer"}
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return &schema{Type: "array", Items: s.of(t.Elem())}
	case reflect.Map:
		return &schema{Type: "object"}
	case reflect.Struct:
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if s[name] == nil {
			object := &schema{Type: "object", Closed: true}
			s[name] = object // before its members, which may be of its type
			object.Properties = s.members(t)
			for _, m := range object.Properties {
				if !m.optional {
					object.Required = append(object.Required, m.Name)
				}
			}
		}
		return &schema{Ref: schemaPath + name}
	}
	panic(fmt.Sprintf("web: no schema of %v", t)) // a test makes the whole description
}

func (s schemas) members(t reflect.Type) members {
	var all members
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		m := member{Name: name, schema: s.of(f.Type), optional: strings.Contains(options, "omit")}
		if f.Type.Kind() == reflect.Pointer && !m.optional {
			m.schema = &schema{OneOf: []*schema{m.schema, {Type: "null"}}}
		}
		m.Description = f.Tag.Get("doc")
		if enum := f.Tag.Get("enum"); enum != "" {
			m.Enum = strings.Split(enum, "|")
		}
		all = append(all, m)
	}
	return all
}

// resolve follows a reference.
func (s schemas) resolve(of *schema) *schema {
	if of.Ref != "" {
		return s[of.name()]
	}
	return of
}

func (s schemas) ofValue(v any) *schema { return s.of(reflect.TypeOf(v)) }

// name is that of the struct that is referred to.
func (s *schema) name() string { return strings.TrimPrefix(s.Ref, schemaPath) }

// names are those of all, in order.
func (s schemas) names() []string { return slices.Sorted(maps.Keys(s)) }
