package session

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A queue lets the writers of one session take turns in this process, so that
// compare-and-set fails only where another process wrote in between, and lets
// updates that wait for each other share one write.
//
// A turn goes from hand to hand. Whoever has it runs in its own goroutine, on what
// those before it made of the record, and passes it on with its change not yet
// written. The last one passes it to one who writes for all, and each is answered
// with what became of that write. So nobody's function runs in the time of somebody
// else, and one that panics takes nobody along.
type queue struct {
	mu    sync.Mutex
	lines map[string]*line // guarded by mu
	spare *line            // an empty one, for the next key; guarded by mu
}

// A line is who waits behind the one who has the turn, first come, first served.
type line struct{ waiting []*writer }

// A writer is one who has to wait: for its turn, or for what becomes of its change.
type writer struct {
	shares bool      // a write with others
	end    time.Time // when it has to be back; zero for whenever
	heard  chan news // of one, and nobody is told twice what it has not heard
	gone   bool      // it waits no more; guarded by queue.mu
}

// News is what a writer waits for.
type news struct {
	what  step
	batch *batch
	err   error
}

type step uint8

const (
	yourTurn step = iota // to run, in the batch if there is one
	yourWork             // to write the batch
	written              // the batch, or err says why not
)

// A batch is updates of one session that share a write.
type batch struct {
	item    Item // as it was read
	epoch   Epoch
	rec     record    // its data is as the last of the updates left it
	updates []*writer // who wait for the write
}

// maxShare updates share a write: with an update of some microseconds and a write
// of a millisecond, more would make each wait without making all faster.
const maxShare = 128

type apartKey struct{}

// Apart returns a context whose updates share no write with others. It is for a
// store that does more with a write than it is told, because of something in the
// context: of those that share a write, the store sees one context. Most programs
// never call it.
func Apart(ctx context.Context) context.Context { return context.WithValue(ctx, apartKey{}, true) }

func shares(ctx context.Context) bool { return ctx.Value(apartKey{}) == nil }

func newWriter(ctx context.Context, shares bool) *writer {
	end, _ := ctx.Deadline()
	return &writer{shares: shares, end: end, heard: make(chan news, 1)}
}

// join takes the turn, and returns nil where nobody has it; else it waits in line.
func (q *queue) join(ctx context.Context, key string, shared bool) *writer {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[key]
	if l == nil {
		if q.lines == nil {
			q.lines = map[string]*line{}
		}
		if l, q.spare = q.spare, nil; l == nil {
			l = &line{}
		}
		q.lines[key] = l
		return nil
	}
	w := newWriter(ctx, shared && shares(ctx))
	l.waiting = append(l.waiting, w)
	return w
}

// enter waits for a turn of one's own. Waited reports whether somebody was before
// us. The caller must leave unless err is not nil.
func (q *queue) enter(ctx context.Context, key string) (waited bool, err error) {
	w := q.join(ctx, key, false)
	if w == nil {
		return false, nil
	}
	_, err = q.wait(ctx, key, w)
	return true, err
}

// leave ends a turn of one's own.
func (q *queue) leave(key string) { q.pass(key, nil) }

// wait returns the next thing that w should know. After an error it is out, and
// what it has changed in a batch may be written or not.
func (q *queue) wait(ctx context.Context, key string, w *writer) (news, error) {
	select {
	case n := <-w.heard:
		return n, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	w.gone = true
	select {
	case n := <-w.heard: // at the same moment
		if n.what == written {
			return n, nil
		}
		q.next(key, n.batch)
	default:
		if l := q.lines[key]; l != nil {
			l.waiting = slices.DeleteFunc(l.waiting, func(o *writer) bool { return o == w })
		}
	}
	return news{}, ctx.Err()
}

// followed reports whether the next in line could share our write.
func (q *queue) followed(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[key]
	return len(l.waiting) > 0 && l.waiting[0].shares
}

// pass gives the turn away.
func (q *queue) pass(key string, b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next(key, b)
}

// settle tells those in a batch what became of its write, and goes on. Where the
// record was changed meanwhile, they are first in line to run again.
func (q *queue) settle(key string, b *batch, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	there := slices.DeleteFunc(b.updates, func(w *writer) bool { return w.gone })
	if changed(err) {
		l := q.lines[key]
		l.waiting = slices.Insert(l.waiting, 0, there...)
	} else {
		for _, w := range there {
			w.heard <- news{what: written, err: err}
		}
	}
	q.next(key, nil)
}

// next gives the turn to the first in line if it can share b's write, and else has
// b written. The queue is locked.
func (q *queue) next(key string, b *batch) {
	l := q.lines[key]
	full := len(l.waiting) == 0 || !l.waiting[0].shares || b != nil && len(b.updates) >= maxShare
	if w := b.author(); w != nil && full {
		w.heard <- news{what: yourWork, batch: b}
		return
	} else if w == nil && !b.clean() {
		b = nil // nobody is left who wants it
	}
	if len(l.waiting) == 0 {
		delete(q.lines, key)
		q.spare = l // nobody holds it
		return
	}
	first := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	first.heard <- news{what: yourTurn, batch: b}
}

// clean reports whether what a batch holds is what was read.
func (b *batch) clean() bool { return b == nil || len(b.updates) == 0 }

// author returns who is to write the batch: who has the most time, so that nobody's
// haste is the others'; the last of those, whom it costs no change of goroutine.
// Nil where nobody waits for the write.
func (b *batch) author() (w *writer) {
	if b == nil {
		return nil
	}
	for _, u := range slices.Backward(b.updates) {
		if !u.gone && (w == nil || !w.end.IsZero() && (u.end.IsZero() || u.end.After(w.end))) {
			w = u
		}
	}
	return w
}
