//go:build unix

package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// A secondDomain is the real program at https://id.example.org, and the example
// at https://shop.example.net, which share nothing but a secret.
type secondDomain struct {
	t        testing.TB
	data     string
	id, shop string // where they are called
	http     *http.Client
	server   *process
	out      lines // of the example
}

func newSecondDomain(t testing.TB, feedKey bool) *secondDomain {
	t.Helper()
	p := newPair(t)
	p.issue(1, "id.example.org", "shop.example.net", "localhost")
	idPort, shopPort := freePort(t), freePort(t)
	d := &secondDomain{
		t: t, data: t.TempDir(),
		id: fmt.Sprintf("https://id.example.org:%d", idPort), shop: fmt.Sprintf("https://shop.example.net:%d", shopPort),
	}
	jar, _ := cookiejar.New(nil) // nil options do not fail
	// All names are of this machine, as a line in /etc/hosts would say.
	d.http = &http.Client{Jar: jar, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	secret, secrets := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "secrets")
	p.write(secret, []byte(secretOf(shopSecret).Reveal()+"\n"))
	p.write(secrets, []byte("shop="+secretOf(shopSecret).Reveal()+"\n"))
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d.server = start(t, idPort, file, "serve", "--listen", fmt.Sprintf("localhost:%d", idPort), "--data", d.data, "--public-url", d.id,
		"--tls-cert", p.cert, "--tls-key", p.key,
		"--handover-sites", "shop="+d.shop+"/handover/callback", "--handover-secrets-file", secrets)
	d.ready(d.id+"/readyz", d.server.out)
	example := filepath.Join(t.TempDir(), "second-domain")
	build := exec.Command("go", "build", "-o", example, "./second-domain")
	build.Dir = filepath.Join("..", "examples")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"--listen", fmt.Sprintf("127.0.0.1:%d", shopPort), "--tls-cert", p.cert, "--tls-key", p.key,
		"--admit", d.id, "--asked-at", fmt.Sprintf("https://localhost:%d", idPort), "--secret-file", secret}
	if feedKey {
		key := filepath.Join(t.TempDir(), "key")
		d.command("user", "add", "--identifier", "root", "--role", "admin")
		p.write(key, d.command("token", "issue", "--kind", "api-key", "--user", "root", "--name", "shop", "--scope", "feed", "--audience", d.shop))
		args = append(args, "--feed-key-file", key)
	}
	shop := exec.Command(example, args...)
	shop.Env = append(os.Environ(), "SSL_CERT_FILE="+p.cert)
	shop.Stdout, shop.Stderr = &d.out, &d.out
	shop.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := shop.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shop.Process.Kill()
		shop.Wait()
	})
	d.ready(d.shop+"/who", &d.out)
	d.ask("POST", d.id+"/api/v1/signup", `{"identifier": "ann", "password": "`+goodPassword+`"}`)
	return d
}

// command runs the program beside the server, and returns what it writes.
func (d *secondDomain) command(args ...string) []byte {
	d.t.Helper()
	file, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	c := exec.Command(file, append(args, "--data", d.data)...)
	c.Stdin = strings.NewReader(goodPassword + "\n")
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		d.t.Fatalf("admit %v: %v\n%s", args, err, &said)
	}
	return out
}

// ready waits until somebody answers.
func (d *secondDomain) ready(at string, out *lines) {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res, err := d.http.Get(at)
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: %v\n%s", at, err, out)
		}
	}
}

// ask returns what ann's browser is shown in the end, and where. It sends forms
// from a page of the same site.
func (d *secondDomain) ask(method, at, body string) (status int, text string, where *url.URL) {
	d.t.Helper()
	r, err := http.NewRequest(method, at, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	switch {
	case strings.HasPrefix(body, "{"):
		r.Header.Set("Content-Type", "application/json")
	case method == "POST":
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	}
	res, err := d.http.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Request.URL
}

// signIn goes to the shop, which asks nobody for a password.
func (d *secondDomain) signIn() {
	d.t.Helper()
	status, text, at := d.ask("GET", d.shop+"/", "")
	if at.Path == "/signin" {
		if !strings.HasPrefix(at.String(), d.id+"/") {
			d.t.Fatalf("a stranger is asked to sign in at %s", at)
		}
		form := url.Values{"identifier": {"ann"}, "password": {goodPassword}, "return_to": {at.Query().Get("return_to")}}
		status, text, at = d.ask("POST", d.id+"/signin", form.Encode())
	}
	if status != 200 || at.String() != d.shop+"/" || !strings.Contains(text, "Welcome, <b>") {
		d.t.Fatalf("at %s: %d %s\n%s\n%s", at, status, text, d.server.out, &d.out)
	}
}

// gone is how long the shop goes on to welcome ann.
func (d *secondDomain) gone() time.Duration {
	d.t.Helper()
	began := time.Now()
	until(d.t, "the shop's session has ended", func() bool {
		status, text, _ := d.ask("GET", d.shop+"/who", "")
		if status != 200 && (status != 401 || !strings.Contains(text, "session_ended")) {
			d.t.Fatalf("the shop says %d %s", status, text)
		}
		return status == 401
	})
	return time.Since(began)
}

func (d *secondDomain) sid() string {
	d.t.Helper()
	_, text, _ := d.ask("GET", d.id+"/api/v1/session", "")
	_, rest, _ := strings.Cut(text, `"sid":"`)
	sid, _, ok := strings.Cut(rest, `"`)
	if !ok {
		d.t.Fatalf("no session: %s", text)
	}
	return sid
}

func TestSessionsOfTheRealProgramAndOfASecondDomainEndTogether(t *testing.T) {
	for _, c := range []struct {
		name  string
		feed  bool
		bound time.Duration
	}{
		{"asking each 5 seconds", false, 5500 * time.Millisecond},
		{"hearing the feed", true, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newSecondDomain(t, c.feed)
			d.ask("POST", d.id+"/signout", "")
			if c.feed { // once it is heard, it is followed
				d.signIn()
				d.ask("POST", d.id+"/signout", "")
				d.gone()
			}
			for name, end := range map[string]func(){
				"the page to sign out": func() { d.ask("POST", d.id+"/signout", "") },
				"admit session end":    func() { d.command("session", "end", d.sid()) },
				"admit session end-all": func() {
					d.command("session", "end-all", "--user", "ann")
				},
			} {
				d.signIn()
				end()
				took := d.gone()
				t.Logf("%s: the shop's session ended after %v", name, took.Round(time.Millisecond))
				if took > c.bound {
					t.Errorf("%s: the shop welcomes ann for %v more, want %v at most", name, took, c.bound)
				}
			}
			d.signIn()
			if status, text, _ := d.ask("POST", d.shop+"/signout", ""); status != 200 {
				t.Fatalf("signing out at the shop: %d %s", status, text)
			}
			if status, text, _ := d.ask("GET", d.id+"/api/v1/session", ""); status != 401 || !strings.Contains(text, `"reason":"ended_at_site"`) {
				t.Errorf("after a sign-out at the shop the server says %d %s", status, text)
			}
			if status, text, at := d.ask("GET", d.shop+"/", ""); at.Path != "/signin" {
				t.Errorf("the shop lets ann in again: at %s %d %s", at, status, text)
			}
			for _, out := range []*lines{d.server.out, &d.out} {
				if strings.Contains(out.String(), secretOf(shopSecret).Reveal()) || strings.Contains(out.String(), "?code=") || strings.Contains(out.String(), "&code=") {
					t.Errorf("a secret or a code is in the log:\n%s", out)
				}
			}
		})
	}
}

func TestReplicasRedeemEachOthersCodesOnceAndSeeEachOthersEndings(t *testing.T) {
	t.Setenv("ADMIT_HANDOVER_SECRETS", "shop="+secretOf(shopSecret).Reveal())
	c := replicate(t, postgrestest.Shared(t).Database(t), 3, "--handover-sites", "shop="+shopHost+"/handover/callback")
	c.command("user", "add", "--identifier", "ann", "--password-file", "-")
	ann := c.replicas[0].ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": goodPassword, "as": "token"})
	if ann.status != 200 {
		t.Fatalf("sign in: %s", ann.Body)
	}
	post := func(p *process, call string, in m) answer {
		t.Helper()
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest("POST", p.url+"/api/v1/handover/"+call, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		by("shop", shopSecret)(r)
		res, err := p.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{status: res.StatusCode, Body: string(text)}
	}
	const verifier = "stays in the browser"
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"site": {"shop"}, "challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "state": {strings.Repeat("a", 22)}}
	for i, p := range c.replicas {
		r, err := http.NewRequest("GET", p.url+"/handover/begin?"+q.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+ann.Token)
		res, err := behindProxy{}.RoundTrip(r) // follows nothing
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		to, err := res.Location()
		if err != nil {
			t.Fatalf("replica %d: %s", i, res.Status)
		}
		var good atomic.Int32
		var all sync.WaitGroup
		for _, other := range c.replicas {
			all.Go(func() {
				if post(other, "redeem", m{"code": to.Query().Get("code"), "verifier": verifier}).status == 200 {
					good.Add(1)
				}
			})
		}
		all.Wait()
		if good.Load() != 1 {
			t.Errorf("%d replicas redeemed the code of replica %d", good.Load(), i)
		}
	}
	about := m{"sid": ann.Session.SID}
	for _, p := range c.replicas {
		if a := post(p, "alive", about); a.Body != `{"alive":true}` {
			t.Errorf("before the end: %d %s", a.status, a.Body)
		}
	}
	if a := post(c.replicas[2], "end", about); a.status != 200 {
		t.Errorf("the end: %d %s", a.status, a.Body)
	}
	for i, p := range c.replicas {
		if a := post(p, "alive", about); a.Body != `{"alive":false}` {
			t.Errorf("after the end replica %d says %d %s", i, a.status, a.Body)
		}
	}
}
