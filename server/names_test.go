package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
)

func TestAppsKnowPeopleByTheSameNameWhateverKeysAreRotated(t *testing.T) {
	s := newSite(t).withShop(func(c *provider.Client) { c.Sector = "shop.example.net" })
	s.run()
	c := s.signedUp("ann")
	before := claims(t, c.lets().at("id_token"))
	me := c.get("session").want(200).at("user.id")
	if before["sub"] == me || before["sid"] == nil {
		t.Fatalf("the shop learns %v", before)
	}
	o := s.operator()
	if _, err := o.RotateKey(t.Context(), "cookies"); err != nil {
		t.Fatal(err)
	}
	for _, k := range keysFor(t, o, "cookies")[1:] {
		if _, err := o.RetireKey(t.Context(), k.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	after := claims(t, s.redeemCode(c.page("GET", appAsks(), nil).code()).want(200).at("id_token"))
	if after["sub"] != before["sub"] || after["sid"] != before["sid"] {
		t.Errorf("then it learns %v, and knew %v", after, before)
	}
}

// A client registers for RS256 after others have read the keys, and its first token is
// signed with one that their copies have.
func TestAKeyOfEveryAlgorithmIsPublishedBeforeAClientAsksForIt(t *testing.T) {
	s := newSite(t)
	var found struct {
		Algorithms []jose.Algorithm `json:"id_token_signing_alg_values_supported"`
	}
	r := s.client().page("GET", "/.well-known/openid-configuration", nil).want(200)
	if err := json.Unmarshal(r.body, &found); err != nil || !slices.Equal(found.Algorithms, []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256}) {
		t.Fatalf("the metadata name %v: %v", found.Algorithms, err)
	}
	set, _, err := jose.ParseKeySet(s.client().page("GET", "/oauth/jwks", nil).want(200).body)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range found.Algorithms {
		if !slices.ContainsFunc(set.Keys(), func(k *jose.Key) bool { return k.Algorithm() == alg }) {
			t.Errorf("no key of %s is published", alg)
		}
	}
	s.withShop(func(c *provider.Client) { c.Signs = jose.RS256 })
	token := s.signedUp("ann").lets().at("id_token")
	v, err := jose.NewVerifier[struct{}](set, jose.Expected{Algorithms: []jose.Algorithm{jose.RS256}, Issuer: "http://localhost", Audience: []string{"shop"}, Type: "JWT"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.VerifyAt(t.Context(), token, time.Now()); err != nil {
		t.Errorf("the copy does not verify what is signed: %v", err)
	}
}

func TestWhatTheTokenEndpointRefusesIsInTheLogByItsCode(t *testing.T) {
	s := newSite(t).withShop()
	before := len(s.log.String())
	s.redeemCode("adm_o_secret-of-somebody").want(400)
	s.client().page("POST", "/oauth/revoke", url.Values{"client_id": {"nobody"}, "token": {"secret-of-somebody"}}).want(401)
	s.client().page("GET", "/oauth/userinfo", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret-of-somebody") }).want(401)
	log := s.log.String()[before:]
	for _, want := range []string{"status=400", "code=invalid_grant", "code=invalid_client", "code=invalid_token"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "secret-of-somebody") {
		t.Errorf("it tells secrets:\n%s", log)
	}
}
