package authn_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/session"
)

var errEnded = admit.Unauthenticated.New("session_ended", "This session has been ended.")
var errAway = admit.Unavailable.New("store_away", "Try later.")

// byCookie takes the cookie's value as the subject.
func byCookie(name string) authn.Source {
	return authn.Func(func(r *http.Request) (admit.Principal, bool, error) {
		c, err := r.Cookie(name)
		if err != nil {
			return admit.Principal{}, false, nil
		}
		return judge(c.Value, "cookie")
	})
}

var byHeader = authn.Func(func(r *http.Request) (admit.Principal, bool, error) {
	const prefix = "Bearer "
	h := r.Header.Get("Authorization")
	if len(h) < len(prefix) || h[:len(prefix)] != prefix {
		return admit.Principal{}, false, nil
	}
	return judge(h[len(prefix):], "token")
})

func judge(value, credential string) (admit.Principal, bool, error) {
	switch value {
	case "ended":
		return admit.Principal{}, true, errEnded
	case "away":
		return admit.Principal{}, true, fmt.Errorf("read: %w", errAway)
	case "broken":
		return admit.Principal{}, true, errors.New("disk on fire")
	case "guest", "guest2":
		return admit.Principal{SID: value, Credential: credential}, true, nil
	}
	return admit.Principal{Subject: value, Credential: credential, Roles: []string{"role-of-" + value}}, true, nil
}

func request(cookies string, authorization ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	return r
}

func TestWhoIsAsking(t *testing.T) {
	who := authn.New(byCookie("a"), byHeader, byCookie("b"))
	for _, c := range []struct {
		name    string
		r       *http.Request
		subject string
		code    string // of Require's refusal
		status  int
		handler string // what a page for everyone sees: a subject, "-" for nobody, "" refused
	}{
		{"a cookie says who", request("a=alice"), "alice", "", 200, "alice"},
		{"a token says who", request("", "Bearer alice"), "alice", "", 200, "alice"},
		{"no credential is nobody", request(""), "", "not_signed_in", 401, "-"},
		{"a guest has not signed in", request("a=guest"), "", "not_signed_in", 401, "guest"},
		{"an ended session is refused by its name", request("a=ended"), "", "session_ended", 401, "-"},
		{"a token outweighs a cookie of another subject", request("a=mallory", "Bearer alice"), "alice", "", 200, "alice"},
		{"a refused cookie does not spoil a good token", request("a=ended", "Bearer alice"), "alice", "", 200, "alice"},
		{"a refused token never falls back to a cookie", request("a=alice", "Bearer ended"), "", "session_ended", 401, ""},
		{"an unknown scheme never falls back to a cookie", request("a=alice", "Basic YTpi"), "", "unknown_credential", 401, ""},
		{"an empty Authorization header never falls back", request("a=alice", ""), "", "unknown_credential", 401, ""},
		{"two Authorization headers are none", request("", "Bearer alice", "Bearer alice"), "", "ambiguous_credentials", 401, ""},
		{"cookies of two subjects are none", request("a=alice; b=mallory"), "", "ambiguous_credentials", 401, "-"},
		{"a guest's cookie beside another's is none", request("a=guest; b=alice"), "", "ambiguous_credentials", 401, "-"},
		{"cookies of two guests are none", request("a=guest; b=guest2"), "", "ambiguous_credentials", 401, "-"},
		{"two credentials of one subject are fine", request("a=alice; b=alice"), "alice", "", 200, "alice"},
		{"a refused credential beside a good one refuses", request("a=alice; b=ended"), "", "session_ended", 401, "-"},
		{"and in the other order", request("a=ended; b=alice"), "", "session_ended", 401, "-"},
		{"a store that is away is 503", request("a=away"), "", "store_away", 503, ""},
		{"a store that is away outweighs a refusal", request("a=ended; b=away"), "", "store_away", 503, ""},
		{"and in the other order", request("a=away; b=ended"), "", "store_away", 503, ""},
		{"an error that nobody classified is 500", request("a=broken"), "", "internal", 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen string
			next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch p, ok := admit.FromContext(r.Context()); {
				case !ok:
					seen = "-"
				case p.Guest():
					seen = "guest"
				default:
					seen = p.Subject
				}
			})
			rec := httptest.NewRecorder()
			rec.Header().Set("X-Request-Id", "r1")
			who.Require(next).ServeHTTP(rec, c.r)
			if rec.Code != c.status || seen != c.subject {
				t.Errorf("Require: status %d for %q, want %d for %q", rec.Code, seen, c.status, c.subject)
			}
			if c.code != "" {
				var p struct {
					Code      string
					RequestID string `json:"request_id"`
				}
				if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || p.Code != c.code || p.RequestID != "r1" {
					t.Errorf("Require: problem %+v, %v, want code %q of request r1", p, err, c.code)
				}
			}
			seen = ""
			rec = httptest.NewRecorder()
			who.Handler(next).ServeHTTP(rec, c.r)
			if seen != c.handler {
				t.Errorf("Handler: next saw %q, want %q", seen, c.handler)
			}
			if refused := rec.Code != 200; refused != (c.handler == "") {
				t.Errorf("Handler: status %d", rec.Code)
			}
		})
	}
}

func TestTheRequestKeepsItsCookies(t *testing.T) {
	r := request("a=alice; theme=dark", "Bearer bob")
	var cookies int
	authn.New(byHeader).Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cookies = len(r.Cookies())
	})).ServeHTTP(httptest.NewRecorder(), r)
	if cookies != 2 || len(r.Cookies()) != 2 {
		t.Errorf("next saw %d cookies, the request has %d; want 2 and 2", cookies, len(r.Cookies()))
	}
}

func TestACookieThatAnOuterHandlerReadDoesNotCountBesideAToken(t *testing.T) {
	kept := authn.Func(func(*http.Request) (admit.Principal, bool, error) { return judge("mallory", "cookie") })
	p, err := authn.New(kept, byHeader).Authenticate(request("", "Bearer alice"))
	if err != nil || p.Subject != "alice" {
		t.Errorf("Authenticate = %q, %v, want alice", p.Subject, err)
	}
	if _, err := authn.New(kept).Authenticate(request("", "Bearer alice")); !errors.Is(err, authn.ErrUnknown) {
		t.Errorf("Authenticate: %v, want ErrUnknown", err)
	}
}

func TestRequireRole(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      *admit.Principal
		status int
	}{
		{"who has the role passes", &admit.Principal{Subject: "u", Roles: []string{"x", "admin"}}, 200},
		{"who has another role is forbidden", &admit.Principal{Subject: "u", Roles: []string{"administrator"}}, 403},
		{"a guest must sign in", &admit.Principal{Roles: []string{"admin"}}, 401},
		{"nobody must sign in", nil, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request("")
			if c.p != nil {
				r = r.WithContext(admit.NewContext(r.Context(), *c.p))
			}
			rec := httptest.NewRecorder()
			called := false
			authn.RequireRole("admin", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(rec, r)
			if rec.Code != c.status || called != (c.status == 200) {
				t.Errorf("status %d, called %v, want %d", rec.Code, called, c.status)
			}
		})
	}
}

func TestASessionIsASource(t *testing.T) {
	sessions, err := session.New[struct{}](session.NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	if _, err := sessions.Start(rec, request(""), "alice", nil); err != nil {
		t.Fatal(err)
	}
	good := rec.Result().Cookies()[0]
	with := func(authorization ...string) *http.Request {
		r := request("", authorization...)
		r.AddCookie(good)
		return r
	}
	who := authn.New(sessions, byHeader)
	check := func(name string, r *http.Request, subject string, want error) {
		t.Helper()
		var p admit.Principal
		var err error
		// Behind the manager's own handler, which keeps what the cookie said.
		sessions.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p, err = who.Authenticate(r)
		})).ServeHTTP(httptest.NewRecorder(), r)
		if p.Subject != subject || !errors.Is(err, want) {
			t.Errorf("%s: %q, %v, want %q, %v", name, p.Subject, err, subject, want)
		}
	}
	check("its cookie signs in", with(), "alice", nil)
	check("no cookie is nobody", request(""), "", authn.ErrNobody)
	check("junk is nobody", request(good.Name+"=junk"), "", authn.ErrNobody)
	check("a token outweighs the cookie", with("Bearer bob"), "bob", nil)
	check("a foreign scheme does not fall back", with("Basic YTpi"), "", authn.ErrUnknown)
	if err := sessions.End(httptest.NewRecorder(), with(), "signed_out"); err != nil {
		t.Fatal(err)
	}
	check("an ended session is refused", with(), "", session.ErrEnded)
	check("an ended session does not spoil a token", with("Bearer bob"), "bob", nil)
}
