package server_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

// taken imports a file.
func (s *site) taken(text string, opt server.ImportOptions) (server.ImportCount, []server.LineRefusal) {
	s.t.Helper()
	var refused []server.LineRefusal
	opt.Refused = func(r server.LineRefusal) { refused = append(refused, r) }
	n, err := s.operator().ImportUsers(s.t.Context(), strings.NewReader(text), opt)
	if err != nil {
		s.t.Fatal(err)
	}
	return n, refused
}

// everybody is what export writes, each user under the first identifier.
func (s *site) everybody(hashes bool) map[string]server.ImportedUser {
	s.t.Helper()
	all := map[string]server.ImportedUser{}
	o := s.operator()
	for after := ""; ; {
		page, err := o.ExportUsers(s.t.Context(), after, 500, hashes, false)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, u := range page {
			all[u.Identifiers[0].Value] = u
			after = u.ID
		}
		if len(page) < 500 {
			return all
		}
	}
}

// Each was made by the program that is named; see package password for how.
var moved = []struct{ name, password, hash string }{
	{"argon2id", "passwörd and more", "argon2$argon2id$v=19$m=1024,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$4FgW/zSKmU1W/z808iMbGw"},
	{"argon2i", "passwörd and more", "$argon2i$v=19$m=1024,t=2,p=1$VHNNdlFTQzhCN1g1ZXNCSA$e+vQQGDfqS9mfOh0IdzVaL1zrrRcbGIPYq2Y1XVchNQ"},
	{"argon2d", "passwörd and more", "$argon2d$v=19$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$bBk5AfmH5bx9DLV1GB/22Q"},
	{"bcrypt", "passwörd and more", "$2y$05$ta1Vr/y3bd0Z6dEGx6FxX.ufL1SZYIVNRSAOXvuZhYtntJ84atBQ6"},
	{"django-bcrypt", "passwörd and more", "bcrypt_sha256$$2b$05$dfw1HtyaW6tAmzqPNplM9.DGuSFLCRzyp/AgZVrzpKj9OKed5dJOe"},
	{"wordpress", "passwörd and more", "$wp$2y$05$QPgCnU8nC/tkDA4xmsI/luNG1sPATtSLfI076QkOQ9j.Fo9tDeO4u"},
	{"scrypt", "passwörd and more", "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$PLQQvt2YP9bQO4FpeX6/vQHLyedkzLacnMxwRxTEBEw"},
	{"firebase", "user1password", "$firebase-scrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw$Bw$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ"},
	{"django", "passwörd and more", "pbkdf2_sha256$1200$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA="},
	{"keycloak", "passwörd and more", "$pbkdf2-sha256$i=1200,l=32$MDEyMzQ1Njc4OWFiY2RlZg$3aRoxDNXfeTP2VzdjNZZX6w/gR74GJcvKN4E2OjPows"},
	{"sha512-crypt", "passwörd and more", "$6$rounds=1500$saltsaltsalt$MZ1b20SbzO3QJ4H6qzMlOocckHtLKmIhYr9TnExdlxCZjQr2CDub/y6X074kIcCfsfbi.EKoEI/qqg8bPEV.71"},
	{"sha256-crypt", "passwörd and more", "{CRYPT}$5$saltsalt$4iRpkprDN5khw3bmEjbvfpuaFNFV.SGSLKFE5Ib0Xb7"},
	{"md5-crypt", "passwörd and more", "$1$abcd$2BcIHiC/blwotMXFGx53G/"},
	{"apr1", "passwörd and more", "$apr1$abcd$aYvTzDOfOIRhOQ00R7fRf."},
	{"phpass", "passwörd and more", "$P$BsaltsaltN.WZflsa5pl4qEQuzgZtM1"},
	{"ssha", "passwörd and more", "{SSHA}BtgiA89tD6I9jGh++BnVrZXXUbHtcaaH"},
	{"ssha512", "passwörd and more", "{SSHA512}L100GoFCfUhu5YtMA68pwE5oFh9yTEejTAhIyLuQmjU9iJtNtTaiihI8GunW2UDkpxX3tCiiTCv1KyCWCCiXHJsZEV02M2ow"},
	{"salted-md5", "passwörd and more", "$insecure-md5$o=sp$c2FsdA$YkunYdWNOMsOSb8H93FFgw"},
}

func TestOneUserOfEachFormSignsInAndIsUpgraded(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"", "keep"} { // of insecure hashes: "" wraps them
		s := newSite(t)
		s.run()
		var file strings.Builder
		for _, u := range moved {
			line, err := json.Marshal(m{"username": u.name, "password_hash": u.hash})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&file, "%s\n", line)
		}
		if n, refused := s.taken(file.String(), server.ImportOptions{Insecure: way}); n.Made != len(moved) || len(refused) > 0 {
			t.Fatalf("%d are made; refused are %v", n.Made, refused)
		}
		fresh := func(hash string) bool { return strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") }
		for name, u := range s.everybody(true) {
			insecure := slices.Contains([]string{"md5-crypt", "apr1", "phpass", "ssha", "ssha512", "salted-md5"}, name)
			if wrapped := strings.HasPrefix(u.PasswordHash, "$argon2id-over$"); wrapped != (insecure && way == "") || fresh(u.PasswordHash) {
				t.Errorf("%s rests as %s", name, u.PasswordHash)
			}
		}
		for i, u := range moved {
			c := s.client()
			c.address = fmt.Sprintf("192.0.2.%d:4711", i)
			c.post("signin", m{"identifier": u.name, "password": u.password + "x"}).want(401, "bad_credentials")
			c.post("signin", m{"identifier": u.name, "password": u.password}).want(200)
		}
		for name, u := range s.everybody(true) {
			if !fresh(u.PasswordHash) {
				t.Errorf("%s signed in and still has %s", name, u.PasswordHash)
			}
		}
		for _, u := range moved { // with the new hash
			c := s.client()
			c.address = "198.51.100.1:4711"
			c.post("signin", m{"identifier": u.name, "password": u.password}).want(200)
		}
	}
}

func TestATableOfAnotherProgramIsTaken(t *testing.T) {
	s := newSite(t)
	s.run()
	n, refused := s.taken("\uFEFFuid,user_email,email_verified,phone,name,Roles,created_at,disabled,nick\r\n"+
		"auth0|1,Ann@Example.org,true,+49 30 1234567,\"Ann, \"\"A.\"\"\",\"editor, admin\",2021-03-04T05:06:07Z,no,annie\r\n"+
		"auth0|2,bob@example.org,false,,Bob,,1600000000,yes,\r\n",
		server.ImportOptions{Map: map[string]string{"uid": "external_id", "user_email": "email", "nick": ""}})
	if n.Made != 2 || len(refused) > 0 {
		t.Fatalf("%+v, refused %v", n, refused)
	}
	all := s.everybody(false)
	ann, bob := all["ann@example.org"], all["bob@example.org"]
	if ann.ExternalID != "auth0|1" || ann.Name != `Ann, "A."` || !slices.Equal(ann.Roles, []string{"admin", "editor"}) || len(ann.Identifiers) != 2 ||
		!ann.Identifiers[0].Verified || !ann.Identifiers[0].Primary || ann.Identifiers[1].Value != "+49301234567" || ann.CreatedAt.Year() != 2021 || ann.Disabled {
		t.Errorf("ann is %+v", ann)
	}
	if !bob.Disabled || bob.Identifiers[0].Verified || bob.CreatedAt.Unix() != 1600000000 {
		t.Errorf("bob is %+v", bob)
	}
	for _, header := range []string{"email,colour\na@example.org,red\n", "\"email\n"} {
		if _, err := s.operator().ImportUsers(t.Context(), strings.NewReader(header), server.ImportOptions{}); err == nil {
			t.Errorf("%q is taken", header)
		}
	}
}

func TestRefusedLinesAreReportedExactlyAndTheOthersAreTaken(t *testing.T) {
	file := strings.Join([]string{
		`{"username":"there"}`,
		`{"username":"new","external_id":"x1"}`,
		``,
		`{"username":"NEW"}`,
		`{"username":"other","external_id":"x1"}`,
		`{"email":"no address@"}`,
		`{"username":"plain","password_hash":"plain text"}`,
		`{"username":"roles","roles":["The Boss"]}`,
		`{"username":"times","created_at":"yesterday"}`,
		`{"username":"typo","pasword_hash":"x"}`,
		`not JSON`,
		`{"identifiers":[{"value":"there"},{"value":"alsofree"}]}`,
		`{"username":"factor","totp_secret":"no base32!"}`,
		`{"username":"long","name":"` + strings.Repeat("x", 70<<10) + `"}`,
		`{"username":"last"}`,
	}, "\n")
	want := []server.LineRefusal{
		{Line: 1, Code: "already_there"}, {Line: 4, Code: "duplicate_in_file"}, {Line: 5, Code: "duplicate_in_file"}, {Line: 6, Code: "identifier_malformed"},
		{Line: 7, Code: "hash_malformed"}, {Line: 8, Code: "role_malformed"}, {Line: 9, Code: "created_malformed"}, {Line: 10, Code: "line_malformed"},
		{Line: 11, Code: "line_malformed"}, {Line: 12, Code: "duplicate_in_file"}, {Line: 13, Code: "factor_malformed"}, {Line: 14, Code: "line_malformed"},
	}
	s := newSite(t)
	s.run()
	s.signedUp("there")
	for _, dry := range []bool{true, false} {
		var report bytes.Buffer
		n, refused := s.taken(file, server.ImportOptions{DryRun: dry, Report: &report})
		if n.Made != 2 || n.There != 1 || n.Refused != len(want)-1 {
			t.Errorf("dry %t: %+v", dry, n)
		}
		for i := range refused {
			if refused[i].Detail == "" {
				t.Errorf("dry %t: line %d is refused without a word", dry, refused[i].Line)
			}
			refused[i].Detail = ""
		}
		if !slices.Equal(refused, want) {
			t.Errorf("dry %t: refused are\n%v, want\n%v", dry, refused, want)
		}
		if lines := strings.Count(report.String(), "\n"); lines != len(want) || !strings.HasPrefix(report.String(), `{"line":1,"code":"already_there","detail":"`) {
			t.Errorf("dry %t: the report is\n%s", dry, &report)
		}
		if users := len(s.everybody(false)); dry && users != 1 || !dry && users != 3 {
			t.Errorf("dry %t: there are %d users", dry, users)
		}
	}
}

var errKilled = errors.New("killed")

// A dying reader ends like a process that is killed.
type dying struct {
	io.Reader
	left int
}

func (d *dying) Read(p []byte) (int, error) {
	if d.left <= 0 {
		return 0, errKilled
	}
	n, err := d.Reader.Read(p[:min(len(p), d.left, 1000)])
	d.left -= n
	return n, err
}

func TestAnImportThatIsBrokenOffGoesOnAndNothingComesTwice(t *testing.T) {
	var file strings.Builder
	const users = 3000
	for i := range users {
		fmt.Fprintf(&file, `{"email":"user%d@example.org","name":"%s"}`+"\n", i, strings.Repeat("n", i%100))
		if i%500 == 7 {
			fmt.Fprintf(&file, "line of user %d\n", i)
		}
	}
	text := file.String()
	s := newSite(t)
	s.run()
	run := func(left int) (server.ImportCount, string, error) {
		var report strings.Builder
		n, err := s.operator().ImportUsers(t.Context(), &dying{strings.NewReader(text), left}, server.ImportOptions{Report: &report})
		return n, report.String(), err
	}
	const whole = 1 << 30
	before := 0
	for _, left := range []int{120_000, 230_000} {
		n, _, err := run(left)
		if !errors.Is(err, errKilled) || n.Users <= before || n.Before != before {
			t.Fatalf("after %d bytes: %+v, %v", left, n, err)
		}
		before = n.Users
	}
	n, report, err := run(whole)
	if err != nil || n.Made != users || n.Refused != 6 || n.Before != before || strings.Count(report, "line_malformed") != 6 {
		t.Errorf("at the end: %+v, %v, the report is\n%s", n, err, report)
	}
	if n, _, err := run(whole); err != nil || n.Before != n.Users || n.Made != users {
		t.Errorf("once more: %+v, %v", n, err)
	}
	if all := s.everybody(false); len(all) != users {
		t.Errorf("there are %d users", len(all))
	}
	records, _, err := s.operator().Records(t.Context(), server.RecordFilter{Event: "user_imported", Limit: 2 * users})
	if err != nil || len(records) != users {
		t.Errorf("the audit tells of %d, %v", len(records), err)
	}
	// What has grown goes on; what has changed is another file.
	text += `{"email":"more@example.org"}` + "\n"
	if n, _, err := run(whole); err != nil || n.Made != users+1 {
		t.Errorf("with one more line: %+v, %v", n, err)
	}
	text = text[:100_000] + "x" + text[100_001:]
	if _, _, err := run(whole); !errors.Is(err, server.ErrImportOther) {
		t.Errorf("another file that begins so: %v", err)
	}
}

func TestAnUpdateBringsWhoIsThereToWhatTheFileSays(t *testing.T) {
	s := newSite(t)
	s.run()
	s.taken(`{"external_id":"1","email":"ann@example.org","email_verified":true,"name":"Ann","roles":["editor"]}
{"external_id":"2","email":"bob@example.org","email_verified":true,"name":"Bob","password_hash":"$2y$05$ta1Vr/y3bd0Z6dEGx6FxX.ufL1SZYIVNRSAOXvuZhYtntJ84atBQ6"}
{"external_id":"3","email":"cyd@example.org","email_verified":true,"name":"Cyd"}
{"email":"squatted@example.org"}`, server.ImportOptions{})
	in := s.client()
	in.post("signin", m{"identifier": "bob@example.org", "password": "passwörd and more"}).want(200)
	n, refused := s.taken(`{"external_id":"1","email":"ann@example.net","email_verified":true,"name":"Ann B.","roles":["editor","chief"]}
{"external_id":"2","email":"bob@example.org","disabled":true,"password_hash":"$1$abcd$2BcIHiC/blwotMXFGx53G/"}
{"external_id":"3","email":"cyd@example.org","email_verified":true,"name":"Cyd"}
{"external_id":"3","username":"twice"}
{"external_id":"4","email":"squatted@example.org","email_verified":true,"password_hash":"$2y$05$ta1Vr/y3bd0Z6dEGx6FxX.ufL1SZYIVNRSAOXvuZhYtntJ84atBQ6"}
{"external_id":"1","id":"nobody-has-this","email":"ann@example.org"}`, server.ImportOptions{Update: true})
	if n.Updated != 2 || n.There != 1 || n.Refused != 3 || n.Made != 0 {
		t.Errorf("%+v, refused %v", n, refused)
	}
	all := s.everybody(true)
	if ann := all["ann@example.org"]; ann.Name != "Ann B." || !slices.Equal(ann.Roles, []string{"chief", "editor"}) || len(ann.Identifiers) != 2 || ann.Identifiers[1].Primary {
		t.Errorf("ann is %+v", ann)
	}
	if bob := all["bob@example.org"]; bob.Name != "Bob" || !bob.Disabled || !strings.HasPrefix(bob.PasswordHash, "$argon2id$") || !bob.Identifiers[0].Verified {
		t.Errorf("bob is %+v", bob)
	}
	in.get("session").want(401)
	// Whoever sat on an address that nobody proved does not get the account.
	if bad := all["squatted@example.org"]; bad.Identifiers[0].Verified || bad.PasswordHash != "" || bad.ExternalID != "" {
		t.Errorf("who sat on the address is %+v", bad)
	}
}

// Somebody has signed up elsewhere with the address of another, and proved nothing
// there. Both arrive by an import, the stranger first, or the owner was here before it.
func TestAttackALineOfAnImportBringsAStrangerIntoTheOwnersAccount(t *testing.T) {
	const (
		owner   = "owner@example.org"
		hash    = `"password_hash":"$2y$05$ta1Vr/y3bd0Z6dEGx6FxX.ufL1SZYIVNRSAOXvuZhYtntJ84atBQ6"` // passwörd and more
		unknown = `{"external_id":"7","email":"owner@example.org",` + hash + `}`
		more    = `{"external_id":"7","email":"owner@example.org","username":"stranger",` + hash + `}`
		proved  = `{"external_id":"7","email":"owner@example.org","email_verified":true}`
	)
	arrives := func(s *site) {
		c := s.client()
		flow := c.post("signin/code", m{"identifier": owner}).want(202).at("flow")
		c.post("signin/code/verify", m{"flow": flow, "code": s.letter(owner, "Sign in").Code}).want(200)
	}
	for name, happens := range map[string]func(*site){
		"the owner comes after the import": func(s *site) {
			s.taken(unknown, server.ImportOptions{})
			arrives(s)
			s.taken(unknown, server.ImportOptions{Update: true})
			s.taken(more, server.ImportOptions{Update: true})
		},
		"the owner was here": func(s *site) {
			s.byMail(owner)
			s.taken(unknown, server.ImportOptions{Update: true})
			s.taken(more, server.ImportOptions{Update: true})
		},
		"the owner proves it there": func(s *site) {
			s.taken(more, server.ImportOptions{})
			s.taken(proved, server.ImportOptions{Update: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.run()
			happens(s)
			for _, name := range []string{owner, "stranger"} {
				s.client().post("signin", m{"identifier": name, "password": "passwörd and more"}).want(401, "bad_credentials")
			}
			u := s.everybody(false)[owner]
			if len(u.Identifiers) != 1 || !u.Identifiers[0].Verified || !u.Identifiers[0].Primary {
				t.Errorf("the owner is %+v", u)
			}
		})
	}
}

func TestWhatIsExportedIsImportedAsItWas(t *testing.T) {
	one, other := newSite(t), newSite(t)
	one.run()
	other.run()
	one.taken(`{"external_id":"a|1","email":"ann@example.org","email_verified":true,"name":"Ann","locale":"zh-CN","roles":["editor","admin"],"created_at":"2020-01-02T03:04:05Z","password_hash":"$1$abcd$2BcIHiC/blwotMXFGx53G/","totp_secret":"GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"}
{"username":"bob","phone":"+49301234567","disabled":true,"must_change_password":true,"password_hash":"pbkdf2_sha256$1200$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA="}`, server.ImportOptions{})
	c := one.signedUp("cyd")
	c.post("apikeys", m{"name": "a key", "scopes": []string{"read"}})
	write := func(s *site) string {
		var b strings.Builder
		page, err := s.operator().ExportUsers(t.Context(), "", 100, true, true)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page {
			page[i].APIKeys = nil // there is nothing to make them of
			line, err := json.Marshal(page[i])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\n", line)
		}
		return b.String()
	}
	exported := write(one)
	if !strings.Contains(exported, `"secret":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"`) {
		t.Errorf("the second factor is not exported: %s", exported)
	}
	if n, refused := other.taken(exported, server.ImportOptions{}); n.Made != 3 {
		t.Fatalf("%+v, refused %v", n, refused)
	}
	if got := write(other); got != exported {
		t.Errorf("exported was\n%s\nand then\n%s", exported, got)
	}
	// Who had a second factor there needs it here.
	in := other.client().post("signin", m{"identifier": "ann@example.org", "password": "passwörd and more"}).want(200)
	if in.at("state") != "factor_needed" {
		t.Errorf("with the password alone: %s", in.body)
	}
	if n, refused := one.taken(exported, server.ImportOptions{Update: true}); n.There != 3 || n.Updated != 0 {
		t.Errorf("to who is there it says: %+v, %v", n, refused)
	}
}

func FuzzUsers(f *testing.F) {
	f.Add("email,name\nann@example.org,Ann\n\"bob@example.org\n\",x\n")
	f.Add(`{"email":"ann@example.org","roles":null,"created_at":1600000000}` + "\n{}\n[")
	f.Add("\uFEFF{\"identifiers\":[{}]}")
	f.Add("\"\n\n\",")
	s := newSite(f)
	s.run()
	o := s.operator()
	f.Fuzz(func(t *testing.T, text string) {
		n, err := o.ImportUsers(t.Context(), strings.NewReader(text), server.ImportOptions{DryRun: true, Insecure: "keep"})
		if err == nil && n.Made+n.There+n.Refused != n.Users {
			t.Errorf("%q: %+v", text, n)
		}
	})
}

func TestAFilterOfBreachedPasswordsIsTakenWithAReload(t *testing.T) {
	s := newSite(t)
	cfg := server.Config{Data: s.data, Database: s.shared, Dev: true, BreachedFile: filepath.Join(t.TempDir(), "shared.filter")}
	list := fmt.Sprintf("%X:7\n", sha1.Sum([]byte(goodPassword)))
	if _, err := cfg.ImportBreached(t.Context(), strings.NewReader(list), server.BreachedOptions{}); err != nil {
		t.Fatal(err)
	}
	s.signedUp("ann") // nobody has told the server of it
	if _, err := s.server.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	s.client().post("signup", m{"identifier": "bob", "password": goodPassword}).want(400, "invalid_fields", "password_breached")
	s.client().post("signup", m{"identifier": "bob", "password": otherPassword}).want(201)
}

// BenchmarkImportUsers makes users of CSV with bcrypt hashes, external ids and
// names, in no order: ADMIT_TEST_USERS of them, else 20,000.
func BenchmarkImportUsers(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("ADMIT_TEST_USERS"))
	if err != nil {
		n = 20_000
	}
	s := newSite(b)
	s.run()
	o := s.operator()
	run := 0
	for b.Loop() {
		run++
		in, out := io.Pipe()
		go func() {
			w := bufio.NewWriter(out)
			r := rand.New(rand.NewPCG(7, uint64(run)))
			fmt.Fprintln(w, "external_id,email,email_verified,name,roles,created_at,password_hash")
			for i := range n {
				fmt.Fprintf(w, "auth0|%016x%08x,%x.%d.%d@example%d.org,true,Person %d,member,2024-01-02T10:00:00Z,$2b$10$%053d\n",
					r.Uint64(), i, r.Uint32(), i, run, i%50, i, r.Uint64())
			}
			out.CloseWithError(w.Flush())
		}()
		count, err := o.ImportUsers(b.Context(), in, server.ImportOptions{})
		if err != nil || count.Made != n {
			b.Fatal(count, err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "users/s")
}
