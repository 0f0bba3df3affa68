//go:build unix

package db_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/token"
)

const issuer = "https://id.example.org"

// providerKeys sign with one key.
type providerKeys struct{ *signing }

func (k providerKeys) Signing(alg jose.Algorithm) *jose.Key {
	if alg != jose.ES256 {
		return nil
	}
	return k.key
}

func (k providerKeys) Published(context.Context) (*jose.KeySet, error) { return k.set, nil }

// nobody is a provider.People that the token endpoint does not ask.
type nobody struct{ provider.People }

// newProvider returns a provider over a database. Line is of its keys.
func newProvider(t testing.TB, d *db.DB, line string) *provider.Provider {
	t.Helper()
	keys, err := cookie.ParseKeys(line)
	if err != nil {
		t.Fatal(err)
	}
	p, err := provider.New(provider.Options{Issuer: issuer, Store: d.Provider(""), Keys: providerKeys{newSigning(t)}, Secrets: keys, People: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The variables in the environment of a child that serves a provider.
const (
	crashPlace = "ADMIT_TEST_PROVIDER"
	crashLine  = "ADMIT_TEST_PROVIDER_KEYS"
)

// It is what is killed by the test below.
func TestServeAProviderUntilKilled(t *testing.T) {
	place := os.Getenv(crashPlace)
	if place == "" {
		t.Skip("it is part of another test")
	}
	d, err := db.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(l, newProvider(t, d, os.Getenv(crashLine)))
	fmt.Println("http://" + l.Addr().String())
	io.Copy(io.Discard, os.Stdin) // until the parent is gone
}

// A child is a process that serves a provider.
type child struct {
	cmd  *exec.Cmd
	url  string
	into io.Closer
}

func startChild(t *testing.T, place, line string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeAProviderUntilKilled$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), crashPlace+"="+place, crashLine+"="+line)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, into: in}
	t.Cleanup(c.kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "http://") {
			c.url = lines.Text()
			return c
		}
	}
	t.Fatal("the provider did not start")
	return nil
}

func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Signal(syscall.SIGKILL)
		c.cmd.Wait()
		c.into.Close()
	}
}

// A grantAnswer is what the token endpoint says.
type grantAnswer struct {
	status  int
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

// A buyer is a client that redeems codes and refreshes, and what it has been told.
type buyer struct {
	t       *testing.T
	secret  string
	codes   []string // that are its to redeem
	asking  string   // a code of which nobody knows whether it is spent
	refresh string   // the refresh token that is good
	doubt   bool     // whether it was used
	spent   []string // codes whose redemption was acknowledged
	old     []string // refresh tokens, of which a successor's successor is known
	access  []string // access tokens that were acknowledged, of grants that live
	steps   int
}

func (b *buyer) post(c *child, f url.Values) (a grantAnswer, err error) {
	r, err := http.NewRequest("POST", c.url+"/oauth/token", strings.NewReader(f.Encode()))
	if err != nil {
		return a, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", b.secret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	text, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}

func (b *buyer) redeem(c *child, code string) (grantAnswer, error) {
	return b.post(c, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://app.example.org/back"}})
}

func (b *buyer) renew(c *child, t string) (grantAnswer, error) {
	return b.post(c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t}})
}

// step does one thing, and returns the error of a connection that broke.
func (b *buyer) step(c *child) error {
	if b.refresh == "" || !b.doubt && rand.IntN(8) == 0 && len(b.codes) > 0 {
		retried := b.asking != ""
		if !retried {
			b.asking, b.codes = b.codes[0], b.codes[1:]
		}
		a, err := b.redeem(c, b.asking)
		if err != nil {
			return err
		}
		switch {
		case a.status == 200:
			b.spent, b.refresh = append(b.spent, b.asking), a.Refresh
			b.access = append(b.access, a.Access)
		case !retried || a.Error != "invalid_grant": // it was spent, and the answer lost
			b.t.Errorf("a fresh code is answered %d %s", a.status, a.Error)
		}
		b.asking = ""
		b.steps++
		return nil
	}
	// Two tabs ask at once: both get the same, or the answer of one was lost.
	var all [2]grantAnswer
	var errs [2]error
	b.doubt = true
	var both sync.WaitGroup
	for i := range all {
		both.Go(func() { all[i], errs[i] = b.renew(c, b.refresh) })
	}
	both.Wait()
	for i, err := range errs {
		if err != nil {
			return err
		}
		if all[i].status != 200 {
			b.t.Errorf("a refresh token that is good is answered %d %s", all[i].status, all[i].Error)
			b.refresh = ""
			return nil
		}
	}
	if all[0].Refresh != all[1].Refresh {
		b.t.Error("one refresh token was spent twice")
	}
	b.old = append(b.old, b.refresh)
	b.refresh, b.doubt = all[0].Refresh, false
	b.access = append(b.access, all[0].Access, all[1].Access)
	b.steps++
	return nil
}

// Whatever a client was told still is, whenever the server is killed; what it was not
// told it finds out by asking again.
func TestKillNineSpendsNoCodeOrRefreshTokenTwiceAndLosesNone(t *testing.T) {
	const buyers, codes, rounds = 6, 200, 4
	s := newShop(t)
	secret, kept := provider.NewSecret()
	s.client(provider.Client{
		ID: "app", Name: "app", Auth: provider.SecretBasic, Secrets: []provider.ClientSecret{kept}, CreatedAt: time.Now(),
		RedirectURIs: []string{"https://app.example.org/back"}, Grants: []provider.GrantType{provider.AuthorizationCode, provider.RefreshToken},
		Scopes: []string{"read", "offline_access"},
	})
	ann := s.user()
	sid := s.session(ann, time.Now().Add(time.Hour))
	all := make([]*buyer, buyers)
	for i := range all {
		all[i] = &buyer{t: t, secret: secret.Reveal()}
		s.update(func(tx provider.Tx) error {
			all[i].codes = nil
			for range codes {
				c := token.New(token.OneTime)
				if err := tx.AddCode(&provider.Code{
					Selector: c.Selector(), Digest: c.Digest(), Expires: time.Now().Add(10 * time.Minute),
					Asked:   provider.Asked{Client: "app", RedirectURI: "https://app.example.org/back", Scopes: []string{"read", "offline_access"}, At: time.Now()},
					Session: provider.Session{SID: sid, Subject: ann, AuthTime: time.Now(), Expires: time.Now().Add(time.Hour)},
				}); err != nil {
					return err
				}
				all[i].codes = append(all[i].codes, c.Reveal())
			}
			return nil
		})
	}
	s.update(func(tx provider.Tx) error {
		return tx.PutConsent(&provider.Consent{Subject: ann, Client: "app", Scopes: []string{"read", "offline_access"}, GivenAt: time.Now(), LastUsed: time.Now()})
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	line := cookie.GenerateKey()
	for range rounds {
		c := startChild(t, s.place, line)
		var dying atomic.Bool
		var work sync.WaitGroup
		for _, b := range all {
			work.Go(func() {
				for n := 0; !t.Failed(); n++ {
					if err := b.step(c); err != nil {
						if !dying.Load() {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		// At a random moment of the work.
		time.Sleep(300*time.Millisecond + time.Duration(rand.IntN(300))*time.Millisecond)
		dying.Store(true)
		c.kill()
		work.Wait()
	}
	c := startChild(t, s.place, line)
	steps, spent := 0, 0
	for _, b := range all {
		steps += b.steps
		spent += len(b.spent)
		// What nobody was told about is asked for once more.
		for done := false; !done && !t.Failed(); {
			if err := b.step(c); err != nil {
				t.Fatal(err)
			}
			done = !b.doubt && b.asking == ""
		}
	}
	c.kill()
	d, err := db.Open(t.Context(), s.place)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	place := s.place
	s = openShop(t, d)
	grants := map[string]bool{}
	for _, b := range all {
		for _, text := range b.access {
			if err := s.store.View(s.ctx, func(tx provider.Tx) error {
				a, err := token.Parse(token.Access, text)
				if err != nil {
					return err
				}
				if found, err := tx.Token(a.Selector()); found == nil || err != nil {
					t.Errorf("an access token is lost that was acknowledged: %v", err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range b.spent {
			if err := s.store.View(s.ctx, func(tx provider.Tx) error {
				one, err := token.Parse(token.OneTime, text)
				if err != nil {
					return err
				}
				c, err := tx.Code(one.Selector())
				if err != nil {
					return err
				}
				g, err := tx.Grant(c.Grant)
				if c.Grant == "" || g == nil || grants[c.Grant] {
					t.Errorf("a code became grant %q, %+v", c.Grant, g)
				}
				grants[c.Grant] = true
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if steps < 10*buyers || spent == 0 {
		t.Errorf("%d steps, %d of them codes, were acknowledged: nothing was tested", steps, spent)
	}
	// And now a thief has all of it.
	c = startChild(t, place, line)
	for _, b := range all {
		for _, code := range b.spent {
			if a, err := b.redeem(c, code); err != nil || a.Error != "invalid_grant" {
				t.Errorf("a code that was spent is answered %d %s, %v", a.status, a.Error, err)
			}
		}
		for i := 0; i+1 < len(b.old); i++ {
			if a, err := b.renew(c, b.old[i]); err != nil || a.Error != "invalid_grant" {
				t.Errorf("a refresh token that was spent is answered %d %s, %v", a.status, a.Error, err)
			}
		}
	}
	t.Logf("%d acknowledged steps, %d of them codes, %d crashes", steps, spent, rounds)
}

// nowhere is a response that nobody reads.
type nowhere struct {
	h      http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.h }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }

// Durable tokens of clients' own, as 64 clients ask for them at once: the whole token
// endpoint, without the network.
func BenchmarkClientCredentialsOnDisk(b *testing.B) {
	s := newShop(b)
	secret, kept := provider.NewSecret()
	s.client(provider.Client{
		ID: "app", Auth: provider.SecretBasic, Secrets: []provider.ClientSecret{kept}, CreatedAt: time.Now(),
		Grants: []provider.GrantType{provider.ClientCredentials}, Scopes: []string{"read"},
	})
	p := newProvider(b, s.DB, cookie.GenerateKey())
	var before, after syscall.Rusage
	begun := s.Stats().Transactions
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.RunParallel(func(pb *testing.PB) {
		w := &nowhere{h: http.Header{}}
		for pb.Next() {
			r := httptest.NewRequest("POST", issuer+"/oauth/token", strings.NewReader("grant_type=client_credentials"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth("app", secret.Reveal())
			if p.ServeHTTP(w, r); w.status != 200 {
				b.Errorf("status %d", w.status)
				return
			}
		}
	})
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(b.N)/1000, "µs-cpu/op")
	b.ReportMetric(float64(b.N)/float64(s.Stats().Transactions-begun), "tokens/commit")
}
