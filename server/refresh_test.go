package server_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
)

// An app is a client that signs in for JWTs and keeps what it is given.
type app struct {
	*client
	refreshToken string
}

// appOf is a client with JWTs of a user who has an account.
func (s *site) appOf(name string) *app {
	s.t.Helper()
	a := &app{client: s.client()}
	a.userAgent = "AnnsApp/1.0"
	a.keep(a.post("signin", m{"identifier": name, "password": goodPassword, "as": "jwt"}).want(200))
	return a
}

// keep takes the tokens of an answer.
func (a *app) keep(r *reply) *reply {
	a.t.Helper()
	if a.token, a.refreshToken = r.at("access_token"), r.at("refresh_token"); a.token == "" || a.refreshToken == "" {
		a.t.Fatalf("no tokens in %s", r.body)
	}
	return r
}

// refreshed asks for new tokens as a client that has no other credential.
func (s *site) refreshed(token string, change ...func(*http.Request)) *reply {
	s.t.Helper()
	return s.client().post("refresh", m{"refresh_token": token}, change...)
}

// claims reads a JWT, and verifies nothing.
func claims(t testing.TB, jwt string) m {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", jwt)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c m
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnAppSignsInForAJWTRefreshesItAndSignsOut(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	a := s.client()
	in := a.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}).want(200)
	if in.header["Set-Cookie"] != nil || in.at("token") != "" || in.at("expires_in") != "300" || in.at("session.credential") != "jwt" {
		t.Errorf("signed in for a JWT: %v %s", in.header, in.body)
	}
	c := claims(t, in.at("access_token"))
	for name, want := range map[string]any{"iss": "http://localhost", "sub": in.at("user.id"), "client_id": "admit", "sid": in.at("session.sid")} {
		if c[name] != want {
			t.Errorf("claim %s is %v, want %v", name, c[name], want)
		}
	}
	a.token = in.at("access_token")
	if now := a.get("session").want(200); now.at("session.sid") != in.at("session.sid") || now.at("session.credential") != "jwt" {
		t.Errorf("the session is %s", now.body)
	}
	if n := len(laptop.get("sessions").want(200).m["sessions"].([]any)); n != 2 {
		t.Errorf("%d sessions are listed, want 2", n)
	}
	next := s.refreshed(in.at("refresh_token")).want(200)
	if next.at("refresh_token") == in.at("refresh_token") || next.at("access_token") == in.at("access_token") {
		t.Errorf("the next tokens are %s", next.body)
	}
	a.token = next.at("access_token")
	a.post("signout", nil).want(204)
	a.get("session").want(401, "session_ended")
	s.refreshed(next.at("refresh_token")).want(401, "session_ended")
	laptop.get("session").want(200)
}

func TestAFamilyMayBeginAtSignUpByNameAndByMail(t *testing.T) {
	s := newSite(t)
	s.run()
	a := &app{client: s.client()}
	a.keep(a.post("signup", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}).want(201))
	a.get("session").want(200)
	flow := s.client().post("signup", m{"identifier": "bob@example.org", "password": goodPassword, "as": "jwt"}).want(202).at("flow")
	code, _, _ := s.mailTo("bob@example.org")
	b := &app{client: s.client()}
	b.keep(b.post("signup/verify", m{"flow": flow, "code": code, "as": "jwt"}).want(200))
	b.get("session").want(200)
	s.client().post("guest", m{"as": "jwt"}).want(400).field("as", "as_unsupported") // it has no subject
}

// A phone loses the answer on the way, two tabs ask at once, an app is killed
// before it has written what it got: each asks once more and goes on.
func TestTheSameRefreshTokenIsGivenOutAgainForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		a := s.appOf("ann")
		first := s.refreshed(a.refreshToken).want(200)
		for _, wait := range []time.Duration{0, 5 * time.Second, 5 * time.Second} {
			time.Sleep(wait)
			if again := s.refreshed(a.refreshToken).want(200); again.at("refresh_token") != first.at("refresh_token") {
				t.Fatalf("asked again, it is %s after %s", again.at("refresh_token"), first.at("refresh_token"))
			}
		}
		if n := strings.Count(s.log.String(), "code=refresh_repeated"); n != 3 {
			t.Errorf("%d repetitions are told as such in the log, want 3", n)
		}
		time.Sleep(time.Second)
		a.keep(first)
		a.keep(s.refreshed(a.refreshToken).want(200)) // nobody was signed out
		a.get("session").want(200)
	})
}

// ended tests that family and session of a are over, and that the owner reads why.
func (a *app) stolen(owner *client) {
	a.t.Helper()
	if r := a.get("session").want(401, "session_ended"); r.at("reason") != "refresh_token_replayed" {
		a.t.Errorf("the session has ended for %q", r.at("reason"))
	}
	if r := a.site.refreshed(a.refreshToken).want(401, "session_ended"); r.at("reason") != "refresh_token_replayed" {
		a.t.Errorf("the family has ended for %q", r.at("reason"))
	}
	what := owner.get("activity?limit=1").want(200).m["records"].([]any)[0].(m)
	if what["event"] != "refresh_token_replayed" || what["by"] != "unknown" {
		a.t.Errorf("the activity says %v", what)
	}
}

// A thief copies the refresh token and uses it first; the owner comes second,
// with what was good until then.
func TestAttackAThiefRefreshesBeforeTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		laptop := s.signedUp("ann")
		owner := s.appOf("ann")
		thief := &app{client: s.client()}
		thief.keep(s.refreshed(owner.refreshToken).want(200))
		thief.get("session").want(200)
		time.Sleep(4 * time.Minute) // the owner's access token is nearly over
		s.refreshed(owner.refreshToken).want(401, "refresh_token_replayed")
		thief.stolen(laptop)
		owner.get("session").want(401, "session_ended")
	})
}

// The owner was first: what the thief copied is old by then, however soon he is.
func TestAttackAThiefRefreshesAfterTheOwner(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	owner := s.appOf("ann")
	copied := owner.refreshToken
	owner.keep(s.refreshed(owner.refreshToken).want(200))
	owner.keep(s.refreshed(owner.refreshToken).want(200)) // the successor is used
	s.refreshed(copied).want(401, "refresh_token_replayed")
	owner.stolen(laptop)
	s.refreshed(copied).want(401, "refresh_token_replayed") // and nothing more happens
	if n := len(laptop.get("activity?limit=200").want(200).m["records"].([]any)); n != 4 {
		t.Errorf("%d records, want 4: signed up and in, signed in, replayed", n)
	}
}

// A JWT goes to services, and names its family. Who runs one of them makes a
// refresh token of that name, to have the family ended for a replay.
func TestAttackAServiceEndsAFamilyThatItKnowsByName(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	owner := s.appOf("ann")
	gid := claims(t, owner.token)["gid"].(string)
	if strings.Contains(owner.refreshToken, gid) {
		t.Errorf("the refresh token %q has the family's name %q in it", owner.refreshToken, gid)
	}
	good := owner.refreshToken
	for name, made := range map[string]string{
		"another verifier, without the checksum": good[:30] + strings.Repeat("A", len(good)-30),
		"the session's token":                    strings.Replace(good, "adm_r_", "adm_s_", 1),
		"the access token":                       owner.token,
		"nothing":                                "",
		"one more letter":                        good + "A",
		"somebody else's, of a server elsewhere": "adm_r_YIgzimJh0RddaMNgStjs1jIa0fUv46iJz0IWC53urB1u3wGyky",
	} {
		if r := s.refreshed(made); r.status != 401 || r.at("code") != "refresh_token_invalid" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	owner.keep(s.refreshed(good).want(200))
	owner.get("session").want(200)
}

func TestAJWTExpiresInFiveMinutesAndItsSessionLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		a := s.appOf("ann")
		time.Sleep(5*time.Minute + time.Second)
		a.get("session").want(401, "jwt_expired")
		// Refreshing is use: with it the session outlives its idle hour, and
		// without it ends.
		for range 15 {
			a.keep(s.refreshed(a.refreshToken).want(200))
			time.Sleep(5 * time.Minute)
		}
		a.keep(s.refreshed(a.refreshToken).want(200))
		time.Sleep(time.Hour + time.Second)
		s.refreshed(a.refreshToken).want(401, "session_expired", "session_ended")

		a = s.appOf("ann")
		for range 12 * 2 {
			time.Sleep(30*time.Minute - time.Second)
			a.keep(s.refreshed(a.refreshToken).want(200))
		}
		if left := claims(t, a.token)["exp"].(float64) - float64(time.Now().Unix()); left > 25 {
			t.Errorf("an access token is good for %v s, 24 s before its session ends", left)
		}
		time.Sleep(time.Minute)
		s.refreshed(a.refreshToken).want(401, "session_expired", "session_ended")
	})
}

// What ends a session ends its family, and every JWT of it at this server.
func TestAFamilyEndsWithItsSession(t *testing.T) {
	for name, end := range map[string]func(s *site, laptop *client, a *app){
		"sign-out with the JWT": func(_ *site, _ *client, a *app) { a.post("signout", nil).want(204) },
		"ended from another device": func(_ *site, laptop *client, a *app) {
			laptop.delete("sessions/" + claims(a.t, a.token)["sid"].(string)).want(204)
		},
		"all others ended": func(_ *site, laptop *client, _ *app) { laptop.delete("sessions").want(204) },
		"the password changed": func(_ *site, laptop *client, _ *app) {
			laptop.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
		},
		"disowned": func(_ *site, laptop *client, _ *app) { laptop.disown(nil) },
		"the account deleted": func(_ *site, laptop *client, _ *app) {
			laptop.do("DELETE", "/api/v1/user", m{"confirm": "ann"}).want(204)
		},
		"disabled by an administrator": func(s *site, _ *client, _ *app) {
			s.administrator().do("PATCH", "/api/v1/admin/users/ann", m{"disabled": true}).want(200)
		},
		"deleted by an administrator": func(s *site, _ *client, _ *app) {
			s.administrator().do("DELETE", "/api/v1/admin/users/ann", nil).want(204)
		},
		"ended by an administrator": func(s *site, _ *client, _ *app) {
			s.administrator().do("DELETE", "/api/v1/admin/users/ann/sessions", nil).want(204)
		},
		"everybody's ended": func(s *site, _ *client, _ *app) {
			s.administrator().do("DELETE", "/api/v1/admin/sessions", nil).want(200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			laptop := s.signedUp("ann")
			a := s.appOf("ann")
			old := a.refreshToken
			a.keep(s.refreshed(old).want(200))
			end(s, laptop, a)
			said := a.get("session").want(401, "session_ended", "no_session")
			if r := s.refreshed(a.refreshToken).want(401, "session_ended", "refresh_token_invalid"); r.at("reason") != said.at("reason") && said.at("code") == "session_ended" && r.at("code") == "session_ended" {
				t.Errorf("the family has ended for %q, the session for %q", r.at("reason"), said.at("reason"))
			}
			s.refreshed(old).want(401, "session_ended", "refresh_token_invalid")
			a.post("signout", nil).want(204) // and that is no error
		})
	}
}

// The owner of a JWT that is good for minutes yet signs out: a copy of it counts
// no more, for nothing here.
func TestAttackAJWTIsUsedAfterItsSessionEnded(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	a := s.appOf("ann")
	thief := s.client()
	thief.token = a.token
	thief.get("session").want(200)
	a.post("signout", nil).want(204)
	thief.get("session").want(401, "session_ended")
	thief.get("sessions").want(401, "session_ended")
	thief.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(401, "session_ended")
	thief.delete("sessions").want(401, "session_ended")
	laptop.get("session").want(200)
}

// Ending all other sessions makes what was known of the user before old: also a
// JWT of the session that was spared, which gets a new one by itself.
func TestAJWTFromBeforeTheOthersWereEndedIsStaleAndRefreshes(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	a := s.appOf("ann")
	a.delete("sessions").want(204)
	laptop.get("session").want(401, "session_ended")
	a.get("session").want(401, "stale_claims")
	a.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(401, "stale_claims")
	a.keep(s.refreshed(a.refreshToken).want(200))
	a.get("session").want(200)
	a.delete("sessions").want(204) // there is none: nothing is raised
	a.get("session").want(200)
	a.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	stale := a.token
	a.keep(s.refreshed(a.refreshToken).want(200))
	a.get("session").want(200)
	a.token = stale
	a.post("signout", nil).want(204) // who says goodbye need not be up to date
	s.refreshed(a.refreshToken).want(401, "session_ended")
}

func TestTheNextRefreshCarriesTheRolesOfThen(t *testing.T) {
	s := newSite(t)
	root := s.administrator()
	s.signedUp("ann")
	a := s.appOf("ann")
	if roles := claims(t, a.token)["roles"]; roles != nil {
		t.Errorf("roles are %v, want none", roles)
	}
	root.do("PUT", "/api/v1/admin/users/ann/roles/editor", nil).want(204)
	a.keep(s.refreshed(a.refreshToken).want(200))
	if roles := fmt.Sprint(claims(t, a.token)["roles"]); roles != "[editor]" {
		t.Errorf("roles are %v, want [editor]", roles)
	}
}

// A page of another site makes its visitor's browser send the cookie.
func TestAttackAForeignPageUsesTheJWTInACookie(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	browser := s.client()
	in := browser.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt", "cookie": true}).want(200)
	set := in.header["Set-Cookie"]
	if len(set) != 1 || in.at("access_token") != "" || in.at("refresh_token") == "" {
		t.Fatalf("signed in with %q and %s", set, in.body)
	}
	for _, part := range []string{"admit-jwt", "; HttpOnly", "; SameSite=Lax", "; Path=/", "Max-Age=300"} {
		if !strings.Contains(set[0], part) {
			t.Errorf("the cookie is %q, without %q", set[0], part)
		}
	}
	if now := browser.get("session").want(200); now.at("session.credential") != "jwt" || now.at("session.sid") != in.at("session.sid") {
		t.Fatalf("the session is %s", now.body)
	}
	browser.post("signout", nil, evil).want(403, "cross_site")
	browser.delete("sessions", evil).want(403, "cross_site")
	browser.post("password/change", m{"password": goodPassword, "new_password": otherPassword}, evil).want(403, "cross_site")
	// Nor may it have the browser take tokens of the attacker's.
	browser.post("refresh", m{"refresh_token": in.at("refresh_token"), "cookie": true}, evil).want(403, "cross_site")
	// A header decides alone, whatever the cookie says.
	browser.token = "adm_s_nobody"
	browser.get("session").want(401, "no_session")
	browser.token = ""
	next := browser.post("refresh", m{"refresh_token": in.at("refresh_token"), "cookie": true}).want(200)
	if next.at("access_token") != "" || len(next.header["Set-Cookie"]) != 1 {
		t.Errorf("refreshed with %q and %s", next.header["Set-Cookie"], next.body)
	}
	browser.get("session").want(200)
	browser.post("signout", nil).want(204)
	browser.get("session").want(401, "no_session")
	s.refreshed(next.at("refresh_token")).want(401, "session_ended")

	// Who signs in with a cookie next is who asks from then on.
	browser.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt", "cookie": true}).want(200)
	browser.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	if now := browser.get("session").want(200); now.at("session.credential") != "cookie" {
		t.Errorf("the session is %s", now.body)
	}
}

func TestPagesOfAConfiguredOriginRefreshAndSendJWTs(t *testing.T) {
	const origin = "https://app.example.org"
	s := newSite(t, func(c *server.Config) { c.CORSOrigins = []string{origin} })
	s.signedUp("ann")
	asks := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", origin)
	}
	page := s.client()
	in := page.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}, asks).want(200)
	page.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt", "cookie": true}, asks).want(400).field("cookie", "cookie_unsupported")
	for _, path := range []string{"refresh", "session"} {
		method := map[string]string{"refresh": "POST", "session": "GET"}[path]
		r := page.do("OPTIONS", "/api/v1/"+path, nil, asks, func(r *http.Request) {
			r.Header.Set("Access-Control-Request-Method", method)
			r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		}).want(204)
		if h := r.header; h.Get("Access-Control-Allow-Origin") != origin || !strings.Contains(h.Get("Access-Control-Allow-Methods"), method) ||
			h.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type, DPoP" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("a preflight for %s is answered with %v", path, h)
		}
	}
	next := page.post("refresh", m{"refresh_token": in.at("refresh_token")}, asks).want(200)
	if next.header.Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("refreshed with %v", next.header)
	}
	page.token = next.at("access_token")
	page.get("session", asks).want(200)
	page.post("refresh", m{"refresh_token": next.at("refresh_token")}, from("https://app.example.org.evil.example")).want(200) // by a bearer: no browser sends it by itself
	page.token = ""
	page.post("refresh", m{"refresh_token": next.at("refresh_token")}, from("https://app.example.org.evil.example")).want(403, "cross_site")
}

// Whoever is on a network that carries a token in the clear has it.
func TestAttackATokenIsOverheardOnPlainHTTP(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	a := s.appOf("ann")
	opaque := s.client()
	opaque.token = opaque.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	for _, c := range []*client{a.client, opaque} {
		c.get("session").want(200)
		for _, address := range []string{"192.0.2.7:4711", "10.0.0.5:4711", "[2001:db8::1]:4711", "[::ffff:192.0.2.7]:4711"} {
			c.address = address
			c.get("session").want(403, "https_required")
			page := httptest.NewRequest("GET", "http://localhost/account/sessions", nil)
			page.Header.Set("Authorization", "Bearer "+c.token)
			c.send(page).want(403)
			c.get("session", func(r *http.Request) { r.TLS = &tls.ConnectionState{} }).want(200)
		}
		c.address = "[::1]:4711"
		c.get("session").want(200)
	}
	// Nor does it carry one away.
	far := s.client()
	far.address = "192.0.2.7:4711"
	for _, as := range []string{"token", "jwt"} {
		far.post("signin", m{"identifier": "ann", "password": goodPassword, "as": as}).want(403, "https_required")
		far.post("signup", m{"identifier": "bob", "password": goodPassword, "as": as}).want(403, "https_required")
	}
	far.post("guest", m{"as": "token"}).want(403, "https_required")
	far.post("refresh", m{"refresh_token": a.refreshToken}).want(403, "https_required")
	far.post("refresh", m{"refresh_token": a.refreshToken}, func(r *http.Request) { r.TLS = &tls.ConnectionState{} }).want(200)
	behind := newSite(t, func(c *server.Config) {
		c.Dev, c.DevKey = false, admit.Secret{}
		c.PublicURL, c.TrustedProxy = "https://id.example.org", []string{"10.0.0.1"}
	})
	for proto, want := range map[string]int{"https": 201, "http": 403} {
		c := behind.client()
		c.address = "10.0.0.1:4711"
		through := func(r *http.Request) {
			r.Host = "id.example.org"
			r.Header.Set("X-Forwarded-For", "192.0.2.7")
			r.Header.Set("X-Forwarded-Proto", proto)
		}
		up := c.post("signup", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}, through).want(want)
		if want == 201 {
			c.token = up.at("access_token")
			c.get("session", through).want(200)
			if iss := claims(t, c.token)["iss"]; iss != "https://id.example.org" {
				t.Errorf("the issuer is %v", iss)
			}
		}
	}
}

func TestTheAudiencesOfAJWTAreThoseConfigured(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Audiences = []string{"https://api.example.org", "https://files.example.org"} })
	s.signedUp("ann")
	a := s.appOf("ann")
	if aud := fmt.Sprint(claims(t, a.token)["aud"]); aud != "[https://api.example.org https://files.example.org]" {
		t.Errorf("aud is %s", aud)
	}
	a.get("session").want(200)
}

func TestAProofRaisesTheSessionAndNotTheJWTFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		a := s.appOf("ann")
		time.Sleep(11 * time.Minute)
		a.keep(s.refreshed(a.refreshToken).want(200))
		a.post("identifiers", m{"identifier": "ann2"}).want(401, "proof_needed")
		stolen := s.client()
		stolen.token = a.token
		a.post("reauthenticate", m{"password": goodPassword}).want(200)
		stolen.post("identifiers", m{"identifier": "mallory"}).want(401, "proof_needed")
		a.keep(s.refreshed(a.refreshToken).want(200))
		a.post("identifiers", m{"identifier": "ann2"}).want(201)
	})
}

// A person sees what a phone is signed in with beside the browsers, in lists of
// the API, on the page and as an operator, and ends it there.
func TestASessionOfJWTsIsListedAsSuchAndEndsFromEachList(t *testing.T) {
	s := newSite(t)
	root := s.administrator()
	laptop := s.signedUp("ann")
	listed := func(name string, r *reply, sid string) {
		t.Helper()
		all, _ := r.want(200).m["sessions"].([]any)
		for _, one := range all {
			one := one.(m)
			if one["sid"] == sid {
				if one["credential"] != "jwt" || one["device"].(m)["name"] != "AnnsApp" {
					t.Errorf("%s: listed as %v", name, one)
				}
				return
			}
		}
		t.Errorf("%s: not listed: %s", name, r.body)
	}
	for name, end := range map[string]func(sid string){
		"the API": func(sid string) {
			listed("the API", laptop.get("sessions"), sid)
			laptop.delete("sessions/" + sid).want(204)
		},
		"the page": func(sid string) {
			for language, tag := range map[string]string{"en": "an app with a token", "zh-CN": "使用令牌的应用"} {
				r := laptop.page("GET", "/account/sessions", nil, func(r *http.Request) { r.Header.Set("Accept-Language", language) })
				_, after, found := strings.Cut(string(r.want(200).body), "AnnsApp")
				if title, _, _ := strings.Cut(after, "</h2>"); !found || !strings.Contains(title, tag) {
					t.Errorf("the page in %s says of the app %q", language, title)
				}
			}
			laptop.page("POST", "/account/sessions", url.Values{"sid": {sid}}).leads("/account/sessions")
		},
		"the administrator": func(sid string) {
			listed("the administrator", root.get("admin/users/ann/sessions"), sid)
			root.delete("admin/sessions/" + sid).want(204)
		},
		"the command": func(sid string) {
			o := s.operator()
			one, err := o.Session(t.Context(), sid)
			if err != nil || one.Credential != "jwt" || one.Device.Name != "AnnsApp" {
				t.Errorf("shown as %+v, %v", one, err)
			}
			if err := o.EndSession(t.Context(), sid); err != nil {
				t.Error(err)
			}
		},
	} {
		a := s.appOf("ann")
		end(claims(t, a.token)["sid"].(string))
		if r := a.get("session"); r.status != 401 {
			t.Errorf("%s: the JWT still counts: %d %s", name, r.status, r.body)
		}
		if r := s.refreshed(a.refreshToken); r.status != 401 || r.at("code") != "session_ended" {
			t.Errorf("%s: the family is refused with %d %s", name, r.status, r.body)
		}
		laptop.get("session").want(200)
	}
}
