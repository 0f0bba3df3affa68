package access_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

// A service, and the issuer in the same process.
func Example() {
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		panic(err)
	}
	log := feed.NewLog(nil)

	tokens, err := access.NewVerifier("https://auth.example.org", "https://api.example.org", &access.Options{
		Keys: jose.NewKeySet(key.Public()), Feed: log, // elsewhere: FeedToken
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go tokens.Run(ctx)
	if err := tokens.Ready(ctx); err != nil {
		panic(err)
	}
	who := authn.New(tokens)
	service := who.Require(authn.RequireRole("editor", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s\n", p.Subject)
	})))

	signer, err := jose.NewSigner[access.Claims](key, "at+jwt", nil)
	if err != nil {
		panic(err)
	}
	token, err := signer.Sign(&jose.Claims[access.Claims]{
		Issuer: "https://auth.example.org", Subject: "alice", Audience: []string{"https://api.example.org"}, Expires: time.Now().Add(5 * time.Minute),
		Data: access.Claims{SID: "s1", Roles: []string{"editor"}},
	})
	if err != nil {
		panic(err)
	}
	ask := func() (int, string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Body)
		return w.Code, string(body)
	}
	status, body := ask()
	fmt.Print(status, " ", body)

	if err := log.Append(ctx, time.Now(), feed.SessionEnded("s1", "alice", "signed_out", time.Now().Add(5*time.Minute))); err != nil {
		panic(err)
	}
	for {
		if status, _ := ask(); status != http.StatusOK {
			fmt.Println(status)
			break
		}
	}
	// Output:
	// 200 hello alice
	// 401
}
