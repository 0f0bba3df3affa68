package providertest_test

import (
	"testing"

	"github.com/admit-auth/admit/provider/providertest"
)

func TestMemoryKeepsThePromises(t *testing.T) { providertest.Run(t, providertest.Memory) }
