package session

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

type (
	theme      string
	everything struct {
		Text   string    `json:"text"`
		Theme  theme     `json:"theme,omitempty"`
		Small  int8      `json:"small"`
		Large  int64     `json:"large,omitempty"`
		Some   uint16    `json:"some,omitzero"`
		Most   uint64    `json:"most"`
		Yes    bool      `json:"yes,omitempty"`
		Is     bool      `json:"is"`
		At     time.Time `json:"at"`
		Before time.Time `json:"before,omitzero"`
		After  time.Time `json:"after,omitempty"`
		Named  string
		Never  func() `json:"-"`
		hidden int
	}
)

// spoken says itself what it is in JSON, as a value and as a pointer.
type (
	spoken string
	told   int
	read   struct{ A int }
	level  int
	grade  int
)

func (l level) IsZero() bool  { return l < 0 }
func (g *grade) IsZero() bool { return *g == 5 }

func (spoken) MarshalText() ([]byte, error)   { return []byte("x"), nil }
func (*told) UnmarshalJSON([]byte) error      { return nil }
func (*read) UnmarshalText(text []byte) error { return nil }

func TestOnlyPlainStructsArePlain(t *testing.T) {
	for _, d := range []any{
		0, "", map[string]int{}, read{}, (*everything)(nil),
		struct{ A float64 }{}, struct{ A []byte }{}, struct{ A *int }{}, struct{ A map[string]int }{}, struct{ A struct{} }{}, struct{ A any }{},
		struct{ A [2]int }{}, struct{ A uintptr }{}, struct{ A complex64 }{},
		struct{ A spoken }{}, struct{ A told }{}, struct{ A json.Number }{}, struct{ A json.RawMessage }{}, struct {
			A time.Duration
			B float32
		}{},
		struct {
			A level `json:",omitzero"`
		}{},
		struct {
			A grade `json:",omitzero"`
		}{},
		struct{ theme }{}, struct{ time.Time }{},
		struct {
			A int `json:",string"`
		}{},
		reflect.New(reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"-,"`}})).Elem().Interface(),
		struct {
			A int `json:"a b"`
		}{},
		struct {
			A int `json:"ä"`
		}{},
		struct {
			A int `json:"b"`
			B int `json:"B"`
		}{},
	} {
		if p := newPlain(reflect.TypeOf(d)); p != nil {
			t.Errorf("%T is plain: %v", d, p)
		}
	}
	if p := newPlain(reflect.TypeFor[everything]()); len(p) != 12 {
		t.Errorf("%d members are plain, want 12: %v", len(p), p)
	}
}

// What plain writes and reads is what encoding/json does, or it says that it cannot.
func FuzzPlain(f *testing.F) {
	at := time.Date(2026, 11, 27, 4, 0, 0, 123000000, time.FixedZone("", 3600))
	for _, v := range []everything{
		{},
		{Text: "plain", Theme: "dark", Small: -128, Large: 1<<63 - 1, Some: 65535, Most: 1<<64 - 1, Yes: true, Is: true, At: at, Before: at, After: at.UTC(), Named: "n", hidden: 1},
		{Text: "\"\\/<>&\u2028 \t\x7f\x00中文🎈\xff", Small: 127, Large: -1 << 63},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range []string{
		``, `{}`, `{`, `null`, `{"text":null}`, `{"text":"a"} `, ` {"text":"a"}`, `{"text":"a",}`, `{,"text":"a"}`, `{"text":"a""small":1}`, `{"text":"a","text":"b"}`,
		`{"TEXT":"a"}`, `{"small":128}`, `{"small":-129}`, `{"small":01}`, `{"small":-01}`, `{"small":-0}`, `{"small":-}`, `{"small":}`, `{"small":+1}`, `{"small":1.0}`, `{"small":1e2}`, `{"small":"1"}`,
		`{"some":-1}`, `{"some":65536}`, `{"most":18446744073709551616}`, `{"is":True}`, `{"is":truex}`, `{"is":1}`, `{"at":""}`, `{"at":"2026-11-27T04:00:00Z"}`, `{"at":"2026-11-27T4:00:00Z"}`,
		`{"at":"2026-11-27T04:00:00,5Z"}`, `{"at":"2026-11-27T04:00:00+24:00"}`, `{"at":5}`, `{"before":"0001-01-01T01:00:00+01:00"}`, `{"before":"0001-01-01T00:00:00Z"}`, `{"small":1,"text":"a"}`, `{"text":"a","other":{"text":"b"}}`, `{"text":"\u0061"}`, "{\"text\":\"a\tb\"}", "{\"text\":\"\xff\"}",
		`{"text":"<&>"}`, `{"hidden":1}`, `{"-":1}`, `{"Never":1}`, `{"text":"a"}}`, `{"text":"a"`, `{"text":"`, `{"text":"a"}{"text":"b"}`,
	} {
		f.Add(s)
	}
	p := newPlain(reflect.TypeFor[everything]())
	f.Fuzz(func(t *testing.T, data string) {
		var ours, want everything
		err := json.Unmarshal([]byte(data), &want)
		if p.read(data, reflect.ValueOf(&ours).Elem()) {
			if err != nil || !reflect.DeepEqual(ours, want) {
				t.Errorf("%q is read as %+v, want %+v and %v", data, ours, want, err)
			}
		} else if err == nil {
			// What encoding/json wrote last, without an escape, is always read.
			b, err := json.Marshal(want)
			if err == nil && string(b) == data && !strings.Contains(data, `\`) {
				t.Errorf("%q is not read", data)
			}
		}
		if err != nil {
			want = everything{Text: data, Theme: theme(data)}
		}
		text, err := json.Marshal(want)
		got, ok := p.append(nil, reflect.ValueOf(&want).Elem())
		if ok != (err == nil) || ok && string(got) != string(text) {
			t.Errorf("%+v is written as %s (%v), want %s (%v)", want, got, ok, text, err)
		}
	})
}
