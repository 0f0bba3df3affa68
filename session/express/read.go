package express

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

// A presentation is an id whose signature is good.
type presentation struct {
	value string
	old   bool
}

// presented returns the ids that the request's cookies of the name bring. One
// with a bad signature is not even looked for.
func (m *Manager) presented(r *http.Request) (all []presentation) {
	var buf [maxCookies]string
next:
	for _, raw := range cookie.Values(r.Header, m.o.Name, buf[:0]) {
		sid, old, ok := m.secrets.Unsign(plain(raw))
		if !ok || sid == "" {
			continue
		}
		for _, p := range all {
			if p.value == sid {
				continue next
			}
		}
		all = append(all, presentation{sid, old})
	}
	return all
}

// read finds the request's session. Every cookie of the name is tried, so that a
// planted or a stale one cannot hide the good one. Express takes the first, so
// of several guests' the first counts here too; a signed-in one counts before a
// guest's, and of two users' neither does.
func (m *Manager) read(r *http.Request, now time.Time) (best *held, err error) {
	worst, whose := error(session.ErrNone), ""
	for _, p := range m.presented(r) {
		h := &held{sid: p.value, old: p.old}
		err := m.check(r.Context(), h, now)
		if err != nil {
			if !errors.Is(err, admit.Unauthenticated) {
				return nil, err
			}
			if !errors.Is(err, session.ErrNone) {
				worst = err
			}
			continue
		}
		switch u := m.o.User(&h.data); {
		case best == nil, whose == "" && u != "":
			best, whose = h, u
		case u != "" && u != whose:
			return nil, session.ErrAmbiguous
		}
	}
	if best == nil {
		return nil, worst
	}
	return best, nil
}

// check reads the held session. ErrNone or ErrExpired where it does not count.
func (m *Manager) check(ctx context.Context, h *held, now time.Time) error {
	rec, err := m.store.Get(ctx, h.sid)
	switch {
	case errors.Is(err, session.ErrNotFound), err == nil && rec.JSON == "null":
		return session.ErrNone
	case err != nil:
		return fmt.Errorf("read a session: %w", err)
	}
	if h.data, err = parse(rec.JSON); err != nil {
		// For Express this is a 500 until the record expires.
		sum := sha256.Sum256([]byte(h.sid))
		m.o.Log.WarnContext(ctx, "a session's record cannot be read, so that its visitor gets a new session", "sid_digest", hex.EncodeToString(sum[:4]), "error", err)
		return session.ErrNone
	}
	h.rec = rec
	if h.over(now) {
		return session.ErrExpired
	}
	return nil
}

// over reports whether the session has expired. Express leaves that to its
// store, and where the store keeps records for longer it takes them.
//
// What touches a session there moves the store's time and leaves the record's:
// such a session is alive although its cookie.expires is past. It is told by
// that time, which is no further off than one touch moves it.
func (h *held) over(now time.Time) bool {
	if !h.rec.Until.IsZero() && !now.Before(h.rec.Until) {
		return true
	}
	end := h.data.Expires()
	if end.IsZero() || now.Before(end) {
		return false
	}
	age := h.data.MaxAge()
	return age == 0 || h.rec.Until.IsZero() || h.rec.Until.Sub(now) > age+time.Second
}

// reread reads a held session anew. It must still be there.
func (m *Manager) reread(ctx context.Context, h *held, now time.Time) error {
	if err := m.check(ctx, h, now); !errors.Is(err, session.ErrNone) {
		return err
	}
	return session.ErrEnded
}

// begins reports whether a request without a session for this reason may get a
// new one.
func begins(err error) bool {
	return errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrExpired)
}

// A seen is what a request's session is known to be.
type seen struct{ now atomic.Pointer[sight] }

type sight struct {
	held *held
	err  error
	at   time.Time
}

// remember notes what became of the request's session, where Handler is around.
func (m *Manager) remember(r *http.Request, h *held, err error) {
	if s, ok := r.Context().Value(m).(*seen); ok {
		s.now.Store(&sight{h, err, time.Now()})
	}
}

// handled reports whether Handler is around, which has noted the use.
func (m *Manager) handled(r *http.Request) bool {
	_, ok := r.Context().Value(m).(*seen)
	return ok
}

// hold returns the request's session as it was read last, where Handler is
// around, or reads it. One that was there in this request and is gone has ended.
func (m *Manager) hold(r *http.Request, now time.Time) (*held, error) {
	s, ok := r.Context().Value(m).(*seen)
	if !ok {
		return m.read(r, now)
	}
	was := s.now.Load()
	if was == nil {
		return m.read(r, now)
	}
	if was.err != nil {
		return nil, was.err
	}
	h := *was.held
	if now.Sub(was.at) < freshFor {
		return &h, nil
	}
	return &h, m.reread(r.Context(), &h, now)
}
