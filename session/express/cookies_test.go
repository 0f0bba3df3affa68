package express

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
)

func cookies(t testing.TB, secrets ...string) *Cookies {
	t.Helper()
	return NewCookies(secretsOf(t, secrets...))
}

func secretsOf(t testing.TB, texts ...string) *Secrets {
	t.Helper()
	s, err := NewSecrets(hidden(texts)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hidden(texts []string) []admit.Secret {
	var all []admit.Secret
	for _, s := range texts {
		all = append(all, admit.NewSecret(s))
	}
	return all
}

func requestWith(header string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if header != "" {
		r.Header.Set("Cookie", header)
	}
	return r
}

// jsOptions are a cookie's options as JavaScript writes them.
type jsOptions struct {
	Domain, Path, Priority                string
	Expires                               time.Time
	HttpOnly, Secure, Partitioned, Signed bool
	SameSite                              any
}

func (o jsOptions) sameSite() http.SameSite {
	return map[any]http.SameSite{nil: 0, true: http.SameSiteStrictMode, "strict": http.SameSiteStrictMode,
		"lax": http.SameSiteLaxMode, "none": http.SameSiteNoneMode}[o.SameSite]
}

func (o jsOptions) ours() *CookieOptions {
	return &CookieOptions{Domain: o.Domain, Path: o.Path, Expires: o.Expires, HttpOnly: o.HttpOnly, Secure: o.Secure,
		Partitioned: o.Partitioned, Priority: o.Priority, SameSite: o.sameSite()}
}

func TestAValueIsSignedAsCookieSignatureDoes(t *testing.T) {
	v := readVectors(t)
	if len(v.Sign) < 20 || len(v.Unsign) < 10 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Sign {
		signed := secretsOf(t, c.Secret).Sign(c.Value)
		if signed != "s:"+c.Signed {
			t.Errorf("sign(%q, %q) = %q, want %q", c.Value, c.Secret, signed, c.Signed)
		}
		if got := "connect.sid=" + encodeURIComponent(signed); got != c.Cookie {
			t.Errorf("escaped: %q, want %q", got, c.Cookie)
		}
		if got, old, ok := secretsOf(t, "another", c.Secret).Unsign(signed); got != c.Value || !old || !ok {
			t.Errorf("unsign(%q) = %q, %t, %t", c.Signed, got, old, ok)
		}
	}
	for _, c := range v.Unsign {
		got, _, ok := secretsOf(t, c.Secret).Unsign("s:" + c.Input)
		if want, signed := c.Result.(string); ok != signed || got != want {
			t.Errorf("unsign(%q) = %q, %t, want %v", c.Input, got, ok, c.Result)
		}
	}
}

func TestACookieIsSetAsResCookieDoes(t *testing.T) {
	v := readVectors(t)
	if len(v.ResCookie) < 25 {
		t.Fatal("no vectors")
	}
	app := cookies(t, "new-secret", "old-secret")
	for _, c := range v.ResCookie {
		value := Text(strings.Trim(string(c.Value), `"`)) // a number or a boolean
		if c.Value[0] == '"' {
			var text string
			json.Unmarshal(c.Value, &text)
			value = Text(text)
		} else if strings.ContainsRune("{[n", rune(c.Value[0])) {
			var err error
			if value, err = JSON(c.Value); err != nil {
				t.Fatal(err)
			}
		}
		w, do := httptest.NewRecorder(), app.Set
		if c.Options.Signed {
			do = app.SetSigned
		}
		if err := do(w, "c", value, c.Options.ours()); err != nil || w.Header().Get("Set-Cookie") != c.SetCookie {
			t.Errorf("%s, %+v: %q, %v, want %q", c.Value, c.Options, w.Header().Get("Set-Cookie"), err, c.SetCookie)
		}
	}
	w := httptest.NewRecorder()
	if err := app.Clear(w, "c", &CookieOptions{Domain: "example.com", MaxAge: new(time.Hour)}); err != nil || w.Header().Get("Set-Cookie") != v.Clear {
		t.Errorf("cleared: %q, %v, want %q", w.Header().Get("Set-Cookie"), err, v.Clear)
	}
}

func TestCookiesAreReadAsCookieParserDoes(t *testing.T) {
	v := readVectors(t)
	if len(v.Parse) < 40 {
		t.Fatal("no vectors")
	}
	app := cookies(t, "new-secret", "old-secret")
	for _, c := range v.Parse {
		// Node reads a header's bytes as characters, so this is what it was sent.
		var header []byte
		for _, r := range c.Header {
			header = append(header, byte(r))
		}
		r := requestWith(string(header))
		for _, name := range []string{"", "a", "b", "c", "A", "é", "__proto__"} {
			want, has := c.Cookies[name]
			got, err := app.Get(r, name)
			if has != (err == nil) || has && !reflect.DeepEqual(inJSON(t, got), want) {
				t.Errorf("%q: %q is %v, %v, want %v", c.Header, name, got, err, want)
			}
			want, has = c.Signed[name]
			switch got, err := app.GetSigned(r, name); {
			case !has && errors.Is(err, cookie.ErrMissing), want == false && errors.Is(err, cookie.ErrTampered):
			case err != nil || !reflect.DeepEqual(inJSON(t, got), want):
				t.Errorf("%q: signed %q is %v, %v, want %v", c.Header, name, got, err, want)
			}
		}
	}
}

func inJSON(t *testing.T, v Value) (x any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &x)
	}
	if err != nil {
		t.Errorf("%v in JSON: %v", v, err)
	}
	return x
}

func TestMaxAgeSetsExpiresToo(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		age  time.Duration
		want string
	}{
		{time.Minute, "; Max-Age=60; Path=/; Expires=Wed, 02 Jan 2030 03:05:05 GMT"},
		{1999 * time.Millisecond, "; Max-Age=1; Path=/; Expires=Wed, 02 Jan 2030 03:04:06 GMT"},
		{0, "; Max-Age=0; Path=/; Expires=Wed, 02 Jan 2030 03:04:05 GMT"},
		{-1 * time.Millisecond, "; Max-Age=-1; Path=/; Expires=Wed, 02 Jan 2030 03:04:04 GMT"},
	} {
		o := CookieOptions{MaxAge: &c.age, Expires: now.AddDate(1, 0, 0)}
		if got, err := o.attributes(now); err != nil || got != c.want {
			t.Errorf("%v: %q, %v, want %q", c.age, got, err, c.want)
		}
	}
}

func TestWhatABrowserWouldDropIsNotSet(t *testing.T) {
	app := NewCookies(nil)
	for _, c := range []struct {
		promise, name, value string
		o                    CookieOptions
	}{
		{"a name that is no token", "a b", "v", CookieOptions{}},
		{"no name", "", "v", CookieOptions{}},
		{"a value that is no UTF-8", "a", "\xff", CookieOptions{}},
		{"4,097 bytes", "a", strings.Repeat("x", 4096), CookieOptions{}},
		{"a domain with a new line", "a", "v", CookieOptions{Domain: "x\n"}},
		{"a path with a semicolon", "a", "v", CookieOptions{Path: "/;x"}},
		{"an unknown priority", "a", "v", CookieOptions{Priority: "top"}},
		{"an unknown SameSite", "a", "v", CookieOptions{SameSite: 9}},
	} {
		w := httptest.NewRecorder()
		if err := app.Set(w, c.name, Text(c.value), &c.o); err == nil || len(w.Header()) > 0 {
			t.Errorf("%s was set: %v, %v", c.promise, w.Header(), err)
		}
	}
	if err := NewCookies(nil).SetSigned(httptest.NewRecorder(), "a", Text("v"), nil); err == nil {
		t.Error("a cookie was signed without a secret")
	}
}

func TestSecretsRotate(t *testing.T) {
	old, both, next := cookies(t, "old"), cookies(t, "new", "old"), cookies(t, "new")
	carry := func(from *Cookies) *http.Request {
		w := httptest.NewRecorder()
		if err := from.SetSigned(w, "a", Text("v"), nil); err != nil {
			t.Fatal(err)
		}
		pair, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
		return requestWith(pair)
	}
	if v, err := both.GetSigned(carry(old), "a"); err != nil || v.String() != "v" {
		t.Errorf("signed with the old secret: %v, %v", v, err)
	}
	if v, err := next.GetSigned(carry(both), "a"); err != nil || v.String() != "v" {
		t.Errorf("the first secret does not sign: %v, %v", v, err)
	}
	if _, err := next.GetSigned(carry(old), "a"); !errors.Is(err, cookie.ErrTampered) {
		t.Errorf("a secret that was taken away: %v", err)
	}
}

func TestJSONIsWhatStringifyMakes(t *testing.T) {
	v, err := JSON(map[string]any{"html": "<é&>", "lines": "\u2028\u2029", "backslash": `\u2028`})
	if err != nil {
		t.Fatal(err)
	}
	if want := "j:{\"backslash\":\"\\\\u2028\",\"html\":\"<é&>\",\"lines\":\"\u2028\u2029\"}"; v.String() != want {
		t.Errorf("%q, want %q", v, want)
	}
	var back struct{ HTML string }
	if err := v.Decode(&back); err != nil || back.HTML != "<é&>" {
		t.Errorf("decoded: %+v, %v", back, err)
	}
	if err := Text("j:{}").Decode(&back); !errors.Is(err, cookie.ErrMalformed) {
		t.Errorf("a text was decoded: %v", err)
	}
}

func TestJSONIsSpelledAsJavaScriptSpellsWhatItReads(t *testing.T) {
	for text, want := range map[string]string{
		`{"b":1.0,"a":1e2}`:                 `{"b":1,"a":100}`,
		`{"10":1,"x":2,"2":3}`:              `{"2":3,"10":1,"x":2}`,
		`{"a":1, "b":2, "a":3}`:             `{"a":3,"b":2}`,
		`[-0, 1e21, 1e-7, 0.000001, 1e400]`: `[0,1e+21,1e-7,0.000001,null]`,
		`12345678901234567890`:              `12345678901234567000`,
		`{"\u00e9":"\u003c\ud83d\ude00\/"}`: `{"é":"<😀/"}`,
		`["\ud800",[{"1":{"0":[]}}],true]`:  `["\ud800",[{"1":{"0":[]}}],true]`,
	} {
		if v, err := JSON(json.RawMessage(text)); err != nil || v.String() != "j:"+want {
			t.Errorf("%s: %s, %v, want %s", text, v, err, want)
		}
	}
	// What is a text stays one, with no escapes that JavaScript does not make.
	if raw, err := Text("<&>\u2028").MarshalJSON(); err != nil || string(raw) != "\"<&>\u2028\"" {
		t.Errorf("%s, %v", raw, err)
	}
}

func FuzzURIComponent(f *testing.F) {
	for _, s := range []string{"", "a b", "é漢😀", "%zz", "%E0%A4%A", "\xff", "100%", "-_.!~*'()"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := decodeURIComponent(encodeURIComponent(s)); ok != utf8.ValidString(s) || ok && got != s {
			t.Errorf("%q comes back as %q, %t", s, got, ok)
		}
		if got, ok := decodeURIComponent(s); ok && utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("decodeURIComponent(%q) = %q", s, got)
		}
	})
}

// What a browser sends of what was set is read, and nothing that was not signed
// is taken for it.
func FuzzCookies(f *testing.F) {
	for _, s := range []string{"", "v", "s:x", "j:{}", `"`, "a; b=c", "é"} {
		f.Add(s, s)
	}
	app := cookies(f, "new", "old")
	f.Fuzz(func(t *testing.T, value, header string) {
		w := httptest.NewRecorder()
		if err := app.SetSigned(w, "a", Text(value), nil); err == nil {
			pair, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
			if got, err := app.GetSigned(requestWith(pair), "a"); err != nil || got.String() != value {
				t.Errorf("%q comes back as %q, %v", value, got, err)
			}
		}
		r := requestWith(header)
		v, err := app.Get(r, "a")
		signed, err2 := app.GetSigned(r, "a")
		if err == nil && !errors.Is(err2, cookie.ErrMissing) {
			t.Errorf("%q is both plain and signed: %v, %v", header, v, signed)
		}
		if !utf8.ValidString(v.String()) || !utf8.ValidString(signed.String()) {
			t.Errorf("%q holds what is no text", header)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%q in JSON: %v", v, err)
		}
	})
}
