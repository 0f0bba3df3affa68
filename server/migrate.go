package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/db"
)

// ErrServerOlder refuses to migrate beside a server that could not go on.
var ErrServerOlder = admit.Conflict.New("server_older", "The server that is running cannot work on the new schema.").WithHint("stop it, and start the new version: that migrates too")

// A MigrateReport tells of a database's schema.
type MigrateReport struct {
	db.Schema
	Ran []string `json:"ran"` // just now, in order
}

// Migrate brings the schema of the data folder up to date, as the start of a
// server does; with dry it only tells. Beside a running server it does so only
// where that one can go on; of a database that servers share nobody knows which
// they are.
func Migrate(ctx context.Context, cfg Config, dry bool) (MigrateReport, error) {
	file := cfg.database()
	r := MigrateReport{Ran: []string{}}
	s := &Server{cfg: cfg}
	defer s.Close()
	var held, err error
	if cfg.Database == "" {
		if _, err := os.Stat(file); err != nil {
			return r, fmt.Errorf("%w: %w", ErrNoDatabase, err)
		}
		held = s.takeFolder() // so that no server starts meanwhile
	}
	if r.Schema, err = db.SchemaOf(ctx, file); err != nil || dry || len(r.Pending) == 0 {
		return r, err
	}
	if errors.Is(held, ErrInUse) {
		held = serverGoesOn(ctx, cfg, r.AfterPending)
	}
	if held != nil {
		return r, held
	}
	before, err := db.Migrate(ctx, file)
	if err != nil {
		return r, err
	}
	if r.Schema, err = db.SchemaOf(ctx, file); err == nil {
		r.Ran = before.Pending
	}
	return r, err
}

// serverGoesOn reports whether the running server works on a schema that wants
// programs of some version.
func serverGoesOn(ctx context.Context, cfg Config, oldest int) error {
	o, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	if o == nil {
		return ErrInUse // it is just starting, or stopping
	}
	defer o.Close()
	// One that does not know the question is older than all that declare who can
	// go on.
	program, err := ask[int](ctx, o, "schema", none{})
	if err != nil && admit.KindOf(err) != admit.NotFound {
		return err
	}
	if err != nil || program < oldest {
		return ErrServerOlder
	}
	return nil
}
