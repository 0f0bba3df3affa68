package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

const bye = "https://app.example.org/bye"

// leaves sends a browser to the logout endpoint.
func (h *hall) leaves(pairs ...string) *httptest.ResponseRecorder {
	h.Helper()
	w := h.serve(httptest.NewRequest("GET", deskIssuer+"/oauth/logout?"+fields(pairs...).Encode(), nil))
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Frame-Options") != "DENY" {
		h.Error("the page may be kept or framed")
	}
	return w
}

func (h *hall) follow(at string) *httptest.ResponseRecorder {
	return h.serve(httptest.NewRequest("GET", at, nil))
}

func leaver(t testing.TB) (h *hall, hint string) {
	h = newHall(t)
	h.app("app", func(c *Client) { c.PostLogoutURIs = []string{bye, bye + "?a=b"} })
	h.app("other", func(c *Client) { c.PostLogoutURIs = []string{"https://other.example.org/"} })
	return h, h.tokens("app", nil).string("id_token")
}

func TestAClientSignsOutTheSessionOfItsIDToken(t *testing.T) {
	h, hint := leaver(t)
	h.now = h.now.Add(2 * time.Hour) // the ID token has expired
	h.leaves("id_token_hint", hint, "post_logout_redirect_uri", bye+"?a=b", "state", "x&y", "ui_locales", "zh-CN en")
	l := h.logout
	if l == nil || l.Asked || l.Client.ID != "app" || l.Session.SID != "s1" || len(l.Locales) != 2 {
		t.Fatalf("the page is for %+v, %v", l, h.fault)
	}
	// Whoever goes on without having signed out is asked, and led nowhere.
	if w := h.follow(l.Resume()); w.Code == 303 || h.logout == nil || !h.logout.Asked {
		t.Errorf("still signed in: %d %v", w.Code, w.Header())
	}
	h.m.RemoveSession("s1")
	if w := h.follow(l.Resume()); w.Code != 303 || w.Header().Get("Location") != bye+"?a=b&state=x%26y" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	// Another session, that has begun meanwhile, stays.
	h.m.PutSession(Session{SID: "s2", Subject: "alice", Expires: h.now.Add(time.Hour)})
	h.sid = "s2"
	if w := h.follow(l.Resume()); w.Code != 303 || h.logout != nil {
		t.Errorf("with another session: %d", w.Code)
	}
}

func TestAPostedLogoutHasNoEffectButToBecomeAGet(t *testing.T) {
	h, hint := leaver(t)
	w := h.ask("logout", "", "id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "s")
	at := w.Header().Get("Location")
	if w.Code != 303 || !strings.HasPrefix(at, "/oauth/logout?flow=") || strings.Contains(at, hint) || h.logout != nil {
		t.Fatalf("%d to %q", w.Code, at)
	}
	h.follow(at)
	if h.logout == nil || h.logout.Asked || h.logout.Client.ID != "app" {
		t.Fatalf("the page is for %+v, %v", h.logout, h.fault)
	}
	h.m.RemoveSession("s1")
	if w := h.follow(h.logout.Resume()); w.Code != 303 || w.Header().Get("Location") != bye+"?state=s" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestWhoeverDoesNotShowTheSessionMustAsk(t *testing.T) {
	h, hint := leaver(t)
	h.m.PutSession(Session{SID: "s2", Subject: "alice", Expires: h.now.Add(time.Hour)})
	h.m.PutUser(User{Subject: "bob"})
	h.m.PutSession(Session{SID: "s3", Subject: "bob", Expires: h.now.Add(time.Hour)})
	for _, tt := range []struct {
		name, sid string
		pairs     []string
		leads     bool
	}{
		{"nothing is shown", "s1", nil, false},
		{"a client names itself", "s1", []string{"client_id", "app"}, false},
		{"a client names itself and its address", "s1", []string{"client_id", "app", "post_logout_redirect_uri", bye}, true},
		{"the hint is of another session of hers", "s2", []string{"id_token_hint", hint, "post_logout_redirect_uri", bye}, true},
		{"the hint is of somebody else", "s3", []string{"id_token_hint", hint, "post_logout_redirect_uri", bye}, true},
		{"the hint is none", "s1", []string{"id_token_hint", "x.y.z", "client_id", "app", "post_logout_redirect_uri", bye}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.sid = tt.sid
			w := h.leaves(tt.pairs...)
			if w.Code == 303 || h.logout == nil || !h.logout.Asked || (h.logout.Resume() != "") != tt.leads {
				t.Errorf("%d, page for %+v", w.Code, h.logout)
			}
		})
	}
}

func TestAttackLogoutIsAnOpenRedirect(t *testing.T) {
	h, hint := leaver(t)
	h.app("gone", func(c *Client) { c.PostLogoutURIs, c.Disabled = []string{bye}, true })
	h.app("plain", func(c *Client) { c.PostLogoutURIs = []string{"http://app.example.org/", "javascript:alert(1)"} })
	for _, signedIn := range []string{"s1", ""} {
		h.sid = signedIn
		for _, pairs := range [][]string{
			{"id_token_hint", hint, "post_logout_redirect_uri", bye + "/"},
			{"id_token_hint", hint, "post_logout_redirect_uri", bye + "?a=b&c=d"},
			{"id_token_hint", hint, "post_logout_redirect_uri", "https://APP.example.org/bye"},
			{"id_token_hint", hint, "post_logout_redirect_uri", "https://app.example.org@evil.example/bye"},
			{"id_token_hint", hint, "post_logout_redirect_uri", "https://other.example.org/"},
			{"post_logout_redirect_uri", bye},
			{"client_id", "other", "post_logout_redirect_uri", bye},
			{"client_id", "gone", "post_logout_redirect_uri", bye},
			{"client_id", "plain", "post_logout_redirect_uri", "http://app.example.org/"},
			{"client_id", "plain", "post_logout_redirect_uri", "javascript:alert(1)"},
			{"client_id", "nobody", "post_logout_redirect_uri", bye},
			{"id_token_hint", "x.y.z", "client_id", "app", "post_logout_redirect_uri", bye},
		} {
			if w := h.leaves(pairs...); w.Header().Get("Location") != "" || h.logout == nil || h.logout.Resume() != "" || !h.logout.Asked && h.logout.Client == nil {
				t.Errorf("%v: %d to %q, %+v", pairs[2:], w.Code, w.Header().Get("Location"), h.logout)
			}
		}
	}
	for _, pairs := range [][]string{
		{"id_token_hint", hint, "client_id", "other", "post_logout_redirect_uri", "https://other.example.org/"},
		{"flow", "forged"},
		{"client_id", "app", "client_id", "other"},
		{"client_id", "app", "post_logout_redirect_uri", bye, "state", strings.Repeat("x", 8<<10)},
	} {
		h.sid = "s1"
		if w := h.leaves(pairs...); w.Header().Get("Location") != "" || h.fault == nil {
			t.Errorf("%.60v: %d to %q", pairs, w.Code, w.Header().Get("Location"))
		}
	}
	// What was sealed for the authorization endpoint is no logout.
	sealed, err := h.seal(flowName, flow{Query: "client_id=app"}, h.now)
	if err != nil {
		t.Fatal(err)
	}
	if h.leaves("flow", sealed); h.fault == nil {
		t.Error("a flow of another purpose is taken")
	}
}

func TestWhoIsSignedOutAlreadyIsLedToTheClient(t *testing.T) {
	h, hint := leaver(t)
	h.sid = ""
	if w := h.leaves("id_token_hint", hint, "post_logout_redirect_uri", bye); w.Code != 303 || w.Header().Get("Location") != bye {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
}

// An ear is a client's server that hears of sign-outs.
type ear struct {
	*httptest.Server
	mu     sync.Mutex
	heard  []string // logout tokens, guarded by mu
	status int      // of its answer, guarded by mu
}

func newEar(t testing.TB) *ear {
	e := &ear{status: 200}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, r.PostFormValue("logout_token"))
		if e.status == 302 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(e.status)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *ear) answers(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

func (e *ear) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.heard...)
}

// listening is a hall with a client that listens on loopback.
func listening(t testing.TB, change func(*Client)) (*hall, *ear) {
	h, e := newHall(t), newEar(t)
	h.o.InsecureLoopback, h.o.HTTP = true, &http.Client{Transport: guarded(true)}
	h.app("app", func(c *Client) {
		c.BackchannelLogoutURI = e.URL + "/logout"
		if change != nil {
			change(c)
		}
	})
	return h, e
}

func (h *hall) waiting() (n int) {
	h.m.View(h.Context(), func(tx Tx) error {
		all, err := tx.Deliveries(h.now.Add(1000*time.Hour), 1000)
		n = len(all)
		return err
	})
	return n
}

func (h *hall) delivers() {
	h.Helper()
	if _, err := h.deliver(h.Context(), h.now); err != nil {
		h.Error(err)
	}
}

func TestALogoutTokenIsAsTheStandardDemands(t *testing.T) {
	for _, alg := range []jose.Algorithm{"", jose.EdDSA, jose.RS256} {
		h, e := listening(t, func(c *Client) { c.Sector, c.Signs = "app.example.org", alg })
		id := payload(t, h.tokens("app", nil).string("id_token"))
		h.tokens("app", nil) // a second grant in the same session
		if err := h.SessionEnded(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		h.delivers()
		all := e.all()
		if len(all) != 1 || h.waiting() != 0 {
			t.Fatalf("%d logout tokens, %d still waiting", len(all), h.waiting())
		}
		v, err := jose.NewVerifier[map[string]any](h.Provider.o.Keys, jose.Expected{
			Algorithms: signingAlgorithms, Issuer: deskIssuer, Audience: []string{"app"}, Type: "logout+jwt",
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.VerifyAt(t.Context(), all[0], h.now)
		if err != nil {
			t.Fatal(err)
		}
		events, _ := c.Data["events"].(map[string]any)
		event, isObject := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any)
		if c.Subject != id["sub"] || c.Data["sid"] != id["sid"] || c.Subject == "alice" || len(events) != 1 || !isObject || len(event) > 0 ||
			c.ID == "" || !c.IssuedAt.Equal(h.now) || c.Expires.Sub(h.now) > 2*time.Minute {
			t.Errorf("it is %+v, the ID token %v", c, id)
		}
		if _, there := c.Data["nonce"]; there {
			t.Error("it has a nonce")
		}
	}
}

func TestASessionsEndIsToldOnce(t *testing.T) {
	h, e := listening(t, nil)
	text := h.tokens("app", nil).string("access_token")
	for range 3 {
		if err := h.SessionEnded(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		h.delivers()
	}
	if n := len(e.all()); n != 1 || len(h.told) != 1 {
		t.Errorf("%d logout tokens, told %v", n, h.told)
	}
	h.silent("app", text)
}

func TestAnAppWithOfflineAccessHearsOnceThatTheSessionHasEnded(t *testing.T) {
	h, e := listening(t, nil)
	a := h.tokens("app", scoped("openid", "offline_access"))
	id := payload(t, a.string("id_token"))
	for range 2 {
		if err := h.SessionEnded(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		h.delivers()
	}
	all := e.all()
	if len(all) != 1 || payload(t, all[0])["sid"] != id["sid"] || id["sid"] == nil {
		t.Errorf("%d logout tokens, the ID token is %v", len(all), id)
	}
	if !h.active("app", a.string("refresh_token")) {
		t.Error("offline access has ended with the session")
	}
}

func TestASubjectsEndTakesOfflineAccessToo(t *testing.T) {
	h, e := listening(t, nil)
	a := h.tokens("app", scoped("openid", "offline_access"))
	h.tokens("app", nil)
	h.SessionEnded(t.Context(), "s1")
	if !h.active("app", a.string("refresh_token")) {
		t.Error("offline access has ended with the session")
	}
	if err := h.SubjectEnded(t.Context(), "alice", ""); err != nil {
		t.Fatal(err)
	}
	h.silent("app", a.string("refresh_token"))
	h.delivers()
	all := e.all()
	if len(all) != 2 {
		t.Fatalf("%d logout tokens", len(all))
	}
	sids := 0
	for _, text := range all {
		p := payload(t, text)
		if p["sub"] != "alice" {
			t.Errorf("it is %v", p)
		}
		if p["sid"] != nil {
			sids++
		}
	}
	if sids != 1 {
		t.Errorf("%d of 2 name a session", sids)
	}
}

func TestADeliveryIsTriedAgainUntilItIsTaken(t *testing.T) {
	h, e := listening(t, nil)
	h.tokens("app", nil)
	h.SessionEnded(t.Context(), "s1")
	for i, status := range []int{500, 302, 429, 204} {
		e.answers(status)
		h.delivers()
		if n := len(e.all()); n != i+1 {
			t.Fatalf("%d tries, want %d", n, i+1)
		}
		h.delivers() // too early
		if n := len(e.all()); n != i+1 {
			t.Fatalf("tried again at once: %d", n)
		}
		h.now = h.now.Add(backOff(i + 1))
	}
	all := e.all()
	if h.waiting() != 0 || payload(t, all[0])["jti"] != payload(t, all[3])["jti"] {
		t.Errorf("%d waiting; a try is another message", h.waiting())
	}
}

// The attack: clients of strangers that never answer, for people who sign in and out, fill
// every round of a day.
func TestAttackAStrangersClientKeepsOthersFromHearing(t *testing.T) {
	h, e := listening(t, func(c *Client) { c.Registered = &Registered{} })
	e.answers(500)
	for n := range 3 {
		sid := fmt.Sprint("x", n)
		h.m.PutSession(Session{SID: sid, Subject: "alice", Expires: h.now.Add(time.Hour)})
		h.tokens("app", func(c *Code) { c.Session.SID = sid })
		if err := h.SessionEnded(t.Context(), sid); err != nil {
			t.Fatal(err)
		}
	}
	h.delivers()
	if n := len(e.all()); n != 1 || h.waiting() != 0 {
		t.Errorf("it was tried %d times, and %d wait", n, h.waiting())
	}
}

func TestAClientThatRefusesIsNotTriedAgain(t *testing.T) {
	h, e := listening(t, nil)
	h.tokens("app", nil)
	e.answers(400)
	h.SessionEnded(t.Context(), "s1")
	h.delivers()
	if last := h.notes[len(h.notes)-1]; h.waiting() != 0 || last.Event != "backchannel_logout_failed" || last.Detail != "status 400" {
		t.Errorf("%d waiting, noted %+v", h.waiting(), last)
	}
}

// The attack: whoever gets the id of a client that was removed hears for a day who has
// signed out of the one before.
func TestAttackAnIDOfARemovedClientHearsOfItsPeople(t *testing.T) {
	h, e := listening(t, nil)
	h.tokens("app", nil)
	if err := h.SessionEnded(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	h.m.RemoveClient("app")
	h.now = h.now.Add(time.Minute)
	h.app("app", func(c *Client) { c.BackchannelLogoutURI, c.CreatedAt = e.URL, h.now })
	h.delivers()
	if len(e.all()) > 0 || h.waiting() > 0 {
		t.Errorf("it has heard %q, and %d wait", e.all(), h.waiting())
	}
}

func TestADeliveryIsGivenUpAfterADay(t *testing.T) {
	h, e := listening(t, nil)
	h.tokens("app", nil)
	e.answers(503)
	h.SessionEnded(t.Context(), "s1")
	h.now = h.now.Add(deliveredFor)
	h.delivers()
	if h.waiting() != 0 || len(e.all()) != 1 {
		t.Errorf("%d waiting after %d tries", h.waiting(), len(e.all()))
	}
}

// A process that dies has lost nothing: another one on the same store goes on.
func TestNoDeliveryIsLostWithAProcess(t *testing.T) {
	h, e := listening(t, nil)
	h.tokens("app", nil)
	h.SessionEnded(t.Context(), "s1")
	if all, err := h.take(t.Context(), h.now); err != nil || len(all) != 1 { // and dies
		t.Fatal(all, err)
	}
	h.delivers()
	if len(e.all()) != 0 {
		t.Error("two have taken it")
	}
	h.now = h.now.Add(lease)
	next, err := New(h.Provider.o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.deliver(t.Context(), h.now); err != nil || len(e.all()) != 1 {
		t.Errorf("%d told, %v", len(e.all()), err)
	}
}

func TestRunFollowsTheFeedOfSessions(t *testing.T) {
	h, e := listening(t, nil)
	h.tokens("app", nil)
	log := feed.NewLog(nil)
	// One session was ended before anybody followed, the other one's subject has
	// changed, and it is no more.
	h.m.PutSession(Session{SID: "s2", Subject: "alice", Expires: h.now.Add(time.Hour)})
	h.tokens("app", func(c *Code) { c.Session.SID = "s2" })
	h.m.RemoveSession("s2")
	now := time.Now()
	log.Append(t.Context(), now, feed.SessionEnded("s1", "alice", "signed_out", now.Add(time.Hour)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx, log) }()
	until := func(n int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); len(e.all()) < n || h.waiting() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d told, want %d", len(e.all()), n)
			}
		}
	}
	until(1)
	log.Append(t.Context(), now, feed.SubjectRaised("alice", 8, "password_changed", now.Add(time.Hour)))
	until(2)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAttackALogoutAddressLeadsInside(t *testing.T) {
	h, e := listening(t, nil)
	h.o.HTTP = &http.Client{Transport: guarded(false)}
	h.tokens("app", nil)
	h.SessionEnded(t.Context(), "s1")
	h.delivers()
	if len(e.all()) != 0 || h.waiting() != 1 {
		t.Errorf("%d reached, %d waiting", len(e.all()), h.waiting())
	}
	// And where http on loopback is not allowed, it is not even tried.
	h.Provider.o.InsecureLoopback = false
	h.now = h.now.Add(time.Hour)
	h.delivers()
	if h.waiting() != 0 {
		t.Error("http is tried again")
	}
	for _, text := range []string{"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
		"::1", "::", "fe80::1", "fd00::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "::127.0.0.1"} {
		if isPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is public", text)
		}
	}
	for _, text := range []string{"8.8.8.8", "2606:4700::1111"} {
		if !isPublic(netip.MustParseAddr(text)) {
			t.Errorf("%s is not public", text)
		}
	}
	r, err := http.NewRequest("GET", strings.Replace(e.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guarded(false).RoundTrip(r); err == nil || !strings.Contains(err.Error(), "no public address") {
		t.Errorf("a mapped address: %v", err)
	}
}

func TestOneClientThatHangsHoldsUpNoOther(t *testing.T) {
	h, e := listening(t, nil)
	dead := newEar(t)
	dead.answers(500)
	h.app("dead", func(c *Client) { c.BackchannelLogoutURI = dead.URL })
	for _, sid := range []string{"a", "b", "c"} {
		h.m.PutSession(Session{SID: sid, Subject: "alice", Expires: h.now.Add(time.Hour)})
		for _, app := range []string{"app", "dead"} {
			h.tokens(app, func(c *Code) { c.Session.SID = sid })
		}
		h.SessionEnded(t.Context(), sid)
	}
	h.delivers()
	if len(e.all()) != 3 || len(dead.all()) != 1 || h.waiting() != 3 {
		t.Errorf("%d and %d told, %d waiting", len(e.all()), len(dead.all()), h.waiting())
	}
}

func FuzzLogout(f *testing.F) {
	h, hint := leaver(f)
	for _, q := range []string{"", "id_token_hint=" + hint + "&post_logout_redirect_uri=" + url.QueryEscape(bye), "client_id=app&state=%00", "flow=x", "client_id=app&post_logout_redirect_uri=" + url.QueryEscape(bye)} {
		f.Add(q, "s1")
		f.Add(q, "")
	}
	f.Fuzz(func(t *testing.T, query, sid string) {
		h.sid = sid
		r := httptest.NewRequest("GET", "/oauth/logout", nil)
		r.URL.RawQuery = query
		to := h.serve(r).Header().Get("Location")
		if to != "" && !strings.HasPrefix(to, bye) && !strings.HasPrefix(to, "https://other.example.org/") {
			t.Errorf("%q leads to %q", query, to)
		}
	})
}
