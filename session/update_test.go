package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

// A tardy store takes a second to swap.
type tardy struct {
	*Memory
	swaps atomic.Int64
	hook  atomic.Pointer[func(swap int64) error]
}

// before has fn called before each swap is made.
func (s *tardy) before(fn func(swap int64) error) { s.hook.Store(&fn) }

func (s *tardy) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	n := s.swaps.Add(1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if before := s.hook.Load(); before != nil {
		if err := (*before)(n); err != nil {
			return 0, err
		}
	}
	return s.Memory.Swap(ctx, key, old, it)
}

// hot runs a test on one session, of which the first update is on its way to the
// store: all others will wait for it, and then for each other.
func hot(t *testing.T, run func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup)) {
	synctest.Test(t, func(t *testing.T) {
		s := &tardy{Memory: NewMemory(nil)}
		m := newManager(t, s, nil)
		b := &browser{t: t}
		b.start(m, "alice", nil)
		var updates sync.WaitGroup
		updates.Go(func() {
			if err := count(m, b); err != nil {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		run(t, s, m, b, &updates)
	})
}

// count makes an update with the request as it is sent by these changes to it.
func count(m *Manager[visit], b *browser, change ...func(*http.Request) *http.Request) error {
	r := b.request()
	for _, c := range change {
		r = c(r)
	}
	_, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil })
	return err
}

func with(ctx context.Context) func(*http.Request) *http.Request {
	return func(r *http.Request) *http.Request { return r.WithContext(ctx) }
}

func (b *browser) want(m *Manager[visit], count int) {
	b.t.Helper()
	if s, err := m.Load(b.request()); err != nil || s.Data.Count != count {
		b.t.Errorf("the session has %+v, %v, want a count of %d", s, err, count)
	}
}

func TestUpdatesThatWaitForEachOtherShareAWriteAndEachGetsItsOwnData(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		begun := time.Now()
		var seen [33]atomic.Int64
		for range 31 {
			updates.Go(func() {
				s, err := m.Update(httptest.NewRecorder(), b.request(), func(v *visit) error {
					if v.Count++; v.Cart == nil {
						v.Cart = map[string]int{}
					}
					v.Cart["x"]++
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				seen[s.Data.Count].Add(1)
				s.Data.Cart["x"] = 0 // nobody else's
			})
		}
		updates.Wait()
		if n := s.swaps.Load(); n != 2 {
			t.Errorf("32 updates took %d swaps, want 2", n)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("32 updates took %v", took)
		}
		for n := 2; n <= 32; n++ {
			if seen[n].Load() != 1 {
				t.Errorf("%d updates got the number %d", seen[n].Load(), n)
			}
		}
		b.want(m, 32)
		if len(m.queue.lines) != 0 {
			t.Errorf("%d lines are left", len(m.queue.lines))
		}
	})
}

func TestASharedWriteIsBounded(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		for range 2*maxShare + 1 {
			updates.Go(func() {
				if err := count(m, b); err != nil {
					t.Error(err)
				}
			})
		}
		updates.Wait()
		if n := s.swaps.Load(); n != 1+3 {
			t.Errorf("%d swaps", n)
		}
		b.want(m, 1+2*maxShare+1)
	})
}

func TestAnUpdateThatFailsHarmsNoneOfThoseItSharesWith(t *testing.T) {
	refusal := errors.New("refused")
	for _, c := range []struct {
		name string
		fn   func(*visit) error
	}{
		{"it refuses", func(v *visit) error { v.Count += 1000; return refusal }},
		{"it panics", func(v *visit) error { v.Count += 1000; panic(refusal) }},
		{"its goroutine exits", func(v *visit) error { v.Count += 1000; runtime.Goexit(); return nil }},
		{"it cannot be encoded", func(v *visit) error { v.Count += 1000; return nil }},
	} {
		for place := range 3 { // first, in the middle, last
			t.Run(fmt.Sprint(c.name, " as number ", place), func(t *testing.T) {
				hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
					if c.name == "it cannot be encoded" {
						m.codec = refusing{m.codec, refusal}
					}
					for i := range 3 {
						updates.Go(func() {
							if i != place {
								if err := count(m, b); err != nil {
									t.Errorf("one that it shares with: %v", err)
								}
								return
							}
							defer func() {
								if e := recover(); e != nil && e != refusal {
									t.Errorf("a panic with %v", e)
								}
							}()
							_, err := m.Update(httptest.NewRecorder(), b.request(), c.fn)
							if !errors.Is(err, refusal) {
								t.Errorf("Update: %v", err)
							}
						})
						synctest.Wait()
					}
					updates.Wait()
					b.want(m, 3)
					if n := s.swaps.Load(); n != 2 {
						t.Errorf("%d swaps", n)
					}
				})
			})
		}
	}
}

type refusing struct {
	Codec
	err error
}

func (c refusing) Encode(v any, old string) ([]byte, error) {
	if v.(*visit).Count > 1000 {
		return nil, c.err
	}
	return c.Codec.Encode(v, old)
}

func TestAnUpdateWhoseContextEndsWhileItWaitsLeaves(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 5 {
			updates.Go(func() {
				var err, want error
				if i%2 == 1 {
					err, want = count(m, b, with(ctx)), context.Canceled
				} else {
					err = count(m, b)
				}
				if !errors.Is(err, want) {
					t.Errorf("number %d: %v, want %v", i, err, want)
				}
			})
			synctest.Wait()
		}
		cancel()
		updates.Wait()
		b.want(m, 1+3)
	})
}

// Haste, and a client that goes away, are those of one.
func TestAnUpdateThatEndsDuringASharedWriteTakesNobodyAlong(t *testing.T) {
	for _, hasty := range []int{0, 1, 2} {
		for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
			t.Run(fmt.Sprint(cause, " of number ", hasty), func(t *testing.T) {
				hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
					ctx, cancel := context.WithCancel(t.Context())
					if cause == context.DeadlineExceeded {
						ctx, cancel = context.WithTimeout(t.Context(), 1500*time.Millisecond)
					}
					defer cancel()
					for i := range 3 {
						updates.Go(func() {
							if i != hasty {
								if err := count(m, b); err != nil {
									t.Errorf("one that it shares with: %v", err)
								}
								return
							}
							// Who writes for others hears what became of it.
							if err := count(m, b, with(ctx)); err != nil && !errors.Is(err, cause) {
								t.Errorf("it: %v", err)
							}
						})
						synctest.Wait()
					}
					time.Sleep(1500 * time.Millisecond) // the second write is on its way
					if cause == context.Canceled {
						cancel()
					}
					updates.Wait()
					b.want(m, 4) // it had been run
				})
			})
		}
	}
}

func TestWhatNobodyWaitsForIsNotWritten(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		updates.Go(func() {
			if err := count(m, b, with(ctx)); !errors.Is(err, context.Canceled) {
				t.Errorf("one that leaves: %v", err)
			}
		})
		synctest.Wait()
		updates.Go(func() {
			defer func() { recover() }()
			m.Update(httptest.NewRecorder(), b.request(), func(*visit) error {
				cancel() // the one before, which has run
				time.Sleep(time.Second)
				panic("nobody writes now")
			})
		})
		synctest.Wait()
		for _, ctx := range []context.Context{t.Context(), Apart(t.Context())} {
			updates.Go(func() {
				if err := count(m, b, with(ctx)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		updates.Wait()
		b.want(m, 1+2)
	})
}

func TestAllOfASharedWriteRunAgainWhereAnotherProcessWrote(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		other := newManager(t, s.Memory, nil)
		s.before(func(swap int64) error {
			if swap == 2 || swap == 3 {
				return count(other, b)
			}
			return nil
		})
		for range 8 {
			updates.Go(func() {
				if err := count(m, b); err != nil {
					t.Error(err)
				}
			})
		}
		updates.Wait()
		b.want(m, 1+8+2)
		if n := s.swaps.Load(); n != 4 {
			t.Errorf("%d swaps", n)
		}
	})
}

// Ten points: one request spends them, the next finds none left. If the first was
// not kept, the second was refused for nothing.
func TestARefusalThatSawWhatWasNotKeptIsNoAnswer(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		other := newManager(t, s.Memory, nil)
		s.before(func(swap int64) error {
			if swap == 2 {
				_, err := other.Update(httptest.NewRecorder(), b.request(), func(v *visit) error { v.Count = 20; return nil })
				return err
			}
			return nil
		})
		poor := errors.New("no points left")
		for range 2 {
			updates.Go(func() {
				if _, err := m.Update(httptest.NewRecorder(), b.request(), func(v *visit) error {
					if v.Count == 1 {
						v.Count = 10
					}
					if v.Count < 10 {
						return poor
					}
					v.Count -= 10
					return nil
				}); err != nil {
					t.Errorf("refused: %v", err)
				}
			})
			synctest.Wait()
		}
		updates.Wait()
		b.want(m, 0)
	})
}

func TestAllOfASharedWriteLearnThatItFailed(t *testing.T) {
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprint("the store panics: ", panics), func(t *testing.T) {
			hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
				s.before(func(swap int64) error {
					if swap == 2 && panics {
						panic("a driver's")
					} else if swap == 2 {
						return errors.New("cable cut")
					}
					return nil
				})
				var failed, panicked atomic.Int64
				for range 4 {
					updates.Go(func() {
						defer func() {
							if recover() != nil {
								panicked.Add(1)
							}
						}()
						if err := count(m, b); admit.KindOf(err) != admit.Unavailable {
							t.Errorf("Update: %v", err)
						}
						failed.Add(1)
					})
				}
				updates.Wait()
				if failed.Load()+panicked.Load() != 4 || (panicked.Load() == 1) != panics {
					t.Errorf("%d updates failed and %d panicked", failed.Load(), panicked.Load())
				}
				if err := count(m, b); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				b.want(m, 2)
			})
		})
	}
}

// In one line: what came before a proof is kept, what came after it with the token
// before has ended.
func TestAProofHasATurnOfItsOwnInTheLine(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		var ended atomic.Int64
		late := func() {
			if err := count(m, b); errors.Is(err, ErrEnded) {
				ended.Add(1)
			} else {
				t.Errorf("an update with the token before: %v", err)
			}
		}
		for range 3 {
			updates.Go(func() {
				if err := count(m, b); err != nil {
					t.Errorf("an update before the proof: %v", err)
				}
			})
			synctest.Wait()
		}
		proved := &browser{t: t, cookie: b.cookie}
		updates.Go(func() {
			if _, err := proved.prove(m, "pwd"); err != nil {
				t.Errorf("Prove: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			updates.Go(late)
		}
		updates.Wait()
		proved.want(m, 4)
		if ended.Load() != 3 || s.swaps.Load() != 3 {
			t.Errorf("%d updates ended, %d swaps", ended.Load(), s.swaps.Load())
		}
	})
}

func TestAnEndingEndsThoseThatShareAWrite(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		other := newManager(t, s.Memory, nil)
		s.before(func(swap int64) error {
			if swap == 2 {
				return other.End(httptest.NewRecorder(), b.request(), "signed_out")
			}
			return nil
		})
		for range 8 {
			updates.Go(func() {
				if err := count(m, b); !errors.Is(err, ErrEnded) {
					t.Errorf("Update: %v", err)
				}
			})
		}
		updates.Wait()
		if _, err := m.Check(b.request()); !errors.Is(err, ErrEnded) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestASessionThatIsAlwaysBeingWrittenCanBeEnded(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	var updates sync.WaitGroup
	var run atomic.Int64
	for range 32 {
		updates.Go(func() {
			for {
				err := count(m, b)
				if errors.Is(err, ErrEnded) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
				run.Add(1)
			}
		})
	}
	for run.Load() < 1000 {
		runtime.Gosched()
	}
	if err := m.End(httptest.NewRecorder(), b.request(), "signed_out"); err != nil {
		t.Errorf("End: %v", err)
	}
	updates.Wait()
}

func TestAnUpdateApartSharesNoWrite(t *testing.T) {
	hot(t, func(t *testing.T, s *tardy, m *Manager[visit], b *browser, updates *sync.WaitGroup) {
		for i := range 6 { // two, one apart, two, one apart
			updates.Go(func() {
				ctx := t.Context()
				if i%3 == 2 {
					ctx = Apart(ctx)
				}
				if err := count(m, b, with(ctx)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		updates.Wait()
		b.want(m, 7)
		if n := s.swaps.Load(); n != 1+4 {
			t.Errorf("%d swaps", n)
		}
	})
}

// Requests that are cancelled, refuse and panic, in two processes, with proofs of a
// store that sometimes fails: what was acknowledged is there, and what was not is
// there at most once.
func TestAnythingMayHappenToUpdatesAndNoneIsLost(t *testing.T) {
	s := &shaky{Memory: NewMemory(nil)}
	managers := []*Manager[visit]{newManager(t, s, nil), newManager(t, s, nil)}
	b := &browser{t: t}
	b.start(managers[0], "alice", nil)
	s.shake.Store(true)
	refusal := errors.New("refused")
	var acknowledged, unknown atomic.Int64
	var work sync.WaitGroup
	for w := range 24 {
		work.Go(func() {
			for range 200 {
				func() {
					ctx, cancel := t.Context(), func() {}
					if rand.N(4) == 0 {
						ctx, cancel = context.WithTimeout(ctx, rand.N(100*time.Microsecond))
					}
					defer cancel()
					defer func() { recover() }()
					what := rand.N(8)
					_, err := managers[w%2].Update(httptest.NewRecorder(), b.request().WithContext(ctx), func(v *visit) error {
						switch what {
						case 0:
							return refusal
						case 1:
							panic(refusal)
						}
						v.Count++
						return nil
					})
					switch {
					case err == nil:
						acknowledged.Add(1)
					case !errors.Is(err, refusal):
						unknown.Add(1)
					}
				}()
			}
		})
	}
	work.Wait()
	s.shake.Store(false)
	got, err := managers[0].Load(b.request())
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(got.Data.Count); n < acknowledged.Load() || n > acknowledged.Load()+unknown.Load() {
		t.Errorf("%d were acknowledged and %d more may have been kept; %d are there", acknowledged.Load(), unknown.Load(), n)
	}
	if acknowledged.Load() < 1000 || unknown.Load() < 50 {
		t.Errorf("only %d acknowledged and %d unknown", acknowledged.Load(), unknown.Load())
	}
}

// A shaky store fails now and then, before or after it has written.
type shaky struct {
	*Memory
	shake atomic.Bool
}

func (s *shaky) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	fails := s.shake.Load() && rand.N(30) == 0
	if fails && rand.N(2) == 0 {
		return 0, errors.New("cable cut")
	}
	time.Sleep(rand.N(50 * time.Microsecond))
	v, err := s.Memory.Swap(ctx, key, old, it)
	if fails {
		return 0, errors.New("cable cut")
	}
	return v, err
}

func TestALoneUpdateAllocatesAsBefore(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	r, w := b.request(), httptest.NewRecorder()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := m.Update(w, r, func(v *visit) error { v.Count++; return nil }); err != nil {
			t.Fatal(err)
		}
	}); n > 10 {
		t.Errorf("Update allocates %v times, want 10", n)
	}
}

// BenchmarkHotSession is one session by so many at once.
func BenchmarkHotSession(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprint(writers, " at once"), func(b *testing.B) {
			m := newManager(b, NewMemory(nil), nil)
			br := &browser{t: b}
			br.start(m, "alice", nil)
			b.ReportAllocs()
			b.SetParallelism(max(writers/runtime.GOMAXPROCS(0), 1))
			b.ResetTimer()
			if writers == 1 {
				for range b.N {
					count(m, br)
				}
			} else {
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						count(m, br)
					}
				})
			}
			br.want(m, b.N)
		})
	}
}
