package problem_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
)

type inner struct {
	City string `json:"city"`
}

type embedded struct {
	Deep string `json:"deep"`
}

type input struct {
	embedded
	Name   string           `json:"name"`
	N      int              `json:"n,omitempty"`
	Home   *inner           `json:"home"`
	All    []inner          `json:"all"`
	ByName map[string]inner `json:"by_name"`
	Free   json.RawMessage  `json:"free"`
	Plain  string
	Hidden string `json:"-"`
	secret string
}

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestReadRefusesAllThatIsNotExact(t *testing.T) {
	const js = "application/json"
	deep := strings.Repeat("[", 33) + strings.Repeat("]", 33)
	for _, c := range []struct {
		name, contentType, body string
		want                    error
		field                   string
	}{
		{"an object is read", js, `{"name":"a","n":1,"home":{"city":"x"},"all":[{"city":"y"}],"by_name":{"any":{"city":"z"}},"deep":"d","Plain":"p"}`, nil, ""},
		{"space around it is fine", js, " {\"name\":\"a\"}\n", nil, ""},
		{"a charset of UTF-8 is fine", js + "; charset=UTF-8", `{}`, nil, ""},
		{"no body is fine", "", "", nil, ""},
		{"free text may have any names", js, `{"free":{"x":[{"Y":1}]}}`, nil, ""},
		{"another charset is refused", js + "; charset=latin1", `{}`, problem.ErrContentType, ""},
		{"no content type is refused", "", `{}`, problem.ErrContentType, ""},
		{"a form is refused", "application/x-www-form-urlencoded", `name=a`, problem.ErrContentType, ""},
		{"text/plain, which needs no preflight, is refused", "text/plain", `{}`, problem.ErrContentType, ""},
		{"a body that is too large is refused", js, `{"name":"` + strings.Repeat("a", 64<<10) + `"}`, problem.ErrTooLarge, ""},
		{"an unknown name is refused", js, `{"name":"a","admin":true}`, problem.ErrUnknown, "admin"},
		{"a name in other case is refused", js, `{"Name":"a"}`, problem.ErrUnknown, "Name"},
		{"an escaped name in other case is refused", js, `{"\u004eame":"a"}`, problem.ErrUnknown, "Name"},
		{"a hidden field's name is refused", js, `{"Hidden":"a"}`, problem.ErrUnknown, "Hidden"},
		{"an unexported field's name is refused", js, `{"secret":"a"}`, problem.ErrUnknown, "secret"},
		{"an embedded struct's name is refused", js, `{"embedded":{}}`, problem.ErrUnknown, "embedded"},
		{"an unknown name inside is refused", js, `{"home":{"town":"a"}}`, problem.ErrUnknown, "town"},
		{"a name in other case inside is refused", js, `{"home":{"City":"a"}}`, problem.ErrUnknown, "City"},
		{"a name in other case inside a list is refused", js, `{"all":[{"city":"a"},{"City":"a"}]}`, problem.ErrUnknown, "City"},
		{"a name in other case inside a map is refused", js, `{"by_name":{"x":{"City":"a"}}}`, problem.ErrUnknown, "City"},
		{"a name twice is refused", js, `{"name":"a","name":"b"}`, problem.ErrMalformed, "name"},
		{"a name twice by an escape is refused", js, `{"name":"a","\u006eame":"b"}`, problem.ErrMalformed, "name"},
		{"a name twice inside is refused", js, `{"free":{"x":1,"x":2}}`, problem.ErrMalformed, "x"},
		{"a name again in another object is fine", js, `{"home":{"city":"a"},"all":[{"city":"b"},{"city":"c"}]}`, nil, ""},
		{"a value of a wrong type names its field", js, `{"n":"one"}`, problem.ErrMalformed, "n"},
		{"text after it is refused", js, `{} {}`, problem.ErrMalformed, ""},
		{"a stray bracket after it is refused", js, `{}}`, problem.ErrMalformed, ""},
		{"text that ends early is refused", js, `{"name":"a"`, problem.ErrMalformed, ""},
		{"only space is refused", js, ` `, problem.ErrMalformed, ""},
		{"null is refused", js, `null`, problem.ErrMalformed, ""},
		{"a list is refused", js, `[]`, problem.ErrMalformed, ""},
		{"a byte order mark is refused", js, "\ufeff{}", problem.ErrMalformed, ""},
		{"what is not UTF-8 is refused", js, "{\"name\":\"\xff\"}", problem.ErrMalformed, ""},
		{"depth is bounded", js, `{"free":` + deep + `}`, problem.ErrMalformed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v input
			err := problem.Read(post(c.contentType, c.body), &v)
			if !errors.Is(err, c.want) {
				t.Fatalf("Read: %v, want %v", err, c.want)
			}
			if v.Hidden != "" || v.secret != "" {
				t.Errorf("Read set a field that is not on the wire: %+v", v)
			}
			field, ok := errors.AsType[*admit.FieldError](err)
			if ok != (c.field != "") || ok && field.Field != c.field {
				t.Errorf("Read: %v, want field %q", err, c.field)
			}
		})
	}
}

func TestReadTakesAnyShape(t *testing.T) {
	var m map[string]any
	if err := problem.Read(post("application/json", `{"Any":{"X":1}}`), &m); err != nil || len(m) != 1 {
		t.Errorf("Read into a map: %v, %v", m, err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"name":"a","n":1}`, `{"Name":1}`, `{"name":"a","name":"b"}`, `[[`, `{"a":`, `{"all":[{"city":"\ud800"}]}`, "null", "1 2", `{"free":{"a":[{}]}}`, `]`, `{"home":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var v input
		err := problem.Read(post("application/json", string(body)), &v)
		if err != nil {
			if k := admit.KindOf(err); k != admit.Invalid {
				t.Fatalf("Read(%q): kind %v", body, k)
			}
			return
		}
		if len(body) == 0 {
			return
		}
		// What is taken, encoding/json takes too, and no name is left over.
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		var w input
		if err := dec.Decode(&w); err != nil {
			t.Fatalf("Read(%q) took what encoding/json refuses: %v", body, err)
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal(body, &top); err != nil {
			t.Fatalf("Read(%q) took no object: %v", body, err)
		}
		for name := range top {
			switch name {
			case "name", "n", "home", "all", "by_name", "free", "Plain", "deep":
			default:
				t.Fatalf("Read(%q) took the name %q", body, name)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"about:blank","title":"Bad Request","status":400,"detail":"d","code":"c","errors":[{"field":"f","code":"c","detail":"d"}]}`))
	f.Add([]byte(`{"code":"too_large","status":413}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := problem.Parse(text); err == nil {
			t.Fatalf("Parse(%q) is no error", text)
		} else {
			problem.Of(err)
		}
	})
}
