package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/token"
)

// hold finds the request's session. Every cookie of the name is tried, so that
// a planted junk cookie cannot hide the good one; two good ones of different
// subjects, or of two guests, are refused.
//
// What is in h counts only where the error is nil.
func (m *Manager[D]) hold(r *http.Request, h *held) error {
	switch c := r.Context().Value(m).(type) {
	case *requestContext[D]:
		if c.fresh(m.made) {
			h.tok, h.named, h.item, h.epoch = c.tok, c.named, c.item(), c.epoch
			if h.named != nil {
				h.sid = h.named.SID
			} else {
				h.sid = c.tok.Selector()
			}
			h.rec.parse(h.item.Value)
			return nil
		}
	case *refusedContext[D]:
		if c.fresh(m.made) {
			return c.err
		}
	}
	return m.read(r, h, time.Now())
}

func (m *Manager[D]) read(r *http.Request, h *held, now time.Time) error {
	if by, err := m.name(r); err != nil {
		return err
	} else if by != nil {
		return m.readNamed(r.Context(), by, h, now)
	}
	var buf [maxCookies]string
	found := false
	worst := error(ErrNone)
	texts, bearer := m.presented(r, buf[:0])
	h.guess = h.guess && len(texts) == 1 // which of several counts is no guess
	for _, text := range texts {
		tok, err := token.Parse(token.Session, text)
		if err != nil {
			continue
		}
		this := h
		if found {
			this = new(held)
		}
		this.sid, this.tok = tok.Selector(), tok
		err = m.check(r.Context(), this, bearer, now)
		switch {
		case err == nil && !found:
			found = true
		case err == nil && this.sid == h.sid: // the same cookie twice
		case err == nil && (this.item.Subject == "" || this.item.Subject != h.item.Subject):
			return ErrAmbiguous
		case err == nil: // another of the same subject's: the first counts
		case errors.Is(err, ErrEnded), errors.Is(err, ErrExpired):
			worst = err
		case !errors.Is(err, ErrNone):
			return err
		}
	}
	if !found {
		return worst
	}
	return nil
}

// presented returns the texts that may be session tokens: that of the
// Authorization header where there is one, so that a bad header never falls
// back to a cookie, and else those of the cookies.
func (m *Manager[D]) presented(r *http.Request, dst []string) (texts []string, bearer bool) {
	if m.bearer {
		if all := r.Header["Authorization"]; len(all) > 0 {
			scheme, text, _ := strings.Cut(all[0], " ")
			if len(all) == 1 && strings.EqualFold(scheme, "Bearer") {
				dst = append(dst, text)
			}
			return dst, true
		}
	}
	if m.seal != nil {
		return m.seal.carried(r.Context()).tokens(dst), false
	}
	return cookie.Values(r.Header, m.cookie.Name(), dst), false
}

// check reads the session of h's token and says why it does not count.
func (m *Manager[D]) check(ctx context.Context, h *held, bearer bool, now time.Time) error {
	if h.guess && m.recall(ctx, h, bearer, now) {
		return nil
	}
	h.guess, h.guessed = false, false
	return m.counts(ctx, h, m.itself(ctx, h, now), bearer, now)
}

// recall is check of what the store remembers, which says only that it may count.
func (m *Manager[D]) recall(ctx context.Context, h *held, bearer bool, now time.Time) bool {
	it, epoch, ok := m.guesses.Guess(h.sid)
	if !ok {
		return false
	}
	h.item, h.guessed = it, true
	return m.counts(ctx, h, h.judge(epoch, now), bearer, now) == nil
}

// counts says why h's session, of which err says whether it is alive, does not count
// for h's token.
func (m *Manager[D]) counts(ctx context.Context, h *held, err error, bearer bool, now time.Time) error {
	ended := errors.Is(err, ErrEnded)
	if err != nil && !ended && !errors.Is(err, ErrExpired) || ended && h.rec.ended() && h.rec.flags&flagDigest == 0 {
		return err // of what is gone there is no digest
	}
	// A token that was made for the header is no cookie: whoever could plant
	// it in a browser would sign that browser in as himself.
	place := byte(placeCookie)
	if bearer {
		place = placeHeader
	}
	if h.rec.place() != place && !h.rec.ended() {
		return ErrNone
	}
	switch {
	case err == nil && h.rec.overtaken(now) && m.matches(h.tok, h.rec.previous):
		return &EndedError{SID: h.sid, Subject: h.item.Subject, Why: ReasonProved}
	case !m.matches(h.tok, h.rec.digest):
		return ErrNone // also of an expired or ended session: only its holder learns what became of it
	case ended:
		return h.why(err)
	case err == nil:
		return m.parentAlive(ctx, h)
	}
	return err
}

// alive reads the session with h's sid. ErrNone, ErrEnded or ErrExpired where
// it does not count, or its parent has ended.
func (m *Manager[D]) alive(ctx context.Context, h *held, now time.Time) error {
	if err := m.itself(ctx, h, now); err != nil {
		return err
	}
	return m.parentAlive(ctx, h)
}

// parentAlive is nil for a session without a parent.
func (m *Manager[D]) parentAlive(ctx context.Context, h *held) error {
	if h.rec.parent == "" {
		return nil
	}
	if m.parents == nil {
		return ErrNone // nobody can tell
	}
	err := m.parents.Alive(ctx, h.rec.parent)
	switch {
	case errors.Is(err, admit.Unauthenticated):
		return ErrEnded
	case err != nil:
		return storeError(err)
	}
	return nil
}

// Alive reports, by its public id, whether a session lives, and notes that it is
// in use: for a session that ends with it, see [Parents]. ErrNone, ErrEnded or
// ErrExpired where it does not.
func (m *Manager[D]) Alive(ctx context.Context, sid string) error {
	if !token.IsSelector(sid) {
		return ErrNone
	}
	now := time.Now()
	h := held{sid: sid}
	if err := m.alive(ctx, &h, now); err != nil {
		return err
	}
	m.used(ctx, &h, now)
	return nil
}

// itself is alive without a look at the parent.
func (m *Manager[D]) itself(ctx context.Context, h *held, now time.Time) error {
	var epoch Epoch
	var err error
	if m.epochs != nil {
		h.item, epoch, err = m.epochs.GetWithEpoch(ctx, h.sid)
	} else if h.item, err = m.store.Get(ctx, h.sid); err == nil && h.item.Subject != "" {
		epoch, err = m.epoch(ctx, h.item.Subject)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrNone
	case err != nil:
		return storeError(err)
	}
	err = h.judge(epoch, now)
	switch {
	case err == errUnreadable:
		m.unreadable(h.sid, err)
		return ErrNone
	case err == ErrEnded && epoch.N < h.rec.epoch:
		// A copy from before the session began proves nothing.
		if c, ok := m.store.(copies); ok {
			c.Forget(EpochKey(h.item.Subject))
			if epoch, err = m.epoch(ctx, h.item.Subject); err == nil {
				err = h.judge(epoch, now)
			}
		}
	}
	return err
}

// copies is a store that may not have heard of every write, as [Near].
type copies interface{ Forget(key string) }

// errUnreadable is ErrNone for a record that is none of ours.
var errUnreadable = fmt.Errorf("a record of another form: %w", ErrNone)

// judge reads the held item. ErrNone, ErrEnded or ErrExpired where it does not
// count.
func (h *held) judge(epoch Epoch, now time.Time) error {
	h.rec, h.epoch = record{}, epoch
	switch {
	case !h.rec.parse(h.item.Value):
		return errUnreadable
	case h.rec.ended():
		if !now.Before(h.item.Expires) {
			return ErrNone
		}
		return ErrEnded
	case h.item.Subject != "" && !epoch.alive(h.sid, h.rec.epoch):
		return ErrEnded
	case h.rec.expired(h.item.Expires, now):
		return ErrExpired
	}
	return nil
}

// epoch returns the subject's epoch, the zero one where there is none.
func (m *Manager[D]) epoch(ctx context.Context, subject string) (Epoch, error) {
	it, err := m.store.Get(ctx, EpochKey(subject))
	if errors.Is(err, ErrNotFound) {
		return Epoch{}, nil
	}
	if err != nil {
		return Epoch{}, storeError(err)
	}
	return ParseEpoch(it.Value), nil
}

// Handler reads the request's session once before next runs, notes that it was
// used (at most once a minute, or a twentieth of the idle time), renews a
// persistent cookie when it does, and clears ambiguous ones. Check and Load
// inside next then cost no second read.
//
// It answers nothing itself: where the store is away, next learns it from
// Check, Load or Update.
func (m *Manager[D]) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, c := m.carry(r)
		now := time.Now()
		var h held
		err := m.use(w, r, &h, now)
		read := int64(now.Sub(m.made))
		if err != nil {
			c := &refusedContext[D]{Context: r.Context(), manager: m, err: err}
			c.readAt.Store(read)
			next.ServeHTTP(w, r.WithContext(c))
			return
		}
		c.send(w)
		// The context and the copy of the request are one allocation.
		p := &struct {
			context requestContext[D]
			request http.Request
		}{context: requestContext[D]{
			Context: r.Context(), manager: m, tok: h.tok, named: h.named,
			value: h.item.Value, subject: h.item.Subject, version: h.item.Version, expires: h.item.Expires.UnixMicro(), epoch: h.epoch,
		}}
		p.context.readAt.Store(read)
		copyRequest(&p.request, r, &p.context)
		next.ServeHTTP(w, &p.request)
	})
}

// copyRequest makes dst a copy of r with this context. WithContext is inlined
// here, so that what it makes stays on the stack.
func copyRequest(dst, r *http.Request, ctx context.Context) { *dst = *r.WithContext(ctx) }

// Use is [Manager.Load] that also does what [Manager.Handler] does. It is for
// a handler that reads the session once and answers, and saves it the context
// that Handler makes.
func (m *Manager[D]) Use(w http.ResponseWriter, r *http.Request) (_ *Session[D], err error) {
	r, c := m.carry(r)
	defer c.set(w, &err)
	var h held
	if err := m.use(w, r, &h, time.Now()); err != nil {
		return nil, err
	}
	return m.session(&h), nil
}

// use reads the request's session, notes that it is in use, and clears
// ambiguous cookies.
func (m *Manager[D]) use(w http.ResponseWriter, r *http.Request, h *held, now time.Time) error {
	err := m.read(r, h, now)
	switch {
	case err == nil:
		m.seal.settle(r.Context(), h, now)
		m.touch(w, r, h, now)
	case errors.Is(err, ErrAmbiguous):
		m.cookie.DeleteAll(w, r)
	}
	return err
}

// touch notes that the session is in use, and renews a persistent cookie.
func (m *Manager[D]) touch(w http.ResponseWriter, r *http.Request, h *held, now time.Time) {
	if m.used(r.Context(), h, now) && h.rec.flags&(flagPersistent|flagBearer) == flagPersistent {
		m.setCookie(w, h, now)
	}
}

// used notes that the session is in use, unless that was noted a moment ago.
// Losing the race against a writer is fine: that writer's request touches too,
// or the next one does.
func (m *Manager[D]) used(ctx context.Context, h *held, now time.Time) bool {
	was := h.item.Expires
	if !h.prolong(now) {
		return false
	}
	if m.store.Touch(ctx, h.sid, h.item.Version, h.item.Expires) != nil {
		h.item.Expires = was
		return false
	}
	return true
}

// prolong moves the idle end of the held session, unless that was done a moment
// ago.
func (h *held) prolong(now time.Time) bool {
	idle := time.Duration(h.rec.idle) * time.Millisecond
	if unseen := idle - h.item.Expires.Sub(now); unseen < min(maxTouch, idle/20) {
		return false
	}
	h.item.Expires = now.Add(idle)
	return true
}

// A requestContext carries the session that Handler read: only what parsing it
// again takes, in as few bytes as will do, for they are garbage of every
// request. It is a context of its own, so that one allocation serves for both.
type requestContext[D any] struct {
	context.Context
	manager *Manager[D]
	readAt
	tok     token.Token
	named   *Named
	value   string
	subject string
	version uint64
	expires int64 // Unix microseconds
	epoch   Epoch
}

// Value returns the context itself for its Manager.
func (c *requestContext[D]) Value(key any) any {
	if key == any(c.manager) {
		return c
	}
	return c.Context.Value(key)
}

// item returns what the store had.
func (c *requestContext[D]) item() Item {
	return Item{Value: c.value, Subject: c.subject, Expires: time.UnixMicro(c.expires), Version: c.version}
}

// A refusedContext carries why Handler found no session.
type refusedContext[D any] struct {
	context.Context
	manager *Manager[D]
	readAt
	err error
}

// Value returns the context itself for its Manager.
func (c *refusedContext[D]) Value(key any) any {
	if key == any(c.manager) {
		return c
	}
	return c.Context.Value(key)
}

// readAt is when Handler read, in nanoseconds since its Manager was made. A handler may
// use its request in several goroutines.
type readAt struct{ atomic.Int64 }

// fresh reports whether the read may still be taken for now: a handler that
// runs for long reads again.
func (at *readAt) fresh(made time.Time) bool {
	return time.Since(made)-time.Duration(at.Load()) < time.Second
}

// forget makes the read count no more.
func (at *readAt) forget() { at.Store(-int64(time.Hour)) }

// forget makes what Handler read count no more, after a change.
func (m *Manager[D]) forget(r *http.Request) {
	if c, ok := r.Context().Value(m).(interface{ forget() }); ok {
		c.forget()
	}
}
