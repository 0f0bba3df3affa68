package account

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/admit-auth/admit/server/internal/trace"
)

// A Message is one piece of mail, or one text message.
type Message struct {
	ID      int64  // of its row in the outbox
	Name    string // of its template
	To      string
	Channel string // "mail" or "text"
	Subject string // of mail
	Text    string
	HTML    string // of mail
	Links   []string
	Code    string
	At      time.Time
	Trace   string    `json:",omitempty"` // of what posted it
	About   string    `json:",omitempty"` // the user whom it is about
	Needs   string    `json:",omitempty"` // the challenge without which it is not sent
	Until   time.Time `json:",omitzero"`  // when that ends
}

// String keeps addresses, codes and links out of logs.
func (m Message) String() string { return "message of " + m.At.UTC().Format(time.RFC3339) }

// compose writes a letter. What a team's templates cannot write, ours do: nobody
// is kept from a code by how it looks.
func (s *Service) compose(l letter, now time.Time) (Message, error) {
	m, err := s.letters.Load().write(l, s.o.PublicURL, now)
	if err != nil {
		m, err = s.ours.write(l, s.o.PublicURL, now)
	}
	if err != nil {
		return m, fmt.Errorf("write message %s: %w", l.name, err)
	}
	return m, nil
}

// SetLetters changes the templates for messages that are written from now on.
func (s *Service) SetLetters(l *Letters) { s.letters.Store(l) }

// post puts a letter into the outbox, sealed: it holds a code and an address. It
// is sent by what its address is: callers have looked whether that can be.
func (s *Service) post(tx Tx, l letter, now time.Time) error {
	m, err := s.compose(l, now)
	if err != nil {
		return err
	}
	m.At, m.Trace, m.About = now, tx.Trace(), l.about
	if l.needs != nil {
		m.Needs, m.Until = l.needs.ID, l.needs.Expires
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return tx.Post(l.about, string(s.o.Keys.Seal(nil, "outbox", b, now)), now)
}

func (s *Service) wake() {
	select {
	case s.mail <- struct{}{}:
	default:
	}
}

// Mail reports that there may be something to deliver.
func (s *Service) Mail() <-chan struct{} { return s.mail }

// Deliver hands every message that is due to send, once or, after a crash
// between sending and forgetting, twice. One that fails is tried again later,
// and given up after a day. It returns how many were sent.
func (s *Service) Deliver(ctx context.Context, now time.Time, send func(context.Context, Message) error) (sent int, err error) {
	var due []Posted
	err = s.store.View(ctx, func(tx Tx) (err error) {
		due, err = tx.Posted(now, 100)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, p := range due {
		var m Message
		// Sealed ahead of time is refused, and so would be all that waits when
		// the clock is set back: when it was posted is known here.
		at := now
		if p.At.After(at) {
			at = p.At
		}
		b, _, err := s.o.Keys.Open(nil, "outbox", p.Sealed, 0, at)
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		m.ID = p.ID
		// What cannot be read waits too: a clock that was set back, or a key that
		// comes with the next start, will do.
		if err == nil && m.To != "" { // to nobody is as much work to write, and no more
			err = s.send(ctx, m, send)
		}
		late := now.Sub(p.At) > 24*time.Hour
		s.mails.count(err, late)
		err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
			if err == nil || late {
				return tx.Unpost(p)
			}
			return tx.Postpone(p, now.Add(min(time.Hour, time.Second<<min(p.Tries, 12))))
		})
		if err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// send hands over a message, as part of the trace that posted it.
func (s *Service) send(ctx context.Context, m Message, send func(context.Context, Message) error) (err error) {
	if s.o.Tracer == nil {
		return send(ctx, m)
	}
	span := s.o.Tracer.Begin(trace.Consumer, "mail deliver", m.Trace)
	defer func() { span.End(err) }()
	return send(trace.With(ctx, span), m)
}
