package server_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server"
)

// A keyholder is an app whose tokens are bound to a key.
type keyholder struct {
	*app
	prover *dpop.Prover
}

// keyholder is a client that has a key, and no token yet.
func (s *site) keyholder() *keyholder {
	s.t.Helper()
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := dpop.NewProver(key)
	if err != nil {
		s.t.Fatal(err)
	}
	k := &keyholder{&app{client: s.client()}, p}
	k.learn(k.get("session", k.proof)) // the first nonce
	return k
}

// proof adds a proof to a request, and presents the token as one that needs it.
func (k *keyholder) proof(r *http.Request) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if r.Header.Del("Authorization"); token != "" {
		r.Header.Set("Authorization", "DPoP "+token)
	} else if k.token == "" && strings.HasSuffix(r.URL.Path, "/session") {
		r.Header.Set("Authorization", "DPoP a.b.c")
	}
	proof, err := k.prover.Proof(r, token, time.Now())
	if err != nil {
		k.t.Fatal(err)
	}
	r.Header.Set("DPoP", proof)
}

func (k *keyholder) learn(r *reply) *reply {
	k.prover.Learn(&http.Response{Request: httptest.NewRequest("GET", "http://localhost/", nil), Header: r.header})
	return r
}

// boundAppOf is a client with JWTs that are bound to its key.
func (s *site) boundAppOf(name string) *keyholder {
	s.t.Helper()
	k := s.keyholder()
	k.keep(k.learn(k.post("signin", m{"identifier": name, "password": goodPassword, "as": "jwt"}, k.proof)).want(200))
	return k
}

func TestAnAppBindsItsTokensToItsKeyAndUsesThem(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	k := s.keyholder()
	in := k.keep(k.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}, k.proof).want(200))
	if jkt := claims(t, k.token)["cnf"].(m)["jkt"]; jkt != k.prover.Thumbprint() || in.at("token_type") != "DPoP" {
		t.Errorf("bound to %v as %q, want %s", jkt, in.at("token_type"), k.prover.Thumbprint())
	}
	for range 2 {
		if now := k.get("session?x=1", k.proof).want(200); now.at("session.credential") != "jwt" || now.header.Get("DPoP-Nonce") == "" {
			t.Errorf("the session is %s with %v", now.body, now.header)
		}
	}
	next := k.keep(s.client().post("refresh", m{"refresh_token": k.refreshToken}, k.proof).want(200))
	if jkt := claims(t, k.token)["cnf"].(m)["jkt"]; jkt != k.prover.Thumbprint() || next.at("token_type") != "DPoP" {
		t.Errorf("refreshed, it is bound to %v", jkt)
	}
	k.get("sessions", k.proof).want(200)
	k.get("session", k.proof, func(r *http.Request) { r.Header.Set("Authorization", "DPoP  "+k.token) }).want(200) // one space or more (RFC 9110 section 11.4)
	k.post("password/change", m{"password": goodPassword, "new_password": otherPassword}, k.proof).want(204)
	laptop.get("session").want(401, "session_ended")
	k.get("session", k.proof).want(401, "stale_claims")
	k.keep(s.client().post("refresh", m{"refresh_token": k.refreshToken}, k.proof).want(200))
	k.post("signout", nil, k.proof).want(204)
	k.get("session", k.proof).want(401, "session_ended")
}

func TestTokensMayBeBoundAtSignUp(t *testing.T) {
	s := newSite(t)
	s.run()
	k := s.keyholder()
	k.keep(k.post("signup", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}, k.proof).want(201))
	k.get("session", k.proof).want(200)
	flow := s.client().post("signup", m{"identifier": "bob@example.org", "password": goodPassword}).want(202).at("flow")
	code, _, _ := s.mailTo("bob@example.org")
	k.token = ""
	k.keep(k.post("signup/verify", m{"flow": flow, "code": code, "as": "jwt"}, k.proof).want(200))
	k.get("session", k.proof).want(200)
}

// A thief has both tokens, and all that was sent; not the key.
func TestAttackAStolenPairOfTokensIsOfNoUseWithoutTheKey(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	owner := s.boundAppOf("ann")
	var seen string
	owner.get("session", owner.proof, func(r *http.Request) { seen = r.Header.Get("DPoP") }).want(200)

	thief := s.keyholder()
	thief.token, thief.refreshToken = owner.token, owner.refreshToken
	r := thief.get("session").want(401, "token_bound") // as a bearer token
	if got := r.header.Get("WWW-Authenticate"); got != `DPoP error="invalid_token", algs="ES256 EdDSA"` {
		t.Errorf("the challenge is %q", got)
	}
	thief.get("session", thief.proof).want(401, "dpop_other_key")
	r = thief.get("session", thief.proof, func(r *http.Request) { r.Header.Set("DPoP", seen) }).want(401, "dpop_proof_replayed")
	if got := r.header.Get("WWW-Authenticate"); got != `DPoP error="invalid_dpop_proof", algs="ES256 EdDSA"` {
		t.Errorf("the challenge is %q", got)
	}
	thief.get("session", func(r *http.Request) { r.Header.Set("Authorization", "DPoP "+owner.token) }).want(401, "invalid_dpop_proof")
	thief.get("sessions", thief.proof, func(r *http.Request) { r.Header.Set("DPoP", seen) }).want(401, "invalid_dpop_proof") // another URL
	// In a cookie it is a bearer token, too.
	s.client().get("session", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "admit-jwt-", Value: owner.token}) }).want(401, "token_bound")
	// Nor does the refresh token, and who tries ends nothing.
	s.refreshed(owner.refreshToken).want(401, "refresh_token_invalid")
	s.refreshed(owner.refreshToken, thief.proof).want(401, "refresh_token_invalid")
	s.refreshed(owner.refreshToken, owner.proof, func(r *http.Request) { r.Header.Set("DPoP", seen) }).want(401, "invalid_dpop_proof")
	owner.keep(s.refreshed(owner.refreshToken, owner.proof).want(200))
	owner.get("session", owner.proof).want(200)
}

func TestATokenThatIsBoundToNoKeyNeedsNoProofAndTakesNone(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	a, k := s.appOf("ann"), s.keyholder()
	k.token = a.token
	r := k.get("session", k.proof).want(401, "token_unbound")
	if got := r.header.Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("the challenge is %q", got)
	}
	a.get("session").want(200)
	// Who proves a key later does not take over what was bound to none.
	s.refreshed(a.refreshToken, k.proof).want(401, "refresh_token_invalid")
	a.keep(s.refreshed(a.refreshToken).want(200))
	// A session's own token is no JWT.
	in := s.client().post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200)
	k.token = in.at("token")
	k.get("session", k.proof).want(401, "no_session")
}

// The want of a nonce must cost no try, nor a hash.
func TestTheNonceIsAskedForBeforeThePassword(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	k := s.keyholder()
	k.prover.Learn(&http.Response{Request: httptest.NewRequest("GET", "http://localhost/", nil), Header: http.Header{"Dpop-Nonce": {"old"}}})
	for range 30 { // the budget is less
		r := k.post("signin", m{"identifier": "ann", "password": "a guess of mine", "as": "jwt"}, k.proof).want(401, "use_dpop_nonce")
		if got := r.header.Get("WWW-Authenticate"); got != `DPoP error="use_dpop_nonce", algs="ES256 EdDSA"` || r.header.Get("DPoP-Nonce") == "" {
			t.Fatalf("the challenge is %q with %v", got, r.header)
		}
	}
	r := k.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}, k.proof)
	k.learn(r.want(401, "use_dpop_nonce"))
	k.keep(k.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}, k.proof).want(200))
}

func TestAProofAndACookieForTheTokenDoNotGoTogether(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	k := s.keyholder()
	k.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt", "cookie": true}, k.proof).want(400).field("cookie", "jwt_cookie_unsupported")
}

func TestANonceAgesAndARestartForgetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		k := s.boundAppOf("ann")
		time.Sleep(59 * time.Second)
		k.get("session", k.proof).want(200)
		time.Sleep(2 * time.Second)
		k.learn(k.get("session", k.proof).want(401, "use_dpop_nonce"))
		k.get("session", k.proof).want(200)
	})
}

// unproven sends what asks for JWTs with a proof that is refused so.
func unproven(path string, body m, code string) trial {
	return func(s *site) *reply {
		body := maps.Clone(body)
		if path != "refresh" {
			body["as"] = "jwt"
		}
		k := s.keyholder()
		switch code {
		case "invalid_dpop_proof":
			return k.post(path, body, func(r *http.Request) { r.Header.Set("DPoP", "none") })
		case "use_dpop_nonce":
			k.learn(&reply{header: http.Header{"Dpop-Nonce": {"old"}}})
			return k.post(path, body, k.proof)
		}
		var sent string
		k.post(path, body, k.proof, func(r *http.Request) { sent = r.Header.Get("DPoP") })
		return k.post(path, body, func(r *http.Request) { r.Header.Set("DPoP", sent) })
	}
}

func decode(t *testing.T, answer *http.Response, status int, into any) {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("%d %s: %v", answer.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramAroundTheServerTakesProofs(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	k := s.boundAppOf("ann")
	own := s.server.Visitors(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		io.WriteString(w, p.SID)
	}))
	visit := func() *reply {
		r := httptest.NewRequest("GET", "http://localhost/own", nil)
		r.Header.Set("Authorization", "Bearer "+k.token)
		k.proof(r)
		w := httptest.NewRecorder()
		own.ServeHTTP(w, r)
		return k.learn(&reply{t: t, what: "visit", status: w.Code, header: w.Header(), body: w.Body.Bytes()})
	}
	if r := visit(); string(r.body) != claims(t, k.token)["sid"] {
		t.Errorf("%d %s", r.status, r.body)
	}
	k.learn(&reply{header: http.Header{"Dpop-Nonce": {"old"}}})
	visit().want(401) // and the answer told the nonce
	visit().want(200)
}

// A transport of the library's does all of it, over a network.
func TestTheLibrarysTransportSpeaksWithTheServer(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	s := newSite(t, func(c *server.Config) { c.PublicURL = "http://" + web.Listener.Addr().String() })
	web.Config.Handler = s.handler
	web.Start()
	defer web.Close()
	key, err := jose.GenerateKey(jose.EdDSA, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := dpop.NewProver(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: p.Transport(nil)}
	body := `{"identifier": "ann", "password": "` + goodPassword + `", "as": "jwt"}`
	answer, err := c.Post(web.URL+"/api/v1/signup", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var in struct {
		AccessToken string `json:"access_token"`
	}
	decode(t, answer, 201, &in)
	for range 3 {
		r, err := http.NewRequest("GET", web.URL+"/api/v1/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+in.AccessToken)
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var now struct{ User struct{ Name string } }
		decode(t, answer, 200, &now)
	}
}
