package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/account"
)

// near carries requests to a handler, without a network in between.
type near struct{ http.Handler }

func (n near) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r = r.Clone(r.Context())
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:4711"
	n.ServeHTTP(w, r)
	return w.Result(), nil
}

// oldNews is a feed whose news is a day old.
type oldNews struct{ feed.Source }

func (o oldNews) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	return o.Source.Follow(ctx, after, func(n feed.News) error {
		n.At = n.At.Add(-24 * time.Hour)
		return hear(n)
	})
}

// withoutNews is a service that takes the site's tokens and follows no feed.
func (s *site) withoutNews(issuer string) *access.Verifier {
	s.t.Helper()
	v, err := access.NewVerifier(issuer, issuer, &access.Options{Transport: near{s.handler}, Feed: oldNews{feed.NewLog(nil)}})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- v.Run(ctx) }()
	s.t.Cleanup(func() { cancel(); <-done })
	if err := v.Ready(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// A service that hears nothing looks tokens up in the status list, which the key
// of the tokens signs.
func TestAServiceWithoutNewsLearnsFromTheStatusListWhatHasEnded(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	gone, lives, stale := s.appOf("ann"), s.appOf("ann"), s.appOf("ann")
	gone.post("signout", nil).want(204)
	s.signedUp("bob")
	other := s.appOf("bob")

	// A password that changes ends the other sessions, and no one of them can be
	// told by its own id.
	c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	kept := c.post("signin", m{"identifier": "ann", "password": otherPassword, "as": "jwt"}).want(200).at("access_token")

	issuer := claims(t, kept)["iss"].(string)
	v := s.withoutNews(issuer)
	for name, test := range map[string]struct {
		token string
		want  error
	}{
		"of a session that has ended":      {gone.token, revocation.ErrEnded},
		"from before the password changed": {lives.token, revocation.ErrEnded},
		"and another":                      {stale.token, revocation.ErrEnded},
		"of the new sign-in":               {kept, nil},
		"of somebody else":                 {other.token, nil},
	} {
		if _, err := v.Verify(t.Context(), test.token); !errors.Is(err, test.want) {
			t.Errorf("a token %s: %v, want %v", name, err, test.want)
		}
	}
	status := claims(t, kept)["status"].(m)["status_list"].(m)
	if uri := status["uri"].(string); !strings.HasPrefix(uri, issuer+"/status-lists/") {
		t.Errorf("the list is at %q", uri)
	}
}

func TestAServiceWithoutNewsLearnsWhichClientsAreGone(t *testing.T) {
	s, root := administered(t)
	tokens := map[string]string{}
	for _, id := range []string{"removed", "disabled", "stays"} {
		secret := s.register(func(c *server.NewClient) {
			c.ID, c.GrantTypes, c.RedirectURIs, c.AccessTokenFormat = id, []string{"client_credentials"}, nil, "jwt"
		}).Secret
		var got struct {
			Token string `json:"access_token"`
		}
		if w := s.grab(id, secret); json.Unmarshal(w.Body.Bytes(), &got) != nil || got.Token == "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		tokens[id] = got.Token
	}
	root.delete("admin/clients/removed").want(204)
	root.do("PATCH", "/api/v1/admin/clients/disabled", m{"disabled": true}).want(200)
	v := s.withoutNews(claims(t, tokens["stays"])["iss"].(string))
	for id, want := range map[string]error{"removed": revocation.ErrEnded, "disabled": revocation.ErrEnded, "stays": nil} {
		if _, err := v.Verify(t.Context(), tokens[id]); !errors.Is(err, want) {
			t.Errorf("a token of the client that is %s: %v, want %v", id, err, want)
		}
	}
}

// Tokens of one session have one place: what refreshes for a day does not fill
// the lists, nor tell how often it did.
func TestTokensThatARefreshMakesKeepTheirPlace(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	a := s.appOf("ann")
	place := func(token string) any { return claims(t, token)["status"].(m)["status_list"].(m)["idx"] }
	first := place(a.token)
	for range 3 {
		a.keep(s.refreshed(a.refreshToken).want(200))
		if next := place(a.token); next != first {
			t.Errorf("place %v, then %v", first, next)
		}
	}
	if other := place(s.appOf("ann").token); other == first {
		t.Errorf("another session has the place %v, too", other)
	}
}

func TestAStatusListIsForEverybodyAndNobodyElsesIsMadeUp(t *testing.T) {
	s := newSite(t)
	get := func(list string) *reply { return s.client().do("GET", "/status-lists/"+list, nil) }
	get("0").want(404, "unknown_status_list") // no token is out
	s.signedUp("ann")
	s.appOf("ann")
	r := get("0").want(200)
	if got := r.header.Get("Content-Type"); got != "application/statuslist+jwt" {
		t.Errorf("Content-Type: %q", got)
	}
	if got := r.header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin: %q", got)
	}
	if again := get("0").want(200); !bytes.Equal(again.body, r.body) {
		t.Error("it is made anew for each who asks")
	}
	for _, list := range []string{"1", "18446744073709551615", "18446744073709551616", "-1", "00", "+0", "x", "0x0"} {
		get(list).want(404, "unknown_status_list")
	}
}

// To make a list reads all that the feed tells: that is for lists that are used,
// and not at each request.
func TestAttackAFloodOfRequestsForStatusListsMakesOne(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	s.appOf("ann")
	ask := func(list string) (status int, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://localhost:8080/status-lists/"+list, nil)
		r.RemoteAddr = "127.0.0.1:4711"
		s.handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	var all sync.WaitGroup
	var bodies sync.Map
	begun := time.Now()
	for n := range 200 {
		all.Go(func() {
			if status, body := ask("0"); status == 200 {
				bodies.Store(body, true)
			}
			if status, _ := ask(fmt.Sprint(n + 1)); status != 404 {
				t.Errorf("list %d: %d", n+1, status)
			}
		})
	}
	all.Wait()
	made := 0
	bodies.Range(func(any, any) bool { made++; return true })
	if most := 1 + int(time.Since(begun)/account.StatusAge); made < 1 || made > most {
		t.Errorf("%d lists were made, want %d at most", made, most)
	}
}
