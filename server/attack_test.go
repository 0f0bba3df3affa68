package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
)

// Each attack tells its story: who wants what, does what, and gets what.

// evil is what a browser sends when another site's page asks.
func evil(r *http.Request) {
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "https://evil.example")
}

// from is what a browser sends when a page of the origin asks, and it tells of
// no Sec-Fetch-Site as old ones do.
func from(origin string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Origin", origin) }
}

func TestAttackAForeignPageUsesTheSessionOfItsVisitor(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	c.post("signout", nil, evil).want(403, "cross_site")
	c.delete("sessions", evil).want(403, "cross_site")
	c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}, evil).want(403, "cross_site")
	c.post("signout", nil, from("https://evil.example")).want(403, "cross_site")
	c.post("signout", nil, from("null")).want(403, "cross_site")
	// Another port of this host is another origin of the same site.
	c.post("signout", nil, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-site")
		r.Header.Set("Origin", "http://localhost:3000")
	}).want(403, "cross_site")
	c.get("session").want(200)
	c.post("signout", nil, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", "http://localhost")
	}).want(204)
}

// Login CSRF: the visitor would go on, signed in as the attacker, and leave
// what is its own in the attacker's account.
func TestAttackAForeignPageSignsItsVisitorInAsTheAttacker(t *testing.T) {
	s := newSite(t)
	s.signedUp("mallory")
	victim := s.client()
	for _, path := range []string{"signin", "signup", "signup/verify", "guest"} {
		r := victim.post(path, m{"identifier": "mallory", "password": goodPassword}, evil).want(403, "cross_site")
		if r.header["Set-Cookie"] != nil {
			t.Errorf("%s set %q", path, r.header["Set-Cookie"])
		}
	}
	// A browser may hold Basic credentials for this host, of a proxy in front,
	// and sends them by itself: they are no proof that a script asked.
	victim.post("signin", m{"identifier": "mallory", "password": goodPassword}, evil, func(r *http.Request) {
		r.SetBasicAuth("team", "secret")
	}).want(403, "cross_site")
	victim.get("session").want(401, "no_session")
}

func TestATokenInTheHeaderNeedsNoProtectionFromForeignPages(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	app := s.client()
	app.token = app.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	app.post("signout", nil, evil).want(204)
	app.get("session").want(401, "session_ended")
}

func TestPagesOfAConfiguredOriginUseTokensAndNeverCookies(t *testing.T) {
	const origin = "https://app.example.org"
	s := newSite(t, func(c *server.Config) { c.CORSOrigins = []string{origin} })
	c := s.signedUp("ann")
	asks := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", origin)
	}
	preflight := c.do("OPTIONS", "/api/v1/session", nil, asks, func(r *http.Request) { r.Header.Set("Access-Control-Request-Method", "GET") }).want(204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "GET, HEAD", "Access-Control-Allow-Headers": "Authorization, Content-Type, DPoP",
		"Access-Control-Allow-Credentials": "", "Vary": "Origin",
	} {
		if got := preflight.header.Get(name); got != want {
			t.Errorf("a preflight is answered with %s %q, want %q", name, got, want)
		}
	}
	// Ann's browser sends her cookie along: it does not count, and is not cleared.
	c.get("session", asks).want(401, "no_session")
	if r := c.post("signout", nil, asks).want(204); r.header["Set-Cookie"] != nil {
		t.Errorf("a foreign sign-out sets %q", r.header["Set-Cookie"])
	}
	c.get("session").want(200)
	c.post("signin", m{"identifier": "ann", "password": goodPassword}, asks).want(400).field("as", "cookie_unsupported")
	c.post("guest", nil, asks).want(400).field("as", "cookie_unsupported")
	in := c.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}, asks).want(200)
	if in.header.Get("Access-Control-Allow-Origin") != origin || in.header["Set-Cookie"] != nil {
		t.Errorf("signed in with the header %v", in.header)
	}
	app := s.client()
	app.token = in.at("token")
	app.get("session", asks).want(200)

	for _, other := range []string{"https://evil.example", "https://app.example.org.evil.example", "http://app.example.org", "null", "https://APP.example.org"} {
		r := c.do("OPTIONS", "/api/v1/session", nil, from(other), func(r *http.Request) { r.Header.Set("Access-Control-Request-Method", "GET") })
		if r.status != 405 || r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("a preflight from %s is answered with %d and %v", other, r.status, r.header)
		}
	}
	if r := c.get("session"); r.header.Get("Vary") != "Origin" {
		t.Errorf("without an origin Vary is %q", r.header.Get("Vary"))
	}
}

func TestAttackACookieIsPresentedAgainAfterSignOut(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	r := c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	stolen := sessionCookie(t, r)
	thief := s.client()
	thief.get("session", func(r *http.Request) { r.AddCookie(stolen) }).want(200)
	c.post("signout", nil).want(204)
	thief.get("session", func(r *http.Request) { r.AddCookie(stolen) }).want(401, "session_ended")
	c.get("session").want(401, "no_session") // the browser has none any more
	c.post("signout", nil).want(204)         // and that is no error
}

func TestAttackACookieIsTamperedWith(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	good := sessionCookie(t, c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200))
	foreign := newSite(t)
	other := sessionCookie(t, foreign.client().post("signup", m{"identifier": "ann", "password": goodPassword}).want(201))
	flip := []byte(good.Value)
	flip[40] ^= 1
	for name, value := range map[string]string{
		"one bit flipped":                     string(flip),
		"cut off":                             good.Value[:len(good.Value)-1],
		"longer":                              good.Value + "0",
		"its selector with another verifier":  good.Value[:28] + other.Value[28:],
		"of another server":                   other.Value,
		"another kind of token":               strings.Replace(good.Value, "adm_s_", "adm_o_", 1),
		"empty":                               "",
		"not ASCII":                           "\xff\xfe",
		"long":                                strings.Repeat("x", 3000),
		"in the place of a bearer token only": "Bearer " + good.Value,
	} {
		got := s.client().get("session", func(r *http.Request) { r.Header.Set("Cookie", good.Name+"="+value) })
		if got.status != 401 || got.at("code") != "no_session" {
			t.Errorf("a cookie that is %s: %d %s", name, got.status, got.body)
		}
	}
	s.client().get("session", func(r *http.Request) { r.Header.Set("Cookie", "admit="+good.Value) }).want(401, "no_session")
	s.client().get("session", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+good.Value) }).want(401, "no_session")
}

func TestAttackATokenForTheHeaderIsPlantedAsACookie(t *testing.T) {
	s := newSite(t)
	s.signedUp("mallory")
	token := s.client().post("signin", m{"identifier": "mallory", "password": goodPassword, "as": "token"}).want(200).at("token")
	name := sessionCookie(t, s.client().post("guest", nil).want(201)).Name
	s.client().get("session", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: token}) }).want(401, "no_session")
}

// A sub-domain, or whoever is on the network, can plant cookies in a browser.
func TestAttackAPlantedCookieShadowsTheGoodOne(t *testing.T) {
	s := newSite(t)
	c := s.client()
	good := sessionCookie(t, c.post("signup", m{"identifier": "ann", "password": goodPassword}).want(201))
	mallory := sessionCookie(t, s.client().post("signup", m{"identifier": "mallory", "password": goodPassword}).want(201))
	both := func(first, second string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Cookie", good.Name+"="+first+"; "+good.Name+"="+second)
		}
	}
	victim := s.client()
	for _, junk := range []string{"x", "", good.Value[:20], strings.Repeat("y", 54)} {
		if r := victim.get("session", both(junk, good.Value)).want(200); r.at("session.sid") == "" {
			t.Errorf("behind %q: %s", junk, r.body)
		}
	}
	for _, order := range [][2]string{{mallory.Value, good.Value}, {good.Value, mallory.Value}} {
		r := victim.get("session", both(order[0], order[1])).want(401, "ambiguous_session")
		if lines := strings.Join(r.header["Set-Cookie"], "\n"); !strings.Contains(lines, good.Name+"=;") || !strings.Contains(lines, "Max-Age=0") {
			t.Errorf("the cookies are not cleared: %q", lines)
		}
	}
	// A sign-out in that state ends what an attacker could otherwise keep.
	victim.post("signout", nil, both(mallory.Value, good.Value)).want(204)
	victim.get("session", both("x", good.Value)).want(401, "session_ended")
}

func TestAttackTheSessionIDIsFixedBeforeTheSignIn(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	mallory := s.client()
	planted := sessionCookie(t, mallory.post("guest", nil).want(201))
	victim := s.client()
	in := victim.post("signin", m{"identifier": "ann", "password": goodPassword}, func(r *http.Request) { r.AddCookie(planted) }).want(200)
	if got := sessionCookie(t, in).Value; got == planted.Value || got[:28] == planted.Value[:28] {
		t.Error("the session keeps the planted id")
	}
	mallory.get("session").want(401, "session_ended")
}

func TestAttackASignUpAsksWhetherAnAddressHasAnAccount(t *testing.T) {
	s := newSite(t)
	s.run()
	const taken, free = "ann@example.org", "bob@example.org"
	c := s.client()
	flow := c.post("signup", m{"identifier": taken, "password": goodPassword}).want(202).at("flow")
	code, _, _ := s.mailTo(taken)
	c.post("signup/verify", m{"flow": flow, "code": code}).want(200)

	spy := s.client()
	strip := func(r *reply) string {
		text := string(r.body)
		for _, own := range []string{r.at("flow"), r.at("request_id")} {
			if own != "" {
				text = strings.ReplaceAll(text, own, "*")
			}
		}
		return http.StatusText(r.status) + text
	}
	asked := [2]*reply{}
	for i, address := range []string{taken, free} {
		asked[i] = spy.post("signup", m{"identifier": address, "password": otherPassword, "as": "token"}).want(202)
	}
	if a, b := strip(asked[0]), strip(asked[1]); a != b || len(asked[0].at("flow")) != len(asked[1].at("flow")) {
		t.Errorf("taken: %s\nfree:  %s", a, b)
	}
	_, _, first := s.mailTo(taken)
	_, _, second := s.mailTo(free)
	if strings.Contains(first, "code") || !strings.Contains(second, "code") {
		t.Errorf("the owner of a taken address is mailed %q, of a free one %q", first, second)
	}
	// Neither do guesses at the code tell, nor the end of the tries.
	for range 6 {
		var told [2]string
		for i := range asked {
			told[i] = strip(spy.post("signup/verify", m{"flow": asked[i].at("flow"), "code": "12345"}).want(401))
		}
		if told[0] != told[1] {
			t.Errorf("taken: %s\nfree:  %s", told[0], told[1])
		}
	}
	c.get("session").want(200)
	s.client().post("signin", m{"identifier": taken, "password": goodPassword}).want(200)
}

// Pre-hijacking: the attacker is there before the owner of an address, and
// hopes that what it planted is still good once the owner has arrived.
func TestAttackAnAccountIsPlantedBeforeTheOwnerOfTheAddressArrives(t *testing.T) {
	s := newSite(t)
	s.run()
	const address = "owner@example.org"
	// An account that holds the address, never proved, with a password, a
	// second name and a session of the attacker's.
	op := s.operator()
	planted, err := op.AddUser(t.Context(), server.NewUser{Identifiers: []string{address, "backdoor"}, Password: admit.NewSecret(otherPassword)})
	if err != nil {
		t.Fatal(err)
	}
	mallory := s.client()
	mallory.post("signin", m{"identifier": "backdoor", "password": otherPassword, "remember": true}).want(200)
	// And a sign-up of its own that is under way.
	pending := s.client()
	flow := pending.post("signup", m{"identifier": address, "password": otherPassword}).want(202).at("flow")
	stale, _, _ := s.mailTo(address)

	owner := s.client()
	own := owner.post("signup", m{"identifier": address, "password": goodPassword}).want(202).at("flow")
	var code string
	for code = stale; code == stale; code, _, _ = s.mailTo(address) {
	}
	in := owner.post("signup/verify", m{"flow": own, "code": code}).want(200)

	if ids := in.m["user"].(m)["identifiers"].([]any); len(ids) != 1 || ids[0].(m)["value"] != address {
		t.Errorf("the owner's names are %v", ids)
	}
	mallory.get("session").want(401, "session_ended")
	for _, name := range []string{address, "backdoor"} {
		s.client().post("signin", m{"identifier": name, "password": otherPassword}).want(401, "bad_credentials")
	}
	pending.post("signup/verify", m{"flow": flow, "code": stale}).want(401, "flow_ended")
	if n := len(owner.get("sessions").want(200).m["sessions"].([]any)); n != 1 {
		t.Errorf("the owner sees %d sessions, want 1", n)
	}
	if in.at("user.id") != planted.ID {
		t.Log("the owner has a new account") // as good
	}
	s.client().post("signin", m{"identifier": address, "password": goodPassword}).want(200)
}

func TestAttackASessionOfSomebodyElseIsEndedByItsID(t *testing.T) {
	s := newSite(t)
	ann, mallory := s.signedUp("ann"), s.signedUp("mallory")
	sid := ann.get("session").at("session.sid")
	mallory.delete("sessions/"+sid).want(404, "unknown_session")
	mallory.delete("sessions/"+strings.Repeat("x", 22)).want(404, "unknown_session")
	mallory.delete("sessions/e:"+ann.get("session").at("user.id")).want(404, "unknown_session")
	guest := s.client()
	guest.post("guest", nil).want(201)
	guest.delete("sessions/"+sid).want(401, "no_session")
	guest.delete("sessions").want(401, "no_session")
	ann.get("session").want(200)
}

// noneLives fails where a sign-in that was under way is good after its owner shut it out.
// Those that were refused are nil.
func noneLives(t *testing.T, round int, thieves []*client) {
	t.Helper()
	for i, c := range thieves {
		if c == nil {
			continue
		}
		if r := c.get("session"); r.status != 401 {
			t.Errorf("round %d: sign-in %d is good: %s", round, i, r.body)
		}
	}
}

// A sign-in takes as long as a hash does. Whoever knows the old password keeps
// some under way, in the hope that one begins just after the owner has changed
// the password.
func TestAttackASignInUnderWayOutlivesTheChangeOfThePassword(t *testing.T) {
	s := newSite(t)
	owner := s.signedUp("ann")
	password := goodPassword
	for round := range 4 {
		next := fmt.Sprintf("%s %d", otherPassword, round)
		var thieves [6]*client
		var all sync.WaitGroup
		for i := range thieves {
			c := s.client()
			c.address = fmt.Sprintf("192.0.2.%d:1", round)
			all.Go(func() {
				time.Sleep(time.Duration(i) * 15 * time.Millisecond)
				if c.post("signin", m{"identifier": "ann", "password": password}).status == 200 {
					thieves[i] = c
				}
			})
		}
		owner.post("password/change", m{"password": password, "new_password": next}).want(204)
		all.Wait()
		noneLives(t, round, thieves[:])
		owner.get("session").want(200)
		password = next
	}
}

// Somebody holds the owner's security key, and keeps sign-ins under way while the owner
// removes it and signs out everywhere else, in the hope that one begins just after.
func TestAttackASignInUnderWayOutlivesTheRemovalOfItsPasskey(t *testing.T) {
	s := newSite(t)
	owner := s.signedUp("ann")
	for round := range 6 {
		a := s.authenticator()
		a.Count = 0 // as of a passkey that is synced: in whatever order the answers come
		id := owner.addPasskey(a).want(201).at("passkey.id")
		var thieves [8]*client
		var all sync.WaitGroup
		for i := range thieves {
			c := s.client()
			flow, options := c.post("signin/passkey/begin", m{}).question()
			answer := m{"flow": flow, "credential": a.Sign(t, options)}
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if c.post("signin/passkey/finish", answer).status == 200 {
					thieves[i] = c
				}
			})
		}
		owner.delete("passkeys/" + id).want(204)
		owner.delete("sessions").want(204)
		all.Wait()
		noneLives(t, round, thieves[:])
		owner.get("session").want(200)
	}
}

func TestAttackTheOldPasswordSetsANewOneAfterTheOwnerDid(t *testing.T) {
	s := newSite(t)
	owner := s.signedUp("ann")
	thief := s.client()
	thief.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	var all sync.WaitGroup
	var replies [2]*reply
	for i, c := range []*client{owner, thief} {
		all.Go(func() {
			replies[i] = c.post("password/change", m{"password": goodPassword, "new_password": fmt.Sprintf("%s of %d", otherPassword, i)})
		})
	}
	all.Wait()
	changed := 0
	for _, r := range replies {
		switch {
		case r.status == 204:
			changed++
		case r.at("code") != "password_changed" && r.at("code") != "bad_password" && r.at("code") != "session_ended":
			t.Errorf("the second change is answered with %d %s", r.status, r.body)
		}
	}
	if changed != 1 {
		t.Errorf("%d changes with one old password", changed)
	}
}

// Whoever has one IPv6 network has 2⁶⁴ addresses.
func TestAttackAnIPv6NetworkHasOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still meanwhile
		s := newSite(t)
		thief := s.client()
		for i := range 50 {
			thief.address = fmt.Sprintf("[2001:db8::%x:1]:443", i+1)
			thief.post("signin", m{"identifier": fmt.Sprintf("user%d", i%10), "password": "a guess of mine"}).want(401, "bad_credentials")
		}
		thief.address = "[2001:db8::ffff:1]:443"
		thief.post("signin", m{"identifier": "another", "password": "a guess of mine"}).want(429, "guesses_spent")
		thief.address = "[2001:db8:0:1::1]:443"
		thief.post("signin", m{"identifier": "another", "password": "a guess of mine"}).want(401, "bad_credentials")
	})
}

func TestAttackGuestsWithoutEndFillTheStore(t *testing.T) {
	s := newSite(t)
	app := s.client()
	n := 0
	for ; n < 1000; n++ {
		if r := app.post("guest", m{"as": "token"}); r.status == 429 {
			if r.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
	}
	if n < 300 || n == 1000 {
		t.Errorf("%d guests from one address", n)
	}
}

// A change of password takes two turns of those who are known. Whoever has an
// account could keep all of them taken.
func TestAttackOneUserTakesEverybodysTurnsToHash(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("mallory")
	for range 20 {
		c.post("password/change", m{"password": goodPassword, "new_password": "short"}).want(400, "password_too_short")
	}
	c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(429, "too_many_tries")
}

// A request without a path, as CONNECT has, must not tear the socket's
// connections down with a panic.
func TestTheSocketAnswersARequestWithoutAPath(t *testing.T) {
	s := newSite(t)
	s.run()
	conn, err := net.Dial("unix", filepath.Join(s.data, "admit.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT admit:80 HTTP/1.1\r\nHost: admit\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, " 404 ") {
		t.Errorf("answered %q, %v, want 404", line, err)
	}
}

func TestAttackAnAddressWithASlashStandsForAnotherUser(t *testing.T) {
	s, root := administered(t)
	s.signedUp("ann")
	root.post("admin/users", m{"identifiers": []string{"ann/x@example.org"}}).want(201)
	const path = "admin/users/ann%2Fx@example.org"
	if got := root.get(path).want(200).m["identifiers"].([]any)[0].(m)["value"]; got != "ann/x@example.org" {
		t.Errorf("it is %v who is shown", got)
	}
	root.delete(path).want(204)
	root.get("admin/users/ann").want(200)
}
