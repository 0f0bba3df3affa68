package handover

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/internal/remote"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// Sessions are those of the domain where people sign in: a [session.Manager].
type Sessions interface {
	session.Parents
	Check(*http.Request) (session.Info, error)
}

// A Site is a target, as the origin knows it. Register those of your own house
// only: a site may end the sessions that it knows of.
type Site struct {
	Name     string       // in URLs
	Callback string       // the one URL to which browsers are sent back
	Secret   admit.Secret // of 32 characters or more: the site's server proves itself with it
}

// OriginOptions are the choices of an [Origin].
type OriginOptions struct {
	Sites []Site

	// SignIn answers browsers of which nobody is signed in: with the page where
	// that is done, and which leads back to the request's URL. Where it is nil
	// they are refused.
	SignIn http.Handler

	// InsecureAllowHTTP lets callbacks be plain HTTP off this machine: whoever is
	// on the network sees codes.
	InsecureAllowHTTP bool
}

// An Origin hands sessions over to other domains. It answers GET …/begin from
// browsers, and POST …/redeem, …/alive and …/end from the servers of sites.
type Origin struct {
	sessions Sessions
	store    session.Store
	sites    map[string]site
	signIn   http.Handler
}

type site struct {
	name, callback string
	secret         [sha256.Size]byte
}

// NewOrigin returns an Origin. Codes are kept in the store, which may be that of
// the sessions.
func NewOrigin(sessions Sessions, store session.Store, o *OriginOptions) (*Origin, error) {
	if sessions == nil || store == nil || o == nil || len(o.Sites) == 0 {
		return nil, errors.New("handover: an origin needs sessions, a store and sites")
	}
	at := &Origin{sessions: sessions, store: store, sites: map[string]site{}, signIn: o.SignIn}
	for _, s := range o.Sites {
		u, err := url.Parse(s.Callback)
		// What has a colon in it cannot be the name in Basic authentication.
		if _, twice := at.sites[s.Name]; err != nil || twice || s.Name == "" || strings.Contains(s.Name, ":") || len(s.Secret.Reveal()) < minSecret ||
			u.RawQuery != "" || u.Fragment != "" || !remote.Safe(s.Callback, o.InsecureAllowHTTP) {
			return nil, fmt.Errorf("handover: site %q: it needs a name of its own without a colon, a secret of %d characters, and a callback over HTTPS without query", s.Name, minSecret)
		}
		at.sites[s.Name] = site{s.Name, s.Callback, sha256.Sum256([]byte(s.Secret.Reveal()))}
	}
	return at, nil
}

// ServeHTTP answers by the last part of the path.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	var err error
	switch r.Method + " " + path.Base(r.URL.Path) {
	case "GET begin":
		err = o.Begin(w, r, o.sessions.Check)
	case "POST redeem":
		err = serve(o, w, r, o.redeem)
	case "POST alive":
		err = serve(o, w, r, o.alive)
	case "POST end":
		err = serve(o, w, r, o.end)
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		problem.Write(w, err, "")
	}
}

// Begin is what ServeHTTP does for GET …/begin. Most programs never call it: those
// do that show refusals in a way of their own, or look closer at who is signed
// in. Who is asked for that, of requests that a site may make. Where Begin returns
// an error it has written nothing but headers.
func (o *Origin) Begin(w http.ResponseWriter, r *http.Request, who func(*http.Request) (session.Info, error)) error {
	w.Header().Set("Cache-Control", "no-store")
	// The code is in the address that comes next.
	w.Header().Set("Referrer-Policy", "no-referrer")
	q := r.URL.Query()
	to, known := o.sites[q.Get("site")]
	challenge, state := q.Get("challenge"), q.Get("state")
	switch {
	case !known:
		return ErrSite // and nobody is sent anywhere
	case len(challenge) != len(challengeOf("")) || !token.IsSelector(state):
		return errMalformed
	}
	info, err := who(r)
	if errors.Is(err, admit.Unauthenticated) && o.signIn != nil || err == nil && info.Guest() {
		if o.signIn == nil {
			return session.ErrNone
		}
		o.signIn.ServeHTTP(w, r)
		return nil
	}
	if err != nil {
		return err
	}
	now := time.Now()
	code := token.New(token.OneTime)
	value, err := json.Marshal(record{code.Digest(), to.name, challenge, Handed{
		info.SID, info.Subject, info.AuthTime, strings.Join(info.AMR(), " "), info.ACR, info.Persistent, info.ExpiresAt,
	}})
	if err != nil {
		return err
	}
	if _, err := o.store.Add(r.Context(), key(code), session.Item{Value: string(value), Expires: now.Add(codeLife)}); err != nil {
		return err
	}
	http.Redirect(w, r, to.callback+"?"+url.Values{"code": {code.Reveal()}, "state": {state}}.Encode(), http.StatusSeeOther)
	return nil
}

// A record is what a code stands for.
type record struct {
	Digest    token.Digest
	Site      string
	Challenge string
	Handed    Handed
}

// key is where a code's record is kept: no sid and no epoch begins so.
func key(code token.Token) string { return "h:" + code.Selector() }

// Site returns the name of the site whose server asks, as its password proves
// (Basic authentication), or ErrSite. Most programs never call it, nor Redeem:
// ServeHTTP does.
func (o *Origin) Site(r *http.Request) (name string, err error) {
	name, secret, _ := r.BasicAuth()
	by, known := o.sites[name]
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], by.secret[:]) != 1 || !known {
		return "", ErrSite
	}
	return name, nil
}

// serve answers a site's server.
func serve[Q, A any](o *Origin, w http.ResponseWriter, r *http.Request, f func(context.Context, string, Q) (A, error)) error {
	by, err := o.Site(r)
	if err != nil {
		return err
	}
	var q Q
	if err := problem.Read(r, &q); err != nil {
		return err
	}
	a, err := f(r.Context(), by, q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(a)
}

func (o *Origin) redeem(ctx context.Context, by string, q redemption) (Handed, error) {
	return o.Redeem(ctx, by, q.Code, q.Verifier)
}

// Redeem returns the session that a code was made for, while it lives, to the
// site that has proved its name. ErrCode where the code is not good for it, and
// what Alive says where the session has ended.
func (o *Origin) Redeem(ctx context.Context, site, text, verifier string) (Handed, error) {
	now := time.Now()
	code, err := token.Parse(token.OneTime, text)
	if err != nil {
		return Handed{}, ErrCode
	}
	it, err := o.store.Get(ctx, key(code))
	if errors.Is(err, session.ErrNotFound) {
		return Handed{}, ErrCode
	}
	if err != nil {
		return Handed{}, err
	}
	var rec record
	if json.Unmarshal([]byte(it.Value), &rec) != nil || !code.Matches(rec.Digest) {
		return Handed{}, ErrCode
	}
	// It is spent before it is judged: of two who bring it one is answered, and
	// who guesses the verifier guesses once.
	_, err = o.store.Swap(ctx, key(code), it.Version, session.Item{Value: "spent", Expires: it.Expires})
	switch {
	case errors.Is(err, session.ErrConflict), errors.Is(err, session.ErrNotFound):
		return Handed{}, ErrCode
	case err != nil:
		return Handed{}, err
	case !now.Before(it.Expires), rec.Site != site,
		subtle.ConstantTimeCompare([]byte(challengeOf(verifier)), []byte(rec.Challenge)) != 1:
		return Handed{}, ErrCode
	}
	return rec.Handed, o.sessions.Alive(ctx, rec.Handed.SID)
}

func (o *Origin) alive(ctx context.Context, _ string, q question) (answer, error) {
	err := o.sessions.Alive(ctx, q.SID)
	if errors.Is(err, admit.Unauthenticated) {
		return answer{}, nil
	}
	return answer{Alive: err == nil}, err
}

func (o *Origin) end(ctx context.Context, _ string, q question) (answer, error) {
	if err := o.sessions.EndAny(ctx, q.SID, q.Reason); err != nil && !errors.Is(err, session.ErrUnknown) {
		return answer{}, err
	}
	return answer{}, nil
}
