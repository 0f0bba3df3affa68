package express

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/admit-auth/admit/session"
)

// A queue lets the writers of one session take turns in this process. Each
// leaves the next what it wrote, so that a hot session costs one trip a write.
type queue struct {
	mu    sync.Mutex
	lines map[string]*line // guarded by mu
}

type line struct {
	n    int           // who has the turn or waits; guarded by the queue's mu
	turn chan struct{} // full while somebody has it
	last *Record       // as whoever had the turn before knew it; whose turn it is has it
	down error         // that the store did not answer whoever had the turn before
}

// patience is how long one waits behind others and then still asks a store that
// did not answer them: each of them waited for its time-out.
const patience = time.Second

// enter waits for the turn of an id. The caller must leave unless err is not nil.
func (q *queue) enter(ctx context.Context, sid string) (last *Record, err error) {
	begun := time.Now()
	q.mu.Lock()
	l := q.lines[sid]
	if l == nil {
		if q.lines == nil {
			q.lines = map[string]*line{}
		}
		l = &line{turn: make(chan struct{}, 1)}
		q.lines[sid] = l
	}
	l.n++
	q.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		if err := l.down; err != nil && time.Since(begun) > patience {
			<-l.turn
			q.drop(sid, l)
			return nil, err
		}
		return l.last, nil
	case <-ctx.Done():
		q.drop(sid, l)
		return nil, ctx.Err()
	}
}

// leave passes the turn on, with the record as it is known now, if it is, and
// with what became of the turn.
func (q *queue) leave(sid string, last *Record, err error) {
	q.mu.Lock()
	l := q.lines[sid]
	q.mu.Unlock()
	l.last, l.down = last, nil
	if errors.Is(err, session.ErrUnavailable) {
		l.down = err
	}
	<-l.turn
	q.drop(sid, l)
}

func (q *queue) drop(sid string, l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.n--; l.n == 0 {
		delete(q.lines, sid)
	}
}
