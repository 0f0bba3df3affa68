package server_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
	"github.com/admit-auth/admit/token"
)

// Eve is to register an application, or has somebody import her, under the id of who
// may do more. A token that the one gets for itself would be taken for the other's.
func TestAttackAClientIsCalledAsAUserIs(t *testing.T) {
	s, root := administered(t)
	ann := s.signedUp("ann").get("session").want(200).at("user.id")
	root.post("admin/clients", aClient(m{"id": ann})).want(409, "client_taken")
	root.post("admin/clients", aClient(m{"id": "admit"})).want(409, "client_taken") // who signs in here
	s.register(nil)
	eve := server.ImportedUser{}
	eve.ID, eve.Identifiers = "shop", []web.Identifier{{Value: "eve"}}
	if _, err := s.operator().ImportUser(t.Context(), eve); !errors.Is(err, account.ErrTaken) {
		t.Errorf("a user has the id of a client: %v", err)
	}
	if n, refused := s.taken(`{"id": "shop", "username": "eve"}`+"\n", server.ImportOptions{}); n.Made != 0 || len(refused) != 1 || refused[0].Code != "identifier_taken" {
		t.Errorf("%d users are made of a file; refused are %v", n.Made, refused)
	}
}

func TestAClientIsShownWithoutWhatProvesIt(t *testing.T) {
	s, root := administered(t)
	made := root.post("admin/clients", aClient(nil)).want(201)
	secret := made.at("secret")
	tok, err := token.Parse(token.ClientSecret, secret)
	if err != nil {
		t.Fatalf("the secret is %q: %v", secret, err)
	}
	for _, path := range []string{"admin/clients", "admin/clients/shop", "admin/audit"} {
		body := string(root.get(path).want(200).body)
		if strings.Contains(body, secret) || strings.Contains(body, secret[28:]) {
			t.Errorf("%s shows the secret", path)
		}
		if path != "admin/audit" && !strings.Contains(body, tok.Selector()) {
			t.Errorf("%s does not say which secret is good", path)
		}
	}
	if r := root.post("admin/clients/shop/secret", m{"secret": "5f2c1e9a7b3d4860f1e2d3c4b5a69788"}).want(200); strings.Contains(string(r.body), "5f2c1e9a") {
		t.Error("a secret that was given is shown")
	}
	root.get("admin/clients?limit=1").want(200)
	s.register(func(c *server.NewClient) { c.ID = "another" })
	page := root.get("admin/clients?limit=1").want(200)
	if page.at("next") != "another" {
		t.Errorf("the first page is %s", page.body)
	}
	if rest := root.get("admin/clients?limit=1&after=another").want(200); !strings.Contains(string(rest.body), `"id":"shop"`) || strings.Contains(string(rest.body), `"next"`) {
		t.Errorf("the last page is %s", rest.body)
	}
}

// Each secret before keeps the end that it had, so that a rotation prolongs none.
func TestSecretsOverlapForAsLongAsWasSaidAndNoLonger(t *testing.T) {
	_, root := administered(t)
	root.post("admin/clients", aClient(nil)).want(201)
	ends := func(overlap int64) (left []time.Duration) {
		t.Helper()
		r := root.post("admin/clients/shop/secret", m{"overlap": overlap}).want(200)
		for i, one := range r.m["secrets"].([]any) {
			text, ok := one.(m)["expires_at"].(string)
			if ok == (i == 0) {
				t.Fatalf("the secrets are %v", r.m["secrets"])
			}
			if at, err := time.Parse(time.RFC3339, text); ok {
				left = append(left, time.Until(at).Round(time.Minute))
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		return left
	}
	for _, tt := range []struct {
		overlap int64
		left    []time.Duration
	}{
		{3600, []time.Duration{time.Hour}},
		{7200, []time.Duration{2 * time.Hour, time.Hour}}, // the first one no longer
		{1800, []time.Duration{30 * time.Minute, 30 * time.Minute, 30 * time.Minute}},
		{0, nil},
	} {
		if got := ends(tt.overlap); !slices.Equal(got, tt.left) {
			t.Errorf("with an overlap of %d s the secrets before are good for %v, want %v", tt.overlap, got, tt.left)
		}
	}
}

// On loopback http is fine for who develops; where the world comes in by https, a code
// must not go over the network in the clear.
func TestLoopbackAddressesOfSitesAreForDevelopment(t *testing.T) {
	_, root := administered(t)
	local := aClient(m{"redirect_uris": []string{"http://localhost:3000/cb"}})
	root.post("admin/clients", local).want(201)
	s := newSite(t, func(c *server.Config) { c.Dev, c.PublicURL = false, "https://id.example.org" })
	root = s.administrator()
	root.post("admin/clients", local).want(400, "invalid_redirect_uri")
	native := aClient(m{"public": true, "redirect_uris": []string{"http://127.0.0.1/cb"}})
	root.post("admin/clients", native).want(201)
	root.post("admin/clients", aClient(m{"id": "named", "public": true, "redirect_uris": []string{"http://localhost:3000/cb"}})).want(400, "invalid_redirect_uri")
}

func TestKeysOfAnAlgorithmAreMadeWithTheFirstClientThatAsks(t *testing.T) {
	s, root := administered(t)
	if strings.Contains(string(root.get("admin/keys").want(200).body), "signing-eddsa") {
		t.Fatal("there are keys that nobody asked for")
	}
	root.post("admin/clients", aClient(m{"signing_alg": "EdDSA"})).want(201)
	if got := root.get("admin/keys").want(200); !strings.Contains(string(got.body), "signing-eddsa") {
		t.Errorf("the keys are %s", got.body)
	}
	if set := s.client().do("GET", "/oauth/jwks", nil).want(200); !strings.Contains(string(set.body), `"EdDSA"`) {
		t.Errorf("published are %s", set.body)
	}
	root.post("admin/clients", aClient(m{"id": "other", "signing_alg": "HS256"})).want(400, "invalid_client_metadata")
}

// grab asks the token endpoint for what is a client's own.
func (s *site) grab(id, secret string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader("grant_type=client_credentials"))
	r.Host, r.RemoteAddr = "localhost", "127.0.0.1:4711"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func TestARotationAndARemovalAreSeenAtOnce(t *testing.T) {
	s, root := administered(t)
	job := func(c *server.NewClient) {
		c.ID, c.GrantTypes, c.RedirectURIs, c.AccessTokenFormat = "job", []string{"client_credentials"}, nil, "jwt"
	}
	first := s.register(job).Secret
	gets := func(secret string, want int) {
		t.Helper()
		if w := s.grab("job", secret); w.Code != want {
			t.Errorf("the token endpoint answers %d %s, want %d", w.Code, w.Body, want)
		}
	}
	gets(first, 200)
	second := root.post("admin/clients/job/secret", m{"overlap": 60}).want(200).at("secret")
	gets(first, 200)
	gets(second, 200)
	third := root.post("admin/clients/job/secret", m{"overlap": 0}).want(200).at("secret")
	gets(first, 401)
	gets(second, 401)
	gets(third, 200)

	follower := s.issue("root", "feed").Token
	news := func() string {
		return string(s.client().feed("GET", "/feed/snapshot", withBearer(follower)).want(200).body)
	}
	if strings.Contains(news(), `"client_id"`) {
		t.Fatal("a client has ended before it was removed")
	}
	root.delete("admin/clients/job").want(204)
	gets(third, 401)
	if !strings.Contains(news(), `"client_id"`) {
		t.Errorf("the feed does not tell of it: %s", news())
	}
	// JWTs of another client with this id would be refused meanwhile.
	root.post("admin/clients", aClient(m{"id": "job"})).want(409, "client_ending")
}

// An opaque token is looked up each time, and is good no more with its grant: nobody has
// to be told, so nothing is in the way of another client with the id.
func TestTheIDOfAClientWithoutJWTsMayBeUsedAgainAtOnce(t *testing.T) {
	s, root := administered(t)
	job := func(format string) m {
		return m{"id": "job", "name": "The job", "grant_types": []string{"client_credentials"}, "access_token_format": format}
	}
	first := root.post("admin/clients", job("opaque")).want(201).at("secret")
	w := s.grab("job", first)
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Token == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if r, err := server.ReadToken(got.Token); err != nil || r.Kind != "access" {
		t.Errorf("read, it is %+v: %v", r, err)
	}
	if r, err := server.ReadToken(first + "~"); err == nil { // every other one has one spelling
		t.Errorf("a secret with more behind it is read as %+v", r)
	}
	root.delete("admin/clients/job").want(204)
	second := root.post("admin/clients", job("opaque")).want(201).at("secret")
	r := s.client().page("POST", "/oauth/introspect", url.Values{"client_id": {"job"}, "client_secret": {second}, "token": {got.Token}})
	if body := strings.TrimSpace(string(r.body)); r.status != 200 || body != `{"active":false}` {
		t.Errorf("the token of the client before: %d %s", r.status, body)
	}
	// One that was of JWTs has them still, whatever it is of now.
	root.do("PATCH", "/api/v1/admin/clients/job", m{"access_token_format": "jwt"}).want(200)
	if w := s.grab("job", second); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	root.do("PATCH", "/api/v1/admin/clients/job", m{"access_token_format": "opaque"}).want(200)
	root.delete("admin/clients/job").want(204)
	root.post("admin/clients", job("opaque")).want(409, "client_ending")
}

func TestWhatIsNotNamedOfAClientStays(t *testing.T) {
	s, root := administered(t)
	made := root.post("admin/clients", aClient(m{"sector": "shop.example.net", "uri": "https://shop.example.net/about", "grant_types": []string{"authorization_code", "refresh_token"}, "grant_ttl": 3600})).want(201)
	before := root.get("admin/clients/shop").want(200).m
	after := root.do("PATCH", "/api/v1/admin/clients/shop", m{"name": "Another shop", "scopes": []string{}}).want(200).m
	before["name"], before["scopes"] = "Another shop", []any{}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the client was %v and is %v", before, after)
	}
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"id": "x"}).want(400, "unknown_field")
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"public": true}).want(400, "unknown_field")
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"jwks_uri": "https://shop.example.net/jwks"}).want(400, "invalid_client_metadata") // it has a secret
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"sector": "https://shop.example.net"}).want(400, "invalid_client_metadata")
	if w := s.grab("shop", made.at("secret")); !strings.Contains(w.Body.String(), "unauthorized_client") {
		t.Errorf("its secret: %d %s", w.Code, w.Body)
	}
}

// Its secret is on a forum. Until that is settled it gets nothing, and what it has counts
// nowhere; then all goes on as it was.
func TestADisabledClientIsOutUntilItIsEnabled(t *testing.T) {
	s, root := administered(t)
	s.withShop(func(c *provider.Client) { c.CreatedAt = time.Now() })
	ann := s.signedUp("ann")
	tokens := ann.lets()
	look := func(want int) {
		t.Helper()
		r := s.client().page("GET", "/oauth/userinfo", nil, withBearer(tokens.at("access_token")))
		if r.status != want {
			t.Errorf("userinfo answers %d %s, want %d", r.status, r.body, want)
		}
	}
	look(200)
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"disabled": true}).want(200)
	look(401)
	s.refreshApp(tokens.at("refresh_token")).want(401)
	if r := ann.page("GET", appAsks(), nil); r.status != 400 || r.header.Get("Location") != "" {
		t.Errorf("somebody is led to it: %d", r.status)
	}
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"disabled": false}).want(200)
	look(200)
	s.refreshApp(tokens.at("refresh_token")).want(200)
}
