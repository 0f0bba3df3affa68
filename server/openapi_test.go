package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

// A call of the API brought about: each reply is held against the description
// by client.do.
type trial func(s *site) *reply

// signedInAs is a client of a user who has signed up, and its session's id.
func (s *site) signedInAs(name string) (c *client, sid string) {
	c = s.signedUp(name)
	return c, c.get("session").want(200).at("session.sid")
}

// examples brings about the good end of every operation with the body that the
// description gives as its example, changed only where it names what a server
// makes up.
var examples = map[string]func(s *site, example m) *reply{
	"signUp": func(s *site, in m) *reply { return s.client().post("signup", in).want(201) },
	"verifySignUp": func(s *site, in m) *reply {
		s.run()
		c := s.client()
		in["flow"] = c.post("signup", m{"identifier": "ann@example.org", "password": goodPassword}).want(202).at("flow")
		in["code"], _, _ = s.mailTo("ann@example.org")
		return c.post("signup/verify", in).want(200)
	},
	"signIn": func(s *site, in m) *reply {
		s.signedUp("ann")
		return s.client().post("signin", in).want(200)
	},
	"beginGuest":       func(s *site, in m) *reply { return s.client().post("guest", in).want(201) },
	"signOut":          func(s *site, in m) *reply { return s.signedUp("ann").post("signout", in).want(204) },
	"getSession":       func(s *site, _ m) *reply { return s.signedUp("ann").get("session").want(200) },
	"listSessions":     func(s *site, _ m) *reply { return s.signedUp("ann").get("sessions").want(200) },
	"endOtherSessions": func(s *site, _ m) *reply { return s.signedUp("ann").delete("sessions").want(204) },
	"endSession": func(s *site, _ m) *reply {
		c, sid := s.signedInAs("ann")
		return c.delete("sessions/" + sid).want(204)
	},
	"changePassword": func(s *site, in m) *reply { return s.signedUp("ann").post("password/change", in).want(204) },
	"describe":       func(s *site, _ m) *reply { return s.client().do("GET", "/openapi.json", nil).want(200) },
	"healthz":        func(s *site, _ m) *reply { return s.client().do("GET", "/healthz", nil).want(200) },
	"readyz":         func(s *site, _ m) *reply { return s.client().do("GET", "/readyz", nil).want(200) },
}

// operations calls fn for each that is described.
func operations(t *testing.T, fn func(method, path string, op object)) {
	t.Helper()
	n := 0
	for path, item := range description(t).at("paths").(m) {
		for method, op := range item.(m) {
			n++
			fn(strings.ToUpper(method), path, op.(m))
		}
	}
	if n < 10 {
		t.Fatalf("%d operations are described", n)
	}
}

func TestEveryExampleOfTheDescriptionIsAccepted(t *testing.T) {
	operations(t, func(method, path string, op object) {
		id := op["operationId"].(string)
		t.Run(id, func(t *testing.T) {
			try := examples[id]
			if try == nil {
				t.Fatalf("nobody tries %s %s", method, path)
			}
			example, _ := op.at("requestBody", "content", "application/json", "example").(m)
			if r := try(newSite(t), maps.Clone(example)); !strings.HasPrefix(r.what, method+" ") {
				t.Errorf("%s was tried by %s", id, r.what)
			}
		})
	})
}

// again sends one request until the budget is spent.
func again(n int, send func() *reply) *reply {
	for range n {
		if send().status == http.StatusTooManyRequests {
			break
		}
	}
	return send()
}

// foreign asks as a page of another origin of a server whose API pages of another origin may use.
func foreign(path string, body m) trial {
	return func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.CORSOrigins = []string{"https://app.example.org"} })
		return s.client().post(path, body, func(r *http.Request) { r.Header.Set("Origin", "https://app.example.org") })
	}
}

func posting(path string, body any) trial {
	return func(s *site) *reply {
		s.signedUp("ann")
		return s.client().post(path, body)
	}
}

func changing(password string) trial {
	return func(s *site) *reply {
		return s.signedUp("annette-x").post("password/change", m{"password": goodPassword, "new_password": password})
	}
}

// closed is a server whose database is away.
func closed(send func(c *client) *reply) trial {
	return func(s *site) *reply {
		c := s.signedUp("ann")
		s.server.Close()
		s.open()
		s.server.Close()
		return send(c)
	}
}

func as(how, path string, with m) trial {
	body := maps.Clone(with)
	body["as"] = how
	return posting(path, body)
}

var (
	signIn = m{"identifier": "ann", "password": goodPassword}
	signUp = m{"identifier": "bob", "password": goodPassword}
	verify = m{"flow": "adm_o_nobody", "code": "123456"}
	long   = strings.Repeat("a long password ", 100)
)

// refused brings about every refusal that the description tells of, by the
// operation and its code; "any" for what is told of all or of a sort.
var refused = map[string]trial{
	"signUp as_unsupported":         as("scroll", "signup", signUp),
	"signUp cookie_unsupported":     foreign("signup", signUp),
	"signUp identifier_malformed":   posting("signup", m{"identifier": "ann smith", "password": goodPassword}),
	"signUp identifier_unsupported": posting("signup", m{"identifier": "+49 30 1234", "password": goodPassword}),
	"signUp name_too_long":          posting("signup", m{"identifier": "bob", "password": goodPassword, "name": strings.Repeat("x", 201)}),
	"signUp identifier_taken":       posting("signup", m{"identifier": "ANN", "password": goodPassword}),
	"signUp mail_unavailable": func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword})
	},
	"signUp too_many_tries": func(s *site) *reply {
		return again(10, func() *reply {
			return s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword})
		})
	},
	"signUp password_too_short":    posting("signup", m{"identifier": "bob", "password": "kj4h2k"}),
	"signUp password_too_long":     posting("signup", m{"identifier": "bob", "password": long}),
	"signUp password_breached":     posting("signup", m{"identifier": "bob", "password": "password1"}),
	"signUp password_is_your_name": posting("signup", m{"identifier": "annette-x", "password": "annette-x"}),

	"verifySignUp as_unsupported":     as("scroll", "signup/verify", verify),
	"verifySignUp cookie_unsupported": foreign("signup/verify", verify),
	"verifySignUp bad_code": func(s *site) *reply {
		flow := s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword}).want(202).at("flow")
		return s.client().post("signup/verify", m{"flow": flow, "code": "none"})
	},
	"verifySignUp flow_ended": posting("signup/verify", verify),
	"verifySignUp too_many_tries": func(s *site) *reply {
		flow := s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword}).want(202).at("flow")
		return again(60, func() *reply { return s.client().post("signup/verify", m{"flow": flow, "code": "1"}) })
	},

	"signIn as_unsupported":     as("scroll", "signin", signIn),
	"signIn cookie_unsupported": foreign("signin", signIn),
	"signIn bad_credentials":    posting("signin", m{"identifier": "ann", "password": "a guess of mine"}),
	"signIn too_many_tries": func(s *site) *reply {
		return again(25, func() *reply { return s.client().post("signin", m{"identifier": "ann", "password": "a guess of mine"}) })
	},

	"beginGuest as_unsupported":     as("scroll", "guest", m{}),
	"beginGuest cookie_unsupported": foreign("guest", m{}),
	"beginGuest signed_in":          func(s *site) *reply { return s.signedUp("ann").post("guest", m{}) },
	"beginGuest too_many_tries":     func(s *site) *reply { return again(2000, func() *reply { return s.client().post("guest", m{}) }) },

	"endSession unknown_session": func(s *site) *reply { return s.signedUp("ann").delete("sessions/unknown") },

	"changePassword bad_password": func(s *site) *reply {
		return s.signedUp("ann").post("password/change", m{"password": "a guess of mine", "new_password": otherPassword})
	},
	"changePassword too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply {
			return c.post("password/change", m{"password": "a guess of mine", "new_password": otherPassword})
		})
	},
	"changePassword password_too_short":    changing("kj4h2k"),
	"changePassword password_too_long":     changing(long),
	"changePassword password_breached":     changing("password1"),
	"changePassword password_is_your_name": changing("annette-x"),

	"readyz not_ready": closed(func(c *client) *reply { return c.do("GET", "/readyz", nil) }),

	"any method_not_allowed": func(s *site) *reply { return s.client().do("PUT", "/api/v1/session", nil) },
	"any unknown_host": func(s *site) *reply {
		return s.client().get("session", func(r *http.Request) { r.Host = "example.org" })
	},
	"any headers_too_large": func(s *site) *reply {
		return s.client().get("session", func(r *http.Request) { r.Header.Set("X-Much", strings.Repeat("x", 17<<10)) })
	},
	"any database_unavailable":      closed(func(c *client) *reply { return c.post("signin", signIn) }),
	"any session_store_unavailable": closed(func(c *client) *reply { return c.get("session") }),
	"any malformed":                 posting("signin", "{"),
	"any unknown_field":             posting("signin", m{"identifier": "ann", "admin": true}),
	"any too_large":                 posting("signin", m{"identifier": strings.Repeat("x", 65<<10)}),
	"any unsupported_content_type": func(s *site) *reply {
		return s.client().post("signin", "identifier=ann", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") })
	},
	"any cross_site": func(s *site) *reply {
		return s.client().post("signin", signIn, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	},
	"any no_session": func(s *site) *reply { return s.client().get("session") },
	"any session_ended": func(s *site) *reply {
		c, sid := s.signedInAs("ann")
		other := s.client()
		other.post("signin", signIn).want(200)
		other.delete("sessions/" + sid).want(204)
		return c.get("session")
	},
	"any ambiguous_session": func(s *site) *reply {
		ann, bob := s.signedUp("ann"), s.signedUp("bob")
		return ann.get("session", func(r *http.Request) {
			for _, k := range bob.jar.Cookies(r.URL) {
				r.AddCookie(k)
			}
		})
	},
}

// elsewhere are the refusals that take a race, a flood or a fault, with the
// tests that bring them about.
var elsewhere = map[string]string{
	"password_busy":    "TestAFloodOfStrangersIsToldToRetryAndLeavesHalfToKnownBrowsers",
	"password_changed": "TestAttackTheOldPasswordSetsANewOneAfterTheOwnerDid",
	"session_expired":  "TestAnUnusedSessionExpiresAndAUsedOneAtTheEndOfItsLife",
	"session_busy":     "TestEveryRefusalHasItsStatusAndCode",
	"internal":         "TestStrangersSeeNothingOfWhatIsWrapped",

	"https_required":      "TestAClientsAddressIsTakenFromTrustedProxiesOnly",
	"proxy_misconfigured": "TestAClientsAddressIsTakenFromTrustedProxiesOnly",
	"untrusted_peer":      "TestAClientsAddressIsTakenFromTrustedProxiesOnly",
}

func TestEveryRefusalOfTheDescriptionIsBroughtAbout(t *testing.T) {
	want := map[string]bool{}
	general := map[string]bool{}
	for _, answer := range description(t).at("components", "responses").(m) {
		enum := object(answer.(m)).at("content", "application/problem+json", "schema", "allOf").([]any)[1].(m)["properties"].(m)["code"].(m)["enum"].([]any)
		for _, code := range enum {
			general[code.(string)] = true
		}
	}
	for code := range general {
		want["any "+code] = true
	}
	operations(t, func(_, _ string, op object) {
		own, _ := op["x-problem-codes"].([]any)
		for _, code := range own {
			want[op["operationId"].(string)+" "+code.(string)] = true
		}
	})
	for _, key := range slices.Sorted(maps.Keys(want)) {
		op, code, _ := strings.Cut(key, " ")
		try := refused[key]
		switch {
		case elsewhere[code] != "":
		case try == nil:
			t.Errorf("nobody brings about that %s is refused with %s", op, code)
		default:
			t.Run(key, func(t *testing.T) {
				r := try(newSite(t))
				if r.at("code") != code {
					t.Fatalf("%s: %d %s, want %s", r.what, r.status, r.body, code)
				}
			})
		}
	}
	for key := range refused {
		if !want[key] {
			t.Errorf("%s is not described", key)
		}
	}
}

func TestTheDescriptionNamesThisServer(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev, c.PublicURL = false, "https://id.example.org" })
	var doc object
	if err := json.Unmarshal(s.client().do("GET", "/openapi.json", nil).want(200).body, &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.at("servers").([]any)[0].(m)["url"]; got != "https://id.example.org" {
		t.Errorf("the server is %v", got)
	}
	if got := doc.at("components", "securitySchemes", "cookie", "name"); got != "__Host-admit" {
		t.Errorf("the cookie is %v", got)
	}
}
