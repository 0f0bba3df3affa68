package express

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
)

func keygrip(t testing.TB, hash func() hash.Hash, keys ...string) *Keygrip {
	t.Helper()
	k, err := NewKeygrip(hash, hidden(keys)...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func cookieSession(t testing.TB, keys *Keygrip, o *CookieSessionOptions) *CookieSession {
	t.Helper()
	s, err := NewCookieSession("session", keys, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill keeps the members of a JSON object in a session.
func fill(object json.RawMessage) func(*Data) error {
	return func(d *Data) error {
		all, err := members(string(object))
		for _, m := range all {
			err = errors.Join(err, d.SetRaw(m.name, m.value))
		}
		return err
	}
}

func nothing(*Data) error { return nil }

func TestDigestsAreKeygrips(t *testing.T) {
	v := readVectors(t)
	if len(v.Keygrip) < 12 {
		t.Fatal("no vectors")
	}
	hashes := map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}
	for _, c := range v.Keygrip {
		if got := keygrip(t, hashes[c.Algorithm], c.Key, "k0").Sign(c.Data); got != c.Digest {
			t.Errorf("%s of %q = %q, want %q", c.Algorithm, c.Data, got, c.Digest)
		}
		k := keygrip(t, hashes[c.Algorithm], "k0", c.Key)
		if i := k.Index(c.Data, c.Digest); i != 1 {
			t.Errorf("%s of %q: key %d, want 1", c.Algorithm, c.Data, i)
		}
		for _, other := range []string{"", c.Digest + "=", c.Digest[1:], c.Digest + "A", strings.ToLower(c.Digest)} {
			if k.Verify(c.Data, other) || k.Verify(c.Data+" ", c.Digest) {
				t.Errorf("%s of %q: %q is taken", c.Algorithm, c.Data, other)
			}
		}
	}
	for _, keys := range [][]string{nil, {""}, {"a", ""}} {
		if _, err := NewKeygrip(sha256.New, hidden(keys)...); err == nil {
			t.Errorf("keys %q were taken", keys)
		}
	}
}

func TestKeysAreReplacedAndNeverPrinted(t *testing.T) {
	k := keygrip(t, sha256.New, "old-key")
	s := cookieSession(t, k, nil)
	r := carrying(t, s, `{"a":1}`)
	k.Replace(keygrip(t, sha1.New, "new-key", "old-key"))
	w := httptest.NewRecorder()
	if d := s.Load(w, r); d.Raw("a") != "1" || len(w.Header()["Set-Cookie"]) != 1 {
		t.Errorf("read with replaced keys: %s, %q", d.JSON(), w.Header()["Set-Cookie"])
	}
	k.Replace(keygrip(t, sha256.New, "new-key"))
	if d := s.Load(nil, r); d.Raw("a") != "" {
		t.Errorf("read with a key that was taken away: %s", d.JSON())
	}
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %v %+v", k, k, s, *s)} {
		if strings.Contains(text, "new-key") {
			t.Errorf("keys are printed: %s", text)
		}
	}
}

func TestASessionInACookieIsWrittenAsCookieSessionDoes(t *testing.T) {
	v := readVectors(t).CookieSession
	if len(v.Write) < 4 || len(v.Read) < 5 {
		t.Fatal("no vectors")
	}
	s := cookieSession(t, keygrip(t, sha1.New, "k1", "k2"), nil)
	for _, c := range v.Write {
		w := httptest.NewRecorder()
		if _, err := s.Update(w, requestWith(""), fill(c.Body)); err != nil || !slices.Equal(w.Header()["Set-Cookie"], c.SetCookie) {
			t.Errorf("%s: %q, %v, want %q", c.Body, w.Header()["Set-Cookie"], err, c.SetCookie)
		}
	}
	w := httptest.NewRecorder()
	if s.Clear(w, requestWith(v.Clear.Cookie)); !slices.Equal(w.Header()["Set-Cookie"], v.Clear.SetCookie) {
		t.Errorf("cleared: %q, want %q", w.Header()["Set-Cookie"], v.Clear.SetCookie)
	}
	w = httptest.NewRecorder()
	if _, err := s.Update(w, requestWith(v.EmptyNew.Cookie), nothing); err != nil || len(w.Header()) > 0 {
		t.Errorf("a new session that stays empty: %v, %v", w.Header(), err)
	}
	s = cookieSession(t, keygrip(t, sha1.New, "k1", "k2"), &CookieSessionOptions{Path: "/p", Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Domain: "example.com", Priority: "high", SameSite: http.SameSiteLaxMode, InsecureAllowScript: true})
	w = httptest.NewRecorder()
	if _, err := s.Update(w, requestWith(""), fill(json.RawMessage(`{"a":1}`))); err != nil || !slices.Equal(w.Header()["Set-Cookie"], v.WithOptions.SetCookie) {
		t.Errorf("with options: %q, %v, want %q", w.Header()["Set-Cookie"], err, v.WithOptions.SetCookie)
	}
}

func TestASessionInACookieIsReadAsCookieSessionDoes(t *testing.T) {
	v := readVectors(t).CookieSession
	s := cookieSession(t, keygrip(t, sha1.New, "k1", "k2"), nil)
	for name, c := range v.Read {
		w := httptest.NewRecorder()
		var got, want any
		d := s.Load(w, requestWith(c.Cookie))
		if err := errors.Join(json.Unmarshal([]byte(d.JSON()), &got), json.Unmarshal(c.Seen, &want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s, %v, want %s", name, d.JSON(), err, c.Seen)
		}
		if set := w.Header()["Set-Cookie"]; !slices.Equal(set, c.SetCookie) {
			t.Errorf("%s: sets %q, want %q", name, set, c.SetCookie)
		}
		// An unchanged session is not set again.
		w = httptest.NewRecorder()
		if _, err := s.Update(w, requestWith(c.Cookie), nothing); err != nil || !slices.Equal(w.Header()["Set-Cookie"], c.SetCookie) {
			t.Errorf("%s: nothing changed, and %q is set, %v", name, w.Header()["Set-Cookie"], err)
		}
		if got := s.Load(nil, requestWith(c.Cookie)).JSON(); got != d.JSON() {
			t.Errorf("%s: without a response %s, want %s", name, got, d.JSON())
		}
	}
}

// What a program does not change keeps its order and spelling.
func TestASessionInACookieKeepsWhatItDoesNotKnow(t *testing.T) {
	s := cookieSession(t, keygrip(t, sha256.New, "k"), nil)
	old := `{"z":1.0,"passport":{"user":"<é>"},"n":1,"a":[ 1e2 ]}`
	d, err := s.Update(httptest.NewRecorder(), carrying(t, s, old), func(d *Data) error { return d.Set("n", 2) })
	if want := strings.Replace(old, `"n":1`, `"n":2`, 1); err != nil || d.JSON() != want {
		t.Errorf("%s, %v, want %s", d.JSON(), err, want)
	}
}

// Cookie-session's object has other names than express-session's.
func TestASessionInACookieHoldsWhatCookieSessionHolds(t *testing.T) {
	s := cookieSession(t, keygrip(t, sha256.New, "k"), nil)
	d := s.Load(nil, carrying(t, s, `{"id":1,"cookie":2,"touch":3}`))
	seen := 0
	for range d.All() {
		seen++
	}
	if d.Raw("id")+d.Raw("cookie")+d.Raw("touch") != "123" || seen != 3 {
		t.Errorf("%s has %q, %d members", d.JSON(), d.Raw("cookie"), seen)
	}
	if d.Delete("cookie"); d.Raw("cookie") != "" {
		t.Errorf("not deleted: %s", d.JSON())
	}
	for _, name := range []string{"isNew", "_ctx", "__proto__"} {
		if err := d.Set(name, 1); !errors.Is(err, ErrName) {
			t.Errorf("%s was kept, and Node would drop it: %v", name, err)
		}
	}
}

// carrying is a request with a session.
func carrying(t testing.TB, s *CookieSession, object string) *http.Request {
	t.Helper()
	w := httptest.NewRecorder()
	if _, err := s.Update(w, requestWith(""), fill(json.RawMessage(object))); err != nil {
		t.Fatal(err)
	}
	return back(w)
}

// back is a request with the cookies that a response has set.
func back(w *httptest.ResponseRecorder) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r
}

func TestASignatureIsMadeAnewWithAllAttributes(t *testing.T) {
	o := &CookieSessionOptions{Domain: "example.com", MaxAge: time.Hour, SameSite: http.SameSiteLaxMode, Secure: true}
	r := carrying(t, cookieSession(t, keygrip(t, sha256.New, "old"), o), `{"a":1}`)
	w := httptest.NewRecorder()
	cookieSession(t, keygrip(t, sha256.New, "new", "old"), o).Load(w, r)
	line := w.Header().Get("Set-Cookie")
	for _, want := range []string{"session.sig=", "; domain=example.com", "; expires=", "; samesite=lax", "; secure", "; httponly"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
}

func TestASessionInACookieThatIsTooLargeIsNotSet(t *testing.T) {
	s := cookieSession(t, keygrip(t, sha256.New, "k"), nil)
	w := httptest.NewRecorder()
	_, err := s.Update(w, requestWith(""), func(d *Data) error { return d.Set("a", strings.Repeat("x", 3072)) })
	if !errors.Is(err, cookie.ErrTooLarge) || len(w.Header()) > 0 {
		t.Errorf("%v, %v", err, w.Header())
	}
}

func TestASessionInACookieIsSecureWhereItWasSetSo(t *testing.T) {
	proxied := &CookieSessionOptions{HTTPS: func(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") == "https" }}
	over := func(tlsToo bool, proto string) *http.Request {
		r := requestWith("")
		r.Header.Set("X-Forwarded-Proto", proto)
		if tlsToo {
			r.TLS = &tls.ConnectionState{}
		}
		return r
	}
	for _, c := range []struct {
		promise string
		o       *CookieSessionOptions
		r       *http.Request
		secure  bool
	}{
		{"over HTTP", nil, over(false, "https"), false},
		{"over HTTPS", nil, over(true, "http"), true},
		{"over HTTPS at the proxy", proxied, over(false, "https"), true},
		{"over HTTP at the proxy", proxied, over(true, "http"), false},
		{"always", &CookieSessionOptions{Secure: true}, over(false, "http"), true},
	} {
		w := httptest.NewRecorder()
		if cookieSession(t, keygrip(t, sha256.New, "k"), c.o).Clear(w, c.r); strings.Contains(w.Header().Get("Set-Cookie"), "; secure") != c.secure {
			t.Errorf("%s: %q", c.promise, w.Header()["Set-Cookie"])
		}
	}
}

func TestACookieSessionRefusesWhatABrowserWouldDrop(t *testing.T) {
	k := keygrip(t, sha256.New, "k")
	for _, c := range []struct {
		promise, name string
		keys          *Keygrip
		o             CookieSessionOptions
	}{
		{"no keys", "a", nil, CookieSessionOptions{}},
		{"a name that is no token", "a b", k, CookieSessionOptions{}},
		{"a domain with a semicolon", "a", k, CookieSessionOptions{Domain: "x;y"}},
		{"a path with a new line", "a", k, CookieSessionOptions{Path: "/\n"}},
		{"an unknown priority", "a", k, CookieSessionOptions{Priority: "top"}},
		{"an unknown SameSite", "a", k, CookieSessionOptions{SameSite: 9}},
	} {
		if _, err := NewCookieSession(c.name, c.keys, &c.o); err == nil {
			t.Errorf("%s was taken", c.promise)
		}
	}
}

// Nothing is read that was not signed, and what was signed is read as it was.
func FuzzCookieSession(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{}`, `5`, `{"a":`, `{"1":2,"cookie":3}`, `session=e30=; session.sig=x`} {
		f.Add(s, s)
	}
	s := cookieSession(f, keygrip(f, sha256.New, "k"), nil)
	f.Fuzz(func(t *testing.T, object, header string) {
		if d := s.Load(nil, requestWith(header)); len(d.members) > 0 {
			t.Errorf("%q is read as %s", header, d.JSON())
		}
		w := httptest.NewRecorder()
		d, err := s.Update(w, requestWith(""), fill(json.RawMessage(object)))
		if err != nil || len(d.members) == 0 {
			return
		}
		if got := s.Load(nil, back(w)).JSON(); got != strings.ToValidUTF8(d.JSON(), "\uFFFD") {
			t.Errorf("%s comes back as %s", d.JSON(), got)
		}
	})
}
