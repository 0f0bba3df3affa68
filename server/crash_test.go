//go:build unix

package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
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

// A person is one client and what it has been told. What it asked for and was
// not answered may have happened or not: it is then not believed either way.
type person struct {
	name     string
	password string
	exists   bool
	unsure   bool            // of the password
	live     map[string]bool // tokens that were acknowledged and not ended
	dead     map[string]bool // tokens whose ending was acknowledged
}

// busy is the code where a machine that does other things too hashes no password in
// time: nothing was done then, and nothing acknowledged.
const busy = "password_busy"

// step does one random thing and notes what was acknowledged.
func (who *person) step(ctx context.Context, p *process, n int) error {
	if !who.exists {
		a, err := p.api(ctx, "POST", "/api/v1/signup", "", m{"identifier": who.name, "password": who.password, "as": "token"})
		switch {
		case err != nil:
			return err
		case a.status == 201:
			who.exists, who.live[a.Token] = true, true
		case a.Code == "identifier_taken": // made by a request that the crash cut off
			who.exists = true
		case a.Code == busy:
		default:
			return fmt.Errorf("sign-up: %d %s", a.status, a.Body)
		}
		return nil
	}
	var token string
	for token = range who.live {
		break
	}
	switch action := rand.IntN(4); {
	case token == "" || action == 0 && len(who.live) < 4:
		a, err := p.api(ctx, "POST", "/api/v1/signin", "", m{"identifier": who.name, "password": who.password, "as": "token"})
		if err != nil {
			return err
		}
		if a.Code == busy {
			return nil
		}
		if a.status != 200 {
			return fmt.Errorf("sign-in: %d %s", a.status, a.Body)
		}
		who.live[a.Token] = true
	case action == 1:
		delete(who.live, token) // not sure until it is answered
		a, err := p.api(ctx, "POST", "/api/v1/signout", token, nil)
		if err != nil {
			return err
		}
		if a.status != 204 {
			return fmt.Errorf("sign-out: %d %s", a.status, a.Body)
		}
		who.dead[token] = true
	case action == 2:
		others := who.live
		who.live, who.unsure = map[string]bool{}, true
		next := fmt.Sprintf("a password of %s, number %d", who.name, n)
		a, err := p.api(ctx, "POST", "/api/v1/password/change", token, m{"password": who.password, "new_password": next})
		if err != nil {
			return err
		}
		if a.Code == busy {
			who.live, who.unsure = others, false
			return nil
		}
		if a.status != 204 {
			return fmt.Errorf("password change: %d %s", a.status, a.Body)
		}
		who.password, who.unsure = next, false
		delete(others, token)
		for other := range others {
			who.dead[other] = true
		}
		who.live[token] = true
	default:
		others := who.live
		who.live = map[string]bool{token: true}
		a, err := p.api(ctx, "DELETE", "/api/v1/sessions", token, nil)
		if err != nil {
			return err
		}
		if a.status != 204 {
			return fmt.Errorf("end the others: %d %s", a.status, a.Body)
		}
		delete(others, token)
		for other := range others {
			who.dead[other] = true
		}
	}
	return nil
}

// check compares the server with what was acknowledged.
func (who *person) check(p *process) {
	p.t.Helper()
	for token := range who.live {
		if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 200 {
			p.t.Errorf("%s: an acknowledged session is lost: %d %s", who.name, a.status, a.Body)
		}
	}
	for token := range who.dead {
		if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 401 {
			p.t.Errorf("%s: an ended session is back: %d %s", who.name, a.status, a.Body)
		}
	}
	if !who.exists || who.unsure {
		return
	}
	a := p.ask("POST", "/api/v1/signin", "", m{"identifier": who.name, "password": who.password, "as": "token"})
	if a.status != 200 {
		p.t.Errorf("%s: the acknowledged password is lost: %d %s", who.name, a.status, a.Body)
		return
	}
	who.live[a.Token] = true
}

func TestKillNineLosesNothingThatWasAcknowledged(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	people := make([]*person, 6)
	for i := range people {
		people[i] = &person{
			name: fmt.Sprintf("person-%d", i), password: fmt.Sprintf("the first password of person %d", i),
			live: map[string]bool{}, dead: map[string]bool{},
		}
	}
	rounds := 5
	if testing.Short() {
		rounds = 1
	}
	steps, n := 0, 0
	for round := range rounds {
		p := serve(t, data, port)
		for _, who := range people {
			who.check(p)
		}
		if t.Failed() {
			t.Fatalf("after crash %d\n%s", round, tail(p.out.String(), 20))
		}
		var work sync.WaitGroup
		var mu sync.Mutex
		var dying atomic.Bool // the crash may be why there is no answer
		for _, who := range people {
			work.Go(func() {
				for {
					mu.Lock()
					n++
					mine := n
					mu.Unlock()
					if err := who.step(t.Context(), p, mine); err != nil {
						if !dying.Load() {
							t.Errorf("%s: %v", who.name, err)
						}
						return
					}
					mu.Lock()
					steps++
					mu.Unlock()
				}
			})
		}
		// When enough was going on, at a random time.
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
			mu.Lock()
			enough := steps >= 10*(round+1)
			mu.Unlock()
			if enough {
				break
			}
		}
		dying.Store(true)
		p.kill()
		work.Wait()
		// Who does not know its password any more is somebody else from now on.
		for i, who := range people {
			if who.unsure {
				people[i] = &person{
					name: fmt.Sprintf("%s-%d", who.name, round), password: who.password,
					live: map[string]bool{}, dead: who.dead,
				}
			}
		}
	}
	p := serve(t, data, port)
	for _, who := range people {
		who.check(p)
	}
	if steps < 10*rounds {
		t.Errorf("only %d changes were acknowledged: nothing was tested", steps)
	}
	t.Logf("%d acknowledged changes, %d crashes", steps, rounds)
	if code := p.stop(); code != 0 {
		t.Errorf("a stop by SIGTERM exits %d\n%s", code, tail(p.out.String(), 20))
	}
}

func TestEveryAcknowledgedChangeIsOnDisk(t *testing.T) {
	strace := tool(t, "strace")
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	data, port := t.TempDir(), freePort(t)
	trace := filepath.Join(t.TempDir(), "trace")
	p := start(t, port, strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", trace,
		file, "serve", "--dev", "--listen", "localhost:"+strconv.Itoa(port), "--data", data)
	p.ready()
	syncs := func() int {
		b, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "sync(")
	}
	// One after the other, so that no two changes can share a commit.
	before := syncs()
	const changes = 10
	token := ""
	for i := range changes {
		if i == 0 {
			token = p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
			continue
		}
		if a := p.ask("POST", "/api/v1/guest", "", m{"as": "token"}); a.status != 201 {
			t.Fatalf("guest: %d %s", a.status, a.Body)
		}
		if got := syncs() - before; got < i+1 {
			t.Fatalf("%d acknowledged changes, %d calls of fsync", i+1, got)
		}
	}
	if a := p.ask("POST", "/api/v1/signout", token, nil); a.status != 204 {
		t.Fatalf("sign-out: %d %s", a.status, a.Body)
	}
	if got := syncs() - before; got < changes+1 {
		t.Errorf("%d acknowledged changes, %d calls of fsync", changes+1, got)
	}
}

// tool finds a program that a test needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing: make test SETUP=1 installs it", name)
	default:
		t.Skipf("SKIPPED: %s is missing: make test SETUP=1 installs it", name)
	}
	return ""
}
