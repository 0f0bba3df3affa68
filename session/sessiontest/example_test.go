package sessiontest_test

import (
	"testing"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
)

// The test of a store is one call. Open gives an empty store each time.
func Example() {
	_ = func(t *testing.T) { // TestStore
		sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
			return sessiontest.Backend{Store: session.NewMemory(nil)}
		})
	}
	// Output:
}
