//go:build linux

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A caller asks a server over connections from an address of its own: on Linux all of
// 127.0.0.0/8 is this machine, so that they are true source addresses, and no header
// is believed.
type caller struct {
	t      testing.TB
	url    string
	client *http.Client
}

func (p *process) caller(address string) *caller {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 20 * time.Second}
	jar, _ := cookiejar.New(nil) // nil options do not fail
	return &caller{p.t, p.url, &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			return d.DialContext(ctx, "tcp4", "127.0.0.1:"+port)
		},
	}}}
}

// post returns the status and what was answered.
func (c *caller) post(path string, in m) (int, m) {
	b, _ := json.Marshal(in) // of texts
	res, err := c.client.Post(c.url+"/api/v1/"+path, "application/json", bytes.NewReader(b))
	if err != nil {
		c.t.Errorf("%s: %v", path, err)
		return 0, nil
	}
	defer res.Body.Close()
	var out m
	text, _ := io.ReadAll(res.Body)
	json.Unmarshal(text, &out)
	return res.StatusCode, out
}

// patient is post for honest people, who come again where the machine of the test is
// busy with something else.
func (c *caller) patient(path string, in m) (int, m) {
	for range 20 {
		if status, out := c.post(path, in); status != 503 {
			return status, out
		}
		time.Sleep(100 * time.Millisecond)
	}
	return c.post(path, in)
}

// code waits for the nth mail to an address that has a code, from the first on.
func (p *process) code(address string, n int) string {
	p.t.Helper()
	for range 2000 {
		var in struct{ Messages []letter }
		res, err := http.Get(p.url + "/dev/inbox.json?key=key-of-the-test")
		if err != nil {
			p.t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&in)
		res.Body.Close()
		if err != nil {
			p.t.Fatal(err)
		}
		var codes []string
		for _, l := range in.Messages {
			if l.To == address && l.Code != "" {
				codes = append(codes, l.Code)
			}
		}
		if len(codes) >= n {
			return codes[0] // the latest is first
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("no mail %d came to %s", n, address)
	return ""
}

// ATTACKS=full has 10,000 addresses; otherwise there are 300.
func TestAttackABotnetAgainstOneAccount(t *testing.T) {
	addresses := 300
	if os.Getenv("ATTACKS") == "full" {
		addresses = 10_000
	}
	p := serve(t, t.TempDir(), freePort(t), "--log-level", "error")
	const ann = "ann@example.org"
	owner := p.caller("127.0.0.1")
	_, begun := owner.patient("signup", m{"identifier": ann, "password": goodPassword})
	if status, _ := owner.patient("signup/verify", m{"flow": begun["flow"], "code": p.code(ann, 1)}); status != 200 {
		t.Fatalf("the owner's sign-up: %d", status)
	}
	other := p.caller("127.77.0.1")
	for n := range 4 {
		if status, _ := other.patient("signup", m{"identifier": fmt.Sprint("other-", n), "password": goodPassword}); status != 201 {
			t.Fatalf("another's sign-up: %d", status)
		}
	}
	// Others sign in from browsers that are new, which compete with the botnet.
	others := func(n int) time.Duration {
		c := p.caller(fmt.Sprintf("127.88.%d.%d", n/250%250, n%250+1))
		begun := time.Now()
		if status, out := c.patient("signin", m{"identifier": fmt.Sprint("other-", n%4), "password": goodPassword, "as": "token"}); status != 200 {
			t.Errorf("another's sign-in: %d %v", status, out)
		}
		return time.Since(begun)
	}
	var before, during []time.Duration
	for n := range 20 {
		before = append(before, others(n))
	}
	memory := resident(t, p.cmd.Process.Pid)

	var heard, refused, odd atomic.Int64
	work := make(chan int)
	var attack, honest sync.WaitGroup
	for range 16 {
		attack.Go(func() {
			for n := range work {
				// 40 networks and more, each with up to 250 addresses.
				c := p.caller(fmt.Sprintf("127.%d.%d.%d", 100+n/62500, n/250%250, n%250+1))
				switch status, out := c.post("signin", m{"identifier": ann, "password": fmt.Sprint("guess ", n)}); {
				case status == 401:
					heard.Add(1)
				case status == 429 && out["code"] == "guesses_spent":
					refused.Add(1)
				case status != 503: // nothing was guessed
					odd.Add(1)
				}
			}
		})
	}
	over := make(chan struct{})
	signedIn := 0
	honest.Go(func() {
		for n := 0; ; n++ {
			if status, out := owner.patient("signin", m{"identifier": ann, "password": goodPassword}); status != 200 {
				t.Errorf("the owner on a known device: %d %v", status, out)
			}
			signedIn++
			during = append(during, others(100+n))
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	start := time.Now()
	for n := range addresses {
		work <- n
	}
	close(work)
	attack.Wait()
	took := time.Since(start)
	close(over)
	honest.Wait()
	grown := resident(t, p.cmd.Process.Pid) - memory

	// The owner on a new device: the password does not help just now, mail does.
	for n := range 12 { // nothing is left, whatever was too busy before
		if status, _ := p.caller(fmt.Sprintf("127.98.0.%d", n+1)).patient("signin", m{"identifier": ann, "password": "a guess"}); status == 401 {
			heard.Add(1)
		}
	}
	phone := p.caller("127.99.0.1")
	if status, out := phone.patient("signin", m{"identifier": ann, "password": goodPassword}); status != 429 || !strings.Contains(fmt.Sprint(out["hint"]), "link") {
		t.Errorf("the owner's password on a new device: %d %v", status, out)
	}
	_, asked := phone.patient("signin/link", m{"identifier": ann})
	if status, out := phone.patient("signin/code/verify", m{"flow": asked["flow"], "code": p.code(ann, 2)}); status != 200 {
		t.Errorf("the owner on a new device, by mail: %d %v", status, out)
	}
	slices.Sort(before)
	slices.Sort(during)
	t.Logf("%d addresses in %v: %d guesses were heard, %d refused; the owner signed in %d times; %d MiB more; others sign in in %v (median) and %v (slowest), before in %v and %v",
		addresses, took.Round(time.Millisecond), heard.Load(), refused.Load(), signedIn, grown>>10,
		during[len(during)/2].Round(time.Millisecond), during[len(during)-1].Round(time.Millisecond), before[len(before)/2].Round(time.Millisecond), before[len(before)-1].Round(time.Millisecond))
	if bound := 6 + int64(took/(16*time.Minute)) + 1; heard.Load() > bound || heard.Load() == 0 {
		t.Errorf("%d guesses were heard, of %d", heard.Load(), bound)
	}
	if odd.Load() > 0 {
		t.Errorf("%d were answered otherwise", odd.Load())
	}
	if grown > 128<<10 {
		t.Errorf("the server has grown by %d MiB", grown>>10)
	}
}
