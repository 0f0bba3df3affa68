package provider

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

// A gate is a provider where clients register themselves.
type gate struct {
	*desk
	log *bytes.Buffer
}

func newGate(t testing.TB, reg Registration, change func(*Options)) *gate {
	t.Helper()
	g := &gate{newDesk(t), &bytes.Buffer{}}
	g.Provider = remade(t, g.Provider, func(o *Options) {
		o.Registration, o.InsecureLoopback, o.HTTP, o.Log = &reg, false, nil, slog.New(slog.NewTextHandler(g.log, nil))
	}, change)
	return g
}

type told map[string]any

func (a told) text(name string) string { s, _ := a[name].(string); return s }

// calls makes a request with a token, "" for none, and a body; a nil one is none.
func (g *gate) calls(method, at, bearer string, body any) (told, *httptest.ResponseRecorder) {
	g.Helper()
	text, _ := body.(string)
	if _, is := body.(string); !is && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			g.Fatal(err)
		}
		text = string(b)
	}
	r := httptest.NewRequest(method, at, strings.NewReader(text))
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	a := told{}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			g.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
	}
	return a, w
}

func (g *gate) registers(bearer string, body any, want int) told {
	g.Helper()
	a, w := g.calls("POST", "/oauth/register", bearer, body)
	if w.Code != want {
		g.Fatalf("%v: %d %s, want %d", body, w.Code, w.Body, want)
	}
	return a
}

// itself calls a client's own address, by its path.
func (g *gate) itself(method string, of told, bearer string, body any) (told, *httptest.ResponseRecorder) {
	g.Helper()
	u, err := url.Parse(of.text("registration_client_uri"))
	if err != nil {
		g.Fatal(err)
	}
	return g.calls(method, u.RequestURI(), bearer, body)
}

func anApp(change told) told {
	m := told{"redirect_uris": []string{"https://app.example.net/cb"}, "client_name": "An app"}
	for k, v := range change {
		m[k] = v
	}
	return m
}

func (g *gate) stored(id string) (c *Client) {
	g.Helper()
	if err := g.m.View(g.Context(), func(tx Tx) (err error) {
		c, err = tx.Client(id)
		return err
	}); err != nil {
		g.Fatal(err)
	}
	return c
}

func (g *gate) invite(uses int, l Limits) string {
	secret, i := NewInvite(uses, g.now.Add(time.Hour), l)
	g.m.PutInvite(i)
	return secret.Reveal()
}

func TestAClientRegistersItselfAndLooksAfterItself(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	a := g.registers("", anApp(told{"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid email orders", "tos_uri": "https://app.example.net/tos", "logo_uri": "http://127.0.0.1/"}), 201)
	for name, want := range map[string]any{
		"client_name": "An app", "token_endpoint_auth_method": "client_secret_basic", "id_token_signed_response_alg": "RS256", "scope": "openid email",
		"application_type": "web", "subject_type": "public", "client_secret_expires_at": 0.0, "logo_uri": nil,
	} {
		if a[name] != want {
			t.Errorf("%s is %v, want %v", name, a[name], want)
		}
	}
	c := g.stored(a.text("client_id"))
	if c == nil || !c.Unverified() || c.FirstParty || c.JWT || !c.has(secretOf(a), g.now) || c.Registered.Selector == "" {
		t.Fatalf("the client is %+v", c)
	}
	first := a.text("registration_access_token")
	b, w := g.itself("GET", a, first, nil)
	if w.Code != 200 || b.text("registration_access_token") != first || b["client_secret"] != nil || b.text("client_name") != "An app" {
		t.Errorf("it reads %d %s", w.Code, w.Body)
	}
	change := anApp(told{"client_id": a["client_id"], "client_secret": a["client_secret"], "client_name": "Another", "redirect_uris": []string{"https://app.example.org/cb"}})
	b, w = g.itself("PUT", a, first, change)
	second := b.text("registration_access_token")
	if w.Code != 200 || second == first || second == "" || b["client_secret"] != nil {
		t.Fatalf("it changes: %d %s", w.Code, w.Body)
	}
	if c := g.stored(c.ID); c.Name != "Another" || !slices.Equal(c.Grants, []GrantType{AuthorizationCode}) || !c.has(secretOf(a), g.now) {
		t.Errorf("the client is %+v", c)
	}
	if _, w := g.itself("GET", a, first, nil); w.Code != 401 {
		t.Errorf("the token of before the change is good: %d", w.Code)
	}
	if b, w = g.itself("PUT", a, second, anApp(told{"client_id": a["client_id"], "token_endpoint_auth_method": "none"})); w.Code != 200 || len(g.stored(c.ID).Secrets) != 0 {
		t.Errorf("it becomes public: %d %s", w.Code, w.Body)
	}
	if b, w = g.itself("PUT", a, b.text("registration_access_token"), anApp(told{"client_id": a["client_id"]})); w.Code != 200 || !g.stored(c.ID).has(secretOf(b), g.now) {
		t.Errorf("it gets another secret: %d %s", w.Code, w.Body)
	}
	if _, w = g.itself("DELETE", a, b.text("registration_access_token"), nil); w.Code != 204 || g.stored(c.ID) != nil {
		t.Errorf("it goes: %d %s", w.Code, w.Body)
	}
	events := ""
	for _, n := range g.notes {
		events += n.Event + " "
		if n.Client != c.ID || n.Detail != c.ID {
			t.Errorf("a note is %+v", n)
		}
	}
	if events != "client_registered client_registration_changed client_registration_changed client_registration_changed client_unregistered " {
		t.Errorf("noted are %s", events)
	}
}

func secretOf(a told) admit.Secret { return admit.NewSecret(a.text("client_secret")) }

func TestRegistrationIsInTheMetadataWhereItIsAndNowhereElse(t *testing.T) {
	has := func(p *Provider) bool {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/openid-configuration", nil))
		return strings.Contains(w.Body.String(), `"registration_endpoint":"`+deskIssuer+`/oauth/register"`)
	}
	if g := newGate(t, Registration{}, nil); !has(g.Provider) {
		t.Error("it is not named")
	}
	d := newDesk(t)
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest("POST", "/oauth/register", nil))
	if has(d.Provider) || w.Code != 404 {
		t.Errorf("it is there, by default: %d", w.Code)
	}
}

func TestWhatIsNotToBeRegisteredIsRefusedByItsName(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct {
		name   string
		change told
		code   string
	}{
		{"no redirect URI", told{"redirect_uris": []string{}}, "invalid_client_metadata"},
		{"http", told{"redirect_uris": []string{"http://app.example.net/cb"}}, "invalid_redirect_uri"},
		{"javascript", told{"redirect_uris": []string{"javascript:alert(1)"}}, "invalid_redirect_uri"},
		{"data", told{"redirect_uris": []string{"data:text/html,x"}, "token_endpoint_auth_method": "none"}, "invalid_redirect_uri"},
		{"a scheme that any program may have", told{"redirect_uris": []string{"myapp:/cb"}, "application_type": "native", "token_endpoint_auth_method": "none"}, "invalid_redirect_uri"},
		{"a pattern", told{"redirect_uris": []string{"https://*.example.net/cb"}}, "invalid_redirect_uri"},
		{"a fragment", told{"redirect_uris": []string{"https://app.example.net/cb#"}}, "invalid_redirect_uri"},
		{"a user name", told{"redirect_uris": []string{"https://shop.example.net@app.example.net/cb"}}, "invalid_redirect_uri"},
		{"loopback of a site", told{"redirect_uris": []string{"http://localhost/cb"}, "application_type": "web", "token_endpoint_auth_method": "none"}, "invalid_redirect_uri"},
		{"a native client with a secret", told{"redirect_uris": []string{"https://app.example.net/cb"}, "application_type": "native"}, "invalid_client_metadata"},
		{"a long address", told{"redirect_uris": []string{"https://app.example.net/" + long}}, "invalid_redirect_uri"},
		{"many addresses", told{"redirect_uris": many(51)}, "invalid_redirect_uri"},
		{"a log-out to anywhere", told{"post_logout_redirect_uris": []string{"javascript:x"}}, "invalid_redirect_uri"},
		{"the implicit flow", told{"response_types": []string{"id_token token"}}, "invalid_client_metadata"},
		{"the implicit grant", told{"grant_types": []string{"implicit"}}, "invalid_client_metadata"},
		{"tokens of its own", told{"grant_types": []string{"client_credentials"}}, "invalid_client_metadata"},
		{"devices", told{"grant_types": []string{string(DeviceCode)}}, "invalid_client_metadata"},
		{"scopes of a service", told{"scope": "orders admin"}, "invalid_client_metadata"},
		{"a secret that both know signs", told{"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"},
		{"no signature", told{"id_token_signed_response_alg": "none"}, "invalid_client_metadata"},
		{"a shared key signs", told{"id_token_signed_response_alg": "HS256"}, "invalid_client_metadata"},
		{"encryption", told{"id_token_encrypted_response_alg": "RSA-OAEP"}, "invalid_client_metadata"},
		{"a software statement", told{"software_statement": "a.b.c"}, "unapproved_software_statement"},
		{"keys without any", told{"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"},
		{"keys over http", told{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://app.example.net/jwks"}, "invalid_client_metadata"},
		{"a private key", told{"token_endpoint_auth_method": "private_key_jwt", "jwks": told{"keys": []told{{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}}}}, "invalid_client_metadata"},
		{"pairwise ids over two hosts", told{"subject_type": "pairwise", "redirect_uris": []string{"https://a.example/", "https://b.example/"}}, "invalid_client_metadata"},
		{"a page about it that is a script", told{"client_uri": "javascript:alert(1)"}, "invalid_client_metadata"},
		{"another type", told{"redirect_uris": "https://app.example.net/cb"}, "invalid_client_metadata"},
	} {
		a, w := g.calls("POST", "/oauth/register", "", anApp(tt.change))
		if w.Code != 400 || a.text("error") != tt.code || a.text("error_description") == "" {
			t.Errorf("%s: %d %s, want %s", tt.name, w.Code, w.Body, tt.code)
		}
		if strings.ContainsFunc(a.text("error_description"), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: it is told in other characters than RFC 6749 has", tt.name)
		}
	}
	for name, body := range map[string]string{"no JSON": "x", "a list": "[]", "two": "{}{}", "nothing": "", "too much": `{"x":"` + strings.Repeat("x", 70<<10) + `"}`, "too deep": strings.Repeat("[", 60000)} {
		if a, w := g.calls("POST", "/oauth/register", "", body); w.Code != 400 || a.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if n := len(g.m.clients); n != 0 {
		t.Errorf("%d clients are registered", n)
	}
}

func many(n int) (all []string) {
	for i := range n {
		all = append(all, "https://app.example.net/"+strings.Repeat("a", i))
	}
	return all
}

func TestAProgramOnADeviceNeedNotSayThatItIsOne(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	a := g.registers("", told{"redirect_uris": []string{"http://127.0.0.1/cb"}, "token_endpoint_auth_method": "none"}, 201)
	c := g.stored(a.text("client_id"))
	if !c.Native || a.text("application_type") != "native" || a["client_secret"] != nil || c.Name != "127.0.0.1" || !c.redirects("http://127.0.0.1:4711/cb") {
		t.Errorf("it is %+v, and is told %v", c, a)
	}
}

// A stranger calls itself what somebody else is called, or what is read as that.
func TestAttackAStrangersNameIsTakenForAnothers(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	for _, name := range []string{"P\u0430yPal", "\u0391pple", "Shop\u202egro.elpmaxe", "Shop\u200b", "Shop\u0000", "Sh\nop", "Sh\u0336\u0335\u0334\u0333op", "Sh\u2028op", "\u2066Shop", strings.Repeat("a", 101), "\ufeffShop", "Shop\U000e0041"} {
		if a, w := g.calls("POST", "/oauth/register", "", anApp(told{"client_name": name})); w.Code != 400 || a.text("error") != "invalid_client_metadata" {
			t.Errorf("%q: %d %s", name, w.Code, w.Body)
		}
	}
	for _, name := range []string{"Straßen & Wege 2", "Магазин", "小店 Shop", "ショップ", "가게 Shop", "متجر", "दुकान", "Cửa hàng"} {
		g.registers("", anApp(told{"client_name": name}), 201)
	}
}

func TestAttackAClientIsRegisteredByTheIDOfAnother(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	shop, _ := g.client("shop", nil)
	a := g.registers("", anApp(told{"client_id": "shop", "client_secret": "known to me since ever", "first_party": true, "access_token_format": "jwt", "audiences": []string{"https://api.example.org"}, "Registered": nil}), 201)
	c := g.stored(a.text("client_id"))
	if c.ID == "shop" || g.stored("shop").Name != shop.Name || c.has(admit.NewSecret("known to me since ever"), g.now) || c.FirstParty || c.JWT || len(c.Audiences) > 0 {
		t.Errorf("registered is %+v", c)
	}
	own := a.text("registration_access_token")
	for name, id := range map[string]string{"another's id": "shop", "none": "", "nobody's": "nobody"} {
		if b, w := g.itself("PUT", a, own, anApp(told{"client_id": id})); w.Code != 400 || b.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for name, more := range map[string]told{
		"a secret of its choice": {"client_secret": "known to me since ever"}, "its token": {"registration_access_token": own}, "its address": {"registration_client_uri": "https://x.example"}, "its end": {"client_secret_expires_at": 0},
	} {
		more["client_id"] = a["client_id"]
		if _, w := g.itself("PUT", a, own, anApp(more)); w.Code != 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestAttackAStrangerReadsAndChangesAnothersRegistration(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	shop, shopSecret := g.client("shop", nil)
	a, b := g.registers("", anApp(nil), 201), g.registers("", anApp(nil), 201)
	invite := g.invite(5, Limits{})
	answers := map[string]bool{}
	for name, bearer := range map[string]string{
		"nothing": "", "another's": b.text("registration_access_token"), "its secret": a.text("client_secret"), "an invite": invite,
		"nonsense": "x", "another kind": shopSecret, "almost": a.text("registration_access_token") + "x",
	} {
		for _, of := range []told{a, {"registration_client_uri": "/oauth/register?client_id=" + shop.ID}, {"registration_client_uri": "/oauth/register?client_id=nobody"}, {"registration_client_uri": "/oauth/register"}} {
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				got, w := g.itself(method, of, bearer, anApp(told{"client_id": a["client_id"]}))
				if w.Code != 401 || got.text("error") != "invalid_token" || w.Header().Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
					t.Errorf("%s of %s with %s: %d %s", method, of.text("registration_client_uri"), name, w.Code, w.Body)
				}
				answers[w.Body.String()] = true
			}
		}
	}
	if len(answers) != 1 {
		t.Errorf("it is told apart: %v", answers)
	}
	if g.stored("shop") == nil || g.stored(a.text("client_id")) == nil {
		t.Error("one has gone")
	}
	// Whoever runs the provider has the last word.
	c := *g.stored(a.text("client_id"))
	c.Disabled = true
	g.m.PutClient(c)
	if _, w := g.itself("DELETE", a, a.text("registration_access_token"), nil); w.Code != 401 {
		t.Errorf("a disabled one goes: %d", w.Code)
	}
}

func TestAnInviteIsGoodAsOftenAsItSaysAndForNoMore(t *testing.T) {
	g := newGate(t, Registration{}, nil)
	for _, bearer := range []string{"", "x", g.invite(0, Limits{}), g.invite(1, Limits{})[:20]} {
		if a := g.registers(bearer, anApp(nil), 401); a.text("error") != "invalid_token" {
			t.Errorf("with %q: %v", bearer, a)
		}
	}
	l := Limits{Grants: []GrantType{AuthorizationCode, ClientCredentials}, Scopes: []string{"openid", "orders"}, Audiences: []string{"https://api.example.org"}}
	invite := g.invite(2, l)
	g.registers(invite, anApp(told{"redirect_uris": []string{"http://x.example"}}), 400) // which uses none
	a := g.registers(invite, anApp(told{"grant_types": []string{"authorization_code", "client_credentials"}, "scope": "openid orders email"}), 201)
	c := g.stored(a.text("client_id"))
	if c.Unverified() || a.text("scope") != "openid orders" || !slices.Equal(c.Audiences, l.Audiences) {
		t.Errorf("registered is %+v", c)
	}
	g.registers(invite, anApp(told{"grant_types": []string{"refresh_token"}}), 400)
	b := g.registers(invite, anApp(nil), 201)
	g.registers(invite, anApp(nil), 401)
	// The limits stay when it is used up.
	if _, w := g.itself("PUT", b, b.text("registration_access_token"), anApp(told{"client_id": b["client_id"], "grant_types": []string{"authorization_code", "refresh_token"}})); w.Code != 400 {
		t.Errorf("it gets more: %d %s", w.Code, w.Body)
	}
	late := g.invite(1, l)
	g.now = g.now.Add(time.Hour)
	g.registers(late, anApp(nil), 401)
}

func TestAttackAFloodOfRegistrations(t *testing.T) {
	left := 3
	g := newGate(t, Registration{Open: true, Spend: func(*http.Request) error {
		if left--; left < 0 {
			return &admit.RetryError{After: 90 * time.Second, Err: admit.RateLimited}
		}
		return nil
	}}, nil)
	var first told
	for range 3 {
		first = g.registers("", anApp(nil), 201)
	}
	if _, w := g.itself("PUT", first, first.text("registration_access_token"), anApp(told{"client_id": first["client_id"]})); w.Code != 429 {
		t.Errorf("a change without an end: %d %s", w.Code, w.Body)
	}
	for range 3 {
		a, w := g.calls("POST", "/oauth/register", "", anApp(nil))
		if w.Code != 429 || a.text("error") != "temporarily_unavailable" || w.Header().Get("Retry-After") != "90" {
			t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
		}
	}
	g.registers(g.invite(1, strangers()), anApp(nil), 201) // who was invited waits for no stranger
	if len(g.m.clients) != 4 {
		t.Errorf("there are %d", len(g.m.clients))
	}
}

// A stranger names addresses inside: nothing is asked there, and what is there is not read
// to him.
func TestAttackARegistrationHasAddressesInsideAsked(t *testing.T) {
	var asked atomic.Int32
	inside := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Write([]byte(`["a secret of the inside"]`))
	}))
	defer inside.Close()
	g := newGate(t, Registration{Open: true}, nil)
	for name, change := range map[string]told{
		"sector_identifier_uri": {"subject_type": "pairwise", "sector_identifier_uri": inside.URL},
		"sector by its name":    {"subject_type": "pairwise", "sector_identifier_uri": strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)},
		"sector as mapped":      {"subject_type": "pairwise", "sector_identifier_uri": strings.Replace(inside.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)},
	} {
		a, w := g.calls("POST", "/oauth/register", "", anApp(change))
		if w.Code != 400 || a.text("error") != "invalid_client_metadata" || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "public address") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	a := g.registers("", anApp(told{"logo_uri": inside.URL, "client_uri": inside.URL, "policy_uri": inside.URL, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": inside.URL}), 201)
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {a.text("client_id")}, "client_assertion_type": {assertionType}, "client_assertion": {"eyJhbGciOiJFUzI1NiJ9.e30.AAAA"},
	}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if w.Code < 400 || asked.Load() != 0 {
		t.Errorf("its keys: %d %s; asked %d times", w.Code, w.Body, asked.Load())
	}
	// A list outside is read, and must have every redirect URI.
	list := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, inside.URL, http.StatusFound)
		default:
			w.Write([]byte(`["https://a.example/", "https://b.example/"]`))
		}
	}))
	defer list.Close()
	g = newGate(t, Registration{Open: true}, func(o *Options) { o.HTTP = list.Client() })
	two := told{"subject_type": "pairwise", "redirect_uris": []string{"https://a.example/", "https://b.example/"}, "sector_identifier_uri": list.URL}
	b := g.registers("", anApp(two), 201)
	if c := g.stored(b.text("client_id")); c.Sector != "127.0.0.1" {
		t.Errorf("its sector is %q", c.Sector)
	}
	two["redirect_uris"] = []string{"https://a.example/", "https://c.example/"}
	g.registers("", anApp(two), 400)
	two["redirect_uris"], two["sector_identifier_uri"] = []string{"https://a.example/"}, list.URL+"/moved"
	if g.registers("", anApp(two), 400); asked.Load() != 0 {
		t.Error("a redirect is followed inside")
	}
}

// What proves something is told to the client alone, and this once: no error, no note and
// no log has it.
func TestAttackARegistrationsSecretsAreReadInErrorsAndLogs(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	a := g.registers("", anApp(nil), 201)
	invite := g.invite(1, Limits{})
	secrets := []string{a.text("client_secret"), a.text("registration_access_token"), invite}
	var said strings.Builder
	for _, bearer := range secrets {
		for _, method := range []string{"GET", "PUT", "POST"} {
			if method == "GET" && bearer == secrets[1] {
				continue
			}
			_, w := g.calls(method, "/oauth/register?client_id="+a.text("client_id")+"x", bearer, anApp(told{"client_id": bearer, "client_secret": bearer, "scope": bearer, "client_uri": bearer}))
			said.WriteString(w.Body.String())
		}
	}
	_, w := g.itself("PUT", a, secrets[1], anApp(told{"client_id": a["client_id"], "client_secret": secrets[0] + "x", "redirect_uris": []string{"https://app.example.net/#" + secrets[0]}}))
	said.WriteString(w.Body.String())
	for _, n := range g.notes {
		said.WriteString(n.Event + n.Detail + n.Client)
	}
	said.WriteString(g.log.String())
	for _, s := range secrets {
		if strings.Contains(said.String(), s) || strings.Contains(said.String(), s[28:50]) {
			t.Errorf("%.8s… is told", s)
		}
	}
}

// A link to here leads whom it likes to a stranger's page, who need only ask for what
// cannot be had (RFC 9700 section 4.11.2).
func TestAttackAStrangerIsAnOpenRedirector(t *testing.T) {
	s := newStage(t)
	s.change("shop", func(c *Client) {
		c.Registered, c.PostLogoutURIs = &Registered{}, []string{callback}
	})
	s.signIn("s1", "ann")
	for name, query := range map[string]string{
		"a scope that it may not ask for": ask("scope", "nothing"), "no prompt": ask("prompt", "none"), "no response type": ask("response_type", "token"),
	} {
		for _, sid := range []string{"", "s1"} {
			r := httptest.NewRequest("GET", "/oauth/authorize?"+query, nil)
			if w := s.send(r, sid); w.Header().Get("Location") != "" {
				t.Errorf("%s, session %q: led to %s", name, sid, w.Header().Get("Location"))
			}
		}
	}
	// Nor is who has let it in before, but who says no is sent back.
	s.allowed("ann", "shop")
	if w := s.get(ask("prompt", "none"), "s1"); s.shown != "fault" || w.Header().Get("Location") != "" {
		t.Errorf("who has let it in: page %q, led to %q", s.shown, w.Header().Get("Location"))
	}
	s.get(ask(), "s1")
	s.refused(s.decide("deny", "s1"), "access_denied")
	// Not with an ID token either: a stranger has one of his own, and what was sealed when it
	// signed him out.
	for _, q := range []leaving{{}, {Subject: "mallory"}, {Subject: "mallory", SID: "x"}, {Subject: "mallory", SID: "x", Shown: "s9"}} {
		q.Client, q.URI = "shop", callback
		if to := s.Provider.leadsTo(s.client("shop"), &q); to != "" {
			t.Errorf("a log-out leads to %s", to)
		}
	}
}

// The attack: a stranger registers the address of a well-known site beside his own, shows
// people that they are led there, and once they have allowed that leads them to his own.
func TestAttackAStrangerHasPeopleAllowAWellKnownHost(t *testing.T) {
	const evil = "https://evil.example.org/cb"
	s := newStage(t)
	s.signIn("s1", "ann")
	s.change("shop", func(c *Client) { c.Registered, c.RedirectURIs = &Registered{}, []string{callback, evil} })
	s.get(ask(), "s1")
	s.code(s.decide("allow", "s1"), callback)
	s.get(ask("redirect_uri", evil), "s1")
	if s.shows("consent"); s.a.Asked.RedirectURI != evil || len(s.a.New) > 0 {
		t.Errorf("the person is asked about %+v", s.a)
	}
	// A client that somebody has looked at is remembered.
	s.change("shop", func(c *Client) { c.Registered = nil })
	s.code(s.get(ask("redirect_uri", evil), "s1"), evil)
}

// The attack: who people are to a client is what they were told when they let it in. It
// changes what it says of itself, and is told who they are to everybody, or to a sector
// that it names as its own without having a page there.
func TestAttackAClientChangesByWhatItKnowsPeople(t *testing.T) {
	g := newGate(t, Registration{Open: true}, nil)
	for name, c := range map[string]struct{ at, to told }{
		"to everybody's":    {told{"subject_type": "pairwise"}, told{}},
		"to another's":      {told{"subject_type": "pairwise"}, told{"subject_type": "pairwise", "redirect_uris": []string{"https://victim.example/"}}},
		"from everybody's":  {told{}, told{"subject_type": "pairwise"}},
		"with the same one": {told{"subject_type": "pairwise"}, told{"subject_type": "pairwise", "redirect_uris": []string{"https://app.example.net/other"}}},
	} {
		a := g.registers("", anApp(c.at), 201)
		was := g.stored(a.text("client_id"))
		c.to["client_id"] = a["client_id"]
		b, w := g.itself("PUT", a, a.text("registration_access_token"), anApp(c.to))
		if same := name == "with the same one"; (w.Code == 200) != same || !same && b.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if is := g.stored(was.ID); is.Sector != was.Sector || is.Registered.Selector == was.Registered.Selector && w.Code == 200 {
			t.Errorf("%s: its sector is %q", name, is.Sector)
		}
	}
}

// The attack: networks of ours are open to our own clients, and a stranger has something
// in them called.
func TestAttackAStrangerHasTheInsideOfOurNetworksCalled(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	var called atomic.Int32
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			called.Add(1)
			c.Close()
		}
	}()
	g := newGate(t, Registration{Open: true}, func(o *Options) { o.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	at := "https://" + inside.Addr().String() + "/"
	for _, invite := range []string{"", "x"} {
		called.Store(0)
		if invite != "" {
			invite = g.invite(9, Limits{Grants: []GrantType{AuthorizationCode}})
		}
		for name, call := range map[string]func(){
			"a list of its sector": func() {
				g.registers(invite, anApp(told{"subject_type": "pairwise", "sector_identifier_uri": at}), 400)
			},
			"its keys": func() {
				a := g.registers(invite, anApp(told{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": at}), 201)
				g.prove(g.Context(), &showing{method: PrivateKeyJWT, assertion: "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"}, g.stored(a.text("client_id")), g.now)
			},
			"a log-out": func() {
				a := g.registers(invite, anApp(told{"backchannel_logout_uri": at}), 201)
				g.tellOne(g.Context(), g.stored(a.text("client_id")), &Delivery{ID: "1", Subject: "alice", SID: "s1"})
			},
		} {
			before := called.Load()
			call()
			if asked := called.Load() > before; asked != (invite != "") {
				t.Errorf("%s, with the invite %.5q: called %v", name, invite, asked)
			}
		}
	}
}

func FuzzReadMetadata(f *testing.F) {
	for _, seed := range []string{`{"redirect_uris":["https://a.example/"]}`, `{"grant_types":["x"],"jwks":{"keys":[]}}`, `[]`, `{"scope":null,"client_name":"\ud800"}`, `{"token_endpoint_auth_method":"none","redirect_uris":["a.b:/"]}`} {
		f.Add(seed)
	}
	g := newGate(f, Registration{Open: true}, nil)
	f.Fuzz(func(t *testing.T, body string) {
		g.TB = t
		a, w := g.calls("POST", "/oauth/register", "", body)
		switch w.Code {
		case 201:
			if c := g.stored(a.text("client_id")); c == nil || c.Check(false) != nil || !c.Unverified() {
				t.Errorf("%s: registered is %+v", body, c)
			}
			g.m.RemoveClient(a.text("client_id"))
		case 400:
		default:
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	})
}
