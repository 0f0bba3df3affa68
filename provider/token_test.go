package provider

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

func TestACodeBecomesTokensThatAreRefreshed(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	if a.string("scope") != "openid email read" || a.json["expires_in"] != 300.0 || a.string("id_token") == "" {
		t.Errorf("the answer is %s", a.text)
	}
	if !d.alive(a.string("access_token")) {
		t.Error("the access token does not count")
	}
	for range 3 {
		d.now = d.now.Add(time.Minute)
		next := d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)))
		if next.string("refresh_token") == a.string("refresh_token") || next.string("access_token") == a.string("access_token") {
			t.Error("a token is given twice")
		}
		if next.string("scope") != "openid email read" || next.string("id_token") == "" {
			t.Errorf("the answer is %s", next.text)
		}
		a = next
	}
}

func TestEachTypeOfGrantAndClientIsAnswered(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	d.client("phone", func(c *Client) { c.Auth, c.Secrets = NoAuth, nil })
	public := fields("client_id", "phone")
	with := func(f, more url.Values) url.Values {
		for name, v := range more {
			f[name] = v
		}
		return f
	}
	a := d.given(d.post(with(redeeming(d.code("phone", nil)), public)))
	d.given(d.post(with(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), public)))

	d.refused(d.post(with(fields("grant_type", "client_credentials"), public)), "unauthorized_client")
	d.refused(d.post(fields("grant_type", "password", "username", "alice", "password", "x"), basic("app", secret)), "unsupported_grant_type")
	d.refused(d.post(fields("grant_type", "implicit"), basic("app", secret)), "unsupported_grant_type")
	d.refused(d.post(fields("x", "y"), basic("app", secret)), "invalid_request")

	_, own := d.client("worker", func(c *Client) { c.Grants = []GrantType{ClientCredentials} })
	d.refused(d.post(redeeming(d.code("worker", nil)), basic("worker", own)), "unauthorized_client")
	b := d.given(d.post(fields("grant_type", "client_credentials"), basic("worker", own)))
	if b.string("scope") != "read write" || b.string("refresh_token") != "" || b.string("id_token") != "" {
		t.Errorf("the answer is %s", b.text)
	}
	if b := d.given(d.post(fields("grant_type", "client_credentials", "scope", "write"), basic("worker", own))); b.string("scope") != "write" {
		t.Errorf("the answer is %s", b.text)
	}
	for _, scope := range []string{"openid", "profile", "admin", "write admin"} {
		d.refused(d.post(fields("grant_type", "client_credentials", "scope", scope), basic("worker", own)), "invalid_scope")
	}
	// No refresh token where the client has no use for it.
	_, once := d.client("once", func(c *Client) { c.Grants = []GrantType{AuthorizationCode} })
	if a := d.given(d.post(redeeming(d.code("once", nil)), basic("once", once))); a.string("refresh_token") != "" {
		t.Errorf("the answer is %s", a.text)
	}
}

func TestTheTokenEndpointTakesFormsAlone(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	for name, change := range map[string]func(*http.Request){
		"JSON":                     func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		"no type":                  func(r *http.Request) { r.Header.Del("Content-Type") },
		"parameters in the query":  func(r *http.Request) { r.URL.RawQuery = "grant_type=client_credentials" },
		"credentials in the query": func(r *http.Request) { r.URL.RawQuery = "client_secret=" + secret },
	} {
		t.Run(name, func(t *testing.T) { d.refused(d.post(f, basic("app", secret), change), "invalid_request") })
	}
	d.given(d.post(f, basic("app", secret), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	}))
}

// The attack: a proxy reads the first of two parameters, and the server the last.
func TestAttackDuplicateParameters(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	for name := range redeeming("x") {
		f := redeeming(d.code("app", nil))
		f.Add(name, f.Get(name))
		d.refused(d.post(f, basic("app", secret)), "invalid_request")
	}
	f := fields("grant_type", "client_credentials", "scope", "read", "scope", "write")
	d.refused(d.post(f, basic("app", secret)), "invalid_request")
}

// The attack: parameters, or what a client proves itself with, as large as can be.
func TestAttackOversizedEverything(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	long := strings.Repeat("a", 20_000)
	for name := range redeeming("x") {
		f := redeeming("x")
		f.Set(name, long)
		d.refused(d.post(f, basic("app", secret)), "invalid_request")
	}
	f := fields("grant_type", "client_credentials")
	for i := range 10_000 {
		f.Set(strconv.Itoa(i), "1234")
	}
	d.refused(d.post(f, basic("app", secret)), "invalid_request")
	f = fields("grant_type", "client_credentials")
	d.refused(d.post(f, basic(long, secret)), "invalid_client")
	d.refused(d.post(f, basic("app", long)), "invalid_client")
	d.refused(d.post(f, authorization("Basic "+long+long)), "invalid_client")
	f.Set("scope", strings.Repeat("read ", 3000))
	if a := d.given(d.post(f, basic("app", secret))); a.string("scope") != "read" {
		t.Errorf("the answer is %s", a.text)
	}
	f.Set("client_id", strings.Repeat("a", maxClientID+1))
	d.refused(d.post(f), "invalid_client")
}

// The attack: a name of the attacker's in Host, for whatever is made of it.
func TestAttackHostHeaderPoisoning(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.JWT = true })
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret), func(r *http.Request) {
		r.Host = "evil.example"
		r.Header.Set("X-Forwarded-Host", "evil.example")
	}))
	if c := d.claims(a.string("access_token")); c.Issuer != deskIssuer || !slices.Equal(c.Audience, []string{deskIssuer}) {
		t.Errorf("the claims are %+v", c)
	}
	d.idClaims("app", jose.ES256, a.string("id_token"))
}

// The attack: a code is presented without the verifier, with another, or with the
// challenge itself; or its challenge was taken out on the way, and the verifier that the
// client then sends would prove nothing.
func TestAttackPKCEMissingWrongPlainAndDowngraded(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	for name, f := range map[string]func(url.Values){
		"missing": func(f url.Values) { f.Del("code_verifier") },
		"wrong":   func(f url.Values) { f.Set("code_verifier", strings.Repeat("a", 43)) },
		"plain":   func(f url.Values) { f.Set("code_verifier", deskChallenge) },
		"short":   func(f url.Values) { f.Set("code_verifier", deskVerifier[:42]) },
		"long":    func(f url.Values) { f.Set("code_verifier", strings.Repeat("a", 129)) },
		"spaces":  func(f url.Values) { f.Set("code_verifier", deskVerifier+" ") },
		"empty":   func(f url.Values) { f.Set("code_verifier", "") },
	} {
		t.Run(name, func(t *testing.T) {
			form := redeeming(d.code("app", nil))
			f(form)
			d.refused(d.post(form, basic("app", secret)), "invalid_grant")
			// Who has the code and no verifier takes it from nobody.
			form.Set("code_verifier", deskVerifier)
			d.given(d.post(form, basic("app", secret)))
		})
	}
	plain := d.code("app", func(c *Code) { c.Asked.Challenge = deskVerifier })
	d.refused(d.post(redeeming(plain), basic("app", secret)), "invalid_grant")

	// Nor what anybody could guess (RFC 7636 section 7.1).
	guessed := sha256.Sum256([]byte("short"))
	short := redeeming(d.code("app", func(c *Code) { c.Asked.Challenge = base64.RawURLEncoding.EncodeToString(guessed[:]) }))
	short.Set("code_verifier", "short")
	d.refused(d.post(short, basic("app", secret)), "invalid_grant")

	bare := d.code("app", func(c *Code) { c.Asked.Challenge = "" })
	d.refused(d.post(redeeming(bare), basic("app", secret)), "invalid_grant")
}

// The attack: whoever saw the code on its way presents it after its owner did.
func TestAttackCodeReplayEndsTheTokensItGave(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	code := d.code("app", nil)
	a := d.given(d.post(redeeming(code), basic("app", secret)))
	stolen := redeeming(code)
	stolen.Del("code_verifier") // which the thief has not
	d.refused(d.post(stolen, basic("app", secret)), "invalid_grant")
	if d.alive(a.string("access_token")) {
		t.Error("the access token outlives the replay")
	}
	d.refused(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)), "invalid_grant")
	if len(d.told) != 1 || d.told[0].Kind != feed.Grant || d.told[0].Reason != reasonCodeReplayed || d.told[0].Subject != "alice" {
		t.Errorf("told: %+v", d.told)
	}
	if len(d.notes) != 1 || d.notes[0].Event != reasonCodeReplayed || d.notes[0].Client != "app" {
		t.Errorf("noted: %+v", d.notes)
	}
	d.refused(d.post(redeeming(code), basic("app", secret)), "invalid_grant")
	if len(d.told) != 1 {
		t.Errorf("it is told %d times", len(d.told))
	}
}

// The attack: whoever can read the store knows what codes are found by, and makes up the
// rest.
func TestAttackCodeWithAMadeUpVerifier(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	code := d.code("app", nil)
	known, err := token.Parse(token.OneTime, code)
	if err != nil {
		t.Fatal(err)
	}
	d.refused(d.post(redeeming(known.WithNewVerifier().Reveal()), basic("app", secret)), "invalid_grant")
	a := d.given(d.post(redeeming(code), basic("app", secret)))
	d.refused(d.post(redeeming(known.WithNewVerifier().Reveal()), basic("app", secret)), "invalid_grant")
	if !d.alive(a.string("access_token")) {
		t.Error("a made-up code has ended a grant")
	}
}

// The attack: 64 at once, so that two look before either has spent it.
func TestAttackParallelExchangeOfOneCodeGivesTokensOnce(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	f := redeeming(d.code("app", nil))
	given := make(chan *reply, 64)
	for range cap(given) {
		go func() { given <- d.post(f, basic("app", secret)) }()
	}
	var once []*reply
	for range cap(given) {
		if a := <-given; a.status == 200 {
			once = append(once, a)
		} else {
			d.refused(a, "invalid_grant")
		}
	}
	if len(once) != 1 {
		t.Fatalf("%d have got tokens", len(once))
	}
	if d.alive(once[0].string("access_token")) {
		t.Error("63 replays, and the tokens count")
	}
}

// The attack: a code that was given to one client is put into the answer that another
// one waits for (RFC 9700 section 4.5).
func TestAttackCodeInjectionBetweenClients(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	_, evil := d.client("evil", nil)
	code := d.code("app", nil)
	d.refused(d.post(redeeming(code), basic("evil", evil)), "invalid_grant")
	a := d.given(d.post(redeeming(code), basic("app", secret)))
	d.refused(d.post(redeeming(code), basic("evil", evil)), "invalid_grant")
	if !d.alive(a.string("access_token")) {
		t.Error("another client has ended the grant")
	}
}

func TestACodeIsBoundToItsRedirectURIAndTime(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	for _, uri := range []string{"", deskRedirect + "/", deskRedirect + "?", strings.ToUpper(deskRedirect), "https://app.example.org:443/back"} {
		f := redeeming(d.code("app", nil))
		f.Set("redirect_uri", uri)
		d.refused(d.post(f, basic("app", secret)), "invalid_grant")
	}
	f := redeeming(d.code("app", nil))
	d.now = d.now.Add(time.Minute)
	d.refused(d.post(f, basic("app", secret)), "invalid_grant")
	nobodys := d.code("app", func(c *Code) { c.Session.SID = "" })
	d.refused(d.post(redeeming(nobodys), basic("app", secret)), "invalid_grant")
	d.m.PutUser(User{Subject: "bob"})
	others := d.code("app", func(c *Code) { c.Session.Subject = "bob" })
	d.refused(d.post(redeeming(others), basic("app", secret)), "invalid_grant")
}

// The attack: a token of one class is presented as one of another.
func TestAttackTokenClassesSubstitutedForEachOther(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	code := d.code("app", nil)
	a := d.given(d.post(redeeming(code), basic("app", secret)))
	all := []string{code, a.string("access_token"), a.string("id_token"), secret, "", "x", strings.Repeat("a", 17000)}
	for _, text := range append(all, a.string("refresh_token")) {
		if text != code {
			if r := d.post(redeeming(text), basic("app", secret)); r.status != 400 {
				t.Errorf("as a code: %d %s", r.status, r.text)
			}
		}
	}
	for _, text := range all {
		if r := d.post(fields("grant_type", "refresh_token", "refresh_token", text), basic("app", secret)); r.status != 400 {
			t.Errorf("as a refresh token: %d %s", r.status, r.text)
		}
	}
	for _, text := range append(all[:3], a.string("refresh_token")) {
		d.refused(d.post(fields("grant_type", "client_credentials"), basic("app", text)), "invalid_client")
	}
}

// A lost answer, or two tabs that ask at once, end nothing.
func TestARefreshIsRepeatedUntilItsSuccessorIsUsed(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	first := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret))).string("refresh_token")
	refresh := func(text string) *reply {
		return d.post(fields("grant_type", "refresh_token", "refresh_token", text), basic("app", secret))
	}
	answers := make(chan *reply, 64)
	for range cap(answers) {
		go func() { answers <- refresh(first) }()
	}
	second := ""
	for range cap(answers) {
		a := d.given(<-answers)
		if second == "" {
			second = a.string("refresh_token")
		}
		if a.string("refresh_token") != second {
			t.Fatal("one token has two successors")
		}
	}
	d.now = d.now.Add(repeatWindow)
	third := d.given(refresh(first))
	if third.string("refresh_token") != second {
		t.Fatal("one token has two successors")
	}
	d.given(refresh(second))
	d.refused(refresh(first), "invalid_grant")
}

// The attack: a refresh token is stolen, and used after its owner used it, or before.
func TestAttackRefreshTheftEndsTheGrant(t *testing.T) {
	for name, steal := range map[string]func(d *desk, refresh func(string) *reply, first string) *reply{
		"the thief comes late": func(d *desk, refresh func(string) *reply, first string) *reply {
			second := d.given(refresh(first))
			d.now = d.now.Add(repeatWindow + time.Second)
			d.refused(refresh(first), "invalid_grant")
			return second
		},
		"the thief comes first": func(d *desk, refresh func(string) *reply, first string) *reply {
			thief := d.given(refresh(first))
			thief = d.given(refresh(thief.string("refresh_token")))
			d.refused(refresh(first), "invalid_grant")
			return thief
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			_, secret := d.client("app", nil)
			refresh := func(text string) *reply {
				return d.post(fields("grant_type", "refresh_token", "refresh_token", text), basic("app", secret))
			}
			a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
			b := steal(d, refresh, a.string("refresh_token"))
			for _, one := range []*reply{a, b} {
				if d.alive(one.string("access_token")) {
					t.Error("an access token outlives the theft")
				}
				d.refused(refresh(one.string("refresh_token")), "invalid_grant")
			}
			if len(d.told) != 1 || d.told[0].Reason != reasonRefreshReplayed {
				t.Errorf("told: %+v", d.told)
			}
		})
	}
}

func TestWhoHasHungUpIsNoThief(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	code := redeeming(d.code("app", nil))
	late := func(f url.Values) {
		ctx, hangUp := context.WithCancel(t.Context())
		store := d.Provider.o.Store
		d.Provider.o.Store = between{d.m, hangUp} // after it was looked at; and what is begun ends whole
		defer func() { d.Provider.o.Store = store }()
		if a := d.post(f, basic("app", secret), func(r *http.Request) { *r = *r.WithContext(ctx) }); a.status != 500 {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	late(code) // which its owner tries again
	a := d.given(d.post(code, basic("app", secret)))
	late(code)
	refresh := fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token"))
	b := d.given(d.post(refresh, basic("app", secret)))
	c := d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", b.string("refresh_token")), basic("app", secret)))
	late(refresh)
	d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", c.string("refresh_token")), basic("app", secret)))
	if len(d.told) > 0 {
		t.Errorf("told: %+v", d.told)
	}
}

// The attack: a code or a refresh token that is bound to a key is presented by whoever
// has stolen it.
func TestAttackBoundCodeWithoutItsKey(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	bound := d.code("app", func(c *Code) { c.Asked.JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" })
	d.refused(d.post(redeeming(bound), basic("app", secret)), "invalid_grant")

	r := token.New(token.Refresh)
	g := &Grant{
		ID: gid(r), Client: "app", Subject: "alice", SID: "s1", JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
		Current: r.Digest(), BegunAt: d.now, RotatedAt: d.now, Expires: d.now.Add(time.Hour),
	}
	if err := d.m.Update(t.Context(), func(tx Tx) error { return tx.AddGrant(g) }); err != nil {
		t.Fatal(err)
	}
	d.refused(d.post(fields("grant_type", "refresh_token", "refresh_token", r.Reveal()), basic("app", secret)), "invalid_grant")
}

// The attack: a refresh token that was stolen is presented by another client.
func TestAttackRefreshTokenOfAnotherClient(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	_, evil := d.client("evil", nil)
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	f := fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token"))
	d.refused(d.post(f, basic("evil", evil)), "invalid_grant")
	d.given(d.post(f, basic("app", secret)))
}

// The attack: a client asks for more than it was allowed, after it was allowed something.
func TestAttackScopeWidening(t *testing.T) {
	d := newDesk(t)
	c, secret := d.client("app", nil)
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	refresh := func(scope string) *reply {
		d.Helper()
		b := d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token"), "scope", scope), basic("app", secret))
		if b.status == 200 {
			a = b
		}
		return b
	}
	for _, scope := range []string{"write", "read write", "openid email read profile", "READ", "admin"} {
		d.refused(refresh(scope), "invalid_scope")
	}
	if b := d.given(refresh("read")); b.string("scope") != "read" || b.string("id_token") != "" {
		t.Errorf("the answer is %s", b.text)
	}
	if b := d.given(refresh("")); b.string("scope") != "openid email read" {
		t.Errorf("what was narrowed once stays so: %s", b.text) // RFC 6749 section 6
	}
	// What the client may ask for no more it gets no more.
	less := *c
	less.Scopes = []string{"openid", "email"}
	d.m.PutClient(less)
	if b := d.given(refresh("")); b.string("scope") != "openid email" {
		t.Errorf("the answer is %s", b.text)
	}
	// A scope at the exchange of a code is no parameter (RFC 6749 section 4.1.3).
	f := redeeming(d.code("app", nil))
	f.Set("scope", "write")
	if b := d.given(d.post(f, basic("app", secret))); b.string("scope") != "openid email" {
		t.Errorf("the answer is %s", b.text)
	}
}

// The attack: a token that was made for one service is presented at another.
func TestAttackAudienceConfusion(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.JWT = true })
	ask := func(f url.Values) *reply { return d.post(f, basic("app", secret)) }
	audience := func(a *reply) []string {
		d.Helper()
		return d.claims(d.given(a).string("access_token")).Audience
	}
	cc := func(resources ...string) url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "resource": resources}
	}
	if got := audience(ask(cc())); !slices.Equal(got, []string{deskIssuer}) {
		t.Errorf("of none asked for: %q", got)
	}
	if got := audience(ask(cc("https://b.example.org"))); !slices.Equal(got, []string{"https://b.example.org"}) {
		t.Errorf("of one asked for: %q", got)
	}
	if got := audience(ask(cc("https://b.example.org", "https://api.example.org", "https://b.example.org"))); !slices.Equal(got, []string{"https://api.example.org", "https://b.example.org"}) {
		t.Errorf("of two asked for: %q", got)
	}
	d.refused(ask(cc("https://c.example.org")), "invalid_target")
	d.refused(ask(cc("https://b.example.org", "https://b.example.org/")), "invalid_target")

	both := []string{"https://api.example.org", "https://b.example.org"}
	f := redeeming(d.code("app", func(c *Code) { c.Asked.Audiences = both }))
	f.Set("resource", both[0])
	a := ask(f)
	if got := audience(a); !slices.Equal(got, both[:1]) {
		t.Errorf("of a code for two, one asked for: %q", got)
	}
	again := fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token"))
	if got := audience(ask(again)); !slices.Equal(got, both) {
		t.Errorf("of a grant for two, none asked for: %q", got)
	}
	f = redeeming(d.code("app", func(c *Code) { c.Asked.Audiences = both[:1] }))
	f.Set("resource", both[1])
	d.refused(ask(f), "invalid_target")
	f = redeeming(d.code("app", nil))
	f.Set("resource", both[1])
	d.refused(ask(f), "invalid_target")

	_, one := d.client("one", func(c *Client) { c.JWT, c.Audiences = true, both[:1] })
	if got := audience(d.post(cc(), basic("one", one))); !slices.Equal(got, both[:1]) {
		t.Errorf("of a client of one service: %q", got)
	}
}

// claims are those of a JWT access token, which a service would take.
func (d *desk) claims(text string) jose.Claims[access.Claims] {
	d.Helper()
	v, err := jose.NewVerifier(deskSigning(), jose.Expected{Algorithms: signingAlgorithms, Issuer: deskIssuer, Type: access.Type},
		&jose.VerifierOptions[access.Claims]{InsecureAnyAudience: true})
	if err != nil {
		d.Fatal(err)
	}
	c, err := v.VerifyAt(d.Context(), text, d.now)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func TestAJWTSaysWhatCanEndIt(t *testing.T) {
	for _, alg := range append([]jose.Algorithm{""}, signingAlgorithms...) {
		d := newDesk(t)
		_, secret := d.client("app", func(c *Client) { c.JWT, c.Signs, c.AccessLife = true, alg, 2*time.Minute })
		a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
		c := d.claims(a.string("access_token"))
		r, _ := token.Parse(token.Refresh, a.string("refresh_token"))
		g := c.Data
		if want := alg; want != "" && c.Header.Algorithm != want || want == "" && c.Header.Algorithm != jose.ES256 {
			t.Errorf("signed with %s", c.Header.Algorithm)
		}
		if c.Subject != "alice" || g.ClientID != "app" || g.GID != gid(r) || g.SID != "" || g.SEV != 7 || c.ID == "" || g.Scope != "openid email read" ||
			g.ACR != "aal1" || !slices.Equal(g.AMR, []string{"pwd"}) || g.AuthTime != d.now.Add(-time.Minute).Unix() || !c.Expires.Equal(d.now.Add(2*time.Minute)) {
			t.Errorf("the claims are %+v", c)
		}
		if g.Roles != nil {
			t.Errorf("an application of others' has the roles %q", g.Roles)
		}
		own := d.claims(d.given(d.post(fields("grant_type", "client_credentials"), basic("app", secret))).string("access_token"))
		if own.Subject != "app" || own.Data.GID == "" || own.Data.AuthTime != 0 || own.Data.Roles != nil || own.Data.SEV != 0 {
			t.Errorf("the claims of a client's own are %+v", own)
		}
	}
	d := newDesk(t)
	_, secret := d.client("ours", func(c *Client) { c.JWT, c.FirstParty = true, true })
	a := d.given(d.post(redeeming(d.code("ours", nil)), basic("ours", secret)))
	if c := d.claims(a.string("access_token")); !slices.Equal(c.Data.Roles, []string{"admin"}) {
		t.Errorf("an application of ours has the roles %q", c.Data.Roles)
	}
}

func TestAGrantLivesAsLongAsTheSessionUnlessItMayOutliveIt(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.GrantLife = 48 * time.Hour })
	refresh := func(text string) *reply {
		return d.post(fields("grant_type", "refresh_token", "refresh_token", text), basic("app", secret))
	}
	online := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	offline := d.given(d.post(redeeming(d.code("app", func(c *Code) {
		c.Asked.Scopes = append(c.Asked.Scopes, "offline_access")
	})), basic("app", secret)))
	pending := redeeming(d.code("app", func(c *Code) { c.Asked.Scopes = append(c.Asked.Scopes, "offline_access") }))
	d.m.RemoveSession("s1")
	d.refused(refresh(online.string("refresh_token")), "invalid_grant")
	d.refused(d.post(pending, basic("app", secret)), "invalid_grant")
	d.now = d.now.Add(47 * time.Hour)
	next := d.given(refresh(offline.string("refresh_token")))
	if strings.Contains(claimsText(t, next.string("id_token")), `"sid"`) {
		t.Error("an ID token names a session that has ended")
	}
	d.m.RemoveUser("alice")
	d.refused(refresh(next.string("refresh_token")), "invalid_grant")
	d.m.PutUser(User{Subject: "alice"})
	d.now = d.now.Add(time.Hour)
	d.refused(refresh(next.string("refresh_token")), "invalid_grant")
}

// The attack: an application goes on with what somebody has taken back.
func TestAttackTokenOfARevokedGrant(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	if err := d.m.Update(t.Context(), func(tx Tx) error {
		all, err := tx.GrantsOf("alice", "app")
		if len(all) == 1 {
			_, err = tx.EndGrant(all[0].ID, "taken_back", d.now)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	d.refused(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)), "invalid_grant")
	if d.alive(a.string("access_token")) {
		t.Error("the access token counts")
	}
}

// A client that cannot refresh has nothing that could outlive the session.
func TestOfflineAccessIsNothingWithoutRefreshTokens(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.Grants = []GrantType{AuthorizationCode} })
	a := d.given(d.post(redeeming(d.code("app", func(c *Code) { c.Asked.Scopes = []string{"offline_access"} })), basic("app", secret)))
	opaque, _ := token.Parse(token.Access, a.string("access_token"))
	if got := d.m.tokens[opaque.Selector()]; got.SID != "s1" || d.m.grants[got.Grant].SID != "s1" {
		t.Errorf("the token is %+v", got)
	}
}

func TestARefreshIsNotRepeatedBeforeItsTime(t *testing.T) {
	d := newDesk(t)
	before := token.New(token.Refresh)
	g := &Grant{ID: gid(before), Current: before.Digest(), RotatedAt: d.now}
	_, next := d.judge(g, before, d.now)
	g.N, g.Previous, g.Current = 1, g.Current, next.Digest()
	for _, c := range []struct {
		age  time.Duration
		want verdict
	}{{0, repeats}, {repeatWindow, repeats}, {repeatWindow + 1, replayed}, {-clockSlack, repeats}, {-clockSlack - 1, replayed}} {
		if got, again := d.judge(g, before, d.now.Add(c.age)); got != c.want || got == repeats && again != next {
			t.Errorf("after %v it is %v", c.age, got)
		}
		if got, _ := d.judge(g, next, d.now.Add(c.age)); got != rotates {
			t.Errorf("after %v the current one is %v", c.age, got)
		}
	}
}

func TestAnAccessTokenEndsNotAfterItsGrant(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	d.now = d.now.Add(12*time.Hour - time.Minute)
	b := d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)))
	if b.json["expires_in"] != 60.0 {
		t.Errorf("the answer is %s", b.text)
	}
}

func TestTheUseOfAClientIsNotedOncePerHour(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	given := d.now.Add(-2 * time.Hour)
	if err := d.m.Update(t.Context(), func(tx Tx) error {
		return tx.PutConsent(&Consent{Subject: "alice", Client: "app", GivenAt: given, LastUsed: given})
	}); err != nil {
		t.Fatal(err)
	}
	last := func() (at time.Time) {
		d.m.View(t.Context(), func(tx Tx) error {
			c, err := tx.Consent("alice", "app")
			at = c.LastUsed
			return err
		})
		return at
	}
	start := d.now
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	if !last().Equal(start) {
		t.Errorf("last used at %v", last())
	}
	d.now = d.now.Add(time.Minute)
	d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)))
	if !last().Equal(start) {
		t.Errorf("last used at %v", last())
	}
}

func TestAKeyThatIsTakenAwayIsNoTheft(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	refresh := func() *reply {
		return d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret))
	}
	next := d.given(refresh()).string("refresh_token")
	d.Provider.o.Secrets = deskRing(t, "b", "a")
	if got := d.given(refresh()).string("refresh_token"); got != next {
		t.Error("a rotated key gives another successor")
	}
	d.Provider.o.Secrets = deskRing(t, "b")
	d.refused(refresh(), "invalid_grant")
	if len(d.told) > 0 {
		t.Errorf("told: %+v", d.told)
	}
	a.json["refresh_token"] = next
	d.given(refresh())
}

func TestAMissingSigningKeyIsOurFaultAndSpendsNothing(t *testing.T) {
	d := newDesk(t)
	for _, jwt := range []bool{false, true} {
		_, secret := d.client("app", func(c *Client) { c.JWT, c.Signs = jwt, jose.PS256 })
		f := redeeming(d.code("app", nil))
		a := d.post(f, basic("app", secret))
		if a.status != 500 || a.string("error") != "server_error" || strings.Contains(a.text, "PS256") {
			t.Errorf("%d %s", a.status, a.text)
		}
		_, secret = d.client("app", func(c *Client) { c.JWT = jwt })
		d.given(d.post(f, basic("app", secret)))
	}
}

// Whatever is sent, the answer is one of those that there are, and gives nothing to whom
// it refuses.
func FuzzToken(f *testing.F) {
	d := newDesk(f)
	_, secret := d.client("app", func(c *Client) { c.Auth = AnySecret })
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	good := rawBasic("app:" + secret)
	f.Add("grant_type=client_credentials&scope=read", good)
	f.Add(redeeming("adm_o_x").Encode(), good)
	f.Add(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")).Encode(), good)
	f.Add("grant_type=client_credentials&client_id=app&client_secret="+secret, "")
	f.Add("grant_type=client_credentials&client_assertion_type="+url.QueryEscape(assertionType)+"&client_assertion=a.b.c", "")
	f.Fuzz(func(t *testing.T, form, header string) {
		r := httptest.NewRequest(http.MethodPost, deskIssuer+"/oauth/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		w := httptest.NewRecorder()
		d.Provider.token(w, r)
		var a struct {
			Error       string `json:"error"`
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d %q, %v", w.Code, w.Body, err)
		}
		switch w.Code {
		case 200:
			if a.Error != "" || a.AccessToken == "" {
				t.Errorf("%q with %q: %s", form, header, w.Body)
			}
		case 400, 401:
			if a.Error == "" || a.AccessToken != "" {
				t.Errorf("%q with %q: %s", form, header, w.Body)
			}
		default:
			t.Errorf("%q with %q: %d %s", form, header, w.Code, w.Body)
		}
	})
}

// The attack: an application holds a code back until the person has taken back what it was
// allowed, and then makes tokens of it.
func TestAttackACodeIsRedeemedAfterItWasTakenBack(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	for name, scopes := range map[string][]string{"everything": nil, "a part": {"openid", "email"}} {
		code := redeeming(d.code("app", nil))
		if err := d.m.Update(t.Context(), func(tx Tx) error {
			return tx.PutConsent(&Consent{Subject: "alice", Client: "app", Scopes: scopes})
		}); err != nil {
			t.Fatal(err)
		}
		if a := d.post(code, basic("app", secret)); a.status != 400 || a.string("error") != "invalid_grant" {
			t.Errorf("%s taken back: %d %s", name, a.status, a.text)
		}
	}
}

// The attack: a client whose service or scopes were taken from it goes on with what it has,
// or gets more than the person was asked for when it gets another service.
func TestAttackARefreshTokenOutlivesWhatItsClientMayAskFor(t *testing.T) {
	one, other := "https://api.example.org", "https://b.example.org"
	for name, tt := range map[string]struct {
		asked  []string // the resources
		change func(*Client)
		want   string // the audience of the token, or the error
	}{
		"nothing has changed":              {[]string{one, other}, func(*Client) {}, one + " " + other},
		"one of two services is taken":     {[]string{one, other}, func(c *Client) { c.Audiences = []string{other} }, other + " " + deskIssuer},
		"its service is taken":             {[]string{one}, func(c *Client) { c.Audiences = []string{other} }, "invalid_target"},
		"every service is taken":           {[]string{one}, func(c *Client) { c.Audiences = nil }, "invalid_target"},
		"it gets a service afterwards":     {nil, func(c *Client) { c.Audiences = []string{one} }, deskIssuer},
		"every scope is taken":             {[]string{one}, func(c *Client) { c.Scopes = []string{"write"} }, "invalid_scope"},
		"the person's own scope is enough": {[]string{one}, func(c *Client) { c.Scopes = []string{"openid"} }, one},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			k, secret := d.client("app", nil)
			a := d.given(d.post(redeeming(d.code("app", func(c *Code) { c.Asked.Audiences = tt.asked })), basic("app", secret)))
			c := *k
			tt.change(&c)
			d.m.PutClient(c)
			a = d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret))
			if strings.HasPrefix(tt.want, "invalid") {
				d.refused(a, tt.want)
				return
			}
			l, err := d.read(t.Context(), d.given(a).string("access_token"), d.now)
			if err != nil || strings.Join(l.Audience, " ") != tt.want {
				t.Errorf("it is for %v, %v, want %s", l, err, tt.want)
			}
		})
	}
}
