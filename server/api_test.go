package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/server"
)

// The journeys.

func TestAPersonSignsUpSignsInTwiceSeesBothAndEndsOne(t *testing.T) {
	s := newSite(t)
	laptop := s.client()
	up := laptop.post("signup", m{"identifier": " Ann ", "password": goodPassword, "name": "Ann  Example"}).want(201)
	for path, want := range map[string]string{
		"state": "signed_in", "session.current": "true", "session.guest": "false", "session.credential": "cookie", "session.amr": "[pwd]", "session.acr": "1fa",
		"session.device.name": "Firefox on Linux", "session.device.address": "127.0.0.1", "user.name": "Ann Example", "token": "",
	} {
		if got := up.at(path); got != want {
			t.Errorf("sign-up says %s is %q, want %q", path, got, want)
		}
	}
	now := laptop.get("session").want(200)
	if now.at("session.sid") != up.at("session.sid") || now.at("user.id") != up.at("user.id") || now.at("session.auth_time") == "" {
		t.Errorf("the session after sign-up is %s", now.body)
	}

	phone := s.client()
	phone.userAgent = "AnnsApp/1.0"
	in := phone.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200)
	if phone.token = in.at("token"); !strings.HasPrefix(phone.token, "adm_s_") || in.at("session.credential") != "token" {
		t.Fatalf("signed in for a token: %s", in.body)
	}
	if in.header["Set-Cookie"] != nil {
		t.Errorf("a token comes with a cookie: %q", in.header["Set-Cookie"])
	}
	list := laptop.get("sessions").want(200)
	var names []string
	for _, e := range list.m["sessions"].([]any) {
		names = append(names, fmt.Sprint(e.(m)["device"].(m)["name"], " ", e.(m)["current"]))
	}
	slices.Sort(names)
	if want := []string{"AnnsApp false", "Firefox on Linux true"}; !slices.Equal(names, want) {
		t.Fatalf("the sessions are %q, want %q", names, want)
	}
	laptop.delete("sessions/" + in.at("session.sid")).want(204)
	phone.get("session").want(401, "session_ended")
	laptop.get("session").want(200)
	laptop.delete("sessions/"+in.at("session.sid")).want(404, "unknown_session")
}

func TestAGuestKeepsTheGuestIDThroughSignUpAndSignIn(t *testing.T) {
	s := newSite(t)
	c := s.client()
	guest := c.post("guest", m{}).want(201)
	id := guest.at("session.guest_id")
	if id == "" || guest.at("session.guest") != "true" || guest.at("session.auth_time") != "" {
		t.Fatalf("a guest is %s", guest.body)
	}
	if again := c.post("guest", nil).want(201); again.at("session.guest_id") != id || again.at("session.sid") == guest.at("session.sid") {
		t.Errorf("asked again, the guest is %s", again.body)
	}
	now := c.get("session").want(200)
	if v, there := now.m["user"]; v != nil || !there {
		t.Errorf("a guest's user is %v", v)
	}
	c.get("sessions").want(401, "no_session")
	if up := c.post("signup", m{"identifier": "ann", "password": goodPassword}).want(201); up.at("session.guest_id") != id {
		t.Errorf("after sign-up guest_id is %q, want %q", up.at("session.guest_id"), id)
	}
	c.post("guest", m{}).want(409, "signed_in")
	if now := c.get("session").want(200); now.at("session.guest_id") != id {
		t.Errorf("later guest_id is %q, want %q", now.at("session.guest_id"), id)
	}

	app := s.client()
	begun := app.post("guest", m{"as": "token"}).want(201)
	app.token = begun.at("token")
	in := app.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200)
	if in.at("session.guest_id") != begun.at("session.guest_id") {
		t.Errorf("after sign-in guest_id is %q, want %q", in.at("session.guest_id"), begun.at("session.guest_id"))
	}
	app.get("session").want(401, "session_ended") // the guest's token is dead
}

func TestChangingThePasswordEndsAllOtherSessions(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	phone := s.client()
	phone.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	laptop.post("password/change", m{"password": "not this one", "new_password": otherPassword}).want(403).field("password", "bad_password")
	laptop.post("password/change", m{"password": goodPassword, "new_password": "12345678"}).want(400).field("new_password", "password_breached")
	phone.get("session").want(200)
	laptop.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	laptop.get("session").want(200)
	phone.get("session").want(401, "session_ended")
	phone.post("signin", m{"identifier": "ann", "password": goodPassword}).want(401, "bad_credentials")
	phone.post("signin", m{"identifier": "ann", "password": otherPassword}).want(200)
	s.client().post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(401, "no_session")
}

func TestEndingAllOtherSessionsSparesTheOneThatAsks(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	var others []*client
	for range 3 {
		c := s.client()
		c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
		others = append(others, c)
	}
	stranger := s.signedUp("bob")
	laptop.delete("sessions").want(204)
	for _, c := range others {
		c.get("session").want(401, "session_ended")
	}
	laptop.get("session").want(200)
	stranger.get("session").want(200)
	if n := len(laptop.get("sessions").want(200).m["sessions"].([]any)); n != 1 {
		t.Errorf("%d sessions are left, want 1", n)
	}
}

func TestASignUpByEMailIsProvedWithTheMailedCode(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.client()
	asked := c.post("signup", m{"identifier": "Ann@Example.org", "password": goodPassword, "name": "Ann"}).want(202)
	if asked.at("state") != "check_mail" {
		t.Fatalf("sign-up says %s", asked.body)
	}
	c.get("session").want(401, "no_session")
	c.post("signin", m{"identifier": "ann@example.org", "password": goodPassword}).want(401, "bad_credentials")
	code, _, _ := s.mailTo("ann@example.org")
	wrong := "000000"
	if code == wrong {
		wrong = "000001"
	}
	flow := asked.at("flow")
	c.post("signup/verify", m{"flow": flow, "code": wrong}).want(401, "bad_code")
	s.client().post("signup/verify", m{"flow": "adm_o_nobody", "code": code}).want(401, "flow_ended")
	in := c.post("signup/verify", m{"flow": flow, "code": code[:3] + " " + code[3:]}).want(200)
	ids, _ := in.m["user"].(m)["identifiers"].([]any)
	if len(ids) != 1 || ids[0].(m)["value"] != "ann@example.org" || ids[0].(m)["verified"] != true {
		t.Errorf("the user is %s", in.body)
	}
	c.get("session").want(200)
	c.post("signup/verify", m{"flow": flow, "code": code}).want(401, "flow_ended") // it is good once
	s.client().post("signin", m{"identifier": "ann@example.org", "password": goodPassword}).want(200)
}

func TestACodeIsGoodForFiveTries(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.client()
	flow := c.post("signup", m{"identifier": "ann@example.org", "password": goodPassword}).want(202).at("flow")
	code, _, _ := s.mailTo("ann@example.org")
	for i := range 5 {
		wrong := fmt.Sprintf("%06d", i)
		if wrong == code {
			wrong = "999999"
		}
		c.post("signup/verify", m{"flow": flow, "code": wrong}).want(401, "bad_code")
	}
	c.post("signup/verify", m{"flow": flow, "code": code}).want(401, "flow_ended")
}

func TestWithoutMailASignUpByEMailIsRefusedClearly(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev = false })
	s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword}).want(503).field("identifier", "mail_unavailable")
}

func TestRememberedSessionsOutliveTheBrowserAndOthersDoNot(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	for _, tc := range []struct {
		name           string
		remember       bool
		lifetime, idle time.Duration
	}{
		{"an ordinary session", false, 12 * time.Hour, time.Hour},
		{"a remembered session", true, 30 * 24 * time.Hour, 14 * 24 * time.Hour},
	} {
		in := s.client().post("signin", m{"identifier": "ann", "password": goodPassword, "remember": tc.remember}).want(200)
		at := func(path string) time.Time {
			v, err := time.Parse(time.RFC3339, in.at("session."+path))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		begun := at("created_at")
		if got := at("expires_at").Sub(begun); got != tc.lifetime {
			t.Errorf("%s lives for %v, want %v", tc.name, got, tc.lifetime)
		}
		if got := at("idle_expires_at").Sub(begun); got != tc.idle {
			t.Errorf("%s lives unused for %v, want %v", tc.name, got, tc.idle)
		}
		line := sessionCookie(t, in)
		if got := line.MaxAge; (got > 0) != tc.remember {
			t.Errorf("%s has a cookie of Max-Age %d", tc.name, got)
		}
		if !line.HttpOnly || line.SameSite != http.SameSiteLaxMode || line.Path != "/" || line.Domain != "" {
			t.Errorf("%s has the cookie %s", tc.name, line)
		}
	}
}

// sessionCookie returns the session's cookie that an answer sets.
func sessionCookie(t testing.TB, r *reply) *http.Cookie {
	t.Helper()
	for _, line := range r.header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && strings.HasPrefix(c.Value, "adm_s_") {
			return c
		}
	}
	t.Fatalf("%s sets %q, no session", r.what, r.header["Set-Cookie"])
	return nil
}

func TestOffDevelopmentCookiesHaveTheHostPrefix(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev, c.PublicURL = false, "https://id.example.org" })
	r := s.client().post("signup", m{"identifier": "ann", "password": goodPassword}).want(201)
	if c := sessionCookie(t, r); c.Name != "__Host-admit" || !c.Secure {
		t.Errorf("the cookie is %s", c)
	}
	if r.header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security on an https origin")
	}
}

func TestAnUnusedSessionExpiresAndAUsedOneAtTheEndOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.server.Close()
		c := s.signedUp("ann")
		time.Sleep(59 * time.Minute)
		c.get("session").want(200)
		time.Sleep(59 * time.Minute)
		c.get("session").want(200) // the look before counts
		time.Sleep(61 * time.Minute)
		c.get("session").want(401, "session_expired")

		c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
		for range 23 {
			time.Sleep(30 * time.Minute)
			c.get("session").want(200)
		}
		time.Sleep(31 * time.Minute)
		c.get("session").want(401, "session_expired")
	})
}

func TestARememberedTokenLivesAsLongAndIsNeverPutIntoACookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		app := s.client()
		app.token = app.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token", "remember": true}).want(200).at("token")
		for range 4 {
			time.Sleep(7 * 24 * time.Hour)
			if r := app.get("session").want(200); r.header["Set-Cookie"] != nil {
				t.Errorf("a token's session sets %q", r.header["Set-Cookie"])
			}
		}
		time.Sleep(3 * 24 * time.Hour)
		app.get("session").want(401, "session_expired")
	})
}

func TestEndingTheOwnSessionIsASignOut(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	r := c.delete("sessions/" + c.get("session").at("session.sid")).want(204)
	if line := strings.Join(r.header["Set-Cookie"], "\n"); !strings.Contains(line, "Max-Age=0") {
		t.Errorf("the cookie is not cleared: %q", line)
	}
	c.get("session").want(401, "no_session")
}

func TestTheOneNotSeenForLongestMakesRoomForTheHundredAndFirstSession(t *testing.T) {
	s := newSite(t)
	first := s.signedUp("ann")
	first.get("session").want(200)
	var all sync.WaitGroup
	for range 3 { // hashes take their time
		all.Go(func() {
			for range 33 {
				s.client().post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
			}
		})
	}
	all.Wait()
	first.get("session").want(200)
	c := s.client()
	c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	if n := len(c.get("sessions").want(200).m["sessions"].([]any)); n != 100 {
		t.Errorf("%d sessions, want 100", n)
	}
	first.get("session").want(401, "session_ended")
}

// Refusals.

func TestUnknownUserAndWrongPasswordAreOneAnswer(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	same := func(r *reply) string {
		return strings.ReplaceAll(string(r.want(401, "bad_credentials").body), r.at("request_id"), "")
	}
	want := same(s.client().post("signin", m{"identifier": "ann", "password": "wrong and long enough"}))
	for _, who := range []string{"bob", "ann@example.org", "+49301234", "?", ""} {
		if got := same(s.client().post("signin", m{"identifier": who, "password": "wrong and long enough"})); got != want {
			t.Errorf("for %q the answer is %s, for a known user %s", who, got, want)
		}
	}
}

func TestSignUpRefusals(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	for _, tc := range []struct {
		name        string
		body        m
		status      int
		field, code string
	}{
		{"a taken user name", m{"identifier": "ANN", "password": goodPassword}, 409, "identifier", "identifier_taken"},
		{"a short password", m{"identifier": "bob", "password": "kj4h2k"}, 400, "password", "password_too_short"},
		{"no password", m{"identifier": "bob"}, 400, "password", "password_too_short"},
		{"a breached password", m{"identifier": "bob", "password": "password1"}, 400, "password", "password_breached"},
		{"a password that is the name", m{"identifier": "bobbobbob", "password": "bobbobbob"}, 400, "password", "password_is_your_name"},
		{"a name that is none", m{"identifier": "ann smith", "password": goodPassword}, 400, "identifier", "identifier_malformed"},
		{"no name", m{"password": goodPassword}, 400, "identifier", "identifier_malformed"},
		{"a phone number of no country", m{"identifier": "+999 30 1234", "password": goodPassword}, 400, "identifier", "phone_malformed"},
		{"a long name to be called", m{"identifier": "bob", "password": goodPassword, "name": strings.Repeat("x", 201)}, 400, "name", "name_too_long"},
		{"a cookie for what is no JWT", m{"identifier": "bob", "password": goodPassword, "as": "token", "cookie": true}, 400, "cookie", "jwt_cookie_unsupported"},
		{"a form of session that is none", m{"identifier": "bob", "password": goodPassword, "as": "scroll"}, 400, "as", "as_unsupported"},
	} {
		c := s.client()
		if r := c.post("signup", tc.body); r.status != tc.status || r.fault(tc.field) != tc.code {
			t.Errorf("%s: %d %s, want %d with code %s of field %s", tc.name, r.status, r.body, tc.status, tc.code, tc.field)
		}
		c.get("session").want(401, "no_session")
	}
	s.client().post("signup", m{"identifier": "bob", "password": goodPassword}).want(201) // nothing was half made
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	s := newSite(t)
	plain := func(contentType string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", contentType) }
	}
	valid := `{"identifier":"ann","password":"` + goodPassword + `"}`
	for _, tc := range []struct {
		name, body string
		change     func(*http.Request)
		status     int
		code       string
	}{
		{"no JSON", `identifier=ann`, nil, 400, "malformed"},
		{"JSON that is cut off", valid[:20], nil, 400, "malformed"},
		{"two values", valid + valid, nil, 400, "malformed"},
		{"an array", `[` + valid + `]`, nil, 400, "malformed"},
		{"a number for text", `{"identifier":7,"password":"x"}`, nil, 400, "malformed"},
		{"no UTF-8", "{\"identifier\":\"\xff\",\"password\":\"x\"}", nil, 400, "malformed"},
		{"a name twice", `{"identifier":"ann","identifier":"bob","password":"x"}`, nil, 400, "malformed"},
		{"depth without end", strings.Repeat(`{"identifier":`, 4_000), nil, 400, "malformed"},
		{"an unknown field", `{"identifier":"ann","password":"x","admin":true}`, nil, 400, "unknown_field"},
		{"a field in other letters", `{"IDENTIFIER":"ann","password":"x"}`, nil, 400, "unknown_field"},
		{"65 KiB", `{"identifier":"ann","password":"` + strings.Repeat("x", 65<<10) + `"}`, nil, 413, "too_large"},
		{"a form", `identifier=ann&password=x`, plain("application/x-www-form-urlencoded"), 415, "unsupported_content_type"},
		{"text, as a foreign form can send it", valid, plain("text/plain"), 415, "unsupported_content_type"},
		{"no content type", valid, func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "unsupported_content_type"},
		{"JSON in Latin-1", valid, plain("application/json; charset=latin1"), 415, "unsupported_content_type"},
	} {
		change := tc.change
		if change == nil {
			change = plain("application/json; charset=utf-8")
		}
		if r := s.client().post("signin", tc.body, change); r.status != tc.status || r.at("code") != tc.code {
			t.Errorf("%s: %d %s, want %d %s", tc.name, r.status, r.body, tc.status, tc.code)
		}
	}
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct{ method, path, allow string }{
		{"GET", "/api/v1/signin", "POST"},
		{"POST", "/api/v1/session", "GET, HEAD"},
		{"PUT", "/api/v1/sessions", "DELETE, GET, HEAD"},
		{"GET", "/api/v1/sessions/x", "DELETE"},
		{"DELETE", "/openapi.json", "GET, HEAD"},
		{"OPTIONS", "/api/v1/signin", "POST"},
		{"POST", "/healthz", "GET, HEAD"},
	} {
		r := s.client().do(tc.method, tc.path, nil).want(405, "method_not_allowed")
		if got := r.header.Get("Allow"); got != tc.allow {
			t.Errorf("%s %s allows %q, want %q", tc.method, tc.path, got, tc.allow)
		}
	}
	s.client().do("GET", "/api/v1/nothing", nil).want(404, "not_found")
	s.client().do("GET", "/api/v1//session", nil).want(404, "not_found")
}

func TestUnknownHostsAreRefused(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev, c.PublicURL = false, "https://id.example.org" })
	for host, status := range map[string]int{
		"id.example.org": 401, "localhost": 401, "localhost:9": 401, "127.0.0.1:8080": 401, "[::1]:8080": 401, "[::1]": 401,
		"example.org": 421, "id.example.org.evil.example": 421, "evil.example": 421, "": 421, "localhost.evil.example:80": 421, "id.example.org:8080": 421, "127.0.0.2": 421,
	} {
		r := s.client().get("session", func(r *http.Request) { r.Host = host })
		if r.status != status {
			t.Errorf("for the host %q the status is %d, want %d", host, r.status, status)
		}
	}
	page := s.client().do("GET", "/", nil, func(r *http.Request) { r.Host = "example.org"; r.Header.Set("Accept", "text/html") })
	if page.status != 421 || !strings.Contains(string(page.body), `<a class="button" href="https://id.example.org/">`) {
		t.Errorf("the page for another host does not lead to ours: %d\n%s", page.status, page.body)
	}
	probe := func(r *http.Request) { r.Host = "10.0.0.7:8080" }
	s.client().do("GET", "/healthz", nil, probe).want(200)
	s.client().do("GET", "/readyz", nil, probe).want(200)
}

func TestAStoreOutageIsNeverTakenForASignOut(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	if err := s.server.Close(); err != nil {
		t.Fatal(err)
	}
	s.open() // with nothing in memory
	s.server.Close()
	for _, r := range []*reply{
		c.get("session"),
		c.get("sessions"),
		c.post("signin", m{"identifier": "ann", "password": goodPassword}),
		c.post("guest", m{}),
		c.post("signout", nil),
		c.do("GET", "/readyz", nil),
	} {
		r.want(503)
		if r.header.Get("Retry-After") == "" || r.header["Set-Cookie"] != nil {
			t.Errorf("%s: the answer has the header %v", r.what, r.header)
		}
	}
	if !strings.Contains(s.log.String(), "database is closed") {
		t.Errorf("the log does not tell why:\n%s", &s.log)
	}
	s.open()
	c.get("session").want(200)
}

func TestABudgetThatIsSpentSaysWhenToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		owner := s.signedUp("ann")
		owner.post("signout", nil).want(204)
		thief := s.client()
		thief.address = "192.0.2.1:1"
		for range 6 {
			thief.post("signin", m{"identifier": "ann", "password": "a guess of mine"}).want(401, "bad_credentials")
		}
		r := thief.post("signin", m{"identifier": "ann", "password": goodPassword}).want(429, "guesses_spent")
		if r.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		// Who guesses slows only strangers: the owner's browser has its own budget.
		owner.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
		time.Sleep(16 * time.Minute)
		thief.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	})
}

func TestEveryAnswerHasTheHeadersThatProtect(t *testing.T) {
	dev, public := newSite(t), newSite(t, func(c *server.Config) {
		c.Dev, c.PublicURL, c.TrustedProxy = false, "https://id.example.org", []string{"127.0.0.1"}
	})
	proxied := func(r *http.Request) {
		r.Host = "id.example.org"
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
	}
	seen := 0
	for _, s := range []*site{dev, public} {
		member, stranger := s.client(), s.client()
		change := []func(*http.Request){}
		if s == public {
			change = append(change, proxied)
		}
		member.post("signup", m{"identifier": "ann", "password": goodPassword}, change...).want(201)
		paths := s.handler.(interface{ Paths() []string }).Paths()
		paths = append(paths, "/nothing", "/api/v1/nothing", "/api/", "//double", "/a/../b")
		for _, path := range paths {
			path = regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(strings.TrimSuffix(path, "{$}"), "x")
			for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"} {
				for i, c := range []*client{member, stranger, stranger} {
					change := change
					if i == 2 { // and what is refused before anybody looks at the path
						change = append(slices.Clone(change), func(r *http.Request) { r.Host = "evil.example" })
					}
					r := httptest.NewRequest(method, "http://localhost"+path, nil)
					if strings.HasPrefix(path, "//") {
						r.URL.Path = path
					}
					seen++
					guarded(t, c.send(r, change...), s == public)
				}
			}
		}
	}
	if seen < 500 {
		t.Errorf("%d answers were looked at", seen)
	}
	if r := dev.client().get("session"); r.header.Get("Www-Authenticate") != "Bearer" {
		t.Errorf("a 401 asks for %q (RFC 9110 15.5.2)", r.header.Get("Www-Authenticate"))
	}
}

// guarded fails the test unless an answer has the headers that protect: all of
// them a page, those that concern it what is for programs.
func guarded(t *testing.T, r *reply, https bool) {
	t.Helper()
	one := func(name string, want ...string) {
		if got := r.header[name]; len(got) != 1 || !slices.Contains(want, got[0]) {
			t.Errorf("%s: %d with %s %q, want one of %q", r.what, r.status, name, got, want)
		}
	}
	one("X-Content-Type-Options", "nosniff")
	keys, metadata := strings.Contains(r.what, " /oauth/jwks"), strings.Contains(r.what, " /.well-known/o")
	lists := strings.Contains(r.what, " /status-lists/")
	if keys || metadata || lists { // what everybody may have is not kept from being embedded
		if got := r.header["Cross-Origin-Resource-Policy"]; got != nil {
			t.Errorf("%s: %d with Cross-Origin-Resource-Policy %q", r.what, r.status, got)
		}
	} else {
		one("Cross-Origin-Resource-Policy", "same-origin")
	}
	switch {
	case keys && r.status == 200:
		one("Cache-Control", "public, max-age=60")
	case metadata && r.status == 200:
		one("Cache-Control", "public, max-age=3600")
	case !strings.Contains(r.what, "/static/"):
		one("Cache-Control", "no-store")
	}
	csp := strings.Join(r.header["Content-Security-Policy"], "\n")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: Content-Security-Policy is %q", r.what, csp)
		}
	}
	if strings.Contains(strings.ReplaceAll(csp, "script-src 'self';", ""), "script-src") {
		t.Errorf("%s: Content-Security-Policy is %q", r.what, csp)
	}
	for _, bad := range []string{"unsafe", "\n", "*"} {
		if strings.Contains(csp, bad) {
			t.Errorf("%s: Content-Security-Policy is %q", r.what, csp)
		}
	}
	if https {
		one("Strict-Transport-Security", "max-age=31536000; includeSubDomains") // ASVS 3.4.1
	}
	if keys || lists || regexp.MustCompile(` /(api/|feed|oauth/(token|introspect|revoke|userinfo|device|par)|\.well-known/o)`).MatchString(r.what) {
		return
	}
	one("Referrer-Policy", "same-origin", "no-referrer")
	one("Cross-Origin-Opener-Policy", "same-origin")
	if !strings.Contains(strings.Join(r.header["Permissions-Policy"], ""), "camera=()") {
		t.Errorf("%s: Permissions-Policy is %q", r.what, r.header["Permissions-Policy"])
	}
}

func TestTheLogHasOneLineForEachRequestAndNoSecrets(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.post("signup", m{"identifier": "ann", "password": goodPassword}).want(201)
	app := s.client()
	app.token = app.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	app.get("session").want(200)
	refused := app.post("signin", m{"identifier": "ann", "password": "a wrong secret"}).want(401)
	log := s.log.String()
	if n := strings.Count(log, "\n"); n != 4 {
		t.Errorf("%d lines of log, want 4:\n%s", n, log)
	}
	if !strings.Contains(log, refused.at("request_id")) || !strings.Contains(log, "code=bad_credentials") {
		t.Errorf("the log does not know the refusal %s:\n%s", refused.body, log)
	}
	for _, secret := range []string{goodPassword, "a wrong secret", app.token, app.token[28:], "127.0.0.1", "Firefox"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
}

func TestTooLargeAHeaderIsRefused(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Listen = "127.0.0.1:0" })
	s.run()
	for _, test := range []struct {
		size   int
		status int
		body   string
	}{
		{15 << 10, http.StatusUnauthorized, `"no_session"`},
		{17 << 10, http.StatusRequestHeaderFieldsTooLarge, `"headers_too_large"`},
		{1 << 20, http.StatusRequestHeaderFieldsTooLarge, ""}, // net/http's own words
	} {
		r, err := http.NewRequest("GET", s.server.Ready().URL+"/api/v1/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", strings.Repeat("x", test.size))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != test.status || !strings.Contains(string(body), test.body) {
			t.Errorf("%d bytes of header: %s %s %v; want %d %s", test.size, res.Status, body, err, test.status, test.body)
		}
	}
}

func TestMailIsWrittenInTheLanguageOfWhoAsks(t *testing.T) {
	s := newSite(t)
	s.run()
	for i, tc := range []struct{ accept, subject string }{
		{"zh-CN,zh;q=0.9,en;q=0.8", "验证码"},
		{"en-GB,en;q=0.9,zh;q=0.8", "code"},
		{"", "code"},
		{"fr", "code"},
	} {
		address := fmt.Sprintf("ann%d@example.org", i)
		s.client().post("signup", m{"identifier": address, "password": goodPassword}, func(r *http.Request) {
			r.Header.Set("Accept-Language", tc.accept)
		}).want(202)
		if _, _, subject := s.mailTo(address); !strings.Contains(subject, tc.subject) {
			t.Errorf("for %q the subject is %q", tc.accept, subject)
		}
	}
}
