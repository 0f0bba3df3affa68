package relying

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// zitadel is a site that speaks through zitadel/oidc's relying party. By itself that takes
// RS256 alone, and so the client is registered with it.
func zitadel(t testing.TB, h *house, id string) *app {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	secret := register(t, h, id, srv.URL, "/callback", "--signing-alg", "RS256")
	key := make([]byte, 32)
	rand.Read(key)
	party, err := rp.NewRelyingPartyOIDC(t.Context(), h.url, id, secret, srv.URL+"/callback", []string{"openid", "profile", "offline_access"},
		rp.WithPKCE(httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())))
	if err != nil {
		t.Fatal(err)
	}
	type tokens = oidc.Tokens[*oidc.IDTokenClaims]
	type session struct {
		*tokens
		sid, name string // of the sign-in: what refreshing gives after its end has no sid
	}
	var mu sync.Mutex
	sessions := map[string]*session{} // by the value of the cookie
	of := func(r *http.Request) (string, *session) {
		c, err := r.Cookie("zitadel")
		if err != nil {
			return "", nil
		}
		return c.Value, sessions[c.Value]
	}
	failed := func(w http.ResponseWriter, err error) bool {
		if err != nil {
			t.Log(err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return err != nil
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if _, s := of(r); s != nil {
			fmt.Fprintln(w, s.name)
		}
	})
	mux.Handle("GET /signin", rp.AuthURLHandler(rand.Text, party))
	mux.Handle("GET /callback", rp.CodeExchangeHandler(rp.UserinfoCallback(
		func(w http.ResponseWriter, r *http.Request, in *tokens, _ string, _ rp.RelyingParty, info *oidc.UserInfo) {
			mu.Lock()
			defer mu.Unlock()
			name := rand.Text()
			sessions[name] = &session{in, in.IDTokenClaims.SessionID, info.Name}
			http.SetCookie(w, &http.Cookie{Name: "zitadel", Value: name, Path: "/", HttpOnly: true})
			http.Redirect(w, r, "/", http.StatusSeeOther)
		}), party))
	mux.HandleFunc("GET /profile", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, s := of(r)
		if s == nil {
			http.Error(w, "nobody", http.StatusUnauthorized)
			return
		}
		next, err := rp.RefreshTokens[*oidc.IDTokenClaims](r.Context(), party, s.RefreshToken, "", "")
		if failed(w, err) {
			return
		}
		s.tokens = next
		info, err := rp.Userinfo[*oidc.UserInfo](r.Context(), next.AccessToken, next.TokenType, next.IDTokenClaims.Subject, party)
		if !failed(w, err) {
			fmt.Fprintln(w, info.Subject, info.Name)
		}
	})
	mux.HandleFunc("POST /signout", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		name, old := of(r)
		delete(sessions, name)
		mu.Unlock()
		// It asks by a POST of its own, and sends the browser to where that is led.
		to, err := rp.EndSession(r.Context(), party, old.IDToken, srv.URL+"/", "", "", nil)
		if !failed(w, err) {
			http.Redirect(w, r, to.String(), http.StatusSeeOther)
		}
	})
	mux.HandleFunc("POST /backchannel-logout", func(w http.ResponseWriter, r *http.Request) {
		claims, err := rp.VerifyIDToken[*oidc.IDTokenClaims](r.Context(), r.PostFormValue("logout_token"), party.IDTokenVerifier())
		if failed(w, err) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for name, in := range sessions {
			if in.sid == claims.SessionID {
				delete(sessions, name)
			}
		}
	})
	return &app{url: srv.URL, signIn: "/signin", profile: "/profile", signOut: func(p *person) { p.t.Helper(); p.post(srv.URL+"/signout", srv.URL, nil) }}
}
