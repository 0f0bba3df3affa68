package provider

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// sign signs claims of the firm's: an assertion, after changes.
func (s *pusher) sign(typ string, change map[string]any) string {
	s.Helper()
	return s.signBy(s.key, typ, change)
}

func (s *pusher) signBy(key *jose.Key, typ string, change map[string]any) string {
	s.Helper()
	now := time.Now()
	claims := map[string]any{
		"iss": "firm", "sub": "firm", "aud": "https://id.example.org", "jti": token.New(token.OneTime).Selector(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		s.Fatal(err)
	}
	signed, err := jose.Sign(key, jose.Header{Type: typ}, text)
	if err != nil {
		s.Fatal(err)
	}
	return signed
}

// claimsOf are those of a good request object, after changes.
func objectOf(change map[string]any) map[string]any {
	m := map[string]any{
		"sub": nil, "client_id": "firm", "redirect_uri": callback, "response_type": "code", "scope": "openid profile", "state": "xyz",
		"code_challenge": challenge, "code_challenge_method": "S256", "nonce": "n-1",
	}
	maps.Copy(m, change)
	return m
}

// signed is a request object.
func (s *pusher) signed(change map[string]any) string {
	s.Helper()
	return s.sign(objectType, objectOf(change))
}

func byObject(text string, more ...string) string {
	v := url.Values{"client_id": {"firm"}, "request": {text}}
	for pair := range slices.Chunk(more, 2) {
		v.Set(pair[0], pair[1])
	}
	return v.Encode()
}

// pushObject pushes what the firm has signed.
func (s *pusher) pushObject(text string, more ...string) *httptest.ResponseRecorder {
	s.Helper()
	return s.par(byObject(text, append([]string{"client_assertion_type", assertionType, "client_assertion", s.sign("JWT", nil)}, more...)...), nobody)
}

func TestASignedRequestBecomesACode(t *testing.T) {
	s := newPusher(t)
	change := map[string]any{
		"max_age": 3600, "claims": map[string]any{"id_token": map[string]any{"name": map[string]any{"essential": true}}}, "prompt": nil,
		"resource": []string{"https://api.example.org", "https://pay.example.org"}, "display": "", "x": []int{1}, "y": true,
	}
	look := func(w *httptest.ResponseRecorder) {
		t.Helper()
		a := s.code(w, callback).Asked
		if a.Nonce != "n-1" || a.Claims.IDToken["name"] == nil || len(a.Audiences) != 2 || s.answer(w, callback).Get("state") != "xyz" {
			t.Errorf("it is %+v", a)
		}
	}
	look(s.get(byObject(s.signed(change)), "s1"))
	w := s.pushObject(s.signed(change))
	var a pushedAnswer
	if json.Unmarshal(w.Body.Bytes(), &a) != nil || w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	look(s.get(url.Values{"client_id": {"firm"}, "request_uri": {a.RequestURI}}.Encode(), "s1"))
	one := map[string]any{"resource": "https://api.example.org", "jti": nil}
	s.code(s.get(byObject(s.signed(one)), "s1"), callback)
	// What is good about it is told to the client as ever.
	s.refused(s.get(byObject(s.signed(map[string]any{"scope": "admin"})), "s1"), "invalid_scope")
	s.told(s.pushObject(s.signed(map[string]any{"scope": "admin"})), 400, "invalid_scope")
}

// The attacks: objects that nobody has signed, that were signed for something else, or by
// somebody else.
func TestAttackRequestObjects(t *testing.T) {
	s := newPusher(t)
	stranger, err := jose.GenerateKey(jose.ES256, "k1")
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := jose.NewKey(jose.HS256, "k1", public)
	if err != nil {
		t.Fatal(err)
	}
	good := s.signed(nil)
	parts := strings.Split(good, ".")
	issuer, now := "https://id.example.org", time.Now()
	objects := map[string]string{
		"alg none":                        unsigned(`{"alg":"none","typ":"oauth-authz-req+jwt"}`, good),
		"alg None":                        unsigned(`{"alg":"None","typ":"oauth-authz-req+jwt"}`, good),
		"a public key as a secret":        s.signBy(hmac, objectType, objectOf(nil)),
		"a stranger's key":                s.signBy(stranger, objectType, objectOf(nil)),
		"no signature":                    parts[0] + "." + parts[1] + ".",
		"other claims":                    parts[0] + "." + strings.Split(s.signed(map[string]any{"scope": "openid"}), ".")[1] + "." + parts[2],
		"no JWT":                          "a.b.c",
		"no type":                         s.sign("", objectOf(nil)),
		"an assertion":                    s.sign("JWT", objectOf(map[string]any{"sub": "firm"})),
		"the type of an assertion":        s.sign("client-authentication+jwt", objectOf(nil)),
		"the type of an access token":     s.sign("at+jwt", objectOf(nil)),
		"a list of audiences":             s.signed(map[string]any{"aud": []string{issuer, "https://evil.example.org"}}),
		"a list of one audience":          s.signed(map[string]any{"aud": []string{issuer}}),
		"another audience":                s.signed(map[string]any{"aud": "https://evil.example.org"}),
		"the endpoint as audience":        s.signed(map[string]any{"aud": issuer + "/oauth/authorize"}),
		"no audience":                     s.signed(map[string]any{"aud": nil}),
		"another issuer":                  s.signed(map[string]any{"iss": "shop"}),
		"no issuer":                       s.signed(map[string]any{"iss": nil}),
		"another client":                  s.signed(map[string]any{"client_id": "shop"}),
		"no client":                       s.signed(map[string]any{"client_id": nil}),
		"a client that is no text":        s.signed(map[string]any{"client_id": []string{"firm"}}),
		"no expiry":                       s.signed(map[string]any{"exp": nil}),
		"expired":                         s.signed(map[string]any{"exp": now.Add(-time.Minute).Unix()}),
		"an expiry in two hours":          s.signed(map[string]any{"exp": now.Add(2 * time.Hour).Unix()}),
		"not yet":                         s.signed(map[string]any{"nbf": now.Add(time.Hour).Unix()}),
		"an object in it":                 s.signed(map[string]any{"request": good}),
		"an address in it":                s.signed(map[string]any{"request_uri": "https://evil.example.org"}),
		"a pushed request in it":          s.signed(map[string]any{"request_uri": pushedPrefix + "x"}),
		"a resource that is no text":      s.signed(map[string]any{"resource": []int{1}}),
		"a zero in a text":                s.signed(map[string]any{"state": "a\x00b"}),
		"a text that is longer than ever": s.signed(map[string]any{"state": strings.Repeat("x", 4<<10), "nonce": strings.Repeat("x", 20<<10)}),
	}
	for name, text := range objects {
		t.Run(name, func(t *testing.T) {
			if len(text) < maxRequest { // longer ones are refused before
				s.faults(s.get(byObject(text, "redirect_uri", callback, "response_type", "code"), "s1"), "invalid_request_object")
			}
			want := "invalid_request_object"
			if len(text) > maxParam {
				want = "invalid_request"
			}
			s.told(s.pushObject(text), 400, want)
		})
	}
	if len(s.shelf.codes) > 0 {
		t.Error("there is a code")
	}
	// What is signed as a request proves nobody.
	s.told(s.par(byObject(good, "client_assertion_type", assertionType, "client_assertion", s.sign(objectType, nil)), nobody), 401, "invalid_client")
	// Another client's object stays its own, under whatever name.
	s.refused(s.get(ask("request", good), "s1"), "request_not_supported")
	s.code(s.get(byObject(good), "s1"), callback)
}

// The attack: who has seen an object brings it once more.
func TestAttackRequestObjectReplay(t *testing.T) {
	s := newPusher(t)
	text := s.signed(nil)
	s.get(byObject(text), "")
	s.shows("sign-in")
	page := s.a.Resume()
	s.code(s.get(byObject(text), "s1"), callback)
	s.faults(s.get(byObject(text), "s1"), "invalid_request_object")
	s.faults(s.get(byObject(text), ""), "invalid_request_object")
	s.faults(s.send(httptest.NewRequest("GET", page, nil), "s1"), "invalid_request_object")
	s.told(s.pushObject(text), 400, "invalid_request_object")

	text = s.signed(nil)
	if w := s.pushObject(text); w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := s.pushObject(text); w.Code != 400 || !strings.Contains(w.Body.String(), "invalid_request_object") {
		t.Errorf("pushed again: %d %s", w.Code, w.Body)
	}
	s.faults(s.get(byObject(text), "s1"), "invalid_request_object")

	text = s.signed(map[string]any{"prompt": "none"})
	s.refused(s.get(byObject(text), ""), "login_required")
	s.faults(s.get(byObject(text), "s1"), "invalid_request_object")
}

// Its expiry is for its way here. A person may take longer.
func TestASignedRequestOutlivesItsExpiryAtTheSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPusher(t)
		text := s.signed(map[string]any{"prompt": "login"})
		time.Sleep(80 * time.Second) // within what clocks may differ
		s.get(byObject(text, "state", strings.Repeat("x", 1000)), "")
		s.shows("sign-in")
		time.Sleep(50 * time.Minute)
		s.faults(s.get(byObject(text), ""), "invalid_request_object")
		for range 2 {
			s.get(byObject(s.signed(map[string]any{"prompt": "login"})), "s1")
			s.shows("sign-in")
			s.resume("s1") // without a sign-in
			s.shows("sign-in")
		}
		time.Sleep(time.Minute * 3)
		s.signIn("s1", "ann")
		resume := s.a.Resume()
		s.code(s.send(httptest.NewRequest("GET", resume, nil), "s1"), callback)
		s.faults(s.send(httptest.NewRequest("GET", resume, nil), "s1"), "invalid_request_object")
	})
}

// The attack: parameters beside an object, which the client has not signed.
func TestAttackParametersAreMixedIntoASignedRequest(t *testing.T) {
	s := newPusher(t)
	s.change("firm", func(c *Client) { c.RedirectURIs = append(c.RedirectURIs, callback+"2") })
	more := []string{
		"redirect_uri", callback + "2", "state", "another", "scope", "openid", "nonce", "another", "code_challenge", strings.Repeat("A", 43),
		"resource", "https://api.example.org", "prompt", "login", "response_mode", "form_post",
	}
	look := func(w *httptest.ResponseRecorder) {
		t.Helper()
		a := s.code(w, callback).Asked
		if a.Nonce != "n-1" || a.Challenge != challenge || len(a.Scopes) != 2 || len(a.Audiences) > 0 || s.answer(w, callback).Get("state") != "xyz" {
			t.Errorf("it is %+v", a)
		}
	}
	look(s.get(byObject(s.signed(nil), more...), "s1"))
	s.get(byObject(s.signed(nil), more...), "")
	s.shows("sign-in")
	look(s.resume("s1"))
	var p pushedAnswer
	if w := s.pushObject(s.signed(nil), more...); json.Unmarshal(w.Body.Bytes(), &p) != nil || w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	look(s.get(url.Values{"client_id": {"firm"}, "request_uri": {p.RequestURI}}.Encode(), "s1"))
	// What the object leaves out is not there, though it stands beside it.
	s.faults(s.get(byObject(s.signed(map[string]any{"redirect_uri": nil}), "redirect_uri", callback), "s1"), "invalid_request")
	s.refused(s.get(byObject(s.signed(map[string]any{"code_challenge": nil}), "code_challenge", challenge), "s1"), "invalid_request")
}

func TestAClientThatMustSignIsAnsweredForSignedRequestsAlone(t *testing.T) {
	s := newPusher(t)
	s.change("firm", func(c *Client) { c.RequireSigned = true })
	s.refused(s.get(ask("client_id", "firm"), "s1"), "invalid_request")
	s.told(s.par(ask("client_id", "firm", "client_assertion_type", assertionType, "client_assertion", s.sign("JWT", nil)), nobody), 400, "invalid_request")
	s.code(s.get(byObject(s.signed(nil)), "s1"), callback)
	s.change("firm", func(c *Client) { c.RequirePushed = true })
	s.refused(s.get(byObject(s.signed(nil)), "s1"), "invalid_request")
	var p pushedAnswer
	if w := s.pushObject(s.signed(nil)); json.Unmarshal(w.Body.Bytes(), &p) != nil || w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	s.get(url.Values{"client_id": {"firm"}, "request_uri": {p.RequestURI}}.Encode(), "")
	s.shows("sign-in")
	s.code(s.resume("s1"), callback)
	for field, c := range map[string]Client{
		"require_signed_request_object":         {ID: "a", Name: "A", Auth: NoAuth, RedirectURIs: []string{callback}, Grants: []GrantType{AuthorizationCode}, RequireSigned: true},
		"require_pushed_authorization_requests": {ID: "a", Name: "A", Auth: NoAuth, Grants: []GrantType{DeviceCode}, RequirePushed: true},
	} {
		if err := c.Check(false); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add(`{"resource":["a","b"],"max_age":3,"claims":{"a":null},"state":"x","n":null,"aud":"y"}`)
	f.Add(`{"resource":[1],"a":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var o objectClaims
		if json.Unmarshal([]byte(text), &o) != nil {
			return
		}
		v, ok := parameters(o.all)
		if !ok {
			return
		}
		if v.Has("aud") || v.Has("iss") || v.Has("exp") {
			t.Errorf("%s gives %v", text, v)
		}
		if form, err := parseForm(v.Encode()); err == nil {
			for name, all := range form {
				if !slices.Equal(all, slices.DeleteFunc(slices.Clone(v[name]), func(s string) bool { return s == "" })) {
					t.Errorf("%s gives %v and %v", text, v, form)
				}
			}
		}
	})
}
