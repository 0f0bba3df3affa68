package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// authorization sets the header as it stands.
func authorization(values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Authorization"] = values }
}

func rawBasic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestAClientProvesItselfInTheMannerItIsRegisteredWith(t *testing.T) {
	d := newDesk(t)
	cc := func(more ...string) url.Values {
		return fields(append([]string{"grant_type", "client_credentials"}, more...)...)
	}
	type try struct{ basic, post, none string }
	for method, want := range map[AuthMethod]try{
		SecretBasic: {"", "invalid_client", "invalid_client"},
		SecretPost:  {"invalid_client", "", "invalid_client"},
		AnySecret:   {"", "", "invalid_client"},
		NoAuth:      {"invalid_client", "invalid_client", "unauthorized_client"},

		PrivateKeyJWT: {"invalid_client", "invalid_client", "invalid_client"},
	} {
		_, secret := d.client("app", func(c *Client) { c.Auth = method })
		for how, a := range map[string]struct {
			reply *reply
			want  string
		}{
			"Basic":   {d.post(cc(), basic("app", secret)), want.basic},
			"post":    {d.post(cc("client_id", "app", "client_secret", secret)), want.post},
			"id only": {d.post(cc("client_id", "app")), want.none},
		} {
			t.Run(string(method)+" by "+how, func(t *testing.T) {
				if a.want == "" {
					d.given(a.reply)
				} else {
					d.refused(a.reply, a.want)
				}
			})
		}
	}
}

func TestTheIDAndSecretInBasicAreFormEncoded(t *testing.T) {
	d := newDesk(t)
	id := "https://app.example.org/a b:c%"
	_, secret := d.client(id, nil)
	f := fields("grant_type", "client_credentials")
	d.given(d.post(f, basic(id, secret)))
	d.given(d.post(f, authorization("basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+secret)))))
	for name, header := range map[string]string{
		"not encoded":          rawBasic(id + ":" + secret),
		"no colon":             rawBasic(url.QueryEscape(id)),
		"no id":                rawBasic(":" + secret),
		"a half escape":        rawBasic(url.QueryEscape(id) + "%:" + secret),
		"no base64":            "Basic %%%",
		"another scheme":       "Bearer " + secret,
		"nothing":              "",
		"the scheme alone":     "Basic",
		"an alphabet for URLs": "Basic " + base64.RawURLEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+secret+"?")),
	} {
		t.Run(name, func(t *testing.T) { d.refused(d.post(f, authorization(header)), "invalid_client") })
	}
}

// The attack: a request that shows two things, of which one reader believes the one and
// the next one the other.
func TestAttackMoreThanOneAuthenticationMethod(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.Auth = AnySecret })
	d.client("other", func(c *Client) { c.Auth, c.Secrets = NoAuth, nil })
	f := fields("grant_type", "client_credentials")
	with := func(pairs ...string) url.Values {
		all := maps.Clone(f)
		maps.Copy(all, fields(pairs...))
		return all
	}
	d.refused(d.post(with("client_secret", secret), basic("app", secret)), "invalid_request")
	d.refused(d.post(with("client_assertion_type", assertionType, "client_assertion", "a.b.c"), basic("app", secret)), "invalid_request")
	d.refused(d.post(with("client_id", "app", "client_secret", secret, "client_assertion_type", assertionType, "client_assertion", "a.b.c")), "invalid_request")
	d.refused(d.post(with("client_id", "other"), basic("app", secret)), "invalid_request")
	one := rawBasic("app:" + secret)
	d.refused(d.post(f, authorization(one, one)), "invalid_request")
	d.given(d.post(with("client_id", "app"), basic("app", secret)))
}

// Strangers learn nothing of a client from how they are refused.
func TestEveryWrongSecretIsRefusedAlike(t *testing.T) {
	d := newDesk(t)
	c, secret := d.client("app", nil)
	right, _ := token.Parse(token.ClientSecret, secret)
	gone := *c
	gone.ID, gone.Disabled = "gone", true
	d.m.PutClient(gone)
	_, others := d.client("other", nil)
	f := fields("grant_type", "client_credentials")
	want := d.refused(d.post(f, basic("nobody", secret)), "invalid_client").text
	for name, a := range map[string]*reply{
		"a wrong verifier":    d.post(f, basic("app", right.WithNewVerifier().Reveal())),
		"no token":            d.post(f, basic("app", "password")),
		"nothing":             d.post(f, basic("app", "")),
		"another one's":       d.post(f, basic("app", others)),
		"one byte more":       d.post(f, basic("app", secret+"0")),
		"a client that ended": d.post(f, basic("gone", secret)),
		"an id with a space":  d.post(f, basic("app ", secret)),
		"another case":        d.post(f, basic("App", secret)),
	} {
		if d.refused(a, "invalid_client"); a.text != want {
			t.Errorf("%s: %s, want %s", name, a.text, want)
		}
		if strings.Contains(a.text, secret) {
			t.Errorf("%s: the answer quotes the secret", name)
		}
	}
}

// An asserter is a client with a key.
type asserter struct {
	*desk
	key *jose.Key
}

func newAsserter(t testing.TB, alg jose.Algorithm) *asserter {
	t.Helper()
	d := newDesk(t)
	key, err := jose.GenerateKey(alg, "k1")
	if err != nil {
		t.Fatal(err)
	}
	d.client("app", func(c *Client) {
		c.Auth, c.Secrets, c.Keys = PrivateKeyJWT, nil, jose.NewKeySet(key.Public())
	})
	return &asserter{d, key}
}

// sign makes an assertion of these claims, changed.
func (a *asserter) sign(key *jose.Key, typ string, change func(map[string]any)) string {
	a.Helper()
	claims := map[string]any{
		"iss": "app", "sub": "app", "aud": deskIssuer, "jti": token.New(token.OneTime).Selector(),
		"iat": a.now.Unix(), "exp": a.now.Add(time.Minute).Unix(),
	}
	if change != nil {
		change(claims)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		a.Fatal(err)
	}
	signed, err := jose.Sign(key, jose.Header{Type: typ}, text)
	if err != nil {
		a.Fatal(err)
	}
	return signed
}

func (a *asserter) ask(assertion string, more ...string) *reply {
	a.Helper()
	return a.post(fields(append([]string{
		"grant_type", "client_credentials", "client_assertion_type", assertionType, "client_assertion", assertion,
	}, more...)...))
}

func TestAClientProvesItselfByASignedAssertion(t *testing.T) {
	for _, alg := range assertionAlgorithms {
		if alg == jose.PS256 {
			continue // an RSA key takes a second to make, and RS256 has had one made
		}
		a := newAsserter(t, alg)
		for _, typ := range []string{"JWT", "client-authentication+jwt", ""} {
			a.given(a.ask(a.sign(a.key, typ, nil)))
			a.given(a.ask(a.sign(a.key, typ, nil), "client_id", "app"))
		}
	}
}

// The attacks: what a client has signed for somebody else, or what nobody has.
func TestAttackAssertionsThatAreNotForHere(t *testing.T) {
	a := newAsserter(t, jose.ES256)
	stranger, err := jose.GenerateKey(jose.ES256, "k1")
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, v any) func(map[string]any) {
		return func(m map[string]any) {
			if m[name] = v; v == nil {
				delete(m, name)
			}
		}
	}
	for name, change := range map[string]func(map[string]any){
		"a list of one audience":    set("aud", []string{deskIssuer}),
		"a list of audiences":       set("aud", []string{deskIssuer, "https://evil.example.org"}),
		"the token endpoint":        set("aud", deskIssuer+"/oauth/token"),
		"a slash more":              set("aud", deskIssuer+"/"),
		"another issuer":            set("aud", "https://evil.example.org"),
		"no audience":               set("aud", nil),
		"no expiry":                 set("exp", nil),
		"expired":                   set("exp", a.now.Add(-time.Minute).Unix()),
		"an expiry in two hours":    set("exp", a.now.Add(2*time.Hour).Unix()),
		"not yet":                   set("nbf", a.now.Add(time.Hour).Unix()),
		"no id":                     set("jti", nil),
		"an empty id":               set("jti", ""),
		"another issuer of its own": set("iss", "evil"),
		"no issuer":                 set("iss", nil),
	} {
		t.Run(name, func(t *testing.T) { a.refused(a.ask(a.sign(a.key, "JWT", change)), "invalid_client") })
	}
	a.client("evil", nil)
	for name, text := range map[string]string{
		"a stranger's key":       a.sign(stranger, "JWT", nil),
		"another subject":        a.sign(a.key, "JWT", set("sub", "evil")),
		"an access token's type": a.sign(a.key, "at+jwt", nil),
		"a proof's type":         a.sign(a.key, "dpop+jwt", nil),
		"nothing":                "",
		"no JWT":                 "a.b.c",
		"alg none":               unsigned(`{"alg":"none"}`, a.sign(a.key, "JWT", nil)),
	} {
		t.Run(name, func(t *testing.T) {
			a.refused(a.ask(text), "invalid_client")
			a.refused(a.ask(text, "client_id", "app"), "invalid_client")
		})
	}
	f := fields("grant_type", "client_credentials", "client_id", "app", "client_assertion", a.sign(a.key, "JWT", nil))
	a.refused(a.post(f), "invalid_client")
	f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")
	a.refused(a.post(f), "invalid_client")
}

// The attack: a stranger registers a client with a key and fills the store with assertions,
// each of which has to be remembered until it expires, though nothing comes of it.
func TestAttackAStrangersAssertionsAreRememberedForAnHour(t *testing.T) {
	a := newAsserter(t, jose.ES256)
	for _, stranger := range []bool{false, true} {
		a.client("app", func(c *Client) {
			c.Auth, c.Secrets, c.Keys = PrivateKeyJWT, nil, jose.NewKeySet(a.key.Public())
			if stranger {
				c.Registered = &Registered{}
			}
		})
		for life, ok := range map[time.Duration]bool{5 * time.Minute: true, 5*time.Minute + time.Second: !stranger} {
			got := a.ask(a.sign(a.key, "JWT", func(c map[string]any) { c["exp"] = a.now.Add(life).Unix() }))
			if (got.status == 200) != ok {
				t.Errorf("a stranger's %v, for %v: %d %s", stranger, life, got.status, got.text)
			}
		}
	}
}

// unsigned is the claims of a JWT behind another header.
func unsigned(header, of string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + strings.Split(of, ".")[1] + "."
}

// The attack: the client's public key, which everybody has, as the secret of an HMAC.
func TestAttackAlgorithmConfusionInAnAssertion(t *testing.T) {
	a := newAsserter(t, jose.ES256)
	public, err := json.Marshal(a.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := jose.NewKey(jose.HS256, "k1", public)
	if err != nil {
		t.Fatal(err)
	}
	a.refused(a.ask(a.sign(hmac, "JWT", nil)), "invalid_client")
	// Nor where the client was registered with a secret of its own as a key.
	a.client("app", func(c *Client) { c.Auth, c.Keys = PrivateKeyJWT, jose.NewKeySet(hmac) })
	a.refused(a.ask(a.sign(hmac, "JWT", nil)), "invalid_client")
}

// The attack: an assertion is seen on its way, and sent once more.
func TestAttackAssertionReplay(t *testing.T) {
	a := newAsserter(t, jose.ES256)
	text := a.sign(a.key, "JWT", nil)
	answers := make(chan *reply, 64)
	for range cap(answers) {
		go func() { answers <- a.ask(text) }()
	}
	given := 0
	for range cap(answers) {
		if one := <-answers; one.status == 200 {
			given++
		} else {
			a.refused(one, "invalid_client")
		}
	}
	if given != 1 {
		t.Errorf("one assertion was good %d times", given)
	}
	a.now = a.now.Add(time.Minute + assertionLeeway - time.Second)
	for range 8 { // the store forgets what it may
		a.given(a.ask(a.sign(a.key, "JWT", nil)))
	}
	a.refused(a.ask(text), "invalid_client")

	// Nor where nothing came of it the first time.
	for name, first := range map[string]url.Values{
		"a scope too many": fields("grant_type", "client_credentials", "scope", "admin"),
		"no such grant":    fields("grant_type", "password"),
		"a wrong code":     redeeming("x"),
	} {
		t.Run(name, func(t *testing.T) {
			text := a.sign(a.key, "JWT", nil)
			first.Set("client_assertion_type", assertionType)
			first.Set("client_assertion", text)
			if r := a.post(first); r.status != 400 {
				t.Errorf("%d %s", r.status, r.text)
			}
			a.refused(a.ask(text), "invalid_client")
		})
	}
	// What fails through our fault has spent nothing.
	a.client("app", func(c *Client) {
		c.Auth, c.Keys, c.JWT, c.Signs = PrivateKeyJWT, jose.NewKeySet(a.key.Public()), true, jose.PS256
	})
	text = a.sign(a.key, "JWT", nil)
	if r := a.ask(text); r.status != 500 {
		t.Errorf("%d %s", r.status, r.text)
	}
	a.client("app", func(c *Client) { c.Auth, c.Keys = PrivateKeyJWT, jose.NewKeySet(a.key.Public()) })
	a.given(a.ask(text))

	// Two clients may well use the same id.
	id := func(m map[string]any) { m["jti"] = "1" }
	a.given(a.ask(a.sign(a.key, "JWT", id)))
	a.client("b", func(c *Client) { c.Auth, c.Keys = PrivateKeyJWT, jose.NewKeySet(a.key.Public()) })
	a.given(a.ask(a.sign(a.key, "JWT", func(m map[string]any) { id(m); m["iss"], m["sub"] = "b", "b" })))
	a.refused(a.ask(a.sign(a.key, "JWT", id)), "invalid_client")
}

func TestTheBase64OfBasicHasOneSpelling(t *testing.T) {
	for header, want := range map[string]bool{"Basic YWI6Yw==": true, "Basic YWI6Yx==": false, "Basic YWI6Yw": false, "Basic YWI6\nYw==": false} {
		if id, secret, ok := parseBasic(header); ok != want || ok && (id != "ab" || secret != "c") {
			t.Errorf("%q is %q and %q, %v", header, id, secret, ok)
		}
	}
}

func TestAClientsKeysMayBeBehindAURL(t *testing.T) {
	a := newAsserter(t, jose.ES256)
	published := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(published)
		json.NewEncoder(w).Encode(jose.NewKeySet(a.key.Public()))
	}))
	defer s.Close()
	a.client("app", func(c *Client) { c.Auth, c.KeysURI = PrivateKeyJWT, s.URL })
	a.given(a.ask(a.sign(a.key, "JWT", nil)))
	a.given(a.ask(a.sign(a.key, "JWT", nil)))

	published = http.StatusBadGateway
	a.client("app", func(c *Client) { c.Auth, c.KeysURI = PrivateKeyJWT, s.URL+"/other" })
	if r := a.ask(a.sign(a.key, "JWT", nil)); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("while the client's keys are away: %d %s", r.status, r.text)
	}
}

// The client is taken away between its proof and the transaction.
func TestAClientThatIsDisabledMeanwhileGetsNothing(t *testing.T) {
	d := newDesk(t)
	c, secret := d.client("app", nil)
	less := *c
	less.Disabled = true
	d.Provider.o.Store = between{d.m, func() { d.m.PutClient(less) }}
	d.refused(d.post(redeeming(d.code("app", nil)), basic("app", secret)), "invalid_client")
	// What is given without a write was given before, and counts no more.
	d.m.PutClient(*c)
	text := d.given(d.post(fields("grant_type", "client_credentials"), basic("app", secret))).string("access_token")
	if d.own("app", text) != nil {
		t.Error("the token of a client that is disabled counts")
	}
}

// between does something after each View and before each Update.
type between struct {
	*Memory
	do func()
}

func (b between) View(ctx context.Context, fn func(Tx) error) error {
	defer b.do()
	return b.Memory.View(ctx, fn)
}

func (b between) Update(ctx context.Context, fn func(Tx) error) error {
	b.do()
	if ctx.Err() != nil {
		panic("who hangs up interrupts a transaction")
	}
	return b.Memory.Update(ctx, fn)
}

func FuzzBasic(f *testing.F) {
	f.Add(rawBasic("app:secret"))
	f.Add("basic  YTpi")
	f.Add(rawBasic("a%3Ab:c+d"))
	f.Add(rawBasic(":"))
	f.Fuzz(func(t *testing.T, header string) {
		id, secret, ok := parseBasic(header)
		if !ok {
			return
		}
		again, secretAgain, ok := parseBasic(rawBasic(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
		if !ok || again != id || secretAgain != secret || id == "" {
			t.Errorf("%q is %q and %q, and then %q and %q", header, id, secret, again, secretAgain)
		}
	})
}

func FuzzAssertion(f *testing.F) {
	a := newAsserter(f, jose.ES256)
	good := a.sign(a.key, "JWT", nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Add(unsigned(`{"alg":"none"}`, good))
	f.Fuzz(func(t *testing.T, text string) {
		claimant(text)
		c, _ := (&memoryTx{Memory: a.m}).Client("app")
		err := a.prove(t.Context(), &showing{id: "app", method: PrivateKeyJWT, assertion: text}, c, a.now)
		if err == nil && text != good {
			// The same claims may be signed anew by a second spelling of the signature only.
			if strings.Join(strings.Split(text, ".")[:2], ".") != strings.Join(strings.Split(good, ".")[:2], ".") {
				t.Errorf("%q is taken", text)
			}
		}
	})
}

func FuzzVerifier(f *testing.F) {
	f.Add(deskChallenge, deskVerifier)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, challenge, verifier string) {
		if checkVerifier(challenge, verifier) == nil && challenge != "" && (!isVerifier(verifier) || challenge == verifier) {
			t.Errorf("%q proves %q", verifier, challenge)
		}
	})
}

// A store is outdated once: what else would end there runs again, with the assertion that
// is spent in the same transaction.
type outdated struct {
	Store
	left int
}

var errAgain = admit.Conflict.New("outdated", "Something else came first.")

func (s *outdated) Update(ctx context.Context, fn func(Tx) error) error {
	for {
		err := s.Store.Update(ctx, func(tx Tx) error { return fn(outdatedTx{tx, s}) })
		if !errors.Is(err, errAgain) {
			return err
		}
	}
}

type outdatedTx struct {
	Tx
	store *outdated
}

func (tx outdatedTx) AddToken(t *Token) error {
	if tx.store.left > 0 {
		tx.store.left--
		return errAgain
	}
	return tx.Tx.AddToken(t)
}

func TestWhatIsOutdatedRunsAgainWhateverProvesTheClient(t *testing.T) {
	a := newAsserter(t, jose.ES256)
	a.Provider = remade(t, a.Provider, func(o *Options) { o.Store = &outdated{Store: o.Store, left: 2} })
	a.given(a.ask(a.sign(a.key, "JWT", nil)))
}
