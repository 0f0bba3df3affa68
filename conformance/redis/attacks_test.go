package redis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
)

type visit struct{ Count int }

func manager(t testing.TB, s session.Store) *session.Manager[visit] {
	t.Helper()
	m, err := session.New[visit](s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// signIn returns a request of somebody who has signed in.
func signIn(t testing.TB, m *session.Manager[visit], subject string) (*http.Request, string) {
	t.Helper()
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	w := httptest.NewRecorder()
	s, err := m.Start(w, r, subject, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r, s.SID
}

func item(value string) session.Item {
	return session.Item{Value: value, Subject: "alice", Expires: time.Now().Add(time.Hour)}
}

// The attack: a session is signed out, the server crashes, and what it reads
// from its disk is from before.
func TestASnapshotThatIsPutBackRevivesNothing(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			m := manager(t, c.open(t, s, nil))
			ended, sid := signIn(t, m, "alice")
			all, _ := signIn(t, m, "bob")
			for range 2 { // as one who knows them
				for _, r := range []*http.Request{ended, all} {
					if _, err := m.Load(r); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.must("SAVE")
			if err := m.EndSID(t.Context(), "alice", sid, "sign_out"); err != nil {
				t.Fatal(err)
			}
			if err := m.EndAll(t.Context(), "bob", "", "sign_out_everywhere"); err != nil {
				t.Fatal(err)
			}
			s.restart()
			if n := s.must("EXISTS", "admit:r:"+sid); n != int64(1) {
				t.Fatal("the snapshot was not put back")
			}
			// The process that was there before, and one that comes new.
			for _, m := range []*session.Manager[visit]{m, manager(t, c.open(t, s, nil))} {
				var err error
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					if _, err = m.Load(ended); admit.KindOf(err) != admit.Unavailable { // of connections that broke
						break
					}
				}
				if !errors.Is(err, session.ErrNone) && !errors.Is(err, session.ErrEnded) {
					t.Errorf("Load of a session that was signed out: %v", err)
				}
				if _, err := m.Load(all); err == nil {
					t.Error("a session lives that was ended with all others")
				}
				if l, err := m.List(t.Context(), "alice"); len(l) != 0 || err != nil {
					t.Errorf("List: %v, %v", l, err)
				}
			}
			again, _ := signIn(t, m, "bob")
			if _, err := m.Load(again); err != nil {
				t.Errorf("Load of a session that began after the restart: %v", err)
			}
		})
	}
}

// follow makes a server the replica of another, and waits until it has a key.
func (s *server) follow(of *server, key string) {
	s.t.Helper()
	port := freePort(s.t)
	of.must("CONFIG", "SET", "port", port)
	of.must("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	s.must("REPLICAOF", "127.0.0.1", port)
	for end := time.Now().Add(20 * time.Second); s.must("EXISTS", key) != int64(1); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("the replica does not follow")
		}
	}
}

// gone wants a session that was signed out to be in none of the stores.
func gone(t *testing.T, ended *http.Request, sid string, stores ...*redisstore.Store) {
	t.Helper()
	for _, store := range stores {
		if it, err := store.Get(t.Context(), sid); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Get of a session that was signed out: %+v, %v, want ErrNotFound", it, err)
		}
		if _, err := manager(t, store).Load(ended); !errors.Is(err, session.ErrNone) {
			t.Errorf("Load of a session that was signed out: %v, want ErrNone", err)
		}
	}
}

// The attack: the replica has not heard of the sign-out when it takes over, also one that
// was asked for the session before.
func TestAReplicaThatTakesOverRevivesNothing(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			program := programs(t)[0]
			first, second := start(t, program, forgets...), start(t, program, forgets...)
			m := manager(t, c.open(t, first, nil))
			ended, sid := signIn(t, m, "alice")
			second.follow(first, "admit:r:"+sid)
			asked := c.open(t, second, nil)
			for range 2 {
				if it, err := asked.Get(t.Context(), sid); admit.KindOf(err) != admit.Unavailable {
					t.Errorf("Get from a replica: %+v, %v", it, err)
				}
			}
			second.must("REPLICAOF", "NO", "ONE")
			if err := m.EndSID(t.Context(), "alice", sid, "sign_out"); err != nil {
				t.Fatal(err)
			}
			first.kill()
			gone(t, ended, sid, asked, c.open(t, second, nil))
		})
	}
}

// The attack: the server was cut off, another took over, and it comes back with what the
// other has, but for the sign-out that nobody heard of.
func TestAFailOverThereAndBackRevivesNothing(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			program := programs(t)[0]
			first, second := start(t, program, forgets...), start(t, program, forgets...)
			store := c.open(t, first, nil)
			m := manager(t, store)
			ended, sid := signIn(t, m, "alice")
			if _, err := m.Load(ended); err != nil {
				t.Fatal(err)
			}
			second.follow(first, "admit:r:"+sid)
			second.must("REPLICAOF", "NO", "ONE")
			if err := m.EndSID(t.Context(), "alice", sid, "sign_out"); err != nil {
				t.Fatal(err)
			}
			signIn(t, manager(t, c.open(t, second, nil)), "bob") // it is the server now
			first.must("DEL", "admit:r:"+sid)
			first.follow(second, "admit:r:"+sid)
			first.must("REPLICAOF", "NO", "ONE")
			gone(t, ended, sid, store, c.open(t, first, nil))
		})
	}
}

func TestFlushAllRevivesNothing(t *testing.T) {
	for _, c := range []client{clients[0], pooled} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, programs(t)[0], forgets...)
			store := c.open(t, s, nil)
			m := manager(t, store)
			ended, _ := signIn(t, m, "alice")
			live, _ := signIn(t, m, "alice")
			if err := m.End(httptest.NewRecorder(), ended, "sign_out"); err != nil {
				t.Fatal(err)
			}
			s.must("FLUSHALL")
			for what, r := range map[string]*http.Request{"ended": ended, "live": live} {
				if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
					t.Errorf("Load of the %s session after FLUSHALL: %v, want ErrNone", what, err)
				}
			}
			again, _ := signIn(t, m, "alice")
			s.must("SCRIPT", "FLUSH") // which is no restart
			s.must("DEL", "admit:run", "admit:index")
			if _, err := m.Load(again); err != nil {
				t.Errorf("Load after SCRIPT FLUSH: %v", err)
			}
		})
	}
}

func TestAnOutageIsAnsweredInTimeAndEndsByItself(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	const timeout = 200 * time.Millisecond
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			store := c.open(t, s, &redisstore.Options{Prefix: c.name + ":", Timeout: timeout})
			version, err := store.Add(t.Context(), "k", item("v"))
			if err != nil {
				t.Fatal(err)
			}
			calls := map[string]func() error{
				"Get":          func() error { _, err := store.Get(t.Context(), "k"); return err },
				"GetWithEpoch": func() error { _, _, err := store.GetWithEpoch(t.Context(), "k"); return err },
				"Add":          func() error { _, err := store.Add(t.Context(), "new", item("v")); return err },
				"Swap":         func() error { _, err := store.Swap(t.Context(), "k", version+1, item("v")); return err },
				"Touch":        func() error { return store.Touch(t.Context(), "k", version, time.Now()) },
				"Delete":       func() error { return store.Delete(t.Context(), "gone") },
				"List":         func() error { _, err := store.List(t.Context(), "alice", "", 10); return err },
			}
			away := func(how string) {
				t.Helper()
				var wg sync.WaitGroup
				for name, call := range calls {
					wg.Go(func() {
						begun := time.Now()
						err := call()
						if admit.KindOf(err) != admit.Unavailable {
							t.Errorf("%s of a server that is %s: %v, want unavailable", name, how, err)
						}
						if took := time.Since(begun); took > timeout+time.Second {
							t.Errorf("%s of a server that is %s took %v", name, how, took)
						}
					})
				}
				wg.Wait()
			}
			back := func() {
				t.Helper()
				for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
					_, err := store.Get(t.Context(), "k")
					if err == nil || errors.Is(err, session.ErrNotFound) {
						return
					}
					if time.Now().After(end) {
						t.Fatalf("Get when the server is back: %v", err)
					}
				}
			}
			s.cmd.Process.Signal(syscall.SIGSTOP)
			away("paused")
			s.cmd.Process.Signal(syscall.SIGCONT)
			back()
			s.kill()
			away("stopped")
			s.run()
			back()
		})
	}
}

func TestAFullServerRefusesNewSessionsAndAnswersForOldOnes(t *testing.T) {
	for _, c := range []client{clients[0], pooled} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, programs(t)[0], append(forgets, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")...)
			store := c.open(t, s, nil)
			var err error
			for i := 0; err == nil && i < 1000; i++ {
				_, err = store.Add(t.Context(), fmt.Sprint("k", i), item(strings.Repeat("v", 20_000)))
			}
			if !errors.Is(err, session.ErrFull) {
				t.Fatalf("Add to a full server: %v, want ErrFull", err)
			}
			if _, _, err := store.GetWithEpoch(t.Context(), "k0"); err != nil {
				t.Errorf("GetWithEpoch of a full server: %v", err)
			}
			if err := store.Delete(t.Context(), "k0"); err != nil {
				t.Errorf("Delete of a full server: %v", err)
			}
		})
	}
}

// The attack on a counter: a client does not hear the answer and asks again.
func TestAClientThatSendsEverythingTwiceWritesOnce(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	once := clients[0].dial(s)
	m := manager(t, open(t, func(ctx context.Context, args ...string) (any, error) {
		if first, err := once(ctx, args...); err != nil {
			return first, err
		}
		return once(ctx, args...)
	}, nil))
	r, _ := signIn(t, m, "alice")
	for range 20 {
		if _, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := m.Load(r); err != nil || v.Data.Count != 20 {
		t.Errorf("after 20 updates: %+v, %v", v, err)
	}
}

func TestACheckIsOneTripAndAnUpdateTwo(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	client := clients[0].dial(s)
	var trips atomic.Int64
	m := manager(t, open(t, func(ctx context.Context, args ...string) (any, error) {
		trips.Add(1)
		return client(ctx, args...)
	}, nil))
	r, _ := signIn(t, m, "alice")
	for what, c := range map[string]struct {
		call func() error
		want int64
	}{
		"a check": {func() error { _, err := m.Check(r); return err }, 1},
		"a load":  {func() error { _, err := m.Load(r); return err }, 1},
		"a change": {func() error {
			_, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil })
			return err
		}, 2},
	} {
		trips.Store(0)
		if err := c.call(); err != nil || trips.Load() != c.want {
			t.Errorf("%s: %d trips, %v, want %d", what, trips.Load(), err, c.want)
		}
	}
}

// To read is a script only where this store has neither begun nor read the session.
func TestAPoolReadsWithoutTheScript(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	rights := []string{"on", ">secret", "~admit:*", "+@read", "+@write", "+@scripting", "+@connection"} // as the how-to says
	s.must(append([]string{"ACL", "SETUSER", "limited"}, rights...)...)
	s.must(append([]string{"ACL", "SETUSER", "app", "+info"}, rights...)...)
	for _, c := range []struct {
		user    string
		scripts int
	}{{"app", 0}, {"limited", 20}} { // who may not ask for the server's run is the second, and finds the script
		p, err := redisstore.OpenPool(strings.Replace(s.url(), "//", "//"+c.user+":secret@", 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		store, err := p.Store(nil)
		if err != nil {
			t.Fatal(err)
		}
		m := manager(t, store)
		known, sid := signIn(t, m, "alice")
		guest := httptest.NewRequest("GET", "https://example.org/", nil)
		w := httptest.NewRecorder()
		if _, err := m.Update(w, guest, func(v *visit) error { v.Count++; return nil }); err != nil {
			t.Fatal(err)
		}
		guest.AddCookie(w.Result().Cookies()[0])
		strange, _ := signIn(t, m, strings.Repeat("a name that makes no key ", 20)[:255])
		check := func(want error, all ...*http.Request) {
			t.Helper()
			for _, r := range all {
				if _, err := m.Check(r); !errors.Is(err, want) {
					t.Errorf("Check: %v, want %v", err, want)
				}
			}
		}
		check(nil, known, guest, strange)
		before := s.calls("evalsha")
		for range 10 {
			check(nil, known, guest)
		}
		if n := s.calls("evalsha") - before; n != c.scripts {
			t.Errorf("user %q: 20 checks are %d scripts, want %d", c.user, n, c.scripts)
		}
		check(nil, strange)
		if err := m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
			t.Fatal(err)
		}
		check(session.ErrEnded, known)
		s.must("DEL", "admit:r:"+sid)
		check(session.ErrNone, known)
	}
}

// calls returns how often the server was asked for a command.
func (s *server) calls(command string) (n int) {
	s.t.Helper()
	if _, of, there := strings.Cut(fmt.Sprintf("%s", s.must("INFO", "commandstats")), "cmdstat_"+command+":calls="); there {
		fmt.Sscanf(of, "%d,", &n)
	}
	return n
}

func TestTheIndexForgetsWhatHasExpired(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	store := open(t, clients[0].dial(s), nil)
	stays := item("v")
	for i := range 3000 {
		it := item("v")
		it.Expires = time.Now().Add(time.Millisecond)
		if i == 0 {
			it = stays
		}
		if _, err := store.Add(t.Context(), fmt.Sprint("k", i), it); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.must("ZCARD", "admit:index").(int64); n > 300 {
		t.Errorf("%d members of the index, for one session that lives and 2,999 that are gone", n)
	}
	if ms := s.must("PTTL", "admit:index").(int64); ms <= 0 || ms > time.Hour.Milliseconds() {
		t.Errorf("the index ends in %d ms, want within the hour that the last session has", ms)
	}
	time.Sleep(20 * time.Millisecond) // the last of them expire
	l, err := store.List(t.Context(), "alice", "", 10)
	if len(l) != 1 || err != nil {
		t.Errorf("List: %v, %v", l, err)
	}
}

// A server that is full, and may throw away anything, threw away the index.
func TestASessionInUseIsListedAgainWhereTheIndexWasEvicted(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	store := open(t, clients[0].dial(s), nil)
	touched, written, it := "touched", "written", item("v")
	first, err := store.Add(t.Context(), touched, it)
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.Add(t.Context(), written, it)
	if err != nil {
		t.Fatal(err)
	}
	s.must("DEL", "admit:index")
	it.Expires = it.Expires.Add(time.Hour)
	if err := store.Touch(t.Context(), touched, first, it.Expires); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Swap(t.Context(), written, second, it); err != nil {
		t.Fatal(err)
	}
	l, err := store.List(t.Context(), "alice", "", 10)
	if len(l) != 2 || err != nil {
		t.Errorf("List: %v, %v", l, err)
	}
}

func TestASessionIsReadableInTheServersOwnTool(t *testing.T) {
	s := start(t, programs(t)[0], forgets...)
	m := manager(t, open(t, clients[0].dial(s), nil))
	r, sid := signIn(t, m, "alice")
	if _, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count = 7; return nil }); err != nil {
		t.Fatal(err)
	}
	got := string(s.must("GET", "admit:r:"+sid).([]byte))
	fields := strings.SplitN(got, " ", 5)
	if len(fields) != 5 || !strings.HasPrefix(fields[4], "alice") || !strings.HasSuffix(got, `{"Count":7}`) {
		t.Fatalf("the record is %q", got)
	}
	if ms, _ := strconv.ParseInt(fields[1], 10, 64); s.must("PEXPIRETIME", "admit:r:"+sid) != ms {
		t.Errorf("the record says %d ms, the server %v", ms, s.must("PEXPIRETIME", "admit:r:"+sid))
	}
}

func TestWhatAnotherProgramLeftInTheServerIsAbsent(t *testing.T) {
	for _, c := range []client{clients[0], pooled} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, programs(t)[0], forgets...)
			m := manager(t, c.open(t, s, nil))
			for what, command := range map[string][]string{
				"text":       {"SET", "junk"},
				"our length": {"SET", strings.Repeat("7", 60)},
				"a list":     {"LPUSH", "junk"},
			} {
				r, sid := signIn(t, m, "alice")
				key := "admit:r:" + sid
				s.must("DEL", key)
				s.must(append([]string{command[0], key}, command[1:]...)...)
				if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
					t.Errorf("Load of %s: %v, want ErrNone", what, err)
				}
				if s, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil }); err != nil || s.SID == sid {
					t.Errorf("Update over %s: %+v, %v, want a new session", what, s, err)
				}
				s.must("DEL", "admit:r:e:alice")
				s.must(append([]string{command[0], "admit:r:e:alice"}, command[1:]...)...)
				if r, _ = signIn(t, m, "alice"); r == nil {
					t.Errorf("no sign-in where the epoch is %s", what)
				}
			}
		})
	}
}
