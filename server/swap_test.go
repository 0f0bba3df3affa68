package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server"
)

const (
	ordersAPI    = "https://orders.example.net"
	stockAPI     = "https://stock.example.net"
	ordersSecret = "oWvX8sQfG3kTz7LmN2rB5yHc"
)

// A shop sends orders what it was let do, and orders asks the stock for the person: with a
// token of less, that ends where the person takes back what the shop was allowed.
func TestAServiceCallsAnotherForAPersonUntilItIsTakenBack(t *testing.T) {
	for _, format := range []string{"opaque", "jwt"} {
		s := newSite(t)
		s.run()
		s.register(func(c *server.NewClient) {
			c.ID, c.Name, c.GrantTypes, c.RedirectURIs, c.AccessTokenFormat = "orders", "Orders", []string{"token_exchange"}, nil, format
			c.Secret, c.Resources, c.Audiences, c.Scopes = admit.NewSecret(ordersSecret), []string{ordersAPI}, []string{stockAPI}, []string{"read"}
		})
		stock := s.register(func(c *server.NewClient) {
			c.ID, c.Name, c.GrantTypes, c.RedirectURIs, c.Resources = "stock", "Stock", nil, nil, []string{stockAPI}
		}).Secret
		s.withShop(func(c *provider.Client) {
			c.Audiences, c.Scopes, c.JWT = []string{ordersAPI}, append(c.Scopes, "read", "write"), format == "jwt"
		})
		c := s.signedUp("ann")
		c.page("GET", appAsks("scope", "openid read write", "resource", ordersAPI), nil)
		first := c.lets("scope", "openid read write", "resource", ordersAPI)
		as := func(id, secret string) func(*http.Request) {
			return func(r *http.Request) { r.SetBasicAuth(id, secret) }
		}
		swap := func() *reply {
			return s.client().oauth(url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "resource": {stockAPI},
				"subject_token": {first.at("access_token")}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			}, as("orders", ordersSecret))
		}
		second := swap().want(200)
		told := func() *reply {
			r := s.client().page("POST", "/oauth/introspect", url.Values{"token": {second.at("access_token")}}, as("stock", stock)).want(200)
			decodeJSON(t, r)
			return r
		}
		if r := told(); r.at("scope") != "read" || r.at("client_id") != "orders" || r.at("act.sub") != "orders" || r.at("act.act.sub") != "shop" || r.at("aud") != "["+stockAPI+"]" {
			t.Errorf("%s: the stock is told %s", format, r.body)
		}
		c.page("POST", "/account/apps", url.Values{"client": {"shop"}}).leads("/account/apps")
		if r := told(); string(r.body) != `{"active":false}` {
			t.Errorf("%s: after it was taken back the stock is told %s", format, r.body)
		}
		if r := swap().want(400); r.at("error") != "invalid_request" {
			t.Errorf("%s: after it was taken back it is exchanged: %s", format, r.body)
		}
	}
}

// What it has exchanged is of grants of others, which live on without it.
func TestAServiceThatExchangesEndsForVerifiersWhenItIsRemoved(t *testing.T) {
	s, root := administered(t)
	s.register(func(c *server.NewClient) {
		c.ID, c.Name, c.GrantTypes, c.RedirectURIs = "orders", "Orders", []string{"token_exchange"}, nil
		c.Resources, c.Audiences = []string{ordersAPI}, []string{stockAPI}
	})
	root.delete("admin/clients/orders").want(204)
	// The feed tells that tokens of this id count no more, so that no other client has it.
	root.post("admin/clients", aClient(m{"id": "orders"})).want(409, "client_ending")
}
