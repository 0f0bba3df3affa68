// Package provider lets other people's applications in: an OAuth 2.1 authorization
// server and OpenID provider that is an http.Handler.
//
// TODO(helper core): a start, with five lines of code.
package provider

import (
	"net/http"
	"time"

	"github.com/admit-auth/admit"
)

// Options configure a Provider. Issuer, Store, Keys, Secrets and People are needed.
type Options struct {
	Issuer  string // such as https://id.example.org; no slash at its end
	Path    string // of the endpoints below the issuer; "" for /oauth
	Store   Store
	Keys    Keys
	Secrets Secrets
	People  People

	// Salt is what pairwise subjects are made with, and the sid that a client is told. It
	// never changes, for with it would change who everybody is. Where it is left out both
	// are made with Secrets, and change when those do.
	Salt admit.Secret

	// HTTP fetches the keys of clients that have them behind a URL: http.DefaultClient,
	// with a time-out, unless set. Where strangers register clients it must reach nothing
	// in your own network.
	HTTP *http.Client

	Scopes map[string][]string // of ours besides the standard ones, with the claims that each gives

	// InsecureLoopback allows http for redirects, log-out and keys on loopback addresses of
	// clients that are no native ones: for development.
	InsecureLoopback bool

	now func() time.Time // of tests
}

// People is the application around a provider: it knows who is signed in, and shows
// the pages.
type People interface {
	// Session returns who is signed in in the browser that sends r, nil for nobody.
	Session(r *http.Request) (*Session, error)
	// SignIn leads the browser to a sign-in, after which it must come back by
	// a.Resume(). Where somebody is signed in already, that is not enough: a.Why tells.
	SignIn(w http.ResponseWriter, r *http.Request, a *Authorization)
	// Consent shows what a client asks for. Its form posts a.Flow() as "flow" and
	// "decision", "allow" or "deny", to the authorization endpoint.
	Consent(w http.ResponseWriter, r *http.Request, a *Authorization)
	// Fault shows what is wrong where the browser must not be sent back to the client,
	// because nobody knows who that is.
	Fault(w http.ResponseWriter, r *http.Request, err error)
	// SignOut asks whether to sign out, and of which session, and then leads to
	// l.Resume(); where l.Asked is false the client has shown who it is, and the
	// session is ended at once.
	SignOut(w http.ResponseWriter, r *http.Request, l *Logout)
}
