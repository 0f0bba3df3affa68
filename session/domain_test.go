package session

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
)

// hosts are handlers by host, and a network without sockets to them.
type hosts map[string]http.Handler

func (hs hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	w, in := httptest.NewRecorder(), r.Clone(r.Context())
	in.Host, in.Body = r.URL.Host, http.NoBody
	hs[r.URL.Host].ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, nil
}

func TestAttackASubDomainPlantsAValidSessionOfItsOwn(t *testing.T) {
	store, hs, planted := NewMemory(nil), hosts{}, ""
	for _, host := range []string{"app.example.org", "shop.example.org", "app.example.net"} {
		m := newManager(t, store, &Options{Domain: host[strings.Index(host, ".")+1:]})
		mux := http.NewServeMux()
		mux.HandleFunc("/signin", func(w http.ResponseWriter, r *http.Request) {
			if _, err := m.Start(w, r, r.FormValue("as"), nil); err != nil {
				t.Error(err)
			}
		})
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			info, err := m.Check(r)
			if errors.Is(err, ErrAmbiguous) {
				err = errors.New("ambiguous")
			} else if err != nil {
				err = errors.New("nobody")
			}
			fmt.Fprint(w, info.Subject, err)
		})
		hs[host] = m.Handler(mux)
	}
	hs["evil.example.org"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", planted) })
	visitor := func() func(at string) string {
		jar, _ := cookiejar.New(nil) // nil options do not fail
		c := &http.Client{Transport: hs, Jar: jar}
		return func(at string) string {
			t.Helper()
			res, err := c.Get("https://" + at)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if set := res.Header.Get("Set-Cookie"); strings.HasPrefix(set, "__Secure-session=adm_s_") {
				planted = strings.Replace(set, "Path=/", "Path=/account", 1)
			}
			return string(body)
		}
	}
	wants := func(ask func(string) string, at, want string) {
		t.Helper()
		if got := ask(at); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
	ann, mallory := visitor(), visitor()
	ann("app.example.org/signin?as=ann")
	if !strings.Contains(planted, "; Domain=example.org; ") || !strings.Contains(planted, "; Secure; HttpOnly; SameSite=Lax") {
		t.Fatalf("the cookie is %s", planted)
	}
	wants(ann, "shop.example.org/", "ann<nil>")
	wants(ann, "app.example.net/", "nobody")
	mallory("app.example.org/signin?as=mallory")
	ann("evil.example.org/")
	wants(ann, "app.example.org/account/cards", "ambiguous")
	for _, at := range []string{"app.example.org/account/cards", "app.example.org/", "shop.example.org/"} {
		wants(ann, at, "nobody") // both were cleared
	}
	wants(mallory, "shop.example.org/", "mallory<nil>")
}
