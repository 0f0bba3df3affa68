package account

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
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
	Key     string    `json:",omitempty"` // the same whenever it is sent, and no other message's
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
	m.At, m.Trace, m.About, m.Key = now, tx.Trace(), l.about, strings.ToLower(rand.Text())
	if l.needs != nil {
		m.Needs, m.Until = l.needs.ID, l.needs.Expires
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return tx.Post(l.about, m.Channel, string(s.o.Keys.Seal(nil, "outbox", b, now)), now)
}

func (s *Service) wake() {
	select {
	case s.mail <- struct{}{}:
	default:
	}
}

// Mail reports that there may be something to deliver.
func (s *Service) Mail() <-chan struct{} { return s.mail }

const (
	// ClaimLife is for how long a message is one sender's. Who claims it has
	// sent it, or failed, before; a server that is killed meanwhile leaves it to
	// the others by then.
	ClaimLife = 90 * time.Second

	waitingLife = 24 * time.Hour // of a message that cannot be sent
	longestWait = time.Hour      // between two tries
	// For a code somebody waits, and it ends soon.
	longestCodeWait = time.Minute
	// UnsureWait is for how long a mail server may take to answer that a message
	// is its own (RFC 5321, 4.5.3.2.6): until then another try may be a double.
	UnsureWait = 10 * time.Minute
)

// A Failure is why a message was not sent, where more is known than that.
type Failure struct {
	Code   string // for the audit, such as "550 5.1.1"
	Final  bool   // it will never be sent: of this recipient, or this message
	Unsure bool   // it may have been sent
	Err    error  // without an address or a code of anybody
	Said   string // by who refused it, whole: it may name the recipient, and is for who asked alone
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// A Claimed message is the caller's to send, until ClaimLife has passed.
type Claimed struct {
	Message
	posted Posted
}

// Claim takes up to limit messages of a channel that are to be sent, of those that
// want is true for. Each is one caller's, of all servers that share the database;
// what came of it is told to Settle. What has lost its use meanwhile, a code that
// has ended or was replaced, goes.
func (s *Service) Claim(ctx context.Context, channel string, limit int, want func(Message) bool, now time.Time) (claimed []Claimed, err error) {
	var due []Posted
	err = s.store.View(ctx, func(tx Tx) (err error) {
		due, err = tx.Posted(channel, now, 200)
		return err
	})
	if err != nil || len(due) == 0 {
		return nil, err
	}
	var over, lost, gone int // no more of use; cannot be read, and given up for that
	err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		claimed, over, lost, gone = nil, 0, 0, 0
		for _, p := range due {
			if len(claimed) == limit {
				break
			}
			m, unreadable := s.read(p, now)
			late := now.Sub(p.At) > waitingLife
			if unreadable == nil {
				if ended, err := s.ended(tx, m, now); err != nil {
					return err
				} else if ended || m.To == "" { // what is to nobody was work to write, and is no more
					if err := tx.Unpost(p); err != nil {
						return err
					}
					over++
					continue
				}
				if want != nil && !late && !want(m) {
					continue
				}
			}
			claim := rand.Text()
			ours, err := tx.Claim(p, claim, now.Add(ClaimLife))
			if err != nil {
				return err
			}
			if !ours {
				continue
			}
			p.Claim, p.Tries = claim, p.Tries+1
			// What cannot be read waits too: a clock that was set back, or a key that
			// comes with the next start, will do.
			if unreadable != nil {
				lost++
				if late {
					gone++
				}
				if err := s.settled(tx, Claimed{m, p}, unreadable, now); err != nil {
					return err
				}
				continue
			}
			claimed = append(claimed, Claimed{m, p})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mails.over.Add(uint64(over))
	s.mails.failed.Add(uint64(lost))
	s.mails.givenUp.Add(uint64(gone))
	return claimed, nil
}

// read opens a message.
func (s *Service) read(p Posted, now time.Time) (m Message, err error) {
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
	return m, err
}

// ended reports whether the code or the link of a message is good no more.
func (s *Service) ended(tx Tx, m Message, now time.Time) (bool, error) {
	if m.Needs == "" {
		return false, nil
	}
	c, err := tx.Challenge(m.Needs)
	return c == nil || c.Tries <= 0 || !now.Before(c.Expires), err
}

// Settle tells what came of a message that was claimed: nil that it was handed
// over. One that failed is tried again later and given up after a day, or at once
// where a *Failure is final.
func (s *Service) Settle(ctx context.Context, c Claimed, failed error, now time.Time) (givenUp bool, err error) {
	err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error { return s.settled(tx, c, failed, now) })
	if err != nil {
		return false, err
	}
	givenUp = failed != nil && c.hopeless(failed, now)
	s.mails.count(c.Channel, failed, givenUp)
	return givenUp, nil
}

// hopeless reports whether a message is given up.
func (c Claimed) hopeless(failed error, now time.Time) bool {
	f, ok := errors.AsType[*Failure](failed)
	return ok && f.Final || now.Sub(c.posted.At) > waitingLife
}

func (s *Service) settled(tx Tx, c Claimed, failed error, now time.Time) error {
	if failed == nil {
		return tx.Unpost(c.posted)
	}
	if !c.hopeless(failed, now) {
		return tx.Postpone(c.posted, now.Add(c.wait(failed)))
	}
	if err := tx.Unpost(c.posted); err != nil {
		return err
	}
	code := "24 hours"
	if f, ok := errors.AsType[*Failure](failed); ok && f.Final {
		code = f.Code
	}
	// Without the address, which may be nobody's yet.
	return tx.Record(&Record{At: now, Subject: c.About, Event: "message_given_up", Detail: strings.TrimSpace(c.Name + " " + code)})
}

// wait returns how long the next try waits: twice as long each time, and by chance
// up to half of that less, so that what failed at once does not come back at once.
func (c Claimed) wait(failed error) time.Duration {
	most := longestWait
	if !c.Until.IsZero() {
		most = longestCodeWait
	}
	d := min(most, time.Second<<min(max(c.posted.Tries, 1), 12))
	if f, ok := errors.AsType[*Failure](failed); ok && f.Unsure {
		return max(d, UnsureWait)
	}
	return d - mathrand.N(d/2)
}

// Unclaim makes all that waits due at once. It is for who has the database to
// itself, when it starts: whoever had claimed it is dead.
func (s *Service) Unclaim(ctx context.Context, now time.Time) error {
	return s.store.Update(ctx, func(tx Tx) error { return tx.Unclaim(now) })
}

// Deliver hands every message that is due to send, one after the other. It returns
// how many were sent. Servers send several at once.
func (s *Service) Deliver(ctx context.Context, now time.Time, send func(context.Context, Message) error) (sent int, err error) {
	for _, channel := range []string{"mail", "text"} {
		claimed, err := s.Claim(ctx, channel, 200, nil, now)
		if err != nil {
			return sent, err
		}
		for _, c := range claimed {
			failed := s.Send(ctx, c, send)
			if _, err := s.Settle(ctx, c, failed, now); err != nil {
				return sent, err
			}
			if failed == nil {
				sent++
			}
		}
	}
	return sent, nil
}

// Send hands over a message, as part of the trace that posted it.
func (s *Service) Send(ctx context.Context, m Claimed, send func(context.Context, Message) error) (err error) {
	if s.o.Tracer == nil {
		return send(ctx, m.Message)
	}
	span := s.o.Tracer.Begin(trace.Consumer, m.Channel+" deliver", m.Trace)
	defer func() { span.End(err) }()
	return send(trace.With(ctx, span), m.Message)
}
