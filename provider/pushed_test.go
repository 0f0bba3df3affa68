package provider

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/jose"
)

// A pusher is a stage whose shop has a secret, and a firm that has a key.
type pusher struct {
	*stage
	secret string
	key    *jose.Key
}

func newPusher(t testing.TB) *pusher {
	t.Helper()
	s := &pusher{stage: newStage(t)}
	secret, kept := NewSecret()
	s.secret = secret.Reveal()
	s.change("shop", func(c *Client) { c.Secrets = []ClientSecret{kept} })
	var err error
	if s.key, err = jose.GenerateKey(jose.ES256, "k1"); err != nil {
		t.Fatal(err)
	}
	s.shelf.PutClient(Client{
		ID: "firm", Auth: PrivateKeyJWT, Keys: jose.NewKeySet(s.key.Public()), RedirectURIs: []string{callback}, Grants: []GrantType{AuthorizationCode},
		Scopes: []string{"openid", "profile"}, Audiences: []string{"https://api.example.org", "https://pay.example.org"}, FirstParty: true,
	})
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	return s
}

// par sends a request to the endpoint for pushed ones, as the shop unless it is changed.
func (s *pusher) par(query string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequest("POST", "/oauth/par", strings.NewReader(query))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if len(change) == 0 {
		r.SetBasicAuth("shop", s.secret)
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		s.Errorf("the headers are %v", w.Header())
	}
	return w
}

// pushed is the query that a browser brings of a request that was taken.
func (s *pusher) pushed(query string, change ...func(*http.Request)) string {
	s.Helper()
	w := s.par(query, change...)
	var a struct {
		URI  string `json:"request_uri"`
		Life int    `json:"expires_in"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 201 || a.Life != 90 || !strings.HasPrefix(a.URI, pushedPrefix) || len(a.URI) < len(pushedPrefix)+50 {
		s.Fatalf("%d %s", w.Code, w.Body)
	}
	client := "shop"
	if v, _ := url.ParseQuery(query); v.Get("client_id") != "" {
		client = v.Get("client_id")
	}
	return url.Values{"client_id": {client}, "request_uri": {a.URI}}.Encode()
}

// told checks with what a push is refused, and that nothing is kept.
func (s *pusher) told(w *httptest.ResponseRecorder, status int, code string) {
	s.Helper()
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != status || a.Error != code || a.Description == "" {
		s.Errorf("%d %s, want %d %s", w.Code, w.Body, status, code)
	}
	if n := len(s.shelf.pushed); n > 0 {
		s.Errorf("%d requests are kept", n)
	}
}

// faults checks that the person is told, and no client.
func (s *pusher) faults(w *httptest.ResponseRecorder, code string) {
	s.Helper()
	a, _ := answerOf(s.fault)
	if s.shown != "fault" || w.Header().Get("Location") != "" || a.Error != code {
		s.Errorf("%d, page %q (%v) to %q, want a page that says %s", w.Code, s.shown, s.fault, w.Header().Get("Location"), code)
	}
}

func nobody(*http.Request) {}

func TestAPushedRequestBecomesACode(t *testing.T) {
	s := newPusher(t)
	query := ask("nonce", "n-1", "claims", `{"id_token":{"email":null}}`) + "&resource=https%3A%2F%2Fapi.example.org&resource=https%3A%2F%2Fpay.example.org"
	want := s.code(s.get(query, "s1"), callback).Asked
	at := s.pushed(query)
	for _, p := range s.shelf.pushed {
		if strings.Contains(p.Query, s.secret) {
			t.Error("a secret is kept")
		}
	}
	w := s.get(at, "s1")
	got := s.code(w, callback).Asked
	want.At, got.At = time.Time{}, time.Time{}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) || s.answer(w, callback).Get("state") != "xyz" {
		t.Errorf("pushed: %s, want %s", a, b)
	}
	if len(s.shelf.pushed) > 0 {
		t.Error("an answered request is kept")
	}
	// The proof may say whose request it is.
	s.code(s.get(s.pushed(ask("client_id", ""), func(r *http.Request) { r.SetBasicAuth("shop", s.secret) }), "s1"), callback)
	// A public client has no proof to show, and may push.
	s.signIn("s1", "ann")
	s.allowed("ann", "phone")
	s.code(s.get(s.pushed(ask("client_id", "phone", "redirect_uri", "http://127.0.0.1:5/cb", "scope", "openid"), nobody), "s1"), "http://127.0.0.1:5/cb")
}

// What is wrong with a request its client hears, and no person sees.
func TestAPushedRequestIsLookedAtWhole(t *testing.T) {
	for _, c := range []struct{ promise, query, want string }{
		{"a redirect URI is the client's", ask("redirect_uri", callback+"/x"), "invalid_request"},
		{"there is no implicit flow", ask("response_type", "token"), "unsupported_response_type"},
		{"PKCE is demanded", ask("code_challenge", ""), "invalid_request"},
		{"plain is no method", ask("code_challenge_method", "plain"), "invalid_request"},
		{"a scope is one of the client's", ask("scope", "admin"), "invalid_scope"},
		{"a resource is one of the client's", ask("resource", "https://other.example.org"), "invalid_target"},
		{"a prompt is known", ask("prompt", "create"), "invalid_request"},
		{"claims are JSON", ask("claims", "email"), "invalid_request"},
		{"a hint is ours", ask("id_token_hint", "a.b.c"), "invalid_request"},
		{"one subject is asked for", ask("claims", `{"id_token":{"sub":{"values":["a","b"]}}}`), "invalid_request"},
		{"a parameter is there once", ask() + "&scope=openid", "invalid_request"},
		{"the client is that of the proof", ask("client_id", "home"), "invalid_request"},
		{"a request_uri leads nowhere on", ask("request_uri", pushedPrefix+"x"), "invalid_request"},
		{"an object needs registered keys", ask("request", "a.b.c"), "request_not_supported"},
	} {
		t.Run(c.promise, func(t *testing.T) {
			s := newPusher(t)
			s.told(s.par(c.query), 400, c.want)
		})
	}
	s := newPusher(t)
	s.change("shop", func(c *Client) { c.Grants = []GrantType{ClientCredentials} })
	s.told(s.par(ask()), 400, "unauthorized_client")
	s.told(s.par(ask(), func(r *http.Request) {
		r.SetBasicAuth("shop", s.secret)
		r.Header.Set("Content-Type", "application/json")
	}), 400, "invalid_request")
	if w := httptest.NewRecorder(); true {
		s.ServeHTTP(w, httptest.NewRequest("GET", "/oauth/par?"+ask(), nil))
		if w.Code != 405 {
			t.Errorf("a GET is answered with %d", w.Code)
		}
	}
}

// A person may load the page again, sign in, and take long for it.
func TestAReloadBeforeTheAnswerIsNotPunished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPusher(t)
		s.takeBack()
		at := s.pushed(ask("x", strings.Repeat("y", 10<<10)))
		for range 3 {
			s.get(at, "")
			s.shows("sign-in")
		}
		if n := len(s.a.Resume()); n > 300 {
			t.Errorf("a request of 10 KiB is %d bytes in an address", n)
		}
		w := s.post(at, "") // as some clients send it
		s.follow(w, "")
		s.shows("sign-in")
		time.Sleep(50 * time.Minute)
		s.signIn("s2", "ann")
		for range 2 {
			s.send(httptest.NewRequest("GET", s.a.Resume(), nil), "s2")
			s.shows("consent")
		}
		s.code(s.decide("allow", "s2"), callback)
	})
}

func TestPromptLoginOfAPushedRequestCountsFromItsVisit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPusher(t)
		at := s.pushed(ask("prompt", "login"))
		time.Sleep(time.Second)
		s.signIn("s1", "ann")
		time.Sleep(time.Second)
		s.get(at, "s1")
		s.shows("sign-in")
		s.resume("s1")
		s.shows("sign-in")
		s.signIn("s1", "ann")
		s.code(s.resume("s1"), callback)
	})
}

// The attack: who has seen a request_uri, in a log or a history, brings it once more.
func TestAttackPARReuse(t *testing.T) {
	t.Run("after a code", func(t *testing.T) {
		s := newPusher(t)
		at := s.pushed(ask())
		s.code(s.get(at, "s1"), callback)
		s.faults(s.get(at, "s1"), "invalid_request_uri")
		s.faults(s.get(at, ""), "invalid_request_uri")
	})
	t.Run("from a page of before", func(t *testing.T) {
		s := newPusher(t)
		at := s.pushed(ask())
		s.get(at, "")
		s.shows("sign-in")
		page := s.a.Resume()
		s.code(s.get(at, "s1"), callback)
		s.faults(s.send(httptest.NewRequest("GET", page, nil), "s1"), "invalid_request_uri")
	})
	t.Run("in two tabs", func(t *testing.T) {
		s := newPusher(t)
		s.takeBack()
		at := s.pushed(ask())
		s.get(at, "s1")
		first := s.a.Flow()
		s.get(at, "s1")
		s.code(s.decide("allow", "s1"), callback)
		s.faults(s.post(url.Values{"flow": {first}, "decision": {"allow"}}.Encode(), "s1"), "invalid_request_uri")
		if len(s.shelf.codes) != 1 {
			t.Errorf("%d codes", len(s.shelf.codes))
		}
	})
	t.Run("after it was denied", func(t *testing.T) {
		s := newPusher(t)
		s.takeBack()
		at := s.pushed(ask())
		s.get(at, "s1")
		s.refused(s.decide("deny", "s1"), "access_denied")
		s.faults(s.get(at, "s1"), "invalid_request_uri")
	})
	t.Run("after its client was told of an error", func(t *testing.T) {
		s := newPusher(t)
		at := s.pushed(ask("prompt", "none"))
		s.refused(s.get(at, ""), "login_required")
		s.faults(s.get(at, "s1"), "invalid_request_uri")
	})
	t.Run("by 64 at once", func(t *testing.T) {
		s := newPusher(t)
		at := s.pushed(ask())
		var codes, refused atomic.Int32
		var wg sync.WaitGroup
		quiet := remade(t, s.Provider, func(o *Options) {
			o.People, o.Store = mute{s.stage}, s.shelf.Memory // that note nothing, for they would race
		})
		for range 64 {
			wg.Go(func() {
				r := httptest.NewRequest("GET", "/oauth/authorize?"+at, nil)
				r.AddCookie(&http.Cookie{Name: "sid", Value: "s1"})
				w := httptest.NewRecorder()
				quiet.authorize(w, r)
				switch {
				case strings.Contains(w.Header().Get("Location"), "code="):
					codes.Add(1)
				case w.Header().Get("Location") == "" && w.Code == 400:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if codes.Load() != 1 || refused.Load() != 63 {
			t.Errorf("%d codes and %d refusals", codes.Load(), refused.Load())
		}
	})
}

// A mute stage shows pages, and notes nothing.
type mute struct{ *stage }

func (mute) Fault(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(400) }

// What a failed answer has not told its client is good still.
func TestAStoreThatIsAwaySpendsNoPushedRequest(t *testing.T) {
	s := newPusher(t)
	at := s.pushed(ask())
	s.shelf.fails = func() error { return ErrFull }
	s.get(at, "s1")
	s.shows("fault")
	s.shelf.fails = nil
	s.code(s.get(at, "s1"), callback)
}

// The attack: an old request_uri.
func TestAttackPARExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPusher(t)
		at := s.pushed(ask())
		time.Sleep(pushedLife - time.Millisecond)
		s.get(at, "")
		s.shows("sign-in")
		page := s.a.Resume()
		time.Sleep(time.Millisecond)
		s.faults(s.get(at, "s1"), "invalid_request_uri")
		time.Sleep(flowLife)
		s.faults(s.send(httptest.NewRequest("GET", page, nil), "s1"), "invalid_request")
	})
}

// The attack: a client's request_uri under another client's name, whose page people trust.
func TestAttackPAROfAnotherClient(t *testing.T) {
	s := newPusher(t)
	at := s.pushed(ask())
	v, _ := url.ParseQuery(at)
	for _, client := range []string{"home", "firm", "nobody", "", "gone"} {
		s.faults(s.get(url.Values{"client_id": {client}, "request_uri": v["request_uri"]}.Encode(), "s1"), "invalid_request_uri")
	}
	s.code(s.get(at, "s1"), callback) // who tries spends nothing
}

// A fetch is noted by whom nothing should reach.
type fetches struct{ atomic.Int32 }

func (f *fetches) RoundTrip(r *http.Request) (*http.Response, error) {
	f.Add(1)
	return nil, http.ErrNotSupported
}

// The attack: a request_uri that has this server call what only it can reach (SSRF).
func TestAttackRequestURIElsewhere(t *testing.T) {
	s := newPusher(t)
	var f fetches
	s.Provider = remade(t, s.Provider, func(o *Options) { o.HTTP = &http.Client{Transport: &f} })
	for _, uri := range []string{
		"https://shop.example.net/request.jwt", "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:6379/", "HTTPS://shop.example.net/r",
		"file:///etc/passwd", "gopher://127.0.0.1/", "//evil.example.org", "urn:example:bwc4JK-ESC0w8acc191e-Y1LTC2", "urn:ietf:params:oauth:request_ur", "x",
		strings.ToUpper(pushedPrefix) + "x",
	} {
		s.refused(s.get(ask("request_uri", uri), "s1"), "request_uri_not_supported")
		s.refused(s.get(url.Values{"client_id": {"shop"}, "request_uri": {uri}}.Encode(), "s1"), "request_uri_not_supported")
	}
	for _, name := range []string{"", "x", "https://evil.example.org", "adm_o_", strings.Repeat("a", 2000)} {
		s.faults(s.get(ask("request_uri", pushedPrefix+name), "s1"), "invalid_request_uri")
	}
	if n := f.Load(); n > 0 || len(s.shelf.codes) > 0 {
		t.Errorf("%d fetches, %d codes", n, len(s.shelf.codes))
	}
}

// The attack: who stands between the client and the person adds to a request, or changes it.
func TestAttackParametersAreMixedIntoAPushedRequest(t *testing.T) {
	s := newPusher(t)
	s.change("shop", func(c *Client) { c.RedirectURIs = append(c.RedirectURIs, "https://shop.example.net/other") })
	for name, value := range map[string]string{
		"redirect_uri": "https://shop.example.net/other", "scope": "openid profile email offline_access", "state": "another", "nonce": "another",
		"code_challenge": strings.Repeat("A", 43), "response_type": "token", "response_mode": "form_post", "prompt": "consent", "max_age": "0",
		"claims": `{"id_token":{"email":null}}`, "resource": "https://pay.example.org", "login_hint": "eve", "acr_values": "phr", "registration": "{}",
	} {
		at := s.pushed(ask("nonce", "n-1"))
		w := s.get(at+"&"+url.Values{name: {value}}.Encode(), "s1")
		c := s.code(w, callback)
		if c.Asked.Nonce != "n-1" || c.Asked.Challenge != challenge || !slices.Equal(c.Asked.Scopes, []string{"openid", "profile"}) || len(c.Asked.Audiences) > 0 || c.Asked.Claims != nil || s.answer(w, callback).Get("state") != "xyz" {
			t.Errorf("with %s it is %+v", name, c.Asked)
		}
	}
	at := s.pushed(ask())
	other := s.pushed(ask("scope", "openid"))
	for name, query := range map[string]string{
		"two clients":             at + "&client_id=home",
		"the same client twice":   at + "&client_id=shop",
		"two pushed requests":     at + "&" + strings.TrimPrefix(other, "client_id=shop&"),
		"something there twice":   at + "&state=a&state=b",
		"a request object beside": at + "&request=a.b.c",
	} {
		if w := s.get(query, "s1"); s.shown != "fault" || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d, page %q to %q", name, w.Code, s.shown, w.Header().Get("Location"))
		}
	}
	s.code(s.get(at, "s1"), callback)
}

// The attack: whoever likes pushes in the name of a client.
func TestAttackPushWithoutAuthentication(t *testing.T) {
	s := newPusher(t)
	_, wrong := NewSecret()
	s.change("home", func(c *Client) { c.Secrets = []ClientSecret{wrong} })
	for name, how := range map[string]func(*http.Request){
		"no proof":                nobody,
		"a wrong secret":          func(r *http.Request) { r.SetBasicAuth("shop", "adm_c_wrong") },
		"no secret":               func(r *http.Request) { r.SetBasicAuth("shop", "") },
		"nobody's id":             func(r *http.Request) { r.SetBasicAuth("nobody", s.secret) },
		"a client that has ended": func(r *http.Request) { r.SetBasicAuth("gone", s.secret) },
	} {
		t.Run(name, func(t *testing.T) {
			q := ask()
			if name != "no proof" {
				q = ask("client_id", "")
			}
			w := s.par(q, how)
			s.told(w, 401, "invalid_client")
			if w.Header().Get("WWW-Authenticate") == "" {
				t.Error("a 401 without WWW-Authenticate")
			}
		})
	}
	s.told(s.par(ask("client_id", "home"), func(r *http.Request) { r.SetBasicAuth("shop", s.secret) }), 400, "invalid_request")
	firm := func(more ...string) string {
		return ask(append([]string{"client_id", "firm", "client_assertion_type", assertionType}, more...)...)
	}
	for name, claims := range map[string]map[string]any{
		"the endpoint as audience":       {"aud": "https://id.example.org/oauth/par"},
		"the token endpoint as audience": {"aud": "https://id.example.org/oauth/token"},
		"a list of audiences":            {"aud": []string{"https://id.example.org"}},
		"expired":                        {"exp": 1},
	} {
		t.Run(name, func(t *testing.T) {
			s.told(s.par(firm("client_assertion", s.sign("JWT", claims)), nobody), 401, "invalid_client")
		})
	}
	once := s.sign("JWT", nil)
	s.told(s.par(firm("client_assertion", s.sign("JWT", nil), "scope", "admin"), nobody), 400, "invalid_scope")
	at := s.pushed(firm("client_assertion", once), nobody)
	for _, p := range s.shelf.pushed {
		if strings.Contains(p.Query, "assertion") {
			t.Errorf("the proof is kept: %s", p.Query)
		}
	}
	s.code(s.get(at, "s1"), callback)
	s.told(s.par(firm("client_assertion", once), nobody), 401, "invalid_client") // a replay
}

// The attack: requests as large as they come.
func TestAttackOversizedPush(t *testing.T) {
	s := newPusher(t)
	big := strings.Repeat("a", 15<<10)
	s.told(s.par(ask("x", big, "y", big)), 413, "invalid_request")
	s.told(s.par(ask()+strings.Repeat("&a=b", 20<<10)), 413, "invalid_request")
	s.told(s.par(ask("x", strings.Repeat("a", maxParam+1))), 400, "invalid_request")
	s.told(s.par(ask()+strings.Repeat("&a=b", 20<<10), func(r *http.Request) {
		r.SetBasicAuth("shop", s.secret)
		r.ContentLength = -1 // it does not say how long it is
	}), 400, "invalid_request")
	s.code(s.get(s.pushed(ask("x", big)), "s1"), callback)
}

// The attack: strangers push under the name of a public client, until the disk is full.
func TestAttackPushFloodByAPublicClient(t *testing.T) {
	s := newPusher(t)
	for range 100 {
		s.pushed(askPhone(), nobody)
	}
	if n := len(s.shelf.pushed) + len(s.shelf.spent); n > 0 || s.shelf.writes > 0 {
		t.Errorf("%d records and %d writes", n, s.shelf.writes)
	}
	// Nor by having each come to nothing, for which nobody need be signed in.
	for range 100 {
		if w := s.get(s.pushed(askPhone("prompt", "none"), nobody), ""); s.answer(w, "http://127.0.0.1:5/cb").Get("error") != "login_required" {
			t.Errorf("the answer is %v", w.Header())
		}
	}
	if n := len(s.shelf.spent); n > 0 || s.shelf.writes > 0 {
		t.Errorf("%d records and %d writes", n, s.shelf.writes)
	}
	s.told(s.par(askPhone("x", strings.Repeat("a", 5<<10)), nobody), 413, "invalid_request")
}

// The attack: where clients register themselves, a stranger has a secret like any other,
// and pushes with that.
func TestAttackPushFloodByAClientThatRegisteredItself(t *testing.T) {
	s := newPusher(t)
	s.change("shop", func(c *Client) { c.Registered = &Registered{} })
	at := ""
	for range 100 {
		at = s.pushed(ask())
	}
	if n := len(s.shelf.pushed) + len(s.shelf.spent); n > 0 || s.shelf.writes > 0 {
		t.Errorf("%d records and %d writes", n, s.shelf.writes)
	}
	s.get(at, "s1")
	s.code(s.decide("allow", "s1"), callback)
	s.change("shop", func(c *Client) { c.Registered.Invite = "x" })
	s.pushed(ask())
	if len(s.shelf.pushed) != 1 {
		t.Error("what an invited client pushes is not kept")
	}
}

// askPhone is a good request of the phone, which is a public client.
func askPhone(changes ...string) string {
	return ask(append([]string{"client_id", "phone", "redirect_uri", "http://127.0.0.1:5/cb", "scope", "openid"}, changes...)...)
}

// What is not kept is good once, for as long, and for its client alone, too.
func TestAttackAPublicClientsPushedRequestIsMisused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const back = "http://127.0.0.1:5/cb"
		s := newPusher(t)
		at := s.pushed(askPhone("nonce", "n-1", "x", strings.Repeat("a", 3<<10)), nobody)
		s.get(at, "")
		s.shows("sign-in")
		old := s.a.Resume()
		s.get(at+"&nonce=n-2&scope=x&redirect_uri=https://evil.example.org", "s1")
		s.shows("consent")
		first := s.a.Flow()
		s.get(at, "s1")
		time.Sleep(30 * time.Minute)
		if c := s.code(s.decide("allow", "s1"), back); c.Asked.Nonce != "n-1" {
			t.Errorf("it is %+v", c.Asked)
		}
		s.faults(s.post(url.Values{"flow": {first}, "decision": {"allow"}}.Encode(), "s1"), "invalid_request_uri")
		s.faults(s.send(httptest.NewRequest("GET", old, nil), "s1"), "invalid_request_uri")

		at = s.pushed(askPhone("prompt", "none"), nobody)
		v, _ := url.ParseQuery(at)
		for _, client := range []string{"shop", "home", ""} {
			s.faults(s.get(url.Values{"client_id": {client}, "request_uri": v["request_uri"]}.Encode(), "s1"), "invalid_request_uri")
		}
		s.change("phone", func(c *Client) { c.Scopes = nil })
		if w := s.get(at, "s1"); s.answer(w, back).Get("error") != "invalid_scope" {
			t.Errorf("the answer is %v", w.Header())
		}
		s.change("phone", func(c *Client) { c.Scopes = []string{"openid"} })
		s.faults(s.get(at, "s1"), "invalid_request_uri")

		at = s.pushed(askPhone(), nobody)
		time.Sleep(pushedLife)
		s.faults(s.get(at, "s1"), "invalid_request_uri")
		// What is sealed for a page is no pushed request, nor the other way about.
		s.get(askPhone("prompt", "login"), "")
		page := s.a.Flow()
		s.faults(s.get(url.Values{"client_id": {"phone"}, "request_uri": {pushedPrefix + page}}.Encode(), "s1"), "invalid_request_uri")
		at = s.pushed(askPhone(), nobody)
		v, _ = url.ParseQuery(at)
		s.faults(s.get("flow="+url.QueryEscape(strings.TrimPrefix(v.Get("request_uri"), pushedPrefix)), "s1"), "invalid_request")

		s.change("phone", func(c *Client) { c.RequirePushed = true })
		s.get(s.pushed(askPhone("prompt", "login"), nobody), "")
		s.shows("sign-in")
		time.Sleep(time.Second)
		s.signIn("s1", "ann")
		s.code(s.resume("s1"), back)
	})
}

func TestAClientThatMustPushIsAnsweredForPushedRequestsAlone(t *testing.T) {
	s := newPusher(t)
	s.change("shop", func(c *Client) { c.RequirePushed = true })
	s.refused(s.get(ask(), "s1"), "invalid_request")
	s.get(ask(), "")
	s.code(s.get(s.pushed(ask()), "s1"), callback)
	s.get(s.pushed(ask()), "")
	s.shows("sign-in")
	s.code(s.resume("s1"), callback)
}

func FuzzPushed(f *testing.F) {
	s := newPusher(f)
	f.Add("client_id=shop&request_uri=" + pushedPrefix)
	f.Add(s.pushed(ask()) + "&state=x")
	f.Add(ask("request", "a.b.c"))
	f.Fuzz(func(t *testing.T, query string) {
		stage := *s.stage
		stage.TB = t
		s := &pusher{&stage, s.secret, s.key}
		w := s.par(query)
		if w.Code == 201 && len(s.shelf.pushed) == 0 || w.Code >= 500 {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
		w = httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/oauth/authorize", nil)
		r.URL.RawQuery = query
		s.ServeHTTP(w, r)
		if to := w.Header().Get("Location"); to != "" && !strings.HasPrefix(to, callback+"?") && !strings.HasPrefix(to, "https://home.example.org/cb?a=b&") && !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "org.example.phone:/cb?") {
			t.Errorf("%q leads to %s", query, to)
		}
	})
}
