package provider

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// A hall is a desk that is asked over HTTP, with somebody in a browser.
type hall struct {
	*desk
	secrets map[string]string // of clients

	sid    string // of the browser
	logout *Logout
	fault  error
}

func newHall(t testing.TB) *hall {
	h := &hall{desk: newDesk(t), secrets: map[string]string{}, sid: "s1"}
	h.Provider.o.People = h
	return h
}

// Session and the next ones implement People.
func (h *hall) Session(r *http.Request) (s *Session, err error) {
	err = h.m.View(r.Context(), func(tx Tx) (err error) {
		s, err = tx.Session(h.sid, h.now)
		return err
	})
	return s, err
}
func (h *hall) SignIn(http.ResponseWriter, *http.Request, *Authorization)  {}
func (h *hall) Consent(http.ResponseWriter, *http.Request, *Authorization) {}
func (h *hall) Fault(_ http.ResponseWriter, _ *http.Request, err error)    { h.fault = err }
func (h *hall) SignOut(_ http.ResponseWriter, _ *http.Request, l *Logout)  { h.logout = l }

// app registers a client.
func (h *hall) app(id string, change func(*Client)) *Client {
	c, secret := h.client(id, change)
	h.secrets[id] = secret
	return c
}

// tokens lets alice into a client, for some scopes.
func (h *hall) tokens(client string, change func(*Code)) *reply {
	h.Helper()
	return h.given(h.post(redeeming(h.code(client, change)), basic(client, h.secrets[client])))
}

func scoped(scopes ...string) func(*Code) { return func(c *Code) { c.Asked.Scopes = scopes } }

// ask sends a form to an endpoint, as a client unless that is "".
func (h *hall) ask(endpoint, client string, pairs ...string) *httptest.ResponseRecorder {
	h.Helper()
	r := httptest.NewRequest("POST", deskIssuer+"/oauth/"+endpoint, strings.NewReader(fields(pairs...).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.SetBasicAuth(url.QueryEscape(client), h.secrets[client])
	}
	return h.serve(r)
}

func (h *hall) serve(r *http.Request) *httptest.ResponseRecorder {
	h.logout, h.fault = nil, nil
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// inspected is what a client is told of a token.
func (h *hall) inspected(client, text string, more ...string) map[string]any {
	h.Helper()
	w := h.ask("introspect", client, append([]string{"token", text}, more...)...)
	if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		h.Fatalf("introspect: %d %s", w.Code, w.Body)
	}
	return object(h, w)
}

func (h *hall) active(client, text string) bool {
	h.Helper()
	return h.inspected(client, text)["active"] == true
}

func object(t testing.TB, w *httptest.ResponseRecorder) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("no JSON: %d %q", w.Code, w.Body)
	}
	return m
}

// silent checks that nothing is said of a token.
func (h *hall) silent(client, text string, more ...string) {
	h.Helper()
	w := h.ask("introspect", client, append([]string{"token", text}, more...)...)
	if got := w.Body.String(); w.Code != 200 || got != `{"active":false}` {
		h.Errorf("%d %s, want nothing but that it is inactive", w.Code, got)
	}
}

func TestIntrospectionTellsTheOwnerAndTheAudience(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		h := newHall(t)
		h.app("app", func(c *Client) { c.JWT = jwt })
		h.app("https://api.example.org", nil)
		h.app("stranger", nil)
		a := h.tokens("app", func(c *Code) { c.Asked.Audiences = []string{"https://api.example.org"} })
		text := a.string("access_token")
		for _, asker := range []string{"app", "https://api.example.org"} {
			got := h.inspected(asker, text, "token_type_hint", "refresh_token")
			for name, want := range map[string]any{"active": true, "client_id": "app", "sub": "alice", "token_type": "Bearer", "iss": deskIssuer,
				"scope": a.string("scope"), "sev": 7.0, "exp": float64(h.now.Add(5 * time.Minute).Unix()), "acr": "aal1"} {
				if got[name] != want {
					t.Errorf("jwt %v: %s is %v, want %v", jwt, name, got[name], want)
				}
			}
			if got["jti"] == "" || got["gid"] == "" {
				t.Errorf("jwt %v: nothing says what ends it: %v", jwt, got)
			}
		}
		h.silent("stranger", text)
	}
}

func TestIntrospectionKnowsRefreshTokens(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	h.app("other", nil)
	first := h.tokens("app", nil).string("refresh_token")
	if got := h.inspected("app", first, "token_type_hint", "access_token"); got["active"] != true || got["sub"] != "alice" || got["token_type"] != nil {
		t.Errorf("it is %v", got)
	}
	h.silent("other", first)
	next := h.given(h.post(fields("grant_type", "refresh_token", "refresh_token", first), basic("app", h.secrets["app"]))).string("refresh_token")
	h.now = h.now.Add(time.Minute)
	h.silent("app", first)
	if !h.active("app", next) {
		t.Error("to ask about an old one has ended the grant")
	}
}

func TestWhatATokenStandsOnEndsIt(t *testing.T) {
	for name, end := range map[string]func(*hall){
		"the session ends":         func(h *hall) { h.m.RemoveSession("s1") },
		"the user is disabled":     func(h *hall) { h.m.RemoveUser("alice") },
		"the client is removed":    func(h *hall) { h.m.RemoveClient("app"); h.app("app2", nil) },
		"the epoch rises":          func(h *hall) { h.m.PutUser(User{Subject: "alice", Epoch: 8}) },
		"the token expires":        func(h *hall) { h.now = h.now.Add(5 * time.Minute) },
		"its session is told over": func(h *hall) { h.SessionEnded(h.Context(), "s1") },
		"its user is told over":    func(h *hall) { h.SubjectEnded(h.Context(), "alice", "") },
	} {
		for _, jwt := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				h := newHall(t)
				h.app("app", func(c *Client) { c.JWT = jwt })
				text := h.tokens("app", nil).string("access_token")
				if _, err := h.read(t.Context(), text, h.now); err != nil {
					t.Fatal(err)
				}
				end(h)
				if _, err := h.read(t.Context(), text, h.now); err != ErrInvalidToken {
					t.Errorf("jwt %v: it counts: %v", jwt, err)
				}
			})
		}
	}
}

func TestAttackStrangersAskAboutTokens(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	h.app("public", func(c *Client) { c.Auth = NoAuth })
	text := h.tokens("app", nil).string("access_token")
	for name, w := range map[string]*httptest.ResponseRecorder{
		"nobody":          h.ask("introspect", "", "token", text),
		"a public client": h.ask("introspect", "", "token", text, "client_id", "public"),
		"a wrong secret": func() *httptest.ResponseRecorder {
			h.secrets["wrong"] = "x"
			return h.ask("introspect", "wrong", "token", text)
		}(),
	} {
		if m := object(t, w); w.Code != 401 || m["error"] != "invalid_client" || len(m) > 2 || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := h.serve(httptest.NewRequest("GET", deskIssuer+"/oauth/introspect?token="+text, nil)); w.Code != 405 {
		t.Errorf("by GET: %d", w.Code)
	}
	r := httptest.NewRequest("POST", deskIssuer+"/oauth/introspect?token="+text, strings.NewReader("a=b"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", h.secrets["app"])
	if w := h.serve(r); w.Code != 400 {
		t.Errorf("a token in the address: %d", w.Code)
	}
}

func TestAttackOneClassOfTokenForAnother(t *testing.T) {
	h := newHall(t)
	c := h.app("app", func(c *Client) { c.JWT = true })
	a := h.tokens("app", nil)
	logout, err := h.logoutToken(c, &Delivery{ID: "d", Client: "app", Subject: "alice", SID: "s1"}, h.now)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := func(text string) string {
		parts := strings.Split(text, ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + "."
	}
	for name, text := range map[string]string{
		"an ID token": a.string("id_token"), "a code": h.code("app", nil), "a logout token": logout, "a secret": h.secrets["app"],
		"a session": token.New(token.Session).Reveal(), "an unsigned one": unsigned(a.string("access_token")), "text": "x", "dots": "..",
	} {
		h.silent("app", text)
		if w := h.userinfo(text); w.Code != 401 && w.Code != 400 {
			t.Errorf("%s at userinfo: %d", name, w.Code)
		}
	}
	if w := h.userinfo(a.string("refresh_token")); w.Code != 401 {
		t.Errorf("a refresh token at userinfo: %d", w.Code)
	}
}

func TestRevokingARefreshTokenEndsItsGrant(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		h := newHall(t)
		h.app("app", func(c *Client) { c.JWT = jwt })
		a := h.tokens("app", nil)
		if w := h.ask("revoke", "app", "token", a.string("refresh_token"), "token_type_hint", "access_token"); w.Code != 200 || w.Body.Len() > 0 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		h.silent("app", a.string("access_token"))
		h.silent("app", a.string("refresh_token"))
		h.refused(h.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", h.secrets["app"])), "invalid_grant")
		if len(h.told) != 1 || h.told[0].Kind.String() != "gid" || h.told[0].Reason != reasonRevoked {
			t.Errorf("told: %v", h.told)
		}
		if w := h.ask("revoke", "app", "token", a.string("refresh_token")); w.Code != 200 || len(h.told) != 1 {
			t.Errorf("once more: %d, told %v", w.Code, h.told)
		}
	}
}

func TestRevokingAnAccessTokenEndsItAlone(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		h := newHall(t)
		h.app("app", func(c *Client) { c.JWT = jwt })
		a := h.tokens("app", nil)
		b := h.given(h.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", h.secrets["app"])))
		if w := h.ask("revoke", "app", "token", a.string("access_token")); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		h.silent("app", a.string("access_token"))
		if !h.active("app", b.string("access_token")) || !h.active("app", b.string("refresh_token")) {
			t.Error("its siblings have ended with it")
		}
		if len(h.told) != 1 || h.told[0].Kind.String() != "jti" {
			t.Errorf("told: %v", h.told)
		}
	}
}

func TestAttackAnotherClientsTokenIsRevoked(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	h.app("mallory", nil)
	a := h.tokens("app", nil)
	for _, name := range []string{"access_token", "refresh_token"} {
		ours, none := h.ask("revoke", "mallory", "token", a.string(name)), h.ask("revoke", "mallory", "token", "nothing")
		if ours.Code != 200 || none.Code != 200 || ours.Body.String() != none.Body.String() {
			t.Errorf("%s: %d %s, of nothing %d %s", name, ours.Code, ours.Body, none.Code, none.Body)
		}
		if !h.active("app", a.string(name)) {
			t.Errorf("the %s has ended", name)
		}
	}
	if w := h.ask("revoke", "", "token", a.string("refresh_token")); w.Code != 401 {
		t.Errorf("by nobody: %d", w.Code)
	}
	if !h.active("app", a.string("refresh_token")) || len(h.told) > 0 {
		t.Error("nobody has ended it")
	}
}

func TestARevocationOfWhatCannotBeRevokedSaysSo(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	a := h.tokens("app", nil)
	for _, text := range []string{a.string("id_token"), token.New(token.OneTime).Reveal(), token.New(token.Registration).Reveal(), token.New(token.Invite).Reveal(), h.secrets["app"]} {
		if w := h.ask("revoke", "app", "token", text); w.Code != 400 || object(t, w)["error"] != "unsupported_token_type" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if w := h.ask("revoke", "app"); w.Code != 400 || object(t, w)["error"] != "invalid_request" {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
}

func TestAPublicClientRevokesItsTokens(t *testing.T) {
	h := newHall(t)
	h.app("spa", func(c *Client) { c.Auth = NoAuth })
	f := redeeming(h.code("spa", nil))
	f.Set("client_id", "spa")
	a := h.given(h.post(f))
	if w := h.ask("revoke", "", "token", a.string("refresh_token"), "client_id", "spa"); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if _, err := h.read(t.Context(), a.string("access_token"), h.now); err != ErrInvalidToken {
		t.Errorf("it counts: %v", err)
	}
}

func (h *hall) userinfo(text string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", deskIssuer+"/oauth/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+text)
	return h.serve(r)
}

// payload is what a JWT says.
func payload(t testing.TB, text string) (m map[string]any) {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", text)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestUserinfoTellsWhatWasAllowed(t *testing.T) {
	wish := map[string]*ClaimWish{"name": nil}
	for _, tt := range []struct {
		name   string
		sector string
		change func(*Code)
		want   []string
	}{
		{"openid alone gives who it is", "", scoped("openid"), []string{"sub"}},
		{"a scope gives its claims", "", scoped("openid", "email"), []string{"sub", "email", "email_verified"}},
		{"a claim comes by its name", "", func(c *Code) {
			c.Asked.Scopes, c.Asked.Claims = []string{"openid"}, &ClaimsRequest{UserInfo: wish}
		}, []string{"sub", "name"}},
		{"a claim of the ID token does not", "", func(c *Code) {
			c.Asked.Scopes, c.Asked.Claims = []string{"openid"}, &ClaimsRequest{IDToken: wish}
		}, []string{"sub"}},
		{"a pairwise subject is that of the ID token", "app.example.org", scoped("openid", "profile"), []string{"sub", "name"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHall(t)
			h.app("app", func(c *Client) { c.Sector, c.Audiences = tt.sector, nil })
			a := h.tokens("app", tt.change)
			w := h.userinfo(a.string("access_token"))
			got := object(t, w)
			if w.Code != 200 || len(got) != len(tt.want) || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v, want %v", w.Code, got, tt.want)
			}
			for _, name := range tt.want {
				if got[name] == nil {
					t.Errorf("%s is missing: %v", name, got)
				}
			}
			if sub := payload(t, a.string("id_token"))["sub"]; got["sub"] != sub || (tt.sector != "") != (sub != "alice") {
				t.Errorf("sub is %v, in the ID token %v", got["sub"], sub)
			}
		})
	}
}

func TestUserinfoTakesATokenFromOnePlace(t *testing.T) {
	h := newHall(t)
	h.app("app", func(c *Client) { c.Audiences = nil })
	text := h.tokens("app", nil).string("access_token")
	form := "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, method, query, body, media, header string
		status                                   int
		challenge                                string
	}{
		{"the header", "GET", "", "", "", "Bearer " + text, 200, ""},
		{"the header in another case", "GET", "", "", "", "bearer " + text, 200, ""},
		{"the header of a POST", "POST", "", "", "", "Bearer " + text, 200, ""},
		{"the header of an empty form", "POST", "", "", form, "Bearer " + text, 200, ""},
		{"a form", "POST", "", "access_token=" + text, form, "", 200, ""},
		{"the address", "GET", "access_token=" + text, "", "", "", 400, "invalid_request"},
		{"address and header", "GET", "access_token=" + text, "", "", "Bearer " + text, 400, "invalid_request"},
		{"form and header", "POST", "", "access_token=" + text, form, "Bearer " + text, 400, "invalid_request"},
		{"a form twice", "POST", "", "access_token=" + text + "&access_token=" + text, form, "", 400, "invalid_request"},
		{"a body that is no form", "POST", "", "access_token=" + text, "text/plain", "", 401, ""},
		{"a GET with a form", "GET", "", "access_token=" + text, form, "", 401, ""},
		{"none", "GET", "", "", "", "", 401, ""},
		{"another scheme", "GET", "", "", "", "Basic " + text, 401, ""},
		{"no b64token", "GET", "", "", "", "Bearer a b", 400, "invalid_request"},
		{"a wrong one", "GET", "", "", "", "Bearer " + token.New(token.Access).Reveal(), 401, "invalid_token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, deskIssuer+"/oauth/userinfo?"+tt.query, strings.NewReader(tt.body))
			for name, v := range map[string]string{"Content-Type": tt.media, "Authorization": tt.header} {
				if v != "" {
					r.Header.Set(name, v)
				}
			}
			w := h.serve(r)
			says := w.Header().Get("WWW-Authenticate")
			if w.Code != tt.status || (w.Code != 200) != strings.HasPrefix(says, "Bearer ") ||
				(tt.challenge != "") != strings.Contains(says, "error=") || !strings.Contains(says, tt.challenge) {
				t.Errorf("%d %s, %q, want %d %s", w.Code, w.Body, says, tt.status, tt.challenge)
			}
		})
	}
}

func TestUserinfoNeedsOpenIDAndAPerson(t *testing.T) {
	h := newHall(t)
	h.app("app", func(c *Client) { c.Audiences = nil })
	own := h.given(h.post(fields("grant_type", "client_credentials"), basic("app", h.secrets["app"])))
	for name, text := range map[string]string{
		"without openid":     h.tokens("app", scoped("email")).string("access_token"),
		"of a client itself": own.string("access_token"),
	} {
		w := h.userinfo(text)
		if says := w.Header().Get("WWW-Authenticate"); w.Code != 403 || !strings.Contains(says, `error="insufficient_scope"`) || !strings.Contains(says, `scope="openid"`) {
			t.Errorf("%s: %d %q", name, w.Code, says)
		}
	}
}

func TestAttackAServiceAsksUserinfoWithATokenThatItWasSent(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	text := h.tokens("app", func(c *Code) { c.Asked.Audiences = []string{"https://api.example.org"} }).string("access_token")
	if w := h.userinfo(text); w.Code != 401 || strings.Contains(w.Body.String(), "alice") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDiscoveryIsCompleteAndHonest(t *testing.T) {
	h := newHall(t)
	h.Provider.o.Locales = []string{"en", "zh-CN"}
	get := func(path string) map[string]any {
		w := h.serve(httptest.NewRequest("GET", deskIssuer+path, nil))
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("ETag") == "" || w.Header().Get("Cache-Control") == "" {
			t.Fatalf("%s: %d %v", path, w.Code, w.Header())
		}
		if strings.Contains(w.Body.String(), `"none","RS`) {
			t.Error("none is offered")
		}
		r := httptest.NewRequest("GET", deskIssuer+path, nil)
		r.Header.Set("If-None-Match", "W/"+w.Header().Get("ETag"))
		if again := h.serve(r); again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%s: %d for one who has it", path, again.Code)
		}
		return object(t, w)
	}
	d := get("/.well-known/openid-configuration")
	if other := get("/.well-known/oauth-authorization-server"); len(other) != len(d) {
		t.Errorf("the documents differ: %v", other)
	}
	for name, want := range map[string]string{
		"issuer": `"https://id.example.org"`, "authorization_endpoint": `"https://id.example.org/oauth/authorize"`, "jwks_uri": `"https://id.example.org/oauth/jwks"`,
		"end_session_endpoint": `"https://id.example.org/oauth/logout"`, "response_types_supported": `["code"]`,
		"id_token_signing_alg_values_supported": `["ES256","EdDSA","RS256"]`, "code_challenge_methods_supported": `["S256"]`,
		"request_parameter_supported": `true`, "request_uri_parameter_supported": `false`, "claims_parameter_supported": `true`,
		"pushed_authorization_request_endpoint": `"https://id.example.org/oauth/par"`, "require_pushed_authorization_requests": `false`,
		"request_object_signing_alg_values_supported":    `["ES256","EdDSA","RS256","PS256","ES384","ES512"]`,
		"authorization_response_iss_parameter_supported": `true`, "backchannel_logout_supported": `true`, "backchannel_logout_session_supported": `true`,
		"subject_types_supported": `["public","pairwise"]`, "ui_locales_supported": `["en","zh-CN"]`,
		"token_endpoint_auth_methods_supported":         `["client_secret_basic","client_secret_post","private_key_jwt","none"]`,
		"introspection_endpoint_auth_methods_supported": `["client_secret_basic","client_secret_post","private_key_jwt"]`,
	} {
		if got, _ := json.Marshal(d[name]); string(got) != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for name, v := range d {
		if at, ok := v.(string); ok && strings.HasPrefix(at, deskIssuer+"/") {
			r := httptest.NewRequest("POST", at, nil)
			if w := h.serve(r); w.Code == 404 {
				t.Errorf("%s leads nowhere", name)
			}
		}
	}
	// Without a key there is no such algorithm.
	all := h.Provider.o.Keys.(*deskKeys)
	h.Provider.o.Keys = &deskKeys{by: map[jose.Algorithm]*jose.Key{jose.ES256: all.by[jose.ES256]}, set: all.set}
	if got, _ := json.Marshal(get("/.well-known/openid-configuration")["id_token_signing_alg_values_supported"]); string(got) != `["ES256"]` {
		t.Errorf("with one key the algorithms are %s", got)
	}
}

func TestTheKeySetVerifiesWhatIsSigned(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	w := h.serve(httptest.NewRequest("GET", deskIssuer+"/oauth/jwks", nil))
	set, ignored, err := jose.ParseKeySet(w.Body.Bytes())
	if err != nil || len(ignored) > 0 || strings.Contains(w.Body.String(), `"d"`) {
		t.Fatalf("%v %v %s", err, ignored, w.Body)
	}
	v, err := jose.NewPayloadVerifier(set, signingAlgorithms, idType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Verify(t.Context(), h.tokens("app", nil).string("id_token")); err != nil {
		t.Error(err)
	}
}

func TestOriginsAreThoseOfAClientsPages(t *testing.T) {
	c := &Client{RedirectURIs: []string{"https://a.example/x", "https://a.example/y", "http://localhost:3000/cb", "app:/x"}}
	if got := c.Origins(); len(got) != 2 || got[0] != "https://a.example" || got[1] != "http://localhost:3000" {
		t.Errorf("origins %v", got)
	}
	c.Native = true
	if got := c.Origins(); got != nil {
		t.Errorf("a native client has pages: %v", got)
	}
}

func FuzzBearer(f *testing.F) {
	h := newHall(f)
	h.app("app", func(c *Client) { c.JWT = true })
	a := h.tokens("app", nil)
	for _, text := range []string{a.string("access_token"), a.string("id_token"), token.New(token.Access).Reveal(), "", "a.b.c", "..", "Bearer"} {
		f.Add(text)
	}
	good := a.string("access_token")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := h.read(t.Context(), text, h.now)
		// By its id, for of an ECDSA signature anybody makes a second one.
		if err == nil && payload(t, text)["jti"] != payload(t, good)["jti"] {
			t.Errorf("%q counts", text)
		}
		r := httptest.NewRequest("GET", "/oauth/userinfo", nil)
		r.Header.Set("Authorization", text)
		bearerOf(httptest.NewRecorder(), r)
	})
}

func BenchmarkUserinfo(b *testing.B) {
	h := newHall(b)
	h.app("app", func(c *Client) { c.Audiences = nil })
	text := h.tokens("app", nil).string("access_token")
	b.ReportAllocs()
	for b.Loop() {
		h.userinfo(text)
	}
}

type idle struct{ h http.Header }

func (w idle) Header() http.Header         { return w.h }
func (w idle) Write(b []byte) (int, error) { return len(b), nil }
func (w idle) WriteHeader(int)             {}

func BenchmarkDiscovery(b *testing.B) {
	h := newHall(b)
	text := h.serve(httptest.NewRequest("GET", deskIssuer+"/.well-known/openid-configuration", nil)).Body.Bytes()
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	})
	for _, bb := range []struct {
		name string
		h    http.Handler
		path string
	}{{"bare", bare, "/"}, {"document", h, "/.well-known/openid-configuration"}, {"keys", h, "/oauth/jwks"}} {
		b.Run(bb.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", deskIssuer+bb.path, nil)
			b.ReportAllocs()
			for b.Loop() {
				bb.h.ServeHTTP(idle{http.Header{}}, r)
			}
		})
	}
}

// What the promise is about: a request as a server takes it.
func BenchmarkDiscoveryServed(b *testing.B) {
	h := newHall(b)
	text := h.serve(httptest.NewRequest("GET", deskIssuer+"/.well-known/openid-configuration", nil)).Body.Bytes()
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	})
	for _, bb := range []struct {
		name string
		h    http.Handler
	}{{"bare", bare}, {"document", h}} {
		b.Run(bb.name, func(b *testing.B) {
			s := httptest.NewServer(bb.h)
			defer s.Close()
			for b.Loop() {
				a, err := s.Client().Get(s.URL + "/.well-known/openid-configuration")
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, a.Body)
				a.Body.Close()
			}
		})
	}
}
