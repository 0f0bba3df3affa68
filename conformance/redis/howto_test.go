package redis

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The page is read, not repeated: what it tells people to type is what runs.
func TestALiveSessionIsReadWithRedisCliAsTheHowToSays(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	if _, err := exec.LookPath("redis-cli"); err != nil {
		const how = "redis-cli is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	page, err := os.ReadFile("../../docs/how-to/keep-sessions-in-redis.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^redis-cli (.*)$`).FindAllStringSubmatch(string(page), -1)
	if len(commands) != 2 {
		t.Fatalf("the page has the commands %q: this test runs two", commands)
	}

	m := manager(t, open(t, clients[0].dial(s), nil))
	r, sid := signIn(t, m, "alice")
	var expires time.Time
	for range 2 {
		v, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		expires = v.IdleExpiresAt
	}
	run := func(i int) []string {
		t.Helper()
		line := strings.NewReplacer("SID", sid, "SUBJECT", "alice").Replace(commands[i][1])
		out, err := exec.Command("sh", "-c", "redis-cli -s "+s.addr+" "+line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return strings.SplitN(strings.TrimSuffix(string(out), "\n"), " ", 5)
	}

	// version, expiry in ms, the server's run, length of the subject, subject, record
	fields := run(0)
	if len(fields) != 5 {
		t.Fatalf("the record is %q", fields)
	}
	if ms, err := strconv.ParseInt(fields[1], 10, 64); err != nil || ms != expires.UnixMilli() {
		t.Errorf("it expires at %s (%v), want %d", fields[1], err, expires.UnixMilli())
	}
	n, err := strconv.Atoi(fields[3])
	if err != nil || !strings.HasPrefix(fields[4], "alice") || n != len("alice") {
		t.Errorf("the subject is %q", fields[3:])
	}
	data := fields[4][max(0, strings.LastIndex(fields[4], "{")):]
	var v visit
	if err := json.Unmarshal([]byte(data), &v); err != nil || v.Count != 2 {
		t.Errorf("the data is %q (%v), want a count of 2", data, err)
	}
	if epoch := run(1); len(epoch) != 5 || epoch[3] != "001" || epoch[4][0] != '*' {
		t.Errorf("the epoch is %q", epoch)
	}

	if err := m.End(httptest.NewRecorder(), r, "sign_out"); err != nil {
		t.Fatal(err)
	}
	if gone := strings.Join(run(0), " "); strings.Contains(gone, "Count") {
		t.Errorf("after the sign-out it is %q", gone)
	}
}
