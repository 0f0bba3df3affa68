package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/admit-auth/admit/provider"
)

// pushes has the shop's server push what it asks for, and returns the address that it
// then sends a browser to.
func (s *site) pushes(secret string, more ...string) string {
	s.t.Helper()
	_, query, _ := strings.Cut(appAsks(more...), "?")
	form, err := url.ParseQuery(query)
	if err != nil {
		s.t.Fatal(err)
	}
	// From another site, as a page with a form would: programs say nothing of the sort.
	r := s.client().page("POST", "/oauth/par", form, func(r *http.Request) {
		r.SetBasicAuth("shop", secret)
		r.Header.Del("Origin")
		r.Header.Del("Sec-Fetch-Site")
	})
	decodeJSON(s.t, r)
	uri := r.want(201).at("request_uri")
	if !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:adm_o_") {
		s.t.Fatalf("the request_uri is %q", uri)
	}
	return "/oauth/authorize?" + url.Values{"client_id": {"shop"}, "request_uri": {uri}}.Encode()
}

// withSecretShop registers a shop with a secret, which it returns.
func withSecretShop(t *testing.T) (*site, string) {
	secret, kept := provider.NewSecret()
	return newSite(t).withShop(func(c *provider.Client) {
		c.Auth, c.Secrets, c.RequirePushed = provider.AnySecret, []provider.ClientSecret{kept}, true
	}), secret.Reveal()
}

// However long it is: what was pushed stands in no address and no cookie.
func TestALongRequestThatWasPushedGoesThroughASecondStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, secret := withSecretShop(t)
		a, _ := s.signedUp("ann").enrolled()
		c := s.client()
		at := s.pushes(secret, "state", strings.Repeat("s", 10_000))
		c.page("GET", at, nil)
		c.signsIn(c.page("GET", at, nil), "ann").leads("/signin/factor") // and loaded again
		page := c.page("GET", c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {a.next()}}).onward(), nil).says("Let The Shop in?")
		to := c.decides(page, "allow").target()
		if to.Query().Get("code") == "" || len(to.Query().Get("state")) != 10_000 {
			t.Errorf("it leads to %.200s", to)
		}
		c.page("GET", at, nil).want(400).says("invalid_request_uri")
		c.page("GET", to.RequestURI(), nil)
	})
}

func TestAClientThatMustPushIsToldSoByTheServer(t *testing.T) {
	s, secret := withSecretShop(t)
	c := s.signedUp("ann")
	if to := c.page("GET", appAsks(), nil).target(); to.Query().Get("error") != "invalid_request" {
		t.Errorf("it leads to %s", to)
	}
	c.decides(c.page("GET", s.pushes(secret), nil), "allow").code()
	r := s.client().page("POST", "/oauth/par", url.Values{"client_id": {"shop"}})
	if decodeJSON(t, r); r.status != 401 || r.at("error") != "invalid_client" {
		t.Errorf("without a proof: %d %s", r.status, r.body)
	}
}
