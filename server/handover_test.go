package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

const (
	shopSecret = "the shop proves itself with this one"
	newsSecret = "the news prove themselves with this."
	shopHost   = "https://shop.example.net"
	newsHost   = "https://news.example.com"
)

// handing has a server hand sign-ins over to a shop and to a newspaper.
func handing(c *server.Config) {
	c.HandoverSites = []string{"shop=" + shopHost + "/arrive", "news=" + newsHost + "/arrive"}
	c.HandoverSecrets = admit.NewSecret("shop=" + strings.ReplaceAll(shopSecret, " ", "-") + " news=" + strings.ReplaceAll(newsSecret, " ", "-"))
}

func secretOf(text string) admit.Secret { return admit.NewSecret(strings.ReplaceAll(text, " ", "-")) }

// A house is a server with two sites of other domains, all without a network in
// between.
type house struct {
	*site
	hosts map[string]http.Handler
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{newSite(t, handing), map[string]http.Handler{}}
	h.hosts["localhost"] = h.handler
	h.hosts["shop.example.net"] = h.target("shop", secretOf(shopSecret))
	h.hosts["news.example.com"] = h.target("news", secretOf(newsSecret))
	return h
}

// RoundTrip implements http.RoundTripper.
func (h *house) RoundTrip(r *http.Request) (*http.Response, error) {
	to := h.hosts[r.URL.Host]
	if to == nil {
		return nil, errors.New("no such host: " + r.URL.Host)
	}
	in := r.Clone(r.Context())
	in.Host, in.RequestURI, in.RemoteAddr = r.URL.Host, r.URL.RequestURI(), "127.0.0.1:4711"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	to.ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, nil
}

// target is a site that asks the server each time.
func (h *house) target(name string, secret admit.Secret) http.Handler {
	h.t.Helper()
	target, err := handover.NewTarget("http://localhost/handover", name, secret, &handover.TargetOptions{
		Calls: "http://localhost/api/v1/handover", Transport: h, Remember: -1,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	sessions, err := session.New[struct{}](session.NewMemory(nil), &session.Options{Parents: target})
	if err != nil {
		h.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/begin", func(w http.ResponseWriter, r *http.Request) {
		if err := target.Begin(w, r, "/cart"); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("/arrive", func(w http.ResponseWriter, r *http.Request) {
		arrival, err := target.Arrive(w, r)
		if err == nil {
			_, err = sessions.Start(w, r, arrival.Subject, arrival.StartOptions())
		}
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, arrival.ReturnTo, http.StatusSeeOther)
	})
	mux.HandleFunc("/signout", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		info, err := sessions.Check(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		fmt.Fprintf(w, "%s: %s, %v", r.URL.Path, info.Subject, info.AMR())
	})
	return mux
}

// A surfer goes from site to site.
type surfer struct {
	*client
	http *http.Client
}

func (h *house) surfer(name string) *surfer {
	h.t.Helper()
	c := h.client()
	if name != "" {
		c = h.signedUp(name)
	}
	return &surfer{c, &http.Client{Jar: c.jar, Transport: h}}
}

// wants fails the test unless an address leads to this answer.
func (s *surfer) wants(at string, status int, text string) {
	s.t.Helper()
	res, err := s.http.Get(at)
	if err != nil {
		s.t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body) // of memory
	if res.StatusCode != status || !strings.Contains(string(body), text) {
		s.t.Fatalf("%s leads to %s: %d %s, want %d %s", at, res.Request.URL, res.StatusCode, body, status, text)
	}
}

// step follows no redirect, and returns where it leads.
func (s *surfer) step(at string) *url.URL {
	s.t.Helper()
	c := *s.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Get(at)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := res.Location()
	if err != nil {
		body, _ := io.ReadAll(res.Body) // of memory
		s.t.Fatalf("%s: %d %s", at, res.StatusCode, body)
	}
	return to
}

// code is one on its way to the shop, and the verifier that stayed in the browser.
func (s *surfer) code() (code, verifier string) {
	s.t.Helper()
	begun := s.step(shopHost + "/begin")
	arrival := s.step(begun.String())
	u, _ := url.Parse(shopHost + "/arrive")
	for _, c := range s.jar.Cookies(u) {
		if strings.HasSuffix(c.Name, begun.Query().Get("state")) {
			verifier, _, _ = strings.Cut(c.Value, ".")
		}
	}
	return arrival.Query().Get("code"), verifier
}

// by proves a request to be a site's.
func by(name, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, secretOf(secret).Reveal()) }
}

// asShop asks as the shop's server does.
func (s *site) asShop(what string, body any) *reply {
	s.t.Helper()
	return s.client().post("handover/"+what, body, by("shop", shopSecret))
}

func TestAStrangerSignsInAndComesBackToTheSite(t *testing.T) {
	h := newHouse(t)
	h.signedUp("ann")
	ann := h.surfer("")
	begun := ann.step(shopHost + "/begin")
	signIn := ann.step(begun.String())
	if signIn.Path != "/signin" {
		t.Fatalf("a stranger is led to %s", signIn)
	}
	page := ann.page("GET", signIn.RequestURI(), nil).want(200)
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' "+shopHost+" "+newsHost+";") {
		t.Errorf("a browser would stop the form's redirect to the shop: %s", policy)
	}
	back := signIn.Query().Get("return_to")
	ann.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {goodPassword}, "return_to": {back}}).leads(back)
	ann.wants("http://localhost"+back, 200, "/cart: ")
	ann.wants(shopHost+"/", 200, "[pwd]")
	ann.wants(newsHost+"/begin", 200, "/cart: ") // nobody asks again
}

func TestAGuestSignsInBeforeAHandOver(t *testing.T) {
	h := newHouse(t)
	guest := h.surfer("")
	guest.post("guest", nil).want(201)
	if to := guest.step(guest.step(shopHost + "/begin").String()); to.Path != "/signin" {
		t.Errorf("a guest is led to %s", to)
	}
}

func TestWhatEndsHereEndsAtTheSitesAndTheOtherWayRound(t *testing.T) {
	for name, end := range map[string]func(h *house, ann *surfer){
		"the page to sign out":  func(h *house, ann *surfer) { ann.page("POST", "/signout", url.Values{}).leads("/") },
		"a sign-out by the API": func(h *house, ann *surfer) { ann.post("signout", nil).want(204) },
		"the list of sessions": func(h *house, ann *surfer) {
			sid := ann.get("session").want(200).at("session.sid")
			h.another("ann", goodPassword).delete("sessions/" + sid).want(204)
		},
		"all others at once": func(h *house, ann *surfer) { h.another("ann", goodPassword).delete("sessions").want(204) },
		"the operator": func(h *house, ann *surfer) {
			sid := ann.get("session").want(200).at("session.sid")
			h.administrator().delete("admin/sessions/" + sid + "?reason=x").want(204)
		},
		"a user who is disabled": func(h *house, ann *surfer) {
			h.administrator().patch("admin/users/ann", m{"disabled": true}).want(200)
		},
		"a site":       func(h *house, ann *surfer) { ann.wants(shopHost+"/signout", 200, "") },
		"another site": func(h *house, ann *surfer) { ann.wants(newsHost+"/signout", 200, "") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			ann := h.surfer("ann")
			ann.wants(shopHost+"/begin", 200, "/cart: ")
			ann.wants(newsHost+"/begin", 200, "/cart: ")
			end(h, ann)
			ann.get("session").want(401, "session_ended", "no_session")
			// A browser that has signed out there has no cookie any more.
			ann.wants(shopHost+"/", 401, "session")
			ann.wants(newsHost+"/", 401, "session")
			ann.wants(shopHost+"/begin", 200, "<form") // to sign in
		})
	}
}

func TestWhoWasSignedOutAtASiteIsToldSo(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	ann.wants(shopHost+"/begin", 200, "/cart: ")
	ann.wants(shopHost+"/signout", 200, "")
	if r := ann.get("session").want(401, "session_ended"); r.at("reason") != "ended_at_site" {
		t.Errorf("the reason is %q", r.at("reason"))
	}
	ann.page("GET", "/signin", nil).says("You were signed out at another site that you had gone to from here.")
	ann.page("GET", "/signin?lang=zh-CN", nil)
	ann.page("GET", "/signin", nil).says("您在另一个沿用此登录的网站退出了登录。")
}

func TestHandOversStandInTheAuditAndInTheActivity(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	sid := ann.get("session").want(200).at("session.sid")
	ann.wants(shopHost+"/begin", 200, "/cart: ")
	h.asShop("redeem", m{"code": "adm_o_nothing", "verifier": "x"}).want(400, "handover_code")
	h.client().post("handover/redeem", m{"code": "x", "verifier": "x"}, by("shop", newsSecret)).want(403, "handover_site")
	h.asShop("end", m{"sid": sid, "reason": "left\u202e by\nthe door" + strings.Repeat("x", 200)}).want(200)
	got := map[string]m{}
	root := h.administrator()
	for _, r := range root.get("admin/audit?limit=50").want(200).m["records"].([]any) {
		event := r.(m)["event"].(string)
		got[event+" "+fmt.Sprint(r.(m)["detail"])] = r.(m)
	}
	for key, want := range map[string]m{
		"handed_over shop":           {"sid": sid},
		"hand_over_refused shop":     {},
		"hand_over_refused ":         {},
		"session_ended_at_site shop": {"sid": sid},
	} {
		r, ok := got[key]
		if !ok {
			t.Errorf("no record %s among %v", key, got)
		}
		if want["sid"] != nil && r["sid"] != want["sid"] {
			t.Errorf("%s: %v", key, r)
		}
	}
	if why := fmt.Sprint(got["session_ended_at_site shop"]["reason"]); !strings.HasPrefix(why, "left bythe doorxxx") || len(why) != 100 {
		t.Errorf("the site's words are kept as %q", why)
	}
	activity := h.another("ann", goodPassword).get("activity").want(200)
	for _, want := range []string{"Another site took the sign-in over", "A session was ended at another site that had taken it over"} {
		if !strings.Contains(string(activity.body), want) {
			t.Errorf("the activity does not say %q: %s", want, activity.body)
		}
	}
}

func TestAttackAnUnregisteredSiteAsksForACode(t *testing.T) {
	h := newHouse(t)
	for name, ann := range map[string]*surfer{"ann": h.surfer("ann"), "a stranger": h.surfer("")} {
		good := ann.step(shopHost + "/begin")
		for what, change := range map[string][2]string{
			"an unknown site":      {"site", "evil"},
			"an address as a site": {"site", "https://evil.example/arrive"},
			"another spelling":     {"site", "SHOP"},
			"no site":              {"site", ""},
			"no challenge":         {"challenge", ""},
			"a short challenge":    {"challenge", "abc"},
			"a state with markup":  {"state", "<script>"},
			"no state":             {"state", ""},
		} {
			q := good.Query()
			q.Set(change[0], change[1])
			r := ann.page("GET", "/handover/begin?"+q.Encode(), nil)
			if (r.status != 403 && r.status != 400) || r.header.Get("Location") != "" || strings.Contains(string(r.body), "<script>") {
				t.Errorf("%s with %s: %d to %q", name, what, r.status, r.header.Get("Location"))
			}
		}
		// Whatever else stands there changes no target.
		q := good.Query()
		for _, name := range []string{"callback", "redirect_uri", "return_to", "to"} {
			q.Set(name, "https://evil.example/")
		}
		if to := ann.step("http://localhost/handover/begin?" + q.Encode()); to.Host == "evil.example" {
			t.Errorf("%s is led to %s", name, to)
		}
	}
}

func TestRefusalsAtBeginArePagesInTheReadersLanguage(t *testing.T) {
	h := newHouse(t)
	for lang, text := range map[string]string{"en": "No site is registered here that may ask for this.", "zh-CN": "这里没有登记可以这样请求的网站。"} {
		h.client().page("GET", "/handover/begin?site=evil", nil, func(r *http.Request) { r.Header.Set("Accept-Language", lang) }).want(403).says(text)
	}
	newSite(t).client().page("GET", "/handover/begin?site=shop", nil).want(403)
}

func TestAttackAReplayedCodeIsRefusedByTheServer(t *testing.T) {
	h := newHouse(t)
	code, verifier := h.surfer("ann").code()
	in := m{"code": code, "verifier": verifier}
	h.asShop("redeem", in).want(200)
	h.asShop("redeem", in).want(400, "handover_code")
}

func TestOfTwentyWhoRedeemACodeAtOnceOneIsAnswered(t *testing.T) {
	h := newHouse(t)
	code, verifier := h.surfer("ann").code()
	var good atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if h.asShop("redeem", m{"code": code, "verifier": verifier}).status == http.StatusOK {
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Errorf("%d of 20 redeemed one code", good.Load())
	}
}

func TestAttackACodeOfAnotherSite(t *testing.T) {
	h := newHouse(t)
	code, verifier := h.surfer("ann").code() // for the shop
	in := m{"code": code, "verifier": verifier}
	h.client().post("handover/redeem", in, by("news", newsSecret)).want(400, "handover_code")
	h.asShop("redeem", in).want(400, "handover_code") // and it is spent by that
}

func TestAttackAForgedChallenge(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	code, _ := ann.code()
	_, other := ann.code() // another flow's of the same browser
	h.asShop("redeem", m{"code": code, "verifier": other}).want(400, "handover_code")
	for _, verifier := range []string{"", "guessed", strings.Repeat("a", 5000)} {
		code, _ := ann.code()
		h.asShop("redeem", m{"code": code, "verifier": verifier}).want(400, "handover_code")
	}
}

func TestAttackAServerWithoutTheSecretOfASite(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	code, verifier := ann.code()
	sid := ann.get("session").want(200).at("session.sid")
	for name, change := range map[string]func(*http.Request){
		"nothing":               func(*http.Request) {},
		"another site's secret": by("shop", newsSecret),
		"no secret":             by("shop", ""),
		"no name":               by("", shopSecret),
		"an unknown site":       by("evil", shopSecret),
		"a cookie of ann's": func(r *http.Request) {
			for _, c := range ann.jar.Cookies(&url.URL{Scheme: "http", Host: "localhost"}) {
				r.AddCookie(c)
			}
		},
		"a bearer token": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretOf(shopSecret).Reveal()) },
	} {
		for call, in := range map[string]m{"redeem": {"code": code, "verifier": verifier}, "alive": {"sid": sid}, "end": {"sid": sid}} {
			if r := h.client().post("handover/"+call, in, change); r.status != 403 || r.at("code") != "handover_site" {
				t.Errorf("%s with %s: %d %s", call, name, r.status, r.body)
			}
		}
	}
	h.asShop("redeem", m{"code": code, "verifier": verifier}).want(200) // nothing was spent by that
	ann.get("session").want(200)
}

func TestASecretIsNotTakenOverTheNetworkInTheClear(t *testing.T) {
	h := newHouse(t)
	h.client().post("handover/alive", m{"sid": "x"}, by("shop", shopSecret), func(r *http.Request) { r.RemoteAddr = "10.0.0.7:4711" }).want(403, "https_required")
}

// A page of somebody else's sends ann's browser to begin, with a challenge that he
// knows the verifier of. The code goes to the shop, whose cookie is wanting.
func TestAttackCSRFAtBegin(t *testing.T) {
	h := newHouse(t)
	ann, mallory := h.surfer("ann"), h.surfer("")
	begun := mallory.step(shopHost + "/begin")
	arrival := ann.step(begun.String())
	ann.wants(arrival.String(), 403, "handover_unsolicited")
	ann.wants(shopHost+"/", 401, "no_session")
	// And there is no way in but a visit: not by a form, nor in a frame.
	ann.page("POST", begun.RequestURI(), url.Values{}).want(405)
	if policy := ann.page("GET", begun.RequestURI(), nil).header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("begin may be framed: %s", policy)
	}
	// A page that sends her on and on is stopped before the store is full.
	stopped := false
	for range 100 {
		stopped = ann.page("GET", begun.RequestURI(), nil).status == 429
	}
	if !stopped {
		t.Error("100 codes were made at once for one user")
	}
	h.surfer("bob").wants(shopHost+"/begin", 200, "/cart: ")
}

func TestTheCodeStandsInNoLogAndItsAddressIsToldToNobody(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	begun := ann.step(shopHost + "/begin")
	r := ann.page("GET", begun.RequestURI(), nil).want(303)
	if h := r.header; h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("the redirect has %v", h)
	}
	to, _ := url.Parse(r.header.Get("Location"))
	code := to.Query().Get("code")
	h.asShop("redeem", m{"code": code, "verifier": "x"}).want(400)
	if log := h.log.String(); code == "" || strings.Contains(log, code) || strings.Contains(log, secretOf(shopSecret).Reveal()) {
		t.Errorf("%q or a secret is in the log:\n%s", code, log)
	}
}

// A service is sent the JWTs of users; with one it would take their sessions
// along to a site, as itself.
func TestAttackAServiceTakesAUsersSessionAlongByItsJWT(t *testing.T) {
	s := newSite(t, handing, func(c *server.Config) { c.Audiences = []string{"https://api.example.org", "http://localhost"} })
	s.signedUp("ann")
	a := s.appOf("ann")
	q := url.Values{"site": {"shop"}, "challenge": {strings.Repeat("a", 43)}, "state": {strings.Repeat("a", 22)}}
	r := s.client().page("GET", "/handover/begin?"+q.Encode(), nil, withBearer(a.token))
	if r.status != 403 || r.header.Get("Location") != "" {
		t.Errorf("a JWT that others see: %d to %q", r.status, r.header.Get("Location"))
	}
}

func TestASessionThatEndedIsNotHandedOver(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	code, verifier := ann.code()
	ann.post("signout", nil).want(204)
	h.asShop("redeem", m{"code": code, "verifier": verifier}).want(401, "session_ended")
}

func TestWhoMustChooseANewPasswordIsNotHandedOver(t *testing.T) {
	h := newHouse(t)
	h.signedUp("ann").disown(nil)
	ann := h.surfer("")
	ann.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	if to := ann.step(ann.step(shopHost + "/begin").String()); to.Path != "/account/security" {
		t.Errorf("ann is led to %s", to)
	}
}

func TestACodeOnItsWayIsNoSession(t *testing.T) {
	h := newHouse(t)
	ann := h.surfer("ann")
	code, verifier := ann.code()
	root := h.administrator()
	if n := len(root.get("admin/sessions").want(200).m["sessions"].([]any)); n != 2 {
		t.Errorf("%d sessions are listed, want those of ann and root", n)
	}
	if n := root.delete("admin/sessions?reason=x").want(200).m["ended"]; fmt.Sprint(n) != "2" {
		t.Errorf("%v sessions were ended", n)
	}
	h.asShop("redeem", m{"code": code, "verifier": verifier}).want(401, "session_ended")
}

func TestSitesAreRegisteredWithASecretOrNotAtAll(t *testing.T) {
	const good = "shop=https://shop.example.net/arrive"
	long := strings.Repeat("s", 32)
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets")
	for _, c := range []struct {
		name  string
		sites string
		text  string // of the file; "" for none
		env   []string
		says  string // "" where it is good
	}{
		{"a site with its secret in a file", good, "# of the shop\n\nshop=" + long + "=\r\n", nil, ""},
		{"a site with its secret in a variable", good, "", []string{"ADMIT_HANDOVER_SECRETS=shop=" + long}, ""},
		{"two sites", good + ",news=https://news.example.com:8443/a/b", "shop=" + long + "\nnews=" + long, nil, ""},
		{"one URL under two names, while a secret is changed", good + ",shop-2=https://shop.example.net/arrive", "shop=" + long + "\nshop-2=" + long, nil, ""},
		{"a loopback site over HTTP", "shop=http://127.0.0.1:8086/arrive", "shop=" + long, nil, ""},
		{"no secret", good, "", nil, "handover_sites: shop: The settings of hand-overs do not fit together. its secret is missing: give shop=SECRET"},
		{"a short secret", good, "shop=short-and-told-to-nobody", nil, "its secret is shorter than 32 characters"},
		{"an empty secret", good, "shop=", nil, "its secret is shorter than 32 characters"},
		{"a secret with a space", good, "shop=" + long + " told-to-nobody", nil, "secrets:1: The secrets of hand-overs cannot be read."},
		{"a secret without a name", good, "#\nshop=" + long + "\n" + long + "-told-to-nobody", nil, "secrets:3: The secrets"},
		{"a secret twice", good, "shop=" + long + "\nshop=" + long, nil, "secrets:2: "},
		{"a secret of no site", good, "shop=" + long + "\nnews=" + long, nil, "news: The settings of hand-overs do not fit together. it has a secret but no URL"},
		{"two places of secrets", good, "shop=" + long, []string{"ADMIT_HANDOVER_SECRETS=shop=" + long}, "not from both"},
		{"a name twice", good + "," + good, "shop=" + long, nil, "each needs a name of its own"},
		{"plain HTTP", "shop=http://shop.example.net/arrive", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a loopback site of a public server", "shop=http://localhost:8086/arrive", "shop=" + long, []string{"ADMIT_PUBLIC_URL=https://id.example.org", "ADMIT_TRUSTED_PROXY=127.0.0.1"}, "to which the public cannot be sent"},
		{"no URL", "shop", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a host without a path", "shop=https://shop.example.net", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a query", "shop=https://shop.example.net/arrive?a=b", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a bare question mark", "shop=https://shop.example.net/arrive?", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a fragment", "shop=https://shop.example.net/arrive#", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a password in the URL", "shop=https://a:b@shop.example.net/arrive", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a policy in the host", "shop=https://a;script-src/arrive", "shop=" + long, nil, "handover-sites: A setting cannot have this value: "},
		{"a name with a colon", "a:b=https://shop.example.net/arrive", "", nil, "handover-sites: A setting cannot have this value: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			flags := map[string][]string{"handover-sites": {c.sites}}
			if c.text != "" {
				if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
				flags["handover-secrets-file"] = []string{file}
			}
			env := slices.Clone(c.env)
			var said strings.Builder
			for _, err := range server.CheckConfig("", env, flags) {
				r := server.RefusalOf(err)
				fmt.Fprintln(&said, r.Detail, r.Hint)
			}
			if (c.says == "") != (said.Len() == 0) || !strings.Contains(said.String(), c.says) {
				t.Errorf("it is said:\n%s\nwant %q", &said, c.says)
			}
			if strings.Contains(said.String(), long) || strings.Contains(said.String(), "told-to-nobody") {
				t.Errorf("a secret is told:\n%s", &said)
			}
			if cfg, err := server.LoadConfig("", env, flags); err == nil {
				var printed strings.Builder
				if err := cfg.Print(&printed); err != nil || strings.Contains(printed.String(), long) {
					t.Errorf("printed: %v\n%s", err, &printed)
				}
			}
		})
	}
	if errs := server.CheckConfig("", nil, map[string][]string{"handover-sites": {good}, "handover-secrets-file": {filepath.Join(dir, "none")}}); len(errs) != 1 || !errors.Is(errs[0], server.ErrSiteSecrets) {
		t.Errorf("a file that is not there: %v", errs)
	}
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data, cfg.HandoverSites = "", t.TempDir(), []string{good}
	if s, err := server.New(t.Context(), cfg); !errors.Is(err, server.ErrSites) {
		t.Errorf("a server starts with a site that has no secret: %v", err)
		s.Close()
	}
}

func TestSitesAndTheirSecretsAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	var cfg server.Config
	s := newSite(t, func(c *server.Config) { c.HandoverSecretsFile = file; cfg = *c })
	s.asShop("alive", m{"sid": "x"}).want(403, "handover_site")
	write("shop=" + secretOf(shopSecret).Reveal())
	cfg.HandoverSites = []string{"shop=" + shopHost + "/arrive"}
	found, err := s.server.Reload(t.Context(), cfg)
	if err != nil || !slices.Equal(found.Changed, []string{"handover_sites"}) {
		t.Fatalf("%v, %v", found, err)
	}
	s.asShop("alive", m{"sid": "x"}).want(200)
	write("shop=" + secretOf(newsSecret).Reveal()) // the old one has leaked
	if _, err := s.server.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	s.asShop("alive", m{"sid": "x"}).want(403, "handover_site")
	write("shop=short")
	if _, err := s.server.Reload(t.Context(), cfg); !errors.Is(err, server.ErrSites) {
		t.Errorf("a short secret is taken: %v", err)
	}
	s.client().post("handover/alive", m{"sid": "x"}, by("shop", newsSecret)).want(200) // the last good one holds
}

func TestWhoIsRefusedOftenIsToldToWaitAndTheGoodOneIsNot(t *testing.T) {
	h := newHouse(t)
	guess := func() *reply {
		return h.client().post("handover/redeem", m{"code": "x", "verifier": "x"}, by("shop", newsSecret))
	}
	again(60, guess).want(429, "too_many_tries")
	ann := h.surfer("ann")
	ann.wants(shopHost+"/begin", 200, "/cart: ") // from the same address
}

// handedFrom is a house in the place of a site that hands nothing over.
func handedFrom(s *site) *house { return newHouse(s.t) }

// siteAsks is a call by the server of a site, or of who says to be one.
func siteAsks(call string, in m, name string) trial {
	return func(s *site) *reply {
		return handedFrom(s).client().post("handover/"+call, in, by(name, shopSecret))
	}
}

func siteFlood(call string, in m) trial {
	return func(s *site) *reply {
		h := handedFrom(s)
		return again(60, func() *reply { return h.client().post("handover/"+call, in) })
	}
}
