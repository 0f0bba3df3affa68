package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/server/internal/account"
)

var jsonType = []string{"application/json"}

// json answers with v.
func (c *call) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	return c.answer(status, b)
}

// answer answers with JSON text.
func (c *call) answer(status int, body []byte) error {
	c.w.Header()["Content-Type"] = jsonType
	c.begin(status)
	c.w.Write(body) // who is gone needs no answer
	return nil
}

func (c *call) noContent() error {
	c.begin(http.StatusNoContent)
	return nil
}

// begin sends the head of an answer.
func (c *call) begin(status int) {
	if c.foreign {
		c.w.Header().Del("Set-Cookie")
	}
	c.status = status
	c.w.WriteHeader(status)
}

// failAPI answers with what a stranger may see of err.
func (c *call) failAPI(err error) {
	if c.foreign {
		c.w.Header().Del("Set-Cookie")
	}
	if needed, ok := errors.AsType[*account.FactorNeeded](err); ok {
		if err = c.needFactor(needed); err == nil {
			return
		}
	}
	p := problem.Of(err)
	p.Type, p.RequestID = c.PublicURL+problemsPath+p.Code, c.id
	p.Write(c.w)
	c.status, c.code = p.Status, p.Code
}

// read decodes the body into v, a pointer to a struct.
func (c *call) read(v any) error { return problem.Read(c.r, v) }
