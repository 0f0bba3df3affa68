//go:build unix

package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// front starts nginx before all replicas, with the lines of the how-to, and returns it
// as somebody who can be asked. TLS would end one step before it.
func (c *cluster) front() *process {
	c.t.Helper()
	program, err := exec.LookPath("nginx")
	if _, there := os.Stat("/usr/sbin/nginx"); err != nil && there == nil {
		program, err = "/usr/sbin/nginx", nil
	}
	if err != nil {
		const how = "nginx is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			c.t.Fatal(how)
		}
		c.t.Skip("SKIPPED: " + how)
	}
	port, dir := freePort(c.t), c.t.TempDir()
	var upstream strings.Builder
	for _, p := range c.replicas {
		fmt.Fprintf(&upstream, "server %s fail_timeout=1s; ", strings.TrimPrefix(p.url, "http://"))
	}
	text := fmt.Sprintf(`
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	upstream admit { %s }
	server {
		listen 127.0.0.1:%d;
		location / {
			proxy_pass http://admit;
			proxy_connect_timeout 2s;
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto https;
			proxy_set_header Forwarded "";
		}
	}
}`, &upstream, port)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	p := &process{t: c.t, url: fmt.Sprintf("http://127.0.0.1:%d", port), out: &lines{}, done: make(chan error, 1)}
	p.client = &http.Client{Transport: behindProxy{}, Timeout: 30 * time.Second} // for the Host of the public URL
	p.cmd = exec.Command(program, "-p", dir, "-c", file)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	c.t.Cleanup(func() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
			return p
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("nginx does not start: %s", p.out)
		}
	}
}

// A regular signs in and out, over and over, and knows what was acknowledged.
type regular struct {
	name    string
	in, out []string // tokens of sessions that live, and of those that were ended
	unsure  int      // requests that nobody has answered

	late time.Duration // how long another replica may take to hear of an ending
}

// live goes on until ctx is done. It says what should not have happened.
func (p *regular) live(ctx context.Context, site *process) error {
	for ctx.Err() == nil {
		signin, err := site.api(context.Background(), "POST", "/api/v1/signin", "", m{"identifier": p.name, "password": goodPassword, "as": "token"})
		if err != nil || signin.status >= 500 {
			p.unsure++
			time.Sleep(20 * time.Millisecond) // as a client does that is told to
			continue
		}
		if signin.status != 200 {
			return fmt.Errorf("a sign-in: %d %s", signin.status, signin.Body)
		}
		p.in = append(p.in, signin.Token)
		check, err := site.api(context.Background(), "GET", "/api/v1/session", signin.Token, nil)
		if err == nil && check.status != 200 && check.status < 500 {
			return fmt.Errorf("a session that was just begun: %d %s", check.status, check.Body)
		}
		if len(p.in) < 3 {
			continue
		}
		// The oldest goes. Where nobody answers it may have gone, or not.
		oldest := p.in[0]
		p.in = p.in[1:]
		switch a, err := site.api(context.Background(), "POST", "/api/v1/signout", oldest, nil); {
		case err != nil || a.status >= 500:
			p.unsure++
		case a.status != 204:
			return fmt.Errorf("a sign-out: %d %s", a.status, a.Body)
		default:
			p.out = append(p.out, oldest)
			for ended := time.Now(); ; {
				since := time.Since(ended)
				check, err := site.api(context.Background(), "GET", "/api/v1/session", oldest, nil)
				if err != nil || check.status == 401 || check.status >= 500 {
					break
				}
				if since >= p.late {
					return fmt.Errorf("a session that was ended %v ago: %d %s", since, check.status, check.Body)
				}
			}
		}
	}
	return nil
}

// check asks every replica for all that was acknowledged.
func (p *regular) check(t *testing.T, replicas []*process) {
	t.Helper()
	for i, r := range replicas {
		for want, tokens := range map[int][]string{200: p.in, 401: p.out} {
			for n, token := range tokens {
				if a := r.ask("GET", "/api/v1/session", token, nil); a.status != want {
					t.Errorf("session %d of %s at replica %d: %d, want %d: %s", n, p.name, i, a.status, want, a.Body)
				}
			}
		}
	}
}

// under lets people live behind nginx while fn does something to the cluster, and
// checks what was acknowledged afterwards.
func (c *cluster) under(t *testing.T, site *process, people int, fn func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	all := make([]regular, people)
	var living sync.WaitGroup
	for i := range all {
		all[i].name, all[i].late = fmt.Sprint("person-", i), c.late
		c.command("user", "add", "--identifier", all[i].name, "--password-file", "-")
		living.Go(func() {
			if err := all[i].live(ctx, site); err != nil {
				t.Errorf("%s: %v", all[i].name, err)
			}
		})
	}
	fn()
	stop()
	living.Wait()
	in, out, unsure := 0, 0, 0
	for i := range all {
		in, out, unsure = in+len(all[i].in), out+len(all[i].out), unsure+all[i].unsure
		all[i].check(t, c.replicas)
	}
	t.Logf("%d sessions that live and %d that were ended are as acknowledged; %d requests were not answered", in, out, unsure)
	if out == 0 {
		t.Error("nothing was ended")
	}
}

func TestBehindNGINXAReplicaIsKilledAndNothingAcknowledgedIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short")
	}
	c := replicate(t, postgrestest.Shared(t).Database(t), 3)
	site := c.front()
	c.under(t, site, 4, func() {
		time.Sleep(2 * time.Second)
		for i, p := range c.replicas {
			p.kill()
			time.Sleep(time.Second)
			c.replicas[i] = c.launch(portOf(t, p), t.TempDir())
			c.replicas[i].ready()
			time.Sleep(time.Second)
		}
	})
}

func TestBehindNGINXPostgreSQLIsStoppedAndNothingAcknowledgedIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short")
	}
	database := postgrestest.Start(t)
	c := replicate(t, database.Database(t), 3)
	site := c.front()
	c.under(t, site, 4, func() {
		time.Sleep(2 * time.Second)
		database.Kill()
		time.Sleep(5 * time.Second)
		database.Restart(t)
		time.Sleep(3 * time.Second)
	})
}

func portOf(t testing.TB, p *process) (port int) {
	t.Helper()
	if _, err := fmt.Sscanf(p.url, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}
