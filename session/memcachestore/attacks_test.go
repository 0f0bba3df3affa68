package memcachestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

type visit struct {
	Count int
	Name  string
}

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
	r, w := httptest.NewRequest("GET", "https://example.org/", nil), httptest.NewRecorder()
	s, err := m.StartWith(w, r, subject, nil, func(v *visit) { v.Name = subject })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r, s.SID
}

func hour(value string) session.Item {
	return session.Item{Value: value, Subject: "alice", Expires: time.Now().Add(time.Hour)}
}

// The attack: what a slow request read is from before a restart, and memcached
// gives the number that its cas has to another record.
func TestARestartBetweenAReadAndItsWriteBringsNothingBack(t *testing.T) {
	s := start(t)
	store, other := open(t, nil, s.addr), open(t, nil, s.addr)
	version, err := store.Add(t.Context(), "k", hour("from before"))
	if err != nil {
		t.Fatal(err)
	}
	number := func() (n string) { // of the cas
		n, _ = s.ask("gets admit:k")
		return n[strings.LastIndex(n, " ")+1:]
	}
	before := number()
	var once sync.Once
	err = store.change(t.Context(), "k", version, func(it session.Item) session.Item {
		once.Do(func() {
			s.restart()
			if _, err := other.Add(t.Context(), "k", hour("anew")); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Get(t.Context(), "k"); err != nil { // so that the store has a new connection too
				t.Fatal(err)
			}
			if after := number(); after != before {
				t.Fatalf("the number was %s and is %s: the attack is not told right", before, after)
			}
		})
		it.Value = "written by the slow one"
		return it
	})
	if admit.KindOf(err) != admit.Unavailable {
		t.Errorf("the slow write: %v, want unavailable", err)
	}
	if it, err := other.Get(t.Context(), "k"); err != nil || it.Value != "anew" {
		t.Errorf("the record: %q, %v, want what was added after the restart", it.Value, err)
	}
}

// The attack: memcached evicts the record, or its tombstone, between a read and
// its write; perhaps somebody adds another.
func TestAnEvictionBetweenAReadAndItsWriteBringsNothingBack(t *testing.T) {
	s := start(t)
	store := open(t, nil, s.addr)
	for _, c := range []struct {
		name  string
		since func()
		want  error
		left  string
	}{
		{"it was evicted", func() {}, session.ErrNotFound, ""},
		{"and another was added", func() { store.Add(t.Context(), "k", hour("another")) }, session.ErrConflict, "another"},
	} {
		for what, write := range map[string]func(session.Item) session.Item{
			"a swap":  func(it session.Item) session.Item { it.Version, it.Value = 1, "old"; return it },
			"a touch": func(it session.Item) session.Item { it.Expires = it.Expires.Add(time.Hour); return it },
		} {
			store.Delete(t.Context(), "k")
			version, err := store.Add(t.Context(), "k", hour("v"))
			if err != nil {
				t.Fatal(err)
			}
			err = store.change(t.Context(), "k", version, func(it session.Item) session.Item {
				s.must("delete admit:k", "DELETED")
				c.since()
				return write(it)
			})
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", c.name, what, err, c.want)
			}
			if it, _ := store.Get(t.Context(), "k"); it.Value != c.left {
				t.Errorf("%s, %s: %q stands, want %q", c.name, what, it.Value, c.left)
			}
		}
	}
}

// A memcached so small that it evicts all the time: sessions, tombstones and
// epochs alike.
func TestWhatMemcachedEvictsHasEndedAndNobodyIsRevivedOrMistaken(t *testing.T) {
	s := start(t, "-m", "2")
	m := manager(t, open(t, nil, s.addr))
	type one struct {
		r       *http.Request
		subject string
		ended   bool
	}
	var all []*one
	forgotten, lived := 0, 0
	look := func(o *one) {
		got, err := m.Load(o.r)
		switch {
		case err == nil && o.ended:
			t.Errorf("a session of %s was ended and counts", o.subject)
		case err == nil && (got.Subject != o.subject || got.Data.Name != o.subject):
			t.Errorf("the session of %s says that it is %s's, of %s", o.subject, got.Subject, got.Data.Name)
		case err == nil:
			lived++
		case admit.KindOf(err) != admit.Unauthenticated:
			t.Errorf("Load: %v", err)
		case !o.ended:
			forgotten, o.ended = forgotten+1, true // and it must not come back
		}
	}
	for i := range 6000 {
		subject := fmt.Sprint("user", i%200)
		r, _ := signIn(t, m, subject)
		all = append(all, &one{r: r, subject: subject})
		if _, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error {
			v.Count, v.Name = 1, subject+strings.Repeat(" ", i%7*300)
			v.Name = strings.TrimSpace(v.Name)
			return nil
		}); err != nil && admit.KindOf(err) != admit.Unauthenticated {
			t.Fatal(err)
		}
		switch i % 10 {
		case 3:
			if err := m.End(httptest.NewRecorder(), r, "sign_out"); err != nil {
				t.Fatal(err)
			}
			all[i].ended = true
		case 7:
			if err := m.EndAll(t.Context(), subject, "", "sign_out_everywhere"); err != nil {
				t.Fatal(err)
			}
			for _, o := range all {
				o.ended = o.ended || o.subject == subject
			}
		}
		look(all[i*7919%len(all)])
	}
	for _, o := range all {
		look(o)
	}
	evicted, _ := s.ask("stats")
	if forgotten == 0 || lived == 0 {
		t.Errorf("%d sessions were forgotten and %d lived: nothing was shown (%s)", forgotten, lived, evicted)
	}
	t.Logf("%d sessions forgotten, %d looks at live ones", forgotten, lived)
}

func TestWhatHasExpiredIsForgottenAndWhatIsFarOffStays(t *testing.T) {
	s := start(t)
	store := open(t, nil, s.addr)
	for name, c := range map[string]struct {
		expires time.Time
		stays   bool
	}{
		"1970":     {time.UnixMilli(0), false},
		"a-minute": {time.Unix(60, 0), false},
		"31-days":  {time.Unix(31*24*3600, 0), false},
		"an-hour":  {time.Now().Add(-time.Hour), false},
		"in-29":    {time.Now().Add(29 * 24 * time.Hour), true},
		"in-30":    {time.Now().Add(30 * 24 * time.Hour), true},
		"in-31":    {time.Now().Add(31 * 24 * time.Hour), true},
		"in-365":   {time.Now().Add(365 * 24 * time.Hour), true},
		"in-2100":  {time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), true},
	} {
		if _, err := store.Add(t.Context(), name, session.Item{Value: "v", Expires: c.expires}); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get(t.Context(), name); (err == nil) != c.stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAMemcachedWithoutCASIsRefused(t *testing.T) {
	s := start(t, "-C")
	store := open(t, nil, s.addr)
	version, err := store.Add(t.Context(), "k", hour("v"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Swap(t.Context(), "k", version, hour("w")); !errors.Is(err, errNoCAS) {
		t.Errorf("Swap: %v, want %v", err, errNoCAS)
	}
}

func TestAMemcachedThatTakesNoMoreSaysSo(t *testing.T) {
	small := open(t, nil, start(t, "-I", "16k", "-o", "slab_chunk_max=8192").addr)
	if _, err := small.Add(t.Context(), "k", hour(strings.Repeat("v", 20_000))); !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("Add of more than -I: %v, want ErrTooLarge", err)
	}
	version, err := small.Add(t.Context(), "k", hour("v"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.Swap(t.Context(), "k", version, hour(strings.Repeat("v", 20_000))); !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("Swap to more than -I: %v, want ErrTooLarge", err)
	}
	if it, err := small.Get(t.Context(), "k"); err != nil || it.Value != "v" {
		t.Errorf("after that: %q, %v", it.Value, err)
	}

	full := open(t, nil, start(t, "-m", "2", "-M").addr)
	for i := 0; err == nil && i < 1000; i++ {
		_, err = full.Add(t.Context(), fmt.Sprint("k", i), hour(strings.Repeat("v", 20_000)))
	}
	if !errors.Is(err, session.ErrFull) {
		t.Errorf("Add where nothing is evicted: %v, want ErrFull", err)
	}
	if _, err := full.Get(t.Context(), "k0"); err != nil {
		t.Errorf("Get of a full memcached: %v", err)
	}
}

// calls are every method of a store.
func calls(s *Store, version uint64) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
		"Add":    func(ctx context.Context) error { _, err := s.Add(ctx, "new", hour("v")); return err },
		"Swap":   func(ctx context.Context) error { _, err := s.Swap(ctx, "k", version, hour("v")); return err },
		"Touch":  func(ctx context.Context) error { return s.Touch(ctx, "k", version, time.Now()) },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "none") },
	}
}

func TestAnOutageIsAnsweredInTimeAndEndsByItself(t *testing.T) {
	s := start(t)
	const timeout = time.Second
	slow := wireTo(t, s.addr)
	store, behind := open(t, &Options{Timeout: timeout}, s.addr), open(t, &Options{Timeout: timeout}, slow.addr)
	version, err := store.Add(t.Context(), "k", hour("v"))
	if err != nil {
		t.Fatal(err)
	}
	away := func(how string, store *Store) {
		t.Helper()
		var wg sync.WaitGroup
		for name, call := range calls(store, version+1) {
			for range 10 {
				wg.Go(func() {
					begun := time.Now()
					err := call(t.Context())
					if admit.KindOf(err) != admit.Unavailable {
						t.Errorf("%s of a memcached that is %s: %v, want unavailable", name, how, err)
					}
					if took := time.Since(begun); took > timeout+5*time.Second {
						t.Errorf("%s of a memcached that is %s took %v", name, how, took)
					}
				})
			}
		}
		wg.Wait()
	}
	back := func(how string, store *Store) {
		t.Helper()
		for range 20 { // the first call is answered, and so are all
			if _, err := store.Get(t.Context(), "k"); err != nil && !errors.Is(err, session.ErrNotFound) {
				t.Fatalf("Get of a memcached that was %s: %v", how, err)
			}
		}
	}
	s.pause()
	away("paused", store)
	s.cmd.Process.Signal(syscall.SIGCONT)
	back("paused", store)

	slow.delay.Store(int64(3 * timeout))
	away("slow", behind)
	slow.delay.Store(0)
	back("slow", behind)

	s.kill()
	away("stopped", store)
	s.run()
	back("stopped", store)
}

// Connections that stood while memcached restarted are no outage once it is back.
func TestARestartThatNobodySawCostsNoAnswer(t *testing.T) {
	s := start(t)
	store := open(t, nil, s.addr)
	const callers = 30
	ask := func() {
		t.Helper()
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range callers {
			wg.Go(func() {
				<-begin
				key := fmt.Sprint("k", i)
				v, err := store.Add(t.Context(), key, hour("v"))
				if err == nil {
					_, err = store.Swap(t.Context(), key, v, hour("w"))
				}
				if err != nil {
					t.Errorf("%s: %v", key, err)
				}
			})
		}
		close(begin)
		wg.Wait()
	}
	ask()
	s.restart()
	ask()
}

// The answer to the first command over a connection is lost with it, and the
// command is sent again: what was done is not told as somebody else's.
func TestAnAnswerThatWasNotHeardIsNoConflict(t *testing.T) {
	w := wireTo(t, start(t).addr)
	store := open(t, nil, w.addr)
	if _, err := store.Get(t.Context(), "k"); !errors.Is(err, session.ErrNotFound) { // and now has a connection
		t.Fatal(err)
	}
	w.mute.Store(true)
	version, err := store.Add(t.Context(), "k", hour("v"))
	if err != nil {
		t.Fatalf("Add whose answer was lost once: %v", err)
	}
	if it, err := store.Get(t.Context(), "k"); err != nil || it.Version != version {
		t.Errorf("Get: %+v, %v, want version %d", it, err, version)
	}
}

func TestASessionIsReadableInAnyTool(t *testing.T) {
	s := start(t)
	m := manager(t, open(t, nil, s.addr))
	r, sid := signIn(t, m, "alice")
	if _, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count = 7; return nil }); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "get admit:%s\r\nquit\r\n", sid)
	text, _ := io.ReadAll(c)
	if !strings.Contains(string(text), " 005 alice") || !strings.Contains(string(text), `{"Count":7,"Name":"alice"}`) {
		t.Errorf("memcached shows %q", text)
	}
}

// A wire stands between a store and its server.
type wire struct {
	addr  string
	delay atomic.Int64 // of what the store sends, in nanoseconds
	mute  atomic.Bool  // the next answer is lost, and its connection
}

func wireTo(t testing.TB, addr string) *wire {
	t.Helper()
	w := &wire{}
	w.addr = listen(t, func(near net.Conn) {
		far, err := net.Dial("unix", addr)
		if err != nil {
			near.Close()
			return
		}
		go func() {
			defer near.Close()
			defer far.Close()
			buf := make([]byte, 1<<17)
			for {
				n, err := far.Read(buf)
				if err != nil || w.mute.CompareAndSwap(true, false) {
					return
				}
				near.Write(buf[:n])
			}
		}()
		defer near.Close()
		defer far.Close()
		buf := make([]byte, 1<<17)
		for {
			n, err := near.Read(buf)
			if err != nil {
				return
			}
			time.Sleep(time.Duration(w.delay.Load()))
			far.Write(buf[:n])
		}
	})
	return w
}

// listen takes connections for as long as the test runs; without a serve it never
// answers them.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wire")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if serve != nil {
				go serve(c)
			}
		}
	}()
	return l.Addr().String()
}

// What somebody else put under a key is no outage for ever: it counts as absent, and
// the next record takes its place.
func TestWhatCannotBeReadCountsAsAbsent(t *testing.T) {
	s := start(t)
	store := open(t, nil, s.addr)
	m := manager(t, store)
	r, sid := signIn(t, m, "alice")
	for _, key := range []string{sid, session.EpochKey("alice")} {
		s.must("set admit:"+key+" 0 0 4\r\njunk", "STORED")
		if _, err := store.Get(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Get of junk: %v, want ErrNotFound", err)
		}
		if _, err := store.Swap(t.Context(), key, 1, hour("v")); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Swap of junk: %v, want ErrNotFound", err)
		}
	}
	if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
		t.Errorf("Load: %v, want ErrNone", err)
	}
	again, _ := signIn(t, m, "alice")
	if _, err := m.Load(again); err != nil {
		t.Errorf("Load after another sign-in: %v", err)
	}
}

// Of several servers one is away: what stands on the others goes on.
func TestOneServerThatIsAwayTakesOnlyItsOwnSessionsAlong(t *testing.T) {
	all := []*memcached{start(t), start(t), start(t)}
	store := open(t, &Options{Timeout: time.Second}, all[0].addr, all[1].addr, all[2].addr)
	const keys = 60
	for i := range keys {
		if _, err := store.Add(t.Context(), fmt.Sprint("k", i), hour("v")); err != nil {
			t.Fatal(err)
		}
	}
	look := func() (answered, away, gone int) {
		for i := range keys {
			switch _, err := store.Get(t.Context(), fmt.Sprint("k", i)); {
			case err == nil:
				answered++
			case errors.Is(err, session.ErrNotFound):
				gone++
			case admit.KindOf(err) == admit.Unavailable:
				away++
			default:
				t.Error(err)
			}
		}
		return answered, away, gone
	}
	all[1].kill()
	answered, away, gone := look()
	if answered < keys/3 || away < keys/6 || gone > 0 {
		t.Errorf("while one is away %d are answered, %d unavailable and %d gone", answered, away, gone)
	}
	all[1].run()
	if again, still, gone := look(); again != answered || still > 0 || gone != away {
		t.Errorf("when it is back %d are answered, %d unavailable and %d gone, want %d, 0 and %d", again, still, gone, answered, away)
	}
}
