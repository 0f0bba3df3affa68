package cookie

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func ring(t testing.TB, lines ...string) *Keys {
	t.Helper()
	k, err := ParseKeys(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewRefusesWhatABrowserWouldDrop(t *testing.T) {
	for _, c := range []struct {
		promise string
		name    string
		o       Options
		ok      bool
	}{
		{"the default is fine with __Host-", "__Host-a", Options{}, true},
		{"__Host- forbids Domain", "__Host-a", Options{Domain: "example.org"}, false},
		{"__Host- demands Path=/", "__Host-a", Options{Path: "/x"}, false},
		{"__Host- demands Secure", "__Host-a", Options{InsecureAllowHTTP: true}, false},
		{"prefixes are compared without case", "__hOsT-a", Options{Path: "/x"}, false},
		{"__Secure- may have a Domain", "__Secure-a", Options{Domain: "example.org"}, true},
		{"__Secure- demands Secure", "__Secure-a", Options{InsecureAllowHTTP: true}, false},
		{"__Http- demands HttpOnly", "__Http-a", Options{InsecureAllowScript: true}, false},
		{"__Http- may have a Path", "__Http-a", Options{Path: "/x"}, true},
		{"__Host-Http- demands HttpOnly", "__Host-Http-a", Options{InsecureAllowScript: true}, false},
		{"__Host-Http- forbids Domain", "__Host-Http-a", Options{Domain: "example.org"}, false},
		{"SameSite=None demands Secure", "a", Options{SameSite: http.SameSiteNoneMode, InsecureAllowHTTP: true}, false},
		{"Partitioned demands Secure", "a", Options{Partitioned: true, InsecureAllowHTTP: true}, false},
		{"a name is a token", "a b", Options{}, false},
		{"a name is not empty", "", Options{}, false},
		{"an attribute has at most 1024 bytes", "a", Options{Path: "/" + strings.Repeat("x", 1024)}, false},
		{"an attribute holds no semicolon", "a", Options{Path: "/;Domain=x"}, false},
	} {
		if _, err := New(c.name, &c.o); (err == nil) != c.ok {
			t.Errorf("%s: New(%q, %+v) = %v", c.promise, c.name, c.o, err)
		}
	}
}

func TestAnyBytesSurviveAsValue(t *testing.T) {
	c, err := New("__Host-v", nil)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, v := range [][]byte{nil, []byte("plain"), []byte("你好, \"Welt\"; 100%"), all} {
		w := httptest.NewRecorder()
		if err := c.Set(w, v, time.Hour); err != nil {
			t.Fatalf("Set(%q): %v", v, err)
		}
		line := w.Header().Get("Set-Cookie")
		if e := Explain(line, Origin{Secure: true}); !e.Accepted || e.Life != "1h0m0s" {
			t.Errorf("Explain(%q) = %+v", line, e)
		}
		r := httptest.NewRequest("GET", "/", nil)
		for _, hc := range w.Result().Cookies() { // net/http reads it as a browser would
			r.AddCookie(hc)
		}
		if got, err := c.Get(r); err != nil || !bytes.Equal(got, v) {
			t.Errorf("Get = %q, %v, want %q", got, err, v)
		}
	}
}

func TestSetErrsBeforeABrowserWouldDropSilently(t *testing.T) {
	c, _ := New("__Host-v", nil)
	w := httptest.NewRecorder()
	if err := c.SetRaw(w, strings.Repeat("x", MaxSize-len("__Host-v")), 0); err != nil {
		t.Errorf("4096 bytes are refused: %v", err)
	}
	err := c.SetRaw(w, strings.Repeat("x", MaxSize), 0)
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "__Host-v") || !strings.Contains(err.Error(), "8 over") {
		t.Errorf("8 bytes too many: %v: want the name and the excess", err)
	}
	if err := c.SetRaw(w, "x", MaxAge+time.Second); !errors.Is(err, ErrTooLarge) {
		t.Errorf("401 days: %v", err)
	}
	for _, v := range []string{"a;b", "a b", "a\nb", "a\"b", "a,b", "a\\b", "ä"} {
		if err := c.SetRaw(w, v, 0); !errors.Is(err, ErrMalformed) {
			t.Errorf("SetRaw(%q) = %v, want ErrMalformed", v, err)
		}
	}
	if n := len(w.Header()["Set-Cookie"]); n != 1 {
		t.Errorf("%d lines of one cookie in a response, want 1", n)
	}
	r := httptest.NewRequest("GET", "/", nil)
	for i := range 21 {
		r.AddCookie(&http.Cookie{Name: "c" + string(rune('a'+i)), Value: "1"})
	}
	if warning, err := CheckBudget(r, w); warning == "" || err != nil {
		t.Errorf("22 cookies: warning %q, error %v", warning, err)
	}
	for i := range 30 {
		r.AddCookie(&http.Cookie{Name: "d" + string(rune('a'+i)), Value: "1"})
	}
	if _, err := CheckBudget(r, w); !errors.Is(err, ErrTooMany) {
		t.Errorf("52 cookies: %v", err)
	}
}

func TestTamperedSwappedTruncatedAndForeignValuesAreRefused(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := ring(t, GenerateKey())
	foreign := ring(t, GenerateKey())
	value := []byte("user=7; role=admin")
	for _, form := range []struct {
		name string
		make func(*Keys, []byte, string, []byte, time.Time) []byte
		read func(*Keys, []byte, string, string, time.Duration, time.Time) ([]byte, bool, error)
	}{{"signed", (*Keys).Sign, (*Keys).Verify}, {"sealed", (*Keys).Seal, (*Keys).Open}} {
		good := string(form.make(k, nil, "__Host-a", value, now))
		got, old, err := form.read(k, nil, "__Host-a", good, time.Minute, now.Add(time.Minute))
		if err != nil || old || !bytes.Equal(got, value) {
			t.Fatalf("%s: a good value reads as %q, %v, %v", form.name, got, old, err)
		}
		if form.name == "sealed" && strings.Contains(good, "admin") {
			t.Errorf("sealed: the value is readable: %s", good)
		}
		refuse := func(what, name, text string, keys *Keys, at time.Time, want error) {
			t.Helper()
			if got, _, err := form.read(keys, nil, name, text, time.Minute, at); !errors.Is(err, want) || len(got) != 0 {
				t.Errorf("%s, %s: %q, %v, want %v", form.name, what, got, err, want)
			}
		}
		refuse("under another name", "__Host-b", good, k, now, ErrTampered)
		refuse("with a foreign key", "__Host-a", good, foreign, now, ErrTampered)
		refuse("too old", "__Host-a", good, k, now.Add(61*time.Second), ErrExpired)
		refuse("from the future", "__Host-a", good, k, now.Add(-2*time.Minute), ErrExpired)
		refuse("empty", "__Host-a", "", k, now, ErrTampered)
		for i := range len(good) {
			refuse("truncated", "__Host-a", good[:i], k, now, ErrTampered)
			for _, c := range []byte{'A', 'B', '\n', '=', '%'} {
				if good[i] != c {
					refuse("altered", "__Host-a", good[:i]+string(c)+good[i+1:], k, now, ErrTampered)
				}
			}
		}
		refuse("with something behind", "__Host-a", good+"A", k, now, ErrTampered)
		refuse("with a line break", "__Host-a", good+"\n", k, now, ErrTampered)
	}
}

func TestAnOlderKeyVerifiesAndIsReported(t *testing.T) {
	now := time.Now()
	was := GenerateKey()
	before, after := ring(t, was), ring(t, GenerateKey(), was)
	if _, old, err := after.Open(nil, "a", string(before.Seal(nil, "a", nil, now)), 0, now); !old || err != nil {
		t.Errorf("sealed: old %v, %v", old, err)
	}
	if _, old, err := after.Verify(nil, "a", string(before.Sign(nil, "a", nil, now)), 0, now); !old || err != nil {
		t.Errorf("signed: old %v, %v", old, err)
	}
	if bytes.Equal(before.Derive("x"), after.Derive("x")) || !bytes.Equal(before.Derive("x"), after.DeriveAll("x")[1]) {
		t.Error("Derive does not follow the ring")
	}
}

// A sub-domain of the site plants a cookie of our name, first junk, then a
// valid one of the attacker's own.
func TestAPlantedCookieNeitherHidesNorReplacesTheGoodOne(t *testing.T) {
	k := ring(t, GenerateKey())
	c, _ := New("__Secure-u", &Options{Domain: "example.org"})
	v := NewSealed(c, k, time.Hour)
	sealed := func(s string) string { return "__Secure-u=" + string(k.Seal(nil, "__Secure-u", []byte(s), time.Now())) }
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "__Secure-u=junk; "+sealed("alice"))
	if got, err := v.Get(nil, r); err != nil || string(got) != "alice" {
		t.Errorf("behind junk: %q, %v", got, err)
	}
	r.Header.Set("Cookie", sealed("mallory")+"; "+sealed("alice"))
	if got, err := v.Get(nil, r); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("beside a valid one of another subject: %q, %v", got, err)
	}
	r.Header.Set("Cookie", "__secure-u=x; =__Secure-u=y; x__Secure-u=z")
	if got, err := v.Get(nil, r); !errors.Is(err, ErrMissing) {
		t.Errorf("other spellings are taken for ours: %q, %v", got, err)
	}
}

func TestGetSealsAnewWithTheNewestKey(t *testing.T) {
	was := GenerateKey()
	before, after := ring(t, was), ring(t, GenerateKey(), was)
	c, _ := New("__Host-u", nil)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "__Host-u="+string(before.Seal(nil, "__Host-u", []byte("x"), time.Now())))
	w := httptest.NewRecorder()
	if _, err := NewSealed(c, after, time.Hour).Get(w, r); err != nil {
		t.Fatal(err)
	}
	set := w.Result().Cookies()
	if len(set) != 1 {
		t.Fatalf("%d cookies set, want the one sealed anew", len(set))
	}
	if _, old, err := after.Open(nil, "__Host-u", set[0].Value, 0, time.Now()); old || err != nil {
		t.Errorf("the new value is old (%v) or bad (%v)", old, err)
	}
}

func TestDeleteAllClearsEveryPlaceAPlantedCookieMayStandIn(t *testing.T) {
	c, _ := New("__Secure-u", &Options{Domain: "example.org"})
	w := httptest.NewRecorder()
	c.DeleteAll(w, httptest.NewRequest("GET", "https://app.example.org/account/x/y", nil))
	lines := strings.Join(w.Header()["Set-Cookie"], "\n")
	for _, want := range []string{"; Domain=example.org; Path=/;", "Max-Age=0; Path=/account;", "Max-Age=0; Path=/;", "Domain=app.example.org; Path=/account/x;"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no line clears %q in\n%s", want, lines)
		}
	}
	if n := len(w.Header()["Set-Cookie"]); n > 16 {
		t.Errorf("%d lines, at most 16", n)
	}
	w = httptest.NewRecorder()
	c, _ = New("__Host-u", nil)
	c.DeleteAll(w, httptest.NewRequest("GET", "https://app.example.org/a/b", nil))
	if n := len(w.Header()["Set-Cookie"]); n != 1 {
		t.Errorf("%d lines for a __Host- cookie, want 1", n)
	}
}

func TestExplainSaysWhatBrowsersDo(t *testing.T) {
	for _, c := range []struct {
		line     string
		from     Origin
		accepted bool
		says     string
	}{
		{"a=b; Secure; HttpOnly; SameSite=Lax; Path=/", Origin{true, "x.org"}, true, ""},
		{"Set-Cookie: __Host-a=b; Secure; Path=/x", Origin{true, ""}, false, "Path=/"},
		{"a=b; Secure", Origin{false, "x.org"}, false, "plain HTTP"},
		{"a=b; Domain=y.org", Origin{true, "x.org"}, false, "neither"},
		{"a=b; Domain=org", Origin{true, "x.org"}, false, "public suffix"},
		{"a=b; SameSite=None", Origin{true, ""}, false, "without Secure"},
		{"a=b; Max-Age=99999999999", Origin{true, ""}, true, "400 days"},
		{"a=b; Max-Age=-1; Expires=Wed, 21 Oct 2035 07:28:00 GMT", Origin{true, ""}, true, ""},
		{"=__Host-a=b", Origin{true, ""}, false, "no name"},
		{"", Origin{true, ""}, false, "both empty"},
		{"a=" + strings.Repeat("x", 4096), Origin{true, ""}, false, "1 over"},
		{"a=b\x01", Origin{true, ""}, false, "control character"},
		{"a=b; Priority=High", Origin{true, ""}, true, "no attribute"},
	} {
		e := Explain(c.line, c.from)
		all := ""
		for _, f := range append(e.Problems, e.Warnings...) {
			all += f.Text + "\n"
		}
		if e.Accepted != c.accepted || !strings.Contains(all, c.says) {
			t.Errorf("Explain(%.60q) accepted %v, says\n%s want %v and %q", c.line, e.Accepted, all, c.accepted, c.says)
		}
	}
}

func TestOpenSealAndVerifyAllocateNothing(t *testing.T) {
	k := ring(t, GenerateKey())
	now := time.Now()
	value := make([]byte, 64)
	sealed, signed := string(k.Seal(nil, "n", value, now)), string(k.Sign(nil, "n", value, now))
	buf := make([]byte, 0, 1024)
	for name, f := range map[string]func(){
		"Seal":   func() { k.Seal(buf, "n", value, now) },
		"Open":   func() { k.Open(buf, "n", sealed, time.Hour, now) },
		"Sign":   func() { k.Sign(buf, "n", value, now) },
		"Verify": func() { k.Verify(buf, "n", signed, time.Hour, now) },
	} {
		if n := testing.AllocsPerRun(1000, f); n > 0 && !raceEnabled {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzVerifyAndOpen(f *testing.F) {
	k := ring(f, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	now := time.Unix(1_700_000_000, 0)
	f.Add(string(k.Sign(nil, "n", []byte("x y"), now)))
	f.Add(string(k.Seal(nil, "n", []byte("x"), now)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if v, _, err := k.Verify(nil, "n", text, 0, now); err == nil && string(k.Sign(nil, "n", v, now)) != text {
			made := string(k.Sign(nil, "n", v, now))
			if made[:len(made)-trailerText] != text[:len(text)-trailerText] {
				t.Errorf("%q verifies and is spelled %q", text, made)
			}
		}
		k.Open(nil, "n", text, 0, now)
	})
}

func FuzzExplain(f *testing.F) {
	f.Add("a=b; Path=/; Max-Age=1; Expires=x; Domain=.x; SameSite=None")
	f.Fuzz(func(t *testing.T, line string) {
		e := Explain(line, Origin{Secure: true, Host: "x.org"})
		if e.Accepted != (len(e.Problems) == 0) {
			t.Errorf("Explain(%q): accepted %v with %d problems", line, e.Accepted, len(e.Problems))
		}
	})
}

func FuzzValueEncoding(f *testing.F) {
	f.Add([]byte("a b%\xff"))
	f.Fuzz(func(t *testing.T, v []byte) {
		enc := appendEscaped(nil, v)
		if n, ok := unescape(enc); !ok || !bytes.Equal(enc[:n], v) {
			t.Errorf("%q does not survive", v)
		}
		dec := bytes.Clone(v)
		if n, ok := unescape(dec); ok && !bytes.Equal(appendEscaped(nil, dec[:n]), v) {
			t.Errorf("%q has another spelling", v)
		}
	})
}

// Reading agrees with net/http wherever that reads the header at all.
func FuzzValuesAgreeWithNetHTTP(f *testing.F) {
	f.Add("a=1; n=2; n=3")
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		ours := Values(r.Header, "n", nil)
		for _, theirs := range r.CookiesNamed("n") {
			if len(ours) == maxValues || theirs.Quoted {
				return
			}
			found := false
			for _, o := range ours {
				found = found || o == theirs.Value
			}
			if !found {
				t.Errorf("in %q net/http sees %q, we see %q", header, theirs.Value, ours)
			}
		}
	})
}

func BenchmarkSeal64(b *testing.B) {
	k := ring(b, GenerateKey())
	buf, v, now := make([]byte, 0, 1024), make([]byte, 64), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(buf, "n", v, now)
	}
}

func BenchmarkOpen64(b *testing.B) {
	k := ring(b, GenerateKey())
	buf, now := make([]byte, 0, 1024), time.Now()
	s := string(k.Seal(nil, "n", make([]byte, 64), now))
	b.ReportAllocs()
	for b.Loop() {
		k.Open(buf, "n", s, time.Hour, now)
	}
}
