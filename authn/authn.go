// Package authn finds out who sends a request.
//
// A [Source] knows one kind of credential; a session.Manager is one. Most
// programs need [New] and [Authenticator.Require]:
//
//	who := authn.New(sessions)
//	mux.Handle("/account", who.Require(account))
//
// The handler finds the answer with [admit.FromContext].
//
// A request with an Authorization header is judged by that header alone, so
// that a cookie never stands in for a token that was refused, and a browser's
// cookie never decides for a program's token. What is left of cross-site
// requests is the business of [http.CrossOriginProtection].
package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
)

// Why nobody is asking.
var (
	ErrNobody    = admit.Unauthenticated.New("not_signed_in", "You are not signed in.")
	ErrUnknown   = admit.Unauthenticated.New("unknown_credential", "The Authorization header is not one that counts here.")
	ErrAmbiguous = admit.Unauthenticated.New("ambiguous_credentials", "The request carries credentials of different people, so none counts.")
	ErrRole      = admit.Forbidden.New("role_needed", "You may not do this.")
)

// A Source recognises one kind of credential.
type Source interface {
	// Authenticate looks for its credential in a request. Found is false, and
	// the error nil, where the request has none of this source's. An error is
	// of kind admit.Unauthenticated where the credential does not count, and
	// of another kind, such as admit.Unavailable, where that cannot be told.
	// A credential taken from a cookie says so in Principal.Credential.
	Authenticate(r *http.Request) (p admit.Principal, found bool, err error)
}

// A Func is a function as a Source.
type Func func(r *http.Request) (p admit.Principal, found bool, err error)

// Authenticate calls f.
func (f Func) Authenticate(r *http.Request) (admit.Principal, bool, error) { return f(r) }

// An Authenticator asks its sources. It is immutable.
type Authenticator struct {
	sources  []Source
	resource *Resource // nil where nothing is told of it
}

// New returns an authenticator over these sources.
func New(sources ...Source) *Authenticator {
	return &Authenticator{sources: slices.Clone(sources)}
}

// Authenticate returns who sends a request. Every source is asked, and every
// credential that one recognises must count and be of one subject. ErrNobody
// says that there is none at all.
func (a *Authenticator) Authenticate(r *http.Request) (admit.Principal, error) {
	header := len(r.Header["Authorization"]) > 0
	if len(r.Header["Authorization"]) > 1 {
		return admit.Principal{}, ErrAmbiguous
	}
	asked := r
	if header {
		asked = r.WithContext(r.Context())
		asked.Header = r.Header.Clone()
		asked.Header.Del("Cookie")
	}
	var who admit.Principal
	var any bool
	var refused error
	for _, s := range a.sources {
		p, found, err := s.Authenticate(asked)
		switch {
		case err != nil:
			// A doubt outweighs a refusal: it must not sign anybody out.
			if refused == nil || errors.Is(refused, admit.Unauthenticated) {
				refused = err
			}
		case !found || header && p.Credential == "cookie":
			// The latter was kept in the request's context by an outer handler.
		case any && (p.Subject != who.Subject || p.Guest() && p.SID != who.SID):
			if refused == nil {
				refused = ErrAmbiguous
			}
		case !any:
			who, any = p, true
		}
	}
	switch {
	case refused != nil && header:
		return admit.Principal{}, fmt.Errorf("authenticate: %w", challenged(refused))
	case refused != nil:
		return admit.Principal{}, fmt.Errorf("authenticate: %w", refused)
	case any:
		return who, nil
	case header && bearer(r):
		return admit.Principal{}, challenged(ErrUnknown)
	case header:
		return admit.Principal{}, ErrUnknown
	}
	return admit.Principal{}, ErrNobody
}

// bearer reports whether the Authorization header is to bring a bearer token.
// To who tried something else, the challenge names no error (RFC 6750 section
// 3.1).
func bearer(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer")
}

// challenged says of a refused token that it is of no use, so that the client
// gets another (RFC 6750 section 3.1), unless the source has said what would do.
func challenged(err error) error {
	if _, ok := errors.AsType[interface {
		error
		Challenge() string
	}](err); ok || !errors.Is(err, admit.Unauthenticated) {
		return err
	}
	return admit.WithChallenge(err, `Bearer error="invalid_token"`)
}

// Handler lets next know who is asking, if anybody is: for pages that are
// there for everyone. A cookie that does not count is nobody's. A refused
// Authorization header, and an error that leaves open who is asking, are
// answered with a problem.
func (a *Authenticator) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.Authenticate(r)
		ctx := a.context(r.Context())
		switch {
		case err == nil:
			ctx = admit.NewContext(ctx, p)
		case !errors.Is(err, admit.Unauthenticated) || r.Header["Authorization"] != nil:
			refuse(ctx, w, err)
			return
		}
		if ctx != r.Context() {
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// Require calls next for those who have signed in, and answers all others,
// guests included, with a problem that says why.
func (a *Authenticator) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.Authenticate(r)
		if err == nil && p.Guest() {
			err = ErrNobody
		}
		ctx := a.context(r.Context())
		if err != nil {
			refuse(ctx, w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(admit.NewContext(ctx, p)))
	})
}

// RequireRole calls next for those who have the role. It stands behind Require
// or Handler.
func RequireRole(role string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p, ok := admit.FromContext(r.Context()); {
		case !ok || p.Guest():
			refuse(r.Context(), w, ErrNobody)
		case !p.HasRole(role):
			refuse(r.Context(), w, ErrRole)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// RequireProof calls next for those who have proved themselves at least as
// strongly as acr, unless that is "", and within maxAge, unless that is 0:
//
//	mux.Handle("/transfer", who.Require(authn.RequireProof("", 5*time.Minute, transfer)))
//
// All others get the challenge of RFC 9470, as a problem of code "proof_needed",
// which tells a client to have its user prove itself once more; what is a page
// leads there itself, by [admit.Principal.CheckProof]. It stands behind Require
// or Handler, and judges every credential alike, by what its Principal says. Our
// values of acr and their order are those of package admit; another issuer's
// must be met to the letter.
//
// It panics where it would demand nothing, or what cannot stand in a challenge.
func RequireProof(acr string, maxAge time.Duration, next http.Handler) http.Handler {
	if acr == "" && maxAge == 0 || maxAge < 0 || strings.ContainsFunc(acr, unquotable) {
		panic(fmt.Sprintf("authn: RequireProof of %q within %v", acr, maxAge))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := admit.FromContext(r.Context())
		err := p.CheckProof(acr, maxAge, time.Now())
		if !ok || p.Guest() {
			err = ErrNobody
		}
		if err != nil {
			refuse(r.Context(), w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unquotable tells what is no NQCHAR (RFC 6749, appendix A): acr_values is a
// list with spaces in between, in quotes.
func unquotable(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }

// context carries the resource to the handlers behind, which refuse too.
func (a *Authenticator) context(ctx context.Context) context.Context {
	if a.resource == nil {
		return ctx
	}
	return context.WithValue(ctx, resourceKey{}, a.resource)
}

func refuse(ctx context.Context, w http.ResponseWriter, err error) {
	p := problem.Of(err)
	p.RequestID = w.Header().Get("X-Request-Id")
	if s, ok := ctx.Value(resourceKey{}).(*Resource); ok && p.Challenge != "" {
		p.Challenge = s.pointed(p.Challenge)
	}
	p.Write(w)
}
