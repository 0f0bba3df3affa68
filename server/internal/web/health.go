package web

import (
	"fmt"
	"net/http"

	"github.com/admit-auth/admit"
)

var errNotReady = admit.Unavailable.New("not_ready", "The server cannot take requests just now.")

type health struct {
	Status string `json:"status" enum:"ok"`
}

func (c *call) healthy() error { return c.json(http.StatusOK, health{"ok"}) }

func (c *call) isReady() error {
	if err := c.Ready(c.r.Context()); err != nil {
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	return c.healthy()
}
