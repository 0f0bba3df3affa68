package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/provider"
)

const (
	payments   = "https://pay.example.net"
	paysSecret = "pWvX8sQfG3kTz7LmN2rB5yHc"
)

// RoundTrip implements http.RoundTripper: services of the tests ask the site itself.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	in.Header, in.RemoteAddr = r.Header, "127.0.0.1:4711"
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, in)
	return w.Result(), nil
}

// byIntrospection has a service ask the site about opaque tokens for it (RFC 7662).
func (s *site) byIntrospection() authn.Source {
	return authn.Func(func(r *http.Request) (p admit.Principal, found bool, err error) {
		text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			return p, false, nil
		}
		ask, err := http.NewRequest("POST", "http://localhost/oauth/introspect", strings.NewReader(url.Values{"token": {text}}.Encode()))
		if err != nil {
			return p, true, err
		}
		ask.SetBasicAuth("pay", paysSecret)
		ask.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := s.RoundTrip(ask)
		if err != nil {
			return p, true, err
		}
		var told struct {
			Active   bool
			Sub, ACR string
			AuthTime int64 `json:"auth_time"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&told); err != nil || answer.StatusCode != 200 {
			return p, true, fmt.Errorf("introspect: %d: %v", answer.StatusCode, err)
		}
		if !told.Active {
			return p, true, admit.Unauthenticated.New("ended", "ended")
		}
		return admit.Principal{Subject: told.Sub, Credential: "token", ACR: told.ACR, AuthTime: time.Unix(told.AuthTime, 0)}, true, nil
	})
}

// withPayments registers the service that takes payments, and the shop that uses it.
func (s *site) withPayments(jwt bool) *site {
	secret, err := provider.ParseSecret(admit.NewSecret(paysSecret))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.withShop(func(c *provider.Client) {
		*c = provider.Client{ID: "pay", Name: "Payments", Secrets: []provider.ClientSecret{secret}, Resources: []string{payments}}
	}).withShop(func(c *provider.Client) {
		c.JWT, c.Audiences, c.Scopes = jwt, []string{payments}, append(c.Scopes, "pay")
	})
}

var challengeParam = regexp.MustCompile(`(\w+)="([^"]*)"`)

// The whole of RFC 9470 on the pages that there are: a service wants a stronger and a
// fresher proof than a password of some time ago. The app goes back with what the service
// has said, the person shows a code of its app, once, and the service is content.
func TestAServiceGetsTheProofThatItAsksFor(t *testing.T) {
	for _, jwt := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t).withPayments(jwt)
			app, _ := s.signedUp("ann").enrolled()
			source := s.byIntrospection()
			if jwt {
				tokens, err := access.NewVerifier("http://localhost", payments, &access.Options{InsecureNoFeed: true, Transport: s})
				if err != nil {
					t.Fatal(err)
				}
				source = tokens
			}
			pay := authn.New(source).Require(authn.RequireProof(admit.TwoFactors, 15*time.Minute, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := admit.FromContext(r.Context())
				fmt.Fprint(w, p.ACR)
			})))
			asks := func(tokens *reply) (*httptest.ResponseRecorder, url.Values) {
				r := httptest.NewRequest("POST", payments+"/transfer", nil)
				r.Header.Set("Authorization", "Bearer "+tokens.at("access_token"))
				w := httptest.NewRecorder()
				pay.ServeHTTP(w, r)
				said := url.Values{}
				for _, m := range challengeParam.FindAllStringSubmatch(w.Header().Get("WWW-Authenticate"), -1) {
					said.Set(m[1], m[2])
				}
				return w, said
			}
			// From a device that is trusted the password alone is enough to sign in.
			paying := func(more ...string) string {
				return appAsks(append(more, "scope", "openid pay", "resource", payments)...)
			}
			c := s.client()
			c.page("POST", "/signin", signingIn("ann")).leads("/signin/factor")
			c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {app.next()}, "trust": {"yes"}}).leads("/account")
			c.page("POST", "/signout", url.Values{}).leads("/")
			at := c.signsIn(c.page("GET", paying(), nil), "ann").onward()
			first := s.redeemCode(c.decides(c.page("GET", at, nil), "allow").code()).want(200)
			for range 2 { // a moment after, and an hour
				w, said := asks(first)
				if w.Code != 401 || said.Get("error") != "insufficient_user_authentication" || said.Get("acr_values") != "2fa phr" || said.Get("max_age") != "900" {
					t.Fatalf("jwt %v: the service says %d %s: %s", jwt, w.Code, w.Header().Get("WWW-Authenticate"), w.Body)
				}
				// The app sends the browser back with just that.
				at := c.page("GET", paying("acr_values", said.Get("acr_values"), "max_age", said.Get("max_age")), nil).target()
				if at.Path != "/account/confirm" || at.Query().Get("by") != "totp" {
					t.Fatalf("jwt %v: the browser is led to %s", jwt, at)
				}
				c.page("GET", at.RequestURI(), nil).want(200)
				in := url.Values{"by": {"totp"}, "code": {app.next()}, "return_to": {at.Query().Get("return_to")}}
				second := s.redeemCode(c.page("GET", c.page("POST", "/account/confirm", in).onward(), nil).code()).want(200)
				if w, _ := asks(second); w.Code != 200 || w.Body.String() != "2fa" {
					t.Fatalf("jwt %v: after the proof the service says %d %s", jwt, w.Code, w.Header().Get("WWW-Authenticate"))
				}
				// And the app that looks into its ID token finds the same.
				if id := claims(t, second.at("id_token")); id["acr"] != "2fa" || int64(id["auth_time"].(float64)) != time.Now().Unix() {
					t.Errorf("jwt %v: the ID token says %v", jwt, id)
				}
				// The old token is what it was.
				if w, _ := asks(first); w.Code != 401 {
					t.Errorf("jwt %v: a token of before was raised along", jwt)
				}
				time.Sleep(20 * time.Minute)
				c.get("session").want(200)
				// What the app gets without asking tells of the same proof still.
				first = s.redeemCode(c.page("GET", paying(), nil).code()).want(200)
			}
		})
	}
}

// Who cannot give the proof that an app insists on is not asked for another one first,
// and the app is told.
func TestAnAppIsToldOfADemandThatCannotBeMet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		c := s.signedUp("ann")
		c.lets()
		time.Sleep(20 * time.Minute)
		c.get("session").want(200)
		essential := appAsks("claims", `{"id_token":{"acr":{"essential":true,"values":["2fa","phr"]}}}`, "max_age", "900")
		to := c.page("GET", c.page("GET", essential, nil).target().RequestURI(), nil).target()
		if got := to.Query().Get("error"); got != "unmet_authentication_requirements" {
			t.Errorf("the app is told %s", to)
		}
		// Without insisting, the fresh proof is what remains.
		wish := appAsks("acr_values", "2fa phr", "max_age", "900")
		at := c.page("GET", c.page("GET", wish, nil).target().RequestURI(), nil).target()
		if at.Path != "/account/confirm" || at.Query().Get("by") != "" {
			t.Fatalf("the browser is led to %s", at)
		}
		c.page("GET", c.page("POST", "/account/confirm", url.Values{"password": {goodPassword}, "return_to": {at.Query().Get("return_to")}}).onward(), nil).code()
	})
}
