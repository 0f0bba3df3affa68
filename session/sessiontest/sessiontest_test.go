package sessiontest_test

import (
	"testing"

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
