package server_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/server"
)

// operator is the command line beside the site's server.
func (s *site) operator() *server.Operator {
	s.t.Helper()
	o, err := server.Connect(s.t.Context(), server.Config{Data: s.data, Database: s.shared})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { o.Close() })
	return o
}

// administered is a running site with an administrator who has just signed in.
func administered(t *testing.T) (*site, *client) {
	s := newSite(t)
	return s, s.administrator()
}

// administrator runs the site for one who has just signed in.
func (s *site) administrator() *client {
	s.t.Helper()
	s.run()
	root := s.signedUp("root")
	if err := s.operator().GrantRole(s.t.Context(), "root", "admin"); err != nil {
		s.t.Fatal(err)
	}
	return root
}

// adminCalls are all calls for administrators that the server answers.
func adminCalls(s *site) (calls [][2]string) {
	s.t.Helper()
	for _, path := range s.handler.(interface{ Paths() []string }).Paths() {
		if strings.HasPrefix(path, "/api/v1/admin/") {
			path = strings.NewReplacer("{user}", "root", "{role}", "admin", "{sid}", "nobody", "{key}", "nobody", "{client}", "nobody").Replace(path)
			for method := range strings.SplitSeq(s.client().do("BREW", path, nil).header.Get("Allow"), ", ") {
				if method != "HEAD" {
					calls = append(calls, [2]string{method, path})
				}
			}
		}
	}
	if len(calls) < 15 {
		s.t.Fatalf("%d calls found", len(calls))
	}
	return calls
}

func TestWhoIsNoAdministratorGetsNothingUnderAdmin(t *testing.T) {
	s, root := administered(t)
	ann := s.signedUp("ann")
	if err := s.operator().GrantRole(t.Context(), "ann", "administrator"); err != nil {
		t.Fatal(err)
	}
	for _, c := range adminCalls(s) {
		for _, body := range []any{nil, "not JSON", m{"unknown": 1}} {
			ann.do(c[0], c[1], body).want(403, "admin_needed")
			s.client().do(c[0], c[1], body).want(401, "no_session")
		}
		ann.do("PUT", c[1]+"/", nil).want(404)
	}
	root.get("session").want(200)
	ann.get("session").want(200)
}

func TestAnOldSignInIsNotEnoughToChangeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		root := s.signedUp("root")
		root.grant(t, "root", "admin")
		time.Sleep(16 * time.Minute)
		for _, c := range adminCalls(s) {
			if c[0] != "GET" {
				root.do(c[0], c[1], nil).want(401, "proof_needed")
			}
		}
		root.get("admin/users").want(200)
		root.post("signin", m{"identifier": "root", "password": goodPassword}).want(200)
		root.post("admin/users", m{"identifiers": []string{"bob"}}).want(201)
	})
}

// grant makes the first administrator where no server runs.
func (c *client) grant(t *testing.T, user, role string) {
	t.Helper()
	c.server.Close()
	o := c.operator()
	if err := o.GrantRole(t.Context(), user, role); err != nil {
		t.Fatal(err)
	}
	o.Close()
	c.open()
}

func TestADisabledUserIsOutAtOnceAndRolesHoldFromTheNextRequest(t *testing.T) {
	s, root := administered(t)
	ann := s.signedUp("ann")
	ann.get("session").want(200)
	root.do("PATCH", "/api/v1/admin/users/ann", m{"disabled": true, "name": " Ann  Example ", "reason": "lost her laptop"}).want(200)
	ann.get("session").want(401, "session_ended")
	ann.post("signin", m{"identifier": "ann", "password": goodPassword}).want(401, "bad_credentials")
	shown := root.get("admin/users/ann").want(200)
	if shown.at("disabled") != "true" || shown.at("name") != "Ann Example" {
		t.Errorf("Ann is %s", shown.body)
	}
	root.do("PATCH", "/api/v1/admin/users/ann", m{"disabled": false}).want(200)
	ann.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)

	root.do("PUT", "/api/v1/admin/users/ann/roles/admin", nil).want(204)
	ann.get("admin/users").want(200)
	root.delete("admin/users/ann/roles/admin?reason=no+longer").want(204)
	ann.get("admin/users").want(403, "admin_needed")

	root.do("PUT", "/api/v1/admin/users/ann/password", m{"password": otherPassword}).want(204)
	ann.get("session").want(401, "session_ended")
	ann.post("signin", m{"identifier": "ann", "password": otherPassword}).want(200)
	root.delete("admin/users/ann/sessions").want(204)
	ann.get("session").want(401, "session_ended")
	ann.post("signin", m{"identifier": "ann", "password": otherPassword}).want(200)

	// All of it is in the audit, with who did it and why.
	id := shown.at("id")
	var told []string
	for _, r := range root.get("admin/audit?actor=" + rootID(root) + "&subject=" + id).want(200).m["records"].([]any) {
		r := r.(m)
		told = append(told, fmt.Sprint(r["event"], " ", r["detail"], " ", r["reason"]))
		if r["request_id"] == "" || r["address"] != "127.0.0.1" {
			t.Errorf("a record is %v", r)
		}
	}
	want := []string{
		"sessions_ended  ", "password_set  ", "role_revoked admin no longer", "role_granted admin ",
		"user_enabled  ", "user_disabled  lost her laptop", "user_renamed  lost her laptop",
	}
	if !slices.Equal(told, want) {
		t.Errorf("the audit tells\n%q, want\n%q", told, want)
	}
	root.delete("admin/users/ann?reason=she+asked").want(204)
	ann.get("session").want(401, "no_session", "session_ended") // nobody knows any more whose it was
	root.get("admin/users/ann").want(404, "unknown_user")
	records := root.get("admin/audit?subject=" + id).want(200).m["records"].([]any)
	for i, r := range records {
		r := r.(m)
		last := i == 0
		if r["subject"] == id || last != (r["reason"] == "she asked") || last != (r["event"] == "user_deleted") || last != (r["address"] == "127.0.0.1") {
			t.Errorf("of who is deleted the audit has %v", r)
		}
	}
	if len(records) < len(want)+1 {
		t.Errorf("the audit has %d records of who is deleted", len(records))
	}
}

func rootID(c *client) string { return c.get("session").want(200).at("user.id") }

func TestTheLastAdministratorCannotBeRemoved(t *testing.T) {
	s, root := administered(t)
	root.delete("admin/users/root").want(409, "last_admin")
	root.delete("admin/users/root/roles/admin").want(409, "last_admin")
	root.do("PATCH", "/api/v1/admin/users/root", m{"disabled": true}).want(409, "last_admin")
	s.signedUp("ann")
	root.do("PUT", "/api/v1/admin/users/ann/roles/admin", nil).want(204)
	root.do("PATCH", "/api/v1/admin/users/ann", m{"disabled": true}).want(200)
	root.delete("admin/users/root").want(409, "last_admin") // who is disabled does not count
	root.do("PATCH", "/api/v1/admin/users/ann", m{"disabled": false}).want(200)
	root.delete("admin/users/root").want(204)
	ended := "session_ended"
	if s.shared != "" {
		ended = "no_session" // nothing near remembers what was erased
	}
	root.get("session").want(401, ended)
}

func TestAttackASearchForUsersIsNoPattern(t *testing.T) {
	s, root := administered(t)
	for _, id := range []string{"a.b", "a_b", "axb", "ab%c@example.org", "ab'c@example.org"} {
		if _, err := s.operator().AddUser(t.Context(), server.NewUser{Identifiers: []string{id}, Name: "Näme " + id}); err != nil {
			t.Fatal(err)
		}
	}
	for search, want := range map[string]string{
		"a_":         "a_b",
		"%":          "",
		"_":          "",
		"AB%":        "ab%c@example.org",
		"ab'":        "ab'c@example.org",
		"näme AX":    "axb",
		"N":          "a.b a_b ab%c@example.org ab'c@example.org axb",
		"example":    "",
		`\`:          "",
		"' OR 1=1--": "",
		"a":          "a.b a_b ab%c@example.org ab'c@example.org axb",
		"\U0010FFFF": "",
	} {
		var got []string
		for _, u := range root.get("admin/users?search=" + url.QueryEscape(search)).want(200).m["users"].([]any) {
			got = append(got, u.(m)["identifiers"].([]any)[0].(m)["value"].(string))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("search %q: %q, want %q", search, got, want)
		}
	}
}

func TestUsersAreFilteredAndAMisspelledFilterIsRefused(t *testing.T) {
	s, root := administered(t)
	o := s.operator()
	for _, u := range []server.NewUser{{Identifiers: []string{"ed"}, Roles: []string{"editor"}}, {Identifiers: []string{"eve@example.org"}}, {Identifiers: []string{"dan"}}} {
		if _, err := o.AddUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.SetDisabled(t.Context(), "dan", true); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"": 4, "role=editor": 1, "role=nobody": 0, "state=disabled": 1, "state=active": 3, "verified=false": 1, "verified=true": 3,
		"state=active&role=editor&search=e": 1, "state=disabled&role=editor": 0,
	} {
		if got := len(root.get("admin/users?" + query).want(200).m["users"].([]any)); got != want {
			t.Errorf("%q: %d users, want %d", query, got, want)
		}
	}
	roles := root.get("admin/roles").want(200)
	if string(roles.body) != `{"roles":[{"role":"admin","users":1},{"role":"editor","users":1}]}` {
		t.Errorf("the roles are %s", roles.body)
	}
	root.get("admin/users?rol=editor").want(400).field("rol", "unknown_parameter")
	root.get("admin/users?state=gone").want(400).field("state", "bad_parameter")
	root.get("admin/users?limit=501").want(400).field("limit", "bad_parameter")
	root.get("admin/users?role=a&role=b").want(400).field("role", "bad_parameter")
	root.get("admin/audit?since=yesterday").want(400).field("since", "bad_parameter")
	root.get("admin/audit?after=1").want(400).field("after", "bad_parameter")
	root.delete("admin/users/dan?reason="+strings.Repeat("x", 501)).want(400).field("reason", "reason_too_long")
	root.do("PUT", "/api/v1/admin/users/dan/roles/The%20Boss", nil).want(400).field("role", "role_malformed")
}

// paged walks over all pages of a list, and does something between them.
func (c *client) paged(path, list, key string, between func()) (all []string) {
	c.t.Helper()
	after := ""
	for {
		r := c.get(path + after).want(200)
		for _, e := range r.m[list].([]any) {
			all = append(all, fmt.Sprint(e.(m)[key]))
		}
		next, _ := r.m["next"].(string)
		if next == "" {
			return all
		}
		after = "&after=" + url.QueryEscape(next)
		between()
	}
}

func TestPagesAreStableWhileOthersAreAdded(t *testing.T) {
	s, root := administered(t)
	o := s.operator()
	n := 0
	add := func() {
		n++
		if _, err := o.AddUser(t.Context(), server.NewUser{Identifiers: []string{fmt.Sprintf("user%03d", n)}}); err != nil {
			t.Fatal(err)
		}
		s.client().post("guest", m{"as": "token"}).want(201)
	}
	for range 20 {
		add()
	}
	for _, list := range []struct{ path, list, key string }{
		{"admin/users?limit=3", "users", "id"},
		{"admin/sessions?limit=3", "sessions", "sid"},
		{"admin/audit?limit=3", "records", "id"},
		{"admin/audit?limit=3&event=user_added", "records", "id"},
	} {
		before := root.paged(strings.Replace(list.path, "limit=3", "limit=500", 1), list.list, list.key, func() {})
		got := root.paged(list.path, list.list, list.key, add)
		unique := slices.Compact(slices.Sorted(slices.Values(got)))
		if len(unique) != len(got) {
			t.Errorf("%s: %d rows, %d of them different", list.path, len(got), len(unique))
		}
		for _, id := range before {
			if !slices.Contains(got, id) {
				t.Errorf("%s: %s is missing", list.path, id)
			}
		}
		if len(before) < 20 {
			t.Errorf("%s: only %d rows", list.path, len(before))
		}
	}
}

func TestAnAdministratorSeesAndEndsSessions(t *testing.T) {
	s, root := administered(t)
	ann := s.signedUp("ann")
	sid := ann.get("session").want(200).at("session.sid")
	if one := root.get("admin/sessions/" + sid).want(200); one.at("subject") != rootID(ann) || one.at("current") != "false" {
		t.Errorf("the session is %s", one.body)
	}
	if n := len(root.get("admin/users/ann/sessions").want(200).m["sessions"].([]any)); n != 1 {
		t.Errorf("Ann has %d sessions", n)
	}
	root.delete("admin/sessions/" + sid + "?reason=stolen").want(204)
	ann.get("session").want(401, "session_ended")
	root.delete("admin/sessions/"+sid).want(404, "unknown_session")
	if r := root.get("admin/audit?event=session_ended").want(200); !strings.Contains(string(r.body), `"reason":"stolen","sid":"`+sid+`"`) {
		t.Errorf("the audit tells %s", r.body)
	}
	guest := s.client()
	guest.post("guest", m{}).want(201)
	if r := root.delete("admin/sessions?reason=leak").want(200); r.at("ended") != "2" {
		t.Errorf("everyone: %s", r.body)
	}
	guest.get("session").want(401, "session_ended")
	root.get("session").want(401, "session_ended")
}

func TestAnAdministratorSeesTheKeysOfTheServerAndNoSecret(t *testing.T) {
	s, root := administered(t)
	made, err := s.operator().RotateKey(t.Context(), "cookies")
	if err != nil {
		t.Fatal(err)
	}
	r := root.get("admin/keys").want(200) // and not more than is described
	keys := r.m["keys"].([]any)
	if len(keys) != 5 {
		t.Fatalf("%s", r.body)
	}
	first, second := keys[0].(m), keys[4].(m)
	if first["id"] != made.ID || first["state"] != "active" || first["not_after"] != nil {
		t.Errorf("the new key is %v", first)
	}
	if second["state"] != "retiring" || second["not_after"] == nil || second["purpose"] != "cookies" {
		t.Errorf("the old key is %v", second)
	}
	if k := keys[1].(m); k["purpose"] != "names" || k["state"] != "active" {
		t.Errorf("key 1 is %v", k)
	}
	for i, state := range []string{"active", "next"} {
		if k := keys[2+i].(m); k["purpose"] != "signing" || k["state"] != state {
			t.Errorf("key %d is %v", 2+i, k)
		}
	}
	if bytes.Contains(r.body, []byte(`"d"`)) {
		t.Errorf("%s", r.body)
	}
}

func TestTheAuditIsSearchedAndExported(t *testing.T) {
	s, root := administered(t)
	evil := s.client()
	evil.userAgent = `=HYPERLINK("http://evil.example")`
	evil.post("signup", m{"identifier": "eve", "password": goodPassword}).want(201)
	root.do("PATCH", "/api/v1/admin/users/eve", m{"disabled": true, "reason": "100% Spam"}).want(200)
	found := root.get("admin/audit?text=" + url.QueryEscape("% sPAM")).want(200)
	if records := found.m["records"].([]any); len(records) != 1 || records[0].(m)["event"] != "user_disabled" {
		t.Fatalf("found %s", found.body)
	}
	request := found.m["records"].([]any)[0].(m)["request_id"].(string)
	if n := len(root.get("admin/audit?request_id=" + request).want(200).m["records"].([]any)); n != 1 {
		t.Errorf("%d records of one request", n)
	}
	if n := len(root.get("admin/audit?until=2020-01-01T00:00:00Z").want(200).m["records"].([]any)); n != 0 {
		t.Errorf("%d records from before admit", n)
	}
	lines := root.export("")
	last := m{}
	for _, line := range lines {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if last["event"] != "audit_exported" || last["actor"] != rootID(root) { // oldest first, and its own is the last
		lines = root.export("")
		if !strings.Contains(lines[len(lines)-1]+lines[len(lines)-2], "audit_exported") {
			t.Errorf("the last record is %v", last)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(strings.Join(root.export("?format=csv"), "\n"))).ReadAll()
	if err != nil || rows[0][0] != "id" || len(rows) < 4 {
		t.Fatalf("%v %q", err, rows)
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	}
	root.delete("admin/audit").want(405, "method_not_allowed")
	root.post("admin/audit", m{}).want(405, "method_not_allowed")
}

// export returns the lines of the exported audit.
func (c *client) export(query string) []string {
	c.t.Helper()
	out := c.send(httptest.NewRequest("GET", "http://localhost/api/v1/admin/audit/export"+query, http.NoBody))
	if out.status != 200 || !strings.Contains(out.header.Get("Content-Disposition"), "attachment") {
		c.t.Fatalf("export: %d %v %s", out.status, out.header, out.body)
	}
	return strings.Split(strings.TrimSpace(string(out.body)), "\n")
}

// What a search for text does in steps is what it would do at once.
func TestASearchForTextGoesThroughAllRecordsInBoundedSteps(t *testing.T) {
	s := newSite(t)
	root := s.signedUp("root")
	s.server.Close()
	generate(t, s.data, 0, 120_000)
	s.open()
	root.grant(t, "root", "admin")
	at := time.UnixMilli(1700000000000).UTC()
	for query, want := range map[string][2]int{ // found, and questions that it takes at least
		"text=NEEDLE": {1, 3},
		"text=needle&since=" + at.Format(time.RFC3339) + "&until=" + at.Add(30*time.Hour).Format(time.RFC3339): {1, 3},
		"text=needle&since=" + at.Add(2*time.Minute).Format(time.RFC3339):                                      {0, 3},
		"text=needle&event=sign_in_refused":                                                                    {0, 1},
		"text=needle&event=signed_out&until=" + at.Add(time.Hour).Format(time.RFC3339):                         {1, 1},
	} {
		asked := 1
		got := root.paged("admin/audit?limit=5&"+query, "records", "id", func() { asked++ })
		if len(got) != want[0] || asked < want[1] {
			t.Errorf("%s: %d found with %d questions, want %d with %d", query, len(got), asked, want[0], want[1])
		}
		lines := root.export("?" + query)
		if n := len(strings.Fields(lines[0])); want[0] == 0 && n > 0 || want[0] > 0 && len(lines) != want[0] {
			t.Errorf("%s: %d lines are exported", query, len(lines))
		}
	}
}

func TestAnExportOfAMillionRecordsHoldsLittleMemory(t *testing.T) {
	n := 20_000
	if os.Getenv("ADMIT_TEST_MILLION") != "" {
		n = 1_000_000
	}
	s := newSite(t)
	root := s.signedUp("root")
	s.server.Close()
	fill := generate(t, s.data, 0, n)
	s.open()
	root.grant(t, "root", "admin")
	runtime.GC()
	debug.FreeOSMemory()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	w := &counter{header: http.Header{}, base: before.HeapInuse}
	r := httptest.NewRequest("GET", "http://localhost/api/v1/admin/audit/export", http.NoBody)
	for _, k := range root.jar.Cookies(r.URL) {
		r.AddCookie(k)
	}
	begin := time.Now()
	s.handler.ServeHTTP(w, r)
	if w.lines < fill {
		t.Errorf("%d lines of %d", w.lines, fill)
	}
	t.Logf("%d records, %d MB in %v, at most %d MB of heap more", w.lines, w.size>>20, time.Since(begin).Round(time.Millisecond), w.most>>20)
	if w.most > 50<<20 {
		t.Errorf("%d MB are held", w.most>>20)
	}
}

// A counter counts what is written to it, and what memory the process holds
// meanwhile.
type counter struct {
	header             http.Header
	lines, size, calls int
	base, most         uint64
}

func (c *counter) Header() http.Header { return c.header }
func (c *counter) WriteHeader(int)     {}

func (c *counter) Write(b []byte) (int, error) {
	c.size += len(b)
	for scan := bufio.NewScanner(bytes.NewReader(b)); scan.Scan(); {
		c.lines++
	}
	if c.calls++; c.calls%10 == 0 {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		if now.HeapInuse > c.base {
			c.most = max(c.most, now.HeapInuse-c.base)
		}
	}
	return len(b), nil
}
