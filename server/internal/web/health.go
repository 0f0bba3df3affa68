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

type health struct {
	Status string `json:"status" enum:"ok"`
}

func (c *call) healthy() error { return c.json(http.StatusOK, health{"ok"}) }

func (c *call) isReady() error {
	ctx, cancel := context.WithTimeout(c.r.Context(), readyTimeout)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	return c.healthy()
}
