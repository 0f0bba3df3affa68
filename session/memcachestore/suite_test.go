package memcachestore

import (
	"testing"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
)

func TestMemcachedKeepsThePromises(t *testing.T) {
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		s := start(t)
		return sessiontest.Backend{Store: open(t, nil, s.addr), Restart: func() session.Store {
			s.restart()
			return open(t, nil, s.addr)
		}}
	})
}

// Keys stand on three servers, and one of them restarts.
func TestSeveralServersKeepThePromises(t *testing.T) {
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		all := []*memcached{start(t), start(t), start(t)}
		again := func() *Store { return open(t, nil, all[0].addr, all[1].addr, all[2].addr) }
		return sessiontest.Backend{Store: again(), Restart: func() session.Store {
			all[1].restart()
			return again()
		}}
	})
}
