package concepts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/session"
)

// Who asks is one question, and whether he may is another. They have answers
// of their own: 401 and 403.
func Example_mayThey() {
	roles := map[string][]string{"ann": {"editor"}}
	bySubject := authn.Func(func(r *http.Request) (admit.Principal, bool, error) {
		who := r.Header.Get("X-Test-Subject") // stands for a session or a token
		return admit.Principal{Subject: who, Roles: roles[who]}, who != "", nil
	})
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the draft") })
	h := authn.New(bySubject).Require(authn.RequireRole("editor", page))
	for _, who := range []string{"", "bob", "ann"} {
		r := httptest.NewRequest("GET", "https://example.org/draft", nil)
		r.Header.Set("X-Test-Subject", who)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%q %d\n", who, w.Code)
	}
	// Output:
	// "" 401
	// "bob" 403
	// "ann" 200
}

// A JWT in a cookie is sent by the browser itself, as every cookie is: what a
// foreign page asks for is done.
func TestAttackAForeignPageUsesAJWTThatIsInACookie(t *testing.T) {
	text, keys := issue(time.Now(), "5Jb0")
	v, err := jose.NewVerifier[Access](keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256}, Issuer: issuer, Audience: []string{orders}, Type: "at+jwt",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	judge := func(ctx context.Context, text, how string) (admit.Principal, bool, error) {
		claims, err := v.Verify(ctx, text)
		return admit.Principal{Subject: claims.Subject, SID: claims.Data.SID, Credential: how}, true, err
	}
	who := authn.New(authn.Func(func(r *http.Request) (admit.Principal, bool, error) {
		if h := r.Header.Get("Authorization"); h != "" {
			return judge(r.Context(), h[len("Bearer "):], "jwt")
		}
		c, err := r.Cookie("__Host-jwt")
		if err != nil {
			return admit.Principal{}, false, nil
		}
		return judge(r.Context(), c.Value, "cookie")
	}))
	order := who.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	foreign := func(name, value string) *http.Request {
		r := httptest.NewRequest("POST", "https://orders.example.org/", nil)
		r.Header.Set("Sec-Fetch-Site", "same-site") // another sub-domain: SameSite holds nothing back
		r.Header.Set("Origin", "https://blog.example.org")
		r.Header.Set(name, value)
		return r
	}
	for _, test := range []struct {
		name string
		h    http.Handler
		r    *http.Request
		want int
	}{
		{"a cookie, unprotected", order, foreign("Cookie", "__Host-jwt="+text), 200},
		{"a cookie behind the protection", http.NewCrossOriginProtection().Handler(order), foreign("Cookie", "__Host-jwt="+text), 403},
		{"the header, which no foreign page can fill", order, foreign("X-Nothing", ""), 401},
	} {
		w := httptest.NewRecorder()
		if test.h.ServeHTTP(w, test.r); w.Code != test.want {
			t.Errorf("%s: %d, want %d", test.name, w.Code, test.want)
		}
	}
}

// A token in an address stays in histories, logs and Referer headers.
func TestATokenInTheAddressIsNotRead(t *testing.T) {
	sessions, err := session.New[struct{}](session.NewMemory(nil), &session.Options{Bearer: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, bearer := range []bool{false, true} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://example.org/signin", nil)
		s, err := sessions.Start(w, r, "ann", &session.StartOptions{Bearer: bearer})
		if err != nil {
			t.Fatal(err)
		}
		text := s.Token.Reveal()
		if !bearer {
			text = w.Result().Cookies()[0].Value
		}
		for _, name := range []string{"access_token", "token", "session", "__Host-session", "jsessionid", "sid"} {
			for _, address := range []string{"https://example.org/?" + url.Values{name: {text}}.Encode(), "https://example.org/;" + name + "=" + text} {
				if _, err := sessions.Load(httptest.NewRequest("GET", address, nil)); !errors.Is(err, session.ErrNone) {
					t.Errorf("%s: %v, want ErrNone", address, err)
				}
			}
		}
	}
}

// The server keeps nothing of a sealed cookie, so it cannot tell an old one
// from the newest.
func TestAttackAnOldSealedCookieIsPutBack(t *testing.T) {
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	before := string(keys.Seal(nil, "tries-left", []byte("3"), now))
	keys.Seal(nil, "tries-left", []byte("0"), now.Add(time.Second))
	value, _, err := keys.Open(nil, "tries-left", before, time.Hour, now.Add(time.Minute))
	if string(value) != "3" || err != nil {
		t.Errorf("%q, %v: an old copy does not count any more: say so in docs/concepts", value, err)
	}
}

// A robot that reads a thousand pages leaves nothing behind.
func TestAFirstVisitThatOnlyReadsLeavesNothing(t *testing.T) {
	store := session.NewMemory(nil)
	sessions, err := session.New[struct{}](store, nil)
	if err != nil {
		t.Fatal(err)
	}
	page := sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := sessions.Load(r); !errors.Is(err, session.ErrNone) {
			t.Errorf("%v, want ErrNone", err)
		}
	}))
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest("GET", "https://example.org/", nil))
	if lines := w.Header()["Set-Cookie"]; lines != nil || store.Len() != 0 {
		t.Errorf("%d records and the cookies %q", store.Len(), lines)
	}
}
