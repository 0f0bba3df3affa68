package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/token"
)

// key makes an API key for the client's user.
func (c *client) key(scopes ...string) *reply {
	c.t.Helper()
	return c.post("api-keys", m{"name": "a test", "scopes": scopes, "audiences": []string{"https://a.example.org"}}).want(201)
}

// issue makes an API key as an operator does, beside a server that runs.
func (s *site) issue(user string, scopes ...string) server.MadeAPIKey {
	s.t.Helper()
	made, err := s.operator().IssueAPIKey(s.t.Context(), server.NewAPIKey{
		User: user, Name: "a test", Scopes: scopes, Audiences: []string{"https://a.example.org"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// withBearer presents a token in the header.
func withBearer(text string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+text) }
}

func TestAnAPIKeyActsForItsUserWithinItsScopes(t *testing.T) {
	s := newSite(t)
	root := s.administrator()
	made := root.key("profile", "admin:read")
	key := made.at("token")
	if _, err := token.Parse(token.APIKey, key); err != nil || made.at("api_key.id") != key[6:28] {
		t.Fatalf("the key is %v", made.m)
	}
	program := s.client()
	program.token = key
	if got := program.get("user").want(200).at("user.name"); got != root.get("user").want(200).at("user.name") {
		t.Errorf("the key is of %q", got)
	}
	program.get("admin/users/root").want(200)
	program.get("admin/audit").want(200)
	r := program.post("admin/users", m{"identifiers": []string{"bob"}}).want(403, "insufficient_scope")
	if got := r.header.Get("WWW-Authenticate"); got != `Bearer error="insufficient_scope", scope="admin"` {
		t.Errorf("the challenge is %q", got)
	}

	// With admin it changes users, without a proof of its own.
	program.token = root.key("admin").at("token")
	program.post("admin/users", m{"identifiers": []string{"bob"}}).want(201)
	program.do("PUT", "/api/v1/admin/users/bob/roles/editor", nil).want(204)
	program.get("admin/users/bob").want(200)
	program.get("user").want(403, "insufficient_scope")

	// No cookie came of it, and no session.
	if n := len(root.get("sessions").want(200).m["sessions"].([]any)); n != 1 {
		t.Errorf("there are %d sessions", n)
	}
	if len(r.header.Values("Set-Cookie")) > 0 {
		t.Error("an API key was answered with a cookie")
	}
}

// The walk goes through every operation there is, so that a new one is refused to
// API keys until somebody names its scope.
func TestAttackAnAPIKeyMakesACallThatNamesNoScopeOfIts(t *testing.T) {
	s := newSite(t)
	s.administrator()
	may := map[string]string{"profile": "profile", "admin:read": "admin:read", "admin": "admin:read admin", "feed": ""}
	keys, open := map[string]string{}, map[string][]string{}
	for scope := range may {
		keys[scope] = s.issue("root", scope).Token
	}
	operations(t, func(method, path string, op object) {
		if !strings.HasPrefix(path, "/api/v1/") {
			return
		}
		security, _ := op["security"].([]any)
		for scope, may := range may {
			program := s.client()
			program.token = keys[scope]
			needs := ""
			for _, way := range security {
				if of, ok := way.(m)["api_key"].([]any); ok {
					needs = of[0].(string)
				}
			}
			if needs != "" && slices.Contains(strings.Fields(may), needs) {
				open[scope] = append(open[scope], op["operationId"].(string))
				continue
			}
			path := strings.NewReplacer("{user}", "root", "{sid}", "x", "{role}", "x", "{value}", "root", "{id}", "1", "{key}", "x", "{client}", "x").Replace(path)
			r := program.do(method, path, m{}).want(403, "insufficient_scope")
			if got := r.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_scope"`) {
				t.Errorf("%s: the challenge is %q", r.what, got)
			}
		}
	})
	for _, ids := range open {
		slices.Sort(ids)
	}
	reads := "adminExportRecords adminGetClient adminGetUser adminListClients adminListRecords adminListRoles adminListUsers"
	for scope, want := range map[string]string{
		"profile": "getUser", "admin:read": reads, "feed": "",
		"admin": "adminAddUser adminChangeUser adminDeleteUser adminExportRecords adminGetClient adminGetUser adminGrantRole adminListClients adminListRecords adminListRoles adminListUsers adminRevokeRole",
	} {
		if got := strings.Join(open[scope], " "); got != want {
			t.Errorf("with %s a key may call\n%s\nwant\n%s", scope, got, want)
		}
	}
}

// Each presents what is no good key, and each gets the same answer.
func TestEachAPIKeyThatIsNoGoodIsRefusedAlike(t *testing.T) {
	s := newSite(t)
	s.run()
	ann := s.signedUp("ann")
	made := ann.key("profile")
	key, id := made.at("token"), made.at("api_key.id")
	ended := ann.key("profile")
	ann.delete("api-keys/" + ended.at("api_key.id")).want(204)
	good, err := token.Parse(token.APIKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s.signedUp("bob")
	bobs := s.issue("bob", "profile").Token
	if err := s.operator().SetDisabled(t.Context(), "bob", true); err != nil {
		t.Fatal(err)
	}
	s.signedUp("eve")
	eves := s.issue("eve", "profile").Token
	if err := s.operator().DeleteUser(t.Context(), "eve"); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, tt := range []struct{ name, text string }{
		{"nothing behind the prefix", "adm_k_"},
		{"a letter is missing", key[:len(key)-1]},
		{"the checksum is wrong", key[:len(key)-1] + "-"},
		{"nobody made it", token.New(token.APIKey).Reveal()},
		{"the id is known and the secret is not", good.WithNewVerifier().Reveal()},
		{"it was ended", ended.at("token")},
		{"its user is disabled", bobs},
		{"its user is deleted", eves},
		{"something follows it", key + " x"},
		{"a space stands before it", " " + key[:20]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.client()
			r := c.get("user", withBearer(tt.text))
			if tt.name == "a space stands before it" {
				r.want(401)
				return
			}
			r.want(401, "api_key_refused")
			if got := r.header.Get("WWW-Authenticate"); got != `Bearer error="invalid_token"` {
				t.Errorf("the challenge is %q", got)
			}
			body := strings.ReplaceAll(string(r.body), r.at("request_id"), "")
			if first == "" {
				first = body
			}
			if body != first {
				t.Errorf("%s is not %s", body, first)
			}
		})
	}
	s.client().get("user", withBearer(key)).want(200)
	if id == "" {
		t.Error("the key has no id")
	}
}

func TestAnAPIKeyWithAWrongChecksumCostsNoLookUp(t *testing.T) {
	s := newSite(t)
	key := s.signedUp("ann").key("profile").at("token")
	s.server.Close()
	s.open()
	s.server.Close() // who looks finds no database
	s.client().get("user", withBearer(key)).want(503, "database_unavailable")
	s.client().get("user", withBearer(key[:len(key)-1]+"-")).want(401, "api_key_refused")
}

func TestAttackAnAPIKeyOfAnotherUserIsEndedByItsID(t *testing.T) {
	s := newSite(t)
	ann := s.signedUp("ann")
	made := ann.key("profile")
	eve := s.signedUp("eve")
	eve.delete("api-keys/"+made.at("api_key.id")).want(404, "unknown_api_key")
	if n := len(eve.get("api-keys").want(200).m["api_keys"].([]any)); n != 0 {
		t.Errorf("eve sees %d keys", n)
	}
	s.client().get("user", withBearer(made.at("token"))).want(200)
	ann.delete("api-keys/" + made.at("api_key.id")).want(204)
	ann.delete("api-keys/"+made.at("api_key.id")).want(404, "unknown_api_key")
}

// A query stands in logs, and any page makes a browser send a cookie.
func TestAnAPIKeyIsLookedForInTheHeaderOnly(t *testing.T) {
	s := newSite(t)
	ann := s.signedUp("ann")
	key := ann.key("profile").at("token")
	for _, tt := range []struct {
		name string
		with func(*http.Request)
	}{
		{"in a cookie of its own", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "api_key", Value: key}) }},
		{"in the cookie of sessions", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "admit-", Value: key}) }},
		{"in the query", func(r *http.Request) { r.URL.RawQuery = "access_token=" + key }},
		{"as basic authentication", func(r *http.Request) { r.SetBasicAuth("ann", key) }},
		{"beside another header", func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + key, "Bearer " + key} }},
	} {
		t.Run(tt.name, func(t *testing.T) { s.client().get("user", tt.with).want(401, "no_session") })
	}
	// One that is there decides, whatever session comes with it.
	ann.get("sessions", withBearer(key)).want(403, "insufficient_scope")
	ann.get("user", withBearer("adm_k_nothing")).want(401, "api_key_refused")
	s.client().get("user", withBearer(key), func(r *http.Request) { r.Header.Set("Authorization", "bearer "+key) }).want(200)
	// The pages know none.
	r := s.client().page("GET", "/account", nil, withBearer(key))
	if got := r.header.Get("Location"); r.status != 303 || !strings.HasPrefix(got, "/signin") {
		t.Errorf("the page of the account: %d to %q", r.status, got)
	}
}

// What each leaves of ann's keys, one of which was made by ann and one of which an
// operator made.
func TestWhatTakesAnAccountBackEndsItsAPIKeys(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(t *testing.T, s *site, ann *client)
		lives bool
	}{
		{"the owner changes the password", func(t *testing.T, s *site, ann *client) {
			ann.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
		}, true},
		{"the owner ends all other sessions", func(t *testing.T, s *site, ann *client) { ann.delete("sessions").want(204) }, true},
		{"an operator sets the password", func(t *testing.T, s *site, _ *client) {
			if err := s.operator().SetPassword(t.Context(), "ann@example.org", admit.NewSecret(otherPassword)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the owner says that it was somebody else", func(t *testing.T, s *site, ann *client) { ann.disown(nil) }, false},
		{"the way back is taken", func(t *testing.T, s *site, ann *client) {
			back := s.back("ann@example.org", "has a new API key")
			s.client().post("identifiers/restore", m{"token": back, "new_password": otherPassword}).want(204)
		}, false},
		{"an operator removes second factors that are lost", func(t *testing.T, s *site, _ *client) {
			if err := s.operator().ResetFactors(t.Context(), "ann@example.org"); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"an operator disables the user and enables it again", func(t *testing.T, s *site, ann *client) {
			for _, disabled := range []bool{true, false} {
				if err := s.operator().SetDisabled(t.Context(), "ann@example.org", disabled); err != nil {
					t.Fatal(err)
				}
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.run()
			ann := s.byMail("ann@example.org")
			keys := []string{ann.key("profile").at("token"), s.issue("ann@example.org", "profile").Token}
			for _, key := range keys {
				s.client().get("user", withBearer(key)).want(200)
			}
			tt.do(t, s, ann)
			for _, key := range keys {
				r := s.client().get("user", withBearer(key))
				// An operator beside PostgreSQL is another process, which is heard in a moment.
				for begun := time.Now(); s.shared != "" && !tt.lives && r.status == 200 && time.Since(begun) < 2*time.Second; time.Sleep(time.Millisecond) {
					r = s.client().get("user", withBearer(key))
				}
				if (r.status == 200) != tt.lives {
					t.Errorf("the key gets %d", r.status)
				}
			}
		})
	}
}

// Who signs up with an address that is not theirs must keep no key to the account
// of whoever proves it.
func TestAttackAnAPIKeyIsMadeBeforeTheOwnerProvesTheAddress(t *testing.T) {
	s := newSite(t)
	root := s.administrator()
	root.post("admin/users", m{"identifiers": []string{"ann@example.org"}, "password": goodPassword}).want(201)
	eve := s.another("ann@example.org", goodPassword)
	key := eve.key("profile").at("token")
	s.client().get("user", withBearer(key)).want(200)
	s.byMail("ann@example.org")
	s.client().get("user", withBearer(key)).want(401, "api_key_refused")
	eve.get("session").want(401)
}

func TestWhoIsNoAdministratorAnyMoreKeepsNoKeyThatOnlyOneMayMake(t *testing.T) {
	s := newSite(t)
	root := s.administrator()
	o := s.operator()
	if _, err := o.AddUser(t.Context(), server.NewUser{Identifiers: []string{"second"}, Roles: []string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, scope := range []string{"profile", "admin:read", "admin", "feed"} {
		keys[scope] = root.key(scope).at("token")
	}
	if err := o.RevokeRole(t.Context(), "root", "admin"); err != nil {
		t.Fatal(err)
	}
	for scope, key := range keys {
		if r := s.client().get("user", withBearer(key)); (r.status == 401) != (scope != "profile") {
			t.Errorf("with %s: %d %s", scope, r.status, r.body)
		}
	}
	// An operator may give one who is none what does nothing without the role.
	key := s.issue("root", "admin:read").Token
	s.client().get("admin/users", withBearer(key)).want(403, "admin_needed")
}

func TestAnAPIKeyExpiresUnlessItWasAskedNeverTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann := s.signedUp("ann")
		usual := ann.key("profile")
		short := ann.post("api-keys", m{"name": "short", "scopes": []string{"profile"}, "expires_in": 3600}).want(201)
		ever := ann.post("api-keys", m{"name": "ever", "scopes": []string{"profile"}, "never_expires": true}).want(201)
		ann.post("api-keys", m{"name": "both", "scopes": []string{"profile"}, "never_expires": true, "expires_in": 60}).want(400, "api_key_life_malformed")
		ann.post("api-keys", m{"name": "none", "scopes": []string{"profile"}, "expires_in": -1}).want(400, "api_key_life_malformed")
		ann.post("api-keys", m{"name": "wraps", "scopes": []string{"profile"}, "expires_in": 1 << 60}).want(400, "api_key_life_malformed")
		time.Sleep(time.Hour - time.Second)
		s.client().get("user", withBearer(short.at("token"))).want(200)
		time.Sleep(2 * time.Second)
		s.client().get("user", withBearer(short.at("token"))).want(401, "api_key_refused")
		time.Sleep(90*24*time.Hour - time.Hour - 2*time.Second)
		s.client().get("user", withBearer(usual.at("token"))).want(200)
		time.Sleep(2 * time.Second)
		s.client().get("user", withBearer(usual.at("token"))).want(401, "api_key_refused")
		time.Sleep(9000 * 24 * time.Hour)
		s.client().get("user", withBearer(ever.at("token"))).want(200)
		if ever.at("api_key.expires_at") != "" {
			t.Errorf("it expires %v", ever.at("api_key.expires_at"))
		}
	})
}

func TestWhenAnAPIKeyWasUsedLastIsKeptToTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann := s.signedUp("ann")
		key := ann.key("profile").at("token")
		used := func() string {
			keys := ann.get("api-keys").want(200).m["api_keys"].([]any)
			at, _ := keys[0].(m)["last_used_at"].(string)
			return at
		}
		if got := used(); got != "" {
			t.Errorf("before its use it was used %s", got)
		}
		use := func() { s.client().get("user", withBearer(key)).want(200) }
		use()
		first := used()
		if first == "" {
			t.Fatal("its use is not kept")
		}
		for range 59 {
			time.Sleep(time.Second)
			use()
		}
		if got := used(); got != first {
			t.Errorf("it was written again after less than a minute: %s, %s", first, got)
		}
		time.Sleep(2 * time.Second)
		use()
		if got := used(); got == first {
			t.Error("after a minute its use is not kept")
		}
	})
}

func TestTheOwnerIsToldOfANewAPIKey(t *testing.T) {
	s := newSite(t)
	s.run()
	ann := s.byMail("ann@example.org")
	ann.key("profile")
	letter := s.letter("ann@example.org", "has a new API key")
	if !strings.Contains(letter.Text, "This was not") && !strings.Contains(letter.Text, "If it was not") {
		t.Errorf("the mail is\n%s", letter.Text)
	}
	if strings.Contains(letter.Text, "adm_k_") {
		t.Error("the mail holds the key")
	}
	events := map[string]string{}
	id := ann.key("profile").at("api_key.id")
	ann.delete("api-keys/" + id).want(204)
	for _, r := range ann.get("activity").want(200).m["records"].([]any) {
		events[r.(m)["event"].(string)], _ = r.(m)["detail"].(string)
	}
	if events["api_key_made"] != "a test" || events["api_key_ended"] != "a test" {
		t.Errorf("the activity holds %v", events)
	}
}

func TestAPIKeysAreMadeAndEndedOnAPageWithoutAScript(t *testing.T) {
	s := newSite(t)
	ann := s.signedUp("ann")
	page := func(path string, form url.Values) *reply { return ann.page("POST", path, form) }
	if r := ann.page("GET", "/account/keys", nil).want(200); strings.Contains(string(r.body), "scope-admin") {
		t.Error("who is no administrator may choose what is for administrators")
	}
	r := page("/account/keys", url.Values{"name": {"nightly report"}, "scope-profile": {"yes"}, "days": {"30"}}).want(201)
	key := regexp.MustCompile(`adm_k_[0-9A-Za-z]{50}`).FindString(string(r.body))
	s.client().get("user", withBearer(key)).want(200)
	r = ann.page("GET", "/account/keys", nil).want(200)
	if !strings.Contains(string(r.body), "nightly report") || strings.Contains(string(r.body), key) {
		t.Errorf("the page is %s", r.body)
	}
	for _, tt := range []struct {
		name   string
		form   url.Values
		status int
		says   string
	}{
		{"without a name", url.Values{"name": {""}, "scope-profile": {"yes"}, "days": {"30"}}, 400, "name-error"},
		{"without a scope", url.Values{"name": {"x"}, "days": {"30"}}, 400, "scopes-error"},
		{"with a scope that is not offered", url.Values{"name": {"x"}, "scope-admin": {"yes"}, "days": {"30"}}, 400, "scopes-error"},
		{"with a life that is not offered", url.Values{"name": {"x"}, "scope-profile": {"yes"}, "days": {"9999"}}, 400, "status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := page("/account/keys", tt.form)
			if r.status != tt.status || tt.says != "status" && !strings.Contains(string(r.body), `id="`+tt.says) {
				t.Errorf("%d\n%s", r.status, r.body)
			}
		})
	}
	id := ann.get("api-keys").want(200).m["api_keys"].([]any)[0].(m)["id"].(string)
	for range 2 { // the second time it is over, which is what was wanted
		if r := page("/account/keys", url.Values{"end": {id}}).want(303); r.header.Get("Location") != "/account/keys" {
			t.Errorf("it leads to %q", r.header.Get("Location"))
		}
	}
	s.client().get("user", withBearer(key)).want(401, "api_key_refused")
}

func TestWhoHasNotProvedItselfLatelyIsAskedToBeforeAKeyIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ann := newSite(t).signedUp("ann")
		time.Sleep(11 * time.Minute)
		r := ann.page("GET", "/account/keys", nil).want(200)
		if body := string(r.body); strings.Contains(body, `name="name"`) || !strings.Contains(body, "/account/confirm?return_to=/account/keys") {
			t.Errorf("the page is %s", body)
		}
		asked := url.Values{"name": {"x"}, "scope-profile": {"yes"}, "days": {"30"}}
		ann.page("POST", "/account/keys", asked).leads("/account/confirm?return_to=%2Faccount%2Fkeys")
		ann.page("POST", "/account/confirm", url.Values{"password": {goodPassword}, "return_to": {"/account/keys"}}).leads("/account/confirm/asked")
		ann.page("GET", "/account/confirm/asked", nil).want(200).says(`action="/account/keys"`, `name="scope-profile" value="yes"`, `name="days" value="30"`, "Make the key x")
		ann.page("POST", "/account/keys", asked).want(201)
	})
}
