//go:build unix

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// A cluster is several servers of the real program over one PostgreSQL database,
// with data folders that are empty and differ.
type cluster struct {
	t        testing.TB
	url      string // of the database
	replicas []*process
	late     time.Duration // see regular
}

// replicate starts n of them at once, with more flags for each, and waits until all
// are ready. They believe what a proxy on this machine says of its clients.
func replicate(t testing.TB, url string, n int, more ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, url: url}
	for range n {
		c.replicas = append(c.replicas, c.launch(freePort(t), t.TempDir(), more...))
	}
	for _, p := range c.replicas {
		p.ready()
	}
	return c
}

func (c *cluster) launch(port int, data string, more ...string) *process {
	c.t.Helper()
	file, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	args := append([]string{file, "serve", "--database", c.url, "--data", data, "--listen", fmt.Sprintf("127.0.0.1:%d", port),
		"--public-url", publicURL, "--trusted-proxy", "127.0.0.1"}, more...)
	p := start(c.t, port, args...)
	p.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	p.client = &http.Client{Transport: behindProxy{}, Timeout: 30 * time.Second}
	return p
}

const publicURL = "https://id.example.org"

// behindProxy asks as a proxy does that speaks HTTPS for the public URL.
type behindProxy struct{}

func (behindProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = strings.TrimPrefix(publicURL, "https://")
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.Header.Set("X-Forwarded-Proto", "https")
	return http.DefaultTransport.RoundTrip(r)
}

// command runs the program over the database, beside the servers, and returns what
// it writes.
func (c *cluster) command(args ...string) string {
	c.t.Helper()
	out, code := c.tries(args...)
	if code != 0 {
		c.t.Fatalf("admit %s: %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (c *cluster) tries(args ...string) (string, int) {
	c.t.Helper()
	file, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(file, append(args, "--database", c.url)...)
	cmd.Dir = c.t.TempDir() // no folder is made, and none is looked for
	cmd.Stdin = strings.NewReader(goodPassword + "\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Run()
	if made, _ := filepath.Glob(filepath.Join(cmd.Dir, "*")); len(made) > 0 {
		c.t.Errorf("admit %s made %v", strings.Join(args, " "), made)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// soon asks a replica until the answer has the status, and returns how long that
// took.
func (c *cluster) soon(p *process, want int, method, path, token string) time.Duration {
	c.t.Helper()
	begun := time.Now()
	for {
		a := p.ask(method, path, token, nil)
		took := time.Since(begun)
		if a.status == want {
			return took
		}
		if took > 10*time.Second {
			c.t.Fatalf("%s %s: %d after %v, want %d: %s", method, path, a.status, took, want, a.Body)
		}
	}
}

func TestThreeReplicasAreOneServer(t *testing.T) {
	c := replicate(t, postgrestest.Shared(t).Database(t), 3)
	one, two, three := c.replicas[0], c.replicas[1], c.replicas[2]
	c.command("user", "add", "--identifier", "ann", "--password-file", "-")
	in := m{"identifier": "ann", "password": goodPassword, "as": "token"}
	first := one.ask("POST", "/api/v1/signin", "", in)
	if first.status != 200 {
		t.Fatalf("sign in: %s", first.Body)
	}
	for i, p := range c.replicas {
		if a := p.ask("GET", "/api/v1/session", first.Token, nil); a.status != 200 || a.Session.SID != first.Session.SID {
			t.Errorf("replica %d: %d %s", i, a.status, a.Body)
		}
	}

	// What is acknowledged at one replica holds at the next request to another.
	if a := two.ask("POST", "/api/v1/signout", first.Token, nil); a.status != 204 {
		t.Fatalf("sign out: %s", a.Body)
	}
	for i, p := range c.replicas {
		if a := p.ask("GET", "/api/v1/session", first.Token, nil); a.status != 401 || a.Code != "session_ended" {
			t.Errorf("replica %d after the sign-out: %d %s", i, a.status, a.Body)
		}
	}

	// What is remembered of users is forgotten when another changes it.
	admin := three.ask("POST", "/api/v1/signin", "", in).Token
	if a := two.ask("GET", "/api/v1/admin/users", admin, nil); a.status != 403 {
		t.Errorf("without the role: %d %s", a.status, a.Body)
	}
	c.command("user", "grant", "ann", "admin")
	for i, p := range c.replicas {
		t.Logf("replica %d has the role after %v", i, c.soon(p, 200, "GET", "/api/v1/admin/users", admin))
	}
	key := c.command("token", "issue", "--kind", "api-key", "--user", "ann", "--name", "x", "--scope", "profile", "--json")
	var made struct {
		Token  string
		APIKey struct{ ID string } `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(key), &made); err != nil {
		t.Fatalf("%v: %s", err, key)
	}
	for i, p := range c.replicas {
		if a := p.ask("GET", "/api/v1/user", made.Token, nil); a.status != 200 {
			t.Errorf("replica %d and the key: %d %s", i, a.status, a.Body)
		}
	}
	if a := two.ask("DELETE", "/api/v1/api-keys/"+made.APIKey.ID, admin, nil); a.status != 204 {
		t.Errorf("end the key: %s", a.Body)
	}
	for i, p := range c.replicas {
		t.Logf("replica %d refuses the key after %v", i, c.soon(p, 401, "GET", "/api/v1/user", made.Token))
	}

	// A JWT of one counts at all, and the key that signs next is published by all.
	jwt := m{"identifier": "ann", "password": goodPassword, "as": "jwt"}
	var tokens struct {
		Access string `json:"access_token"`
	}
	for i, p := range c.replicas {
		if err := json.Unmarshal([]byte(p.ask("POST", "/api/v1/signin", "", jwt).Body), &tokens); err != nil {
			t.Fatal(err)
		}
		for j, q := range c.replicas {
			if a := q.ask("GET", "/api/v1/session", tokens.Access, nil); a.status != 200 {
				t.Errorf("a JWT of replica %d at replica %d: %d %s", i, j, a.status, a.Body)
			}
		}
	}
	before := one.ask("GET", "/oauth/jwks", "", nil).Body
	c.command("key", "rotate", "--purpose", "signing")
	for deadline := time.Now().Add(10 * time.Second); ; {
		a, b, d := one.ask("GET", "/oauth/jwks", "", nil).Body, two.ask("GET", "/oauth/jwks", "", nil).Body, three.ask("GET", "/oauth/jwks", "", nil).Body
		if a != before && a == b && b == d {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("key sets\n%s\n%s\n%s", a, b, d)
		}
	}

	// One is killed, and comes back: nobody notices.
	two.kill()
	if a := three.ask("GET", "/api/v1/session", admin, nil); a.status != 200 {
		t.Errorf("beside a replica that was killed: %s", a.Body)
	}
	c.command("session", "end-all", "--user", "ann")
	back := c.launch(freePort(t), t.TempDir())
	back.ready()
	for i, p := range []*process{one, three, back} {
		if a := p.ask("GET", "/api/v1/session", admin, nil); a.status != 401 {
			t.Errorf("replica %d after the end of all: %d %s", i, a.status, a.Body)
		}
	}
}

func TestAPostgreSQLThatIsAwayIs503AndNeverASignOut(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it waits for time-outs")
	}
	database := postgrestest.Start(t)
	c := replicate(t, database.Database(t), 2)
	c.command("user", "add", "--identifier", "ann", "--password-file", "-")
	in := m{"identifier": "ann", "password": goodPassword, "as": "token"}
	token := c.replicas[0].ask("POST", "/api/v1/signin", "", in).Token
	// ask makes some calls at once at each replica.
	ask := func(what string, within time.Duration, want int) {
		t.Helper()
		var asking sync.WaitGroup
		for _, p := range c.replicas {
			for _, call := range []struct{ method, path, token string }{
				{"GET", "/api/v1/session", token}, {"GET", "/api/v1/session", token}, {"GET", "/api/v1/sessions", token}, {"POST", "/api/v1/guest", ""}, {"GET", "/readyz", ""},
			} {
				asking.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					req, err := http.NewRequestWithContext(ctx, call.method, p.url+call.path, nil)
					if err != nil {
						t.Error(err)
						return
					}
					if call.token != "" {
						req.Header.Set("Authorization", "Bearer "+call.token)
					}
					begun := time.Now()
					res, err := p.client.Do(req)
					took := time.Since(begun)
					if err != nil {
						t.Errorf("%s, %s %s: %v after %v", what, call.method, call.path, err, took)
						return
					}
					res.Body.Close()
					if res.StatusCode/100 != want/100 || took > within || want == 503 && call.path != "/readyz" && res.Header.Get("Retry-After") == "" {
						t.Errorf("%s, %s %s: %d after %v, Retry-After %q", what, call.method, call.path, res.StatusCode, took, res.Header.Get("Retry-After"))
					}
					if len(res.Cookies()) > 0 && want == 503 {
						t.Errorf("%s, %s %s: cookies %v", what, call.method, call.path, res.Cookies())
					}
				})
			}
		}
		asking.Wait()
	}
	const slack = 5 * time.Second
	ask("at work", slack, 200)
	database.Pause()
	ask("paused", 10*time.Second+slack, 503)
	for _, p := range c.replicas {
		if res, err := p.client.Get(p.url + "/healthz"); err != nil || res.StatusCode != 200 {
			t.Errorf("healthz while the database is paused: %v", err)
		}
	}
	if out, code := c.tries("user", "list"); code != 1 || !strings.Contains(out, "database") {
		t.Errorf("a command while it is paused: %d %s", code, out)
	}
	database.Resume()
	ask("resumed", 10*time.Second+slack, 200)
	database.Kill()
	// Until a replica hears of that, and for two seconds at most, it goes by its copies.
	for begun := time.Now(); slices.ContainsFunc(c.replicas, func(p *process) bool {
		return p.ask("GET", "/api/v1/session", token, nil).status == 200
	}); {
		if time.Since(begun) > 2*time.Second+slack {
			t.Fatal("a session is good for long after the database was killed")
		}
	}
	ask("killed", slack, 503)
	database.Restart(t)
	ask("started again", 10*time.Second+slack, 200)
}

// What the command line says of backups, and how a database that was put back by
// other tools becomes one that is safe to serve.
func TestADatabaseThatWasPutBackIsRenewed(t *testing.T) {
	database := postgrestest.Shared(t).Database(t)
	c := replicate(t, database, 1)
	for _, args := range [][]string{{"backup", "--to", "x.tar"}, {"restore", "-"}} {
		out, code := c.tries(args...)
		if code != 1 || !strings.Contains(out, "PostgreSQL") || !strings.Contains(out, "pg_dump --format=custom") || !strings.Contains(out, "restore.md") {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	c.command("user", "add", "--identifier", "ann", "--password-file", "-")
	p := c.replicas[0]
	token := p.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
	for _, check := range []string{"database", "keys"} {
		if out, _ := c.tries("doctor"); !strings.Contains(out, check) || strings.Contains(out, "no data folder") {
			t.Errorf("doctor says\n%s", out)
		}
	}
	// The dump is of now; then the session ends, and the dump is put back.
	tool := func(program string, args ...string) {
		t.Helper()
		out, err := exec.Command(program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	secret := regexp.MustCompile(`adm_c_\w+`).FindString(c.command("client", "add", "--id", "job", "--name", "The job", "--grant", "client_credentials"))
	own := p.form("/oauth/token", "job", secret, url.Values{"grant_type": {"client_credentials"}})["access_token"]
	counts := func(p *process) any {
		return p.form("/oauth/introspect", "job", secret, url.Values{"token": {fmt.Sprint(own)}})["active"]
	}
	dump := filepath.Join(t.TempDir(), "admit.dump")
	tool("pg_dump", "--format=custom", "--file="+dump, database)
	if a := p.ask("POST", "/api/v1/signout", token, nil); a.status != 204 {
		t.Fatal(a.Body)
	}
	if counts(p) != true {
		t.Errorf("the token of a client's own does not count: %v", own)
	}
	if code := p.stop(); code != 0 {
		t.Fatalf("the server ended with %d\n%s", code, p.out)
	}
	tool("pg_restore", "--clean", "--if-exists", "--dbname="+database, dump)
	out := c.command("restore", "--renew")
	if !strings.Contains(out, "1 session has ended") {
		t.Errorf("restore --renew says %s", out)
	}
	again := c.launch(freePort(t), t.TempDir())
	again.ready()
	if a := again.ask("GET", "/api/v1/session", token, nil); a.status != 401 {
		t.Errorf("the session that had ended: %d %s", a.status, a.Body)
	}
	if counts(again) != false {
		t.Error("a token of a client's own, of before the database was put back, counts")
	}
	if a := again.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": goodPassword}); a.status != 200 {
		t.Errorf("sign in afterwards: %s", a.Body)
	}
}
