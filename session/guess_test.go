package session

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A guessing store is a process's way to a store that others write to as well. It
// remembers what it read and wrote, and counts its trips.
type guessing struct {
	*Memory
	trips atomic.Int64
	mu    sync.Mutex
	last  map[string]Item  // guarded by mu
	epoch map[string]Epoch // guarded by mu
}

func newGuessing(shared *Memory) *guessing {
	return &guessing{Memory: shared, last: map[string]Item{}, epoch: map[string]Epoch{}}
}

func (g *guessing) Get(ctx context.Context, key string) (Item, error) {
	g.trips.Add(1)
	return g.Memory.Get(ctx, key)
}

func (g *guessing) GetWithEpoch(ctx context.Context, key string) (Item, Epoch, error) {
	g.trips.Add(1)
	it, epoch, err := g.Memory.GetWithEpoch(ctx, key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.last[key], g.epoch[key] = it, epoch
	}
	return it, epoch, err
}

func (g *guessing) Guess(key string) (Item, Epoch, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	it, ok := g.last[key]
	return it, g.epoch[key], ok
}

func (g *guessing) Swap(ctx context.Context, key string, old uint64, it Item) (version uint64, err error) {
	g.trips.Add(1)
	if it.Version, err = g.Memory.Swap(ctx, key, old, it); err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, known := g.last[key]; known {
			g.last[key] = it
		}
	}
	return it.Version, err
}

// SwapIn compares first: no test here has an epoch raised in between.
func (g *guessing) SwapIn(ctx context.Context, key string, old uint64, it Item, epoch Epoch) (uint64, error) {
	if now, _ := g.Memory.epoch(it.Subject); it.Subject != "" && now != epoch {
		g.trips.Add(1)
		return 0, ErrConflict
	}
	return g.Swap(ctx, key, old, it)
}

// A process is one of two that share a store.
type process struct {
	*guessing
	m *Manager[visit]
}

// twoProcesses runs a test in which the first of two remembers alice's session, of one
// visit.
func twoProcesses(t *testing.T, run func(here, there process, b *browser)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		shared := NewMemory(nil)
		var ps [2]process
		for i := range ps {
			g := newGuessing(shared)
			ps[i] = process{g, newManager(t, g, nil)}
		}
		b := &browser{t: t}
		b.start(ps[0].m, "alice", nil)
		if err := count(ps[0].m, b); err != nil {
			t.Fatal(err)
		}
		ps[0].trips.Store(0)
		run(ps[0], ps[1], b)
	})
}

// update is an update of the browser's, with how many trips it took.
func (p process) update(b *browser, fn func(*visit) error) (s *Session[visit], trips int64, err error) {
	before := p.trips.Load()
	b.do(func(w http.ResponseWriter, r *http.Request) { s, err = p.m.Update(w, r, fn) })
	return s, p.trips.Load() - before, err
}

func more(v *visit) error { v.Count++; return nil }

func TestAnUpdateOfWhatIsRememberedIsOneTrip(t *testing.T) {
	twoProcesses(t, func(here, _ process, b *browser) {
		for i := range 5 {
			if s, trips, err := here.update(b, more); err != nil || trips != 1 || s.Data.Count != i+2 {
				t.Errorf("update %d: %+v, %d trips, %v", i, s, trips, err)
			}
		}
		b.want(here.m, 6)
	})
}

func TestAnUpdateOfWhatAnotherProcessChangedLosesNothing(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		for range 3 {
			if _, _, err := there.update(b, more); err != nil {
				t.Fatal(err)
			}
			if _, trips, err := here.update(b, more); err != nil || trips != 3 { // in vain, to read, to write
				t.Errorf("%d trips, %v, want 3", trips, err)
			}
		}
		b.want(there.m, 7)
	})
}

// What fn says of what is remembered, and whether it changes it, are no answers yet.
func TestARefusalOfWhatIsRememberedIsNoAnswer(t *testing.T) {
	broke := errors.New("there are no points left")
	spend := func(v *visit) error {
		if v.Count == 0 {
			return broke
		}
		v.Count--
		return nil
	}
	twoProcesses(t, func(here, there process, b *browser) {
		if _, _, err := here.update(b, spend); err != nil {
			t.Fatal(err)
		}
		if _, _, err := there.update(b, more); err != nil {
			t.Fatal(err)
		}
		if _, _, err := here.update(b, spend); err != nil {
			t.Errorf("the point that came elsewhere: %v", err)
		}
		b.want(here.m, 0)
		if _, _, err := here.update(b, spend); !errors.Is(err, broke) {
			t.Errorf("a point more: %v, want the refusal", err)
		}
		if _, _, err := there.update(b, more); err != nil {
			t.Fatal(err)
		}
		if s, _, err := here.update(b, func(*visit) error { return nil }); err != nil || s.Data.Count != 1 {
			t.Errorf("an update that changes nothing: %+v, %v, want what there is", s, err)
		}
	})
}

func TestAttackAnUpdateOfWhatIsRememberedOutlivesTheEnding(t *testing.T) {
	for how, end := range map[string]func(process, string) error{
		"everywhere": func(p process, _ string) error { return p.m.EndAll(t.Context(), "alice", "", "sign_out_everywhere") },
		"by its id":  func(p process, sid string) error { return p.m.EndSID(t.Context(), "alice", sid, "sign_out") },
	} {
		twoProcesses(t, func(here, there process, b *browser) {
			s, _, err := here.update(b, more)
			if err != nil {
				t.Fatal(err)
			}
			was, _ := here.Memory.Get(t.Context(), s.SID)
			if err := end(there, s.SID); err != nil {
				t.Fatal(err)
			}
			if _, _, err := here.update(b, more); !errors.Is(err, ErrEnded) {
				t.Errorf("ended %s: %v, want ErrEnded", how, err)
			}
			if is, _ := here.Memory.Get(t.Context(), s.SID); how == "everywhere" && is != was {
				t.Errorf("ended %s, and changed: %+v, was %+v", how, is, was)
			}
		})
	}
}

func TestWhatIsRememberedOfASparedSessionStillCounts(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		s, _, _ := here.update(b, more)
		if err := there.m.EndAll(t.Context(), "alice", s.SID, "password_changed"); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{3, 1} {
			if _, trips, err := here.update(b, more); err != nil || trips != want {
				t.Errorf("%d trips, %v, want %d", trips, err, want)
			}
		}
	})
}

func TestAttackAnOldTokenUpdatesWhatIsRememberedOfIt(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		thief := *b
		b.do(func(w http.ResponseWriter, r *http.Request) {
			if _, err := there.m.Prove(w, r, "pwd"); err != nil {
				t.Fatal(err)
			}
		})
		if _, _, err := here.update(&thief, more); !errors.Is(err, ErrEnded) {
			t.Errorf("with the token from before the proof: %v, want ErrEnded", err)
		}
		if s, _, err := here.update(b, more); err != nil || s.Data.Count != 2 {
			t.Errorf("with the new one: %+v, %v", s, err)
		}
	})
}

func TestWhatIsRememberedOfASessionThatIsGoneBeginsAnew(t *testing.T) {
	for how, lose := range map[string]func(process, string){
		"forgotten": func(p process, sid string) { p.Memory.Delete(t.Context(), sid) },
		"over":      func(process, string) { time.Sleep(2 * time.Hour) },
	} {
		twoProcesses(t, func(here, _ process, b *browser) {
			was, _, _ := here.update(b, more)
			lose(here, was.SID)
			s, _, err := here.update(b, more)
			if err != nil || s.SID == was.SID || s.Subject != "" || s.Data.Count != 1 {
				t.Errorf("%s: %+v, %v, want a guest's", how, s, err)
			}
		})
	}
}

// It was used elsewhere: what is remembered says that its time is over.
func TestASessionThatWasUsedElsewhereIsRead(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		for range 3 {
			time.Sleep(45 * time.Minute)
			b.do(func(w http.ResponseWriter, r *http.Request) {
				if _, err := there.m.Use(w, r); err != nil {
					t.Fatal(err)
				}
			})
		}
		if s, _, err := here.update(b, more); err != nil || s.Data.Count != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

func TestParallelUpdatesOfWhatIsRememberedLoseNone(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		var wg sync.WaitGroup
		for i := range 100 {
			p := here
			if i%2 == 0 {
				p = there
			}
			wg.Go(func() {
				if err := count(p.m, b); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.want(here.m, 101)
		here.trips.Store(0)
		for range 10 {
			wg.Go(func() {
				if err := count(here.m, b); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.want(there.m, 111)
	})
}

// Those that wait for each other share a write, which is no guess.
func TestAttackParallelUpdatesOfWhatIsRememberedOutliveTheEnding(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		s, _, _ := here.update(b, more)
		was, _ := here.Memory.Get(t.Context(), s.SID)
		if err := there.m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := here.m.Update(httptest.NewRecorder(), b.request(), func(v *visit) error {
					time.Sleep(time.Millisecond) // the others come
					return more(v)
				})
				if !errors.Is(err, ErrEnded) {
					t.Errorf("an update of many: %v, want ErrEnded", err)
				}
			})
		}
		wg.Wait()
		if is, _ := here.Memory.Get(t.Context(), s.SID); is != was {
			t.Errorf("it was changed: %+v, was %+v", is, was)
		}
	})
}

// Who began after the ending is carried by nobody who began before it.
func TestAttackAJoinerOutlivesTheEnding(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		s, _, _ := here.update(b, more)
		started, goOn := make(chan bool), make(chan bool)
		var wg sync.WaitGroup
		wg.Go(func() {
			here.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ran := false
				here.m.Update(w, r, func(v *visit) error {
					if !ran {
						ran = true
						close(started)
						<-goOn
					}
					return more(v)
				})
			})).ServeHTTP(httptest.NewRecorder(), b.request())
		})
		<-started
		was, _ := here.Memory.Get(t.Context(), s.SID)
		if err := there.m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, _, err := here.update(b, more); !errors.Is(err, ErrEnded) {
				t.Errorf("it began after the ending: %v, want ErrEnded", err)
			}
		})
		synctest.Wait() // it is in line
		close(goOn)
		wg.Wait()
		if is, _ := here.Memory.Get(t.Context(), s.SID); is != was {
			t.Errorf("it was changed: %+v, was %+v", is, was)
		}
	})
}

// Whether somebody waits changes at any moment, and between two looks as well.
func TestAttackUpdatesOfWhatIsRememberedAtOnceOutliveTheEnding(t *testing.T) {
	for range 300 {
		twoProcesses(t, func(here, there process, b *browser) {
			s, _, _ := here.update(b, more)
			was, _ := here.Memory.Get(t.Context(), s.SID)
			if err := there.m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if _, err := here.m.Update(httptest.NewRecorder(), b.request(), more); !errors.Is(err, ErrEnded) {
						t.Errorf("an update of many: %v, want ErrEnded", err)
					}
				})
			}
			wg.Wait()
			if is, _ := here.Memory.Get(t.Context(), s.SID); is != was {
				t.Errorf("it was changed: %+v, was %+v", is, was)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// Which of several cookies counts is not for what is remembered to say.
func TestTheCookieOfASessionThatEndedElsewhereHidesNoOther(t *testing.T) {
	for _, subject := range []string{"alice", "bob", ""} {
		twoProcesses(t, func(here, there process, b *browser) {
			s, _, _ := here.update(b, more)
			if err := there.m.EndSID(t.Context(), "alice", s.SID, "sign_out"); err != nil {
				t.Fatal(err)
			}
			other := &browser{t: t}
			other.start(there.m, subject, nil)
			r := b.request()
			for _, c := range other.request().Cookies() {
				r.AddCookie(c)
			}
			w := httptest.NewRecorder()
			s, err := here.m.Update(w, r, more)
			if err != nil || s.Subject != subject || s.Data.Count != 1 || len(w.Result().Cookies()) > 0 {
				t.Errorf("beside one of %q: %+v, %v, %v", subject, s, err, w.Result().Cookies())
			}
		})
	}
}

func TestTheNewTokenCountsBesideTheOldOneThatIsRemembered(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		r := b.request()
		b.do(func(w http.ResponseWriter, r *http.Request) {
			if _, err := there.m.Prove(w, r, "pwd"); err != nil {
				t.Fatal(err)
			}
		})
		for _, c := range b.request().Cookies() {
			r.AddCookie(c)
		}
		if s, err := here.m.Update(httptest.NewRecorder(), r, more); err != nil || s.Data.Count != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// The write compares all of the epoch, and not its number alone.
func TestAnUpdateOfASparedSessionThatHandlerReadForIsOneTripMore(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		s, _, _ := here.update(b, more)
		if err := there.m.EndAll(t.Context(), "alice", s.SID, "password_changed"); err != nil {
			t.Fatal(err)
		}
		here.trips.Store(0)
		here.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := here.m.Update(w, r, more); err != nil || s.Data.Count != 3 {
				t.Errorf("%+v, %v", s, err)
			}
		})).ServeHTTP(httptest.NewRecorder(), b.request())
		if n := here.trips.Load(); n != 2 {
			t.Errorf("%d trips, want 2", n)
		}
	})
}
