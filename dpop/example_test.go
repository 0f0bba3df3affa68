package dpop_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
)

func Example() {
	// The client has a key that leaves it never.
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		panic(err)
	}
	prover, err := dpop.NewProver(key)
	if err != nil {
		panic(err)
	}

	// The service. It has verified the token, and found the key's thumbprint in
	// cnf.jkt.
	var proofs *dpop.Verifier
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proofs.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := proofs.Check(r, "an.access.token", prover.Thumbprint()); err != nil {
				w.Header().Set("WWW-Authenticate", err.(interface{ Challenge() string }).Challenge())
				http.Error(w, "refused", http.StatusUnauthorized)
				return
			}
			fmt.Fprintln(w, "hello")
		})).ServeHTTP(w, r)
	}))
	defer service.Close()
	if proofs, err = dpop.NewVerifier(service.URL, nil); err != nil {
		panic(err)
	}

	client := &http.Client{Transport: prover.Transport(nil)}
	for _, c := range []*http.Client{client, http.DefaultClient} {
		r, _ := http.NewRequest("GET", service.URL+"/orders", nil)
		r.Header.Set("Authorization", "DPoP an.access.token")
		answer, err := c.Do(r)
		if err != nil {
			panic(err)
		}
		text, _ := io.ReadAll(answer.Body)
		fmt.Print(answer.StatusCode, " ", string(text))
	}
	// Output:
	// 200 hello
	// 401 refused
}
