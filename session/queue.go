package session

import (
	"context"
	"sync"
)

// A queue lets the writers of one session take turns in this process, so that
// compare-and-set fails only where another process wrote in between.
type queue struct {
	mu    sync.Mutex
	lines map[string]*line // guarded by mu
	spare *line            // an empty one, for the next key; guarded by mu
}

type line struct {
	n    int           // who holds it or waits
	turn chan struct{} // made when the first one has to wait
}

// enter waits for the turn of a key. Waited reports whether somebody was
// before us. The caller must leave unless err is not nil.
func (q *queue) enter(ctx context.Context, key string) (waited bool, err error) {
	q.mu.Lock()
	l := q.lines[key]
	if l == nil {
		if q.lines == nil {
			q.lines = map[string]*line{}
		}
		if l, q.spare = q.spare, nil; l == nil {
			l = &line{}
		}
		l.n = 1
		q.lines[key] = l
		q.mu.Unlock()
		return false, nil
	}
	l.n++
	if l.turn == nil {
		l.turn = make(chan struct{}, 1)
	}
	q.mu.Unlock()
	select {
	case <-l.turn:
		return true, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-l.turn: // the turn came at the same moment: pass it on
		q.next(key, l)
	default:
		l.n--
	}
	return true, ctx.Err()
}

// leave passes the turn on.
func (q *queue) leave(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next(key, q.lines[key])
}

// next gives the turn to who waits. The queue is locked.
func (q *queue) next(key string, l *line) {
	l.n--
	if l.n == 0 {
		delete(q.lines, key)
		q.spare = l // nobody holds it, and its channel is empty
		return
	}
	l.turn <- struct{}{}
}
