// Command web-app is a site whose people sign in at admit by OpenID Connect, with the
// libraries that most Go programs use for that. It works with any other provider, too.
//
//	admit serve --dev
//	(umask 077; admit client add --id web-app --name 'My site' --grant authorization_code,refresh_token \
//	  --redirect http://127.0.0.1:8087/callback --post-logout http://127.0.0.1:8087/ \
//	  --backchannel-logout http://127.0.0.1:8087/backchannel-logout > secret)
//	go run ./examples/web-app    then open http://127.0.0.1:8087
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8087", "address to listen on")
	public := flag.String("url", "", "where people reach this site; http://, and the address, unless it is set")
	issuer := flag.String("issuer", "http://localhost:8080", "where people sign in")
	id := flag.String("client-id", "web-app", "what this site is called there")
	file := flag.String("secret-file", "secret", "file of its secret")
	flag.Parse()
	if *public == "" {
		*public = "http://" + *listen
	}
	secret, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	s, err := newSite(context.Background(), *issuer, *public, *id, strings.TrimSpace(string(secret)))
	if err != nil {
		log.Fatal(err)
	}
	log.Print(*public)
	log.Fatal(http.ListenAndServe(*listen, s.handler()))
}

// A Visit is what a session of this site remembers.
type Visit struct {
	Begun map[string]Begun // sign-ins on their way, by their state: each tab has its own

	SID    string // of the session at the provider
	Proof  string // the ID token, which a sign-out shows
	Name   string
	Tokens *oauth2.Token
}

// Begun is what proves that an answer belongs to what this browser asked for.
type Begun struct {
	Nonce, Verifier string
	At              time.Time
}

const (
	begunFor = time.Hour // as long as the provider remembers a request
	maxBegun = 8         // tabs
)

type site struct {
	url      string
	leave    string // end_session_endpoint
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	app      oauth2.Config
	sessions *session.Manager[Visit]
}

func newSite(ctx context.Context, issuer, public, id, secret string) (*site, error) {
	p, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Leave string `json:"end_session_endpoint"`
	}
	if err := p.Claims(&more); err != nil {
		return nil, err
	}
	// In memory, for one process; session/sqlstore and its kin for more.
	options := &session.Options{}
	if strings.HasPrefix(public, "http://") {
		options.InsecureAllowHTTP, options.Name = true, id // cookies know no ports: others here have theirs
	}
	sessions, err := session.New[Visit](session.NewMemory(nil), options)
	if err != nil {
		return nil, err
	}
	return &site{
		url: public, leave: more.Leave, provider: p, verifier: p.Verifier(&oidc.Config{ClientID: id}), sessions: sessions,
		app: oauth2.Config{
			ClientID: id, ClientSecret: secret, Endpoint: p.Endpoint(), RedirectURL: public + "/callback",
			Scopes: []string{oidc.ScopeOpenID, "profile"},
		},
	}, nil
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			if err := h(w, r); err != nil {
				log.Print(r.URL.Path, ": ", err)
				problem.Write(w, err, "")
			}
		})
	}
	page("GET /{$}", s.home)
	page("GET /profile", s.profile)
	page("GET /signin", s.signIn)
	page("GET /callback", s.callback)
	page("POST /signout", s.signOut)
	cross := http.NewCrossOriginProtection()
	outer := http.NewServeMux()
	outer.Handle("/", cross.Handler(s.sessions.Handler(mux)))
	outer.HandleFunc("POST /backchannel-logout", s.backchannel) // of the provider, and of no browser
	return outer
}

var index = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>My site</title>
{{with .}}<p>Hello {{.}}. <a href="/profile">Your profile</a>
<form method="post" action="/signout"><button>Sign out</button></form>
{{else}}<p><a href="/signin">Sign in</a>
{{end}}`))

func (s *site) home(w http.ResponseWriter, r *http.Request) error {
	name := ""
	v, err := s.sessions.Load(r)
	switch {
	case err == nil && v.Subject != "":
		name = v.Data.Name
	case err != nil && !errors.Is(err, admit.Unauthenticated):
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return index.Execute(w, name)
}

// signIn sends the browser to the provider.
func (s *site) signIn(w http.ResponseWriter, r *http.Request) error {
	state, now := rand.Text(), time.Now()
	b := Begun{Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), At: now}
	note := func(v *Visit) {
		for state, old := range v.Begun {
			if len(v.Begun) >= maxBegun || now.Sub(old.At) > begunFor {
				delete(v.Begun, state)
			}
		}
		if v.Begun == nil {
			v.Begun = map[string]Begun{}
		}
		v.Begun[state] = b
	}
	_, err := s.sessions.Update(w, r, func(v *Visit) error { note(v); return nil })
	if errors.Is(err, admit.Unauthenticated) { // the session that this browser had has just ended
		_, err = s.sessions.StartWith(w, r, "", nil, note)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, s.app.AuthCodeURL(state, oauth2.S256ChallengeOption(b.Verifier), oidc.Nonce(b.Nonce)), http.StatusSeeOther)
	return nil
}

var (
	errNotAsked = admit.Invalid.New("not_asked_for", "This browser has not asked for that. Begin again.")
	errRefused  = admit.Forbidden.New("not_let_in", "You were not let in.")
)

// callback takes the provider's answer.
func (s *site) callback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	state := q.Get("state")
	var b Begun
	if _, err := s.sessions.Update(w, r, func(v *Visit) error { // an answer is good once
		b = v.Begun[state]
		delete(v.Begun, state)
		return nil
	}); err != nil {
		return err
	}
	switch {
	// Who put a code of his own into somebody's browser would sign that one in as himself.
	case b.Verifier == "":
		return errNotAsked
	case q.Get("error") != "":
		return fmt.Errorf("%w (%q: %q)", errRefused, q.Get("error"), q.Get("error_description"))
	}
	tokens, err := s.app.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(b.Verifier))
	if err != nil {
		return err
	}
	proof, _ := tokens.Extra("id_token").(string)
	id, err := s.verifier.Verify(r.Context(), proof)
	if err != nil {
		return err
	}
	var claims struct{ SID, Name string }
	if err := id.Claims(&claims); err != nil {
		return err
	}
	if id.Nonce != b.Nonce {
		return errNotAsked
	}
	info, err := s.provider.UserInfo(r.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil {
		return err
	}
	var profile struct {
		Name     string
		UserName string `json:"preferred_username"`
	}
	if err := info.Claims(&profile); err != nil {
		return err
	}
	// The subject is what stays the same: names and addresses change, and not everybody has
	// told one.
	_, err = s.sessions.StartWith(w, r, id.Subject, nil, func(v *Visit) {
		*v = Visit{Begun: v.Begun, SID: claims.SID, Proof: proof, Name: cmp.Or(profile.Name, profile.UserName, id.Subject), Tokens: tokens}
	})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// profile asks the provider with the person's access token, as it would any other
// service, and refreshes it when it is over.
func (s *site) profile(w http.ResponseWriter, r *http.Request) error {
	v, err := s.sessions.Load(r)
	if err != nil {
		return err
	}
	if v.Data.Tokens == nil {
		return session.ErrNone
	}
	tokens, err := s.app.TokenSource(r.Context(), v.Data.Tokens).Token()
	if err != nil {
		return err
	}
	if tokens.RefreshToken != v.Data.Tokens.RefreshToken {
		if _, err := s.sessions.Update(w, r, func(v *Visit) error { v.Tokens = tokens; return nil }); err != nil {
			return err
		}
	}
	info, err := s.provider.UserInfo(r.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil {
		return err
	}
	var claims struct{ Name string }
	if err := info.Claims(&claims); err != nil {
		return err
	}
	fmt.Fprintln(w, info.Subject, claims.Name)
	return nil
}

// signOut ends the session here, and then the one at the provider.
func (s *site) signOut(w http.ResponseWriter, r *http.Request) error {
	v, err := s.sessions.Load(r)
	if err != nil {
		return err
	}
	if err := s.sessions.End(w, r, "signed_out"); err != nil {
		return err
	}
	q := url.Values{"client_id": {s.app.ClientID}, "id_token_hint": {v.Data.Proof}, "post_logout_redirect_uri": {s.url + "/"}}
	http.Redirect(w, r, s.leave+"?"+q.Encode(), http.StatusSeeOther)
	return nil
}

// backchannel hears from the provider that a session has ended there (OpenID Connect
// Back-Channel Logout 1.0).
func (s *site) backchannel(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	ended, err := s.verifier.VerifyLogout(r.Context(), r.PostFormValue("logout_token"))
	if err != nil {
		log.Print("back-channel logout: ", err)
		http.Error(w, "this is no logout token", http.StatusBadRequest)
		return
	}
	if err := s.end(r.Context(), ended.Subject, ended.SessionID); err != nil {
		log.Print("back-channel logout: ", err)
		http.Error(w, "try again", http.StatusServiceUnavailable) // the provider does
	}
}

// end ends what somebody has here of a session at the provider, or of every one.
func (s *site) end(ctx context.Context, subject, sid string) error {
	if sid == "" {
		return s.sessions.EndAll(ctx, subject, "", "signed_out_elsewhere")
	}
	all, err := s.sessions.List(ctx, subject)
	for _, info := range all {
		v, e := s.sessions.Find(ctx, info.SID)
		if e == nil && v.Data.SID == sid {
			e = s.sessions.EndSID(ctx, subject, info.SID, "signed_out_elsewhere")
		}
		if !errors.Is(e, session.ErrUnknown) { // it has ended meanwhile
			err = errors.Join(err, e)
		}
	}
	return err
}
