package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/admit-auth/admit"
)

// readyTimeout bounds how long a probe waits for the database.
const readyTimeout = 2 * time.Second

var errNotReady = admit.Unavailable.New("not_ready", "The server cannot take requests just now.")

func (s *server) health() {
	s.handle("/healthz", (*call).failAPI, methods{"GET": (*call).healthy})
	s.handle("/readyz", (*call).failAPI, methods{"GET": func(c *call) error {
		ctx, cancel := context.WithTimeout(c.r.Context(), readyTimeout)
		defer cancel()
		if err := c.Ready(ctx); err != nil {
			return fmt.Errorf("%w: %w", errNotReady, err)
		}
		return c.healthy()
	}})
}

func (c *call) healthy() error {
	return c.json(http.StatusOK, map[string]string{"status": "ok"})
}
