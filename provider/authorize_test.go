package provider

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

func TestWhoAllowsAClientIsSentBackWithACode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		if w := s.get(ask("nonce", "n-1", "resource", "https://api.example.org", "login_hint", "ann@example.org", "ui_locales", "zh-CN en"), ""); w.Code != 200 {
			t.Errorf("status %d", w.Code)
		}
		s.shows("sign-in")
		if s.a.Why != Nobody || s.a.LoginHint != "ann@example.org" || !slices.Equal(s.a.Locales, []string{"zh-CN", "en"}) {
			t.Errorf("the sign-in page is told %+v", s.a)
		}
		time.Sleep(time.Second)
		s.signIn("s1", "ann")
		s.resume("s1")
		s.shows("consent")
		if !slices.Equal(s.a.New, []string{"openid", "profile"}) || !slices.Equal(s.a.NewAudiences, []string{"https://api.example.org"}) || s.a.Client.ID != "shop" || s.a.Endpoint() != "/oauth/authorize" {
			t.Errorf("the consent page is told %+v", s.a)
		}
		w := s.decide("allow", "s1")
		v := s.answer(w, callback)
		if v.Get("state") != "xyz" || len(v) != 3 {
			t.Errorf("the answer is %v", v)
		}
		code, err := token.Parse(token.OneTime, v.Get("code"))
		if err != nil {
			t.Fatal(err)
		}
		c := s.code(w, callback)
		now := time.Now()
		want := Asked{Client: "shop", RedirectURI: callback, Scopes: []string{"openid", "profile"}, Audiences: []string{"https://api.example.org"}, Challenge: challenge, Nonce: "n-1", At: now.Add(-time.Second)}
		if c.Asked.At.Equal(want.At) {
			c.Asked.At = want.At
		}
		if !code.Matches(c.Digest) || !c.Expires.Equal(now.Add(time.Minute)) || !reflect.DeepEqual(c.Asked, want) || c.Session.SID != "s1" || c.Session.ACR != "1fa" {
			t.Errorf("the code is %+v", c)
		}
		if n := s.shelf.notes; len(n) != 1 || n[0].Event != "client_authorized" || n[0].Subject != "ann" || n[0].Client != "shop" {
			t.Errorf("noted is %v", n)
		}
	})
}

func TestAGuestIsNobodyWhoIsSignedIn(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "")
	s.get(ask(), "s1")
	s.shows("sign-in")
	if s.a.Session != nil {
		t.Errorf("the sign-in page is told of %+v", s.a.Session)
	}
}

func TestWhoDeniesIsSentBackWithoutACode(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	s.refused(s.decide("deny", "s1"), "access_denied")
	if s.shelf.writes > 0 {
		t.Error("something was written")
	}
	s.get(ask(), "s1")
	s.refused(s.decide("perhaps", "s1"), "invalid_request")
}

func TestConsentIsRememberedPerSubjectClientScopesAndResources(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.signIn("s2", "bob")
	s.get(ask(), "s1")
	s.decide("allow", "s1")
	for _, c := range []struct {
		promise, query, sid string
		asked               []string // nil for not asked
	}{
		{"the same is not asked again", ask(), "s1", nil},
		{"nor is it in another order", ask("scope", "profile openid"), "s1", nil},
		{"less is not asked", ask("scope", "openid"), "s1", nil},
		{"somebody else is asked", ask(), "s2", []string{"openid", "profile"}},
		{"prompt=consent asks again", ask("prompt", "consent"), "s1", []string{}},
		{"another resource is asked for", ask("resource", "https://api.example.org"), "s1", []string{}},
		{"offline_access is asked for", ask("scope", "openid offline_access"), "s1", []string{"offline_access"}},
		{"a claim asked for by its name is asked for by its scope", ask("claims", `{"userinfo":{"email":null}}`), "s1", []string{"email"}},
		{"a claim of a scope of ours, too", ask("claims", `{"id_token":{"last_order":{"essential":true}}}`), "s1", []string{"orders"}},
		{"a claim of a scope that was allowed is not", ask("scope", "openid", "claims", `{"userinfo":{"nickname":null,"sub":null}}`), "s1", nil},
		{"a claim that the client may not have is left out", ask("claims", `{"userinfo":{"phone_number":null,"http://x.example/y":null}}`), "s1", nil},
		{"a first-party client asks nobody", ask("client_id", "home", "redirect_uri", "https://home.example.org/cb?a=b", "scope", "openid"), "s2", nil},
	} {
		w := s.get(c.query, c.sid)
		switch {
		case c.asked == nil:
			if s.shown != "" || !strings.Contains(w.Header().Get("Location"), "code=") {
				t.Errorf("%s: %s, %v", c.promise, s.shown, w.Header())
			}
		case s.shown != "consent" || !slices.Equal(s.a.New, c.asked):
			t.Errorf("%s: %q, %+v", c.promise, s.shown, s.a)
		}
	}
	for _, c := range s.shelf.codes {
		if c.Asked.Claims != nil && len(c.Asked.Claims.UserInfo) == 2 && !slices.Equal(slices.Sorted(mapKeys(c.Asked.Claims.UserInfo)), []string{"nickname", "sub"}) {
			t.Errorf("a code asks for the claims %v", c.Asked.Claims.UserInfo)
		}
	}
}

func mapKeys(m map[string]*ClaimWish) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Ann allowed the shop her profile. It comes back and wants her orders as well.
func TestAttackScopesAreAddedAfterConsent(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	s.decide("allow", "s1")
	s.refused(s.get(ask("scope", "openid profile orders", "prompt", "none"), "s1"), "consent_required")
	s.get(ask("scope", "openid profile orders"), "s1")
	s.shows("consent")
	if !slices.Equal(s.a.New, []string{"orders"}) {
		t.Errorf("new are %v", s.a.New)
	}
	s.decide("allow", "s1")
	k := s.consent()
	if !slices.Equal(k.Scopes, []string{"openid", "profile", "orders"}) {
		t.Errorf("allowed are %v", k.Scopes)
	}
	s.refused(s.get(ask("scope", "openid admin"), "s1"), "invalid_scope")
}

func TestThatAConsentIsUsedIsNotedOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.get(ask(), "s1")
		s.decide("allow", "s1")
		given := time.Now()
		for _, c := range []struct{ after, noted time.Duration }{{30 * time.Minute, 0}, {2 * time.Hour, 2 * time.Hour}, {150 * time.Minute, 2 * time.Hour}} {
			time.Sleep(time.Until(given.Add(c.after)))
			s.code(s.get(ask(), "s1"), callback)
			if k := s.consent(); !k.LastUsed.Equal(given.Add(c.noted)) || !k.GivenAt.Equal(given) {
				t.Errorf("after %v: %+v", c.after, k)
			}
		}
	})
}

func TestPromptLoginAndMaxAgeDemandAProofMadeAfterTheRequest(t *testing.T) {
	for name, query := range map[string]string{
		"prompt=login":                      ask("prompt", "login"),
		"prompt=login and consent":          ask("prompt", "login consent"),
		"a max_age that has passed":         ask("max_age", "60"),
		"max_age=0":                         ask("max_age", "0"),
		"prompt=login and an old max_age":   ask("prompt", "login", "max_age", "999999999999"),
		"prompt=login where nobody is here": ask("prompt", "login"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				s.signIn("s1", "ann")
				s.allowed("ann", "shop")
				time.Sleep(2 * time.Minute)
				s.get(query, "s1")
				s.shows("sign-in")
				if s.a.Why != Again || s.a.Session == nil {
					t.Errorf("the sign-in page is told %+v", s.a)
				}
				// That the page was passed is no proof.
				s.resume("s1")
				s.shows("sign-in")
				time.Sleep(10 * time.Millisecond)
				s.signIn("s1", "ann")
				time.Sleep(5 * time.Minute) // longer than max_age
				w := s.resume("s1")
				if strings.Contains(name, "consent") {
					time.Sleep(5 * time.Minute)
					w = s.decide("allow", "s1")
				}
				if c := s.code(w, callback); time.Since(c.Session.AuthTime) > 15*time.Minute {
					t.Errorf("the code is of a proof of %v", c.Session.AuthTime)
				}
				// It was for that request, and no other one.
				s.get(query, "s1")
				s.shows("sign-in")
			})
		})
	}
}

// Mallory keeps a request for a fresh proof open until Ann signs in, tomorrow.
func TestAttackARequestIsKeptOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.allowed("ann", "shop")
		time.Sleep(time.Second)
		s.get(ask("prompt", "login"), "s1")
		for range 3 {
			time.Sleep(19 * time.Minute)
			s.resume("s1")
			s.shows("sign-in")
		}
		time.Sleep(19 * time.Minute)
		s.signIn("s1", "ann")
		s.resume("s1")
		s.shows("fault")
	})
}

func TestARecentProofIsEnoughForMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.allowed("ann", "shop")
		time.Sleep(time.Minute)
		s.code(s.get(ask("max_age", "60"), "s1"), callback)
		time.Sleep(time.Millisecond)
		s.get(ask("max_age", "60"), "s1")
		s.shows("sign-in")
	})
}

func TestSelectAccountAsksOnce(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.signIn("s2", "bob")
	s.allowed("ann", "shop")
	s.allowed("bob", "shop")
	s.get(ask("prompt", "select_account"), "s1")
	s.shows("sign-in")
	if s.a.Why != Another {
		t.Errorf("the reason is %q", s.a.Why)
	}
	flow := s.a.Flow()
	if c := s.code(s.resume("s1"), callback); c.Session.Subject != "ann" {
		t.Errorf("the code is of %s", c.Session.Subject)
	}
	if c := s.code(s.get("flow="+flow, "s2"), callback); c.Session.Subject != "bob" {
		t.Errorf("the code is of %s", c.Session.Subject)
	}
}

func TestPromptNoneShowsNoPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.signIn("s2", "bob")
		s.allowed("ann", "shop")
		s.code(s.get(ask("prompt", "none"), "s1"), callback)
		time.Sleep(time.Hour)
		for want, w := range map[string][2]string{
			"login_required":                    {ask("prompt", "none"), ""},
			"login_required ":                   {ask("prompt", "none", "max_age", "10"), "s1"},
			"login_required  ":                  {ask("prompt", "none", "claims", `{"id_token":{"sub":{"value":"bob"}}}`), "s1"},
			"login_required   ":                 {ask("prompt", "none", "claims", `{"id_token":{"acr":{"value":"2fa","essential":true}}}`), "s1"},
			"consent_required":                  {ask("prompt", "none"), "s2"},
			"invalid_request":                   {ask("prompt", "none login"), "s1"},
			"unmet_authentication_requirements": {ask("prompt", "none", "claims", `{"id_token":{"acr":{"value":"gold","essential":true}}}`), "s1"},
		} {
			s.refused(s.get(w[0], w[1]), strings.TrimSpace(want))
		}
		s.code(s.get(ask("prompt", "none", "acr_values", "2fa"), "s1"), callback)
		s.shelf.fails = func() error { return admit.Unavailable.New("away", "The store is away.") }
		s.refused(s.get(ask("prompt", "none"), "s1"), "temporarily_unavailable")
	})
}

// A page that Ann visits asks silently who she is, for a client that she has never
// allowed anything.
func TestAttackPromptNoneTellsNothingOfWhoIsSignedIn(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	w := s.get(ask("prompt", "none"), "s1")
	v := s.answer(w, callback)
	v.Del("error_description")
	if want := (url.Values{"error": {"consent_required"}, "state": {"xyz"}, "iss": {"https://id.example.org"}}); !reflect.DeepEqual(v, want) {
		t.Errorf("the answer is %v, want %v", v, want)
	}
	if text := w.Header().Get("Location") + w.Body.String(); strings.Contains(text, "ann") {
		t.Errorf("the answer is %s", text)
	}
	for _, h := range []string{"Set-Cookie", "Access-Control-Allow-Origin"} {
		if w.Header().Get(h) != "" {
			t.Errorf("%s is sent", h)
		}
	}
}

func TestAnAnswerIsAboutWhoWasAskedForOrNobody(t *testing.T) {
	s := newStage(t)
	s.change("shop", func(c *Client) { c.Sector = "shop.example.net" }) // as the client knows him
	s.signIn("s1", "ann")
	s.signIn("s2", "bob")
	s.allowed("ann", "shop")
	s.allowed("bob", "shop")
	query := ask("claims", `{"id_token":{"sub":{"value":"`+s.subject(s.client("shop"), "bob")+`"}}}`)
	s.get(query, "s1")
	s.shows("sign-in")
	if s.a.Why != Another {
		t.Errorf("the reason is %q", s.a.Why)
	}
	flow := s.a.Flow()
	if c := s.code(s.get("flow="+flow, "s2"), callback); c.Session.Subject != "bob" {
		t.Errorf("the code is of %s", c.Session.Subject)
	}
	s.refused(s.get("flow="+flow, "s1"), "login_required") // and not another sign-in, for ever
	s.refused(s.get(ask("claims", `{"id_token":{"sub":{"values":["a","b"]}}}`), "s1"), "invalid_request")
	s.refused(s.get(ask("id_token_hint", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ."), "s1"), "invalid_request")
}

func TestAHintIsOfTheClientThatShowsIt(t *testing.T) {
	s := newStage(t)
	a := &Authorization{Client: s.client("shop"), Session: &Session{Subject: "ann"}}
	for _, c := range []struct {
		promise  string
		q        request
		want     string
		mayStand bool
	}{
		{"a hint names who is wanted", request{hinted: "bob", hintFor: "shop"}, "bob", true},
		{"a hint of another client is none", request{hinted: "bob", hintFor: "home"}, "", false},
		{"a hint that does not verify is none", request{hintErr: ErrInvalidToken}, "", false},
	} {
		c.q.form = form{"id_token_hint": {"x"}}
		if got, err := s.wanted(&c.q, a); got != c.want || (err == nil) != c.mayStand {
			t.Errorf("%s: %q, %v", c.promise, got, err)
		}
	}
	lacks, err := s.lacks(&request{form: form{"id_token_hint": {"x"}}, hinted: "bob", hintFor: "shop"}, a, time.Now())
	if !lacks || err != nil || a.Why != Another {
		t.Errorf("with a hint of another: %v, %v, %q", lacks, err, a.Why)
	}
}

func TestAStrongerProofIsAskedForOnceOrDemanded(t *testing.T) {
	essential := func(values string) string {
		return ask("claims", `{"id_token":{"acr":{"essential":true,"values":[`+values+`]}}}`)
	}
	for _, c := range []struct {
		promise, query string
		asks           bool
		then           string // the error where it stays as it is; "" for a code
	}{
		{"what is there is enough", ask("acr_values", "1fa"), false, ""},
		{"a wish is put to the person once", ask("acr_values", "phr 2fa"), true, ""},
		{"a wish for what nobody knows is passed over", ask("acr_values", "urn:gold"), false, ""},
		{"a demand is met or refused", essential(`"2fa"`), true, "unmet_authentication_requirements"},
		{"one of several is enough", essential(`"1fa","2fa"`), false, ""},
		{"a demand for what nobody knows is refused at once", essential(`"urn:gold"`), false, "unmet_authentication_requirements"},
		{"essential without a value demands nothing", essential(``), false, ""},
	} {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.allowed("ann", "shop")
		w := s.get(c.query, "s1")
		if c.asks {
			s.shows("sign-in")
			if s.a.Why != Stronger || len(s.a.ACRValues) == 0 {
				t.Errorf("%s: the sign-in page is told %+v", c.promise, s.a)
			}
			resume := s.a.Resume()
			w = s.resume("s1")
			if c.then == "" {
				s.code(w, callback)
			} else {
				s.refused(w, c.then)
			}
			s.prove("s1", "ann", "phr") // which is above
			s.code(s.get(strings.TrimPrefix(resume, "/oauth/authorize?"), "s1"), callback)
			continue
		}
		if c.then == "" {
			s.code(w, callback)
		} else {
			s.refused(w, c.then)
		}
	}
}

// Ann signs in for one tab and allows it in the other. Each gets what it asked for.
func TestTwoTabsNeverMix(t *testing.T) {
	s := newStage(t)
	tabs := []string{"first", "second"}
	flows := map[string]string{}
	for _, tab := range tabs {
		s.get(ask("state", tab, "nonce", "n-"+tab, "scope", map[string]string{"first": "openid", "second": "openid email"}[tab]), "")
		flows[tab] = s.a.Flow()
	}
	s.signIn("s1", "ann")
	for _, tab := range tabs {
		s.get("flow="+flows[tab], "s1")
		s.shows("consent")
		flows[tab] = s.a.Flow()
	}
	for _, tab := range []string{"second", "first"} {
		w := s.post(url.Values{"flow": {flows[tab]}, "decision": {"allow"}}.Encode(), "s1")
		c := s.code(w, callback)
		if got := s.answer(w, callback).Get("state"); got != tab || c.Asked.Nonce != "n-"+tab || (len(c.Asked.Scopes) == 2) != (tab == "second") {
			t.Errorf("the %s tab gets %+v with state %q", tab, c.Asked, got)
		}
	}
}

// While the consent page is open, somebody else signs in in another tab.
func TestADecisionCountsForWhomItWasAsked(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.signIn("s2", "bob")
	s.get(ask(), "s1")
	w := s.decide("allow", "s2")
	s.follow(w, "s2")
	s.shows("consent")
	if s.a.Session.Subject != "bob" || len(s.shelf.codes) > 0 || s.consent() != nil {
		t.Errorf("%s is asked; %v", s.a.Session.Subject, s.consent())
	}
	s.follow(s.decide("allow", ""), "")
	s.shows("sign-in")
}

// Mallory puts the form of the consent page, with a flow of her own session, on a page
// of hers, and has Ann's browser post it.
func TestAttackAFlowOfAnotherSessionIsPosted(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.signIn("s2", "mallory")
	s.get(ask("state", "mallory"), "s2")
	s.follow(s.decide("allow", "s1"), "s1")
	s.shows("consent")
	// A flow of a sign-in page was shown to nobody as a question.
	s.get(ask("prompt", "login"), "s1")
	w := s.post(url.Values{"flow": {s.a.Flow()}, "decision": {"allow"}}.Encode(), "s1")
	s.follow(w, "s1")
	if len(s.shelf.codes) > 0 || s.consent() != nil {
		t.Error("it was allowed")
	}
}

func TestAttackADecisionIsPostedFromAnotherSite(t *testing.T) {
	for name, headers := range map[string][]string{
		"another site":      {"Sec-Fetch-Site", "cross-site"},
		"a sibling domain":  {"Sec-Fetch-Site", "same-site"},
		"an old browser":    {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"a sandboxed frame": {"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.get(ask(), "s1")
		w := s.decide("allow", "s1", headers...)
		if s.shelf.writes > 0 {
			t.Errorf("%s: it was allowed", name)
		}
		s.follow(w, "s1")
		s.shows("consent") // and she decides herself
	}
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	s.code(s.decide("allow", "s1", "Sec-Fetch-Site", "", "Origin", "https://id.example.org"), callback)
}

func TestAPostedRequestGoesOnAsAGETAndNeverBy307(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	for _, site := range []string{"cross-site", "same-origin"} {
		w := s.post(ask(), "s1", "Sec-Fetch-Site", site)
		if s.shelf.writes > 0 {
			t.Error("a post has an effect")
		}
		s.code(s.follow(w, "s1"), callback)
		s.shelf.writes = 0
	}
	s.post("decision=allow&"+ask(), "s1")
	if len(s.shelf.codes) > 2 {
		t.Error("a decision counts without a flow")
	}
}

// Every redirect of every test here is 303; this is the one after a decision, with which
// 307 would post it to the client.
// The attack: a client of one service asks for that by saying nothing, and the person hears
// nothing of it.
func TestAttackATokenOpensAServiceThatNobodyWasAskedAbout(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	s.code(s.get(ask(), "s1"), callback)
	s.change("shop", func(c *Client) { c.Audiences = []string{"https://vault.example.org"} })
	s.get(ask(), "s1")
	s.shows("consent")
	if !slices.Equal(s.a.NewAudiences, []string{"https://vault.example.org"}) || len(s.a.New) > 0 {
		t.Errorf("the person is asked for %v and %v", s.a.NewAudiences, s.a.New)
	}
	if c := s.code(s.decide("allow", "s1"), callback); !slices.Equal(c.Asked.Audiences, []string{"https://vault.example.org"}) {
		t.Errorf("the code is for %v", c.Asked.Audiences)
	}
	s.code(s.get(ask(), "s1"), callback) // and not again
}

func TestAttackARedirectPostsTheDecisionOn(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	if w := s.decide("allow", "s1"); w.Code != 303 {
		t.Errorf("status %d, want 303", w.Code)
	}
}

func TestAttackAFlowIsForgedOrOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.get(ask(), "s1")
		good := s.a.Flow()
		other := newStage(t)
		other.signIn("s1", "ann")
		other.get(ask(), "s1")
		bad := []string{"x", good[:len(good)-1], good + "A", string(good[0]^1) + good[1:], other.a.Flow(), strings.Repeat("A", 20<<10)}
		check := func(flows ...string) {
			t.Helper()
			for _, flow := range flows {
				for _, send := range []func(){
					func() { s.get("flow="+flow, "s1") },
					func() { s.post("decision=allow&flow="+flow, "s1") },
				} {
					send()
					s.shows("fault")
				}
			}
		}
		check(bad...)
		time.Sleep(flowLife + 2*time.Second)
		check(good)
		if len(s.shelf.codes) > 0 {
			t.Error("a code was made")
		}
	})
}

func TestWhatIsPostedMustBeReadInOneWay(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	flow := url.QueryEscape(s.a.Flow())
	for name, send := range map[string]func(){
		"two decisions":        func() { s.post("decision=allow&decision=deny&flow="+flow, "s1") },
		"two flows":            func() { s.post("decision=allow&flow="+flow+"&flow="+flow, "s1") },
		"JSON":                 func() { s.post("decision=allow&flow="+flow, "s1", "Content-Type", "application/json") },
		"no type":              func() { s.post("decision=allow&flow="+flow, "s1", "Content-Type", "") },
		"too long":             func() { s.post("decision=allow&flow="+flow+"&x="+strings.Repeat("x", maxForm), "s1") },
		"a parameter too long": func() { s.post("decision=allow&flow="+flow+"&x="+strings.Repeat("x", maxParam+1), "s1") },
		"a request too long":   func() { s.follow(s.post(ask("state", strings.Repeat("x", maxRequest)), "s1"), "s1") },
		"not encoded":          func() { s.post("decision=allow&flow="+flow+"&%zz", "s1") },
	} {
		if send(); s.shown != "fault" || s.shelf.writes > 0 {
			t.Errorf("%s: the page is %q", name, s.shown)
		}
	}
	r := httptest.NewRequest("POST", "/oauth/authorize?decision=allow", strings.NewReader("flow="+flow))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if s.send(r, "s1"); s.shown != "fault" {
		t.Errorf("with a query the page is %q", s.shown)
	}
}

// What the person was shown is looked at once more when the code is made.
func TestWhatHasChangedMeanwhileCounts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*stage)
		page   string
	}{
		"the session has ended":       {func(s *stage) { s.shelf.RemoveSession("s1") }, "sign-in"},
		"the consent was taken back":  {(*stage).takeBack, "consent"},
		"the client was disabled":     {func(s *stage) { s.change("shop", func(c *Client) { c.Disabled = true }) }, "fault"},
		"the redirect URI is another": {func(s *stage) { s.change("shop", func(c *Client) { c.RedirectURIs = nil }) }, "fault"},
	} {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.allowed("ann", "shop")
		s.shelf.between = func() { c.change(s) }
		s.get(ask(), "s1")
		if s.shown != c.page || len(s.shelf.codes) > 0 {
			t.Errorf("%s: the page is %q with %d codes", name, s.shown, len(s.shelf.codes))
		}
	}
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	s.shelf.between = func() { s.shelf.RemoveSession("s1") }
	s.follow(s.decide("allow", "s1"), "s1") // no page answers a post
	s.shows("sign-in")
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	s.change("shop", func(c *Client) { c.Scopes = []string{"openid"} })
	s.refused(s.decide("allow", "s1"), "invalid_scope")
}

func TestNobodyIsSentBackBeforeTheCodeIsKept(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{admit.Unavailable.New("away", "The store is away."), 503},
		{url.InvalidHostError("the disk is full"), 500},
		{admit.Conflict.New("conflict", "Something else came first."), 400},
	} {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.get(ask(), "s1")
		s.shelf.fails = func() error { return c.err }
		w := s.decide("allow", "s1")
		if s.shown != "fault" || w.Code != c.status || w.Header().Get("Location") != "" {
			t.Errorf("%v: the page is %q with %d", c.err, s.shown, w.Code)
		}
	}
}

func TestWhereNobodyCanTellWhoIsSignedInNobodyIsAskedToSignIn(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask(), "s1")
	form := url.Values{"flow": {s.a.Flow()}, "decision": {"allow"}}.Encode()
	s.away = admit.Unavailable.New("away", "The sessions are away.")
	if w := s.get(ask(), "s1"); w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
	s.shows("fault")
	s.refused(s.get(ask("prompt", "none"), "s1"), "temporarily_unavailable")
	s.follow(s.post(form, "s1"), "s1")
	s.shows("fault")
	s.get(ask("client_id", "x", "prompt", "none"), "s1")
	s.shows("fault")
	// What it is called here is nothing to a client.
	s.away = admit.Unauthenticated.New("ambiguous_session", "There are two sessions.")
	s.refused(s.get(ask("prompt", "none"), "s1"), "server_error")
	s.refused(s.get(ask("scope", "admin"), "s1"), "invalid_scope")
	s.get(ask(), "s1")
	s.shows("fault")
	if !errors.Is(s.fault, s.away) {
		t.Errorf("the page says %v", s.fault)
	}
}

func TestOfflineAccessWithoutRefreshTokensIsPassedOver(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	w := s.get(ask("client_id", "home", "redirect_uri", "https://home.example.org/cb?a=b", "scope", "openid offline_access openid"), "s1")
	if c := s.code(w, "https://home.example.org/cb?a=b"); !slices.Equal(c.Asked.Scopes, []string{"openid"}) {
		t.Errorf("the scopes are %v", c.Asked.Scopes)
	}
}

func TestACodeLivesTenMinutesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.allowed("ann", "shop")
		for set, want := range map[time.Duration]time.Duration{0: time.Minute, time.Second: time.Second, time.Hour: 10 * time.Minute} {
			s.change("shop", func(c *Client) { c.CodeLife = set })
			if c := s.code(s.get(ask(), "s1"), callback); time.Until(c.Expires) != want {
				t.Errorf("with %v a code lives %v, want %v", set, time.Until(c.Expires), want)
			}
		}
	})
}

// The shop has two providers, and one of them is Mallory's. From an answer alone it must
// be plain whose it is, or the shop would redeem a code of ours there.
func TestAttackAnswersOfTwoProvidersAreMixedUp(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	for _, query := range []string{ask(), ask("iss", "https://evil.example"), ask("scope", "admin"), ask("prompt", "none", "max_age", "0")} {
		if v := s.answer(s.get(query, "s1"), callback); !slices.Equal(v["iss"], []string{"https://id.example.org"}) {
			t.Errorf("the answer is %v", v)
		}
	}
}

// Mallory lays the consent page, invisible, over a button of hers.
func TestAttackAPageIsFramed(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	for page, query := range map[string]string{"consent": ask(), "sign-in": ask("prompt", "login"), "fault": ask("client_id", ""), "": ask("response_mode", "form_post", "prompt", "none")} {
		h := s.get(query, "s1").Header()
		s.shows(page)
		if h.Get("X-Frame-Options") != "DENY" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("the page %q may be framed: %v", page, h)
		}
	}
}

// Whatever is asked, the browser is led to a redirect URI that is registered, or to the
// provider, or nowhere.
func FuzzAuthorize(f *testing.F) {
	s := newStage(f)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	s.get(ask("prompt", "login"), "s1")
	f.Add(ask())
	f.Add(ask("client_id", "phone", "redirect_uri", "http://127.0.0.1:80/cb", "scope", "openid"))
	f.Add(ask("claims", `{"id_token":{"acr":{"essential":true}}}`, "max_age", "1", "resource", "https://api.example.org"))
	f.Add("flow=" + url.QueryEscape(s.a.Flow()) + "&decision=allow")
	f.Fuzz(func(t *testing.T, query string) {
		s.TB = t
		r := httptest.NewRequest("GET", "/oauth/authorize", nil)
		r.URL.RawQuery = query
		for _, w := range []*httptest.ResponseRecorder{s.send(r, "s1"), s.post(query, "s1")} {
			to := w.Header().Get("Location")
			u, err := url.Parse(to)
			if err != nil || to != "" && w.Code != 303 {
				t.Fatalf("%d to %q", w.Code, to)
			}
			if host := u.Hostname(); to != "" && !strings.HasPrefix(to, "/oauth/authorize?") && !strings.HasPrefix(to, "org.example.phone:/cb?") &&
				!slices.Contains([]string{"shop.example.net", "home.example.org", "127.0.0.1", "::1", "localhost"}, host) {
				t.Errorf("it leads to %q", to)
			}
		}
		clear(s.shelf.codes)
	})
}

func BenchmarkAuthorizeWithASession(b *testing.B) {
	s := newStage(b)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	query := ask("nonce", "n-1")
	b.ReportAllocs()
	for b.Loop() {
		s.get(query, "s1")
		clear(s.shelf.codes)
	}
}
