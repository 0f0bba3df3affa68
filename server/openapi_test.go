package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	"askSignInLink": func(s *site, in m) *reply { return s.client().post("signin/link", in).want(202) },
	"askSignInCode": func(s *site, in m) *reply { return s.client().post("signin/code", in).want(202) },
	"getSignInFlow": func(s *site, _ m) *reply {
		c := s.client()
		return c.get("signin/flows/" + c.post("signin/link", m{"identifier": "ann@example.org"}).want(202).at("flow")).want(200)
	},
	"verifySignIn": func(s *site, in m) *reply {
		s.run()
		s.byMail("ann@example.org")
		c := s.client()
		flow, l := c.asks("ann@example.org")
		in["flow"], in["code"] = flow, l.Code
		return c.post("signin/code/verify", in).want(200)
	},
	"refresh": func(s *site, in m) *reply {
		s.signedUp("ann")
		in["refresh_token"] = s.appOf("ann").refreshToken
		return s.client().post("refresh", in).want(200)
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
	"getUser":        func(s *site, _ m) *reply { return s.signedUp("ann").get("user").want(200) },
	"setProfile":     func(s *site, in m) *reply { return s.signedUp("ann").patch("user", in).want(200) },
	"deleteUser": func(s *site, in m) *reply {
		return s.signedUp("ann").do("DELETE", "/api/v1/user", in).want(204)
	},
	"exportUser":      func(s *site, _ m) *reply { return s.signedUp("ann").get("user/export").want(200) },
	"listIdentifiers": func(s *site, _ m) *reply { return s.signedUp("ann").get("identifiers").want(200) },
	"addIdentifier":   func(s *site, in m) *reply { return s.signedUp("ann").post("identifiers", in).want(201) },
	"verifyIdentifier": func(s *site, in m) *reply {
		s.run()
		c := s.signedUp("ann")
		in["flow"] = c.post("identifiers", m{"identifier": "ann@example.org"}).want(202).at("flow")
		in["code"], _, _ = s.mailTo("ann@example.org")
		return c.post("identifiers/verify", in).want(200)
	},
	"takeWayBack": func(s *site, in m) *reply {
		in["token"] = s.wayBack()
		return s.client().post("identifiers/restore", in).want(204)
	},
	"makePrimary": func(s *site, in m) *reply {
		c := s.signedUp("ann")
		c.post("identifiers", m{"identifier": "ann2"}).want(201)
		return c.post("identifiers/ann2/primary", in).want(200)
	},
	"removeIdentifier": func(s *site, _ m) *reply {
		c := s.signedUp("ann")
		c.post("identifiers", m{"identifier": "ann2"}).want(201)
		return c.delete("identifiers/ann2").want(204)
	},
	"approve": func(s *site, in m) *reply { return s.signedUp("ann").post("approvals", in).want(200) },
	"redeem": func(s *site, in m) *reply {
		c := s.signedUp("ann")
		in["approval"] = c.approved(in["action"], in["params"])
		return c.post("approvals/redeem", in).want(204)
	},
	"redeemHandOver": func(s *site, in m) *reply {
		h := handedFrom(s)
		in["code"], in["verifier"] = h.surfer("ann").code()
		return h.asShop("redeem", in).want(200)
	},
	"handedOverAlive": func(s *site, in m) *reply { return handedFrom(s).asShop("alive", in).want(200) },
	"endHandedOver":   func(s *site, in m) *reply { return handedFrom(s).asShop("end", in).want(200) },
	"reauthenticate":  func(s *site, in m) *reply { return s.signedUp("ann").post("reauthenticate", in).want(200) },
	"listActivity":    func(s *site, _ m) *reply { return s.signedUp("ann").get("activity").want(200) },
	"disown":          func(s *site, in m) *reply { return s.signedUp("ann").disown(in) },
	"listAPIKeys": func(s *site, _ m) *reply {
		c := s.signedUp("ann")
		c.key("profile")
		return c.get("api-keys").want(200)
	},
	"listApps": func(s *site, _ m) *reply {
		c := s.withShop().signedUp("ann")
		c.lets()
		return c.get("apps").want(200)
	},
	"takeBackApp": func(s *site, _ m) *reply {
		c := s.withShop().signedUp("ann")
		c.lets()
		return c.delete("apps/shop").want(204)
	},
	"makeAPIKey": func(s *site, in m) *reply { return s.signedUp("ann").post("api-keys", in).want(201) },
	"endAPIKey": func(s *site, _ m) *reply {
		c := s.signedUp("ann")
		return c.delete("api-keys/" + c.key("profile").at("api_key.id")).want(204)
	},
	"adminListAPIKeys": func(s *site, _ m) *reply {
		s.signedUp("ann").key("profile")
		return s.administrator().get("admin/users/ann/api-keys").want(200)
	},
	"adminEndAPIKey": func(s *site, _ m) *reply {
		id := s.signedUp("ann").key("profile").at("api_key.id")
		return s.administrator().delete("admin/users/ann/api-keys/" + id + "?reason=leaked").want(204)
	},
	"adminListUsers":          administering("GET", "users", 200),
	"adminAddUser":            administering("POST", "users", 201),
	"adminGetUser":            administering("GET", "users/ann", 200),
	"adminChangeUser":         administering("PATCH", "users/ann", 200),
	"adminDeleteUser":         administering("DELETE", "users/ann", 204),
	"adminSetPassword":        administering("PUT", "users/ann/password", 204),
	"adminRemovePassword":     administering("DELETE", "users/ann/password", 204),
	"adminGrantRole":          administering("PUT", "users/ann/roles/editor", 204),
	"adminRevokeRole":         administering("DELETE", "users/root/roles/editor", 204),
	"adminListSessionsOfUser": administering("GET", "users/ann/sessions", 200),
	"adminEndSessionsOfUser":  administering("DELETE", "users/ann/sessions", 204),
	"adminListRoles":          administering("GET", "roles", 200),
	"adminListSessions":       administering("GET", "sessions", 200),
	"adminEndEveryone":        administering("DELETE", "sessions", 200),
	"adminGetSession":         administering("GET", "sessions/{sid}", 200),
	"adminEndSession":         administering("DELETE", "sessions/{sid}", 204),
	"adminListKeys":           administering("GET", "keys", 200),
	"adminListRecords":        administering("GET", "audit", 200),
	"adminExportRecords":      administering("GET", "audit/export?format=csv", 200),
	"describe":                func(s *site, _ m) *reply { return s.client().do("GET", "/openapi.json", nil).want(200) },
	"keySet":                  func(s *site, _ m) *reply { return s.client().do("GET", "/oauth/jwks", nil).want(200) },
	"statusList": func(s *site, _ m) *reply {
		s.signedUp("ann")
		s.appOf("ann")
		return s.client().do("GET", "/status-lists/0", nil).want(200)
	},
	"healthz": func(s *site, _ m) *reply { return s.client().do("GET", "/healthz", nil).want(200) },
	"readyz":  func(s *site, _ m) *reply { return s.client().do("GET", "/readyz", nil).want(200) },
}

// administering is a call by an administrator of a server where ann is a user;
// {sid} is her session.
func administering(method, path string, status int) func(*site, m) *reply {
	return func(s *site, in m) *reply {
		root := s.administrator()
		root.do("PUT", "/api/v1/admin/users/root/roles/editor", nil).want(204)
		_, sid := s.signedInAs("ann")
		var body any
		if in != nil {
			body = in
		}
		return root.do(method, "/api/v1/admin/"+strings.ReplaceAll(path, "{sid}", sid), body).want(status)
	}
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
				try = factorExamples[id]
			}
			if try == nil {
				try = clientExamples[id]
			}
			if try == nil {
				t.Fatalf("nobody tries %s %s", method, path)
			}
			t.Parallel()
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

// untexted asks for texts to one number until that is too many.
func untexted(path string) trial {
	return func(s *site) *reply {
		return again(6, func() *reply { return s.client().post(path, m{"identifier": "+4930123456789"}) })
	}
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

func asking(key m) trial {
	return func(s *site) *reply { return s.signedUp("ann").post("api-keys", key) }
}

func changing(password string) trial {
	return func(s *site) *reply {
		return s.signedUp("annette-x").post("password/change", m{"password": goodPassword, "new_password": password})
	}
}

// outsider asks for what is an administrator's.
func outsider(method, path string) trial {
	return func(s *site) *reply { return s.signedUp("ann").do(method, "/api/v1/admin/"+path, nil) }
}

// administratorAsks is a call by an administrator of a server where ann is a user.
func administratorAsks(method, path string, body any) trial {
	return func(s *site) *reply {
		root := s.administrator()
		s.signedUp("ann")
		return root.do(method, "/api/v1/admin/"+path, body)
	}
}

// wayBack returns what was mailed to ann@example.org when it was removed.
func (s *site) wayBack() string {
	s.t.Helper()
	s.run()
	c := s.byMail("ann@example.org")
	c.addAddress("other@example.org")
	c.post("identifiers/other@example.org/primary", nil).want(200)
	c.delete("identifiers/ann@example.org").want(204)
	return s.back("ann@example.org", "was removed from your account")
}

func takingBack(password string) trial {
	return func(s *site) *reply {
		return s.client().post("identifiers/restore", m{"token": s.wayBack(), "new_password": password})
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
	"signUp as_unsupported":       as("scroll", "signup", signUp),
	"signUp cookie_unsupported":   foreign("signup", signUp),
	"signUp identifier_malformed": posting("signup", m{"identifier": "ann smith", "password": goodPassword}),
	"signUp phone_malformed":      posting("signup", m{"identifier": "+49 30 123", "password": goodPassword}),
	"signUp identifier_unsupported": func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.client().post("signup", m{"identifier": "+49 30 1234", "password": goodPassword})
	},
	"signUp name_too_long":                posting("signup", m{"identifier": "bob", "password": goodPassword, "name": strings.Repeat("x", 201)}),
	"signUp identifier_taken":             posting("signup", m{"identifier": "ANN", "password": goodPassword}),
	"forgotPassword identifier_malformed": posting("password/forgot", m{"identifier": "ann smith"}),
	"forgotPassword phone_malformed":      posting("password/forgot", m{"identifier": "+49"}),
	"forgotPassword recovery_unavailable": func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.client().post("password/forgot", m{"identifier": "ann"})
	},
	"forgotPassword texts_spent": untexted("password/forgot"),
	"forgotPassword too_many_tries": func(s *site) *reply {
		return again(10, func() *reply { return s.client().post("password/forgot", m{"identifier": "ann"}) })
	},
	"resetPassword bad_code": func(s *site) *reply {
		flow := s.client().post("password/forgot", m{"identifier": "ann"}).at("flow")
		return s.client().post("password/reset", m{"flow": flow, "code": "1", "new_password": goodPassword})
	},
	"resetPassword flow_ended": posting("password/reset", m{"flow": "adm_o_nobody", "code": "12345678", "new_password": goodPassword}),
	"resetPassword too_many_tries": func(s *site) *reply {
		flow := s.client().post("password/forgot", m{"identifier": "ann"}).at("flow")
		return again(60, func() *reply {
			return s.client().post("password/reset", m{"flow": flow, "code": "1", "new_password": goodPassword})
		})
	},
	"resetPassword password_too_short":    resetting(func(string) string { return "kj4h2k" }),
	"resetPassword password_too_long":     resetting(func(string) string { return long }),
	"resetPassword password_breached":     resetting(func(string) string { return "password1" }),
	"resetPassword password_is_your_name": resetting(func(name string) string { return name }),
	"signUp mail_unavailable": func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword})
	},
	"signUp texts_spent": func(s *site) *reply {
		return again(6, func() *reply {
			return s.client().post("signup", m{"identifier": "+4930123456789", "password": goodPassword})
		})
	},
	"addIdentifier texts_spent": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(6, func() *reply { return c.post("identifiers", m{"identifier": "+4930123456789"}) })
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

	"askSignInLink texts_spent":            untexted("signin/link"),
	"askSignInCode texts_spent":            untexted("signin/code"),
	"askSignInLink identifier_malformed":   posting("signin/link", m{"identifier": "ann smith"}),
	"askSignInLink identifier_unsupported": mailless("signin/link", "+49 30 1234567"),
	"askSignInLink phone_malformed":        posting("signin/link", m{"identifier": "+49 30 1"}),
	"askSignInLink mail_unavailable":       mailless("signin/link", "ann@example.org"),
	"askSignInLink too_many_tries":         flooded("signin/link"),
	"askSignInCode identifier_malformed":   posting("signin/code", m{"identifier": "ann smith"}),
	"askSignInCode identifier_unsupported": mailless("signin/code", "+49 30 1234567"),
	"askSignInCode phone_malformed":        posting("signin/code", m{"identifier": "+49 30 1"}),
	"askSignInCode mail_unavailable":       mailless("signin/code", "ann@example.org"),
	"askSignInCode too_many_tries":         flooded("signin/code"),
	"getSignInFlow flow_ended":             func(s *site) *reply { return s.client().get("signin/flows/adm_o_nobody") },
	"verifySignIn as_unsupported":          as("scroll", "signin/code/verify", verify),
	"verifySignIn cookie_unsupported":      foreign("signin/code/verify", verify),
	"verifySignIn jwt_cookie_unsupported":  posting("signin/code/verify", m{"flow": "adm_o_nobody", "code": "123456", "cookie": true}),
	"verifySignIn invalid_dpop_proof":      unproven("signin/code/verify", verify, "invalid_dpop_proof"),
	"verifySignIn dpop_proof_replayed":     unproven("signin/code/verify", verify, "dpop_proof_replayed"),
	"verifySignIn use_dpop_nonce":          unproven("signin/code/verify", verify, "use_dpop_nonce"),
	"verifySignIn flow_ended":              posting("signin/code/verify", verify),
	"verifySignIn bad_code":                func(s *site) *reply { return s.client().guess() },
	"verifySignIn too_many_tries": func(s *site) *reply {
		return again(12, func() *reply { return s.client().guess() })
	},

	"signUp jwt_cookie_unsupported":       posting("signup", m{"identifier": "bob", "password": goodPassword, "cookie": true}),
	"verifySignUp jwt_cookie_unsupported": posting("signup/verify", m{"flow": "adm_o_nobody", "code": "123456", "cookie": true}),
	"signIn jwt_cookie_unsupported":       posting("signin", m{"identifier": "ann", "password": goodPassword, "cookie": true}),
	"refresh refresh_token_invalid":       posting("refresh", m{"refresh_token": "adm_r_of_nobody"}),
	"refresh cookie_unsupported":          foreign("refresh", m{"refresh_token": "adm_r_of_nobody", "cookie": true}),
	"refresh refresh_token_replayed": func(s *site) *reply {
		s.signedUp("ann")
		a := s.appOf("ann")
		old := a.refreshToken
		for range 2 {
			a.keep(s.refreshed(a.refreshToken).want(200))
		}
		return s.refreshed(old)
	},
	"refresh session_ended": func(s *site) *reply {
		s.signedUp("ann")
		a := s.appOf("ann")
		a.post("signout", nil).want(204)
		return s.refreshed(a.refreshToken)
	},
	"any jwt_invalid": func(s *site) *reply {
		a := s.client()
		a.token = "eyJhbGciOiJub25lIn0.e30."
		return a.get("session")
	},
	"any stale_claims": func(s *site) *reply {
		s.signedUp("ann")
		a := s.appOf("ann")
		a.delete("sessions").want(204)
		return a.get("session")
	},

	"signIn as_unsupported":     as("scroll", "signin", signIn),
	"signIn cookie_unsupported": foreign("signin", signIn),
	"signIn bad_credentials":    posting("signin", m{"identifier": "ann", "password": "a guess of mine"}),
	"signIn guesses_spent": func(s *site) *reply {
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
	"changePassword password_same": func(s *site) *reply {
		s.signedUp("ann").disown(nil)
		return s.another("ann", goodPassword).post("password/change", m{"password": goodPassword, "new_password": goodPassword})
	},
	"changePassword password_too_short":    changing("kj4h2k"),
	"changePassword password_too_long":     changing(long),
	"changePassword password_breached":     changing("password1"),
	"changePassword password_is_your_name": changing("annette-x"),

	"adminListUsers admin_needed":               outsider("GET", "users"),
	"adminListUsers unknown_parameter":          administratorAsks("GET", "users?rol=x", nil),
	"adminListUsers bad_parameter":              administratorAsks("GET", "users?limit=0", nil),
	"adminAddUser admin_needed":                 outsider("POST", "users"),
	"adminAddUser reason_too_long":              administratorAsks("POST", "users", m{"identifiers": []string{"bob"}, "reason": strings.Repeat("x", 501)}),
	"adminGetUser admin_needed":                 outsider("GET", "users/ann"),
	"adminGetUser unknown_user":                 administratorAsks("GET", "users/nobody", nil),
	"adminChangeUser admin_needed":              outsider("PATCH", "users/ann"),
	"adminChangeUser reason_too_long":           administratorAsks("PATCH", "users/ann", m{"name": "x", "reason": strings.Repeat("x", 501)}),
	"adminChangeUser unknown_user":              administratorAsks("PATCH", "users/nobody", m{"name": "x"}),
	"adminDeleteUser admin_needed":              outsider("DELETE", "users/ann"),
	"adminDeleteUser reason_too_long":           administratorAsks("DELETE", "users/ann?reason="+strings.Repeat("x", 501), nil),
	"adminDeleteUser unknown_user":              administratorAsks("DELETE", "users/nobody", nil),
	"adminDeleteUser unknown_parameter":         administratorAsks("DELETE", "users/ann?rol=x", nil),
	"adminDeleteUser bad_parameter":             administratorAsks("DELETE", "users/ann?reason=x&reason=y", nil),
	"adminSetPassword admin_needed":             outsider("PUT", "users/ann/password"),
	"adminSetPassword reason_too_long":          administratorAsks("PUT", "users/ann/password", m{"password": otherPassword, "reason": strings.Repeat("x", 501)}),
	"adminSetPassword unknown_user":             administratorAsks("PUT", "users/nobody/password", m{"password": otherPassword}),
	"adminRemovePassword admin_needed":          outsider("DELETE", "users/ann/password"),
	"adminRemovePassword reason_too_long":       administratorAsks("DELETE", "users/ann/password?reason="+strings.Repeat("x", 501), nil),
	"adminRemovePassword unknown_user":          administratorAsks("DELETE", "users/nobody/password", nil),
	"adminRemovePassword unknown_parameter":     administratorAsks("DELETE", "users/ann/password?rol=x", nil),
	"adminRemovePassword bad_parameter":         administratorAsks("DELETE", "users/ann/password?reason=x&reason=y", nil),
	"adminGrantRole admin_needed":               outsider("PUT", "users/ann/roles/editor"),
	"adminGrantRole reason_too_long":            administratorAsks("PUT", "users/ann/roles/editor?reason="+strings.Repeat("x", 501), nil),
	"adminGrantRole unknown_user":               administratorAsks("PUT", "users/nobody/roles/editor", nil),
	"adminGrantRole unknown_parameter":          administratorAsks("PUT", "users/ann/roles/editor?rol=x", nil),
	"adminGrantRole bad_parameter":              administratorAsks("PUT", "users/ann/roles/editor?reason=x&reason=y", nil),
	"adminRevokeRole admin_needed":              outsider("DELETE", "users/ann/roles/editor"),
	"adminRevokeRole reason_too_long":           administratorAsks("DELETE", "users/ann/roles/editor?reason="+strings.Repeat("x", 501), nil),
	"adminRevokeRole unknown_user":              administratorAsks("DELETE", "users/nobody/roles/editor", nil),
	"adminRevokeRole unknown_parameter":         administratorAsks("DELETE", "users/ann/roles/editor?rol=x", nil),
	"adminRevokeRole bad_parameter":             administratorAsks("DELETE", "users/ann/roles/editor?reason=x&reason=y", nil),
	"adminListSessionsOfUser admin_needed":      outsider("GET", "users/ann/sessions"),
	"adminListSessionsOfUser unknown_user":      administratorAsks("GET", "users/nobody/sessions", nil),
	"adminListSessionsOfUser unknown_parameter": administratorAsks("GET", "users/ann/sessions?rol=x", nil),
	"adminListSessionsOfUser bad_parameter":     administratorAsks("GET", "users/ann/sessions?limit=0", nil),
	"adminEndSessionsOfUser admin_needed":       outsider("DELETE", "users/ann/sessions"),
	"adminEndSessionsOfUser reason_too_long":    administratorAsks("DELETE", "users/ann/sessions?reason="+strings.Repeat("x", 501), nil),
	"adminEndSessionsOfUser unknown_user":       administratorAsks("DELETE", "users/nobody/sessions", nil),
	"adminEndSessionsOfUser unknown_parameter":  administratorAsks("DELETE", "users/ann/sessions?rol=x", nil),
	"adminEndSessionsOfUser bad_parameter":      administratorAsks("DELETE", "users/ann/sessions?reason=x&reason=y", nil),
	"adminListRoles admin_needed":               outsider("GET", "roles"),
	"adminListRoles unknown_parameter":          administratorAsks("GET", "roles?rol=x", nil),
	"adminListSessions admin_needed":            outsider("GET", "sessions"),
	"adminListSessions unknown_parameter":       administratorAsks("GET", "sessions?rol=x", nil),
	"adminListSessions bad_parameter":           administratorAsks("GET", "sessions?limit=0", nil),
	"adminEndEveryone admin_needed":             outsider("DELETE", "sessions"),
	"adminEndEveryone reason_too_long":          administratorAsks("DELETE", "sessions?reason="+strings.Repeat("x", 501), nil),
	"adminEndEveryone unknown_parameter":        administratorAsks("DELETE", "sessions?rol=x", nil),
	"adminEndEveryone bad_parameter":            administratorAsks("DELETE", "sessions?reason=x&reason=y", nil),
	"adminGetSession admin_needed":              outsider("GET", "sessions/nobody"),
	"adminEndSession admin_needed":              outsider("DELETE", "sessions/nobody"),
	"adminEndSession reason_too_long":           administratorAsks("DELETE", "sessions/nobody?reason="+strings.Repeat("x", 501), nil),
	"adminEndSession unknown_parameter":         administratorAsks("DELETE", "sessions/nobody?rol=x", nil),
	"adminEndSession bad_parameter":             administratorAsks("DELETE", "sessions/nobody?reason=x&reason=y", nil),
	"adminListKeys admin_needed":                outsider("GET", "keys"),
	"adminListKeys unknown_parameter":           administratorAsks("GET", "keys?rol=x", nil),
	"adminListRecords admin_needed":             outsider("GET", "audit"),
	"adminListRecords unknown_parameter":        administratorAsks("GET", "audit?rol=x", nil),
	"adminListRecords bad_parameter":            administratorAsks("GET", "audit?limit=0", nil),
	"adminExportRecords admin_needed":           outsider("GET", "audit/export"),
	"adminExportRecords unknown_parameter":      administratorAsks("GET", "audit/export?rol=x", nil),
	"adminExportRecords bad_parameter":          administratorAsks("GET", "audit/export?since=x", nil),
	"adminAddUser identifier_malformed":         administratorAsks("POST", "users", m{"identifiers": []string{"ann smith"}}),
	"adminAddUser phone_malformed":              administratorAsks("POST", "users", m{"identifiers": []string{"+999 30 1234"}}),
	"adminAddUser identifier_taken":             administratorAsks("POST", "users", m{"identifiers": []string{"ann"}}),
	"adminAddUser name_too_long":                administratorAsks("POST", "users", m{"identifiers": []string{"bob"}, "name": strings.Repeat("x", 501)}),
	"adminAddUser role_malformed":               administratorAsks("POST", "users", m{"identifiers": []string{"bob"}, "roles": []string{"The Boss"}}),
	"adminAddUser password_too_short":           administratorAsks("POST", "users", m{"identifiers": []string{"annette-x"}, "password": "kj4h2k"}),
	"adminSetPassword password_too_short":       administratorAsks("PUT", "users/ann/password", m{"password": "kj4h2k"}),
	"adminAddUser password_too_long":            administratorAsks("POST", "users", m{"identifiers": []string{"annette-x"}, "password": long}),
	"adminSetPassword password_too_long":        administratorAsks("PUT", "users/ann/password", m{"password": long}),
	"adminAddUser password_breached":            administratorAsks("POST", "users", m{"identifiers": []string{"annette-x"}, "password": "password1"}),
	"adminSetPassword password_breached":        administratorAsks("PUT", "users/ann/password", m{"password": "password1"}),
	"adminAddUser password_is_your_name":        administratorAsks("POST", "users", m{"identifiers": []string{"annette-x"}, "password": "annette-x"}),
	"adminSetPassword password_is_your_name": func(s *site) *reply {
		root := s.administrator()
		s.signedUp("annette-x")
		return root.do("PUT", "/api/v1/admin/users/annette-x/password", m{"password": "annette-x"})
	},
	"adminSetPassword password_missing": administratorAsks("PUT", "users/ann/password", m{"password": ""}),
	"adminChangeUser name_too_long":     administratorAsks("PATCH", "users/ann", m{"name": strings.Repeat("x", 501)}),
	"adminChangeUser last_admin":        administratorAsks("PATCH", "users/root", m{"disabled": true}),
	"adminDeleteUser last_admin":        administratorAsks("DELETE", "users/root", nil),
	"adminRevokeRole last_admin":        administratorAsks("DELETE", "users/root/roles/admin", nil),
	"adminGrantRole role_malformed":     administratorAsks("PUT", "users/ann/roles/The%20Boss", nil),
	"adminGetSession unknown_session":   administratorAsks("GET", "sessions/nobody", nil),
	"adminEndSession unknown_session":   administratorAsks("DELETE", "sessions/nobody", nil),
	"setProfile name_too_long":          func(s *site) *reply { return s.signedUp("ann").patch("user", m{"name": strings.Repeat("x", 201)}) },
	"setProfile locale_unsupported":     func(s *site) *reply { return s.signedUp("ann").patch("user", m{"locale": "tlh"}) },
	"setProfile too_many_tries": func(s *site) *reply {
		c, n := s.signedUp("ann"), 0
		return again(25, func() *reply { n++; return c.patch("user", m{"name": fmt.Sprint("Ann ", n)}) })
	},
	"exportUser too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply { return c.get("user/export") })
	},
	"deleteUser confirmation_wrong":      func(s *site) *reply { return s.signedUp("ann").do("DELETE", "/api/v1/user", m{"confirm": "bob"}) },
	"deleteUser last_admin":              func(s *site) *reply { return s.administrator().do("DELETE", "/api/v1/user", m{"confirm": "root"}) },
	"addIdentifier identifier_malformed": func(s *site) *reply { return s.signedUp("ann").post("identifiers", m{"identifier": "ann smith"}) },
	"addIdentifier phone_malformed":      func(s *site) *reply { return s.signedUp("ann").post("identifiers", m{"identifier": "+49"}) },
	"addIdentifier identifier_unsupported": func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.signedUp("ann").post("identifiers", m{"identifier": "+49 30 1234"})
	},
	"addIdentifier identifier_yours": func(s *site) *reply { return s.signedUp("ann").post("identifiers", m{"identifier": "ann"}) },
	"addIdentifier identifier_taken": func(s *site) *reply {
		s.signedUp("bob")
		return s.signedUp("ann").post("identifiers", m{"identifier": "bob"})
	},
	"addIdentifier too_many_identifiers": func(s *site) *reply {
		c := s.signedUp("ann")
		for n := range 9 {
			c.post("identifiers", m{"identifier": fmt.Sprint("ann", n)}).want(201)
		}
		return c.post("identifiers", m{"identifier": "one-more"})
	},
	"addIdentifier mail_unavailable": func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.signedUp("ann").post("identifiers", m{"identifier": "ann@example.org"})
	},
	"addIdentifier too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(20, func() *reply { return c.post("identifiers", m{"identifier": "ann@example.org"}) })
	},
	"verifyIdentifier flow_ended": func(s *site) *reply { return s.signedUp("ann").post("identifiers/verify", verify) },
	"verifyIdentifier bad_code": func(s *site) *reply {
		c := s.signedUp("ann")
		flow := c.post("identifiers", m{"identifier": "ann@example.org"}).want(202).at("flow")
		return c.post("identifiers/verify", m{"flow": flow, "code": "none"})
	},
	"verifyIdentifier too_many_identifiers": func(s *site) *reply {
		s.run()
		c := s.signedUp("ann")
		flow := c.post("identifiers", m{"identifier": "ann@example.org"}).want(202).at("flow")
		for n := range 9 {
			c.post("identifiers", m{"identifier": fmt.Sprint("ann", n)}).want(201)
		}
		code, _, _ := s.mailTo("ann@example.org")
		return c.post("identifiers/verify", m{"flow": flow, "code": code})
	},
	"verifyIdentifier too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		flow := c.post("identifiers", m{"identifier": "ann@example.org"}).want(202).at("flow")
		return again(60, func() *reply { return c.post("identifiers/verify", m{"flow": flow, "code": "1"}) })
	},
	"makePrimary identifier_unverified": func(s *site) *reply {
		root := s.administrator()
		root.do("POST", "/api/v1/admin/users", m{"identifiers": []string{"bob", "bob@example.org"}, "password": goodPassword}).want(201)
		return s.another("bob", goodPassword).post("identifiers/bob@example.org/primary", nil)
	},
	"makePrimary too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply { return c.post("identifiers/bob/primary", nil) })
	},
	"removeIdentifier too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply { return c.delete("identifiers/bob") })
	},
	"verifyIdentifier password_change_needed": func(s *site) *reply {
		s.run()
		c := s.signedUp("ann")
		flow := c.post("identifiers", m{"identifier": "ann@example.org"}).want(202).at("flow")
		code, _, _ := s.mailTo("ann@example.org")
		c.disown(nil)
		return s.another("ann", goodPassword).post("identifiers/verify", m{"flow": flow, "code": code})
	},
	"takeWayBack identifier_taken": func(s *site) *reply {
		back := s.wayBack()
		if _, err := s.operator().AddUser(s.t.Context(), server.NewUser{Identifiers: []string{"ann@example.org"}, Verified: true}); err != nil {
			s.t.Fatal(err)
		}
		return s.client().post("identifiers/restore", m{"token": back, "new_password": otherPassword})
	},
	"takeWayBack too_many_tries": func(s *site) *reply {
		back := m{"token": s.wayBack(), "new_password": otherPassword}
		return again(60, func() *reply { return s.client().post("identifiers/restore", back) })
	},
	"takeWayBack password_too_short":      takingBack("kj4h2k"),
	"takeWayBack password_too_long":       takingBack(long),
	"takeWayBack password_breached":       takingBack("password1"),
	"takeWayBack password_is_your_name":   takingBack("other@example.org"),
	"takeWayBack way_back_ended":          posting("identifiers/restore", m{"token": "adm_nothing", "new_password": otherPassword}),
	"makePrimary unknown_identifier":      func(s *site) *reply { return s.signedUp("ann").post("identifiers/bob/primary", nil) },
	"removeIdentifier unknown_identifier": func(s *site) *reply { return s.signedUp("ann").delete("identifiers/bob") },
	"removeIdentifier last_identifier":    func(s *site) *reply { return s.signedUp("ann").delete("identifiers/ann") },
	"removeIdentifier identifier_primary": func(s *site) *reply {
		c := s.signedUp("ann")
		c.post("identifiers", m{"identifier": "ann2"}).want(201)
		return c.delete("identifiers/ann")
	},
	"reauthenticate bad_password": func(s *site) *reply {
		return s.signedUp("ann").post("reauthenticate", m{"password": "a guess of mine"})
	},
	"reauthenticate too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply { return c.post("reauthenticate", m{"password": "a guess of mine"}) })
	},
	"approve action_malformed": func(s *site) *reply { return s.signedUp("ann").post("approvals", m{"action": "send money"}) },
	"approve params_malformed": func(s *site) *reply {
		return s.signedUp("ann").post("approvals", m{"action": "send", "params": m{"amount": 1.5}})
	},
	"approve too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply { return c.post("approvals", m{"action": "send"}) })
	},
	"redeem action_malformed": func(s *site) *reply {
		return s.signedUp("ann").post("approvals/redeem", m{"approval": "adm_o_1", "action": ""})
	},
	"redeem params_malformed": func(s *site) *reply {
		return s.signedUp("ann").post("approvals/redeem", m{"approval": "adm_o_1", "action": "send", "params": m{"amount": 1e300}})
	},
	"redeem approval_ended": func(s *site) *reply {
		return s.signedUp("ann").post("approvals/redeem", m{"approval": "adm_o_1", "action": "send"})
	},
	"redeem approval_spent": func(s *site) *reply {
		c := s.signedUp("ann")
		in := m{"approval": c.approved("send", nil), "action": "send"}
		c.post("approvals/redeem", in).want(204)
		return c.post("approvals/redeem", in)
	},
	"redeem approval_mismatch": func(s *site) *reply {
		c := s.signedUp("ann")
		return c.post("approvals/redeem", m{"approval": c.approved("send", m{"amount": "1"}), "action": "send", "params": m{"amount": "2"}})
	},
	"redeem approval_session": func(s *site) *reply {
		c := s.signedUp("ann")
		return s.another("ann", goodPassword).post("approvals/redeem", m{"approval": c.approved("send", nil), "action": "send"})
	},
	"redeemHandOver handover_site":  siteAsks("redeem", m{"code": "x", "verifier": "x"}, "nobody"),
	"redeemHandOver handover_code":  siteAsks("redeem", m{"code": "x", "verifier": "x"}, "shop"),
	"redeemHandOver too_many_tries": siteFlood("redeem", m{"code": "x", "verifier": "x"}),
	"redeemHandOver session_ended": func(s *site) *reply {
		h := handedFrom(s)
		ann := h.surfer("ann")
		code, verifier := ann.code()
		ann.post("signout", nil).want(204)
		return h.asShop("redeem", m{"code": code, "verifier": verifier})
	},
	"handedOverAlive handover_site":  siteAsks("alive", m{"sid": "x"}, "nobody"),
	"handedOverAlive too_many_tries": siteFlood("alive", m{"sid": "x"}),
	"endHandedOver handover_site":    siteAsks("end", m{"sid": "x"}, "nobody"),
	"endHandedOver too_many_tries":   siteFlood("end", m{"sid": "x"}),

	"listActivity bad_parameter":     func(s *site) *reply { return s.signedUp("ann").get("activity?limit=0") },
	"listActivity unknown_parameter": func(s *site) *reply { return s.signedUp("ann").get("activity?limt=1") },
	"disown unknown_record":          func(s *site) *reply { return s.signedUp("ann").post("activity/1000000/disown", nil) },
	"disown too_many_tries": func(s *site) *reply {
		id := s.signedUp("ann").get("activity?limit=1").want(200).m["records"].([]any)[0].(m)["id"]
		// Each ends the session that asks.
		return again(25, func() *reply { return s.another("ann", goodPassword).post(fmt.Sprint("activity/", id, "/disown"), nil) })
	},

	"statusList unknown_status_list":    func(s *site) *reply { return s.client().do("GET", "/status-lists/0", nil) },
	"makeAPIKey api_key_name_malformed": asking(m{"name": " ", "scopes": []string{"profile"}}),
	"makeAPIKey scope_unknown":          asking(m{"name": "x", "scopes": []string{"everything"}}),
	"makeAPIKey scope_needs_admin":      asking(m{"name": "x", "scopes": []string{"admin:read"}}),
	"makeAPIKey audience_malformed":     asking(m{"name": "x", "scopes": []string{"profile"}, "audiences": []string{"a b"}}),
	"makeAPIKey audience_missing":       asking(m{"name": "x", "scopes": []string{"feed"}}),
	"makeAPIKey api_key_life_malformed": asking(m{"name": "x", "scopes": []string{"profile"}, "expires_in": 400 * 24 * 3600}),
	"makeAPIKey too_many_tries": func(s *site) *reply {
		c := s.signedUp("ann")
		return again(25, func() *reply { return c.post("api-keys", m{"name": "x", "scopes": []string{"profile"}}) })
	},
	"makeAPIKey too_many_api_keys": func(s *site) *reply {
		s.run()
		c := s.signedUp("ann")
		for range 50 {
			s.issue("ann", "profile")
		}
		return c.post("api-keys", m{"name": "x", "scopes": []string{"profile"}})
	},
	"takeBackApp unknown_app":            func(s *site) *reply { return s.signedUp("ann").delete("apps/nobody") },
	"endAPIKey unknown_api_key":          func(s *site) *reply { return s.signedUp("ann").delete("api-keys/nobody") },
	"adminListAPIKeys admin_needed":      outsider("GET", "users/ann/api-keys"),
	"adminListAPIKeys unknown_user":      administratorAsks("GET", "users/nobody/api-keys", nil),
	"adminListAPIKeys unknown_parameter": administratorAsks("GET", "users/ann/api-keys?rol=x", nil),
	"adminEndAPIKey admin_needed":        outsider("DELETE", "users/ann/api-keys/nobody"),
	"adminEndAPIKey unknown_user":        administratorAsks("DELETE", "users/nobody/api-keys/nobody", nil),
	"adminEndAPIKey unknown_api_key":     administratorAsks("DELETE", "users/ann/api-keys/nobody", nil),
	"adminEndAPIKey reason_too_long":     administratorAsks("DELETE", "users/ann/api-keys/nobody?reason="+strings.Repeat("x", 501), nil),
	"adminEndAPIKey unknown_parameter":   administratorAsks("DELETE", "users/ann/api-keys/nobody?rol=x", nil),
	"adminEndAPIKey bad_parameter":       administratorAsks("DELETE", "users/ann/api-keys/nobody?reason=x&reason=y", nil),
	"any api_key_refused":                func(s *site) *reply { return s.client().get("user", withBearer("adm_k_nothing")) },
	"any insufficient_scope": func(s *site) *reply {
		return s.client().get("session", withBearer(s.signedUp("ann").key("profile").at("token")))
	},

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
	"signUp invalid_dpop_proof":        unproven("signup", signUp, "invalid_dpop_proof"),
	"signUp dpop_proof_replayed":       unproven("signup", signUp, "dpop_proof_replayed"),
	"signUp use_dpop_nonce":            unproven("signup", signUp, "use_dpop_nonce"),
	"verifySignUp invalid_dpop_proof":  unproven("signup/verify", verify, "invalid_dpop_proof"),
	"verifySignUp dpop_proof_replayed": unproven("signup/verify", verify, "dpop_proof_replayed"),
	"verifySignUp use_dpop_nonce":      unproven("signup/verify", verify, "use_dpop_nonce"),
	"signIn invalid_dpop_proof":        unproven("signin", signIn, "invalid_dpop_proof"),
	"signIn dpop_proof_replayed":       unproven("signin", signIn, "dpop_proof_replayed"),
	"signIn use_dpop_nonce":            unproven("signin", signIn, "use_dpop_nonce"),
	"refresh jwt_cookie_unsupported": func(s *site) *reply {
		k := s.keyholder()
		return k.post("refresh", m{"refresh_token": "adm_r_nobody", "cookie": true}, k.proof)
	},
	"refresh invalid_dpop_proof":  unproven("refresh", m{"refresh_token": "adm_r_nobody"}, "invalid_dpop_proof"),
	"refresh dpop_proof_replayed": unproven("refresh", m{"refresh_token": "adm_r_nobody"}, "dpop_proof_replayed"),
	"refresh use_dpop_nonce":      unproven("refresh", m{"refresh_token": "adm_r_nobody"}, "use_dpop_nonce"),
	"signOut refresh_token_invalid": func(s *site) *reply {
		return s.client().post("signout", m{"refresh_token": "adm_r_nothing"})
	},
	"signOut jwt_invalid":         unableToSignOut("jwt_invalid"),
	"signOut token_bound":         unableToSignOut("token_bound"),
	"signOut token_unbound":       unableToSignOut("token_unbound"),
	"signOut invalid_dpop_proof":  unableToSignOut("invalid_dpop_proof"),
	"signOut dpop_proof_replayed": unableToSignOut("dpop_proof_replayed"),
	"signOut use_dpop_nonce":      unableToSignOut("use_dpop_nonce"),
	"signOut dpop_other_key":      unableToSignOut("dpop_other_key"),
	"any token_bound":             func(s *site) *reply { s.signedUp("ann"); return s.boundAppOf("ann").get("session") },
	"any token_unbound": func(s *site) *reply {
		s.signedUp("ann")
		k := s.keyholder()
		k.token = s.appOf("ann").token
		return k.get("session", k.proof)
	},
	"any invalid_dpop_proof": func(s *site) *reply {
		s.signedUp("ann")
		k := s.boundAppOf("ann")
		return k.get("session", k.proof, func(r *http.Request) { r.Header.Del("DPoP") })
	},
	"any dpop_proof_replayed": func(s *site) *reply {
		s.signedUp("ann")
		k, sent := s.boundAppOf("ann"), ""
		k.get("session", k.proof, func(r *http.Request) { sent = r.Header.Get("DPoP") })
		return k.get("session", k.proof, func(r *http.Request) { r.Header.Set("DPoP", sent) })
	},
	"any use_dpop_nonce": func(s *site) *reply {
		s.signedUp("ann")
		k := s.boundAppOf("ann")
		k.learn(&reply{header: http.Header{"Dpop-Nonce": {"old"}}})
		return k.get("session", k.proof)
	},
	"any dpop_other_key": func(s *site) *reply {
		s.signedUp("ann")
		k := s.keyholder()
		k.token = s.boundAppOf("ann").token
		return k.get("session", k.proof)
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

// anyhow bring about what a call is refused with before anybody looks at what it
// asks for: each that is described so is tried with its example.
var anyhow = map[string]func(s *site, send func(*client) *reply) *reply{
	"proof_needed": func(s *site, send func(*client) *reply) (r *reply) {
		synctest.Test(s.t.(*testing.T), func(t *testing.T) {
			c := newSite(t).signedUp("ann")
			c.grant(t, "ann", "admin")
			time.Sleep(11 * time.Minute)
			r = send(c)
		})
		return r
	},
	"jwt_for_services": func(s *site, send func(*client) *reply) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Audiences = []string{"https://api.example.org"} })
		s.administrator()
		return send(s.appOf("root").client)
	},
	"password_change_needed": func(s *site, send func(*client) *reply) *reply {
		c := s.signedUp("ann")
		c.grant(s.t.(*testing.T), "ann", "admin")
		c.disown(nil)
		return send(s.another("ann", goodPassword))
	},
}

// disown says that the last thing in the activity was somebody else's doing.
func (c *client) disown(body any) *reply {
	c.t.Helper()
	id := fmt.Sprint(c.get("activity?limit=1").want(200).m["records"].([]any)[0].(m)["id"])
	return c.post("activity/"+id+"/disown", body).want(204)
}

// elsewhere are the refusals that take a race, a flood or a fault, with the
// tests that bring them about.
var elsewhere = map[string]string{
	"password_busy":    "TestAFloodOfStrangersIsToldToRetryAndLeavesHalfToKnownBrowsers",
	"password_changed": "TestAttackTheOldPasswordSetsANewOneAfterTheOwnerDid",
	"session_expired":  "TestAnUnusedSessionExpiresAndAUsedOneAtTheEndOfItsLife",
	"session_busy":     "TestEveryRefusalHasItsStatusAndCode",
	"jwt_expired":      "TestAJWTExpiresInFiveMinutesAndItsSessionLater",
	"internal":         "TestStrangersSeeNothingOfWhatIsWrapped",

	"factor_loss_early":  "TestLostFactorsAreRemovedAfterADelayWithNoticesAndAMailedCode",
	"passkey_flow_ended": "TestOfManyAnswersToOneChallengeOneSignsIn",

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
	trials := maps.Clone(refused)
	maps.Copy(trials, factorTrials())
	maps.Copy(trials, clientTrials())
	told := slices.Collect(maps.Keys(trials))
	operations(t, func(method, path string, op object) {
		own, _ := op["x-problem-codes"].([]any)
		for _, code := range own {
			key := op["operationId"].(string) + " " + code.(string)
			want[key] = true
			if try := anyhow[code.(string)]; try != nil && trials[key] == nil {
				path := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x")
				body := op.at("requestBody", "content", "application/json", "example")
				trials[key] = func(s *site) *reply {
					return try(s, func(c *client) *reply { return c.do(method, path, body) })
				}
			}
		}
	})
	for _, key := range slices.Sorted(maps.Keys(want)) {
		op, code, _ := strings.Cut(key, " ")
		try := trials[key]
		switch {
		case try == nil && elsewhere[code] != "":
		case try == nil:
			t.Errorf("nobody brings about that %s is refused with %s", op, code)
		default:
			t.Run(key, func(t *testing.T) {
				t.Parallel()
				r := try(newSite(t))
				if r.at("code") != code {
					t.Fatalf("%s: %d %s, want %s", r.what, r.status, r.body, code)
				}
			})
		}
	}
	for _, key := range told {
		if !want[key] {
			t.Errorf("%s is not described", key)
		}
	}
	for code := range elsewhere {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(key string) bool {
			return strings.HasSuffix(key, " "+code) && trials[key] == nil
		}) {
			t.Errorf("%s needs no test elsewhere", code)
		}
	}
}

func TestTheTestsThatBringRefusalsAboutElsewhereExist(t *testing.T) {
	var all []byte
	for _, pattern := range []string{"*_test.go", "internal/db/*_test.go", "../*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
	}
	for code, test := range elsewhere {
		if !bytes.Contains(all, []byte("\nfunc "+test+"(t *testing.T)")) {
			t.Errorf("%s is brought about by no %s", code, test)
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

// resetting is a trial of a new password, which may depend on the name.
func resetting(choose func(name string) string) trial {
	return func(s *site) *reply {
		s.run()
		s.byMail("annette@example.org")
		flow, l := s.client().forgets("annette@example.org", "annette@example.org")
		return s.client().post("password/reset", m{"flow": flow, "code": l.Code, "new_password": choose("annette@example.org")})
	}
}
