package session

import (
	"context"
	"fmt"
	"time"
)

// update makes a change when its turn comes, and returns once it is written, by
// itself or together with others.
func (m *Manager[D]) update(ctx context.Context, h *held, fn func(*D) error) (*Session[D], error) {
	var b *batch                                         // that we run in; nil where we begin
	shared := shares(ctx) && m.seal == nil && !h.moves() // a sealed one's write is in its request
	me := m.queue.join(ctx, h.sid, shared)
	ours := me == nil // the turn
	defer func() {
		if ours {
			m.queue.pass(h.sid, b)
		}
	}()
	var s *Session[D]
	var refused error // by fn
	fresh := ours     // nobody was before us since h was read
	for try := 0; ; {
		if !ours {
			n, err := m.queue.wait(ctx, h.sid, me)
			switch {
			case err != nil:
				return nil, err
			case n.what == yourWork:
				m.commit(ctx, h.sid, n.batch)
				continue // to be told like the others
			case n.what == written && n.err != nil:
				return nil, n.err
			case n.what == written:
				m.sweep(ctx, time.Now())
				return s, refused
			}
			ours, b = true, n.batch
		}
		if try++; try > maxRetries {
			return nil, ErrBusy
		}
		now := time.Now()
		if b != nil {
			if !m.resume(ctx, h, b, now) { // it may be good for what there is since then
				me = m.queue.join(ctx, h.sid, false)
				shared, ours = false, false
				m.queue.pass(h.sid, b)
				b = nil
				continue
			}
		} else if !fresh {
			if err := m.reread(ctx, h, now); err != nil {
				return nil, err
			}
		}
		fresh = false
		var data []byte
		s, data, refused = m.change(h, fn)
		same := refused != nil || string(data) == h.rec.data
		if refused == nil && h.moves() {
			h.placeInURL(now)
			s.Info, same = h.info(), false
		}
		alone := b == nil && !(shared && m.queue.followed(h.sid))
		if h.guessed && (same || !alone) {
			h.guess = false // only a write of its own would show that it was so
			continue
		}
		if same && b.clean() {
			return s, refused
		}
		if !same && h.prolong(now) {
			s.Info = h.info()
		}
		if alone {
			err := m.write(ctx, h, data)
			switch {
			case err == nil:
				m.sweep(ctx, now)
				return s, nil
			case !changed(err):
				return nil, err
			}
			h.guess = false
			continue
		}
		// What it saw may never be in the store. So a refusal waits too: it may
		// have been wrong.
		if b == nil {
			b = &batch{item: h.item, epoch: h.epoch, rec: h.rec}
		}
		if !same {
			b.rec.data = string(data)
		}
		if me == nil {
			me = newWriter(ctx, true)
		}
		b.updates = append(b.updates, me)
		ours = false
		m.queue.pass(h.sid, b)
	}
}

// change runs fn on the held data and returns what it made of it. The session is a
// copy of the caller's own: nothing is shared with who runs next.
func (m *Manager[D]) change(h *held, fn func(*D) error) (*Session[D], []byte, error) {
	s := m.session(h)
	if err := fn(&s.Data); err != nil {
		return nil, nil, err
	}
	data, err := m.codec.Encode(&s.Data, h.rec.data)
	if err != nil {
		return nil, nil, fmt.Errorf("encode session %s: %w", h.sid, err)
	}
	return s, data, nil
}

// resume holds the record as a batch has it, and reports whether what h presents is good
// for that.
func (m *Manager[D]) resume(ctx context.Context, h *held, b *batch, now time.Time) bool {
	bearer := h.rec.flags&flagBearer != 0
	h.item, h.epoch, h.rec, h.guessed = b.item, b.epoch, b.rec, false
	if h.named != nil {
		return h.meant() == nil
	}
	return m.counts(ctx, h, nil, bearer, now) == nil
}

// commit writes a batch.
func (m *Manager[D]) commit(ctx context.Context, sid string, b *batch) {
	err := error(ErrUnavailable) // unless it is told otherwise: a store may panic
	defer func() { m.queue.settle(sid, b, err) }()
	if len(b.updates) > 1 {
		// A request that is cancelled takes nobody along, but none outstays its
		// deadline.
		end, bounded := ctx.Deadline()
		ctx = context.WithoutCancel(ctx)
		if bounded {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, end)
			defer cancel()
		}
	}
	err = m.write(ctx, &held{sid: sid, item: b.item, epoch: b.epoch, rec: b.rec}, []byte(b.rec.data))
}
