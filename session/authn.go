package session

import (
	"errors"
	"net/http"

	"github.com/admit-auth/admit"
)

// Authenticate makes the manager a source of package authn: Check, with a
// request that carries no session told apart from one whose session does not
// count. A request with an Authorization header is judged by that alone.
func (m *Manager[D]) Authenticate(r *http.Request) (p admit.Principal, found bool, err error) {
	if !m.bearer && len(r.Header["Authorization"]) > 0 {
		// Handler may have kept what the cookie said, which no longer counts.
		return admit.Principal{}, false, nil
	}
	info, err := m.Check(r)
	switch {
	case err == nil:
		return info.Principal(), true, nil
	case errors.Is(err, ErrNone):
		return admit.Principal{}, false, nil
	}
	return admit.Principal{}, true, err
}
