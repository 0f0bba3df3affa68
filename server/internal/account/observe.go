package account

import (
	"errors"
	"sync/atomic"
)

// An Observer hears what came of what people tried: nil, or why it was refused.
// Its methods are quick and safe for several goroutines.
type Observer interface {
	SignIn(err error)
	SignUp(step string, err error) // "begin", or "prove" that mail arrived
	Refresh(repeated bool, err error)
	SessionEnded(reason string) // by the service itself; sessions tell their own feed what ends them
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) SignIn(error)         {}
func (nobody) SignUp(string, error) {}
func (nobody) Refresh(bool, error)  {}
func (nobody) SessionEnded(string)  {}

// A MailCount is what became of messages since New.
type MailCount struct {
	Sent, SentText uint64 // handed over, as mail and as text
	Failed         uint64 // tries
	GivenUp        uint64 // after a day
	Refused        uint64 // for good
	Over           uint64 // not sent, for what they carried had ended
}

type mailCounters struct{ sent, sentText, failed, givenUp, refused, over atomic.Uint64 }

// MailCount returns what became of messages.
func (s *Service) MailCount() MailCount {
	m := &s.mails
	return MailCount{m.sent.Load(), m.sentText.Load(), m.failed.Load(), m.givenUp.Load(), m.refused.Load(), m.over.Load()}
}

func (m *mailCounters) count(channel string, failed error, givenUp bool) {
	switch {
	case failed != nil:
		m.failed.Add(1)
	case channel == "text":
		m.sentText.Add(1)
	default:
		m.sent.Add(1)
	}
	if f, ok := errors.AsType[*Failure](failed); ok && f.Final {
		m.refused.Add(1)
	} else if givenUp {
		m.givenUp.Add(1)
	}
}
