package server_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/server"
)

// keysFor returns the keys for one purpose.
func keysFor(t testing.TB, o *server.Operator, purpose string) []server.Key {
	t.Helper()
	all, err := o.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(k server.Key) bool { return k.Purpose != purpose })
}

func TestNobodyIsSignedOutByThreeRotationsUnderLoad(t *testing.T) {
	s := newSite(t)
	s.run()
	o := s.operator()
	ann := s.signedUp("ann")
	var checks atomic.Int64
	var work sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		c := s.client()
		c.address = fmt.Sprintf("127.0.1.%d:4711", i)
		c.post("signup", m{"identifier": fmt.Sprintf("load-%d", i), "password": goodPassword}).want(201)
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r := c.get("session"); r.status != 200 {
					t.Errorf("a session in use: %d %s", r.status, r.body)
					return
				}
				checks.Add(1)
			}
		})
	}
	// Each flow is begun under one key and ended under a later one.
	type flow struct {
		c       *client
		address string
	}
	var begun []flow
	for i := range 4 {
		f := flow{s.client(), fmt.Sprintf("flow-%d@example.org", i)}
		f.c.page("POST", "/signup", url.Values{"identifier": {f.address}, "password": {goodPassword}}).leads("/signup/verify")
		begun = append(begun, f)
		if i == 3 {
			break
		}
		if _, err := o.RotateKey(t.Context(), "cookies"); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range begun {
		code, link, _ := s.mailTo(f.address)
		if i%2 == 0 {
			f.c.page("POST", "/signup/verify", url.Values{"code": {code}}).leads("/account")
			continue
		}
		f.c.page("GET", strings.TrimPrefix(link, "http://localhost"), nil).leads("/link")
		f.c.page("POST", "/link", url.Values{}).leads("/account")
	}
	close(stop)
	work.Wait()
	if checks.Load() < 100 {
		t.Errorf("only %d checks: that was no load", checks.Load())
	}
	// A known browser is still one: guesses of strangers do not slow it.
	for i := 0; ; i++ {
		c := s.client()
		c.address = fmt.Sprintf("127.0.2.%d:4711", i)
		if r := c.post("signin", m{"identifier": "ann", "password": otherPassword}); r.status == 429 {
			break
		} else if i > 40 {
			t.Fatalf("strangers guess without end: %d %s", r.status, r.body)
		}
	}
	ann.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	if all := keysFor(t, o, "cookies"); len(all) != 4 {
		t.Fatalf("keys are %v", all)
	}
	all, err := o.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Even when they all leak and are erased, sessions go on.
	for _, k := range all {
		if k.Purpose == "names" { // it stays
			continue
		}
		if _, err := o.RetireKey(t.Context(), k.ID, true); err != nil {
			t.Error(err)
		}
	}
	ann.get("session").want(200)
	begun[0].c.get("session").want(200)
}

func TestARefusalToRetireSaysWhatWouldBeLost(t *testing.T) {
	s := newSite(t)
	s.client().post("signup", m{"identifier": "ann@example.org", "password": goodPassword}).want(202)
	s.server.Close() // and nothing delivers the mail
	o := s.operator()
	if _, err := o.RotateKey(t.Context(), "cookies"); err != nil {
		t.Fatal(err)
	}
	_, err := o.RetireKey(t.Context(), keysFor(t, o, "cookies")[1].ID, false)
	e, ok := errors.AsType[*admit.Error](err)
	if !ok || e.Code() != "key_needed" {
		t.Fatalf("it says %v", err)
	}
	for _, part := range []string{"browsers", "1 message that waits", "1 sign-up under way"} {
		if !strings.Contains(e.Hint(), part) {
			t.Errorf("the hint is %q, without %q", e.Hint(), part)
		}
	}
}

func TestNoFileHoldsAKeyThatAMasterKeySeals(t *testing.T) {
	s := &site{t: t, data: t.TempDir()}
	// Two keys of an older version, so that we know what to look for.
	newer, older := cookie.GenerateKey(), cookie.GenerateKey()
	if err := os.WriteFile(filepath.Join(s.data, "keys"), []byte(newer+"\n"+older+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.open()
	t.Cleanup(func() { s.server.Close() })
	s.run()
	// And what signs, as it stands there now.
	pool, err := sql.Open("sqlite", filepath.Join(s.data, "admit.db"))
	if err != nil {
		t.Fatal(err)
	}
	var signs []string
	rows, err := pool.Query("SELECT sealed FROM keys WHERE purpose = 'signing'")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var sealed string
		if err := rows.Scan(&sealed); err != nil {
			t.Fatal(err)
		}
		text, _ := strings.CutPrefix(sealed, "plain.")
		jwk, _ := base64.RawURLEncoding.DecodeString(text)
		_, d, _ := strings.Cut(string(jwk), `"d":"`)
		if len(d) < 43 {
			t.Fatalf("no private key in %q", jwk)
		}
		signs = append(signs, text, d[:43])
	}
	if err := errors.Join(rows.Err(), rows.Close(), pool.Close()); err != nil || len(signs) != 4 {
		t.Fatal(signs, err)
	}
	holds := func() (files []string) {
		t.Helper()
		seen := 0
		err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			seen++
			for _, form := range signs {
				if bytes.Contains(text, []byte(form)) {
					files = append(files, filepath.Base(path)+" (it signs)")
				}
			}
			for _, line := range []string{newer, older} {
				raw, _ := base64.StdEncoding.DecodeString(line)
				for _, form := range []string{string(raw), strings.TrimRight(line, "="), base64.RawURLEncoding.EncodeToString(raw), fmt.Sprintf("%x", raw)} {
					if bytes.Contains(text, []byte(form)) {
						files = append(files, filepath.Base(path))
					}
				}
			}
			return err
		})
		if err != nil || seen < 3 {
			t.Fatalf("%d files, %v", seen, err)
		}
		return files
	}
	if got := strings.Join(holds(), " "); !strings.Contains(got, "admit.db") || !strings.Contains(got, "(it signs)") || strings.Contains(got, "keys") {
		t.Fatalf("unsealed keys stand in %q: the test looks for the wrong thing", got)
	}
	c := s.signedUp("ann")
	o := s.operator()
	if _, err := o.ResealKeys(t.Context(), server.Reseal{Masters: admit.NewSecret(cookie.GenerateKey())}); err != nil {
		t.Fatal(err)
	}
	if got := holds(); got != nil {
		t.Errorf("sealed keys can be read in %q", got)
	}
	c.get("session").want(200)
	// Nor one that was erased while it stood unsealed.
	if _, err := o.ResealKeys(t.Context(), server.Reseal{Unsealed: true}); err != nil {
		t.Fatal(err)
	}
	all, err := o.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if k.Purpose == "names" { // it stays
			continue
		}
		if _, err := o.RetireKey(t.Context(), k.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := holds(); got != nil {
		t.Errorf("retired keys can be read in %q", got)
	}
	if log := s.log.String(); strings.Contains(log, newer) || strings.Contains(log, older) {
		t.Error("the log has a key")
	}
}

func TestAMasterKeyThatCannotBeHadStopsTheStartAndChangesNothing(t *testing.T) {
	s := newSite(t)
	s.server.Close()
	folder := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	key := cookie.GenerateKey()
	for _, tt := range []struct {
		name, code string
		cfg        server.Config
	}{
		{"no file", "master_key_unreadable", server.Config{MasterKeyFile: filepath.Join(folder, "none")}},
		{"a folder", "", server.Config{MasterKeyFile: folder}},
		{"an empty file", "master_key_malformed", server.Config{MasterKeyFile: file("empty", "", 0o600)}},
		{"a short key", "master_key_malformed", server.Config{MasterKeyFile: file("short", key[:24], 0o600)}},
		{"a file for everybody", "master_key_exposed", server.Config{MasterKeyFile: file("open", key, 0o644)}},
		{"a file that a group may write", "master_key_exposed", server.Config{MasterKeyFile: file("group", key, 0o660)}},
		{"a short key in the environment", "master_key_malformed", server.Config{MasterKey: admit.NewSecret(key[:24])}},
		{"no such command", "master_key_command_failed", server.Config{MasterKeyCommand: filepath.Join(folder, "none")}},
		{"two places", "master_key_twice", server.Config{MasterKeyFile: file("good", key, 0o600), MasterKey: admit.NewSecret(key)}},
	} {
		tt.cfg.Data = s.data
		_, err := server.New(t.Context(), tt.cfg)
		e, ok := errors.AsType[*admit.Error](err)
		if !ok || tt.code != "" && e.Code() != tt.code {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if e.Hint() == "" {
			t.Errorf("%s: no hint", tt.name)
		}
		if strings.Contains(err.Error(), key[:24]) {
			t.Errorf("%s: the error has the key: %v", tt.name, err)
		}
	}
	s.open() // without a master key, as before
	// And one that a group may read is taken, as containers give it.
	s.server.Close()
	s.open(func(c *server.Config) { c.MasterKeyFile = file("shared", key, 0o440) })
}
