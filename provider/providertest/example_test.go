package providertest_test

import (
	"testing"

	"github.com/admit-auth/admit/provider/providertest"
)

// The test of a store is one call. Open gives an empty store each time.
func Example() {
	_ = func(t *testing.T) { // TestStore
		providertest.Run(t, providertest.Memory)
	}
	// Output:
}
