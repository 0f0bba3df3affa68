package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// A bank is a provider with a client that is held to the profile: the firm.
type bank struct {
	*pusher
	*holder
	d *desk
}

func newBank(t testing.TB, change func(*Client)) *bank {
	t.Helper()
	b := &bank{pusher: newPusher(t), holder: newHolder(t)}
	b.Provider = remade(t, b.Provider, func(o *Options) { o.Keys = deskSigning() })
	b.change("firm", func(c *Client) {
		c.FAPI = true
		c.Grants = []GrantType{AuthorizationCode, RefreshToken, ClientCredentials}
		c.Scopes = append(c.Scopes, "pay")
		if change != nil {
			change(c)
		}
	})
	b.shelf.PutUser(User{Subject: "ann", Claims: map[string]any{"name": "Ann"}})
	// A nonce of the moment in which the provider was made does not count.
	b.d = &desk{TB: t, Provider: b.Provider, now: time.Now().Add(2 * time.Second)}
	return b
}

func (b *bank) Helper()                      { b.d.Helper() }
func (b *bank) Errorf(f string, args ...any) { b.d.Errorf(f, args...) }
func (b *bank) Fatalf(f string, args ...any) { b.d.Fatalf(f, args...) }

// signed adds the firm's assertion to a form.
func (b *bank) signed(form url.Values, change map[string]any) url.Values {
	return and(form, fields("client_assertion_type", assertionType, "client_assertion", b.pusher.sign("JWT", change)))
}

// ask sends a form to an endpoint for programs, with a proof unless that is refused by a
// nil change.
func (b *bank) ask(endpoint string, form url.Values, proves bool, change ...any) *reply {
	b.Helper()
	r := httptest.NewRequest("POST", "https://id.example.org/oauth/"+endpoint, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if proves {
		b.sends(b.d, append([]any{"htu", "https://id.example.org/oauth/" + endpoint}, change...)...)(r)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return &reply{w.Code, w.Header(), w.Body.String(), object(b.d.TB, w)}
}

func (b *bank) said(a *reply, code string) {
	b.Helper()
	if a.status < 400 || a.string("error") != code {
		b.Errorf("%d %s, want %s", a.status, a.text, code)
	}
}

func (b *bank) request(change ...string) url.Values {
	v, _ := url.ParseQuery(ask(append([]string{"client_id", "firm"}, change...)...))
	return v
}

// code has ann let the firm in, by a request that is pushed with a proof.
func (b *bank) code() string {
	b.Helper()
	a := b.ask("par", b.signed(b.request("scope", "openid pay"), nil), true)
	if a.status != 201 {
		b.Fatalf("%d %s", a.status, a.text)
	}
	w := b.get(fields("client_id", "firm", "request_uri", a.string("request_uri")).Encode(), "s1")
	return b.answer(w, callback).Get("code")
}

func (b *bank) redeeming(code string) url.Values {
	return fields("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", deskVerifier)
}

func TestAClientOfTheProfileIsRegisteredAsItDemands(t *testing.T) {
	key, err := jose.GenerateKey(jose.ES256, "k")
	if err != nil {
		t.Fatal(err)
	}
	curve, err := jose.GenerateKey(jose.ES384, "k")
	if err != nil {
		t.Fatal(err)
	}
	good := Client{
		ID: "bank", Name: "Bank", Auth: PrivateKeyJWT, Keys: jose.NewKeySet(key.Public()), RedirectURIs: []string{"https://bank.example/cb"},
		Grants: []GrantType{AuthorizationCode, RefreshToken, ClientCredentials}, FAPI: true,
	}
	if err := good.Check(true); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Client){
		"auth_method": func(c *Client) {
			_, kept := NewSecret()
			c.Auth, c.Keys, c.Secrets = AnySecret, nil, []ClientSecret{kept}
		},
		"auth_method ":  func(c *Client) { c.Auth, c.Keys, c.Grants = NoAuth, nil, []GrantType{AuthorizationCode} },
		"jwks":          func(c *Client) { c.Keys = jose.NewKeySet(curve.Public()) },
		"grant_types":   func(c *Client) { c.Grants = append([]GrantType{DeviceCode}, c.Grants...) },
		"redirect_uris": func(c *Client) { c.RedirectURIs = []string{"http://localhost/cb"} },
		"code_ttl":      func(c *Client) { c.CodeLife = 61 * time.Second },
		"signing_alg":   func(c *Client) { c.Signs = jose.RS256 },
	} {
		c := good
		change(&c)
		err := c.Check(true)
		if f, ok := err.(*admit.FieldError); !ok || f.Field != strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
		if c.FAPI = false; c.Check(true) != nil {
			t.Errorf("%s: it would be refused without the profile: %v", field, c.Check(true))
		}
	}
}

// All that the profile is for, in one: a request that is pushed, and tokens of a key.
func TestAClientOfTheProfileIsLetIn(t *testing.T) {
	b := newBank(t, nil)
	a := b.bound(b.d, b.ask("token", b.signed(b.redeeming(b.code()), nil), true))
	if a.string("id_token") == "" || a.string("scope") != "openid pay" {
		t.Errorf("the answer is %s", a.text)
	}
	text := a.string("access_token")
	sum := sha256.Sum256([]byte(text))
	r := httptest.NewRequest("GET", "https://id.example.org/oauth/userinfo", nil)
	r.Header.Set("Authorization", "DPoP "+text)
	b.sends(b.d, "htm", "GET", "htu", "https://id.example.org/oauth/userinfo", "ath", base64.RawURLEncoding.EncodeToString(sum[:]))(r)
	w := httptest.NewRecorder()
	if b.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	b.bound(b.d, b.ask("token", b.signed(fields("grant_type", "client_credentials"), nil), true))
}

func TestAClientOfTheProfilePushesItsRequests(t *testing.T) {
	b := newBank(t, nil)
	b.refused(b.get(b.request("scope", "openid").Encode(), "s1"), "invalid_request")
	// By a push that names who is answered, and proves who asks.
	b.said(b.ask("par", b.signed(b.request("scope", "pay", "redirect_uri", ""), nil), true), "invalid_request")
	b.said(b.ask("par", b.request("scope", "openid"), true), "invalid_client")
	b.said(b.ask("par", b.signed(b.request("code_challenge", ""), nil), true), "invalid_request")
}

func TestACodeOfTheProfileIsGoodForAMinuteAtMost(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{0: time.Minute, 10 * time.Minute: time.Minute, 20 * time.Second: 20 * time.Second} {
		c := Client{FAPI: true, CodeLife: life}
		if got := c.codeLife(); got != want {
			t.Errorf("%v of %v", got, life)
		}
	}
}

func TestAClientOfTheProfileGetsBoundTokensAlone(t *testing.T) {
	b := newBank(t, nil)
	code := b.redeeming(b.code())
	for _, form := range []url.Values{code, fields("grant_type", "client_credentials")} {
		b.said(b.ask("token", b.signed(form, nil), false), "invalid_dpop_proof")
	}
	b.said(b.ask("token", code, true), "invalid_client") // nor without proving itself
	b.bound(b.d, b.ask("token", b.signed(code, nil), true))
}

// Section 5.3.2.1: a lost answer costs nobody his grant. Who stole one needs the client's
// keys as well, and it ends with its grant.
func TestTheRefreshTokensOfTheProfileStayAsTheyAre(t *testing.T) {
	b := newBank(t, nil)
	first := b.bound(b.d, b.ask("token", b.signed(b.redeeming(b.code()), nil), true))
	again := func() *reply {
		return b.ask("token", b.signed(refreshing(first), nil), true)
	}
	for range 3 {
		if a := b.bound(b.d, again()); a.string("refresh_token") != first.string("refresh_token") || a.string("access_token") == first.string("access_token") {
			t.Errorf("the answer is %s", a.text)
		}
	}
	b.said(b.ask("token", and(refreshing(first), fields("client_id", "firm")), true), "invalid_client")
	if there, err := b.TakeBack(t.Context(), "ann", "firm"); !there || err != nil {
		t.Fatal(there, err)
	}
	b.said(again(), "invalid_grant")
}

// The attack: a signature by an algorithm that is weaker than the profile allows, such as
// RSA with PKCS #1.
func TestAttackAnAlgorithmThatTheProfileForbids(t *testing.T) {
	rsa := deskSigning().by[jose.RS256]
	for _, fapi := range []bool{true, false} {
		b := newBank(t, func(c *Client) {
			c.FAPI, c.DPoP = fapi, true
			c.Keys = jose.NewKeySet(rsa.Public())
		})
		b.pusher.key = rsa
		a := b.ask("token", b.signed(fields("grant_type", "client_credentials"), nil), true)
		if fapi {
			b.said(a, "invalid_client")
		} else {
			b.bound(b.d, a)
		}
		signed := b.signBy(rsa, objectType, objectOf(nil))
		a = b.ask("par", b.signed(fields("request", signed), nil), true)
		if want := map[bool]string{true: "invalid_client"}[fapi]; a.string("error") != want {
			t.Errorf("FAPI %v: %d %s", fapi, a.status, a.text)
		}
	}
	// Its request object, too, where it has a better key besides.
	b := newBank(t, nil)
	b.change("firm", func(c *Client) { c.Keys = jose.NewKeySet(b.pusher.key.Public(), rsa.Public()) })
	b.said(b.ask("par", b.signed(fields("request", b.signBy(rsa, objectType, objectOf(nil))), nil), true), "invalid_request_object")
}

// Section 5.3.2.1: up to 10 seconds ahead a clock may be, and no more than a minute.
func TestTheClockOfAClientOfTheProfileMayBeALittleAhead(t *testing.T) {
	b := newBank(t, nil)
	form := fields("grant_type", "client_credentials")
	at := func(ahead time.Duration) int64 { return b.d.now.Add(ahead).Unix() }
	for _, name := range []string{"iat", "nbf"} {
		b.bound(b.d, b.ask("token", b.signed(form, nil), true, name, at(7*time.Second)))
		b.said(b.ask("token", b.signed(form, nil), true, name, at(70*time.Second)), "invalid_dpop_proof")
		b.bound(b.d, b.ask("token", b.signed(form, map[string]any{name: at(7 * time.Second)}), true))
		b.said(b.ask("token", b.signed(form, map[string]any{name: at(70 * time.Second), "exp": at(3 * time.Minute)}), true), "invalid_client")
	}
	b.said(b.ask("par", b.signed(b.request("scope", "openid"), nil), true, "iat", at(70*time.Second)), "invalid_dpop_proof")
	b.said(b.ask("token", b.signed(form, map[string]any{"aud": []string{"https://id.example.org"}}), true), "invalid_client")
	b.said(b.ask("token", b.signed(form, map[string]any{"aud": "https://id.example.org/oauth/token"}), true), "invalid_client")
}

// What the profile demands of redirects: 303, and who has answered.
func TestAnAnswerOfTheProfileIsA303ThatSaysWhoseItIs(t *testing.T) {
	b := newBank(t, nil)
	a := b.ask("par", b.signed(b.request("scope", "openid"), nil), true)
	w := b.get(fields("client_id", "firm", "request_uri", a.string("request_uri")).Encode(), "s1")
	if to, _ := url.Parse(w.Header().Get("Location")); w.Code != http.StatusSeeOther || to.Query().Get("iss") != "https://id.example.org" {
		t.Errorf("%d to %s", w.Code, to)
	}
	if life := a.json["expires_in"].(float64); life >= 600 {
		t.Errorf("a request_uri is good for %v s", life)
	}
}
