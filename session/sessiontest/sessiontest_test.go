package sessiontest_test

import (
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
)

func TestMemoryKeepsThePromises(t *testing.T) {
	sessiontest.Run(t, func(testing.TB) sessiontest.Backend {
		return sessiontest.Backend{Store: session.NewMemory(nil)}
	})
}

func TestNearKeepsThePromises(t *testing.T) {
	sessiontest.Run(t, func(testing.TB) sessiontest.Backend {
		return sessiontest.Backend{Store: session.NewNear(session.NewMemory(nil), 0)}
	})
}

func TestASharedNearKeepsThePromises(t *testing.T) {
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		near := session.NewSharedNear(session.NewMemory(nil), 0)
		near.Heard(time.Now().Add(time.Hour)) // so that copies count
		return sessiontest.Backend{Store: near}
	})
}
