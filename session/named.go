package session

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/admit-auth/admit/token"
)

// A Named is what a credential that was verified says of the session that it
// presents.
type Named struct {
	SID, Subject string
	Epoch        uint64    // the subject's, when the credential was made
	AuthTime     time.Time // the proof that it was made after

	url *ticket // of a value in the request's URL
}

// name returns what the request's credential names where it is one of
// Options.Named, or is in the URL.
func (m *Manager[D]) name(r *http.Request) (*Named, error) {
	if m.named != nil {
		if by, err := m.named(r); by != nil || err != nil {
			return by, err
		}
	}
	return m.nameURL(r)
}

// readNamed reads the session that a credential names. Its holder held the
// session, so it may know what became of it.
func (m *Manager[D]) readNamed(ctx context.Context, by *Named, h *held, now time.Time) error {
	h.sid, h.tok, h.named = by.SID, token.Token{}, by
	if !token.IsSelector(by.SID) {
		return ErrNone
	}
	if err := m.alive(ctx, h, now); err != nil {
		return h.why(err)
	}
	return h.meant()
}

// meant says why h's session, which is alive, is not the one that was named.
func (h *held) meant() error {
	switch by := h.named; {
	case by.url != nil:
		return h.meantURL()
	case h.rec.place() != placeJWT || h.item.Subject == "" || h.item.Subject != by.Subject:
		return ErrNone // a session is good only in the place it was begun for
	case by.Epoch < h.epoch.N:
		return ErrStale
	}
	return nil
}

// Inspect returns what is known about the session that a store keeps as it, or
// why it does not count: ErrNone, ErrEnded or ErrExpired. Most programs never
// call it: it is for databases that look at a session in a transaction of their
// own.
func Inspect(sid string, it Item, epoch Epoch, now time.Time) (Info, error) {
	h := held{sid: sid, item: it}
	if err := h.judge(epoch, now); err != nil {
		return Info{}, h.why(err)
	}
	return h.info(), nil
}

// why makes ErrEnded say why.
func (h *held) why(err error) error {
	if !errors.Is(err, ErrEnded) {
		return err
	}
	e := &EndedError{SID: h.sid, Subject: h.item.Subject}
	if h.rec.ended() {
		e.Why = h.rec.data
	}
	return e
}

// Tombstone returns what takes the place of a live session's item when it ends
// for this reason. Most programs never call it: it is for databases that end a
// session in a transaction of their own.
func Tombstone(it Item, reason string, now time.Time) Item {
	h := held{item: it}
	h.rec.parse(it.Value)
	return h.stone(reason, now)
}
