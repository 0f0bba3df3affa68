package sql

import (
	"testing"

	"github.com/admit-auth/admit/session/sessiontest"
)

func TestSealedSessionsKeepThePromisesWithTheirGuardsInSQL(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sessiontest.RunSealed(t, func(t testing.TB) sessiontest.Backend {
			store, _ := s.replica(t, s.dsn(s.dir, s.database()))
			return sessiontest.Backend{Store: store}
		})
	})
}
