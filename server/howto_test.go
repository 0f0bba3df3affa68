//go:build linux

package server_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// indented are the commands of a page that stand in a block by themselves.
var indented = regexp.MustCompile(`(?m)^    ((?:redis-cli|admit session) .*)$`)

// The page is read, not repeated: what it tells people to type is what runs.
func TestALiveSessionIsReadWithRedisCliAndWithSessionShowAsTheHowToSays(t *testing.T) {
	if _, err := exec.LookPath("redis-cli"); err != nil {
		const how = "redis-cli is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	page, err := os.ReadFile("../docs/how-to/put-redis-in-front.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, m := range indented.FindAllStringSubmatch(string(page), -1) {
		commands = append(commands, m[1])
	}
	if len(commands) != 4 {
		t.Fatalf("the page has the commands %q: this test runs four", commands)
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		redis := startCache(t)
		ops := opsPort(freePort(t))
		c := replicate(t, postgrestest.Shared(t).Database(t), 1, "--redis", redis.url())
		other := c.launch(freePort(t), t.TempDir(), "--redis", redis.url(), "--ops-listen", fmt.Sprint("localhost:", int(ops)))
		other.ready()
		ops.becomes(t, "admit_redis_up", 1)
		c.command("user", "add", "--identifier", "ann", "--password-file", "-")
		looksInside(t, other, signIns(c.replicas[0]), redis, commands, "--database", c.url)
	})
	t.Run("SQLite", func(t *testing.T) {
		redis := startCache(t)
		data := t.TempDir()
		port, ops := freePort(t), opsPort(freePort(t))
		begin := func() *process {
			return serve(t, data, port, "--redis", redis.url(), "--ops-listen", fmt.Sprint("localhost:", int(ops)))
		}
		p := begin()
		p.signUp("ann")
		tokens := signIns(p)
		p.stop()
		p = begin()
		ops.becomes(t, "admit_redis_up", 1)
		looksInside(t, p, tokens, redis, commands, "--data", data)
	})
}

// signIns are of ann, one for each chance that a look-up leaves a copy.
func signIns(p *process) (tokens []string) {
	for range 5 {
		tokens = append(tokens, p.signedIn("ann"))
	}
	return tokens
}

// looksInside runs the commands beside a server on which ann signs out. She signed in
// elsewhere: what a server wrote itself is in its memory, and it looks nowhere else.
func looksInside(t *testing.T, p *process, tokens []string, redis *cache, commands []string, where ...string) {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	token, sid, found := "", "", false
	for i := 0; i < len(tokens) && !found; i++ {
		if i > 0 {
			time.Sleep(time.Second) // Redis was late, and the database answered
		}
		token = tokens[i]
		sid = p.ask("GET", "/api/v1/session", token, nil).Session.SID
		found = len(redis.ask("STRLEN admit:c:"+sid)) == len(":123")
	}
	if !found {
		t.Fatalf("no look-up leaves a copy of %q in Redis", sid)
	}
	run := func(command string) (string, error) {
		t.Helper()
		program, args, _ := strings.Cut(command, " ")
		switch program {
		case "redis-cli":
			args = fmt.Sprintf("-p %d %s", redis.port, args)
		case "admit":
			program, args = file, args+" "+strings.Join(where, " ")
		}
		cmd := exec.Command("sh", "-c", program+" "+strings.ReplaceAll(args, "SID", sid))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	told := make([]string, len(commands))
	for i, command := range commands {
		if told[i], err = run(command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, told[i])
		}
	}
	scan, list, get, show := told[0], told[1], told[2], told[3]
	if !strings.Contains(scan, "admit:c:"+sid+"\n") {
		t.Errorf("%s does not tell of the session %s:\n%s", commands[0], sid, scan)
	}
	if !strings.Contains(list, sid) || !strings.Contains(list, "ann") {
		t.Errorf("%s does not tell of the session %s:\n%s", commands[1], sid, list)
	}

	// key-id MAC generation/past made-at version expires length-of-subject subject record
	of := regexp.MustCompile(`(?m)^user id +(\S+)$`).FindStringSubmatch(show)
	ends := regexp.MustCompile(`(?m)^ends if idle +(.+)$`).FindStringSubmatch(show)
	if of == nil || ends == nil || !strings.Contains(show, sid) || !regexp.MustCompile(`(?m)^user +ann$`).MatchString(show) {
		t.Fatalf("%s shows:\n%s", commands[3], show)
	}
	fields := strings.SplitN(get, " ", 8)
	if len(fields) != 8 {
		t.Fatalf("%s shows %q", commands[2], get)
	}
	if n, err := strconv.Atoi(fields[6]); err != nil || len(fields[7]) < n || fields[7][:n] != of[1] {
		t.Errorf("the subject in Redis: %q, want %s", fields[6:], of[1])
	}
	ms, err := strconv.ParseInt(fields[5], 10, 64)
	if at := time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 MST"); err != nil || at != ends[1] {
		t.Errorf("it expires at %s (%v) in Redis, at %s in the database", at, err, ends[1])
	}

	if out := p.ask("POST", "/api/v1/signout", token, nil); out.status != 204 {
		t.Fatalf("sign-out: %d %s", out.status, out.Body)
	}
	if show, err := run(commands[3]); err == nil || !strings.Contains(show, "unknown_session") {
		t.Errorf("after the sign-out: %v\n%s", err, show)
	}
	if get, err := run(commands[2]); err != nil || strings.Contains(get, of[1]) {
		t.Errorf("after the sign-out Redis has %q (%v)", get, err)
	}
}
