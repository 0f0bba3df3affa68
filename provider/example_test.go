package provider_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
)

// people are those of a program that has one user, who is always signed in. Another
// program looks at its session cookie, and has pages.
type people struct{ provider.People }

func (people) Session(*http.Request) (*provider.Session, error) {
	return &provider.Session{SID: "s-1", Subject: "ann", AuthTime: time.Now(), Expires: time.Now().Add(time.Hour)}, nil
}

// Consent stands for a page of yours, with a form.
func (people) Consent(w http.ResponseWriter, _ *http.Request, a *provider.Authorization) {
	fmt.Println(a.Client.Name, "asks for", a.New)
	w.Header().Set("Flow", a.Flow())
}

// oneKey signs everything.
type oneKey struct{ *jose.Key }

func (k oneKey) Signing(alg jose.Algorithm) *jose.Key {
	if alg == jose.ES256 {
		return k.Key
	}
	return nil
}
func (k oneKey) Published(context.Context) (*jose.KeySet, error) {
	return jose.NewKeySet(k.Public()), nil
}
func (k oneKey) KeySet(ctx context.Context, _ string) (*jose.KeySet, error) { return k.Published(ctx) }

func Example() {
	store := provider.NewMemory(nil)
	store.PutUser(provider.User{Subject: "ann"})
	store.PutSession(provider.Session{SID: "s-1", Subject: "ann", AuthTime: time.Now(), Expires: time.Now().Add(time.Hour)})
	store.PutClient(provider.Client{
		ID: "shop", Name: "The shop",
		RedirectURIs: []string{"https://shop.example.net/callback"},
		Grants:       []provider.GrantType{provider.AuthorizationCode},
		Scopes:       []string{"openid", "email"},
	})
	secrets, err := cookie.ParseKeys(cookie.GenerateKey()) // one that you keep
	if err != nil {
		log.Fatal(err)
	}
	key, err := jose.GenerateKey(jose.ES256, "2027-01")
	if err != nil {
		log.Fatal(err)
	}
	p, err := provider.New(provider.Options{
		Issuer: "https://id.example.org", Store: store, Keys: oneKey{key}, Secrets: secrets, People: people{},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/oauth/", p)
	mux.Handle("/.well-known/", p)

	// The shop sends Ann's browser here, and she is asked.
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/oauth/authorize?"+url.Values{
		"client_id": {"shop"}, "redirect_uri": {"https://shop.example.net/callback"}, "response_type": {"code"},
		"scope": {"openid email"}, "state": {"4711"}, "nonce": {"0815"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}.Encode(), nil))

	// What she answers is posted from the page that asked her, and not asked again.
	form := url.Values{"flow": {w.Header().Get("Flow")}, "decision": {"allow"}}
	r := httptest.NewRequest("POST", "/oauth/authorize", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	to, err := w.Result().Location()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Code, to.Host, to.Query().Get("iss"), to.Query().Get("state"), len(to.Query().Get("code")) > 0)
	// Output:
	// The shop asks for [openid email]
	// 303 shop.example.net https://id.example.org 4711 true
}
