package provider

import (
	"testing"
	"time"
)

func TestSecretsOverlapWhileOneIsReplaced(t *testing.T) {
	d := newDesk(t)
	c, first := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	asks := func(secret, want string) {
		t.Helper()
		if a := d.post(f, basic("app", secret)); want == "" {
			d.given(a)
		} else {
			d.refused(a, want)
		}
	}
	next := *c
	second := next.RotateSecret(time.Hour, d.now).Reveal()
	asks(second, "invalid_client")
	d.m.PutClient(next)
	asks(first, "")
	asks(second, "")
	if len(c.Secrets) != 1 || !c.Secrets[0].Expires.IsZero() {
		t.Errorf("who has a copy of the client has seen its secrets change: %+v", c.Secrets)
	}
	d.now = d.now.Add(30 * time.Minute)
	third := next.RotateSecret(2*time.Hour, d.now).Reveal() // which is no new life for the first
	d.m.PutClient(next)
	asks(first, "")
	d.now = d.now.Add(30 * time.Minute)
	asks(first, "invalid_client")
	asks(second, "")
	asks(third, "")
	last := next.RotateSecret(0, d.now).Reveal()
	d.m.PutClient(next)
	asks(second, "invalid_client")
	asks(third, "invalid_client")
	asks(last, "")
	if len(next.Secrets) != 1 {
		t.Errorf("the client has %d secrets", len(next.Secrets))
	}
}
