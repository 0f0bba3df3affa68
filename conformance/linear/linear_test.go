package linear

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/admit-auth/admit/session/sqlstore"
)

func TestMain(m *testing.M) {
	servePeer()
	Serve(map[string]Open{
		"redis": func(_ context.Context, addr string) (session.Store, error) {
			c := goredis.NewClient(&goredis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
			return redisstore.New(func(ctx context.Context, args ...string) (any, error) {
				return c.Do(ctx, redisstore.Any(args)...).Result()
			}, nil)
		},
		"memory":    func(context.Context, string) (session.Store, error) { return session.NewMemory(nil), nil },
		"sqlite":    openSQLite,
		"near":      mutant(func(s store) session.Store { return session.NewNear(s, 0) }),
		"small":     mutant(func(s store) session.Store { return session.NewNear(s, 2<<10) }),
		"eager":     mutant(func(s store) session.Store { return &eager{store: s, copies: map[string]session.Item{}} }),
		"blind":     mutant(func(s store) session.Store { return blind{s} }),
		"forgetful": mutant(func(s store) session.Store { return forgetful{s} }),
		"reviving":  mutant(func(s store) session.Store { return reviving{s} }),
		"mixing":    mutant(func(s store) session.Store { return &mixing{store: s} }),
	})
	m.Run()
}

// It has room for some of the copies, so that there are fills beside the writes.
func TestCopiesNearOneProcessAreLinearizable(t *testing.T) {
	Check(t, Store{Name: "small", Place: filepath.Join(t.TempDir(), "s"), Durability: session.SurvivesMachine, Alone: true})
}

type store = *sqlstore.Store

// openSQLite opens a file that several processes may have open, as the docs say.
func openSQLite(ctx context.Context, file string) (session.Store, error) { return sqlite(ctx, file) }

func sqlite(ctx context.Context, file string) (store, error) {
	dsn := "file:" + file + "?_pragma=busy_timeout(10000)"
	write, err := sql.Open("sqlite", dsn+"&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if _, err := write.ExecContext(ctx, sqlstore.Schema); err != nil {
		return nil, err
	}
	read, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	return sqlstore.New(ctx, write, read)
}

func TestMemoryIsLinearizable(t *testing.T) {
	Check(t, Store{Name: "memory", Durability: session.SurvivesNothing})
}

// The file outlives every process that has it open.
func TestSQLiteInThreeProcessesIsLinearizable(t *testing.T) {
	Check(t, Store{Name: "sqlite", Place: filepath.Join(t.TempDir(), "s"), Durability: session.SurvivesMachine})
}

// Mutants are stores that break a promise. A checker that does not find that out is
// none.
func TestAStoreThatBreaksAPromiseIsCaught(t *testing.T) {
	for _, name := range []string{"near", "eager", "blind", "forgetful", "reviving", "mixing"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				if faults := check(t, Store{Name: name, Place: filepath.Join(t.TempDir(), "s"), Durability: session.SurvivesMachine, Alone: name == "eager"}); len(faults) > 0 {
					return
				}
			}
			t.Error("it was not caught")
		})
	}
}

func mutant(of func(store) session.Store) Open {
	return func(ctx context.Context, file string) (session.Store, error) {
		s, err := sqlite(ctx, file)
		if err != nil {
			return nil, err
		}
		return of(s), nil
	}
}

// An eager store keeps what it wrote and read, whatever else happened meanwhile.
type eager struct {
	store
	mu     sync.Mutex
	copies map[string]session.Item
}

func (e *eager) GetWithEpoch(ctx context.Context, key string) (it session.Item, epoch session.Epoch, err error) {
	if it, err = e.Get(ctx, key); err != nil || it.Subject == "" {
		return it, epoch, err
	}
	of, err := e.store.Get(ctx, session.EpochKey(it.Subject))
	if errors.Is(err, session.ErrNotFound) {
		err = nil
	}
	return it, session.ParseEpoch(of.Value), err
}

func (e *eager) Get(ctx context.Context, key string) (it session.Item, err error) {
	e.mu.Lock()
	it, ok := e.copies[key]
	e.mu.Unlock()
	if ok && rand.N(2) > 0 {
		return it, nil
	}
	it, err = e.store.Get(ctx, key)
	time.Sleep(rand.N(20 * time.Millisecond))
	e.keep(key, it, err)
	return it, err
}

func (e *eager) Swap(ctx context.Context, key string, old uint64, it session.Item) (version uint64, err error) {
	version, err = e.store.Swap(ctx, key, old, it)
	it.Version = version
	e.keep(key, it, err)
	return version, err
}

func (e *eager) keep(key string, it session.Item, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.copies, key)
	if err == nil {
		e.copies[key] = it
	}
}

// A blind store writes over whatever stands, as stores without versions do.
type blind struct{ store }

func (b blind) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	v, err := b.store.Swap(ctx, key, old, it)
	if now, read := b.store.Get(ctx, key); err != nil && read == nil {
		return b.store.Swap(ctx, key, now.Version, it)
	}
	return v, err
}

// A forgetful store says that it has written what it has not.
type forgetful struct{ store }

func (f forgetful) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if rand.N(10) == 0 {
		return old + 1, nil
	}
	return f.store.Swap(ctx, key, old, it)
}

// A reviving store has writes that come late: after it said that it could not.
type reviving struct{ store }

func (r reviving) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	was, read := r.store.Get(ctx, key)
	v, err := r.store.Swap(ctx, key, old, it)
	if err == nil && read == nil && rand.N(4) == 0 {
		go func() {
			time.Sleep(rand.N(20 * time.Millisecond))
			if now, err := r.store.Get(context.Background(), key); err == nil {
				r.store.Swap(context.Background(), key, now.Version, was)
			}
		}()
	}
	return v, err
}

// A mixing store gives one what is another's.
type mixing struct {
	store
	last atomic.Pointer[session.Item]
}

func (m *mixing) GetWithEpoch(ctx context.Context, key string) (session.Item, session.Epoch, error) {
	it, epoch, err := m.store.GetWithEpoch(ctx, key)
	if err != nil {
		return it, epoch, err
	}
	if other := m.last.Swap(&it); other != nil && rand.N(10) == 0 {
		// Only what is in it: another's token would not match.
		head, _, alive := strings.Cut(it.Value, "{")
		if _, theirs, ok := strings.Cut(other.Value, "{"); ok && alive {
			it.Value = head + "{" + theirs
		}
	}
	return it, epoch, nil
}
