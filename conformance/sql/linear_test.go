package sql

import (
	"context"
	"database/sql"
	"testing"

	"github.com/admit-auth/admit/conformance/linear"
	"github.com/admit-auth/admit/session"
)

// stores are those that processes of a history open: one for each kind of server, at
// a DSN.
var stores = func() map[string]linear.Open {
	all := map[string]linear.Open{}
	for _, k := range kinds {
		all[k.name] = func(ctx context.Context, dsn string) (session.Store, error) {
			db, err := sql.Open(k.driver, dsn)
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(16)
			db.SetMaxIdleConns(16)
			return k.dialect.New(ctx, db, db)
		}
	}
	return all
}()

func TestHistoriesAreLinearizable(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		linear.Check(t, linear.Store{
			Name: s.name, Place: s.dsn(s.dir, s.database()), Durability: session.SurvivesMachine,
			Crash: func() { s.kill(); s.start() },
		})
	})
}
