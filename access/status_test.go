package access_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/statuslist"
)

// yesterdays is a feed whose latest news is old.
type yesterdays struct{ feed.Source }

func (y yesterdays) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	return y.Source.Follow(ctx, after, func(n feed.News) error {
		n.At = n.At.Add(-24 * time.Hour)
		return hear(n)
	})
}

// A lister serves status lists as it is told.
type lister struct {
	*issuer
	served  func(uri string) string // the token at an address, "" for 404
	fetched atomic.Int32
}

// status returns a lister and a verifier of its tokens that has no news.
func status(t testing.TB, bound time.Duration) (*lister, *access.Verifier) {
	t.Helper()
	i := newIssuer(t)
	l := &lister{issuer: i}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/jwks", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(jose.NewKeySet(i.keys...)) })
	mux.HandleFunc("GET /status-lists/{n}", func(w http.ResponseWriter, r *http.Request) {
		l.fetched.Add(1)
		if token := l.served(l.url + r.URL.Path); token != "" {
			w.Header().Set("Content-Type", "application/"+statuslist.Type)
			w.Write([]byte(token))
			return
		}
		http.Error(w, "away", http.StatusInternalServerError)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.url = server.URL
	return l, i.run(t, access.Options{Feed: yesterdays{feed.NewLog(nil)}, Bound: bound})
}

// list signs one in which places 1 and 2 are invalid and suspended.
func (l *lister) list(t testing.TB, key *jose.Key, typ string, c jose.Claims[statuslist.Claims]) string {
	if c.Data.List == nil {
		list, err := statuslist.New(2, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := list.Set(1, statuslist.Invalid); err != nil {
			t.Fatal(err)
		}
		if err := list.Set(2, statuslist.Suspended); err != nil {
			t.Fatal(err)
		}
		c.Data.List = list
	}
	s, err := jose.NewSigner[statuslist.Claims](key, typ, &jose.SignerOptions{InsecureNoExpiry: true})
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(&c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// token is one whose status is at this place.
func (l *lister) token(t testing.TB, index uint64, uri string) string {
	t.Helper()
	raw, err := statuslist.Reference{Index: index, URI: uri}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	c := l.claims()
	c.Data.Status = raw
	return "Bearer " + l.sign(t, c)
}

func TestAVerifierWithoutNewsAsksTheStatusList(t *testing.T) {
	l, v := status(t, 0)
	l.served = func(uri string) string {
		return l.list(t, l.keys[0], statuslist.Type, jose.Claims[statuslist.Claims]{Subject: uri})
	}
	at := l.url + "/status-lists/1"
	plain := "Bearer " + l.sign(t, l.claims())
	other := l.claims()
	other.Data.Status = json.RawMessage(`{"identifier_list":{"id":"x","uri":"https://x.example"}}`)
	for range 2 {
		for name, test := range map[string]struct {
			token  string
			status int
			says   string
		}{
			"one that is valid":               {l.token(t, 0, at), 200, "alice"},
			"one that is not":                 {l.token(t, 1, at), 401, "session_ended"},
			"one that is suspended":           {l.token(t, 2, at), 401, "session_ended"},
			"one with a place that is none":   {l.token(t, 64, at), 503, "verifier_stale"},
			"one that names no list":          {plain, 503, "verifier_stale"},
			"one with a status of other kind": {"Bearer " + l.sign(t, other), 503, "verifier_stale"},
		} {
			status, says, answer := ask(t, v, test.token)
			if status != test.status || says != test.says || status == 503 && answer.Get("Retry-After") != "1" {
				t.Errorf("%s: %d %s %v", name, status, says, answer)
			}
		}
	}
	if n := l.fetched.Load(); n != 1 {
		t.Errorf("the list was fetched %d times", n)
	}
}

// Who can answer for the issuer, or has an old list, or gets a token signed that
// is none, says nothing.
func TestAttackAListThatIsNotTheIssuersOfNowSaysNothing(t *testing.T) {
	stranger, err := jose.GenerateKey(jose.ES256, "k1")
	if err != nil {
		t.Fatal(err)
	}
	l, v := status(t, 0)
	now := time.Now()
	type claims = jose.Claims[statuslist.Claims]
	i := 0
	for name, served := range map[string]func(uri string) string{
		"a stranger's":          func(uri string) string { return l.list(t, stranger, statuslist.Type, claims{Subject: uri}) },
		"an access token":       func(uri string) string { return l.list(t, l.keys[0], "at+jwt", claims{Subject: uri}) },
		"that of another place": func(uri string) string { return l.list(t, l.keys[0], statuslist.Type, claims{Subject: uri + "0"}) },
		"an old one": func(uri string) string {
			return l.list(t, l.keys[0], statuslist.Type, claims{Subject: uri, IssuedAt: now.Add(-61 * time.Second)})
		},
		"one that has expired": func(uri string) string {
			return l.list(t, l.keys[0], statuslist.Type, claims{Subject: uri, IssuedAt: now.Add(-2 * time.Second), Expires: now.Add(-time.Second)})
		},
		"one of the future": func(uri string) string {
			return l.list(t, l.keys[0], statuslist.Type, claims{Subject: uri, IssuedAt: now.Add(time.Hour)})
		},
		"none":         func(string) string { return "" },
		"nonsense":     func(string) string { return "x" },
		"far too long": func(string) string { return strings.Repeat("a", 3<<20) },
		"no list": func(uri string) string {
			token, err := jose.Sign(l.keys[0], jose.Header{Type: statuslist.Type}, []byte(`{"sub":"`+uri+`","iat":1}`))
			if err != nil {
				t.Error(err)
			}
			return token
		},
	} {
		i++
		l.served = served
		at := l.url + "/status-lists/" + strings.Repeat("1", i)
		fetched := l.fetched.Load()
		for range 3 {
			if status, says, _ := ask(t, v, l.token(t, 0, at)); status != 503 || says != "verifier_stale" {
				t.Errorf("%s: %d %s", name, status, says)
			}
		}
		if n := l.fetched.Load() - fetched; n != 1 {
			t.Errorf("%s: fetched %d times for three requests", name, n)
		}
	}
}

func TestAttackAListIsFetchedFromTheIssuerAlone(t *testing.T) {
	l, v := status(t, 0)
	var asked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer elsewhere.Close()
	l.served = func(string) string { t.Error("asked"); return "" }
	for _, uri := range []string{elsewhere.URL + "/status-lists/1", l.url, l.url + ".evil.example/1", l.url + "@evil.example/1", "file:///etc/passwd", "/status-lists/1"} {
		if status, says, _ := ask(t, v, l.token(t, 0, uri)); status != 503 || says != "verifier_stale" {
			t.Errorf("%s: %d %s", uri, status, says)
		}
	}
	if asked.Load() {
		t.Error("somebody else was asked")
	}
}

// A list that is at hand serves while the issuer is away, until it is as old as
// news may be; and a thousand requests are one.
func TestAStatusListIsFetchedOnceForAllWhoWaitAndServesUntilItIsOld(t *testing.T) {
	l, v := status(t, 2*time.Second)
	l.served = func(uri string) string {
		time.Sleep(20 * time.Millisecond) // so that all wait for it
		return l.list(t, l.keys[0], statuslist.Type, jose.Claims[statuslist.Claims]{Subject: uri})
	}
	good := l.token(t, 0, l.url+"/status-lists/1")
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if status, says, _ := ask(t, v, good); status != 200 {
				t.Errorf("%d %s", status, says)
			}
		})
	}
	all.Wait()
	if n := l.fetched.Load(); n != 1 {
		t.Errorf("the list was fetched %d times", n)
	}
	first := time.Now()
	l.served = func(string) string { return "" }
	await(t, "the doubt", func() bool { status, _, _ := ask(t, v, good); return status == 503 })
	if took := time.Since(first); took > 3*time.Second {
		t.Errorf("a list counts for %v", took)
	}
	if n := l.fetched.Load(); n > 4 {
		t.Errorf("the list was fetched %d times while the issuer was away", n)
	}
}
