package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server"
)

func TestThePublishedKeysAreForEverybodyAndPublic(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.CORSOrigins = []string{"https://app.example.org"} })
	s.run()
	foreign := func(r *http.Request) {
		r.Header.Set("Origin", "https://app.example.net")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	r := s.client().do("GET", "/oauth/jwks", nil, foreign).want(200)
	for name, want := range map[string]string{
		"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=60",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "",
		"Cross-Origin-Resource-Policy": "", "Vary": "", "Set-Cookie": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	set, ignored, err := jose.ParseKeySet(r.body)
	if err != nil || ignored != nil || len(set.Keys()) != 6 { // an active and a next one of each algorithm
		t.Fatalf("%s: %v, %v", r.body, ignored, err)
	}
	// Allowed are these members alone; d, p, q, dp, dq, qi, oth and k are secret.
	var doc struct{ Keys []map[string]any }
	if err := json.Unmarshal(r.body, &doc); err != nil {
		t.Fatal(err)
	}
	for i, k := range doc.Keys {
		for name := range k {
			if !slices.Contains([]string{"kty", "crv", "x", "y", "n", "e", "alg", "kid", "use"}, name) {
				t.Errorf("a key has %q", name)
			}
		}
		if k["use"] != "sig" || set.Keys()[i].IsPrivate() {
			t.Errorf("a key is %v", k)
		}
	}
	// The command prints the same.
	o := s.operator()
	if text, err := o.KeySet(t.Context()); err != nil || string(text) != string(r.body) {
		t.Errorf("the command says %s, %v", text, err)
	}
	tag := r.header.Get("Etag")
	for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		again := s.client().do("GET", "/oauth/jwks", nil, func(r *http.Request) { r.Header.Set("If-None-Match", known) }).want(304)
		if len(again.body) != 0 || again.header.Get("Etag") != tag || again.header.Get("Cache-Control") == "no-store" {
			t.Errorf("to who has %s: %q, %v", known, again.body, again.header)
		}
	}
	if head := s.client().do("HEAD", "/oauth/jwks", nil).want(200); head.header.Get("Etag") != tag || head.header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %v", head.header)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		if got := s.client().do(method, "/oauth/jwks", nil).want(405, "method_not_allowed").header.Get("Allow"); got != "GET, HEAD" {
			t.Errorf("%s: allowed is %q", method, got)
		}
	}
	s.client().do("POST", "/oauth/jwks", nil, foreign).want(403, "cross_site")

	// A rotation is seen at once, and what was known is not taken for it.
	k, err := o.RotateKey(t.Context(), "signing")
	if err != nil || k.ID != set.Keys()[3].ID() || k.State != "active" {
		t.Fatalf("%+v, %v", k, err)
	}
	r = s.client().do("GET", "/oauth/jwks", nil, func(r *http.Request) { r.Header.Set("If-None-Match", tag) }).want(200)
	if set, _, err = jose.ParseKeySet(r.body); err != nil || len(set.Keys()) != 7 || set.Keys()[0].ID() != k.ID {
		t.Errorf("then it says %s, %v", r.body, err)
	}
}

func TestTheKeysAreReadOnlyByTheOwnHost(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev, c.PublicURL = false, "https://id.example.org" })
	s.client().do("GET", "/oauth/jwks", nil, func(r *http.Request) { r.Host = "evil.example" }).want(421, "unknown_host")
	s.client().do("GET", "/oauth/jwks", nil, func(r *http.Request) { r.Host = "id.example.org" }).want(200)
}

func TestARestoredBackupSignsWithNewKeys(t *testing.T) {
	s := newSite(t)
	s.server.Close()
	o := s.operator()
	before := keysFor(t, o, "signing")
	sealing, names := keysFor(t, o, "cookies"), keysFor(t, o, "names")
	o.Close() // a copy takes a file's locks away from its own process
	var backup bytes.Buffer
	if _, err := server.Backup(t.Context(), server.Config{Data: s.data}, server.BackupOptions{Out: &backup}); err != nil {
		t.Fatal(err)
	}
	// What is taken back after the backup must not live again.
	o = s.operator()
	if _, err := o.RetireKey(t.Context(), before[0].ID, true); err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{Data: filepath.Join(t.TempDir(), "restored")}
	if _, err := server.Restore(t.Context(), cfg, &backup, server.RestoreOptions{KeepSessions: true}); err != nil {
		t.Fatal(err)
	}
	to, err := server.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, k := range keysFor(t, to, "signing") {
		if (k.State != "retired") == slices.ContainsFunc(before, func(b server.Key) bool { return b.ID == k.ID }) {
			t.Errorf("after the restore there is %+v", k)
		}
	}
	if got := keysFor(t, to, "cookies"); len(got) != len(sealing) || got[0].ID != sealing[0].ID {
		t.Errorf("the keys that seal are %v, and were %v", got, sealing)
	}
	if got := keysFor(t, to, "names"); len(got) != 1 || got[0].ID != names[0].ID {
		t.Errorf("people have names of %v, and had of %v", got, names)
	}
}

// Services wait for the set for some seconds at most, and an RSA key may take longer.
func TestWhereServicesWillAskTheKeysAreMadeBeforeTheyDo(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Audiences = []string{"https://api.example.org"} })
	s.run()
	o := s.operator()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		keys, err := o.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keys = slices.DeleteFunc(keys, func(k server.Key) bool { return !strings.HasPrefix(k.Purpose, "signing") })
		if len(keys) == 6 { // an active and a next one of each algorithm
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody has asked yet, and there are %v", keys)
		}
	}
}
