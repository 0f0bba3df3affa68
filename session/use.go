package session

import (
	"errors"
	"net/http"
	"time"
)

// Use is [Manager.Load] that also does what [Manager.Handler] does: it notes
// that the session is in use, renews a persistent cookie when it does, and
// clears ambiguous ones. It is for a handler that reads the session once and
// answers, and saves it the context that Handler makes.
func (m *Manager[D]) Use(w http.ResponseWriter, r *http.Request) (*Session[D], error) {
	now := time.Now()
	var h held
	if err := m.read(r, &h, now); err != nil {
		if errors.Is(err, ErrAmbiguous) {
			m.cookie.DeleteAll(w, r)
		}
		return nil, err
	}
	m.touch(w, r, &h, now)
	return m.session(&h)
}
