//go:build unix

package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
	"github.com/admit-auth/admit/server/internal/smtptest"
)

// mailing starts the program, not for development, with a mail server.
func mailing(t testing.TB, data string, port int, mailServer string, more ...string) *process {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, port, append([]string{
		file, "serve", "--listen", fmt.Sprintf("localhost:%d", port), "--data", data,
		"--mail-server", mailServer, "--mail-from", "Example <no-reply@example.org>",
	}, more...)...)
	p.ready()
	return p
}

// copies are the mails of each recipient. Those of one must be the same mail.
func copies(t testing.TB, mails []*smtptest.Mail) map[string]int {
	t.Helper()
	first, n := map[string]*smtptest.Mail{}, map[string]int{}
	for _, m := range mails {
		if f := first[m.To]; f == nil {
			first[m.To] = m
		} else if f.Raw != m.Raw || f.Header.Get("Message-Id") == "" {
			t.Errorf("a second mail to %s is not the first again:\n%s\n%s", m.To, f.Raw, m.Raw)
		}
		n[m.To]++
	}
	return n
}

// arrives waits until there is mail for all.
func arrives(t testing.TB, p *process, s *smtptest.Server, to ...string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		missing := []string{}
		got := map[string]bool{}
		for _, m := range s.Mails() {
			got[m.To] = true
		}
		for _, address := range to {
			if !got[address] {
				missing = append(missing, address)
			}
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no mail came for %v, who were told to look for it\n%s", missing, tail(p.out.String(), 20))
		}
	}
}

func (p *process) signsUp(address string) {
	p.t.Helper()
	if a := p.ask("POST", "/api/v1/signup", "", m{"identifier": address, "password": goodPassword}); a.status != 202 {
		p.t.Fatalf("sign-up: %d %s", a.status, a.Body)
	}
}

// What was asked for and acknowledged is sent, whenever the server is killed, and
// twice at most for each kill: where the mail server has the mail and we do not
// know it.
func TestAServerThatIsKilledBetweenAskedAndSentSendsWhatWasAsked(t *testing.T) {
	data, port := filepath.Join(t.TempDir(), "data"), freePort(t)
	var point atomic.Pointer[string] // where the mail server waits for the server's end
	reached, killed := make(chan struct{}), make(chan struct{})
	wait := func(at string) {
		if is := point.Load(); is != nil && *is == at && point.CompareAndSwap(is, nil) {
			close(reached)
			<-killed
		}
	}
	mail := smtptest.Start(t, smtptest.Options{
		Rcpt: func(string) error { wait("recipient"); return nil },
		Data: func(*smtptest.Mail) error {
			wait("taken")
			time.Sleep(rand.N(50 * time.Millisecond)) // as servers do
			return nil
		},
	})
	p := mailing(t, data, port, "smtp://"+mail.Address)
	var all []string
	for i, at := range []string{"asked", "recipient", "taken", "answered"} {
		address := fmt.Sprintf("ann%d@example.org", i)
		all = append(all, address)
		reached, killed = make(chan struct{}), make(chan struct{})
		point.Store(&at)
		p.signsUp(address)
		switch at {
		case "asked":
			point.Store(nil)
		case "answered":
			point.Store(nil)
			arrives(t, p, mail, address)
		default:
			select {
			case <-reached:
			case <-time.After(30 * time.Second):
				t.Fatalf("nothing was sent\n%s", p.out)
			}
		}
		p.kill()
		close(killed)
		p = mailing(t, data, port, "smtp://"+mail.Address)
		arrives(t, p, mail, address)
	}
	// What was taken is sent again: nobody can know.
	for deadline := time.Now().Add(30 * time.Second); copies(t, mail.Mails())["ann2@example.org"] < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what a killed server had handed over without an answer was not sent again")
		}
	}
	for address, n := range copies(t, mail.Mails()) {
		if n > 2 {
			t.Errorf("%s has %d mails for one kill", address, n)
		}
	}

	// At random, with many under way.
	const rounds, clients = 3, 6
	for round := range rounds {
		var work sync.WaitGroup
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		told := make(chan struct{}, 1000)
		for c := range clients {
			work.Go(func() {
				for n := 0; ; n++ {
					address := fmt.Sprintf("bob%d-%d-%d@example.org", round, c, n)
					a, err := p.api(ctx, "POST", "/api/v1/signup", "", m{"identifier": address, "password": goodPassword})
					if err != nil || a.status != 202 && a.Code != busy {
						return // killed, or enough for this hour
					}
					if a.status == 202 {
						mu.Lock()
						all = append(all, address)
						mu.Unlock()
						told <- struct{}{}
					}
				}
			})
		}
		for range 4 + rand.IntN(12) { // when is what is random
			select {
			case <-told:
			case <-time.After(10 * time.Second): // a machine with other work
			}
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		p.kill()
		cancel()
		work.Wait()
		p = mailing(t, data, port, "smtp://"+mail.Address)
	}
	arrives(t, p, mail, all...)
	if code := p.stop(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	twice := 0
	for address, n := range copies(t, mail.Mails()) {
		twice += n - 1
		if n > 1+rounds+1 {
			t.Errorf("%s has %d mails", address, n)
		}
	}
	// Eight are under way at most when a server is killed.
	if bound := 4 + rounds*8; twice > bound {
		t.Errorf("%d mails were sent again, more than %d", twice, bound)
	}
	t.Logf("%d messages asked for, %d sent twice, over %d kills", len(all), twice, 4+rounds)
}

func TestMailWaitsWhileItsServerIsDownAndNothingIsLost(t *testing.T) {
	data, port := filepath.Join(t.TempDir(), "data"), freePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := mailing(t, data, port, "smtp://"+address)
	p.signsUp("ann@example.org")
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.out.String(), "waits for another try"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing says that mail waits\n%s", p.out)
		}
	}
	refuse := atomic.Bool{}
	refuse.Store(true)
	mail := smtptest.Start(t, smtptest.Options{Address: address, Rcpt: func(to string) error {
		switch {
		case to == "nobody@example.org":
			return smtptest.Refusal(550, [3]int{5, 1, 1}, "nobody@example.org is unknown")
		case refuse.CompareAndSwap(true, false):
			return smtptest.Refusal(451, [3]int{4, 7, 1}, "greylisted")
		}
		return nil
	}})
	p.signsUp("nobody@example.org")
	arrives(t, p, mail, "ann@example.org")
	p.logs("a message was not sent and is given up", 1)
	if m := mail.Mails()[0]; !strings.Contains(m.Subject, "Your code: ") || !strings.Contains(m.HTML, p.url+"/link/") {
		t.Errorf("the mail is %q\n%s", m.Subject, m.HTML)
	}
	if strings.Contains(p.out.String(), "nobody@") || strings.Contains(p.out.String(), "ann@") {
		t.Errorf("the log names people:\n%s", p.out)
	}
	p.stop()
}

// One recipient's server that hangs, and one that is slow, must not keep others
// waiting.
func TestARecipientThatHangsHoldsUpNobody(t *testing.T) {
	hang := make(chan struct{})
	mail := smtptest.Start(t, smtptest.Options{Rcpt: func(to string) error {
		if strings.HasSuffix(to, "@slow.example") {
			<-hang
			return smtptest.Refusal(451, [3]int{4, 4, 1}, "no answer")
		}
		return nil
	}})
	defer close(hang)
	p := mailing(t, filepath.Join(t.TempDir(), "data"), freePort(t), "smtp://"+mail.Address)
	for i := range 6 {
		p.signsUp(fmt.Sprintf("ann%d@slow.example", i))
	}
	p.signsUp("bob@example.org")
	arrives(t, p, mail, "bob@example.org")
}

func TestMailGoesOverTLSToAServerThatIsTrusted(t *testing.T) {
	mail := smtptest.Start(t, smtptest.Options{TLS: true, User: "admit@example.org", Password: "a password"})
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("a password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", mail.CAFile)
	p := mailing(t, filepath.Join(t.TempDir(), "data"), freePort(t), "smtps://admit%40example.org@"+mail.Address, "--mail-password-file", password)
	p.signsUp("ann@example.org")
	arrives(t, p, mail, "ann@example.org")
	if m := mail.Mails()[0]; !m.TLS || m.User != "admit@example.org" {
		t.Errorf("TLS is %v, the user %q", m.TLS, m.User)
	}
	if strings.Contains(p.out.String(), "a password") {
		t.Error("the log tells the password")
	}
}

// Every replica looks for what is to be sent, and all that they have in common is
// the database.
func TestReplicasSendEachMessageOnce(t *testing.T) {
	mail := smtptest.Start(t, smtptest.Options{Data: func(*smtptest.Mail) error {
		time.Sleep(rand.N(30 * time.Millisecond)) // as servers do
		return nil
	}})
	c := replicate(t, postgrestest.Shared(t).Database(t), 3, "--mail-server", "smtp://"+mail.Address, "--mail-from", "no-reply@example.org")
	var work sync.WaitGroup
	all := make([]string, 24)
	for i := range all {
		all[i] = fmt.Sprintf("ann%d@example.org", i)
	}
	for n, p := range c.replicas {
		work.Go(func() {
			for i := n; i < len(all); i += len(c.replicas) {
				for {
					a, err := p.api(t.Context(), "POST", "/api/v1/signup", "", m{"identifier": all[i], "password": goodPassword})
					if err != nil || a.status != 202 && a.Code != busy {
						t.Errorf("sign-up: %d %s, %v", a.status, a.Body, err)
						return
					}
					if a.status == 202 {
						break
					}
				}
			}
		})
	}
	work.Wait()
	arrives(t, c.replicas[0], mail, all...)
	for _, p := range c.replicas {
		p.stop() // nothing is under way any more
	}
	for address, n := range copies(t, mail.Mails()) {
		if n != 1 {
			t.Errorf("%s has %d mails", address, n)
		}
	}
}
