package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

// WatchOptions of a connection. The zero value is what most programs want.
type WatchOptions struct {
	// Every is how often the store is asked; 5 s for 0. It bounds how much later
	// than another process's a connection ends that nobody tells of it.
	Every time.Duration

	// KeepAlive makes the open connection count as use, so that the session does
	// not end of idleness under it. Its Lifetime ends it all the same.
	KeepAlive bool
}

// Watch returns a context that ends when the session with this sid does, for
// what outlives its request: a stream of events, a WebSocket. Its cause is what
// Check would say then: ErrEnded, as an *EndedError with the reason, or
// ErrExpired. Call the function when the connection is over.
//
// What ends in this process ends the context at once. What ends in another one
// does when [Manager.Hear] hears of it, and else within Every. While the store
// is away the connection stays, for a minute at most: then the cause is of kind
// admit.Unavailable.
func (m *Manager[D]) Watch(ctx context.Context, sid string, o *WatchOptions) (context.Context, context.CancelFunc) {
	w := &watch{sid: sid, digest: feed.DigestOf(feed.Session, sid), every: 5 * time.Second, seen: time.Now()}
	if o != nil {
		w.keepAlive = o.KeepAlive
		if o.Every > 0 {
			w.every = o.Every
		}
	}
	w.Context, w.cancel = context.WithCancelCause(ctx)
	// It is heard of before it is looked at, so that nothing ends in between.
	w.timer = time.AfterFunc(w.every, func() { m.look(w) })
	m.watches.add(w)
	context.AfterFunc(w, func() {
		w.timer.Stop()
		m.watches.remove(w)
	})
	m.look(w)
	return w, func() { w.cancel(context.Canceled) }
}

// Hear takes the news of a feed that other processes tell, so that what they end
// closes here what [Manager.Watch] watches, at once:
//
//	err := source.Follow(ctx, feed.ID{}, sessions.Hear) // again, where the feed broke off
//
// It is enough that the news tells digests. Where copies are kept near, they must
// have heard before.
func (m *Manager[D]) Hear(n feed.News) error {
	if n.Reset {
		m.watches.wake(func(*watch) bool { return true })
	}
	for _, e := range n.Events {
		switch e.Kind {
		case feed.Session:
			m.watches.end(e.Digest, e.Reason)
			m.watches.wake(func(w *watch) bool { return w.parent == e.Digest })
		case feed.Subject: // a raise may end nothing, or spare one
			m.watches.wake(func(w *watch) bool { return w.whose == e.Digest })
		case feed.Everyone:
			m.watches.wake(func(*watch) bool { return true })
		}
	}
	return nil
}

// unheard is how long a connection stays while the store cannot answer.
const unheard = time.Minute

// lookTime bounds a look at the store.
const lookTime = 5 * time.Second

// look reads the watched session, ends the context where it has ended, and comes
// again later otherwise.
func (m *Manager[D]) look(w *watch) {
	if !w.enter() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.looking.Add(-1)
	if w.Err() != nil {
		return
	}
	w.woken.Store(false)
	ctx, stop := context.WithTimeout(w, lookTime)
	defer stop()
	now := time.Now()
	h := held{sid: w.sid}
	err := error(ErrNone)
	if token.IsSelector(w.sid) {
		err = m.alive(ctx, &h, now)
	}
	again := w.every
	switch {
	case err == nil:
		w.seen = now
		m.watches.name(w, &h)
		if w.keepAlive {
			m.used(ctx, &h, now)
		}
		again = min(again, h.info().IdleExpiresAt.Sub(now)+time.Millisecond)
	case errors.Is(err, admit.Unauthenticated):
		w.cancel(h.why(err))
		return
	case now.Sub(w.seen) >= unheard:
		w.cancel(err)
		return
	}
	if w.timer.Reset(again); w.woken.Load() {
		w.timer.Reset(0) // what it was woken for may be younger than what was read
	}
}

// A watch is a context that ends with a session.
type watch struct {
	context.Context
	cancel    context.CancelCauseFunc
	sid       string
	digest    feed.Digest // of sid, as news tells it
	every     time.Duration
	keepAlive bool
	timer     *time.Timer  // looks
	mu        sync.Mutex   // held by who looks; guards seen
	seen      time.Time    // when the session was alive
	woken     atomic.Bool  // since the last look began
	looking   atomic.Int32 // who looks, and who waits for that

	subject       string      // guarded by watches.mu, as all below
	whose, parent feed.Digest // of the subject and of the parent's sid
}

// enter reports whether a look is of use: not where one waits already, which will read
// after whatever this one was to look for.
func (w *watch) enter() bool {
	for {
		n := w.looking.Load()
		if n >= 2 {
			return false
		}
		if w.looking.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// watches are those of a Manager, by the session's digest.
type watches struct {
	mu  sync.Mutex
	all map[feed.Digest]map[*watch]struct{} // guarded by mu
}

func (ws *watches) add(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = map[feed.Digest]map[*watch]struct{}{}
	}
	if ws.all[w.digest] == nil {
		ws.all[w.digest] = map[*watch]struct{}{}
	}
	ws.all[w.digest][w] = struct{}{}
}

func (ws *watches) remove(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all[w.digest], w)
	if len(ws.all[w.digest]) == 0 {
		delete(ws.all, w.digest)
	}
}

// name notes whose the session is, once it is known.
func (ws *watches) name(w *watch, h *held) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.subject, w.whose = h.item.Subject, feed.DigestOf(feed.Subject, h.item.Subject)
	if h.rec.parent != "" {
		w.parent = feed.DigestOf(feed.Session, h.rec.parent)
	}
}

// end ends all that watch a session.
func (ws *watches) end(session feed.Digest, reason string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all[session] {
		w.cancel(&EndedError{SID: w.sid, Subject: w.subject, Why: reason})
	}
}

// wake has all of these looked at now, each by its timer, so that nobody waits. One of
// which it is not known yet whose it is may be one of them.
func (ws *watches) wake(these func(*watch) bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, all := range ws.all {
		for w := range all {
			if w.whose == (feed.Digest{}) || these(w) {
				w.woken.Store(true)
				w.timer.Reset(0)
			}
		}
	}
}
