package sql

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
	"github.com/admit-auth/admit/session/sqlstore"
)

// each runs a test on every kind of server.
func each(t *testing.T, run func(*testing.T, *server)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t, k))
		})
	}
}

func TestSessionsKeepThePromises(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
			dsn := s.dsn(s.dir, s.database())
			open := func() session.Store { store, _ := s.replica(t, dsn); return store }
			return sessiontest.Backend{Store: open(), Restart: func() session.Store {
				s.kill()
				s.start()
				return open()
			}}
		})
	})
}

func TestReplicasKeepThePromisesTogether(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
			dsn := s.dsn(s.dir, s.database())
			open := func() session.Store {
				r := &replicas{}
				for i := range r.stores {
					r.stores[i], _ = s.replica(t, dsn)
				}
				return r
			}
			return sessiontest.Backend{Store: open(), Restart: func() session.Store {
				s.kill()
				s.start()
				return open()
			}}
		})
	})
}

// Replicas are programs that share a database; each call is another one's.
type replicas struct {
	stores [3]*sqlstore.Store
	calls  atomic.Uint64
}

func (r *replicas) next() *sqlstore.Store { return r.stores[r.calls.Add(1)%uint64(len(r.stores))] }

func (r *replicas) Get(ctx context.Context, key string) (session.Item, error) {
	return r.next().Get(ctx, key)
}

func (r *replicas) GetWithEpoch(ctx context.Context, key string) (session.Item, session.Epoch, error) {
	return r.next().GetWithEpoch(ctx, key)
}

func (r *replicas) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	return r.next().Add(ctx, key, it)
}

func (r *replicas) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	return r.next().Swap(ctx, key, old, it)
}

func (r *replicas) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return r.next().Touch(ctx, key, version, expires)
}

func (r *replicas) Delete(ctx context.Context, key string) error { return r.next().Delete(ctx, key) }

func (r *replicas) List(ctx context.Context, subject, after string, limit int) ([]session.Entry, error) {
	return r.next().List(ctx, subject, after, limit)
}

func (r *replicas) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	return r.next().Sweep(ctx, now, limit)
}

func (r *replicas) Durability() session.Durability { return r.stores[0].Durability() }
