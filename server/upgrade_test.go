//go:build unix

package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// nextBinary is the program as it could be one version later: with one more
// migration, which says that this version works on it.
var nextBinary = sync.OnceValues(func() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	migration, overlay, file := filepath.Join(scratch, "9000_next.sql"), filepath.Join(scratch, "overlay.json"), filepath.Join(scratch, "admit-next")
	text := fmt.Sprintf("-- oldest: %04d\nALTER TABLE users ADD COLUMN nickname TEXT NOT NULL DEFAULT '';\nCREATE INDEX audit_at ON audit (at);\n", 5)
	replace, err := json.Marshal(m{"Replace": m{filepath.Join(here, "internal/db/migrations/9000_next.sql"): migration}})
	if err != nil {
		return "", err
	}
	for name, b := range map[string][]byte{migration: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			return "", err
		}
	}
	out, err := exec.Command("go", "build", "-overlay", overlay, "-o", file, "./cmd/admit").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// Clients ask again when a connection is refused or cut, as a proxy in front or a
// browser does; a request's time is from the first try to its answer.
func TestUpgradeDowngradeAndUpgradeAgainUnderLoadLoseNoSessionAndNoSecond(t *testing.T) {
	this, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	next, err := nextBinary()
	if err != nil {
		t.Fatal(err)
	}
	data, port := filepath.Join(t.TempDir(), "data"), freePort(t)
	run := func(program string) *process {
		p := start(t, port, program, "serve", "--dev", "--listen", "localhost:"+strconv.Itoa(port), "--data", data)
		p.ready()
		return p
	}
	p := run(this)

	var stop atomic.Bool
	var work sync.WaitGroup
	var mu sync.Mutex
	var tokens []string
	var longest time.Duration
	asked, retried := 0, 0
	client := p
	do := func(p *process, method, path, token string, in m) answer {
		for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
			a, err := p.api(t.Context(), method, path, token, in)
			took := time.Since(begun)
			mu.Lock()
			if err == nil {
				asked++
				longest = max(longest, took)
				mu.Unlock()
				return a
			}
			retried++
			mu.Unlock()
			if took > 10*time.Second {
				t.Errorf("%s %s: %v", method, path, err)
				return a
			}
		}
	}
	for n := range 6 {
		work.Go(func() {
			p := client.as(1000 + n)
			for !stop.Load() {
				a := do(p, "POST", "/api/v1/guest", "", m{"as": "token"})
				if a.status == 201 {
					mu.Lock()
					tokens = append(tokens, a.Token)
					mu.Unlock()
				} else if a.status != 429 {
					t.Errorf("guest: %d %s", a.status, a.Body)
					return
				}
				mu.Lock()
				token := tokens[len(tokens)/2]
				mu.Unlock()
				if a := do(p, "GET", "/api/v1/session", token, nil); a.status != 200 {
					t.Errorf("session: %d %s", a.status, a.Body)
					return
				}
			}
		})
	}
	pause := func() { time.Sleep(300 * time.Millisecond) }
	migrated := func(program string) string {
		out, err := exec.Command(program, "migrate", "--json", "--data", data).CombinedOutput()
		if err != nil {
			t.Errorf("migrate: %v\n%s", err, out)
		}
		return string(out)
	}
	pause()
	// Forward beside the old server, which goes on.
	if out := migrated(next); !strings.Contains(out, `"ran":["9000_next.sql"]`) {
		t.Errorf("migrate: %s", out)
	}
	pause()
	for _, program := range []string{next, this, next} {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code %d\n%s", code, tail(p.out.String(), 10))
		}
		p = run(program)
		pause()
	}
	stop.Store(true)
	work.Wait()
	for _, token := range tokens {
		if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 200 {
			t.Fatalf("a session is lost: %d %s", a.status, a.Body)
		}
	}
	t.Logf("%d requests, %d tries again, the longest took %v, %d sessions", asked, retried, longest, len(tokens))
	if longest > time.Second {
		t.Errorf("a request took %v", longest)
	}
	if asked < 500 || retried == 0 {
		t.Error("nothing was tested")
	}
	p.stop()
}
