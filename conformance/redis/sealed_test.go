package redis

import (
	"testing"

	"github.com/admit-auth/admit/session/sessiontest"
)

func TestSealedSessionsKeepThePromisesWithTheirGuardsInRedis(t *testing.T) {
	for _, program := range programs(t) {
		t.Run(program, func(t *testing.T) {
			s := start(t, program, forgets...)
			sessiontest.RunSealed(t, func(t testing.TB) sessiontest.Backend {
				if _, err := s.ask("FLUSHALL"); err != nil {
					t.Fatal(err)
				}
				return sessiontest.Backend{Store: open(t, clients[0].dial(s), nil)}
			})
		})
	}
}
