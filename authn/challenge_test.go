package authn_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
)

// A proofNeeded brings a challenge of its own.
type proofNeeded struct{ error }

func (e proofNeeded) Unwrap() error   { return e.error }
func (proofNeeded) Challenge() string { return `DPoP error="invalid_token"` }

// RFC 6750 section 3.1.
func TestOnlyARefusedTokenIsCalledInvalid(t *testing.T) {
	bound := authn.Func(func(r *http.Request) (admit.Principal, bool, error) {
		return admit.Principal{}, r.Header.Get("Authorization") == "Bearer bound", proofNeeded{errEnded}
	})
	for name, test := range map[string]struct {
		r    *http.Request
		want string
	}{
		"no credential":                         {request(""), "Bearer"},
		"a cookie that has ended":               {request("a=ended"), "Bearer"},
		"another scheme":                        {request("", "Basic YTpi"), "Bearer"},
		"a token that has ended":                {request("", "Bearer ended"), `Bearer error="invalid_token"`},
		"a token of nobody's":                   {request("", "bearer"), `Bearer error="invalid_token"`},
		"two tokens":                            {request("", "Bearer a", "Bearer a"), "Bearer"},
		"a token of which nothing can be told":  {request("", "Bearer away"), ""},
		"a source that has a better challenge":  {request("", "Bearer bound"), `DPoP error="invalid_token"`},
		"a guest's cookie beside what has none": {request("a=guest"), "Bearer"},
	} {
		who := authn.New(byCookie("a"), byHeader)
		if name == "a source that has a better challenge" {
			who = authn.New(bound)
		}
		rec := httptest.NewRecorder()
		who.Require(http.NotFoundHandler()).ServeHTTP(rec, test.r)
		if got := rec.Header().Get("WWW-Authenticate"); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
