package authn_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/session"
)

// A session.Manager is a source as it is.
func Example() {
	sessions, err := session.New[struct{}](session.NewMemory(nil), nil)
	if err != nil {
		panic(err)
	}
	account := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		fmt.Println("hello,", p.Subject)
	})
	h := authn.New(sessions).Require(account)

	stranger := httptest.NewRequest("GET", "https://example.org/account", nil)
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, stranger)
	fmt.Println(answer.Code)

	signIn := httptest.NewRecorder()
	if _, err := sessions.Start(signIn, stranger, "alice", nil); err != nil {
		panic(err)
	}
	known := httptest.NewRequest("GET", "https://example.org/account", nil)
	known.AddCookie(signIn.Result().Cookies()[0])
	h.ServeHTTP(httptest.NewRecorder(), known)
	// Output:
	// 401
	// hello, alice
}
